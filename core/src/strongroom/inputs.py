"""Reads what a command is given: a file as it is, or standard input, up to a limit."""

from __future__ import annotations

import io
import os
import stat
import sys

from contextlib import suppress
from typing import BinaryIO, Final

from strongroom.errors import ConfigurationError, ValueTooLargeError
from strongroom.model import SecretValue

STANDARD: Final = "-"
"""Standard input, where a path can stand."""
MOST_BYTES: Final = 1 << 28
"""The most that is read: what has no end, such as a device, must not fill the memory."""

AS_IT_STANDS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
"""How to open what somebody else may have put there: links are not followed, pipes not waited for."""

_PIECE: Final = 1 << 20


def read_input(path: str) -> SecretValue:
    """Return the bytes of a file, or of standard input.

    Args:
        path: The file; ``-`` for standard input.

    Raises:
        ConfigurationError: It cannot be read.
        ValueTooLargeError: It has more than ``MOST_BYTES``.
    """
    return read_standard_input() if path == STANDARD else read_file(path)


def shown(path: str) -> str:
    """Return what errors call that from which is read.

    Args:
        path: The file; ``-`` for standard input.
    """
    return "standard input" if path == STANDARD else path


def read_file(path: str, label: str = "") -> SecretValue:
    """Return the bytes of a file, which may be a pipe.

    Args:
        path: The file.
        label: What errors call it; its path unless given.

    Raises:
        ConfigurationError: It cannot be read.
        ValueTooLargeError: It has more than ``MOST_BYTES``.
    """
    try:
        with open(path, "rb") as file:
            kept = _kept(file)
    except OSError as error:
        raise ConfigurationError(f"{label or path} cannot be read: {error.strerror}", hint="check the path") from error
    return _value(kept, label or path)


def read_standard_input() -> SecretValue:
    """Return the bytes of standard input, to its end.

    Raises:
        ConfigurationError: It cannot be read.
        ValueTooLargeError: It has more than ``MOST_BYTES``.
    """
    # Whoever shares it may have made it one that does not wait; what comes later would be missing then.
    with suppress(OSError):
        os.set_blocking(sys.stdin.fileno(), True)
    try:
        kept = _kept(sys.stdin.buffer)
    except OSError as error:
        raise ConfigurationError(
            f"{shown(STANDARD)} cannot be read: {error.strerror}", hint="pipe something in, or name a file"
        ) from error
    return _value(kept, shown(STANDARD))


def content_of(path: str) -> bytes | None:
    """Return a regular file's content; ``None`` if it cannot be read, or something else is there, such as a link.

    Args:
        path: The file.
    """
    try:
        descriptor = os.open(path, AS_IT_STANDS)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        with open(descriptor, "rb", closefd=False) as file:
            return file.read()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _kept(file: BinaryIO) -> io.BytesIO:
    # In pieces that no local variable holds: a traceback may show them. A short one is the last: to ask again would
    # have somebody at a terminal end his input twice.
    kept = io.BytesIO()
    while kept.write(file.read(_PIECE)) == _PIECE and kept.tell() <= MOST_BYTES:
        pass
    return kept


def _value(kept: io.BytesIO, label: str) -> SecretValue:
    size = kept.tell()
    if size > MOST_BYTES:
        raise ValueTooLargeError(
            f"{label} has more than {MOST_BYTES:,} bytes", size=size, limit=MOST_BYTES, hint="check what it is"
        )
    return SecretValue(kept.getbuffer())
