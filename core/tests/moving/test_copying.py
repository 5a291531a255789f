"""Copies between backends in memory: conflict rules, concurrent writes, outages, kills, verification."""

from __future__ import annotations

import json

from functools import partial
from typing import Any

import pytest

from moves import Kept, Killed, Move, silent
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Capability, DeleteRequest, ReadRequest, ReadResult, WriteRequest, WriteResult
from strongroom.contracts.leasing import Lease
from strongroom.contracts.recovery import AnnotateRequest, DescribeRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    InvalidValueError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import ABSENT, SecretName, SecretValue
from strongroom.moving.planning import Plan, complete
from strongroom.moving.rules import IfExists
from strongroom.moving.sides import OUTAGES
from strongroom.moving.survey import State


def test_all_secrets_go_over_as_they_are(here: Kept, there: Kept, move: Move) -> None:
    values: dict[str, str | bytes] = {"a": "text é", "b/c": bytes(range(256)), "b": "", "b/d": b""}
    for name, value in values.items():
        here.put(name, value)
    _, copier = move.copy()
    assert copier.outcome.problems == {}
    assert {name: there.holds(name) for name in values} == {name: [value] for name, value in values.items()}
    assert set(move.states().values()) == {State.SAME}


def test_a_second_copy_writes_nothing(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1")
    move.copy()
    plan, _ = move.copy()
    assert plan.equal == ["a"]
    assert len(there.writes) == 1


def test_a_folder_becomes_another_one(here: Kept, there: Kept, move: Move) -> None:
    here.put("app/x", "1")
    here.put("app", "not below")
    here.put("other/x", "3")
    move.copy("here:app/", "there:team/app/")
    assert [request.name for request in there.writes] == ["team/app/x"]


def test_a_folder_is_copied_within_one_backend(here: Kept, move: Move) -> None:
    here.put("app/x", "1")
    move.copy("here:app/", "here:old/")
    assert here.holds("old/x") == ["1"]


@pytest.mark.parametrize(
    ("rule", "value"), [("skip", ["theirs"]), ("overwrite", ["theirs", "mine"]), ("newer", ["theirs", "mine"])]
)
def test_a_rule_says_what_becomes_of_another_value(
    here: Kept, there: Kept, move: Move, rule: str, value: list[str]
) -> None:
    there.put("a", "theirs")
    here.put("a", "mine")
    plan, _ = move.copy(rule=rule)
    assert there.holds("a") == value
    assert plan.kept == (["a"] if rule == "skip" else [])


def test_newer_keeps_what_is_newer_in_the_target(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "mine")
    there.put("a", "theirs")
    move.copy(rule="newer")
    assert there.holds("a") == ["theirs"]


def test_newer_does_not_guess_where_times_are_not_known(here: Kept, there: Kept, move: Move) -> None:
    there.put("a", "theirs")
    here.put("a", "mine")
    here.read_many = lambda request: (
        type(here)
        .read_many(here, request)
        .replace(  # type: ignore[method-assign]  # one backend without times
            found={name: one.replace(created=None) for name, one in type(here).read_many(here, request).found.items()}
        )
    )
    with pytest.raises(VersionConflictError, match="newer is not known"):
        move.copy(rule="newer")
    assert there.writes == []


def test_one_other_value_keeps_everything_from_being_written(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1")
    here.put("b", "mine")
    there.put("b", "theirs")
    with pytest.raises(VersionConflictError, match="b is there already with another value"):
        move.copy()
    assert there.writes == []


def test_the_same_bytes_as_another_type_are_another_value(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", b"same")
    there.put("a", "same")
    assert move.states() == {"a": State.OTHER_TYPE}
    with pytest.raises(VersionConflictError, match="the same bytes as another type"):
        move.copy()
    move.copy(rule="overwrite")
    assert there.holds("a")[-1] == b"same"


def test_each_kind_of_difference_is_told_apart(here: Kept, there: Kept, move: Move) -> None:
    here.put("same", "1")
    there.put("same", "0", "1")
    here.put("differs", "1")
    there.put("differs", "2")
    here.put("mine", "1")
    there.put("theirs", "1")
    states = {"same": State.SAME, "differs": State.DIFFERS, "mine": State.ONLY_FROM, "theirs": State.ONLY_TO}
    assert move.states() == states
    assert move.states(versions=True) == states | {"same": State.OTHER_HISTORY}


def test_histories_go_over_oldest_first(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1", "2", "1", "3")
    _, copier = move.copy(versions=True)
    assert there.holds("a") == ["1", "2", "1", "3"]
    assert copier.outcome.copied["a"].versions == 4
    assert move.states(versions=True) == {"a": State.SAME}


def test_a_history_is_continued(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1", "2")
    move.copy(versions=True)
    here.put("a", "3", "4")
    move.copy(versions=True)
    assert there.holds("a") == ["1", "2", "3", "4"]


def test_a_target_that_was_set_back_stays_unless_it_is_to_be_overwritten(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1", "2")
    move.copy(versions=True)
    there.put("a", "1")
    with pytest.raises(VersionConflictError, match="a is there already with another value"):
        move.copy(versions=True)
    assert there.holds("a") == ["1", "2", "1"]
    move.copy(versions=True, rule="overwrite")
    assert there.holds("a") == ["1", "2", "1", "1", "2"]


def test_a_target_that_spells_json_its_own_way_is_a_good_copy(here: Kept, move: Move) -> None:
    class Respelling(Kept):
        def write(self, request: WriteRequest) -> WriteResult:
            content = json.loads(request.value.reveal())
            return super().write(request.replace(value=SecretValue(json.dumps(content, sort_keys=True))))

    there = move.there = Respelling()
    here.put("a", '{"user":"shop","password":"1"}')
    _, copier = move.copy()
    assert copier.outcome.problems == {}
    assert move.states() == {"a": State.OTHER_SPELLING}
    plan, _ = move.copy()
    assert (plan.equal, len(there.writes)) == (["a"], 1)


def test_another_history_is_a_conflict(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1", "2")
    there.put("a", "0", "2")
    with pytest.raises(VersionConflictError, match="a is there already with another history"):
        move.copy(versions=True)
    move.copy(versions=True, rule="overwrite")
    assert there.holds("a") == ["0", "2", "1", "2"]
    plan, _ = move.copy(versions=True)
    assert plan.equal == ["a"]


def test_a_target_that_keeps_fewer_versions_is_filled_once(here: Kept) -> None:
    there = Kept(MemorySettings(keep_versions=3))
    move = Move(here, there)
    here.put("a", *"1234567")
    _, copier = move.copy(versions=True)
    assert there.holds("a") == list("567")
    assert copier.outcome.shortened == {"a": 3}
    plan, _ = move.copy(versions=True)
    assert (plan.equal, plan.shortened) == (["a"], {"a": 3})
    assert move.states(versions=True) == {"a": State.OTHER_HISTORY}


def test_what_is_deleted_is_not_copied_and_may_be_written_again(here: Kept, there: Kept, move: Move) -> None:
    here.put("gone", "1")
    here.delete(DeleteRequest(name=SecretName("gone")))
    here.put("a", "1")
    there.put("a", "0")
    there.delete(DeleteRequest(name=SecretName("a")))
    move.copy()
    assert [request.name for request in there.writes] == ["a"]
    assert there.writes[0].expect_version is ABSENT


def test_a_secret_that_is_deleted_meanwhile_is_passed_over(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "1")
    here.put("b", "1")
    with move.survey() as survey:
        here.after = lambda operation, name: operation == "list" and here.delete(DeleteRequest(name=SecretName("a")))
        complete(plan := Plan(), survey, IfExists.ERROR, silent)
    assert [pair.rest for pair in plan.writes] == ["b"]
    assert plan.problems == {}


@pytest.mark.parametrize("before", [[], ["old"]])
@pytest.mark.parametrize("rule", ["overwrite", "newer"])
def test_a_write_by_somebody_else_after_the_comparison_is_not_lost(
    here: Kept, there: Kept, move: Move, rule: str, before: list[str]
) -> None:
    there.put("a", *before)
    here.put("a", "mine")
    here.put("b", "mine")
    there.before = lambda operation, name: (operation, name) == ("write", "a") and there.put("a", "theirs")
    _, copier = move.copy(rule=rule)
    assert there.holds("a") == [*before, "theirs"]
    assert isinstance(copier.outcome.problems["a"], VersionConflictError)
    assert there.holds("b") == ["mine"]


def test_without_check_and_set_the_target_is_looked_at_again_before_a_write(
    here: Kept, there: Kept, move: Move
) -> None:
    there.capabilities = frozenset(Capability) - {Capability.CHECK_AND_SET, Capability.VERSIONS}
    here.put("a", "mine")
    here.put("b", "mine")
    here.before = lambda operation, name: (
        (operation, here.calls["read_many"]) == ("read_many", 2) and there.put("a", "theirs")
    )
    _, copier = move.copy()
    assert there.holds("a") == ["theirs"]
    assert isinstance(copier.outcome.problems["a"], VersionConflictError)
    assert there.holds("b") == ["mine"]


def test_what_becomes_equal_meanwhile_is_not_written(here: Kept, there: Kept, move: Move) -> None:
    there.put("a", "theirs")
    here.put("a", "mine")
    here.before = lambda operation, name: (
        (operation, here.calls["read_many"]) == ("read_many", 2) and here.put("a", "theirs")
    )
    _, copier = move.copy(rule="overwrite")
    assert (copier.outcome.equal, there.writes) == (["a"], [])


def test_two_copies_at_once_do_not_hinder_each_other(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "mine")
    there.before = lambda operation, name: (operation, there.calls["write"]) == ("write", 1) and there.put("a", "mine")
    _, copier = move.copy()
    assert (copier.outcome.problems, copier.outcome.equal) == ({}, ["a"])
    assert there.holds("a") == ["mine"]


def test_a_write_by_somebody_else_right_after_ours_is_told(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "mine")
    there.after = lambda operation, name: operation == "write" and there.put("a", "theirs")
    _, copier = move.copy()
    assert isinstance(copier.outcome.problems["a"], VersionConflictError)
    assert there.holds("a") == ["mine", "theirs"]


@pytest.mark.parametrize("other", ["another", b"mine"])
@pytest.mark.parametrize("versions", [False, True])
def test_what_does_not_come_back_as_it_was_written_is_an_error(
    here: Kept, move: Move, other: str | bytes, versions: bool
) -> None:
    class Forgetful(Kept):
        def write(self, request: WriteRequest) -> Any:
            return super().write(request.replace(value=SecretValue(other)))

    move.there = Forgetful()
    here.put("a", "0", "mine") if versions else here.put("a", "mine")
    _, copier = move.copy(versions=versions)
    error = copier.outcome.problems["a"]
    assert isinstance(error, BackendError)
    assert "a comes back from there as another" in str(error)


def test_a_target_that_lags_behind_is_read_again(here: Kept, there: Kept, move: Move) -> None:
    here.put("a", "mine")
    real, answers = there.read_many, iter(["late", "late"])
    empty = Kept()
    there.read_many = lambda request: (empty.read_many if next(answers, None) else real)(request)  # type: ignore[method-assign]  # the service's answers come from elsewhere for a while
    _, copier = move.copy()
    assert copier.outcome.problems == {}
    assert next(answers, None) is None


def test_what_cannot_be_written_is_found_before_anything_is(here: Kept, move: Move) -> None:
    there = move.there = Kept(MemorySettings(max_value_bytes=5))
    here.put("a", "1")
    here.put("b", "too long")
    with pytest.raises(ValueTooLargeError):
        move.copy()
    there.max_value_bytes, there.accepts_empty = None, False
    here.put("c", "")
    with pytest.raises(InvalidValueError):
        move.copy()
    assert there.writes == []


def test_older_versions_are_checked_too(here: Kept, move: Move) -> None:
    move.there = Kept(MemorySettings(max_value_bytes=5))
    here.put("a", "too long", "1")
    with pytest.raises(ValueTooLargeError):
        move.copy(versions=True)
    assert move.there.writes == []


@pytest.mark.parametrize(
    ("of_here", "of_there"), [("list", "read create list"), ("read list", "read list"), ("read list", "create list")]
)
def test_policies_hold_on_both_sides(here: Kept, there: Kept, of_here: str, of_there: str) -> None:
    rules = [
        {"principal": "*", "effect": "allow", "names": ["here/**"], "actions": of_here.split()},
        {"principal": "*", "effect": "allow", "names": ["there/**"], "actions": of_there.split()},
    ]
    here.put("here/a", "1")
    with pytest.raises(AccessDeniedError):
        Move(here, there, policies=rules).copy("here:here/", "there:there/")
    assert there.writes == []


def test_a_source_that_cannot_list_is_refused_and_a_target_is_asked_by_name(
    here: Kept, there: Kept, move: Move
) -> None:
    here.put("a", "1")
    there.put("a", "1")
    there.capabilities = frozenset(Capability) - {Capability.LIST}
    plan, _ = move.copy()
    assert plan.equal == ["a"]
    here.capabilities = there.capabilities
    with pytest.raises(UnsupportedOperationError):
        move.copy()


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_side_without_versions_refuses_histories(here: Kept, there: Kept, move: Move, side: str) -> None:
    here.put("a", "1", "2")
    (here if side == "here" else there).capabilities = frozenset(Capability) - {Capability.VERSIONS}
    with pytest.raises(UnsupportedOperationError):
        move.copy(versions=True)
    assert there.writes == []


def test_credentials_that_are_made_by_reading_are_not_copied(here: Kept, there: Kept, move: Move) -> None:
    class Making(Kept):
        def read_many(self, request: Any) -> Any:
            answer = super().read_many(request)
            lease = Lease(id="", seconds=60.0)
            return answer.replace(
                found={name: one.replace(lease=lease) if name == "made" else one for name, one in answer.found.items()}
            )

    source = move.here = Making()
    source.put("made", "1")
    source.put("kept", "1")
    plan, _ = move.copy()
    assert plan.leased == ["made"]
    assert [request.name for request in there.writes] == ["kept"]


def test_what_another_place_answers_is_not_relied_upon(here: Kept, there: Kept, move: Move) -> None:
    class Replica(Kept):
        def read(self, request: ReadRequest) -> ReadResult:
            return super().read(request).replace(place="region two")

        def read_many(self, request: Any) -> Any:
            answer = super().read_many(request)
            return answer.replace(found={name: one.replace(place="region two") for name, one in answer.found.items()})

    source = move.here = Replica()
    source.put("a", "1")
    with pytest.raises(BackendUnavailableError, match="region two"):
        move.copy()
    assert there.writes == []


def test_an_outage_stops_a_copy_and_the_next_one_goes_on(here: Kept, there: Kept, move: Move) -> None:
    for number in range(60):
        here.put(f"n{number:02}", "1")

    def away(operation: str, name: str) -> None:
        if operation == "write" and there.calls["write"] > 20:
            raise BackendUnavailableError("there is away")

    there.before = away
    with pytest.raises(BackendUnavailableError, match=r"stopped after 10 calls in a row.*run the same command again"):
        move.copy()
    assert there.calls["write"] <= 20 + OUTAGES
    there.before = lambda operation, name: None
    plan, _ = move.copy()
    assert len(plan.equal) == 20
    assert set(move.states().values()) == {State.SAME}


def test_a_single_outage_concerns_one_name(here: Kept, there: Kept, move: Move) -> None:
    for name in "abc":
        here.put(name, "1")

    def away(operation: str, name: str) -> None:
        if (operation, name) == ("write", "b"):
            raise BackendUnavailableError("there is away")

    there.before = away
    _, copier = move.copy()
    assert (list(copier.outcome.copied), list(copier.outcome.problems)) == (["a", "c"], ["b"])


def test_nothing_is_queued_for_later(here: Kept, there: Kept) -> None:
    backends = {name: {"type": "memory"} for name in ("here", "there", "spare")}
    move = Move(here, there, fallback="spare", backends=backends, resilience={"keep_copy": True})
    here.put("a", "1")

    def away(operation: str, name: str) -> None:
        if operation == "write":
            raise BackendUnavailableError("there is away")

    there.before = away
    _, copier = move.copy()
    assert isinstance(copier.outcome.problems["a"], BackendUnavailableError)


def test_a_copy_that_dies_at_any_call_is_finished_by_the_next(here: Kept) -> None:
    here.put("a", "1", "2", "1")
    here.put("b", "1")
    here.annotate(AnnotateRequest(name=SecretName("b"), metadata={"owner": "shop"}))
    deaths = 0
    for at in range(1, 100):
        there = Kept()
        move = Move(here, there)
        there.after = partial(_die, there, at)
        try:
            move.copy(versions=True)
            break
        except Killed:
            deaths += 1
        there.after = lambda operation, name: None
        move.copy(versions=True)
        assert (there.holds("a"), there.holds("b")) == (["1", "2", "1"], ["1"])
        assert there.describe(DescribeRequest(name=SecretName("b"))).metadata == {"owner": "shop"}
    assert deaths > 8


def _die(there: Kept, at: int, operation: str, name: str) -> None:
    if sum(there.calls.values()) >= at:
        raise Killed


def test_few_values_are_held_and_few_calls_made(here: Kept, there: Kept, move: Move) -> None:
    for number in range(1000):
        here.put(f"n{number:04}", "1")
    move.copy(workers=4)
    # Each half of the work reads the source once, and the target is read once after it was written.
    assert (here.calls["list"], here.calls["read_many"]) == (1, 20)
    assert (there.calls["list"], there.calls["write"], there.calls["read_many"]) == (1, 1000, 10)
    assert (here.calls["read"], there.calls["read"]) == (0, 0)


def test_fewer_names_are_looked_at_together_where_all_versions_are(here: Kept, there: Kept, move: Move) -> None:
    """Their values are held at the same time."""
    for number in range(25):
        here.put(f"n{number:02}", *map(str, range(20)))
    read: list[int] = []

    def step(operation: str, name: str) -> None:
        if operation == "write" and not read:
            # The first half of the work has compared all of them.
            read.append(here.calls["read"] - 25 * 20)

    there.before = step
    move.copy(versions=True)
    assert read == [10 * 20]
