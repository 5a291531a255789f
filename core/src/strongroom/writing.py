"""The way of a write: gate → size and capability → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from strongroom._record import Record
from strongroom.audit import recorded_at_once
from strongroom.changing import Changer
from strongroom.contracts.backend import Capability, DeleteRequest, ReadRequest, WriteRequest
from strongroom.errors import ConfigurationError, InvalidValueError, SecretNotFoundError
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom.policy import Action
from strongroom.resilience import GuardedBackend
from strongroom.rotation import DEFAULT_BYTES, Encoding, random_value

FOREVER: Final = 1e12
"""Seconds: some thirty thousand years."""


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
        # Imported here: most writes expect no version, or name it.
        from strongroom.contracts.staging import StagesRequest, Staging

        with self._ready(action, name) as backend:
            # Reading it would make a credential.
            backend.refuse_leased(name, "changing")
            if Capability.VERSIONS not in backend.capabilities or not backend.offers(Staging):
                return backend.read(ReadRequest(name=name)).version
            # Whoever may change a secret need not be able to read its value, here or at the service.
            current = backend.stages(StagesRequest(name=name)).current
            if current is None:
                raise SecretNotFoundError(f"{name} has no value", name=name, hint="write it with the right to create")
            return current

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
        size: int | None,
        encoding: Encoding | None,
        expect_version: str | None,
        wait: float,
    ) -> Written:
        """Replace a value by a random one, or have it replaced; see :meth:`SecretManager.rotate`."""
        canonical = self._gate.check(Action.ROTATE, name)
        self._gate.judge(Action.ROTATE, canonical)
        with self._ready(Action.ROTATE, canonical) as backend:
            backend.refuse_leased(canonical, "rotating")
            seconds = _seconds(wait)
            if by_service := backend.rotates(canonical):
                # Imported here, and below: most secrets are rotated by nobody but us.
                from strongroom.rotating import refuse_choices

                refuse_choices(canonical, backend.name, size=size, encoding=encoding)
            else:
                value = random_value(DEFAULT_BYTES if size is None else size, "raw" if encoding is None else encoding)
        if by_service:
            return self._have_rotated(canonical, backend, expect_version, seconds)
        current = expect_version or self._current_version(Action.ROTATE, canonical)
        conditional = Capability.CHECK_AND_SET in backend.capabilities or expect_version is not None
        request = WriteRequest(name=canonical, value=value, expect_version=current if conditional else None)
        return self._write("rotate", Action.ROTATE, request)

    def _have_rotated(self, name: SecretName, backend: GuardedBackend, expected: str | None, wait: float) -> Written:
        """Trigger the service's own rotation, and wait until its version is the current one."""
        from strongroom.rotating import ServiceWatch

        watch = ServiceWatch(self._parts, backend, name)
        with self._change("rotate", name, backend.name, detail="by the service") as attempt:
            attempt.end_with_manager(watch.wake)
            watch.refuse_unless_current(expected)
            request_id = watch.trigger()
            attempt.update(version=watch.version, request_id=request_id)
            watch.wait(wait)
        failed = self._notify(name, "rotate", watch.version)
        return Written(name=name, version=watch.version, subscribers_failed=failed)


def _seconds(wait: object) -> float:
    # A comparison that a number which is none fails, too.
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not wait >= 0:
        raise ConfigurationError("wait is a number of seconds from 0", hint="leave it out for 300")
    # A whole number may be too large for a float; past that, none is ever over.
    return float(min(wait, FOREVER))


def _action(expected: str | Absent | None) -> Action:
    return Action.CREATE if expected is ABSENT else Action.UPDATE
