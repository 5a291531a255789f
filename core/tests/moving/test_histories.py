"""How one history continues another."""

from __future__ import annotations

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.model import SecretValue
from strongroom.moving.histories import Seen, missing_from
from strongroom.moving.marks import Marker

MARKER = Marker()


def seen(values: str, *, whole: bool = True) -> Seen:
    """Return a history of values of one letter each."""
    return Seen(marks=tuple(MARKER.mark(SecretValue(value)) for value in values), version="1", whole=whole)


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


def test_text_and_bytes_are_two_values() -> None:
    text, binary = (
        Seen(marks=(MARKER.mark(SecretValue(value)),), version="1", whole=True) for value in ("same", b"same")
    )
    assert missing_from(text, binary) is None
    assert text.current.has_content_of(binary.current)
    assert not text.current.is_equal_to(binary.current)


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
