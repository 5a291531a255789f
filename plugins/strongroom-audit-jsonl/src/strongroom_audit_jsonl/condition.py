"""Whether an event could be recorded now, found out without recording one."""

from __future__ import annotations

import os
import stat

from typing import TYPE_CHECKING, Final

from strongroom.contracts import Health, HealthState
from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import check_private, check_unwritable, open_private, readable_by_others

if TYPE_CHECKING:
    from strongroom_audit_jsonl.settings import JsonlSettings

_NEEDED: Final = 4096
"""Less free space than this, in bytes, is none."""


def examine(settings: JsonlSettings) -> Health:
    """Return the state of the file and its folder.

    Raises:
        AuditError: No event can be recorded; it says why.
        OSError: Neither can it be found out why.
    """
    path = settings.path
    folder = _folder(path)
    can_add = _may(folder, os.W_OK | os.X_OK)
    if not can_add and (missing := _missing(settings)):
        raise AuditError(f"{missing} cannot be made in {folder}", hint="check the folder's permissions")
    _check_space(folder, path)
    _check_lock(f"{path}.lock")
    status = _check_file(path)
    facts = (("bytes", str(status.st_size)),) if status else ()
    for reason, hint in _faults(settings, folder, status, can_add=can_add):
        return Health(state=HealthState.DEGRADED, reason=reason, hint=hint, facts=facts)
    return Health(state=HealthState.UP, facts=facts)


def _folder(path: str) -> str:
    """Return the folder that a file would be made in: its own one, or the one where that would be made."""
    folder = os.path.dirname(path)
    if not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        raise AuditError(
            f"the audit file {path} cannot be written: {folder} is not a folder",
            hint="make it, or choose another path",
        )
    return folder


def _missing(settings: JsonlSettings) -> str:
    """Return the first of the files that a writer cannot do without and would have to make."""
    suffixes = ("", ".lock") if settings.key is not None else ("", ".lock", ".key")
    names = (settings.path + suffix for suffix in suffixes)
    return next((name for name in names if not os.path.lexists(name)), "")


def _may(path: str, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _check_space(folder: str, path: str) -> None:
    disk = os.statvfs(folder)
    blocks = disk.f_bfree if os.geteuid() == 0 else disk.f_bavail
    # Some file systems count no files.
    is_without_files = disk.f_files > 0 and disk.f_favail == 0 and not os.path.lexists(path)
    if blocks * disk.f_frsize < _NEEDED or is_without_files:
        raise AuditError(f"the audit file {path} cannot be written: its disk is full", hint="free space on its disk")


def _check_lock(path: str) -> None:
    if not os.path.lexists(path):
        return
    descriptor = open_private(path, os.O_RDWR)
    try:
        check_private(descriptor, path)
    finally:
        os.close(descriptor)


def _check_file(path: str) -> os.stat_result | None:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    check_unwritable(status, path)
    if not _may(path, os.R_OK | os.W_OK):
        raise AuditError(f"the audit file {path} may not be written by this user", hint=f"check the owner of {path}")
    return status


def _faults(
    settings: JsonlSettings, folder: str, status: os.stat_result | None, *, can_add: bool
) -> list[tuple[str, str]]:
    """Return what is wrong although events can be recorded, with what to do about it."""
    mode = os.stat(folder).st_mode
    loose = readable_by_others(status) if status else ""
    is_open = bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX and folder == os.path.dirname(settings.path)
    faults = (
        (
            is_open,
            f"anybody may remove or replace files in {folder}, the trail's among them",
            f"run: chmod o-w {folder}",
        ),
        (
            bool(loose),
            f"the audit file {settings.path} has mode {loose}, so others can read it",
            f"run: chmod 600 {settings.path}",
        ),
        (
            not can_add and settings.max_bytes is not None,
            f"nothing may be made in {folder}, so the audit file cannot be put aside when it is full",
            "check the folder's permissions",
        ),
    )
    return [(reason, hint) for applies, reason, hint in faults if applies]
