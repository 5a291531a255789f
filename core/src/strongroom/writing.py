"""The way of a write: gate → size and capability → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from strongroom._record import Record
from strongroom.access import Gate
from strongroom.audit import recorded_at_once
from strongroom.contracts.backend import Capability, DeleteRequest, ReadRequest, WriteRequest
from strongroom.errors import AuditError, ClosedError, InvalidValueError, StrongroomError
from strongroom.events import SecretUpdated
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom.policy import Action
from strongroom.resilience import GuardedBackend
from strongroom.rotation import Encoding, random_value
from strongroom.wiring import Parts


class Written(Record):
    """What a write or rotation did."""

    name: SecretName
    version: str
    subscribers_failed: tuple[str, ...] = ()
    """Subscribers that raised or did not return in time, one sentence each."""


class Deleted(Record):
    """What a delete did."""

    name: SecretName
    existed: bool
    recoverable_until: datetime | None = None
    subscribers_failed: tuple[str, ...] = ()


class Writer:
    """Changes secrets as one principal.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may do.
        drop: Forgets every cached copy of a secret.
    """

    def __init__(self, parts: Parts, gate: Gate, drop: Callable[[SecretName], None]) -> None:
        self._parts = parts
        self._gate = gate
        self._drop = drop
        self._clock = parts.clock

    @recorded_at_once
    def set(self, name: str, value: SecretValue | InvalidValueError, *, expect_version: str | Absent | None) -> Written:
        """Create or update a secret; see :meth:`SecretManager.set`.

        Instead of a value it takes the error that says why there is none: refusing it is recorded.
        """
        canonical, expected = self._writable(name, expect_version)
        action = _action(expected)
        self._gate.judge(action, canonical)
        if isinstance(value, InvalidValueError):
            with self._gate.recording_refusal(action, canonical):
                raise value
        return self._write("set", action, WriteRequest(name=canonical, value=value, expect_version=expected))

    @recorded_at_once
    def check_set(self, name: str, value: SecretValue, *, expect_version: str | Absent | None) -> SecretName:
        """Refuse what ``set`` would refuse; see :meth:`SecretManager.check_set`."""
        canonical, expected = self._writable(name, expect_version)
        with self._ready(_action(expected), canonical) as backend:
            backend.check_write(WriteRequest(name=canonical, value=value, expect_version=expected))
        return canonical

    def _writable(self, spelling: str, expected: str | Absent | None) -> tuple[SecretName, str | Absent | None]:
        """Check the rights to create and to update, and narrow a write to the one that is there."""
        if expected is not None:
            return self._gate.check(_action(expected), spelling), expected
        name = self._gate.canonical(Action.UPDATE, spelling)
        may_create = self._gate.permits(Action.CREATE, name)
        # Only a write that may neither create nor update is a refusal for the trail and the detectors to see.
        if self._gate.permits(Action.UPDATE, name) or not may_create:
            self._gate.check(Action.UPDATE, name)
            return name, None if may_create else self._current_version(Action.UPDATE, name)
        return name, ABSENT

    def _current_version(self, action: Action, name: SecretName) -> str:
        """Return the version that a change builds on; that there is none is recorded as its outcome."""
        with self._ready(action, name) as backend:
            return backend.read(ReadRequest(name=name)).version

    @contextmanager
    def _ready(self, action: Action, name: SecretName) -> Iterator[GuardedBackend]:
        """Open a name's backend; if that or what the ``with`` block does is refused, record it."""
        with self._gate.recording_refusal(action, name):
            yield self._parts.backend(self._parts.route(name))

    def _write(self, event: str, action: Action, request: WriteRequest) -> Written:
        with self._ready(action, request.name) as backend:
            backend.check_write(request)
        with self._change(event, request.name, backend.name) as outcome:
            result = backend.write(request)
            outcome.update(version=result.version, request_id=result.request_id)
        failed = self._notify(request.name, event, result.version)
        return Written(name=request.name, version=result.version, subscribers_failed=failed)

    @contextmanager
    def _change(self, event: str, name: SecretName, backend: str) -> Iterator[dict[str, Any]]:
        """Record an attempt, let the change happen, drop the cached copies, record the outcome."""
        attempt = self._gate.event(event, key=name, backend=backend, phase="attempt")
        self._parts.audit.record(attempt, durable=True)
        started = self._clock()
        outcome: dict[str, Any] = {}
        try:
            try:
                yield outcome
            finally:
                # Even a failed change may have been applied, so no copy from before it is served.
                try:
                    self._drop(name)
                except BaseException:
                    # By a signal's handler, that is. What has been changed is dropped all the same.
                    self._drop(name)
                    raise
        except StrongroomError as error:
            error.name = error.name or name
            with _keeping(error):
                self._record_outcome(event, name, backend, attempt.id, started, {"result": error.code})
            raise
        try:
            self._record_outcome(event, name, backend, attempt.id, started, outcome)
        except (AuditError, ClosedError) as error:
            raise AuditError(
                f"the {event} of {name} was made, but its outcome could not be recorded: {error.what}",
                applied=True,
                name=name,
                hint="`strongroom audit report` lists the open attempt; mend the sink first",
            ) from error

    def _record_outcome(
        self, event: str, name: SecretName, backend: str, id: str, started: float, fields: dict[str, Any]
    ) -> None:
        duration = self._clock() - started
        made = self._gate.event(event, key=name, backend=backend, id=id, duration=duration, **fields)
        self._parts.audit.record(made, durable=True)

    def _notify(self, name: SecretName, change: str, version: str | None) -> tuple[str, ...]:
        return self._parts.subscriptions.notify(SecretUpdated(name=name, change=change, version=version)).failed

    @recorded_at_once
    def delete(self, name: str) -> Deleted:
        """Delete a secret; see :meth:`SecretManager.delete`."""
        canonical = self._gate.check(Action.DELETE, name)
        self._gate.judge(Action.DELETE, canonical)
        with self._ready(Action.DELETE, canonical) as backend:
            backend.check_delete()
        with self._change("delete", canonical, backend.name) as outcome:
            result = backend.delete(DeleteRequest(name=canonical))
            outcome.update(request_id=result.request_id, result="ok" if result.existed else "not_found")
        failed = self._notify(canonical, "delete", None)
        return Deleted(
            name=canonical,
            existed=result.existed,
            recoverable_until=result.recoverable_until,
            subscribers_failed=failed,
        )

    @recorded_at_once
    def rotate(
        self,
        name: str,
        *,
        size: int,
        encoding: Encoding,
        expect_version: str | None,
    ) -> Written:
        """Replace a value by a random one; see :meth:`SecretManager.rotate`."""
        canonical = self._gate.check(Action.ROTATE, name)
        self._gate.judge(Action.ROTATE, canonical)
        with self._ready(Action.ROTATE, canonical) as backend:
            value = random_value(size, encoding)
        current = expect_version or self._current_version(Action.ROTATE, canonical)
        conditional = Capability.CHECK_AND_SET in backend.capabilities or expect_version is not None
        request = WriteRequest(name=canonical, value=value, expect_version=current if conditional else None)
        return self._write("rotate", Action.ROTATE, request)


def _action(expected: str | Absent | None) -> Action:
    return Action.CREATE if expected is ABSENT else Action.UPDATE


@contextmanager
def _keeping(first: StrongroomError) -> Iterator[None]:
    """Let an error that is about to be raised win over a failure to record it."""
    try:
        yield
    except (AuditError, ClosedError) as error:
        first.add_note(f"its outcome could not be recorded either: {error.what}")
