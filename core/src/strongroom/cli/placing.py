"""Puts files with secrets in them in their places: what is there keeps its owner and mode, unless others are wanted."""

from __future__ import annotations

import os
import stat

from collections.abc import Mapping
from contextlib import ExitStack

from strongroom._record import Record
from strongroom.cli.output import Access, drafted, sync_folder
from strongroom.errors import ConfigurationError
from strongroom.templates.files import content_of


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
    except PermissionError as error:
        hint = "its owner and group can be kept by root only: name others with --owner and --group, or check its folder"
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint=hint) from error
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}", hint="check its folder") from error


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
    return None if same and content_of(path) == content else access


def _or(wanted: int | None, present: int) -> int:
    return present if wanted is None else wanted
