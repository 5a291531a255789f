"""``init``: a store, a key file and a commented configuration, in one step."""

from __future__ import annotations

import argparse
import os

from collections.abc import Iterable
from typing import Final

from strongroom.cli.command import Command, Session, add_json, note, print_json
from strongroom.cli.keyfile import new_key
from strongroom.cli.output import write_private
from strongroom.config.files import FILE
from strongroom.errors import ConfigurationError

HEADING: Final = "# strongroom: see `strongroom config` for what is in force and where it came from."
LOCAL: Final = """\
[backends.local]
type = "local"
path = "secrets.db"
master_key = { file = "master.key" }   # keep a copy elsewhere: without it nothing can be read"""
REST: Final = """\
[cache]
ttl = "300s"

# Every access is recorded. Verify the trail with `strongroom audit verify`.
[[audit]]
type = "jsonl"
path = "audit.jsonl"
required = true                # nothing happens that cannot be recorded

# As soon as there is a policy, what no policy allows is denied.
# [[policies]]
# principal = "api-server"
# effect = "allow"
# actions = ["read"]
# names = ["api/**"]
"""
CONFIGURATION: Final = f'{HEADING}\nbackend = "local"\n\n{LOCAL}\n\n{REST}'
KEY_FILE: Final = "master.key"
STORE_FILE: Final = "secrets.db"
# The last but one are the drafts that a killed command can leave of any of these, or of what it exports.
IGNORED: Final = ("secrets.db*", "*.key", "*.key.new", "*.key.old*", "audit.jsonl*", ".*.new*", "strongroom.local.toml")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where to make it (this folder)")
    parser.add_argument(
        "--passphrase-env",
        metavar="VARIABLE",
        help="open the store with the passphrase in this variable, without key file",
    )
    add_json(parser)


def _run(_session: Session, options: argparse.Namespace) -> int:
    folder = os.path.abspath(options.folder)
    config, key = os.path.join(folder, FILE), os.path.join(folder, KEY_FILE)
    store = os.path.join(folder, STORE_FILE)
    with_key = options.passphrase_env is None
    refuse_to_overwrite([config, store, *([key] if with_key else [])])
    content = CONFIGURATION
    if not with_key:
        reference = f'passphrase = {{ env = "{options.passphrase_env}" }}'
        content = (
            "\n".join(reference if line.startswith("master_key") else line for line in content.splitlines()) + "\n"
        )
    made = make(folder, content, key=with_key, store=True)
    if options.json:
        print_json({"config": config, "key_file": key if with_key else None, "store": store, "made": made})
    else:
        for path in made:
            note(f"made {path}")
        note("next: printf %s VALUE | strongroom set my/first-secret")
    return 0


def refuse_to_overwrite(paths: Iterable[str]) -> None:
    """Refuse to go on where something is already.

    Args:
        paths: What is going to be made.

    Raises:
        ConfigurationError: One of them is there.
    """
    for path in paths:
        if os.path.lexists(path):
            raise ConfigurationError(
                f"{path} is there already, and nothing was changed", hint="choose another folder, or remove it yourself"
            )


def make(folder: str, content: str, *, key: bool, store: bool) -> list[str]:
    """Make a configuration and what it needs, or take back what was made.

    Args:
        folder: Where; it is made if it is not there.
        content: The text of the configuration.
        key: Whether a key file is made.
        store: Whether the store of its backend ``local`` is made.

    Returns:
        The paths of what was made.

    Raises:
        ConfigurationError: Something is there already, or the folder cannot be written to.
        PluginError: The distribution that makes the store is missing or broken.
    """
    made: list[str] = []
    config = os.path.join(folder, FILE)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if key:
            write_private(os.path.join(folder, KEY_FILE), new_key(), replace=False)
            made.append(os.path.join(folder, KEY_FILE))
        write_private(config, content.encode(), replace=False)
        made.append(config)
        if store:
            _create_store(config)
            made.append(os.path.join(folder, STORE_FILE))
        _ignore(os.path.join(folder, ".gitignore"))
    except BaseException as error:
        for path in made:
            os.unlink(path)
        if isinstance(error, OSError):
            raise ConfigurationError(f"{folder} cannot be written to: {error.strerror}", hint="check it") from error
        raise
    return made


def _create_store(config: str) -> None:
    from strongroom.config.load import load
    from strongroom.discovery import Catalogue, Kind

    table = load(config).backends["local"]
    spec = Catalogue().load(Kind.BACKEND, table.type)
    if spec.create is None:
        raise ConfigurationError(
            f"the backend {table.type!r} makes no store of its own", hint="there is nothing to make"
        )
    spec.create(table.settings(spec.settings))


def _ignore(path: str) -> None:
    """Keep git from taking up what is secret, unless the user has a list already."""
    if not os.path.lexists(path):
        write_private(path, ("\n".join(IGNORED) + "\n").encode(), replace=False)


COMMANDS: Final = {
    "init": Command(
        summary="Make an encrypted store, its key file and a commented strongroom.toml. Nothing is overwritten.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom init
            strongroom init secrets/
        """,
    ),
}
