"""The rotator's contract: kept by a simple rotator, and each mistake fails its check."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

MODULE = """
    import itertools
    import logging

    import pytest

    from datetime import UTC, datetime, timedelta

    from strongroom.contracts import (
        ApplyResult,
        FinishResult,
        GenerateResult,
        Life,
        Rotator,
        UndoResult,
        VerifyCandidateResult,
    )
    from strongroom.errors import BackendUnavailableError, CandidateRefusedError, RotationError, UndoRefusedError
    from strongroom.model import SecretValue
    from strongroom.testing import RotatorContract

    class Dependent:
        def __init__(self):
            self.known = {{"the current one"}}
            self.refusing = self.away = False

        def asked(self):
            if self.away:
                raise BackendUnavailableError("the dependent does not answer")

        def take(self, value):
            self.asked()
            if self.refusing:
                raise CandidateRefusedError("the dependent refuses it")
            self.known.add(value.reveal_text())

        def forget(self, value):
            self.asked()
            self.known.discard(value.reveal_text())

    def refuse(why="the dependent does not accept it"):
        raise CandidateRefusedError(why)

    def gone():
        raise UndoRefusedError("the dependent takes nothing twice")

    class Simple(Rotator):
        def __init__(self, dependent):
            self.dependent = dependent
            self.applied = set()
            self.count = itertools.count(1)
            self.closed = False

        def generate(self, request):
            {generate}

        def apply(self, request):
            {apply}

        def verify(self, request):
            {verify}

        def finish(self, request):
            {finish}

        def undo(self, request):
            {undo}

        def life(self, value):
            {life}

        def close(self):
            {close}

        def __repr__(self):
            {repr}

    class TestSimple(RotatorContract):
        @pytest.fixture
        def dependent(self):
            return Dependent()

        @pytest.fixture
        def rotator(self, dependent):
            return Simple(dependent)

        @pytest.fixture
        def current(self):
            return SecretValue("the current one")

        @pytest.fixture
        def accepts(self, dependent):
            return lambda value: value.reveal_text() in dependent.known

        @pytest.fixture
        def refuse(self, dependent):
            return lambda: setattr(dependent, "refusing", True)

        @pytest.fixture
        def unreachable(self):
            dependent = Dependent()
            dependent.away = True
            return Simple(dependent)
