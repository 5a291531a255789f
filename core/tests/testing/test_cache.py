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
    "revalidation before the end": (
        "Lifetime(fresh_until=now + 2, revalidate_until=now + 1)",
        {"test_revalidation_comes_after_fresh"},
    ),
    "revalidation without a number": (
        "Lifetime(fresh_until=now + 2, revalidate_until=float('nan'))",
        {"test_times_are_numbers"},
    ),
    "spared for ever": (
        "Lifetime(fresh_until=now + 2, spared=99)",
        {"test_eviction_spares_an_entry_up_to_three_times"},
    ),
    "spared by half": (
        "Lifetime(fresh_until=now + 2, spared=0.5)",
        {"test_eviction_spares_an_entry_up_to_three_times"},
    ),
    "confused by the entry before": (
        "Lifetime(fresh_until=now + 2, refresh_at=now + (5 if request.previous and request.previous.used else 1))",
        {"test_what_is_replaced_may_change_the_times_but_not_their_order"},
    ),
    "no answer once there is an entry before": (
        "None if request.previous else Lifetime(fresh_until=now + 2)",
        {"test_what_is_replaced_may_change_the_times_but_not_their_order"},
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
    answer = (
        "Lifetime(fresh_until=now + 3, refresh_at=now + 2, revalidate_until=now + 5, stale_until=now + 9, spared=1)"
    )
    assert failed_checks(textwrap.dedent(MODULE).format(answer=answer)) == set()
