"""Rotations as one principal: begun, resumed, undone; each led by the machine, under audit."""

from __future__ import annotations

import os

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from strongroom._record import Record
from strongroom.audit.stage import recorded_at_once
from strongroom.config.rotation import RotationRule
from strongroom.contracts.backend import Capability, ReadRequest, ReadResult
from strongroom.contracts.staging import Staging
from strongroom.errors import AuditError, ConfigurationError, RotationError, StrongroomError, VersionConflictError
from strongroom.events.updates import Announcement
from strongroom.model import SecretName, SecretValue
from strongroom.outcomes import Rotated
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.rotation.leading import is_waiting, left_over, moment, refusal_if_led, running
from strongroom.rotation.ledger import Ledger, in_progress
from strongroom.rotation.machine import Machine
from strongroom.rotation.pending import Pending, Standing, Step
from strongroom.rotation.records import RecordLedger
from strongroom.rotation.service import new_uuid
from strongroom.rotation.staged import StagedLedger
from strongroom.stages.changing import Attempt, Changer
from strongroom.telemetry import count
from strongroom.telemetry.names import OUTCOME, ROTATIONS, ROTATOR_TYPE

_CHANGED: Final = frozenset(one.value for one in (Step.PROMOTE, Step.ANNOUNCE, Step.FINISH, Step.UNDO))
"""The steps after which readers may get another value than before."""


class Undone(Record):
    """What undoing a rotation did."""

    name: SecretName
    id: str
    """The rotation's."""
    version: str | None
    """The version that is current by that; ``None`` if that has not changed."""


