"""Files that are private from birth, and the refusal of those that are not."""

from __future__ import annotations

import errno
import os
import stat

from typing import Final

from strongroom.errors import BackendError, ConfigurationError, StoreDamagedError

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
JOURNAL: Final = "-journal"
LOG: Final = "-wal"
SIDE_FILES: Final = (LOG, "-shm", JOURNAL)
"""What SQLite keeps beside its file, by what it appends to the name."""

DRAFT: Final = ".new"
"""What the name of a file that is being made ends with."""

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def absolute(path: str) -> str:
    """Return the absolute form of a path.

    Raises:
        ConfigurationError: No file can have such a name.
    """
    if "\0" in path:
        raise ConfigurationError(f"{path!r} is no path: it holds a NUL", hint="correct the path")
    return os.path.abspath(path)


def check_store_file(path: str) -> os.stat_result:
    """Refuse a store that others may read or that is not where it seems to be.

    Args:
        path: The store's file, absolute.

    Returns:
        What the system says of the file.

    Raises:
        ConfigurationError: There is no such file.
        BackendError: It is no plain file, has a second name, belongs to somebody
            else or is open to others (code ``insecure_permissions``).
        StoreDamagedError: A rollback journal lies beside it.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigurationError(
            f"there is no local store at {path}", hint="make one with `strongroom init`, or correct the path"
        ) from error
    except OSError as error:
        raise insecure(f"{path} cannot be looked at ({error.strerror})", "check the rights of its folder") from error
    check_private(path, status)
    _check_names(path, status)
    for suffix in SIDE_FILES:
        try:
            beside = os.lstat(path + suffix)
        except FileNotFoundError:
            continue
        check_private(path + suffix, beside)
        _check_names(path + suffix, beside)
        if suffix == JOURNAL and beside.st_size:
            raise _foreign_journal(path)
    return status


def _foreign_journal(path: str) -> StoreDamagedError:
    """Return the error for a journal, which SQLite would play back into the store before anything else."""
    return StoreDamagedError(
        f"{path}{JOURNAL} is there, which no store has; nothing was opened",
        hint=f"find out who made it, move it away and run `strongroom local verify`: {path} itself was not touched",
    )


def _check_names(path: str, status: os.stat_result) -> None:
    """Refuse a file with a second name: SQLite keeps a log for each, and each loses what the other has."""
    if status.st_nlink > 1 + _drafts_of(path, status):
        raise insecure(
            f"{path} has {status.st_nlink} names (hard links), and a store must have one",
            f"remove the others; find them with `find -xdev -samefile {path}` from the top of the file system",
        )


def _drafts_of(path: str, status: os.stat_result) -> int:
    """Count the names that ``publish`` gives a new file for a moment, or for longer if it is killed then."""
    if status.st_nlink == 1:
        return 0
    folder, name = os.path.split(path)
    with os.scandir(folder) as entries:
        drafts = [entry for entry in entries if entry.name.startswith(f".{name}.") and entry.name.endswith(DRAFT)]
        return sum(entry.inode() == status.st_ino for entry in drafts)


def check_private(path: str, status: os.stat_result) -> None:
    """Refuse a file that is not a plain one of our own, for nobody else.

    Args:
        path: Its path, for the message.
        status: What the system says of it.

    Raises:
        BackendError: It is not (code ``insecure_permissions``).
    """
    if not stat.S_ISREG(status.st_mode):
        raise insecure(
            f"{path} is not a plain file and is not followed", "give the path of the file itself, without links"
        )
    if status.st_uid != os.geteuid():
        raise insecure(f"{path} belongs to user {status.st_uid}, not to us", f"chown {os.geteuid()} {path}")
    if status.st_mode & 0o077:
        raise insecure(f"{path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod 600 {path}")


def check_key_file(path: str) -> None:
    """Refuse a key file that others may read.

    A file of root's may be readable by a group: that is how systemd and
    orchestrators hand a key to one service.

    Args:
        path: The key's file, absolute; symbolic links are followed.

    Raises:
        BackendError: It belongs to somebody else or is open to others (code
            ``insecure_permissions``).
    """
    try:
        status = os.stat(path)
    except OSError:
        return  # reading it gives the better message
    owner, loose = status.st_uid, status.st_mode & 0o077
    if owner not in (os.geteuid(), 0):
        raise insecure(f"the key file {path} belongs to user {owner}, not to us", f"chown {os.geteuid()} {path}")
    allowed = 0 if owner == os.geteuid() else 0o040
    if loose & ~allowed:
        raise insecure(
            f"the key file {path} is open to others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod 600 {path}"
        )


def has_log(path: str) -> bool:
    """Tell whether there is anything in a store's write-ahead log.

    Args:
        path: The store's file, absolute.
    """
    try:
        return os.path.getsize(path + LOG) > 0
    except OSError:
        return False


def folder_warning(path: str) -> str:
    """Say what is wrong with the folder of a file; an empty answer means nothing is.

    Args:
        path: The store's file, absolute.
    """
    folder = os.path.dirname(path)
    try:
        mode = os.stat(folder).st_mode
    except OSError:
        return ""
    if mode & 0o002 and not mode & stat.S_ISVTX:
        return f"anybody may replace files in {folder}: chmod o-w {folder}"
    return ""


def insecure(what: str, mend: str) -> BackendError:
    """Return the error for rights that are too wide, with the command that mends them."""
    return BackendError(what, code="insecure_permissions", hint=mend)


def make_private_folder(folder: str) -> None:
    """Make a folder, and those above it that are missing, for the owner only from birth.

    Args:
        folder: An absolute path; what exists is left as it is.
    """
    if os.path.isdir(folder):
        return
    make_private_folder(os.path.dirname(folder))
    try:
        os.mkdir(folder, PRIVATE_FOLDER)
    except FileExistsError:
        # Somebody was quicker; anything but a folder fails at the next step.
        return


def refuse_existing(path: str) -> None:
    """Refuse a path where there is something, or a left-over that SQLite would take for a part of it.

    Args:
        path: Where a new file is to be.

    Raises:
        ConfigurationError: There is something.
    """
    for taken in (path, *(path + suffix for suffix in SIDE_FILES)):
        if os.path.lexists(taken):
            raise ConfigurationError(f"there is already a file at {taken}", hint="move it away or choose another path")


def new_private_file(path: str) -> None:
    """Make an empty file for the owner only; it must not exist, not even as a link.

    Args:
        path: An absolute path.

    Raises:
        FileExistsError: There is something at the path.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, PRIVATE_FILE))


