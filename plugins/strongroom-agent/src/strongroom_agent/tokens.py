"""Makes tokens by which callers are known."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sys

from typing import Final

from strongroom.errors import ConfigurationError

BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def make(path: str, *, replace: bool = False) -> None:
    """Write a new token into a file that only this user can read.

    Args:
        path: The file.
        replace: Whether a token that is there may be replaced.

    Raises:
        ConfigurationError: There is one, or the file cannot be written.
    """
    draft = f"{path}.{secrets.token_hex(4)}"
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(BYTES) + "\n")
                file.flush()
                os.fsync(file.fileno())
            # Unlike renaming, linking does not replace what is there.
            (os.replace if replace else os.link)(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)
    except FileExistsError as error:
        raise ConfigurationError(f"there is a token in {path}", hint="add --replace to make another one") from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error


def check_name(name: str) -> None:
    """Refuse what cannot be a caller's name.

    Args:
        name: The name.

    Raises:
        ConfigurationError: It is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            "a caller's name has 1 to 64 letters, digits, dots, dashes and underscores", hint="choose a short word"
        )


def advise(path: str, name: str, *, known: bool) -> None:
    """Say on standard error what is to be done with a token.

    Args:
        path: Where it is.
        name: The caller's name.
        known: Whether the configuration has such a caller.
    """
    lines = [f"wrote {path}, readable by this user only: hand a copy to the program that is to call"]
    if known:
        lines.append("next: systemctl reload strongroom-agent, or send the agent SIGHUP")
    else:
        lines += [
            "next: let the configuration know it",
            f"    [agent.callers.{name}]",
            f'    principal = "{name}"',
            f'    token = {{file = "{path}"}}',
        ]
    sys.stderr.write("\n".join(lines) + "\n")
