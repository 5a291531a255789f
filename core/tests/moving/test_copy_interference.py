"""What others do while a copy is under way is told as what it is, and never taken for ours."""

from __future__ import annotations

import pytest

from moves import Kept, Move
from strongroom.contracts import Capability
from strongroom.errors import AccessDeniedError


@pytest.fixture
def here() -> Kept:
    return Kept()


@pytest.fixture
def there() -> Kept:
    return Kept()


@pytest.fixture
def move(here: Kept, there: Kept) -> Move:
    return Move(here, there)


def test_a_history_that_was_begun_is_a_conflict_and_not_left_as_it_was(here: Kept, there: Kept, move: Move) -> None:
    """Whatever the rule says of names that others have made: its first version is ours."""
    here.put("a", "1", "2", "3")

    def write_too(operation: str, name: str) -> None:
        if operation == "write":
            there.after = lambda *_: None
            there.put("a", "theirs")

    there.after = write_too
    _, copier = move.copy(rule="skip", versions=True)
    assert there.holds("a") == ["1", "theirs"]
    assert copier.outcome.kept == []
    assert list(copier.outcome.problems) == ["a"]


def test_what_was_changed_by_another_just_after_gets_no_notes_of_ours(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1")
    with move.survey() as survey:
        survey.source.manager.annotate("a", {"owner": "us"})

    def write_too(operation: str, name: str) -> None:
        if operation == "write":
            there.after = lambda *_: None
            there.put("a", "theirs")

    there.after = write_too
    _, copier = move.copy()
    assert list(copier.outcome.problems) == ["a"]
    assert there.calls["annotate"] == 0


def test_a_second_look_that_fails_is_told_as_it_failed(here: Kept, there: Kept, move: Move) -> None:
    """Without check-and-set there is one just before the write."""
    here.put("a", "1")
    there.put("a", "theirs")
    there.capabilities = frozenset({Capability.WRITE, Capability.LIST})
    looks = 0

    def deny(operation: str, name: str) -> None:
        nonlocal looks
        looks += operation in {"read", "read_many"}
        if looks > 1:
            raise AccessDeniedError("not any more", name="a")

    there.before = deny
    _, copier = move.copy(rule="overwrite")
    assert isinstance(copier.outcome.problems["a"], AccessDeniedError)
    assert there.writes == []
