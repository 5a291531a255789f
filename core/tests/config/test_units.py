"""Durations and sizes as people write them."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.config.units import parse_seconds, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300s", 300.0),
        ("5m", 300.0),
        ("12h", 43200.0),
        ("90d", 7776000.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        (0, 0.0),
        ("0s", 0.0),
        ("0", 0.0),
        ("5 m", 300.0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: object, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["300", 300, 1.5, "", "s", "-5s", "5w", "5S", "1e3s", "five s", "5s5s", None, True, False, "9" * 400 + "d", ["5s"]],
)
def test_anything_else_is_no_duration_and_is_not_repeated(text: object) -> None:
    with pytest.raises(ValueError, match="duration") as caught:
        parse_seconds(text)
    assert str(caught.value) in {'a duration such as "300s", "5m", "12h" or "90d"', "a shorter duration"}


@pytest.mark.parametrize(
    ("text", "size"),
    [(0, 0), (65536, 65536), ("65536", 65536), ("10B", 10), ("64KiB", 65536), ("1MiB", 1 << 20), ("2 GiB", 2 << 30)],
)
def test_a_size_is_a_number_of_bytes_or_a_text_with_a_unit(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", [-1, 1.5, True, "", "KiB", "64KB", "64kib", "1.5MiB", "-1B", None])
def test_anything_else_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@given(st.integers(0, 10**9), st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_every_whole_number_of_a_unit_is_that_many_seconds(number: int, unit: tuple[str, float]) -> None:
    assert parse_seconds(f"{number}{unit[0]}") == pytest.approx(number * unit[1])
