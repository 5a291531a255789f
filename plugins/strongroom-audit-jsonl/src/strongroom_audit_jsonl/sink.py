"""The audit sink ``jsonl`` and the trail that it leaves."""

from __future__ import annotations

import os

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from strongroom.contracts import (
    AuditSink,
    AuditWrite,
    Health,
    HealthState,
    Trail,
    TrailHead,
    TrailQuery,
    TrailReport,
)
from strongroom.errors import AuditError
from strongroom.model import AuditEvent
from strongroom_audit_jsonl.access import make_folder, readable_by_others
from strongroom_audit_jsonl.current import CurrentFile, foreign
from strongroom_audit_jsonl.keys import SealKey, configured_key, key_from_file, make_key_file
from strongroom_audit_jsonl.lines import encode
from strongroom_audit_jsonl.lock import TrailLock
from strongroom_audit_jsonl.notes import Note

if TYPE_CHECKING:
    from strongroom_audit_jsonl.plugin import JsonlSettings
    from strongroom_audit_jsonl.verify import Snapshot


class JsonlSink(AuditSink, Trail):
    """Appends events to a file, one JSON line each, chained and sealed.

    Any number of processes may write to one file, and any rotator may rename,
    truncate or delete it at any moment; no signal is needed.

    Args:
        settings: The sink's settings; nothing is opened before the first use.
    """

    def __init__(self, settings: JsonlSettings) -> None:
        self._settings = settings
        self._file = CurrentFile(settings.path, settings.max_bytes, settings.keep_files)
        self._lock = TrailLock(f"{settings.path}.lock", settings.lock_timeout)
        self._key: SealKey | None = None
        self._failure: AuditError | None = None

    def write(self, request: AuditWrite) -> None:
        """Record all events of the request as one block, or none.

        Raises:
            AuditError: The disk is full, the lock was held too long, the file or
                the key cannot be used; nothing of the block is in the file.
        """
        if not request.events:
            return
        try:
            self._write(request)
        except AuditError as error:
            self._failure = error.again()
            raise
        self._failure = None

    def _write(self, request: AuditWrite) -> None:
        try:
            make_folder(self._settings.path)
            with self._lock:
                key = self._writing_key()
                block, head = encode(self._file.start(key), request.events, key)
                self._file.append(block, Note(head=head, durable=request.durable), key)
        except OSError as error:
            raise AuditError(
                f"the audit file {self._settings.path} cannot be written: {error.strerror}",
                hint="free space on its disk, or check its folder and permissions",
            ) from error

    def health(self) -> Health:
        """Say whether events can be recorded now, without recording one."""
        if self._failure is not None:
            return Health(state=HealthState.DOWN, reason=self._failure.what, hint=self._failure.hint)
        path = self._settings.path
        try:
            status = os.stat(path)
        except OSError:
            return Health(state=HealthState.UP)  # There is none yet, or the next write will say what is wrong.
        mode = readable_by_others(status)
        if mode:
            return Health(
                state=HealthState.DEGRADED,
                reason=f"the audit file {path} has mode {mode}, so others can read it",
                hint=f"run: chmod 600 {path}",
            )
        return Health(state=HealthState.UP, facts=(("bytes", str(status.st_size)),))

    def read(self, query: TrailQuery) -> Iterator[AuditEvent]:
        """Yield the matching events of all files of the trail, oldest first; no key is needed.

        Lines that are not the trail's are passed over; ``verify`` finds them.

        Raises:
            AuditError: The trail cannot be read, or a time of the query is not ISO 8601.
        """
        from strongroom_audit_jsonl.reader import read_events

        return read_events(self._settings.path, query, self._stillness)

    def head(self) -> TrailHead:
        """Return where the trail stands now; no key is needed.

        Raises:
            AuditError: The trail cannot be read.
        """
        from strongroom_audit_jsonl.reader import read_head

        with self._stillness():
            return read_head(self._settings.path)

    def verify(self, head: TrailHead | None = None) -> TrailReport:
        """Check every line and every seal of all files, and that an earlier head is part of the trail.

        Raises:
            AuditError: The trail or the key cannot be read.
        """
        from strongroom_audit_jsonl.verify import Snapshot, report

        with self._stillness():
            snapshot = Snapshot.take(self._settings.path)
        with snapshot:
            return report(snapshot, self._verifying_key(snapshot), head)

    def after_fork(self) -> None:
        """Forget, in a forked child, the file and the lock, without unlocking what the parent holds."""
        self._file.forget()
        self._lock.after_fork()

    def close(self) -> None:
        """Close the file. Closing twice is no error."""
        self._file.forget()

    def _writing_key(self) -> SealKey:
        """Return the key; make one only where a new trail begins. The lock is held."""
        if self._key is None:
            self._key = self._existing_key() or self._new_key()
        return self._key

    def _verifying_key(self, snapshot: Snapshot) -> SealKey | None:
        key = self._key or self._existing_key()
        if key is None and snapshot.files:
            raise self._key_missing()
        return key

    def _existing_key(self) -> SealKey | None:
        if self._settings.key is not None:
            return configured_key(self._settings.key)
        return key_from_file(f"{self._settings.path}.key")

    def _new_key(self) -> SealKey:
        from strongroom_audit_jsonl.siblings import begins_like_a_trail  # once in a trail's life

        path = self._settings.path
        has_content = os.path.isfile(path) and os.path.getsize(path) > 0
        if has_content and not begins_like_a_trail(path):
            raise foreign(path)
        if has_content or os.path.lexists(f"{path}.head"):
            raise self._key_missing()
        return make_key_file(f"{path}.key")

    def _key_missing(self) -> AuditError:
        path = self._settings.path
        return AuditError(
            f"the key file {path}.key is missing, but the trail that it sealed is there",
            hint=f"bring it back, or move all files {path}* away to begin a new trail",
        )

    def _stillness(self) -> AbstractContextManager[object]:
        """Keep writers out for a moment; without a lock file that we may use there are none to wait for."""
        path = f"{self._settings.path}.lock"
        if not os.access(path, os.R_OK | os.W_OK):
            return nullcontext()
        # A lock of its own: the writing thread may hold the other one.
        return TrailLock(path, self._settings.lock_timeout)
