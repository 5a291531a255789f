"""Files of policies that another file of the configuration includes."""

from __future__ import annotations

import os

from collections.abc import Iterator
from typing import Final

from strongroom.config.layers import INCLUDE, Layer, read, refuse_foreign
from strongroom.config.references import absolute
from strongroom.errors import ConfigurationError

ALLOWED: Final = "policies"
_SPECIAL: Final = frozenset("*?[")


def included(layer: Layer, *, trusted: set[int]) -> tuple[Layer, ...]:
    """Read the files that a layer includes.

    Args:
        layer: The layer; its ``include`` is a list of paths relative to its folder, in
            which ``*``, ``?`` and ``[...]`` stand for parts of one file's or folder's name.
        trusted: The user ids, beside the process's own, whose files may be included.

    Returns:
        One layer a file, in the order of the list and sorted by path within a
        pattern; a file that is named twice counts once.

    Raises:
        ConfigurationError: The list is not one, a file that is named without a pattern
            is missing, or a file cannot be read, may be somebody else's, or holds
            anything but policies.
    """
    stated = layer.content[INCLUDE]
    if not isinstance(stated, list) or not all(isinstance(path, str) and path and "\0" not in path for path in stated):
        raise ConfigurationError(f"{INCLUDE} in {layer.path} is not usable", hint="expected a list of paths")
    paths: dict[str, str] = {}
    for text in stated:
        for path in _found(text, layer):
            paths.setdefault(os.path.realpath(path), path)
    return tuple(_read(path, layer, trusted) for path in paths.values())


def _found(text: str, layer: Layer) -> list[str]:
    """Return the files that one entry of the list means."""
    text = os.path.normpath(text)
    path = absolute(text, layer.folder)
    if not _SPECIAL.intersection(text):
        if not os.path.isfile(path):
            raise ConfigurationError(
                f"{path} does not exist, and {layer.path} includes it",
                hint="check the path, or remove it from the list",
            )
        return [path]
    # The folder's own name is no pattern, whatever it holds.
    whole = os.path.isabs(text) or text.startswith("~")
    drive, rest = os.path.splitdrive(path) if whole else ("", text)
    base = drive + os.sep if whole else layer.folder
    parts = rest.strip(os.sep).split(os.sep)
    while not _SPECIAL.intersection(parts[0]):
        base = os.path.join(base, parts.pop(0))
    try:
        found = sorted(map(os.path.abspath, _matching(base, parts)))
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename} cannot be read, and {layer.path} includes files of it: {error.strerror}",
            hint="check its permissions",
        ) from error
    return [path for path in found if _is_file(path, layer)]


def _matching(folder: str, parts: list[str]) -> Iterator[str]:
    """Yield what matches a pattern below a folder.

    The standard library's ``glob`` passes over folders that it may not look into,
    and so over policies that deny.

    Raises:
        OSError: A folder cannot be looked into.
    """
    from fnmatch import filter as matching

    part, *rest = parts
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in matching(names, part):
        if not name.startswith(".") or part.startswith("."):
            path = os.path.join(folder, name)
            yield from _matching(path, rest) if rest else (path,)


def _is_file(path: str, layer: Layer) -> bool:
    """Tell whether a pattern means this; what is neither a file nor a folder it may mean, and cannot have."""
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise ConfigurationError(
            f"{path} is no file that can be read, and {layer.path} includes it",
            hint="check its permissions and where it leads if it is a link, or remove it",
        )
    return os.path.isfile(path)


def _read(path: str, layer: Layer, trusted: set[int]) -> Layer:
    if os.path.isfile(layer.path):
        trusted = trusted | {os.stat(layer.path).st_uid}
    refuse_foreign(path, trusted, f"remove it from what {layer.path} includes if you do not know it")
    home = getattr(layer.folder, "home", "")
    found = read(path, home=home)
    others = [key for key in found.content if key != ALLOWED]
    if others:
        raise ConfigurationError(
            f"{others[0]} in {path} cannot be included", hint=f"only [[{ALLOWED}]] can; put the rest into {layer.path}"
        )
    return found
