"""One write that has waited: made at most once, or kept with the reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.contracts import StagesRequest, StagesResult, Staging, WriteRequest
from strongroom.contracts.journal import Copy, EntryState, KeepCopiesRequest
from strongroom.model import SecretValue
from waitingwrites import CAS_AND_VERSIONS, CAS_ONLY, KINDS, NEITHER, VERSIONS_ONLY, Crash, Replayer, Server

each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
with_check_and_set = pytest.mark.parametrize("kind", [CAS_AND_VERSIONS, CAS_ONLY], ids=["both", "cas"])
without_check_and_set = pytest.mark.parametrize("kind", [VERSIONS_ONLY, NEITHER], ids=["versions", "neither"])


def die_when_made(it: Replayer, name: str, value: str | None) -> None:
    """Let the process die between a change and the note of it."""
    it.server.lasting = False
    for steps in range(1, 20):
        it.countdown = steps
        try:
            it.drain()
        except Crash:
            it.restart()
        if it.server.value(name) == value:
            return
    pytest.fail("it was never made")


class TestInOrderAndAsExpected:
    """What nobody has interfered with is made."""

    @each_kind
    def test_a_write_is_made_over_the_version_that_was_seen(self, kind: Any) -> None:
        it = Replayer(kind)
        seen = it.server.put("a", "old")
        it.queue("a", "new", seen)
        assert it.drain().made == 1
        assert it.server.value("a") == "new"
        assert it.left() == {}

    @each_kind
    def test_a_write_that_saw_nothing_is_made_only_if_there_is_nothing(self, kind: Any) -> None:
        it = Replayer(kind)
        it.server.put("b", "theirs")
        it.queue("a", "new")
        entry = it.queue("b", "ours")
        outcome = it.drain()
        assert (outcome.made, outcome.set_aside, outcome.left) == (1, 1, "")
        assert (it.server.value("a"), it.server.value("b")) == ("new", "theirs")
        assert it.state(entry) is EntryState.CONFLICT

    @each_kind
    def test_a_delete_is_made_of_the_version_that_was_seen_and_of_no_other(self, kind: Any) -> None:
        it = Replayer(kind)
        seen = it.server.put("a", "old")
        other = it.server.put("b", "old")
        it.server.put("b", "theirs")
        it.queue("a", None, seen)
        conflict = it.queue("b", None, other)
        assert it.drain().made == 1
        assert (it.server.value("a"), it.server.value("b")) == (None, "theirs")
        assert it.left()[conflict.id].found == it.server.current("b")

    @each_kind
    def test_what_is_deleted_already_needs_no_delete(self, kind: Any) -> None:
        it = Replayer(kind)
        it.queue("a", None, "v1")
        assert it.drain().made == 1
        assert "delete" not in it.server.calls

    def test_the_conflict_tells_of_both_versions(self) -> None:
        it = Replayer(CAS_AND_VERSIONS)
        seen = it.server.put("a", "old")
        it.server.put("a", "theirs")
        entry = it.queue("a", "ours", seen)
        it.drain()
        kept = it.left()[entry.id]
        assert (kept.expected, kept.found, kept.value) == (seen, "v2", entry.value)
        assert kept.reason == "it was made over version v1, and main has version v2"
        assert (kept.queued, kept.principal) == (entry.queued, "alice")

    def test_a_conflict_with_a_deleted_secret_says_so(self) -> None:
        it = Replayer(CAS_AND_VERSIONS)
        seen = it.server.put("a", "old")
        it.server.put("a", None)
        entry = it.queue("a", "ours", seen)
        it.drain()
        assert it.left()[entry.id].found == "absent"

    def test_the_token_of_a_write_is_its_entry(self) -> None:
        it = Replayer(CAS_AND_VERSIONS)
        tokens = []
        write = it.server.write

        def noting(request: WriteRequest) -> Any:
            tokens.append(request.token)
            return write(request)

        it.server.write = noting  # type: ignore[method-assign]  # it has no other ear
        entry = it.queue("a", "new")
        it.drain()
        assert tokens == [entry.id]


class TestInDoubt:
    """What may have been made is looked for before anything is sent again."""

    @each_kind
    @pytest.mark.parametrize("seen", [True, False], ids=["over a version", "over none"])
    def test_what_was_made_before_a_death_is_not_made_again(self, kind: Any, seen: bool) -> None:
        it = Replayer(kind)
        version = it.server.put("a", "old") if seen else None
        it.queue("a", "new", version)
        die_when_made(it, "a", "new")
        assert it.drain().left == ""
        assert it.left() == {}
        assert [one.value for one in it.server.done if not one.foreign] == ["new"]

    @pytest.mark.parametrize("kind", [CAS_AND_VERSIONS, VERSIONS_ONLY], ids=["both", "versions"])
    @pytest.mark.parametrize("seen", [True, False], ids=["over a version", "over none"])
    def test_what_was_made_and_then_replaced_by_somebody_else_is_found_among_the_versions(
        self, kind: Any, seen: bool
    ) -> None:
        it = Replayer(kind)
        version = it.server.put("a", "old") if seen else None
        it.queue("a", "new", version)
        die_when_made(it, "a", "new")
        it.server.put("a", "theirs")
        it.server.put("a", "theirs again")
        it.drain()
        assert it.left() == {}
        assert it.server.value("a") == "theirs again"

    def test_without_older_versions_what_was_replaced_is_a_conflict(self) -> None:
        it = Replayer(CAS_ONLY)
        entry = it.queue("a", "new", it.server.put("a", "old"))
        die_when_made(it, "a", "new")
        it.server.put("a", "theirs")
        it.drain()
        assert it.state(entry) is EntryState.CONFLICT
        assert it.server.value("a") == "theirs"

    @pytest.mark.parametrize("kind", [CAS_AND_VERSIONS, CAS_ONLY, VERSIONS_ONLY], ids=["both", "cas", "versions"])
    def test_what_was_made_and_then_deleted_by_somebody_else_does_not_come_back(self, kind: Any) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "new")
        die_when_made(it, "a", "new")
        it.server.put("a", None)
        it.drain()
        assert it.server.value("a") is None
        assert it.state(entry) is EntryState.CONFLICT
        assert it.left()[entry.id].found == "absent"

    @each_kind
    @pytest.mark.parametrize("how", ["timeout", "timeout, made"])
    def test_a_lost_answer_is_settled_by_reading(self, kind: Any, how: str) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "new", it.server.put("a", "old"))
        it.server.fails["write", "a"] = how
        assert it.drain().left == "no answer"
        assert it.state(entry) is EntryState.UNCLEAR
        it.server.calls.clear()
        it.drain()
        assert it.server.calls[0] == "read"
        assert it.left() == {}
        assert [one.value for one in it.server.done if not one.foreign] == ["new"]

    @each_kind
    def test_what_was_certainly_not_sent_is_not_in_doubt(self, kind: Any) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "new", it.server.put("a", "old"))
        created = it.queue("b", "new")
        it.server.fails |= {("write", "*"): "unsent", ("read", "*"): "unsent"}
        it.server.lasting = True
        assert it.drain().left == "no answer"
        assert (it.state(entry), it.state(created)) == (EntryState.WAITING, EntryState.WAITING)

    @each_kind
    @pytest.mark.parametrize("how", ["timeout", "timeout, made"])
    def test_a_lost_answer_to_a_delete_is_settled_by_reading(self, kind: Any, how: str) -> None:
        it = Replayer(kind)
        it.queue("a", None, it.server.put("a", "old"))
        it.server.fails["delete", "a"] = how
        assert it.drain().left == "no answer"
        it.drain()
        assert it.left() == {}
        assert [one.value for one in it.server.done if not one.foreign] == [None]

    def test_an_earlier_version_with_the_same_value_is_not_taken_for_the_write(self) -> None:
        """It may be meant as a way back to that value."""
        it = Replayer(CAS_AND_VERSIONS)
        it.server.put("a", "value")
        seen = it.server.put("a", "mistake")
        it.queue("a", "value", seen, state=EntryState.UNCLEAR)
        it.drain()
        assert it.server.value("a") == "value"
        assert [one.value for one in it.server.done if not one.foreign] == ["value"]

    def test_the_same_value_over_itself_is_written_all_the_same(self) -> None:
        it = Replayer(CAS_AND_VERSIONS)
        it.queue("a", "value", it.server.put("a", "value"), state=EntryState.UNCLEAR)
        it.drain()
        assert it.server.current("a") == "v2"

    @each_kind
    def test_of_what_was_certainly_not_sent_the_same_value_by_somebody_else_is_a_conflict(self, kind: Any) -> None:
        """Both may have counted on from the same number."""
        it = Replayer(kind)
        seen = it.server.put("a", "41")
        entry = it.queue("a", "42", seen)
        it.server.put("a", "42")
        assert it.drain().set_aside == 1
        assert it.state(entry) is EntryState.CONFLICT

    @each_kind
    def test_of_what_is_in_doubt_the_same_value_by_somebody_else_counts_as_made(self, kind: Any) -> None:
        """Nobody can tell the two apart."""
        it = Replayer(kind)
        seen = it.server.put("a", "old")
        it.queue("a", "new", seen, state=EntryState.UNCLEAR)
        it.server.put("a", "new")
        assert it.drain().made == 1
        assert [one for one in it.server.done if not one.foreign] == []

    @each_kind
    def test_what_was_never_sent_and_is_overdue_is_not_taken_for_what_is_there(self, kind: Any) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "42", it.server.put("a", "41"))
        it.server.put("a", "42")
        it.clock.advance(100_000)
        assert it.drain().set_aside == 1
        assert it.state(entry) is EntryState.OVERDUE

    def test_a_version_from_before_the_secret_was_deleted_is_not_taken_for_the_write(self) -> None:
        it = Replayer(CAS_AND_VERSIONS)
        it.server.put("a", "value")
        it.server.put("a", None)
        entry = it.queue("a", "value")
        it.server.put("a", "theirs")
        it.drain()
        assert it.state(entry) is EntryState.CONFLICT

    def test_whoever_may_write_and_not_read_is_told_of_a_conflict(self) -> None:
        it = Replayer(CAS_AND_VERSIONS)
        seen = it.server.put("a", "old")
        it.queue("b", "new", it.server.put("b", "old"), state=EntryState.UNCLEAR)
        it.server.put("a", "theirs")
        entry = it.queue("a", "ours", seen)
        it.server.fails["read", "*"], it.server.lasting = "denied", True
        it.drain()
        assert it.server.value("b") == "new"
        assert (it.state(entry), it.left()[entry.id].found) == (EntryState.CONFLICT, "v2")


class StagedServer(Server, Staging):
    """Has versions that were sent and never became the current one."""

    def __init__(self) -> None:
        super().__init__(CAS_AND_VERSIONS)
        self.previous: str | None = None

    def stages(self, request: StagesRequest) -> StagesResult:
        return StagesResult(current=self.current(request.name), pending=None, previous=self.previous)

    def stage(self, request: Any) -> Any:
        raise AssertionError("nobody asks for it")

    promote = discard = stage


class TestPendingVersions:
    """Where a version may be there and never have been the current one."""

    @pytest.mark.parametrize(("previous", "state"), [("v2", None), ("v1", EntryState.CONFLICT)])
    def test_only_one_that_was_current_counts_as_made(self, previous: str, state: EntryState | None) -> None:
        it = Replayer(CAS_AND_VERSIONS, server=StagedServer())
        assert isinstance(it.server, StagedServer)
        entry = it.queue("a", "ours", it.server.put("a", "old"), state=EntryState.UNCLEAR)
        it.server.put("a", "ours")
        it.server.put("a", "theirs")
        it.server.previous = previous
        it.drain()
        assert it.state(entry) is state


class TestVersionsThatOnlyTellValuesApart:
    """A process may have names of its own for values; another one knows none of them."""

    def test_in_another_process_the_copy_tells_whether_the_value_is_the_same(self) -> None:
        it = Replayer(NEITHER)
        seen = it.server.put("a", "old")
        it.queue("a", "new", seen)
        copy = Copy(
            place=it.waiting("a").place,  # type: ignore[union-attr]  # it is there
            value=SecretValue.wrap("old"),
            version=str(seen),
            created=None,
            taken=it.clock.time(),
        )
        it.journal.keep_copies(KeepCopiesRequest(copies=(copy,)))
        it.server.call_values_otherwise("a")
        assert it.drain().made == 1
        assert it.server.value("a") == "new"

    def test_without_a_copy_it_is_a_conflict(self) -> None:
        it = Replayer(NEITHER)
        entry = it.queue("a", "new", it.server.put("a", "old"))
        it.server.call_values_otherwise("a")
        it.drain()
        assert it.state(entry) is EntryState.CONFLICT
        assert it.server.value("a") == "old"


class TestOthersMeanwhile:
    """Others change a secret while a pass looks at it."""

    @with_check_and_set
    def test_what_is_deleted_while_it_is_looked_for_does_not_come_back(self, kind: Any) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "new")
        die_when_made(it, "a", "new")
        it.server.put("a", "theirs")
        it.countdown, it.at_step = 2, lambda: it.server.put("a", None)
        it.drain()
        assert it.server.value("a") is None
        assert it.state(entry) is EntryState.CONFLICT


class TestAnotherPlace:
    """Other credentials may lead elsewhere at any moment, and nothing is made there."""

    @each_kind
    @pytest.mark.parametrize("change", ["new", None], ids=["write", "delete"])
    @pytest.mark.parametrize("step", range(1, 5))
    def test_what_leads_elsewhere_amidst_a_pass_changes_nothing_there(
        self, kind: Any, change: str | None, step: int
    ) -> None:
        it = Replayer(kind)
        entry = it.queue("a", change, it.server.put("a", "old"))
        elsewhere: list[str] = []

        def move() -> None:
            it.server.address, it.server.begun = "server:two", elsewhere.append

        it.countdown, it.at_step = step, move
        left = it.drain().left
        it.countdown = it.at_step = None
        assert not {"write", "delete"} & set(elsewhere)
        now = it.left().get(entry.id)
        # Else it had been made and noted before.
        if it.server.address == "server:two" and (now is not None or left):
            assert "not certain" in left
            assert now is not None
            assert now.state.waits
        it.server.address = "server:one"
        it.drain()
        assert it.left() == {}
        assert [one.value for one in it.server.done if not one.foreign] == [change]


class TestFailures:
    """Some concern one write, some all, and of some nobody knows."""

    @each_kind
    def test_what_is_denied_is_set_aside_and_others_go_on(self, kind: Any) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "one")
        it.queue("b", "two")
        it.server.fails["write", "a"], it.server.lasting = "denied", True
        outcome = it.drain()
        assert (outcome.made, outcome.set_aside, outcome.left) == (1, 1, "")
        assert (it.state(entry), it.left()[entry.id].reason) == (EntryState.REFUSED, "the server denies it")

    @each_kind
    @pytest.mark.parametrize("how", ["logged out", "timeout", "unsent"])
    def test_an_outage_or_a_lost_login_leaves_everything(self, kind: Any, how: str) -> None:
        it = Replayer(kind)
        entries = [it.queue(name, "new") for name in "abcdef"]
        it.server.fails |= {("write", "*"): how, ("read", "*"): how}
        it.server.lasting = True
        outcome = it.drain()
        assert (outcome.made, outcome.set_aside) == (0, 0)
        assert outcome.left
        assert all(it.left()[one.id].state.waits for one in entries)
        it.server.fails.clear()
        assert it.drain().made == 6

    @each_kind
    def test_a_failure_that_nobody_knows_is_looked_into_and_set_aside_if_nothing_was_made(self, kind: Any) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "new", it.server.put("a", "old"))
        it.server.fails["write", "a"] = "foreign"
        assert it.drain().set_aside == 1
        assert it.state(entry) is EntryState.REFUSED
        assert "failed in write with OSError" in it.left()[entry.id].reason

    @each_kind
    def test_a_failure_that_nobody_knows_after_the_write_was_made_is_none(self, kind: Any) -> None:
        it = Replayer(kind)
        it.queue("a", "new", it.server.put("a", "old"))
        it.server.fails["write", "a"] = "foreign, made"
        assert it.drain().made == 1
        assert it.left() == {}

    @each_kind
    @pytest.mark.parametrize("change", ["new", None], ids=["write", "delete"])
    def test_what_was_sent_is_in_doubt_although_the_look_after_it_was_not(self, kind: Any, change: str | None) -> None:
        it = Replayer(kind)
        entry = it.queue("a", change, it.server.put("a", "old"))
        operation = "write" if change else "delete"
        it.server.fails[operation, "a"], it.server.lasting = "foreign, made", True
        done = it.server.begun

        def begin(called: str) -> None:
            if called == operation:
                it.server.fails["read", "a"] = "unsent"

        it.server.begun = begin
        it.drain()
        assert it.state(entry) is EntryState.UNCLEAR
        it.server.begun = done
        it.server.fails.clear()
        it.drain()
        assert it.left() == {}
        assert [one.value for one in it.server.done if not one.foreign] == [change]

    @each_kind
    @pytest.mark.parametrize("how", ["timeout", "foreign", "logged out"])
    def test_a_look_that_fails_before_anything_is_sent_leaves_no_doubt(self, kind: Any, how: str) -> None:
        it = Replayer(kind)
        entry = it.queue("a", "42", it.server.put("a", "41"))
        it.server.put("a", "42")
        it.server.fails["read", "a"] = how
        it.drain()
        assert it.state(entry) in {EntryState.WAITING, EntryState.CONFLICT}
        it.drain()
        assert it.state(entry) is EntryState.CONFLICT

    @each_kind
    def test_a_write_that_can_be_neither_made_nor_looked_for_is_put_off_and_others_go_on(self, kind: Any) -> None:
        it = Replayer(kind)
        stuck = [it.queue("a", "one", "v1"), it.queue("a", "two")]
        it.queue("b", "three")
        it.server.fails |= {(operation, "a"): "foreign" for operation in ("read", "write")}
        it.server.lasting = True
        outcome = it.drain()
        assert (outcome.made, outcome.set_aside) == (1, 0)
        assert "OSError" in outcome.left
        assert all(it.left()[one.id].state.waits for one in stuck)

    def test_a_backend_that_fails_with_each_ends_the_pass(self) -> None:
        it = Replayer(VERSIONS_ONLY)
        for at in range(100):
            it.queue(f"n{at}", "new")
        it.server.fails[("read", "*")], it.server.lasting = "foreign", True
        outcome = it.drain()
        assert (outcome.made, outcome.set_aside) == (0, 0)
        assert outcome.left
        assert len(it.server.calls) < 20