class RotationChanger(Changer):
    """Begins, resumes and undoes rotations as one principal."""

    def rotate(
        self,
        name: SecretName,
        rule: RotationRule,
        *,
        expect_version: str | None,
        if_still: Callable[[Standing], bool] | None = None,
    ) -> Rotated:
        """Lead a secret from its current value to the next one.

        Args:
            name: The secret's name; the caller has checked that it may be rotated.
            rule: The rule for it.
            expect_version: Rotate only this version; ``None`` for any.
            if_still: Tells by what is known of its rotations whether it still is to be rotated; whoever else
                rotates it after that question is found out.

        Raises:
            RotationError: Another rotation of it is pending, or this one has stopped.
            SecretNotFoundError: There is no such secret.
            VersionConflictError: Another version is current.
        """
        with self._ready(Action.ROTATE, name) as backend:
            backend.refuse_leased(name, "rotating")
            ledger = self._ledger(backend, name, rule)
            self._parts.rotators.of(rule)
        with (
            self._alone(ledger, backend),
            self._change("rotate", name, backend.name, detail=f"by {rule.keys.rotator}") as attempt,
        ):
            attempt.was_sent = False
            machine = self._machine(ledger, rule, attempt, backend)
            standing = ledger.look()
            if standing.pending is not None:
                self._finish_first(machine, ledger, standing.pending, rule, backend)
                standing = ledger.look()
            if if_still is not None and not if_still(standing):
                raise in_progress(name, "by another process, which was faster", "there is nothing left to do")
            now = self._expected(backend, name, expect_version)
            draft = Pending(
                id=new_uuid(),
                step=Step.APPLY,
                attempt=1,
                candidate=machine.generate(now.value, 1),
                former=now.value,
                base=now.version,
                began=self._now(),
            )
            backend.check_write_value(name, draft.candidate)
            with running(draft.id), self._counted(name, rule):
                begun = machine.begin(draft)
                self._parts.announce(Announcement(kind="rotation_started", name=name))
                return self._led(machine, begun, backend, attempt)

    def _finish_first(
        self, machine: Machine, ledger: Ledger, pending: Pending, rule: RotationRule, backend: GuardedBackend
    ) -> None:
        """Finish the rotation before, if its overlap is all that it waited for; refuse whatever else is pending."""
        self._refuse_if_led(pending, rule, ledger.name)
        left = machine.waits(pending)
        if left or not is_waiting(pending):
            raise left_over(pending, ledger.name, left, self._now())
        with running(pending.id):
            self._refuse_if_taken_back(ledger.name, pending, backend)
            machine.run(ledger.take_over(pending, self._now()))

    def _refuse_if_taken_back(self, name: SecretName, pending: Pending, backend: GuardedBackend) -> None:
        """Refuse to take from the dependent the former value if somebody has made that the current one again."""
        if pending.version is None:
            return
        now = backend.read(ReadRequest(name=name))
        if now.value == pending.former and now.value != pending.candidate:
            stopped = RotationError(
                f"{name} has been given its former value again, so that is not taken from its dependent",
                code="rotation_incomplete",
                name=name,
                hint="`strongroom rotate --undo` has the dependent be as before, too",
            )
            stopped.step = pending.step.value
            raise stopped

    @recorded_at_once
    def resume(self, name: str, *, force: bool = False, over_others: bool = True) -> Rotated:
        """Lead a rotation that was left to its end.

        Args:
            name: The secret's name.
            force: Take it over even if its process may be alive.
            over_others: Whether the candidate may go over what somebody has written meanwhile; only a person can say.

        Raises:
            RotationError: There is none (code ``rotation_none``), another process leads it, or it has stopped again.
        """
        canonical, rule, backend = self._known(name)
        ledger = self._ledger(backend, canonical, rule)
        with (
            self._alone(ledger, backend),
            self._change("rotate", canonical, backend.name, detail="resumed") as attempt,
        ):
            attempt.was_sent = False
            pending = self._pending(ledger, rule, force=force)
            machine = self._machine(ledger, rule, attempt, backend)
            with running(pending.id):
                if pending.step is Step.UNDO:
                    self._undone(machine, ledger.take_over(pending, self._now()), backend)
                    raise RotationError(
                        f"the rotation of {canonical} was being undone, and that is done now",
                        name=canonical,
                        hint="rotate it again if that is what you want",
                    )
                with self._counted(canonical, rule):
                    self._refuse_if_taken_back(canonical, pending, backend)
                    if not over_others:
                        self._refuse_if_written(ledger, pending, backend)
                    taken = self._rebased(ledger, ledger.take_over(pending, self._now()), backend)
                    return self._led(machine, taken, backend, attempt)

    @recorded_at_once
    def undo(self, name: str, *, force: bool = False) -> Undone:
        """Have a pending rotation's dependent and secret be as before.

        Args:
            name: The secret's name.
            force: Take it over even if its process may be alive.

        Raises:
            UndoRefusedError: The former value is of no use any more, so it can only be resumed.
            RotationError: There is none (code ``rotation_none``), another process leads it, or that has stopped.
        """
        canonical, rule, backend = self._known(name)
        ledger = self._ledger(backend, canonical, rule)
        with (
            self._alone(ledger, backend),
            self._change("rotate", canonical, backend.name, detail="undone") as attempt,
        ):
            pending = self._pending(ledger, rule, force=force)
            machine = self._machine(ledger, rule, attempt, backend)
            with running(pending.id):
                version = self._undone(machine, ledger.take_over(pending, self._now()), backend)
            attempt.update(version=version)
            self._renew_copy(attempt, backend, canonical, None)
        count(ROTATIONS, {ROTATOR_TYPE: rule.keys.rotator, OUTCOME: "undone"})
        if version is not None:
            self._notify(canonical, "rotate", version)
        return Undone(name=canonical, id=pending.id, version=version)

    def _undone(self, machine: Machine, taken: Pending, backend: GuardedBackend) -> str | None:
        """Undo a rotation that was taken over; what somebody has written by hand stays, and its dependent gets it."""
        now = backend.read(ReadRequest(name=machine.name))
        by_hand = now.value not in (taken.candidate, taken.former)
        return machine.undo(
            taken,
            foreign=True,
            current=now.value if by_hand else None,
            promoted=now.value == taken.candidate,
        )

    def _led(self, machine: Machine, pending: Pending, backend: GuardedBackend, attempt: Attempt) -> Rotated:
        done = machine.run(pending)
        assert done.version is not None, "it has been promoted"
        now = ReadResult(value=done.candidate, version=done.version)
        problem = self._renew_copy(attempt, backend, machine.name, now)
        left = machine.waits(done)
        return Rotated(
            id=done.id,
            name=machine.name,
            version=done.version,
            subscribers_failed=machine.subscribers_failed,
            copy_failed=problem,
            unfinished=f"the former value goes on working until {moment(self._now() + left)}" if left else "",
        )

    @contextmanager
    def _counted(self, name: SecretName, rule: RotationRule) -> Iterator[None]:
        """Count a rotation by how it ends, and announce it if it fails."""
        try:
            yield
            count(ROTATIONS, {ROTATOR_TYPE: rule.keys.rotator, OUTCOME: "ok"})
        except StrongroomError as error:
            count(ROTATIONS, {ROTATOR_TYPE: rule.keys.rotator, OUTCOME: error.code})
            self._parts.announce(Announcement(kind="rotation_failed", name=name, detail=error.what))
            raise

    def _known(self, spelling: str) -> tuple[SecretName, RotationRule, GuardedBackend]:
        name = self._gate.check(Action.ROTATE, spelling)
        self._gate.judge(Action.ROTATE, name)
        with self._ready(Action.ROTATE, name) as backend:
            rule = self._parts.configuration.rotation.rule(name)
            if rule is None:
                raise ConfigurationError(
                    f"no [rotation] table is for {name}, so it has no rotation to resume or undo",
                    name=name,
                    hint="`strongroom rotation status` lists the names that have one",
                )
            self._parts.rotators.of(rule)
            return name, rule, backend

    def _ledger(self, backend: GuardedBackend, name: SecretName, rule: RotationRule) -> Ledger:
        return ledger_of(backend, name, rule)

    @contextmanager
    def _alone(self, ledger: Ledger, backend: GuardedBackend) -> Iterator[None]:
        """Keep the other processes of this host out, where the backend cannot."""
        if ledger.compares:
            yield
            return
        # Imported here: hardly a backend needs it.
        from strongroom.rotation.host_lock import alone_on_this_host

        source = self._parts.configuration.source
        folder = os.path.dirname(source) if os.path.isabs(source) else os.getcwd()
        with self._gate.recording_refusal(Action.ROTATE, ledger.name), ExitStack() as stack:
            stack.enter_context(alone_on_this_host(folder, backend.wrapped.address, ledger.name))
            lock = stack.pop_all()
        with lock:
            yield

    def _pending(self, ledger: Ledger, rule: RotationRule, *, force: bool) -> Pending:
        name, pending = ledger.name, ledger.look().pending
        if pending is None:
            raise RotationError(
                f"no rotation of {name} is pending", code="rotation_none", name=name, hint="there is nothing to do"
            )
        if not force:
            self._refuse_if_led(pending, rule, name)
        return pending

    def _refuse_if_led(self, pending: Pending, rule: RotationRule, name: SecretName) -> None:
        """Refuse to touch a rotation that somebody may be leading."""
        overlap = self._parts.rotators.spec(rule).overlap if rule.keys.overlap is None else rule.keys.overlap
        refusal = refusal_if_led(pending, name, limit=rule.keys.limit, overlap=overlap, now=self._now())
        if refusal is not None:
            raise refusal

    def _refuse_if_written(self, ledger: Ledger, pending: Pending, backend: GuardedBackend) -> None:
        """Refuse to go on with a rotation during which somebody has written the secret by hand."""
        if self._is_written(ledger, pending, backend) is None:
            return
        stopped = RotationError(
            f"{ledger.name} was written by somebody during its rotation, which is left as it is",
            code="rotation_incomplete",
            name=ledger.name,
            hint="`strongroom rotate --resume` puts the candidate over that, `--undo` has its dependent take that",
        )
        stopped.step = pending.step.value
        raise stopped

    @staticmethod
    def _is_written(ledger: Ledger, pending: Pending, backend: GuardedBackend) -> str | None:
        """Return the version that somebody has written over the base, if that is so."""
        if pending.version is not None:
            return None
        now = backend.read(ReadRequest(name=ledger.name))
        return None if now.version == pending.base or now.value == pending.candidate else now.version

    def _rebased(self, ledger: Ledger, pending: Pending, backend: GuardedBackend) -> Pending:
        """Have a candidate promoted over what somebody has written meanwhile: who resumes says so."""
        version = self._is_written(ledger, pending, backend)
        return pending if version is None else ledger.rebase(pending, version)

    def _expected(self, backend: GuardedBackend, name: SecretName, expected: str | None) -> ReadResult:
        now = backend.read(ReadRequest(name=name))
        if expected is not None and now.version != expected:
            raise VersionConflictError(
                f"{name} is at version {now.version}, not {expected}",
                expected=expected,
                found=now.version,
                name=name,
                backend=backend.name,
                hint="read it again and decide anew",
            )
        return now

    def _machine(self, ledger: Ledger, rule: RotationRule, attempt: Attempt, backend: GuardedBackend) -> Machine:
        name = ledger.name

        def note(step: str, rotation: str) -> None:
            attempt.was_sent = True
            event = self._gate.event(
                f"rotate_{step}", key=name, backend=backend.name, detail=f"of the rotation {rotation}"
            )
            try:
                self._parts.audit.record(event)
            except AuditError as error:
                raise AuditError(
                    f"the step {step} of the rotation of {name} was done, but could not be recorded: {error.what}",
                    applied=step in _CHANGED,
                    name=name,
                    hint="mend the sink first; `strongroom rotation status` shows what is left to resume, if anything",
                ) from error

        def promoted(_: Pending) -> None:
            self._drop_surely(name)

        return Machine(
            ledger,
            self._parts.rotators.of(rule),
            rule.keys,
            attempt=attempt,
            note=note,
            promoted=promoted,
            announce=lambda version: self._notify(name, "rotate", version),
            read_secret=lambda spelling: self._read_for(name, spelling),
            clock=self._clock,
            wall_clock=self._parts.wall_clock,
            sleep=self._parts.sleep,
        )

    def _read_for(self, rotated: SecretName, spelling: str) -> SecretValue:
        """Read another secret for a rotator, as this principal, and record that."""
        try:
            return self._read_other(rotated, spelling)
        except StrongroomError as error:
            # What has led to it is for the other secret's backend: a client's error may hold its credentials.
            refusal = error.again()
        raise refusal

    def _read_other(self, rotated: SecretName, spelling: str) -> SecretValue:
        name = self._gate.check(Action.READ, spelling)
        self._gate.judge(Action.READ, name)
        with self._gate.recording_look("get", name, detail=f"to rotate {rotated}") as facts:
            backend = self._parts.backend(self._parts.routing.of(name))
            facts["backend"] = backend.name
            found = backend.read(ReadRequest(name=name))
            facts["version"] = found.version
        return found.value

    def _now(self) -> float:
        return self._parts.wall_clock() / 1e9


def ledger_of(backend: GuardedBackend, name: SecretName, rule: RotationRule) -> Ledger:
    """Return where the rotations of a name are written down.

    Raises:
        ConfigurationError: Nothing would keep two hosts apart.
    """
    if backend.offers(Staging) and Capability.VERSIONS in backend.capabilities:
        return StagedLedger(backend, name)
    return RecordLedger(backend, name, single_host=rule.keys.single_host)
