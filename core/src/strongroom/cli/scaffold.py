"""A complete distribution for a plugin of one's own, made from the templates in ``strongroom/scaffold``."""

from __future__ import annotations

import keyword
import os
import re
import secrets
import shutil
import sys

from collections.abc import Iterator
from importlib import metadata, resources
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from strongroom import contracts
from strongroom._ours import OURS
from strongroom._record import Record
from strongroom.cli.command import UsageError
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import ConfigurationError
from strongroom.hookspecs import PROJECT

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MOST_CHARACTERS: Final = 40
"""The longest name of a distribution: with it each line that a template makes is one that formatters leave alone."""
MOST_OF_A_CLASS: Final = 20
"""The longest beginning of a class's name, for the same reason."""

_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""PEP 508."""
_PREFIX: Final = f"{PROJECT}-"
_TEMPLATE: Final = ".tmpl"


class Sort(Record):
    """One of the sorts of plugins that there are templates for."""

    kind: Kind
    suffix: str
    """What the name of its class ends with."""
    summary: str
    """What the plugin does that the templates make."""


SORTS: Final = {
    "backend": Sort(kind=Kind.BACKEND, suffix="Backend", summary="Secrets kept in the files of a folder."),
    "audit": Sort(kind=Kind.AUDIT_SINK, suffix="Sink", summary="Events appended to a file as lines of JSON."),
    "cache": Sort(kind=Kind.CACHE_POLICY, suffix="Policy", summary="Answers that stay the same are used for longer."),
    "detector": Sort(
        kind=Kind.ANOMALY_DETECTOR, suffix="Detector", summary="More accesses a minute than a principal may have."
    ),
    "rotator": Sort(
        kind=Kind.ROTATOR, suffix="Rotator", summary="Keys of a service that keeps the digests of those it accepts."
    ),
}
"""By the word of ``--kind``."""


class Names(Record):
    """What the parts of one distribution are called."""

    distribution: str
    """In the one form that indexes use (PEP 503)."""
    package: str
    """What is imported."""
    offered: str
    """What a configuration says."""
    prefix: str
    """What the names of its classes begin with."""


def names_for(text: str, sort: Sort) -> Names:
    """Derive the names of a distribution's parts, and refuse those that would be in somebody's way.

    Args:
        text: The distribution's name as the author wrote it.
        sort: The sort of plugin.

    Raises:
        UsageError: It is no such name, or it or a part's name is taken.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} is no name of a distribution",
            hint="use letters, digits, hyphens, underscores and dots, with a letter or digit at both ends",
        )
    distribution = re.sub(r"[-_.]+", "-", text).lower()
    if len(distribution) > MOST_CHARACTERS:
        raise UsageError(f"{distribution} has more than {MOST_CHARACTERS} characters", hint="choose a shorter name")
    package, offered = distribution.replace("-", "_"), distribution.removeprefix(_PREFIX)
    _refuse_taken(distribution, offered, sort.kind)
    _refuse_unimportable(distribution, package)
    return Names(distribution=distribution, package=package, offered=offered, prefix=_class_prefix(offered, sort))


def _refuse_taken(distribution: str, offered: str, kind: Kind) -> None:
    own = {PROJECT, *(_PREFIX + extra for extra in metadata.metadata(PROJECT).get_all("Provides-Extra") or ())}
    if distribution in own:
        raise UsageError(f"{distribution} is a name of strongroom's own", hint="choose another one")
    same = (point for point in Catalogue().points if (point.kind, point.name) == (kind, offered))
    owner = next((f"{point.distribution} {point.version}" for point in same), OURS.get(kind.group, {}).get(offered))
    if owner is not None:
        raise UsageError(f"the {kind.label} {offered!r} is offered by {owner} already", hint="choose another name")


