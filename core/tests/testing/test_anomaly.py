"""The detector's contract: kept by a simple detector, and each mistake fails its check."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

MODULE = """
    import itertools
    import json
    import threading

    import pytest

    from strongroom.contracts import AnomalyDetector, Decision, Repeats, Verdict
    from strongroom.testing import AnomalyDetectorContract

    ALLOW = Verdict(decision=Decision.ALLOW)

    class Detector(AnomalyDetector):
        def __init__(self):
            self.last = None
            self.closed = False

        def after_fork(self):
            {after_fork}

        def judge(self, access):
            {judge}

        def close(self):
            {close}

        def repeats(self, access):
            {repeats}

        def observe(self, outcome):
            {observe}

        def dump(self):
            {dump}

        def restore(self, state):
            {restore}

    class TestDetector(AnomalyDetectorContract):
        @pytest.fixture
        def detector(self):
            return Detector()

        @pytest.fixture
        def another(self):
            {another}
"""
SOUND = {
    "after_fork": "self.last = None",
    "judge": "return ALLOW if access.allowed else Verdict(decision=Decision.ALERT, reason='it was refused')",
    "close": "self.closed = True",
    "repeats": ("return Repeats(until=access.time.timestamp() + 60, counters=((itertools.count(1).__next__, 100),))"),
    "observe": "return ALLOW",
    "dump": "return json.dumps(str(self.last)).encode()",
    "restore": "self.last = json.loads(state)",
    "another": "return Detector()",
}
MISTAKES = {
    "no answer": ("judge", "return None", "test_every_action_is_judged"),
    "no reason": ("judge", "return Verdict(decision=Decision.BLOCK)", "test_every_action_is_judged"),
    "a reason with a stop": (
        "judge",
        "return ALLOW if access.allowed else Verdict(decision=Decision.ALERT, reason='Refused.')",
        "test_a_refused_access_is_judged",
    ),
    "knows two actions": (
        "judge",
        "return {'read': ALLOW, 'list': ALLOW}[access.action]",
        "test_every_action_is_judged",
    ),
    "knows nobody who acts for another": (
        "judge",
        "assert access.base is None; return ALLOW",
        "test_an_access_on_somebody_else_s_behalf_is_judged",
    ),
    "ascii only": ("judge", "access.name.encode('ascii'); return ALLOW", "test_names_do_not_upset_it"),
    "formats names": ("judge", "access.name.format(); return ALLOW", "test_names_do_not_upset_it"),
    "wants time to go on": (
        "judge",
        "assert not self.last or access.time >= self.last; self.last = access.time; return ALLOW",
        "test_time_may_stand_still_or_go_back",
    ),
    "keeps a hundred accesses": (
        "judge",
        "self.last = (self.last or 0) + 1; assert self.last < 100; return ALLOW",
        "test_a_busy_day_is_judged_to_the_end",
    ),
    "fails after a fork": ("after_fork", "raise RuntimeError('stuck')", "test_a_forked_child_can_judge"),
    "says nothing about repetitions": ("repeats", "return 60", "test_repetitions_are_judged_or_counted"),
    "wants each repetition at once": (
        "repeats",
        "return Repeats(until=access.time.timestamp())",
        "test_repetitions_are_judged_or_counted",
    ),
    "has a counter that stands still": (
        "repeats",
        "return Repeats(counters=((lambda: 1, 100),))",
        "test_repetitions_are_judged_or_counted",
    ),
    "gives the same count to several threads": (
        "repeats",
        "self.last = itertools.count(1); return Repeats(counters=((lambda: next(self.last) // 2, 100),))",
        "test_threads_may_count_repetitions",
    ),
    "answers no outcome": ("observe", "return None", "test_an_outcome_may_come_alone"),
    "knows three results": (
        "observe",
        "return {'ok': ALLOW, 'not_found': ALLOW, 'denied': ALLOW}[outcome.result]",
        "test_every_outcome_is_taken",
    ),
    "remembers outcomes of known accesses only": (
        "observe",
        "assert outcome.access.principal.name[:4] != 'late'; return ALLOW",
        "test_an_outcome_may_come_alone",
    ),
    "dumps much": ("dump", "return bytes(2 << 20)", "test_the_state_stays_small"),
    "dumps a text": ("dump", "return 'state'", "test_a_state_may_be_dumped_at_any_time"),
    "keeps a state that nobody takes up": ("another", "return None", "test_a_state_is_taken_up"),
    "judges otherwise after taking up a state": (
        "restore",
        "self.judge = lambda access: Verdict(decision=Decision.ALERT, reason='it is new')",
        "test_a_state_is_taken_up",
    ),
    "is stuck with garbage": (
        "restore",
        "self.judge = None; json.loads(state)",
        "test_a_state_that_is_none_does_no_harm",
    ),
    "is stuck with a damaged state": (
        "restore",
        "self.judge = self.judge if state[:1] == b'\"' and state[-1:] == b'\"' else None",
        "test_a_cut_or_changed_state_does_no_harm",
    ),
    "cannot be closed twice": (
        "close",
        "assert not self.closed; self.closed = True",
        "test_closing_twice_is_no_error",
    ),
}


def test_a_sound_detector_passes(failed_checks: Callable[..., set[str]]) -> None:
    assert failed_checks(textwrap.dedent(MODULE).format(**SOUND)) == set()


@pytest.mark.parametrize(("method", "body", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_check(
    failed_checks: Callable[..., set[str]], method: str, body: str, expected: str
) -> None:
    assert expected in failed_checks(textwrap.dedent(MODULE).format(**SOUND | {method: body}))
