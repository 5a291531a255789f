"""Reads the configuration anew, from where it was read first."""

from __future__ import annotations

import os

from collections.abc import Callable, Iterable
from typing import Any

from strongroom.config import files
from strongroom.config.load import Configuration, load


def rereader(
    source: str | dict[str, Any] | None, first: Configuration, *, ready: Iterable[str]
) -> Callable[[], Configuration]:
    """Return a function that reads the same configuration again, wherever the program has gone meanwhile.

    Args:
        source: What :func:`~strongroom.config.load.load` was given.
        first: What it returned. Call this before anything else happens: the working folder and
            ``STRONGROOM_CONFIG`` have to be what they were.
        ready: Names of backends that exist already and need no table.
    """
    if isinstance(source, dict):
        folder = os.getcwd()
        return lambda: load(source, ready=ready, folder=folder)
    searched = not (source or os.environ.get(files.VARIABLE))

    def again() -> Configuration:
        # Nobody has named the file, so it is to be as safe as when it was found.
        if searched and os.path.exists(first.source):
            files.check_found(first.source)
        return load(first.source, ready=ready)

    return again
