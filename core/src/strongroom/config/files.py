"""Finds the configuration's files and reads each into a layer."""

from __future__ import annotations

import os
import sys

from typing import Final

from strongroom.config.layers import INCLUDE, Layer, read, refuse_foreign
from strongroom.errors import ConfigurationError

FILE: Final = "strongroom.toml"
OVERLAY: Final = "strongroom.local.toml"
VARIABLE: Final = "STRONGROOM_CONFIG"
SYSTEM_FOLDER: Final = "/etc/strongroom"


def user_folder() -> str:
    """Return the user's configuration folder (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(base, "strongroom")


def account_home() -> str:
    """Return the home folder that the operating system knows, whatever the environment says."""
    if sys.platform == "win32":
        return os.path.expanduser("~")
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # an account without a name, as in containers
        return os.path.expanduser("~")


def own_files() -> dict[str, str]:
    """Return the files that may lock, and whose home folder ``~`` is in each.

    These are the system's, and the user's twice: variables decide where the
    configuration folder is, and whoever sets them must not get rid of a lock.
    """
    home = account_home()
    found = {
        os.path.join(SYSTEM_FOLDER, FILE): home,
        os.path.join(home, ".config", "strongroom", FILE): home,
    }
    found.setdefault(os.path.join(user_folder(), FILE), "")
    return found


def find(explicit: str | None) -> str:
    """Return the path of the configuration file that counts.

    A link to the system's or the user's file is that file, with the folder that
    it lies in.

    Args:
        explicit: A path that was given by the caller; it comes before the
            variable ``STRONGROOM_CONFIG``, then the working folder and those
            above it, then the user's and the system's configuration folder.

    Raises:
        ConfigurationError: There is none, or the first one above the working
            folder may be somebody else's.
    """
    chosen = explicit or os.environ.get(VARIABLE)
    if chosen:
        path = os.path.abspath(os.path.expanduser(chosen))
        if not os.path.isfile(path):
            origin = "--config" if explicit else VARIABLE
            raise ConfigurationError(
                f"{path} does not exist ({origin})", hint="check the path, or run `strongroom init`"
            )
        return _settled(path)
    for path in search_path():
        if os.path.isfile(path):
            check_found(path)
            return path
    raise ConfigurationError(
        f"there is no {FILE} in this folder or above it, nor in {user_folder()}",
        hint="run `strongroom init` to make one, or name one with --config",
    )


def check_found(path: str) -> None:
    """Refuse a file that nobody has named, but a search has found, if somebody else may have put it there.

    Args:
        path: The file.

    Raises:
        ConfigurationError: It is neither the system's nor the user's, and may be somebody else's.
    """
    if path not in own_files():
        refuse_foreign(path, {0}, f"name it if you trust it: --config {path}")


def search_path() -> list[str]:
    """Return where a configuration file is looked for if none is named; the first that exists counts."""
    folders = (*_upwards(os.getcwd()), user_folder(), SYSTEM_FOLDER)
    return [_settled(os.path.join(folder, FILE)) for folder in folders]


def _settled(path: str) -> str:
    """Return the system's or the user's file if a path leads to it, else the path."""
    if not os.path.isfile(path):
        return path
    real = os.path.realpath(path)
    return next((own for own in own_files() if os.path.realpath(own) == real), path)


def _upwards(folder: str) -> list[str]:
    folders = [folder]
    while os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
        folders.append(folder)
    return folders


def layers(path: str) -> list[Layer]:
    """Return the file, and the local overlay that lies beside it if there is one.

    Args:
        path: What :func:`find` returned.

    Raises:
        ConfigurationError: One of them cannot be read, or the overlay may be somebody else's.
    """
    own = own_files()
    home = own.get(path, "")
    found = [with_included(read(path, home=home)).replace(binding=path in own)]
    overlay = os.path.join(os.path.dirname(path), OVERLAY)
    if os.path.isfile(overlay):
        # Whom the file belongs to may have an overlay, too.
        refuse_foreign(overlay, {0, os.stat(path).st_uid}, "remove it if you do not know it")
        found.append(with_included(read(overlay, home=home)))
    return found


def with_included(layer: Layer) -> Layer:
    """Return a layer together with the files of policies that it includes.

    Args:
        layer: The layer.

    Raises:
        ConfigurationError: What it includes is missing, not usable, or may be somebody else's.
    """
    if INCLUDE not in layer.content:
        return layer
    from strongroom.config.includes import included

    return layer.replace(included=included(layer, trusted={0}))


def locking_layers(path: str) -> list[Layer]:
    """Return the system's and the user's files where they lock sections, the system's first.

    Args:
        path: The file in force, which is left out.
    """
    found = []
    seen = {os.path.realpath(path)}
    for candidate, home in own_files().items():
        real = os.path.realpath(candidate)
        if real not in seen and os.path.isfile(candidate):
            layer = read(candidate, home=home)
            locked = layer.content.get("locked")
            # Unless it locks its policies, they do not count here, and need not be readable.
            rules = isinstance(locked, list) and "policies" in locked
            found += [with_included(layer) if rules else layer] if locked else []
        seen.add(real)
    return found
