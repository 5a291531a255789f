"""The audit sink ``jsonl`` and the trail that it leaves."""

from __future__ import annotations

import os

from collections.abc import Callable, Iterator
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
from strongroom_audit_jsonl.access import make_folder
from strongroom_audit_jsonl.current import CurrentFile, foreign
from strongroom_audit_jsonl.encoding import Encoder
from strongroom_audit_jsonl.keys import SealKey, configured_key, key_from_file, make_key_file
from strongroom_audit_jsonl.lock import TrailLock
from strongroom_audit_jsonl.notes import note_content, parse_note

if TYPE_CHECKING:
    from strongroom_audit_jsonl.settings import JsonlSettings
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
        self._file = CurrentFile(settings)
        self._encoder = Encoder()
        self._lock = TrailLock(f"{settings.path}.lock", settings.lock_timeout)
        self._key: SealKey | None = None
        self._failure: AuditError | None = None

    def write(self, request: AuditWrite) -> None:
        """Record all events of the request as one block, or none.

        A durable request without events records nothing: it brings what was
        written before to stable storage.

        Raises:
            AuditError: The disk is full, the lock was held too long, the file or
                the key cannot be used; nothing of the block is in the file.
        """
        if request.events:
            self._attempt(lambda: self._append(request))
            self._failure = None
        elif request.durable and not self._file.is_synced:
            self._attempt(lambda: self._file.sync(self._writing_key()))

    def _append(self, request: AuditWrite) -> None:
        key = self._writing_key()
        block, head = self._encoder.encode(self._file.start(key), request.events, key)
        self._file.append(block, head, key, durable=request.durable)

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do something under the lock, and remember a failure."""
        try:
            self._do(action)
        except AuditError as error:
            self._failure = error.again()
            raise

    def _do(self, action: Callable[[], None]) -> None:
        try:
            make_folder(self._settings.path)
            with self._lock:
                action()
        except OSError as error:
            raise self._unwritable(error) from error

    def health(self) -> Health:
        """Say whether events can be recorded now, without recording one."""
        from strongroom_audit_jsonl.condition import examine  # no write needs it

        if self._failure is not None:
            return Health(state=HealthState.DOWN, reason=self._failure.what, hint=self._failure.hint)
        try:
            found = examine(self._settings)
            if self._key is None and self._existing_key() is None:
                self._check_new()
        except (AuditError, OSError) as error:
            told = error if isinstance(error, AuditError) else self._unwritable(error)
            return Health(state=HealthState.DOWN, reason=told.what, hint=told.hint)
        if found.state is HealthState.UP and not self._file.is_noted:
            reason = (
                f"the head file {self._settings.path}.head cannot be written, so nothing vouches for the trail's end"
            )
            return found.replace(state=HealthState.DEGRADED, reason=reason, hint="check its permissions")
        return found

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

        # Before the files: a trail's head file is made before its key.
        key = self._key or self._existing_key()
        with self._stillness():
            snapshot = Snapshot.take(self._settings.path)
        with snapshot:
            key = key or self._key_to(snapshot)
            return report(snapshot, key, head, was_begun=key is not None and self._settings.key is None)

    def after_fork(self) -> None:
        """Forget, in a forked child, the file and the lock, without unlocking what the parent holds."""
        self._file.after_fork()
        self._lock.after_fork()

    def close(self) -> None:
        """Close the file. Closing twice is no error."""
        self._file.forget()

    def _writing_key(self) -> SealKey:
        """Return the key; make one only where a new trail begins. The lock is held."""
        if self._key is None:
            self._key = self._existing_key() or self._new_key()
        return self._key

    def _key_to(self, snapshot: Snapshot) -> SealKey | None:
        """Return a key that has been made meanwhile; there must be one if there is anything to verify."""
        key = self._existing_key()
        if key is None and (snapshot.files or _tells_of_lines(snapshot.note)):
            raise self._key_missing()
        return key

    def _existing_key(self) -> SealKey | None:
        if self._settings.key is not None:
            return configured_key(self._settings.key)
        return key_from_file(f"{self._settings.path}.key")

    def _new_key(self) -> SealKey:
        self._check_new()
        # The head file comes first, so wherever there is a key there must be one.
        return make_key_file(f"{self._settings.path}.key", self._file.begin)

    def _check_new(self) -> None:
        """Refuse to begin a trail where there is one, or where a file is that is none.

        Raises:
            AuditError: It says which.
        """
        from strongroom_audit_jsonl.ends import begins_like_a_trail, sibling_with_lines  # once in a trail's life

        path = self._settings.path
        has_content = os.path.isfile(path) and os.path.getsize(path) > 0
        if has_content and not begins_like_a_trail(path):
            raise foreign(path)
        if has_content or _tells_of_lines(note_content(f"{path}.head")):
            raise self._key_missing()
        sibling = sibling_with_lines(path) if os.path.isdir(os.path.dirname(path)) else None
        if sibling is not None:
            raise self._key_missing(sibling)

    def _key_missing(self, file: str = "") -> AuditError:
        path = self._settings.path
        return AuditError(
            f"the key file {path}.key is missing, but the trail that it sealed is there"
            + (f": {file}" if file else ""),
            hint=f"bring it back, or move all files {path}* away to begin a new trail",
        )

    def _unwritable(self, error: OSError) -> AuditError:
        return AuditError(
            f"the audit file {self._settings.path} cannot be written: {error.strerror}",
            hint="free space on its disk, or check its folder and permissions",
        )

    def _stillness(self) -> AbstractContextManager[object]:
        """Keep writers out for a moment; without a lock file that we may use there are none to wait for."""
        path = f"{self._settings.path}.lock"
        if not os.access(path, os.R_OK | os.W_OK):
            return nullcontext()
        # A lock of its own: the writing thread may hold the other one.
        return TrailLock(path, self._settings.lock_timeout)


def _tells_of_lines(note: bytes) -> bool:
    """Tell whether a head file belongs to a trail with lines; a crash may leave one of a trail that was never begun."""
    found = parse_note(note, None)
    return bool(note) and (found is None or found.head.seq > 0)