def publish(draft: str, path: str) -> None:
    """Give a finished file its name, durably, without ever replacing another.

    Args:
        draft: The file under its temporary name, in the same folder.
        path: The final name.

    Raises:
        ConfigurationError: There is already something at the final name.
    """
    _sync(draft)
    try:
        _name(draft, path)
    except FileExistsError as error:
        raise ConfigurationError(f"there is already a file at {path}", hint="choose another path") from error
    _sync(os.path.dirname(path))


def _name(draft: str, path: str) -> None:
    try:
        os.link(draft, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Such a file system can only replace, so the name is taken first.
        new_private_file(path)
        os.replace(draft, path)


def storage_error(error: OSError, path: str) -> BackendError:
    """Return the error for a file that the system would not write."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    return BackendError(
        f"{path} cannot be written ({error.strerror})",
        code="storage_full" if full else "backend_error",
        hint="free some space" if full else "check the rights of its folder",
    )


def sync_log(path: str) -> None:
    """Have a store's write-ahead log on the disk, if there is one: else all of it is in the file, and synced.

    Args:
        path: The store's file, absolute. SQLite locks that one and the ``-shm`` beside it, and never
            the log: to close a file gives up all locks that this process has on it.

    Raises:
        BackendError: The system failed to.
    """
    log = path + LOG
    try:
        _sync(log)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(error, log) from error


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
