"""What pytest leaves of values in the report of a failure is masked, and nothing else is."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom_pytest.fragments import Fragments

VALUE = "correct-horse-battery-staple"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("'correct-h...ery-staple' == ''", "'[masked]' == ''"),
        ("'correct...", "'[masked]"),
        ("...staple'", "[masked]'"),
        ("- correct-horse-batteries", "- [masked]ies"),
        ("correct... and so on", "[masked] and so on"),
    ],
)
def test_a_part_is_masked(text: str, masked: str) -> None:
    assert Fragments([VALUE]).mask(text) == masked


@pytest.mark.parametrize("text", ["", "a correct horse", "cor...ple", "battery, staples", "...", "incorrect"])
def test_what_may_be_there_by_chance_stays(text: str) -> None:
    assert Fragments([VALUE, "", "a"]).mask(text) == text


@pytest.mark.parametrize("margin", ["", "E   ", "    | ", "E     + "])
def test_lines_are_found_behind_what_reports_begin_theirs_with(margin: str) -> None:
    masker = Fragments(["one\ntwo\nthree\n"])
    assert masker.mask(f"Error: one\n{margin}two\n{margin}three!\n{margin}two") == f"Error: [masked]!\n{margin}two"


def test_many_empty_lines_take_no_long_search() -> None:
    masker = Fragments(["\n \n" * 200 + "end"])
    assert masker.mask("E  \n" * 2000 + "other") == "E  \n" * 2000 + "other"


@given(st.text(min_size=31), st.text(), st.integers(0, 200))
def test_what_is_long_enough_to_tell_does_not_stay(value: str, around: str, start: int) -> None:
    piece = value[start : start + 20]
    assert len(piece) < 20 or piece not in Fragments([value]).mask(f"{around}{piece}{around}")
