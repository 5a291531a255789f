"""Versions, deletion, and the numbers that are never used twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.contracts import ReadRequest, VersionsRequest
from strongroom.errors import SecretDeletedError, SecretNotFoundError, ValueTooLargeError, VersionConflictError
from strongroom.model import ABSENT, SecretName, SecretValue
from strongroom_local.backend import MAX_VALUE_BYTES

NAME = SecretName("app/secret")


def test_versions_count_up_from_one(opened):
    assert [opened.put(NAME, f"value {number}") for number in (1, 2, 3)] == ["1", "2", "3"]
    assert opened.versions(NAME) == ["1", "2", "3"]
    assert [opened.get(NAME, version) for version in ("1", "2", "3")] == ["value 1", "value 2", "value 3"]


def test_the_newest_twenty_versions_are_kept(opened):
    for number in range(1, 26):
        opened.put(NAME, f"value {number}")
    assert opened.versions(NAME) == [str(number) for number in range(6, 26)]
    with pytest.raises(SecretNotFoundError) as caught:
        opened.get(NAME, "5")
    assert caught.value.code == "version_not_found"
    assert opened.problems() == ()


def test_a_lower_number_of_kept_versions_takes_effect_at_the_next_write(store):
    opened = store.open()
    for number in range(1, 11):
        opened.put(NAME, f"value {number}")
    opened.close()
    opened = store.open(keep_versions=2)
    assert len(opened.versions(NAME)) == 10
    opened.put(NAME, "value 11")
    assert opened.versions(NAME) == ["10", "11"]
    assert opened.problems() == ()


def test_one_kept_version_is_the_current_one(store):
    opened = store.open(keep_versions=1)
    for number in (1, 2, 3):
        opened.put(NAME, f"value {number}")
    assert opened.versions(NAME) == ["3"]
    assert opened.get(NAME) == "value 3"


@pytest.mark.parametrize("version", ["0", "2", "-1", "01", "+1", "1.0", " 1", "\uff11", "", "latest", "9" * 30])
def test_what_is_no_version_is_not_found(opened, version):
    opened.put(NAME, "value")
    with pytest.raises(SecretNotFoundError) as caught:
        opened.get(NAME, version)
    assert caught.value.code == "version_not_found"


def test_a_deleted_secret_says_when(opened):
    opened.put(NAME, "value")
    before = datetime.now(UTC) - timedelta(seconds=1)
    assert opened.delete(NAME)
    with pytest.raises(SecretDeletedError) as caught:
        opened.get(NAME)
    assert before <= datetime.fromisoformat(caught.value.when) <= datetime.now(UTC)
    assert caught.value.code == "deleted"


def test_deletion_removes_every_version(store):
    opened = store.open()
    for number in (1, 2, 3):
        opened.put(NAME, f"value {number}")
    opened.delete(NAME)
    for ask in (lambda: opened.get(NAME, "1"), lambda: opened.versions(NAME)):
        with pytest.raises(SecretDeletedError):
            ask()
    assert opened.names() == []
    connection = store.database()
    assert connection.execute("SELECT count(*) FROM record").fetchone() == (0,)
    connection.close()
    assert opened.problems() == ()


def test_a_write_after_a_deletion_does_not_repeat_a_version(opened):
    opened.put(NAME, "value 1")
    opened.put(NAME, "value 2")
    opened.delete(NAME)
    assert not opened.delete(NAME)
    assert opened.put(NAME, "value 3", ABSENT) == "3"
    assert opened.versions(NAME) == ["3"]
    with pytest.raises(SecretNotFoundError) as caught:
        opened.get(NAME, "2")
    assert caught.value.code == "version_not_found"
    assert opened.problems() == ()


def test_deleting_what_never_was_changes_nothing(opened):
    opened.put(NAME, "value")
    counter = opened.counter()
    assert not opened.delete("app/other")
    assert opened.counter() == counter


def test_a_conflict_names_both_versions(opened):
    opened.put(NAME, "value 1")
    opened.put(NAME, "value 2")
    for expected in ("1", "3", "02"):
        with pytest.raises(VersionConflictError) as caught:
            opened.put(NAME, "value 3", expected)
        assert (caught.value.expected, caught.value.found) == (expected, "2")
    with pytest.raises(VersionConflictError) as caught:
        opened.put(NAME, "value 3", ABSENT)
    assert (caught.value.expected, caught.value.found) == ("absent", "2")
    assert opened.get(NAME) == "value 2"


def test_an_expected_version_of_a_deleted_secret_is_a_conflict(opened):
    opened.put(NAME, "value 1")
    opened.delete(NAME)
    with pytest.raises(VersionConflictError) as caught:
        opened.put(NAME, "value 2", "1")
    assert caught.value.found == "absent"


def test_a_conflict_leaves_the_counter_alone(opened):
    opened.put(NAME, "value 1")
    counter = opened.counter()
    with pytest.raises(VersionConflictError):
        opened.put(NAME, "value 2", ABSENT)
    assert opened.counter() == counter


def test_versions_carry_times_and_states(opened):
    opened.put(NAME, "value 1")
    opened.put(NAME, "value 2")
    first, second = opened.backend.versions(VersionsRequest(name=NAME)).versions
    assert (first.state, second.state) == ("superseded", "current")
    assert first.created < second.created
    assert second.created == opened.backend.read(ReadRequest(name=NAME)).created
    assert second.created.utcoffset() == timedelta(0)


def test_the_largest_value_is_kept_and_one_byte_more_is_refused(opened):
    largest = "ü" * (MAX_VALUE_BYTES // 2)
    opened.put(NAME, largest)
    assert opened.get(NAME) == largest
    with pytest.raises(ValueTooLargeError) as caught:
        opened.put(NAME, largest + "x")
    assert (caught.value.size, caught.value.limit) == (MAX_VALUE_BYTES + 1, MAX_VALUE_BYTES)
    assert opened.versions(NAME) == ["1"]


def test_types_and_emptiness_survive(store):
    contents = ("", b"", "text", bytes(range(256)), "nul \x00 and line feed\n", "été")
    opened = store.open()
    for number, content in enumerate(contents):
        opened.put(f"app/{number}", content)
    store.close()
    backend = store.open().backend
    for number, content in enumerate(contents):
        assert backend.read(ReadRequest(name=SecretName(f"app/{number}"))).value == SecretValue(content)
