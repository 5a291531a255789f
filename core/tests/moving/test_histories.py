"""How one history continues another."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.model import SecretValue
from strongroom.moving.histories import Seen, missing_from
from strongroom.moving.marks import Marker

MARKER = Marker()


def seen(values: str, *, whole: bool = True, counted: bool = True) -> Seen:
    """Return a history of values of one letter each."""
    marks = tuple(MARKER.mark(SecretValue(value)) for value in values)
    return Seen(marks=marks, version="1", whole=whole, counted=counted)


@pytest.mark.parametrize(
    ("target", "source", "lacking"),
    [
        ("abc", "abc", 0),
        ("a", "abc", 2),
        ("ab", "abc", 1),
        ("a", "aba", 2),
        ("x", "abc", None),
        ("xb", "abc", None),
        ("abx", "abc", None),
        # Each has dropped its oldest ones.
        ("bc", "abc", 0),
        ("abc", "bcd", 1),
        ("xabc", "abc", 0),
    ],
)
def test_what_the_target_lacks(target: str, source: str, lacking: int | None) -> None:
    assert missing_from(seen(target), seen(source)) == lacking


def test_a_target_that_has_dropped_versions_is_not_taken_for_one_that_has_just_begun() -> None:
    assert missing_from(seen("aa"), seen("aaaa")) == 2
    assert missing_from(seen("aa", whole=False), seen("aaaa")) == 0


@pytest.mark.parametrize(
    ("target", "source"),
    [("aba", "ab"), ("ba", "ab"), ("aba", "abc"), ("xaba", "ab")],
)
def test_a_target_that_was_set_back_is_not_taken_for_one_that_has_yet_to_come_there(target: str, source: str) -> None:
    assert missing_from(seen(target), seen(source)) is None


@pytest.mark.parametrize(
    ("target", "source", "lacking"),
    [("abb", "abcd", 2), ("abbcc", "abcd", 1), ("aabb", "aab", 0), ("bcc", "abcd", 1), ("aabb", "aabbb", 1)],
)
def test_a_version_that_was_left_behind_by_a_stopped_write_does_not_make_another_history(
    target: str, source: str, lacking: int
) -> None:
    assert missing_from(seen(target), seen(source)) == lacking


@pytest.mark.parametrize(
    ("target", "unbroken", "lacking"), [("abca", 1, 2), ("xa", 0, 2), ("xa", 2, 2), ("abca", 0, None)]
)
def test_what_is_older_than_a_deletion_does_not_keep_a_copy_from_going_on(
    target: str, unbroken: int, lacking: int | None
) -> None:
    assert missing_from(seen(target).replace(unbroken=unbroken), seen("abc")) == lacking


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ('{"a": "1", "b": [2]}', '{"b":[2],"a":"1"}', True),
        ('{"a": "\\u00e9"}', '{"a": "é"}', True),
        ('{"a": 1}', '{"a": "1"}', False),
        ('{"a": 1}', '{"a": true}', False),
        # What two readers may read in two ways is the same only as it stands.
        ('{"a": 1.0}', '{"a": 1}', False),
        ('{"a": 0.1}', '{"a": 0.10}', False),
        ('{"a": 1, "a": 2}', '{"a": 2}', False),
        ('{"a": NaN}', '{"a":NaN}', False),
        ("[1, 2]", "[1,2]", False),
        ('{"a": 1', '{"a":1', False),
        ("{" * 100_000, "{" * 100_001, False),
    ],
)
def test_a_json_object_may_be_spelled_otherwise_in_a_copy(one: str, other: str, expected: bool) -> None:
    mine, theirs = (MARKER.mark(SecretValue(text)) for text in (one, other))
    assert (mine.matches(theirs), theirs.matches(mine)) == (expected, expected)
    assert mine.matches(mine)
    assert not mine.is_equal_to(theirs)
    assert not mine.matches(MARKER.mark(SecretValue(other.encode())))


def test_text_and_bytes_are_two_values() -> None:
    text, binary = (
        Seen(marks=(MARKER.mark(SecretValue(value)),), version="1", whole=True) for value in ("same", b"same")
    )
    assert missing_from(text, binary) is None
    assert text.current.has_content_of(binary.current)
    assert not text.current.is_equal_to(binary.current)


@pytest.mark.parametrize(
    ("uncounted", "counted", "equal"),
    [
        ("abbc", "abc", True),
        ("aabbcc", "abc", True),
        ("abbc", "abbc", True),
        # A write that is stopped leaves versions, and takes none away.
        ("abc", "abbc", False),
        ("abcb", "abc", False),
        ("abbd", "abc", False),
        ("bbc", "abc", False),
    ],
)
def test_what_a_stopped_write_may_have_left_is_no_difference(uncounted: str, counted: str, equal: bool) -> None:
    one, other = seen(uncounted, counted=False), seen(counted)
    assert (one.is_equal_to(other), other.is_equal_to(one)) == (equal, equal)


def test_of_two_that_count_their_versions_each_version_is_compared() -> None:
    assert not seen("abb").is_equal_to(seen("ab"))
    assert seen("abb", counted=False).is_equal_to(seen("aab", counted=False))
    plain, spaced = (MARKER.mark(SecretValue(text)) for text in ('{"a":1}', '{"a": 1}'))
    one, other = (Seen(marks=(first, spaced), version="2", whole=True) for first in (plain, spaced))
    assert not one.is_equal_to(other)


def test_marks_of_two_runs_have_nothing_in_common() -> None:
    value = SecretValue("same")
    assert not MARKER.mark(value).has_content_of(Marker().mark(value))
    assert "hidden" in repr(seen("a"))


@given(st.text("abc", min_size=1, max_size=8), st.data())
def test_writing_what_is_missing_gives_the_history_of_the_source(source: str, data: st.DataObject) -> None:
    begun = source[: data.draw(st.integers(1, len(source)))]
    lacking = missing_from(seen(begun), seen(source))
    assert lacking is not None
    assert begun + source[len(source) - lacking :] == source


@given(st.text("abc", min_size=1, max_size=8), st.text("abc", min_size=1, max_size=8), st.booleans())
def test_whatever_is_there_ends_as_the_source_and_lacks_nothing_then(source: str, target: str, whole: bool) -> None:
    lacking = missing_from(seen(target, whole=whole), seen(source))
    if lacking is None:
        lacking = len(source)
    after = target + source[len(source) - lacking :]
    assert missing_from(seen(after, whole=False), seen(source)) == 0


@given(st.text("abc", min_size=1, max_size=8), st.integers(1, 5))
def test_a_target_that_keeps_few_lacks_nothing_after_a_copy(source: str, limit: int) -> None:
    kept = source[-limit:]
    assert missing_from(seen(kept, whole=len(kept) == len(source)), seen(source)) == 0
