"""Writing secrets into a file: private from birth, whole or not at all, and nothing left if it fails."""

from __future__ import annotations

import fcntl
import os
import re
import stat

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError
from strongroom.inputs import AS_IT_STANDS

_CHOOSE: Final = "choose another path, or add --force"


class Access(Record):
    """Who may do what with a file that is written."""

    mode: int = 0o600
    owner: int | None = None
    """A user's number; whoever writes it unless given."""
    group: int | None = None
    """A group's number; the one that new files in the folder have unless given."""


def write_private(path: str, content: bytes, *, replace: bool) -> None:
    """Make a file for the owner only, durably and under its final name at once.

    What is at the path is never opened: a symbolic link is replaced or refused, not followed.
    Drafts that earlier, killed runs have left of the same file are removed.

    Args:
        path: Where to.
        content: The file's bytes.
        replace: Whether what is there may go.

    Raises:
        ConfigurationError: There is something already, or the folder cannot be written to.
    """
    path = os.path.abspath(path)
    if not replace and os.path.lexists(path):
        raise taken(path, _CHOOSE)
    try:
        with drafted(path, content, Access(), replace=replace) as publish:
            publish()
        sync_folder(path)
    except FileExistsError as error:
        raise taken(path, _CHOOSE) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error


def taken(path: str, hint: str) -> ConfigurationError:
    """Return what is raised where something is that may not go: a file, a folder, or a link that may lead nowhere.

    Args:
        path: Where it is.
        hint: What to do about it.
    """
    return ConfigurationError(f"there is already something at {path}", hint=hint)


@contextmanager
def drafted(path: str, content: bytes, access: Access, *, replace: bool = True) -> Iterator[Callable[[], None]]:
    """Have a file ready beside its place, durably; it is gone at the end of the block unless it was put there.

    Drafts that earlier, killed runs have left of the same file are removed. Nobody has more rights at the draft
    than at the file itself, at any time.

    Args:
        path: The file's absolute path.
        content: Its bytes.
        access: Its owner, group and mode.
        replace: Whether what is there may go.

    Yields:
        A function that gives it its name. It raises ``OSError`` if it cannot, and ``FileExistsError`` where
        something is that may not go.

    Raises:
        OSError: The folder cannot be written to, or the file cannot have such an owner or group.
    """
    remove_drafts(path, owner=access.owner)
    with _unnamed(path, content, access) as (descriptor, draft, is_nameless):
        if is_nameless and replace:
            _name(descriptor, draft)

        def publish() -> None:
            if replace:
                os.replace(draft, path)
            elif is_nameless:
                _name(descriptor, path)
            else:
                _publish(draft, path)

        yield publish


@contextmanager
def _unnamed(path: str, content: bytes, access: Access) -> Iterator[tuple[int, str, bool]]:
    """Lend a complete file's descriptor, the path of its draft, and whether it has not got that name either yet."""
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.new")
    nameless = _open_nameless(folder)
    try:
        with os.fdopen(_open_draft(draft) if nameless is None else nameless, "wb") as file:
            with suppress(OSError):  # a file system that knows no locks; then nobody takes the draft for a left-over
                try_lock(file.fileno())
            file.write(content)
            file.flush()
            _hand_over(file.fileno(), access)
            os.fsync(file.fileno())
            yield file.fileno(), draft, nameless is not None
    finally:
        _remove(draft)


def _hand_over(descriptor: int, access: Access) -> None:
    """Give a private file to whom it is for, in an order in which nobody else may read it meanwhile."""
    status = os.fstat(descriptor)
    if access.group not in {None, status.st_gid}:
        os.fchown(descriptor, -1, -1 if access.group is None else access.group)
    if access.mode != stat.S_IMODE(status.st_mode):
        os.fchmod(descriptor, access.mode)
    if access.owner not in {None, status.st_uid}:
        os.fchown(descriptor, -1 if access.owner is None else access.owner, -1)


def _open_nameless(folder: str) -> int | None:
    """Open a file that is gone as soon as it is closed, unless it gets a name; None where there is no such thing."""
    flag = getattr(os, "O_TMPFILE", 0)
    if not flag or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder, os.O_WRONLY | flag, 0o600)
    except OSError:
        return None


def _open_draft(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _name(descriptor: int, path: str) -> None:
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        # Only with a folder to start from does Python ask the system to follow the link to the file itself.
        os.link(f"/proc/self/fd/{descriptor}", os.path.basename(path), dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _publish(draft: str, path: str) -> None:
    """Give a draft a name that must be free."""
    try:
        os.link(draft, path, follow_symlinks=False)
    except FileExistsError:
        raise
    # The second is what the standard library raises where a platform cannot do it without following links.
    except (OSError, NotImplementedError):
        # A file system without hard links can only replace, so the name is taken first.
        os.close(_open_draft(path))
        os.replace(draft, path)


def _remove(draft: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(draft)


def remove_drafts(path: str, *, owner: int | None = None) -> None:
    """Remove what runs that were killed have left of a file; the draft of one that goes on is locked.

    Args:
        path: The file's absolute path.
        owner: Another user's number whose drafts are ours, too: those of a file that is written for him.

    Raises:
        OSError: The folder cannot be read.
    """
    folder, name = os.path.split(path)
    ours = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}\.new")
    for entry in filter(ours.fullmatch, os.listdir(folder)):
        # What is a link, somebody else's or in use is left alone; so is what has gone meanwhile.
        with suppress(OSError):
            _remove_abandoned(os.path.join(folder, entry), {os.geteuid(), owner})


def _remove_abandoned(draft: str, owners: set[int | None]) -> None:
    descriptor = os.open(draft, AS_IT_STANDS)
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid in owners and try_lock(descriptor):
            os.unlink(draft)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder against all who ask; tell whether nobody else has.

    Args:
        descriptor: The lock ends with it.

    Raises:
        OSError: The file system knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync_folder(path: str) -> None:
    """Have the names in a file's folder on stable storage.

    Args:
        path: An absolute path of a file in it.

    Raises:
        OSError: The folder cannot be opened or synced.
    """
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
