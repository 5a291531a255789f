"""Windows: which texts are some, what they contain, and that no zone moves them."""

from __future__ import annotations

import re

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.config.load import load
from strongroom.config.windows import DAY, WEEK, Windows, parse_windows
from strongroom.errors import ConfigurationError


def at(text: str) -> float:
    """Return a moment of the week that begins on Monday, 2030-04-01, in seconds since 1970 UTC."""
    day, clock = text.split()
    begin = datetime(2030, 4, 1, tzinfo=UTC)
    hours, minutes = clock.split(":")
    place = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun", "next"].index(day)
    return (begin + timedelta(days=place, hours=int(hours), minutes=int(minutes))).timestamp()


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("Sun 02:00-04:00", ["Sun 02:00", "Sun 03:59"], ["Sun 01:59", "Sun 04:00", "Mon 03:00", "Sat 03:00"]),
        ("02:00-04:00", ["Mon 02:00", "Sun 03:59"], ["Mon 01:59", "Sun 04:00"]),
        ("Mon-Fri 22:00-02:00", ["Mon 22:00", "Tue 01:59", "Fri 22:00", "Sat 01:59"], ["Mon 01:00", "Sat 02:00"]),
        ("Sun 22:00-02:00", ["Sun 22:00", "Mon 01:59", "next 01:59"], ["Mon 02:00", "Sun 21:59"]),
        ("Fri-Mon 12:00-13:00", ["Fri 12:00", "Sat 12:00", "Sun 12:00", "Mon 12:00"], ["Tue 12:00", "Thu 12:00"]),
        ("sun 00:00-24:00", ["Sun 00:00", "Sun 23:59"], ["Sat 23:59", "next 00:00"]),
        ("Mon 01:00-02:00, Wed 03:00-04:00", ["Mon 01:30", "Wed 03:30"], ["Mon 03:30", "Wed 01:30"]),
        ("Mon 01:00-02:00,Mon 02:00-03:00", ["Mon 01:59", "Mon 02:00"], ["Mon 03:00"]),
    ],
)
def test_what_is_inside(text: str, inside: list[str], outside: list[str]) -> None:
    windows = parse_windows(text)
    assert [windows.contains(at(one)) for one in inside] == [True] * len(inside)
    assert [windows.contains(at(one)) for one in outside] == [False] * len(outside)


def test_one_that_touches_the_next_is_one_with_it_also_over_the_end_of_the_week() -> None:
    weekend = parse_windows("Sat 20:00-24:00, Sun 00:00-24:00, Mon 00:00-06:00")
    assert weekend.span(at("Sun 12:00")) == (at("Sat 20:00"), at("next 06:00"))
    assert weekend.span(at("next 05:00")) == (at("Sat 20:00"), at("next 06:00"))


def test_windows_that_leave_nothing_out_are_always_open() -> None:
    windows = parse_windows("Mon-Sun 00:00-12:00, 12:00-24:00")
    assert windows.always
    assert windows.contains(at("Wed 12:00"))
    assert windows.opening(at("Wed 12:00")) == at("Wed 12:00")
    assert not parse_windows("Mon-Sun 00:00-12:00, 12:00-23:59").always


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is no window: expected \"Sun 02:00-04:00\""),
        ("Sun 02:00-04:00,", "'' is no window"),
        ("Sun", "'Sun' has no end"),
        ("Sun 02:00", "'Sun 02:00' has no end"),
        ("Sun 02:00 - 04:00", "is no window"),
        ("Sunday 02:00-04:00", "has a day that is none of Mon, Tue"),
        ("Sun-day 02:00-04:00", "has a day that is none of Mon, Tue"),
        ("Sun- 02:00-04:00", "has a day that is none of Mon, Tue"),
        ("-Sun 02:00-04:00", "has a day that is none of Mon, Tue"),
        ("Sun 2:00-4:00", "has a time of day that is none"),
        ("Sun 02.00-04.00", "has a time of day that is none"),
        ("Sun 0200-0400", "has a time of day that is none"),
        ("Sun 2:000-04:00", "has a time of day that is none"),
        ("Sun ٠٢:00-04:00", "has a time of day that is none"),
        ("Sun +2:00-04:00", "has a time of day that is none"),
        ("Sun 02:60-04:00", "there is not"),
        ("Sun 02:00-24:01", "there is not"),
        ("Sun 24:00-02:00", "begins at 24:00"),
        ("Sun 02:00-02:00", "is over when it begins: for a whole day write 00:00-24:00"),
        ("Mon 01:00-02:00, Sun 04:00-x", "'Sun 04:00-x' has a time of day that is none"),
    ],
)
def test_anything_else_is_refused_with_the_part_that_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        parse_windows(text)


def test_a_bad_window_is_found_when_the_configuration_is_read() -> None:
    config: dict[str, Any] = {"audit": "none", "backends": {"m": {"type": "memory"}}}
    with pytest.raises(ConfigurationError, match=r"window 'Sun 2-4' has a time of day that is none"):
        load(config | {"rotation": {"db/*": {"window": "Sun 2-4"}}})
    rule = load(config | {"rotation": {"db/*": {"window": "Sun 02:00-04:00"}}}).rotation.rule("db/a")
    assert rule is not None
    assert rule.keys.window == "Sun 02:00-04:00"


def spans() -> st.SearchStrategy[list[tuple[int, int]]]:
    one = st.tuples(st.integers(0, WEEK - 1), st.integers(1, WEEK)).map(lambda pair: (pair[0], sum(pair)))
    return st.lists(one, min_size=1, max_size=6)


def is_inside(span: list[tuple[int, int]], moment: float) -> bool:
    """Tell the slow way whether a moment is in a window."""
    monday = 4 * DAY
    return any(begin <= (moment - monday) % WEEK + week < end for begin, end in span for week in (0, WEEK))


@given(spans(), st.floats(0, 4e9))
def test_a_moment_is_inside_if_one_of_the_windows_has_it(span: list[tuple[int, int]], moment: float) -> None:
    assert Windows(span).contains(moment) == is_inside(span, moment)


@given(spans(), st.floats(0, 4e9), st.floats(0, 1))
def test_the_next_opening_is_inside_and_nothing_before_it_is(
    span: list[tuple[int, int]], moment: float, part: float
) -> None:
    windows = Windows(span)
    opening = windows.opening(moment)
    assert opening >= moment
    assert is_inside(span, opening)
    between = moment + (opening - moment) * part
    # Just before it, the sum in `is_inside` may be rounded up to it.
    assert opening - between < 1e-5 or not is_inside(span, between)


@given(spans(), st.floats(0, 4e9))
def test_a_window_is_inside_from_its_first_moment_to_just_before_its_end(
    span: list[tuple[int, int]], moment: float
) -> None:
    windows = Windows(span)
    begin, end = windows.span(moment)
    if windows.always:
        assert all(is_inside(span, moment + hours * 3600.0) for hours in range(0, 7 * 24, 5))
        return
    assert [is_inside(span, one) for one in (begin - 1, begin, end - 1, end)] == [False, True, True, False]
    assert end > moment