def _refuse_unimportable(distribution: str, package: str) -> None:
    problem = ""
    if not package.isidentifier():
        problem = "begins with a digit"
    elif keyword.iskeyword(package):
        problem = "is a word of Python's own"
    elif package in sys.stdlib_module_names or package in {"tests", "test_conformance", *map("test_{}".format, SORTS)}:
        problem = "would hide a module of that name"
    elif (spec := find_spec(package)) is not None and spec.origin is not None:
        problem = f"would hide {spec.origin}"
    if problem:
        hint = "choose another one" if distribution.startswith(_PREFIX) else f"try {_PREFIX}{distribution}"
        raise UsageError(f"{distribution} cannot be used: the package {package} {problem}", hint=hint)


def _class_prefix(offered: str, sort: Sort) -> str:
    """Return what class names begin with, so that they are short names, not the contract's, and no tests to pytest."""
    prefix = "".join(part.capitalize() for part in offered.split("-"))
    if len(prefix) > MOST_OF_A_CLASS:
        return "Own"
    taken = hasattr(contracts, prefix + sort.suffix)
    return f"Own{prefix}" if taken or prefix[0].isdigit() or prefix.startswith("Test") else prefix


def files_for(word: str, names: Names) -> dict[str, str]:
    """Return the content of each file of a distribution, by its path relative to the distribution's folder.

    Args:
        word: One of ``SORTS``.
        names: What its parts are called.
    """
    sort, templates = SORTS[word], resources.files(PROJECT) / "scaffold"
    texts = dict(_texts(templates / "common")) | dict(_texts(templates / word))
    values = {
        "ABOUT": texts.pop("about"),
        "USE": texts.pop("use"),
        "SUMMARY": sort.summary,
        "CORE": _range(metadata.version(PROJECT)),
        "KIND": word,
        "LABEL": sort.kind.label,
        "GROUP": sort.kind.group,
        "NAME": names.distribution,
        "PACKAGE": names.package,
        "OFFERED": names.offered,
        "CLASS": names.prefix,
    }
    return {_target(path, names): _filled(text, values) for path, text in sorted(texts.items())}


def _texts(folder: Traversable, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the templates below a folder: each one's path without its ending, and its text."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(_TEMPLATE):
            yield path + entry.name.removesuffix(_TEMPLATE), entry.read_text(encoding="utf-8")


def _target(path: str, names: Names) -> str:
    # Under its real name, it would be in force for the templates themselves.
    return ".gitignore" if path == "gitignore" else path.replace("src/package/", f"src/{names.package}/")


def _filled(text: str, values: dict[str, str]) -> str:
    # The first two hold others.
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _range(version: str) -> str:
    """Return which versions of the core a plugin works with that is written for this one."""
    major, minor = version.split(".")[:2]
    return f">={major}.{minor},<{int(major) + 1}"


def write_out(files: dict[str, str], folder: str) -> None:
    """Write files into a new folder: all of them, or nothing is left.

    Args:
        files: Their contents by their paths in it.
        folder: Where it is to be; nothing, or an empty folder, may be there.

    Raises:
        ConfigurationError: Something is there, or it cannot be written.
    """
    folder = os.path.abspath(folder)
    if os.path.lexists(folder) and not _is_empty(folder):
        raise _taken(folder)
    draft = os.path.join(os.path.dirname(folder), f".{os.path.basename(folder)}.{secrets.token_hex(8)}.new")
    try:
        os.mkdir(draft)
        for path, text in files.items():
            target = os.path.join(draft, path)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        os.rename(draft, folder)
    except BaseException as error:
        shutil.rmtree(draft, ignore_errors=True)
        if isinstance(error, OSError):
            raise ConfigurationError(f"{folder} cannot be made: {error.strerror}", hint="check its folder") from error
        raise


def _is_empty(path: str) -> bool:
    try:
        return not os.path.islink(path) and not os.listdir(path)
    except OSError:
        return False  # it is no folder, or nobody may see what is in it


def _taken(folder: str) -> ConfigurationError:
    return ConfigurationError(
        f"{folder} is there already, and nothing was changed", hint="choose another name or --directory"
    )
