"""The way of a write: gate → size and capability → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from datetime import datetime

from strongroom._record import Record
from strongroom.audit import recorded_at_once
from strongroom.changing import Changer
from strongroom.contracts.backend import Capability, DeleteRequest, ReadRequest, WriteRequest
from strongroom.errors import InvalidValueError
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom.policy import Action
from strongroom.rotation import Encoding, random_value


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


class Writer(Changer):
    """Changes secrets as one principal."""

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
            backend.refuse_leased(canonical, "writing")
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
            # Reading it would make a credential.
            backend.refuse_leased(name, "changing")
            return backend.read(ReadRequest(name=name)).version

    def _write(self, event: str, action: Action, request: WriteRequest) -> Written:
        with self._ready(action, request.name) as backend:
            backend.refuse_leased(request.name, "writing")
            backend.check_write(request)
        with self._change(event, request.name, backend.name) as outcome:
            result = backend.write(request)
            outcome.update(version=result.version, request_id=result.request_id)
        failed = self._notify(request.name, event, result.version)
        return Written(name=request.name, version=result.version, subscribers_failed=failed)

    @recorded_at_once
    def delete(self, name: str) -> Deleted:
        """Delete a secret; see :meth:`SecretManager.delete`."""
        canonical = self._gate.check(Action.DELETE, name)
        self._gate.judge(Action.DELETE, canonical)
        with self._ready(Action.DELETE, canonical) as backend:
            backend.refuse_leased(canonical, "deleting")
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
            backend.refuse_leased(canonical, "rotating")
            value = random_value(size, encoding)
        current = expect_version or self._current_version(Action.ROTATE, canonical)
        conditional = Capability.CHECK_AND_SET in backend.capabilities or expect_version is not None
        request = WriteRequest(name=canonical, value=value, expect_version=current if conditional else None)
        return self._write("rotate", Action.ROTATE, request)


def _action(expected: str | Absent | None) -> Action:
    return Action.CREATE if expected is ABSENT else Action.UPDATE
