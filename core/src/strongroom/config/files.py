"""Finds the configuration's files and reads each into a layer."""

from __future__ import annotations

import os

from typing import Any, Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError

FILE: Final = "strongroom.toml"
OVERLAY: Final = "strongroom.local.toml"
VARIABLE: Final = "STRONGROOM_CONFIG"
SYSTEM_FOLDER: Final = "/etc/strongroom"


class Layer(Record):
    """One source of settings."""

    path: str
    """The file's absolute path, or a name in angle brackets for what is not a file."""
    folder: str
    content: dict[str, Any]
    text: bool = False
    """Whether every value is text that may stand for a number or a truth value."""
    binding: bool = False
    """Whether what it locks is locked: so it is for the user's and the system's file."""


def user_folder() -> str:
    """Return the user's configuration folder (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "strongroom")


def find(explicit: str | None) -> str:
    """Return the path of the configuration file that counts.

    Args:
        explicit: A path that was given by the caller; it comes before the
            variable ``STRONGROOM_CONFIG``, then the working folder and those
            above it, then the user's and the system's configuration folder.

    Raises:
        ConfigurationError: There is none.
    """
    chosen = explicit or os.environ.get(VARIABLE)
    if chosen:
        path = os.path.abspath(os.path.expanduser(chosen))
        if not os.path.isfile(path):
            origin = "--config" if explicit else VARIABLE
            raise ConfigurationError(
                f"{path} does not exist ({origin})", hint="check the path, or run `strongroom init`"
            )
        return path
    for path in search_path():
        if os.path.isfile(path):
            return path
    raise ConfigurationError(
        f"there is no {FILE} in this folder or above it, nor in {user_folder()}",
        hint="run `strongroom init` to make one, or name one with --config",
    )


def search_path() -> list[str]:
    """Return where a configuration file is looked for if none is named; the first that exists counts."""
    return [os.path.join(folder, FILE) for folder in (*_upwards(os.getcwd()), user_folder(), SYSTEM_FOLDER)]


def _upwards(folder: str) -> list[str]:
    folders = [folder]
    while os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
        folders.append(folder)
    return folders


def read(path: str) -> Layer:
    """Read one file.

    Raises:
        ConfigurationError: It cannot be read, or is not TOML; the message has
            the line that the parser complains about.
    """
    import tomllib

    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}", hint="check its permissions") from error
    except ValueError as error:  # not TOML, or not UTF-8
        reason = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "it is not UTF-8 text"
        raise ConfigurationError(f"{path} is not valid TOML: {reason}", hint="mend the file") from None
    return Layer(path=path, folder=os.path.dirname(path), content=content)


def layers(path: str) -> list[Layer]:
    """Return the file, and the local overlay that lies beside it if there is one."""
    own = {os.path.realpath(os.path.join(folder, FILE)) for folder in (SYSTEM_FOLDER, user_folder())}
    found = [read(path).replace(binding=os.path.realpath(path) in own)]
    overlay = os.path.join(os.path.dirname(path), OVERLAY)
    if os.path.isfile(overlay):
        found.append(read(overlay))
    return found


def locking_layers(path: str) -> list[Layer]:
    """Return the system's and the user's file where they lock sections, unless one of them is the file itself."""
    found = []
    for folder in (SYSTEM_FOLDER, user_folder()):
        candidate = os.path.join(folder, FILE)
        if os.path.isfile(candidate) and os.path.realpath(candidate) != os.path.realpath(path):
            layer = read(candidate)
            if layer.content.get("locked"):
                found.append(layer)
    return found
