"""Each mistake in a cache policy makes the check fail that is about it."""

from __future__ import annotations

import textwrap

from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

MODULE = """
    import itertools
    import time

    import pytest

    from strongroom.contracts import CachePolicy, Lifetime
    from strongroom.testing import CachePolicyContract

    count = itertools.count()

    class Broken(CachePolicy):
        def lifetime(self, request):
            now = request.now
            return {answer}

    class TestBroken(CachePolicyContract):
        @pytest.fixture
        def policy(self):
            return Broken()
"""
MISTAKES = {
    "not a number": ("Lifetime(fresh_until=float('nan'))", {"test_times_are_numbers"}),
    "a clock of its own": ("Lifetime(fresh_until=time.monotonic())", {"test_times_depend_on_the_request_only"}),
    "an absolute time": ("Lifetime(fresh_until=300.0)", {"test_the_origin_of_the_clock_does_not_matter"}),
    "numbers of its own": ("Lifetime(fresh_until=now + next(count))", {"test_threads_get_the_same_answer"}),
    "a refresh after the end": (
        "Lifetime(fresh_until=now + 1, refresh_at=now + 2)",
        {"test_a_refresh_comes_while_the_answer_is_fresh"},
    ),
    "stale before the end": (
        "Lifetime(fresh_until=now + 2, stale_until=now + 1)",
        {"test_stale_comes_after_fresh"},
    ),
    "ascii only": (
        "Lifetime(fresh_until=now + len(request.name.encode('ascii')))",
        {"test_names_do_not_upset_it"},
    ),
    "no answer": ("None", {"test_names_do_not_upset_it", "test_times_are_numbers"}),
}


@pytest.mark.parametrize(("answer", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_fails_its_checks(failed_checks: Callable[..., set[str]], answer: str, expected: set[str]) -> None:
    assert expected <= failed_checks(textwrap.dedent(MODULE).format(answer=answer))


def test_a_sound_policy_passes(failed_checks: Callable[..., set[str]]) -> None:
    answer = "Lifetime(fresh_until=now + 3, refresh_at=now + 2, stale_until=now + 9)"
    assert failed_checks(textwrap.dedent(MODULE).format(answer=answer)) == set()
