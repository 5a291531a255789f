"""The contract of a rotator, as checks."""

from __future__ import annotations

import logging

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import (
    BackendUnavailableError,
    CandidateRefusedError,
    RotationError,
    SecretNotFoundError,
    StrongroomError,
    UndoRefusedError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing.leaks import assert_hidden, report_of
from strongroom.testing.promises import must_override, promised_by

NAME = SecretName("kit/rotated")
Accepts = Callable[[SecretValue], bool]
"""Tells whether the dependent accepts a value just now, in the way that readers use it."""


def read_nothing(name: str) -> SecretValue:
    """Stand for the other secrets: there are none.

    Raises:
        SecretNotFoundError: Always.
    """
    raise SecretNotFoundError(f"there is no secret {name}", name=name)


class RotatorContract:
    """Everything that a rotator promises; override the fixtures ``rotator`` and ``current``.

    With a dependent, override ``accepts`` too; it is asked to what the rotator has led.

    Attributes:
        dependent: Whether something has to take the values. Without that, applying and undoing change nothing.
        keeps_current: Whether the current value goes on working once a candidate is applied.
        forgets_candidate: Whether an applied candidate stops working when it is undone.

    Example:
        .. code-block:: python

            class TestAcme(RotatorContract):
                @pytest.fixture
                def rotator(self, acme):
                    return AcmeRotator(AcmeSettings(address=acme.address))

                @pytest.fixture
                def current(self, acme):
                    return SecretValue(acme.password)

                @pytest.fixture
                def accepts(self, acme):
                    return lambda value: acme.logs_in(value.reveal_text())
    """

    dependent: ClassVar[bool] = True
    keeps_current: ClassVar[bool] = True
    forgets_candidate: ClassVar[bool] = True

    @pytest.fixture
    def rotator(self) -> Rotator:
        """Return the rotator under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        must_override(self, "the fixture `rotator`", "it returns the rotator under test")

    @pytest.fixture
    def current(self) -> SecretValue:
        """Return the value that the dependent accepts at first; every author overrides this."""
        # As above.
        must_override(self, "the fixture `current`", "it returns the value that the dependent accepts at first")

    @pytest.fixture
    def accepts(self) -> Accepts:
        """Return what tells whether the dependent accepts a value."""
        if not self.dependent:
            # Not an error: checks that need a dependent are left out.
            pytest.skip("the class says dependent = False: nothing has to take the values")
        # As above.
        must_override(
            self,
            "the fixture `accepts`, or state dependent = False",
            "it returns a function that tells whether the dependent accepts a value",
        )

    @pytest.fixture
    def read_secret(self) -> Callable[[str], SecretValue]:
        """Return what the rotator reads other secrets by; there are none unless overridden."""
        return read_nothing

    @pytest.fixture
    def refuse(self) -> Callable[[], object] | None:
        """Return what makes the dependent refuse each further candidate; ``None`` where it cannot."""
        return None

    @pytest.fixture
    def unreachable(self) -> Rotator | None:
        """Return a rotator whose dependent does not answer; ``None`` where there is no such thing."""
        return None

    @pytest.fixture
    def steps(self, rotator: Rotator, current: SecretValue, read_secret: Callable[[str], SecretValue]) -> Steps:
        """Return the rotator's steps, in one rotation."""
        return Steps(rotator, current, read_secret)

    @promised_by(Rotator.generate)
    def test_a_candidate_is_new_each_time(self, steps: Steps, current: SecretValue) -> None:
        """Each candidate is another value than the current one and the candidates before.

        A rotation to a value that somebody may know already protects nobody.
        """
        made = [steps.generate(number).reveal() for number in (1, 2, 3)]
        assert len({*made, current.reveal()}) == 4, "generate has made a value that there has been"

    @promised_by(Rotator.generate)
    def test_generating_changes_nothing(self, steps: Steps, current: SecretValue, accepts: Accepts) -> None:
        """After ``generate`` the dependent accepts the current value, and not the candidate.

        The candidate is not stored yet: if the process were killed now, nobody would know it.
        """
        self._need_dependent()
        candidate = steps.generate()
        assert accepts(current), "after generate the dependent does not accept the current value any more"
        assert not accepts(candidate), "the dependent accepts a candidate that was only generated"

    @promised_by(Rotator.apply)
    def test_an_applied_candidate_is_accepted(self, steps: Steps, current: SecretValue, accepts: Accepts) -> None:
        """After ``apply`` the dependent accepts the candidate, and the current value as the class states.

        Readers get the current value until the candidate is promoted, and the candidate from then on.
        """
        self._need_dependent()
        candidate = steps.generate()
        steps.apply(candidate)
        steps.verify(candidate)
        assert accepts(candidate), "verify has passed, but the dependent does not accept the candidate"
        if self.keeps_current:
            assert accepts(current), "readers still get the current value, which does not work any more"

    @promised_by(Rotator.apply)
    def test_applying_twice_is_applying_once(self, steps: Steps, accepts: Accepts) -> None:
        """After ``apply`` and ``verify`` were called twice, the dependent accepts the candidate.

        A process that takes over does not know whether the one before has applied it.
        """
        self._need_dependent()
        candidate = steps.generate()
        steps.apply(candidate)
        steps.apply(candidate)
        steps.verify(candidate)
        steps.verify(candidate)
        assert accepts(candidate), "the candidate is not accepted once it was applied twice"

    @promised_by(Rotator.verify)
    def test_a_candidate_that_was_not_applied_is_not_verified(self, steps: Steps) -> None:
        """Verifying a candidate that was not applied raises ``CandidateRefusedError``.

        Only trying it at the dependent keeps a value that does not work from being promoted.
        """
        self._need_dependent()
        candidate = steps.generate()
        with pytest.raises(CandidateRefusedError) as caught:
            steps.verify(candidate)
        assert_hidden(_text(candidate), report_of(caught.value), "the error of a candidate that is not accepted")

    @promised_by(Rotator.undo)
    def test_undoing_brings_the_current_value_back(self, steps: Steps, current: SecretValue, accepts: Accepts) -> None:
        """After ``undo`` the dependent accepts the current value, and another candidate can be applied.

        A rotation that has failed must leave everything as it was, and the next one must be possible.
        """
        self._need_dependent()
        candidate = steps.generate()
        steps.apply(candidate)
        steps.undo(candidate)
        assert accepts(current), "after undo the dependent does not accept the current value"
        if self.forgets_candidate:
            assert not accepts(candidate), "after undo the dependent still accepts the candidate"
        another = steps.generate(2)
        steps.apply(another)
        steps.verify(another)

    @pytest.mark.parametrize("times", [1, 2])
    @promised_by(Rotator.undo)
    def test_what_was_not_applied_can_be_undone(
        self, steps: Steps, current: SecretValue, accepts: Accepts, times: int
    ) -> None:
        """Undoing a candidate that was not applied, once or twice, leaves the current value working.

        A process that takes over does not know whether there is anything to undo.
        """
        self._need_dependent()
        candidate = steps.generate()
        for _ in range(times):
            steps.undo(candidate)
        assert accepts(current), "undoing what had not been applied has spoilt the current value"

    @promised_by(Rotator.finish)
    def test_finishing_leaves_the_new_value(self, steps: Steps, accepts: Accepts) -> None:
        """After ``finish``, called twice, the dependent accepts the promoted candidate.

        A process that takes over may finish again, and all readers have the new value by then.
        """
        self._need_dependent()
        candidate = steps.generate()
        steps.apply(candidate)
        steps.verify(candidate)
        steps.finish(candidate)
        steps.finish(candidate)
        assert accepts(candidate), "after finish the dependent does not accept the promoted value"

    @promised_by(UndoRequest)
    def test_a_promoted_candidate_can_be_undone(self, steps: Steps, current: SecretValue, accepts: Accepts) -> None:
        """Before ``finish``, a promoted candidate can be undone, and the former value works.

        When applications fail with the new value, the rotation is taken back.
        """
        self._need_dependent()
        candidate = steps.generate()
        steps.apply(candidate)
        steps.verify(candidate)
        steps.undo(candidate, promoted=True)
        assert accepts(current), "after undo the dependent does not accept the former value"

    @promised_by(Rotator.undo)
    def test_what_is_finished_is_undone_or_refused(self, steps: Steps, current: SecretValue, accepts: Accepts) -> None:
        """After ``finish``, ``undo`` brings the former value back or raises ``UndoRefusedError``, changing nothing.

        A process may be killed before it can note that it has finished, and then undo may follow.
        """
        self._need_dependent()
        candidate = steps.generate()
        steps.apply(candidate)
        steps.verify(candidate)
        steps.finish(candidate)
        try:
            steps.undo(candidate, promoted=True)
        except UndoRefusedError:
            assert accepts(candidate), "undo was refused after the candidate had been taken from the dependent"
        else:
            assert accepts(current), "undo was not refused, and the dependent does not accept the former value"

    @pytest.mark.parametrize("step", ["apply", "undo"])
    @promised_by(ApplyRequest)
    def test_nothing_is_changed_once_the_rotation_is_lost(
        self, steps: Steps, current: SecretValue, accepts: Accepts, step: str
    ) -> None:
        """``apply`` and ``undo`` call ``confirm`` before they change the dependent, and let its error pass.

        Another process may have taken the rotation over; two that change the dependent lock everybody out.
        """
        self._need_dependent()
        candidate = steps.generate()
        if step == "undo":
            steps.apply(candidate)
        steps.is_lost = True
        with pytest.raises(RotationError) as caught:
            getattr(steps, step)(candidate)
        assert caught.value.code == "rotation_lost", "confirm's error was not let pass"
        if step == "apply":
            assert accepts(current), "the dependent was changed although the rotation was lost"
            assert not accepts(candidate), "the dependent was changed although the rotation was lost"
        else:
            assert accepts(candidate), "the dependent was changed although the rotation was lost"

    @promised_by(Rotator.apply)
    def test_a_refused_candidate_is_told_from_any_other_failure(
        self, steps: Steps, current: SecretValue, accepts: Accepts, refuse: Callable[[], object] | None
    ) -> None:
        """A candidate that the dependent refuses raises ``CandidateRefusedError``, and the current value works.

        A dependent's rules for passwords are met by another candidate, and not by waiting.
        """
        if refuse is None:
            # Not every dependent has rules.
            pytest.skip("the fixture `refuse` is not overridden: the dependent takes every candidate")
        candidate = steps.generate()
        refuse()
        with pytest.raises(CandidateRefusedError) as caught:
            steps.lead(candidate)
        assert_hidden(_text(candidate), report_of(caught.value), "the error of a refused candidate")
        if self.keeps_current:
            assert accepts(current), "a refused candidate has spoilt the current value"

    @promised_by(Rotator)
    def test_no_answer_is_an_outage(
        self, unreachable: Rotator | None, current: SecretValue, read_secret: Callable[[str], SecretValue]
    ) -> None:
        """When the dependent does not answer, each step raises ``BackendUnavailableError`` without the value.

        Only an outage is tried again; with another error the rotation would end.
        """
        if unreachable is None:
            # A dependent in the process cannot be out of reach.
            pytest.skip("the fixture `unreachable` is not overridden: there is nothing that could fail to answer")
        steps = Steps(unreachable, current, read_secret)
        candidate = steps.generate()
        for step in (steps.apply, steps.verify, steps.undo):
            with pytest.raises(BackendUnavailableError) as caught:
                step(candidate)
            assert_hidden(_text(candidate), report_of(caught.value), "the error of an outage")

    @promised_by(Rotator)
    def test_no_value_shows(self, steps: Steps, caplog: pytest.LogCaptureFixture) -> None:
        """Neither the log at level DEBUG nor the rotator's ``repr`` show a value.

        The new value would be known before it is in use.
        """
        with caplog.at_level(logging.DEBUG), _quietly():
            candidate = steps.generate()
            if self.dependent:
                steps.apply(candidate)
                steps.verify(candidate)
                steps.finish(candidate)
        for value, what in ((candidate, "candidate"), (steps.current, "current value")):
            told = "\n".join(f"{record.getMessage()} {record.args}" for record in caplog.records)
            assert_hidden(_text(value), told, f"the log, of the {what},")
            assert_hidden(_text(value), repr(steps.rotator), f"the rotator's repr, of the {what},")

    @promised_by(Rotator.life)
    def test_the_life_of_a_value_has_an_order(self, steps: Steps) -> None:
        """A value that ends by itself begins before it ends, is valid now, and both times have an offset.

        The core plans the next rotation by these times.
        """
        life = steps.rotator.life(steps.generate())
        if life is not None:
            assert life.begins < life.ends, "the value ends before it begins"
            assert life.begins <= datetime.now(UTC) < life.ends, "a new value is of no use now"

    @promised_by(Rotator.close)
    def test_closing_twice_is_no_error(self, steps: Steps) -> None:
        """A rotator that is closed a second time raises nothing.

        Whoever cleans up does not know whether somebody has done so before.
        """
        steps.rotator.close()
        steps.rotator.close()

    def _need_dependent(self) -> None:
        if not self.dependent:
            # There is nothing to be checked, then.
            pytest.skip("the class says dependent = False: nothing has to take the values")


class Steps:
    """The steps of a rotator, in one rotation of one name.

    Args:
        rotator: The rotator.
        current: The current value.
        read_secret: Reads other secrets.

    Attributes:
        is_lost: Whether somebody else has taken the rotation over.
    """

    def __init__(self, rotator: Rotator, current: SecretValue, read_secret: Callable[[str], SecretValue]) -> None:
        self.rotator = rotator
        self.current = current
        self.is_lost = False
        self._read_secret = read_secret

    def _confirm(self) -> None:
        if self.is_lost:
            raise RotationError("somebody else has taken it over", code="rotation_lost", name=NAME)

    def _common(self) -> dict[str, Any]:
        return {"name": NAME, "read_secret": self._read_secret}

    def generate(self, attempt: int = 1) -> SecretValue:
        """Return a candidate."""
        made = self.rotator.generate(GenerateRequest(current=self.current, attempt=attempt, **self._common()))
        assert isinstance(made, GenerateResult)
        return made.value

    def apply(self, candidate: SecretValue) -> None:
        """Have the dependent take a candidate."""
        request = ApplyRequest(candidate=candidate, current=self.current, confirm=self._confirm, **self._common())
        assert isinstance(self.rotator.apply(request), ApplyResult)

    def verify(self, candidate: SecretValue) -> None:
        """See whether the dependent accepts a candidate."""
        request = VerifyCandidateRequest(candidate=candidate, **self._common())
        assert isinstance(self.rotator.verify(request), VerifyCandidateResult)

    def lead(self, candidate: SecretValue) -> None:
        """Have the dependent take a candidate, and see whether it accepts it."""
        self.apply(candidate)
        self.verify(candidate)

    def finish(self, candidate: SecretValue) -> None:
        """Take the former value from the dependent, the candidate having been promoted."""
        request = FinishRequest(current=candidate, former=self.current, confirm=self._confirm, **self._common())
        assert isinstance(self.rotator.finish(request), FinishResult)

    def undo(self, candidate: SecretValue, *, promoted: bool = False) -> None:
        """Have the dependent be as before, whether or not the candidate has been promoted."""
        request = UndoRequest(
            candidate=candidate, current=self.current, confirm=self._confirm, promoted=promoted, **self._common()
        )
        assert isinstance(self.rotator.undo(request), UndoResult)


@contextmanager
def _quietly() -> Iterator[None]:
    """Let a step fail that others check: here only what it says counts."""
    try:
        yield
    except StrongroomError:
        return


def _text(value: SecretValue) -> str:
    return value.reveal().decode("utf-8", "backslashreplace")
