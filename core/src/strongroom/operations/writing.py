"""The way of a write: gate → size and capability → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from strongroom._record import Record
from strongroom.audit.stage import recorded_at_once
from strongroom.config.rotation import RotationRule
from strongroom.contracts.backend import (
    Capability,
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import BackendUnavailableError, ConfigurationError, InvalidValueError, SecretNotFoundError
from strongroom.generators import DEFAULT_BYTES, Encoding, random_value
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom.outcomes import Accepted, Wish
from strongroom.outcomes import Deleted as Deleted
from strongroom.outcomes import Written as Written
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.stages.changing import Attempt, Changer

Made = TypeVar("Made", WriteResult, DeleteResult)

FOREVER: Final = 1e12
"""Seconds: some thirty thousand years."""


class _Aim(Record):
    """What a write is to be made over."""

    name: SecretName
    expected: str | Absent | None = None
    outage: BackendUnavailableError | None = None
    """Why the backend could not say so; it need not be tried again at once."""


class Writer(Changer):
    """Changes secrets as one principal."""

    @recorded_at_once
    def set(self, name: str, value: SecretValue | InvalidValueError, *, expect_version: str | Absent | None) -> Written:
        """Create or update a secret; see :meth:`SecretManager.set`.

        Instead of a value it takes the error that says why there is none: refusing it is recorded.
        """
        aim = self._writable(name, expect_version)
        action = _action(aim.expected)
        self._gate.judge(action, aim.name)
        if isinstance(value, InvalidValueError):
            with self._gate.recording_refusal(action, aim.name):
                raise value
        request = WriteRequest(name=aim.name, value=value, expect_version=aim.expected)
        return self._write("set", action, request, aim.outage)

    @recorded_at_once
    def check_set(self, name: str, value: SecretValue, *, expect_version: str | Absent | None) -> SecretName:
        """Refuse what ``set`` would refuse; see :meth:`SecretManager.check_set`."""
        aim = self._writable(name, expect_version)
        with self._ready(_action(aim.expected), aim.name) as backend:
            backend.refuse_leased(aim.name, "writing")
            backend.check_write(WriteRequest(name=aim.name, value=value, expect_version=aim.expected))
        return aim.name

    def _writable(self, spelling: str, expected: str | Absent | None) -> _Aim:
        """Check the rights to create and to update, and narrow a write to the one that is there."""
        if expected is not None:
            return _Aim(name=self._gate.check(_action(expected), spelling), expected=expected)
        name = self._gate.canonical(Action.UPDATE, spelling)
        may_create = self._gate.permits(Action.CREATE, name)
        # Only a write that may neither create nor update is a refusal for the trail and the detectors to see.
        if self._gate.permits(Action.UPDATE, name) or not may_create:
            self._gate.check(Action.UPDATE, name)
            return _Aim(name=name) if may_create else self._aimed(Action.UPDATE, name)
        return _Aim(name=name, expected=ABSENT)

    def _aimed(self, action: Action, name: SecretName) -> _Aim:
        """Return the version that a change builds on; that there is none is recorded as its outcome."""
        with self._ready(action, name) as backend:
            # Reading it would make a credential.
            backend.refuse_leased(name, "changing")
            queue = self._parts.continuity.queue
            if queue is None:
                return _Aim(name=name, expected=self._asked_version(backend, name))
            version, outage = queue.version_before(
                backend, name, self._cached_version(name), lambda: self._asked_version(backend, name)
            )
            return _Aim(name=name, expected=version, outage=outage)

    def _asked_version(self, backend: GuardedBackend, name: SecretName) -> str:
        """Return the current version as the backend says it.

        Raises:
            SecretNotFoundError: There is none.
        """
        # Imported here: most writes expect no version, or name it.
        from strongroom.contracts.staging import StagesRequest, Staging

        if Capability.VERSIONS not in backend.capabilities or not backend.offers(Staging):
            return backend.read(ReadRequest(name=name)).version
        # Whoever may change a secret need not be able to read its value, here or at the service.
        current = backend.stages(StagesRequest(name=name)).current
        if current is None:
            raise SecretNotFoundError(f"{name} has no value", name=name, hint="write it with the right to create")
        return current

    def _cached_version(self, name: SecretName) -> str | None:
        entry = self._parts.cache.entries.get(name)
        secret = entry.secret if entry is not None else None
        return secret.version if secret is not None else None

    def _write(
        self, event: str, action: Action, request: WriteRequest, outage: BackendUnavailableError | None = None
    ) -> Written:
        name = request.name
        with self._ready(action, name) as backend:
            backend.refuse_leased(name, "writing")
            backend.check_write(request)
        with self._change(event, name, backend.name) as attempt:
            wish = self._wish(event, name, value=request.value, expected=request.expect_version, outage=outage)
            result = self._made_or_queued(
                attempt, wish, backend, lambda token: backend.write(request.replace(token=token))
            )
            if isinstance(result, Accepted):
                assert result.version is not None, "it is no delete"
                return Written(name=name, version=result.version, queued=result.id)
            now = ReadResult(value=request.value, version=result.version, created=result.created)
            attempt.update(version=result.version, request_id=result.request_id)
            problem = self._renew_copy(attempt, backend, name, now)
        failed = self._notify(name, event, result.version)
        return Written(name=name, version=result.version, subscribers_failed=failed, copy_failed=problem)

    @recorded_at_once
    def delete(self, name: str) -> Deleted:
        """Delete a secret; see :meth:`SecretManager.delete`."""
        canonical = self._gate.check(Action.DELETE, name)
        self._gate.judge(Action.DELETE, canonical)
        with self._ready(Action.DELETE, canonical) as backend:
            backend.refuse_leased(canonical, "deleting")
            backend.check_delete()
        request = DeleteRequest(name=canonical)
        with self._change("delete", canonical, backend.name) as attempt:
            wish = self._wish("delete", canonical)
            result = self._made_or_queued(attempt, wish, backend, lambda _: backend.delete(request))
            if isinstance(result, Accepted):
                return Deleted(name=canonical, existed=result.existed, queued=result.id)
            attempt.update(request_id=result.request_id, result="ok" if result.existed else "not_found")
            problem = self._renew_copy(attempt, backend, canonical, None)
        failed = self._notify(canonical, "delete", None)
        return Deleted(
            name=canonical,
            existed=result.existed,
            recoverable_until=result.recoverable_until,
            subscribers_failed=failed,
            copy_failed=problem,
        )

    def _wish(self, change: str, name: SecretName, **facts: Any) -> Wish:
        gate, cached = self._gate, self._cached_version(name)
        return Wish(change=change, name=name, cached=cached, principal=gate.principal, base=gate.root, **facts)

    def _made_or_queued(
        self, attempt: Attempt, wish: Wish, backend: GuardedBackend, make: Callable[[str | None], Made]
    ) -> Made | Accepted:
        """Have a change made; in an outage, or behind another one that waits, have it accepted for later.

        Args:
            attempt: The change, for what becomes known of it.
            wish: The change, for the queue.
            backend: Who makes it.
            make: Makes it, under a token.

        Raises:
            StrongroomError: It was not made, and is not accepted.
        """
        queue = self._parts.continuity.queue
        if queue is None:
            return make(None)
        try:
            result = queue.change(wish, backend, make)
        except BackendUnavailableError as error:
            attempt.was_sent = not error.unsent
            raise
        if isinstance(result, Accepted):
            attempt.update(version=result.version, result="queued", detail=f"entry {result.id} of the journal")
            self._parts.continuity.attendant.attend(backend)
        return result

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
        rule = self._parts.configuration.rotation.rule(canonical)
        with self._ready(Action.ROTATE, canonical) as backend:
            backend.refuse_leased(canonical, "rotating")
            seconds = _seconds(wait)
            if by_service := backend.rotates(canonical):
                # Imported here, and below: most secrets are rotated by nobody but us.
                from strongroom.rotation.service import refuse_choices, refuse_rule

                refuse_choices(canonical, f"the service of {backend.name}", size=size, encoding=encoding)
                refuse_rule(canonical, backend.name, rule)
            elif rule is not None:
                from strongroom.rotation.service import refuse_choices

                refuse_choices(canonical, f"the rotator {rule.keys.rotator}", size=size, encoding=encoding)
            else:
                value = random_value(DEFAULT_BYTES if size is None else size, "raw" if encoding is None else encoding)
        if by_service:
            return self._have_rotated(canonical, backend, expect_version, seconds)
        if rule is not None:
            return self._rotate_by(rule, canonical, backend, expect_version)
        return self._rotate_to(value, canonical, backend, expect_version)

    def _rotate_by(
        self, rule: RotationRule, name: SecretName, backend: GuardedBackend, expected: str | None
    ) -> Written:
        """Have the machine lead the rotation; what has no dependent may be queued in an outage, as a write."""
        from strongroom.rotation.changes import RotationChanger

        if self._parts.continuity.queue is not None and not self._parts.rotators.spec(rule).dependent:
            aim = self._aimed(Action.ROTATE, name) if expected is None else _Aim(name=name, expected=expected)
            if aim.outage is not None:
                try:
                    value = self._parts.rotators.of(rule).value(name)
                except InvalidValueError:
                    # It builds upon the current value, which nobody knows now.
                    raise aim.outage from None
                return self._rotate_to(value, name, backend, expected)
        return RotationChanger(self._parts, self._gate, self._drop).rotate(name, rule, expect_version=expected)

    def _rotate_to(
        self, value: SecretValue, name: SecretName, backend: GuardedBackend, expect_version: str | None
    ) -> Written:
        """Write a new value over the current version, where the backend compares them."""
        aim = self._aimed(Action.ROTATE, name) if not expect_version else None
        conditional = Capability.CHECK_AND_SET in backend.capabilities or aim is None
        expected = expect_version if aim is None else aim.expected
        request = WriteRequest(name=name, value=value, expect_version=expected if conditional else None)
        return self._write("rotate", Action.ROTATE, request, aim.outage if aim is not None else None)

    def _have_rotated(self, name: SecretName, backend: GuardedBackend, expected: str | None, wait: float) -> Written:
        """Trigger the service's own rotation, and wait until its version is the current one."""
        from strongroom.rotation.service import ServiceWatch

        watch = ServiceWatch(self._parts, backend, name)
        with self._change("rotate", name, backend.name, detail="by the service") as attempt:
            attempt.end_with_manager(watch.wake)
            watch.refuse_unless_current(expected)
            request_id = watch.trigger()
            attempt.update(version=watch.version, request_id=request_id)
            watch.wait(wait)
            # Only the service knows the new value.
            problem = self._renew_copy(attempt, backend, name, None)
        failed = self._notify(name, "rotate", watch.version)
        return Written(name=name, version=watch.version, subscribers_failed=failed, copy_failed=problem)


def _seconds(wait: object) -> float:
    # A comparison that a number which is none fails, too.
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not wait >= 0:
        raise ConfigurationError("wait is a number of seconds from 0", hint="leave it out for 300")
    # A whole number may be too large for a float; past that, none is ever over.
    return float(min(wait, FOREVER))


def _action(expected: str | Absent | None) -> Action:
    return Action.CREATE if expected is ABSENT else Action.UPDATE
