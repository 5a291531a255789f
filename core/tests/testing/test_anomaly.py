"""The detector's contract: kept by a simple detector, and each mistake fails its check."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

MODULE = """
    import threading

    import pytest

    from strongroom.contracts import AnomalyDetector, Decision, Verdict
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

    class TestDetector(AnomalyDetectorContract):
        @pytest.fixture
        def detector(self):
            return Detector()
"""
SOUND = {
    "after_fork": "self.last = None",
    "judge": "return ALLOW if access.allowed else Verdict(decision=Decision.ALERT, reason='it was refused')",
    "close": "self.closed = True",
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
