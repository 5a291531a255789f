"""The machine: generate → record → apply → verify → promote → announce → finish, and undo instead of what is left.

Each step is done and then noted in the ledger, so what a crash leaves is done
again from the step that was next; that is why each step is idempotent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from strongroom.config.rotation import RotationKeys
from strongroom.contracts.rotation import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import (
    BackendUnavailableError,
    CandidateRefusedError,
    RotationError,
    StrongroomError,
    UndoRefusedError,
    VersionConflictError,
)
from strongroom.model import SecretValue
from strongroom.pacing import delay
from strongroom.rotation.leading import overlap_left
from strongroom.rotation.ledger import Ledger
from strongroom.rotation.pending import Pending, Step
from strongroom.rotators import GuardedRotator
from strongroom.stages.changing import Attempt

Result = TypeVar("Result")

TRIES: Final = 3
"""How often a step is tried while the dependent does not answer."""
REFUSALS: Final = 2
"""After how many refusals a candidate is replaced by another one."""
CANDIDATES: Final = 3
"""How many candidates are tried before the rotation is given up."""


class Machine:
    """Leads one rotation of one name, in this thread.

    Args:
        ledger: Where it is written down.
        rotator: What makes the value and has the dependent take it.
        keys: The rule.
        attempt: The rotation as the audit trail knows it.
        note: Records a step, given its name and the rotation's id.
        promoted: Called with the version after the candidate has become current: drops cached copies and the like.
        announce: Tells subscribers of the version; returns a sentence for each that did not take it.
        read_secret: Reads another secret for the rotator.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970 UTC.
        sleep: Waits for so many seconds.

    Attributes:
        name: The secret's name.
        subscribers_failed: Who did not take the announcement.
    """

    def __init__(
        self,
        ledger: Ledger,
        rotator: GuardedRotator,
        keys: RotationKeys,
        *,
        attempt: Attempt,
        note: Callable[[str, str], object],
        promoted: Callable[[Pending], object],
        announce: Callable[[str], tuple[str, ...]],
        read_secret: Callable[[str], SecretValue],
        clock: Callable[[], float],
        wall_clock: Callable[[], int],
        sleep: Callable[[float], object],
    ) -> None:
        self._ledger = ledger
        self.name = self._name = ledger.name
        self._rotator = rotator
        self._keys = keys
        self._attempt = attempt
        self._note = note
        self._promoted = promoted
        self._announce = announce
        self._read_secret = read_secret
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._end = clock() + keys.limit
        self._over = False
        self.subscribers_failed: tuple[str, ...] = ()

    @property
    def overlap(self) -> float:
        """For how many seconds the former value has to go on working."""
        return self._rotator.spec.overlap if self._keys.overlap is None else self._keys.overlap

    def generate(self, current: SecretValue, number: int) -> SecretValue:
        """Return a candidate.

        Args:
            current: The value that is to be replaced.
            number: Which candidate of the rotation it is, from 1.
        """
        request = GenerateRequest(name=self._name, current=current, attempt=number, read_secret=self._read_secret)
        made = self._call(Step.GENERATE, request, GenerateResult)
        if made.value == current:
            raise RotationError(
                f"the rotator {self._rotator.spec.name} has made the current value of {self._name} once more",
                name=self._name,
                hint="a rotator has to make a new value; nothing was changed",
            )
        return made.value

    def begin(self, draft: Pending) -> Pending:
        """Record a candidate as pending; from here on others can lead it to an end."""
        begun = self._ledger.begin(draft)
        self._note(Step.RECORD.value, begun.id)
        return begun

    def run(self, pending: Pending) -> Pending:
        """Do what is left, up to the end of the overlap.

        Returns:
            The rotation, with ``step`` still at ``finish`` if the overlap is not over.

        Raises:
            RotationError: It has stopped; the code tells whether it was undone, is pending, or is led by others.
        """
        self._over = False
        try:
            pending = self._adopted(pending)
            pending = self._promote(pending)
            pending = self._tell(pending)
            if not self.waits(pending):
                self._finish(pending)
            return pending
        finally:
            # What was left behind in a thread of its own must not act any more.
            self._over = True

    def waits(self, pending: Pending) -> float:
        """Return for how many seconds the former value has still to go on working."""
        return overlap_left(pending, self.overlap, self._wall_clock() / 1e9)

    def _adopted(self, pending: Pending) -> Pending:
        """Have the dependent take the candidate and accept it, or another one in its place."""
        refusals = 0
        while pending.step in (Step.APPLY, Step.VERIFY):
            try:
                if pending.step is Step.APPLY:
                    pending = self._apply(pending)
                pending = self._verify(pending)
            except CandidateRefusedError as error:
                refusals += 1
                if refusals < REFUSALS:
                    pending = pending.replace(step=Step.APPLY)
                    continue
                refusals = 0
                pending = self._replaced(pending, error)
        return pending

    def _apply(self, pending: Pending) -> Pending:
        request = ApplyRequest(
            name=self._name,
            candidate=pending.candidate,
            current=pending.former,
            read_secret=self._read_secret,
            confirm=self._confirming(pending),
        )
        self._try(Step.APPLY, pending, request, ApplyResult)
        self._note(Step.APPLY.value, pending.id)
        return self._stopping_at(Step.APPLY, lambda: self._ledger.advance(pending, Step.VERIFY))

    def _verify(self, pending: Pending) -> Pending:
        request = VerifyCandidateRequest(name=self._name, candidate=pending.candidate, read_secret=self._read_secret)
        self._try(Step.VERIFY, pending, request, VerifyCandidateResult)
        self._note(Step.VERIFY.value, pending.id)
        return self._stopping_at(Step.VERIFY, lambda: self._ledger.advance(pending, Step.PROMOTE))

    def _replaced(self, pending: Pending, error: CandidateRefusedError) -> Pending:
        """Return the rotation with another candidate, or undo it if there have been enough."""
        if pending.attempt >= CANDIDATES:
            self.undo(pending, foreign=False)
            failed = RotationError(
                f"the dependent of {self._name} has refused {CANDIDATES} candidates, so its rotation was undone: "
                f"{error.what}",
                name=self._name,
                hint=error.hint or "make the rotator's rules fit the dependent's",
            )
            failed.step = Step.APPLY.value
            raise failed from error
        candidate = self._stopping_at(Step.GENERATE, lambda: self.generate(pending.former, pending.attempt + 1))
        replaced = self._stopping_at(Step.RECORD, lambda: self._ledger.replace(pending, candidate))
        self._note(Step.RECORD.value, pending.id)
        return replaced

    def _promote(self, pending: Pending) -> Pending:
        if pending.step is not Step.PROMOTE:
            return pending
        try:
            promoted = self._stopping_at(Step.PROMOTE, lambda: self._ledger.promote(pending, self._wall_clock() / 1e9))
        finally:
            # Even if nobody knows whether it was.
            self._promoted(pending)
        self._attempt.update(version=promoted.version)
        self._note(Step.PROMOTE.value, pending.id)
        return promoted

    def _tell(self, pending: Pending) -> Pending:
        if pending.step is not Step.ANNOUNCE:
            return pending
        assert pending.version is not None, "it is promoted"
        self._promoted(pending)
        self.subscribers_failed = self._announce(pending.version)
        self._note(Step.ANNOUNCE.value, pending.id)
        return self._stopping_at(Step.ANNOUNCE, lambda: self._ledger.advance(pending, Step.FINISH))

    def _finish(self, pending: Pending) -> None:
        request = FinishRequest(
            name=self._name,
            current=pending.candidate,
            former=pending.former,
            read_secret=self._read_secret,
            confirm=self._confirming(pending),
        )
        self._try(Step.FINISH, pending, request, FinishResult)
        life = self._rotator.life(pending.candidate)
        expires = None if life is None else life.ends.timestamp()
        self._stopping_at(Step.FINISH, lambda: self._ledger.finish(pending, expires))
        self._note(Step.FINISH.value, pending.id)

    def undo(
        self, pending: Pending, *, foreign: bool, current: SecretValue | None = None, promoted: bool = False
    ) -> str | None:
        """Have the dependent and the backend be as before.

        Args:
            pending: The rotation, held by this process.
            foreign: Whether somebody else has led it before.
            current: The value that readers are to have, if it is not the former one: somebody has written it by hand.
            promoted: Whether readers get the candidate now.

        Returns:
            The version that is current by that; ``None`` if that has not changed.

        Raises:
            UndoRefusedError: The former value is of no use any more; the rotation is at the step where it was.
            RotationError: It has stopped.
        """
        begun = self._stopping_at(Step.UNDO, lambda: self._ledger.advance(pending, Step.UNDO))
        request = UndoRequest(
            name=self._name,
            candidate=begun.candidate,
            current=begun.former if current is None else current,
            read_secret=self._read_secret,
            confirm=self._confirming(begun),
            promoted=promoted,
        )
        try:
            self._try(Step.UNDO, begun, request, UndoResult)
        except UndoRefusedError:
            # Else it could be neither resumed nor undone.
            self._stopping_at(Step.UNDO, lambda: self._ledger.advance(begun, _step_of(pending)))
            raise
        version = self._stopping_at(Step.UNDO, lambda: self._ledger.abandon(begun, foreign=foreign))
        self._note(Step.UNDO.value, begun.id)
        return version

    def _confirming(self, pending: Pending) -> Callable[[], None]:
        def confirm() -> None:
            if self._over or self._clock() >= self._end:
                raise self._too_long()
            self._ledger.confirm(pending)

        return confirm

    def _try(self, step: Step, pending: Pending, request: Any, gives: type[Any]) -> None:
        """Call the rotator, again and again while the dependent does not answer."""
        confirm = self._confirming(pending)
        for attempt in range(1, TRIES + 1):
            try:
                self._stopping_at(step, confirm)
                self._call(step, request, gives)
            except BackendUnavailableError as error:
                if attempt == TRIES or self._clock() + delay(attempt) >= self._end:
                    raise self._stopped(step, error) from error
                self._sleep(delay(attempt))
            except CandidateRefusedError:
                if step in (Step.APPLY, Step.VERIFY):
                    raise
                raise self._stopped(step, None) from None
            except StrongroomError as error:
                if isinstance(error, RotationError):
                    error.step = error.step or step.value
                    raise
                raise self._stopped(step, error) from error
            else:
                return

    def _call(self, step: Step, request: Any, gives: type[Result]) -> Result:
        seconds = max(0.0, self._end - self._clock())
        return self._rotator.call(step.value, request, self._name, gives=gives, seconds=seconds)

    def _stopping_at(self, step: Step, act: Callable[[], Result]) -> Result:
        """Do something with the ledger; what fails there leaves the rotation pending."""
        try:
            return act()
        except RotationError as error:
            error.step = error.step or step.value
            raise
        except StrongroomError as error:
            raise self._stopped(step, error) from error

    def _stopped(self, step: Step, error: StrongroomError | None) -> RotationError:
        why = "" if error is None else f": {error.what}"
        stopped = RotationError(
            f"the rotation of {self._name} has stopped at {step.value}{why}",
            code="rotation_incomplete",
            name=self._name,
            hint="what is left is kept: `strongroom rotate --resume` or `--undo` goes on from there"
            + (
                "; somebody has written the secret meanwhile, so look first which value its dependent accepts"
                if isinstance(error, VersionConflictError)
                else ""
            ),
        )
        stopped.step = step.value
        return stopped

    def _too_long(self) -> RotationError:
        return RotationError(
            f"the rotation of {self._name} takes longer than its limit of {self._keys.limit:g} s",
            code="rotation_incomplete",
            name=self._name,
            hint="resume it, and raise `limit` in its [rotation] table if its dependent is slow",
        )


def _step_of(pending: Pending) -> Step:
    """Return the step at which a rotation is that is not undone after all."""
    if pending.step is not Step.UNDO:
        return pending.step
    # Somebody was killed before that could be said. What may have been done already is done again.
    return Step.APPLY if pending.version is None else Step.ANNOUNCE
