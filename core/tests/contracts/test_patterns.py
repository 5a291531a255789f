"""Patterns of names as plugins use them; what they match is tested with the policy."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.contracts import first_match, malformed, matches, most_specific_first, name_pattern
from strongroom.contracts.patterns import matches_all_below, matches_some_below
from strongroom.errors import InvalidNameError

segments = st.sampled_from(["a", "b", "*", "**"])
patterns = st.lists(segments, min_size=1, max_size=4).map("/".join)
names = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5).map("/".join)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("db/password", "db/*"),
        ("db/*", "db/**"),
        ("db/**", "*/password"),
        ("db/*/password", "db/**"),
        ("db/prod/**", "db/**"),
        ("*/password", "**/password"),
        ("**/password", "**"),
    ],
)
def test_what_is_more_specific_comes_first(more: str, less: str) -> None:
    assert most_specific_first([less, more]) == most_specific_first([more, less]) == (more, less)


def test_equally_specific_patterns_keep_their_order() -> None:
    assert most_specific_first(["**/b/**", "**/a/**"]) == ("**/b/**", "**/a/**")


@given(st.lists(patterns, unique=True, max_size=6), names)
def test_an_exact_name_wins_over_every_pattern(others: list[str], name: str) -> None:
    assert first_match(most_specific_first([*others, name]), name) == name


@given(st.lists(patterns, unique=True, max_size=6), names)
def test_the_first_match_matches_and_none_means_none(some: list[str], name: str) -> None:
    ordered = most_specific_first(some)
    found = first_match(ordered, name)
    matching = [pattern for pattern in ordered if matches(pattern, name)]
    assert found == (matching[0] if matching else None)


def test_a_malformed_pattern_is_refused() -> None:
    with pytest.raises(InvalidNameError, match="wildcard and other characters"):
        name_pattern("db/pass*")


def test_malformed_patterns_become_sentences_and_good_ones_do_not() -> None:
    (sentence,) = malformed(["db/**", "db/pass*"])
    assert sentence == "the pattern 'db/pass*' has a segment with a wildcard and other characters"


def below(folder: str, depth: int = 3) -> list[str]:
    """Return names below a folder: each of three segments, in each of the next levels."""
    level, found = [folder], []
    for _ in range(depth):
        level = [f"{name}/{segment}" for name in level for segment in "abc"]
        found += level
    return found


@given(patterns, names)
def test_a_pattern_matches_something_below_a_folder_if_it_matches_any_name_there(pattern: str, folder: str) -> None:
    # A pattern has four segments at most, so if it matches anything, then also something not much deeper.
    assert matches_some_below(pattern, folder) == any(matches(pattern, name) for name in below(folder, 5))


@given(patterns, names)
def test_a_pattern_matches_all_below_a_folder_if_it_matches_each_name_there(pattern: str, folder: str) -> None:
    assert matches_all_below(pattern, folder) == all(matches(pattern, name) for name in below(folder, 5))
