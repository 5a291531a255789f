"""What others do while a copy is under way is told as what it is, and never taken for ours."""

from __future__ import annotations

from typing import Any

import pytest

from moves import Kept, Move, silent
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    Access,
    AnomalyDetector,
    Capability,
    Decision,
    ReadManyRequest,
    ReadManyResult,
    Verdict,
)
from strongroom.contracts.leasing import (
    Lease,
    Leasing,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
)
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    SuspiciousActivityError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom.moving.sides import OUTAGES, Outages
from strongroom.moving.survey import State


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
    assert "while its versions were copied" in str(copier.outcome.problems["a"])


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


class Issuing(Kept, Leasing):
    """Names below ``made`` stand for credentials that are made by reading them."""

    def is_leased(self, name: SecretName) -> bool:
        return name.is_below(SecretName("made"))

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        raise AssertionError(f"nobody has read {request.name}")

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        raise AssertionError(f"nobody has read {request.name}")


@pytest.mark.parametrize("versions", [False, True])
@pytest.mark.parametrize("lists", [True, False])
def test_a_name_that_stands_for_credentials_in_the_target_is_left_out(
    here: Kept, move: Move, versions: bool, lists: bool
) -> None:
    """It is not read to see that, and the others are copied."""
    there = move.there = Issuing()
    if not lists:
        there.capabilities = frozenset(Capability) - {Capability.LIST}
    for name in ("a", "made/x", "z"):
        here.put(name, "1")
    plan, _ = move.copy(versions=versions)
    assert (plan.leased, sorted(request.name for request in there.writes)) == (["made/x"], ["a", "z"])
    assert there.calls["read"] + there.calls["read_many"] <= 6
    if lists:
        assert move.states(versions=versions)["made/x"] is State.LEASED
        assert Move(there, here).states(versions=versions)["made/x"] is State.LEASED


def test_a_target_that_keeps_no_versions_is_found_behind_a_name_for_credentials(here: Kept, move: Move) -> None:
    there = move.there = Issuing()
    there.capabilities = frozenset(Capability) - {Capability.VERSIONS}
    here.put("made/x", "1")
    here.put("z", "1")
    with pytest.raises(UnsupportedOperationError, match="versions"):
        move.copy(versions=True)


def test_what_turns_out_to_be_made_by_reading_is_told_as_what_was_known_to_be(here: Kept, there: Kept) -> None:
    class Turning(Kept):
        def read_many(self, request: ReadManyRequest) -> ReadManyResult:
            answer = super().read_many(request)
            lease = Lease(id="", seconds=60.0) if self.calls["read_many"] > 1 else None
            return answer.replace(found={name: one.replace(lease=lease) for name, one in answer.found.items()})

    source = Turning()
    source.put("a", "1")
    _, copier = Move(source, there).copy()
    assert (copier.outcome.leased, there.writes) == (["a"], [])


@pytest.mark.parametrize("side", ["here", "there"])
def test_a_version_that_is_dropped_while_the_history_is_read_is_no_deleted_secret(side: str) -> None:
    """Each write to a full history drops its oldest version, which may have been listed just before."""
    sides = {name: Kept(MemorySettings(keep_versions=3)) for name in ("here", "there")}
    for backend in sides.values():
        backend.put("a", "1", "2", "3")
    changing = sides[side]

    def write_too(operation: str, name: str) -> None:
        if operation == "versions":
            changing.after = lambda *_: None
            changing.put("a", "4")

    changing.after = write_too
    states = Move(**sides).states(versions=True)
    assert states == {"a": State.DIFFERS}


def test_a_history_that_never_stands_still_is_told(there: Kept) -> None:
    here = Kept(MemorySettings(keep_versions=2))
    here.put("a", "1", "2")
    here.put("b", "1")
    here.after = lambda operation, name: (operation, name) == ("versions", "a") and here.put("a", "more")
    with Move(here, there).survey(versions=True) as survey:
        pairs = {pair.rest: pair for pair in survey.everywhere(silent)}
    assert isinstance(pairs["a"].error, VersionConflictError)
    assert pairs["b"].state is State.ONLY_FROM


def test_what_cannot_be_read_for_copying_is_no_conflict_with_what_others_have_made(there: Kept) -> None:
    here = Kept(MemorySettings(keep_versions=2))
    here.put("a", "1", "2")

    def write_too(operation: str, name: str) -> None:
        # From the second look on, which is the one for copying.
        if operation == "versions" and here.calls["versions"] > 1:
            here.put("a", "more")

    here.after = write_too
    _, copier = Move(here, there).copy(rule="skip", versions=True)
    assert (copier.outcome.kept, there.writes) == ([], [])
    assert "each time its versions were read" in str(copier.outcome.problems["a"])


def test_calls_that_were_blocked_are_not_counted_with_those_that_were_not_answered() -> None:
    outages = Outages()
    for _ in range(3):
        for _ in range(OUTAGES - 1):
            outages.note(BackendUnavailableError("away"))
        outages.note(SuspiciousActivityError("odd"))
    for _ in range(OUTAGES - 2):
        outages.note(SuspiciousActivityError("odd"))
    with pytest.raises(SuspiciousActivityError, match="stopped after 10 calls in a row that were blocked"):
        outages.note(SuspiciousActivityError("odd"))


class Blocking(AnomalyDetector):
    """Blocks each access after some, or to one name."""

    def __init__(self, *, after: int = 10_000, name: str = "") -> None:
        self._left = after
        self._name = name

    def judge(self, access: Access) -> Verdict:
        self._left -= 1
        blocks = self._left < 0 or access.name == self._name
        return Verdict(decision=Decision.BLOCK if blocks else Decision.ALLOW, reason="odd")


def test_a_name_that_a_detector_blocks_is_one_name(here: Kept, there: Kept, detecting: Any) -> None:
    for name in "abc":
        here.put(name, "1")
    tables = detecting(Blocking(name="target/b"), action="block")
    _, copier = Move(here, there, anomaly=tables).copy("here", "there:target/")
    assert [request.name for request in there.writes] == ["target/a", "target/c"]
    assert list(copier.outcome.problems) == ["b"]
    assert isinstance(copier.outcome.problems["b"], SuspiciousActivityError)


def test_a_detector_that_blocks_from_some_moment_on_stops_a_copy(here: Kept, there: Kept, detecting: Any) -> None:
    names = [f"n{number:03}" for number in range(150)]
    for name in names:
        here.put(name, "1")
    # Both halves of the first hundred pass, and a few of the rest.
    move = Move(here, there, anomaly=detecting(Blocking(after=150 + 100 + 220), action="block"))
    with pytest.raises(SuspiciousActivityError, match="stopped after 10 calls in a row that were blocked"):
        move.copy()
    assert 100 <= len(there.writes) < 150
    written = len(there.writes)
    plan, _ = Move(here, there).copy()
    assert len(plan.equal) == written
    assert [there.holds(name) for name in names] == [["1"]] * 150
