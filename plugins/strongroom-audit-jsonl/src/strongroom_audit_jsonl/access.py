"""Opening files so that nobody else can read them from the moment they exist."""

from __future__ import annotations

import errno
import os
import stat

from contextlib import suppress
from typing import Final

from strongroom.errors import AuditError

PRIVATE: Final = 0o600
_OTHERS: Final = 0o077
_OTHERS_WRITE: Final = 0o022


def open_private(path: str, flags: int) -> int:
    """Open an ordinary file, 0600 if this makes it, without waiting and never through a symbolic link.

    Raises:
        OSError: It cannot be opened, or is a pipe, a device, a folder or the like.
    """
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, PRIVATE)
    # Asked of what was opened, not of the path, which may lead elsewhere by now.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not an ordinary file", path)
    return descriptor


def make_folder(path: str) -> None:
    """Make the folder that a file is to lie in, with mode 0700, if it is missing.

    Raises:
        OSError: It cannot be made, or the folder above it is missing as well.
    """
    folder = os.path.dirname(path)
    if os.path.isdir(folder):
        return
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        # Another process was quicker, unless it is no folder at all.
        if not os.path.isdir(folder):
            raise


def sync_folder(path: str) -> None:
    """Bring the directory entry of a file to stable storage.

    Raises:
        OSError: The folder cannot be synced.
    """
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: str) -> None:
    """Bring a file that somebody else may have written to stable storage, if it can be opened."""
    with suppress(OSError):
        descriptor = open_private(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write every byte, however many calls that takes.

    Raises:
        OSError: Not every byte could be written; some may have been.
    """
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def check_private(descriptor: int, path: str) -> os.stat_result:
    """Refuse a file that others may read or write, or that is another user's; return its status.

    Raises:
        AuditError: It is such a file; the hint says how to mend it.
    """
    status = os.fstat(descriptor)
    _check_owner(status, path)
    if status.st_mode & _OTHERS:
        raise AuditError(f"{path} has mode {_mode(status)}, so others can use it", hint=f"run: chmod 600 {path}")
    return status


def check_unwritable(status: os.stat_result, path: str) -> None:
    """Refuse an audit file that others may write, or that is no ordinary file.

    Raises:
        AuditError: It is such a file; the hint says how to mend it.
    """
    if not stat.S_ISREG(status.st_mode):
        raise AuditError(f"{path} is not an ordinary file", hint="choose another path for the audit file")
    _check_owner(status, path)
    if status.st_mode & _OTHERS_WRITE:
        raise AuditError(f"{path} has mode {_mode(status)}, so others can write to it", hint=f"run: chmod 600 {path}")


def readable_by_others(status: os.stat_result) -> str:
    """Return the mode of a file that others may read; empty if they may not."""
    return _mode(status) if status.st_mode & _OTHERS else ""


def _check_owner(status: os.stat_result, path: str) -> None:
    # Root may verify and write everybody's trail.
    if os.geteuid() not in (0, status.st_uid) and status.st_uid != 0:
        raise AuditError(f"{path} belongs to another user", hint=f"run: chown {os.geteuid()} {path}")


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"