"""
MADE = "value = SecretValue(f'the candidate {next(self.count)}'); "
TEXT = "text = request.candidate.reveal_text(); "
SOUND = {
    "generate": MADE + "return GenerateResult(value=value)",
    "apply": "request.confirm(); self.dependent.take(request.candidate); return ApplyResult()",
    "verify": TEXT
    + "self.dependent.asked(); return VerifyCandidateResult() if text in self.dependent.known else refuse()",
    "finish": "request.confirm(); self.dependent.forget(request.former); return FinishResult()",
    "undo": "request.confirm(); self.dependent.forget(request.candidate); self.dependent.take(request.current); "
    "return UndoResult()",
    "life": "return None",
    "close": "self.closed = True",
    "repr": "return 'Simple()'",
}
FORGETFUL = "request.confirm(); self.dependent.forget(request.candidate); "
REFUSING = "request.promoted and request.current.reveal_text() not in self.dependent.known and gone(); "
ENDLESS = "now = datetime.now(UTC); hour = timedelta(hours=1); "
MISTAKES = {
    "the same candidate again": (
        "generate",
        "return GenerateResult(value=SecretValue('the same'))",
        "test_a_candidate_is_new_each_time",
    ),
    "the current value as candidate": (
        "generate",
        "return GenerateResult(value=request.current)",
        "test_a_candidate_is_new_each_time",
    ),
    "generate applies": (
        "generate",
        MADE + "self.dependent.take(value); return GenerateResult(value=value)",
        "test_generating_changes_nothing",
    ),
    "generate takes the current value away": (
        "generate",
        MADE + "self.dependent.known.clear(); return GenerateResult(value=value)",
        "test_generating_changes_nothing",
    ),
    "apply does nothing": (
        "apply",
        "request.confirm(); return ApplyResult()",
        "test_an_applied_candidate_is_accepted",
    ),
    "apply takes the current value away": (
        "apply",
        SOUND["apply"].replace("return", "self.dependent.forget(request.current); return"),
        "test_an_applied_candidate_is_accepted",
    ),
    "apply cannot be called twice": (
        "apply",
        TEXT + "assert text not in self.applied; self.applied.add(text); " + SOUND["apply"],
        "test_applying_twice_is_applying_once",
    ),
    "apply does not confirm": (
        "apply",
        "self.dependent.take(request.candidate); return ApplyResult()",
        "test_nothing_is_changed_once_the_rotation_is_lost",
    ),
    "apply confirms too late": (
        "apply",
        "self.dependent.take(request.candidate); request.confirm(); return ApplyResult()",
        "test_nothing_is_changed_once_the_rotation_is_lost",
    ),
    "apply answers nothing": (
        "apply",
        "request.confirm(); self.dependent.take(request.candidate)",
        "test_an_applied_candidate_is_accepted",
    ),
    "verify believes": (
        "verify",
        "return VerifyCandidateResult()",
        "test_a_candidate_that_was_not_applied_is_not_verified",
    ),
    "verify takes an outage for success": (
        "verify",
        TEXT + "return VerifyCandidateResult() if self.dependent.away or text in self.dependent.known else refuse()",
        "test_no_answer_is_an_outage",
    ),
    "finish takes the new value": (
        "finish",
        "self.dependent.forget(request.current); return FinishResult()",
        "test_finishing_leaves_the_new_value",
    ),
    "finish cannot be called twice": (
        "finish",
        "self.dependent.known.remove(request.former.reveal_text()); return FinishResult()",
        "test_finishing_leaves_the_new_value",
    ),
    "undo does nothing": (
        "undo",
        "request.confirm(); return UndoResult()",
        "test_undoing_brings_the_current_value_back",
    ),
    "undo takes all away": (
        "undo",
        "request.confirm(); self.dependent.known.clear(); return UndoResult()",
        "test_a_promoted_candidate_can_be_undone",
    ),
    "undo needs an applied candidate": (
        "undo",
        "request.confirm(); self.dependent.known.remove(request.candidate.reveal_text()); return UndoResult()",
        "test_what_was_not_applied_can_be_undone",
    ),
    "undo does not bring back what finish has taken": (
        "undo",
        FORGETFUL + "return UndoResult()",
        "test_what_is_finished_is_undone_or_refused",
    ),
    "undo refuses too late": (
        "undo",
        FORGETFUL + REFUSING + "return UndoResult()",
        "test_what_is_finished_is_undone_or_refused",
    ),
    "undo refuses all that is promoted": (
        "undo",
        "request.promoted and gone(); " + SOUND["undo"],
        "test_a_promoted_candidate_can_be_undone",
    ),
    "undo does not confirm": (
        "undo",
        SOUND["undo"].replace("request.confirm(); ", ""),
        "test_nothing_is_changed_once_the_rotation_is_lost",
    ),
    "an error of its own for a lost rotation": (
        "apply",
        "try: request.confirm()\n"
        "            except RotationError: raise RotationError('it was lost')\n"
        "            self.dependent.take(request.candidate); return ApplyResult()",
        "test_nothing_is_changed_once_the_rotation_is_lost",
    ),
    "a refusal that shows the candidate": (
        "apply",
        TEXT + "request.confirm(); self.dependent.refusing and refuse(f'{text} is too short'); " + SOUND["apply"],
        "test_a_refused_candidate_is_told_from_any_other_failure",
    ),
    "verifying shows the candidate": (
        "verify",
        TEXT + "refuse(f'{text} does not work')",
        "test_a_candidate_that_was_not_applied_is_not_verified",
    ),
    "a refusal that is no refusal": (
        "apply",
        "request.confirm(); assert not self.dependent.refusing; self.dependent.take(request.candidate); "
        "return ApplyResult()",
        "test_a_refused_candidate_is_told_from_any_other_failure",
    ),
    "an outage that is none": (
        "apply",
        "request.confirm(); assert not self.dependent.away; self.dependent.take(request.candidate); "
        "return ApplyResult()",
        "test_no_answer_is_an_outage",
    ),
    "a value in a log": (
        "apply",
        "logging.getLogger('acme').debug('sets %s', request.candidate.reveal_text()); " + SOUND["apply"],
        "test_no_value_shows",
    ),
    "a value in a log's arguments": (
        "finish",
        "logging.getLogger('acme').debug('%.3s', request.former.reveal_text()); " + SOUND["finish"],
        "test_no_value_shows",
    ),
    "a value in its repr": ("repr", "return f'Simple({self.dependent.known})'", "test_no_value_shows"),
    "a life that ends before it begins": (
        "life",
        ENDLESS + "return Life(begins=now, ends=now - hour)",
        "test_the_life_of_a_value_has_an_order",
    ),
    "a life that is over": (
        "life",
        ENDLESS + "return Life(begins=now - 2 * hour, ends=now - hour)",
        "test_the_life_of_a_value_has_an_order",
    ),
    "a life in local time": (
        "life",
        "return Life(begins=datetime(2000, 1, 1), ends=datetime(3000, 1, 1))",
        "test_the_life_of_a_value_has_an_order",
    ),
    "it cannot be closed twice": (
        "close",
        "assert not self.closed; self.closed = True",
        "test_closing_twice_is_no_error",
    ),
}


def test_a_sound_rotator_passes(failed_checks: Callable[..., set[str]]) -> None:
    assert failed_checks(textwrap.dedent(MODULE.format(**SOUND))) == set()


def test_a_rotator_that_can_give_no_value_back_passes_if_it_says_so(failed_checks: Callable[..., set[str]]) -> None:
    undo = REFUSING + FORGETFUL + "return UndoResult()"
    assert failed_checks(textwrap.dedent(MODULE.format(**SOUND | {"undo": undo}))) == set()


@pytest.mark.parametrize(("method", "body", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_check(
    failed_checks: Callable[..., set[str]], method: str, body: str, expected: str
) -> None:
    # Its lines are indented as the module's are, of which that is taken away.
    assert expected in failed_checks(textwrap.dedent(MODULE.format(**SOUND | {method: body})))
