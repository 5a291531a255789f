"""Reads what a command is given: a file as it is, or standard input, up to a limit."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys

from collections.abc import Iterable
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


def label_of(path: str) -> str:
    """Return what errors call an input: its path, or ``standard input``.

    Args:
        path: The file; ``-`` for standard input.
    """
    return "standard input" if path == STANDARD else path


def ensure_repeatable(paths: Iterable[str]) -> None:
    """Refuse inputs that can be read once only, such as a pipe: the second time it would be empty, or never end.

    Args:
        paths: Where they are; what is missing is told of when it is read.

    Raises:
        ConfigurationError: One of them is no plain file.
    """
    for path in paths:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ConfigurationError(
                f"{path} is no plain file, so it cannot be read again", hint="write what it holds to a file"
            )


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
    # Whoever shares it may have made it one that does not wait, and finds it as he has left it.
    waited = _set_waiting(True)
    try:
        kept = _kept(sys.stdin.buffer)
    except OSError as error:
        raise ConfigurationError(
            f"{label_of(STANDARD)} cannot be read: {error.strerror}", hint="pipe something in, or name a file"
        ) from error
    finally:
        _set_waiting(waited)
    return _value(kept, label_of(STANDARD))


def _set_waiting(waiting: bool) -> bool:
    """Have reads of standard input wait for what is to come, or not; return whether they did before."""
    try:
        before = os.get_blocking(sys.stdin.fileno())
        os.set_blocking(sys.stdin.fileno(), waiting)
    except OSError:
        return True  # it is nothing that the system could have wait, or not
    return before


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
    # In pieces that no local variable holds: a traceback may show them.
    kept = io.BytesIO()
    # At a terminal a short one is the last: to ask again would have somebody end his input twice.
    least = _PIECE if file.isatty() else 1
    while kept.write(_piece(file)) >= least and kept.tell() <= MOST_BYTES:
        pass
    return kept


def _piece(file: BinaryIO) -> bytes:
    piece: bytes | None = file.read(_PIECE)
    # Nothing that was read is in here when it is raised.
    if piece is None:
        raise BlockingIOError(errno.EAGAIN, "it is not ready, and somebody who shares it has it not wait")
    return piece


def _value(kept: io.BytesIO, label: str) -> SecretValue:
    size = kept.tell()
    if size > MOST_BYTES:
        raise ValueTooLargeError(
            f"{label} has more than {MOST_BYTES:,} bytes", size=size, limit=MOST_BYTES, hint="check what it is"
        )
    return SecretValue(kept.getbuffer())
