"""The way of a write: gate → size and capability → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, TypeVar

from strongroom._record import Record
from strongroom.audit import recorded_at_once
from strongroom.changing import Changer
from strongroom.contracts.backend import (
    Capability,
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.journal import Entry
from strongroom.errors import BackendUnavailableError, ConfigurationError, InvalidValueError, SecretNotFoundError
from strongroom.fallback import QUEUED
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom.policy import Action
from strongroom.queueing import Seen, Wish, check_expected, new_token
from strongroom.resilience import GuardedBackend
from strongroom.rotation import DEFAULT_BYTES, Encoding, random_value

Made = TypeVar("Made", WriteResult, DeleteResult)

FOREVER: Final = 1e12
"""Seconds: some thirty thousand years."""


class Written(Record):
    """What a write or rotation did."""

    name: SecretName
    version: str
    """The new version; of a write that waits ``queued:`` with the entry's id, under which this process reads it."""
    subscribers_failed: tuple[str, ...] = ()
    """Subscribers that raised or did not return in time, one sentence each."""
    queued: str | None = None
    """The id of its entry in the journal, if the backend is out of reach: it is accepted, but not yet made."""
    copy_failed: str = ""
    """Why the copy in the fallback store could not be brought up to date; empty if it is, or if there is none."""


class Deleted(Record):
    """What a delete did."""

    name: SecretName
    existed: bool
    """Whether there was one; of a delete that waits, as far as is known."""
    recoverable_until: datetime | None = None
    subscribers_failed: tuple[str, ...] = ()
    queued: str | None = None
    """As in :class:`Written`."""
    copy_failed: str = ""
    """As in :class:`Written`."""


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
            waiting = (
                self._parts.continuity.queue.newest(backend, name) if self._parts.continuity.queue is not None else None
            )
            if waiting is not None and waiting.value is not None:
                return QUEUED + waiting.id
            try:
                return self._asked_version(backend, name)
            except BackendUnavailableError:
                seen = self._seen(backend, name)
                if (
                    self._parts.continuity.queue is None
                    or not self._parts.continuity.queue.takes(backend, name)
                    or seen.version is None
                ):
                    raise
                return seen.version

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

    def _write(self, event: str, action: Action, request: WriteRequest) -> Written:
        with self._ready(action, request.name) as backend:
            backend.refuse_leased(request.name, "writing")
            backend.check_write(request)
        name = request.name
        with self._change(event, name, backend.name) as outcome:
            wish = self._wish(event, name, request.value, request.expect_version)
            result = self._made_or_queued(wish, backend, lambda: backend.write(request.replace(token=wish.token)))
            if isinstance(result, Entry):
                version = QUEUED + result.id
                outcome.update(version=version, result="queued", detail=f"entry {result.id} of the journal")
                return Written(name=name, version=version, queued=result.id)
            problem = self._renew_copy(backend, name, ReadResult(value=request.value, **_told(result)))
            outcome.update(version=result.version, request_id=result.request_id)
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
        with self._change("delete", canonical, backend.name) as outcome:
            wish = self._wish("delete", canonical, None, None)
            known = self._seen(backend, canonical)
            result = self._made_or_queued(wish, backend, lambda: backend.delete(DeleteRequest(name=canonical)))
            if isinstance(result, Entry):
                outcome.update(result="queued", detail=f"entry {result.id} of the journal")
                return Deleted(name=canonical, existed=known.version is not None, queued=result.id)
            problem = self._renew_copy(backend, canonical, None)
            outcome.update(request_id=result.request_id, result="ok" if result.existed else "not_found")
        failed = self._notify(canonical, "delete", None)
        return Deleted(
            name=canonical,
            existed=result.existed,
            recoverable_until=result.recoverable_until,
            subscribers_failed=failed,
            copy_failed=problem,
        )

    def _wish(self, change: str, name: SecretName, value: SecretValue | None, expected: str | Absent | None) -> Wish:
        return Wish(
            change=change,
            name=name,
            value=value,
            expected=expected,
            token=new_token(),
            principal=self._gate.principal,
            base=self._gate.root,
        )

    def _made_or_queued(self, wish: Wish, backend: GuardedBackend, make: Callable[[], Made]) -> Made | Entry:
        """Have a change made; in an outage, or behind another one that waits, have it accepted for later.

        Raises:
            StrongroomError: It was not made, and is not accepted.
        """
        queue, name = self._parts.continuity.queue, wish.name
        if queue is None:
            return make()
        seen, takes = self._seen(backend, name), queue.takes(backend, name)
        waiting = queue.newest(backend, name)
        check_expected(name, wish.expected, waiting)
        outage: BackendUnavailableError | None = None
        if waiting is None or not takes:
            try:
                return make()
            except BackendUnavailableError as error:
                if not takes:
                    raise
                outage = error
        entry = queue.accept(wish, backend, seen, outage)
        self._parts.continuity.attendant.attend(backend)
        return entry

    def _seen(self, backend: GuardedBackend, name: SecretName) -> Seen:
        """Return what is known of a secret without asking its backend."""
        entry = self._parts.cache.entries.get(name)
        secret = entry.secret if entry is not None else None
        if secret is not None:
            return Seen(version=secret.version, known=True)
        copy = (
            self._parts.continuity.substitutes.known(backend, name)
            if self._parts.continuity.substitutes is not None
            else None
        )
        return Seen(version=copy.version if copy is not None else None, known=copy is not None)

    def _renew_copy(self, backend: GuardedBackend, name: SecretName, result: ReadResult | None) -> str:
        """Replace or drop the copy of what has been changed; return why that failed, or nothing."""
        substitutes = self._parts.continuity.substitutes
        return "" if substitutes is None else substitutes.changed(backend, name, result)

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


def _told(result: WriteResult) -> dict[str, Any]:
    """Return what a write has told, as a read would."""
    return {"version": result.version, "created": result.created}


def _seconds(wait: object) -> float:
    # A comparison that a number which is none fails, too.
    if isinstance(wait, bool) or not isinstance(wait, int | float) or not wait >= 0:
        raise ConfigurationError("wait is a number of seconds from 0", hint="leave it out for 300")
    # A whole number may be too large for a float; past that, none is ever over.
    return float(min(wait, FOREVER))


def _action(expected: str | Absent | None) -> Action:
    return Action.CREATE if expected is ABSENT else Action.UPDATE
