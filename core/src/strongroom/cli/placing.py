"""Puts files in their places once all are ready; those that must be new, all of them or none."""

from __future__ import annotations

import os
import stat

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from strongroom._record import Record
from strongroom.cli.output import Access, drafted, sync_folder, taken
from strongroom.cli.problems import raise_all
from strongroom.errors import ConfigurationError
from strongroom.inputs import content_of

_REMOVE: Final = "remove it first, if it may go"


class Wanted(Record):
    """What is asked for in so many words; the rest stays as it is."""

    mode: int | None = None
    owner: int | None = None
    group: int | None = None


def changes(files: Mapping[str, bytes], wanted: Wanted) -> dict[str, Access]:
    """Return which files are not as they are to be, and what rights each is to have.

    Args:
        files: What each file is to hold, by absolute path.
        wanted: The rights that are asked for.

    Raises:
        ConfigurationError: At one of the places is something that is no file, such as a link.
    """
    found = {path: _change(path, content, wanted) for path, content in files.items()}
    return {path: access for path, access in found.items() if access is not None}


def place(files: Mapping[str, bytes], changed: Mapping[str, Access]) -> None:
    """Replace files, each at once and durably; none is touched before all of them are ready beside their places.

    Args:
        files: What each file is to hold, by absolute path.
        changed: What :func:`changes` has returned.

    Raises:
        ConfigurationError: One of them cannot be written. If that shows
            before the first one has its name, nothing has changed.
    """
    path = ""
    try:
        with ExitStack() as stack:
            ready = {}
            for path, access in changed.items():
                ready[path] = stack.enter_context(drafted(path, files[path], access))
            for path, publish in ready.items():
                publish()
                sync_folder(path)
    except OSError as error:
        hint = "check its folder"
        if isinstance(error, PermissionError) and {changed[path].owner, changed[path].group} != {None}:
            hint = f"its owner and group can be kept by root only: name others with --owner and --group, or {hint}"
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def place_new(files: Mapping[str, bytes], mode: int) -> None:
    """Write files where nothing is yet, each at once and durably, and make their folders: all of them, or none.

    Args:
        files: What each file is to hold, by absolute path.
        mode: Their mode.

    Raises:
        ConfigurationError: Something is at one of the places, or cannot be
            written; what was made has been taken back.
    """
    raise_all([taken(path, _REMOVE) for path in files if os.path.lexists(path)])
    path = ""
    try:
        with _taken_back() as made, ExitStack() as ready:
            publishing = {}
            for path, content in files.items():
                _make_folder(os.path.dirname(path), made)
                publishing[path] = ready.enter_context(drafted(path, content, Access(mode=mode), replace=False))
            for path, publish in publishing.items():
                publish()
                made.append(path)
                sync_folder(path)
    except OSError as error:
        # Somebody else was faster, since it was looked.
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            raise taken(path, _REMOVE) from error
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error


@contextmanager
def _taken_back() -> Iterator[list[str]]:
    """Lend a list for the files and folders that are made; if the block fails, they go again, the last one first."""
    made: list[str] = []
    try:
        yield made
    except BaseException:
        for path in reversed(made):
            # A folder stays in which somebody else has put something meanwhile.
            with suppress(OSError):
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)
        raise


def _make_folder(folder: str, made: list[str]) -> None:
    """Make a folder durably, and those that it is in; add to a list which ones were not there."""
    if os.path.isdir(folder):
        return
    _make_folder(os.path.dirname(folder), made)
    # Somebody else may be faster; what is there and no folder is told of when a file is to be in it.
    with suppress(FileExistsError):
        os.mkdir(folder)
        made.append(folder)
        sync_folder(folder)


def _change(path: str, content: bytes, wanted: Wanted) -> Access | None:
    try:
        status = os.lstat(path)
    except OSError:
        # What it is that hinders shows when it is written.
        return Access(mode=_or(wanted.mode, 0o600), owner=wanted.owner, group=wanted.group)
    if not stat.S_ISREG(status.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "no regular file"
        raise ConfigurationError(f"{path} is {what}, and stays as it is", hint="name the file itself, or remove it")
    access = Access(
        # A file that holds secrets runs as nobody.
        mode=_or(wanted.mode, stat.S_IMODE(status.st_mode) & 0o777),
        owner=_or(wanted.owner, status.st_uid),
        group=_or(wanted.group, status.st_gid),
    )
    same = (access.mode, access.owner, access.group) == (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    # One that cannot be read counts as another.
    return None if same and status.st_size == len(content) and content_of(path) == content else access


def _or(wanted: int | None, present: int) -> int:
    return present if wanted is None else wanted
