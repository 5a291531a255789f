"""A pass over what waits: in order by name, in few steps, and recorded."""

from __future__ import annotations

import threading
import time

import pytest

from strongroom.contracts import WriteRequest
from strongroom.contracts.journal import ClaimRequest, EntryState
from strongroom.errors import BackendUnavailableError, TamperedError
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.conditions import Condition
from strongroom.resilience.guarded import GuardedBackend
from waitingwrites import CAS_AND_VERSIONS, VERSIONS_ONLY, Replayer

DAY = 86_400.0


def test_writes_of_one_name_are_made_in_their_order() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    for value in ("one", "two", None, "three"):
        it.queue("a", value)
    assert it.drain().made == 4
    assert [one.value for one in it.server.done] == ["one", "two", None, "three"]


def test_what_follows_a_conflict_is_set_aside_with_it_and_other_names_go_on() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    it.server.put("a", "theirs")
    first, second = it.queue("a", "one"), it.queue("a", "two")
    it.queue("b", "three")
    outcome = it.drain()
    assert (outcome.made, outcome.set_aside, outcome.left) == (1, 2, "")
    kept = it.left()[second.id]
    assert (kept.state, kept.follows, kept.found) == (EntryState.CONFLICT, first.id, "v1")
    assert it.server.value("a") == "theirs"


def test_what_has_waited_for_too_long_is_set_aside_unless_it_was_made() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    entry = it.queue("a", "one", it.server.put("a", "old"))
    it.queue("b", "two", it.server.put("b", "old"), state=EntryState.UNCLEAR)
    it.server.put("b", "two")
    it.clock.advance(DAY + 1)
    outcome = it.drain()
    assert (outcome.made, outcome.set_aside) == (1, 1)
    assert it.state(entry) is EntryState.OVERDUE
    assert it.server.value("a") == "old"


def test_what_is_bound_to_another_target_is_left_alone() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    entry = it.queue("a", "new", target="server:two")
    assert it.drain().made == 0
    assert it.state(entry) is EntryState.WAITING
    assert it.server.calls == []


@pytest.mark.parametrize("seen", [True, False], ids=["over a version", "over none"])
def test_ten_thousand_writes_take_one_call_each_and_few_steps_of_the_journal(seen: bool) -> None:
    it = Replayer(CAS_AND_VERSIONS)
    for at in range(10_000):
        it.queue(f"n{at}", "new", it.server.put(f"n{at}", "old") if seen else None)
    assert it.drain().made == 10_000
    assert it.server.calls == ["write"] * 10_000
    chunks = -(-10_000 // 256)
    assert it.journal.calls.count("entries") <= chunks + 1
    # One to note that they may be made from now on, and one to note that they are.
    assert it.journal.calls.count("settle") <= 2 * chunks


def test_each_write_is_recorded_before_and_after_as_of_whoever_wrote() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    entry = it.queue("a", "new", on_behalf_of="app", principal_source="unheard of")
    it.drain()
    told = [(one.phase, one.key, one.principal, one.on_behalf_of, one.result) for one in it.sink.events[-2:]]
    assert told == [("attempt", "a", "alice", "app", "ok"), ("outcome", "a", "alice", "app", "ok")]
    assert entry.id in str(it.sink.events[-1].detail)


@pytest.mark.parametrize("kind", [CAS_AND_VERSIONS, VERSIONS_ONLY], ids=["both", "versions"])
def test_nothing_is_sent_that_cannot_be_recorded(kind: frozenset, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]  # of capabilities
    it = Replayer(kind)
    entry = it.queue("a", "new")
    it.audit.close()
    assert it.drain().left == "the manager is closed"
    assert it.server.done == []
    assert it.state(entry) is EntryState.WAITING


def test_nothing_is_begun_when_it_is_over() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    it.queue("a", "new")
    assert it.drain(is_over=lambda: True).left == "the manager is closed"
    assert it.server.calls == []


def test_what_may_be_changed_yet_by_a_call_that_nobody_waits_for_waits_until_that_ends() -> None:
    """The call could come after what is made now, and overwrite it."""
    it, release = Replayer(VERSIONS_ONLY), threading.Event()
    it.server.keeps_deadlines = False
    it.backend = GuardedBackend(
        it.server, name="main", type="server", capabilities=it.server.kind, deadline=lambda _: 0.05
    )
    it.server.begun = lambda operation: operation != "write" or release.wait(20)
    value = SecretValue("one")
    with pytest.raises(BackendUnavailableError):
        it.backend.write(WriteRequest(name=SecretName("a"), value=value))
    it.server.begun = lambda _: None
    first, second = it.queue("a", "one", state=EntryState.UNCLEAR), it.queue("a", "two")
    it.queue("b", "three")
    outcome = it.drain()
    assert (outcome.made, outcome.set_aside) == (1, 0)
    assert "under way" in outcome.left
    assert (it.state(first), it.state(second)) == (EntryState.UNCLEAR, EntryState.WAITING)
    release.set()
    while it.backend.may_change_yet(SecretName("a")):
        time.sleep(0.002)
    assert (it.drain().made, it.server.value("a")) == (2, "two")
    assert [one.value for one in it.server.done if one.name == "a"] == ["one", "two"]


def test_a_claim_that_could_not_be_given_up_is_given_up_before_it_is_taken_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = Replayer(CAS_AND_VERSIONS)
    claim = ClaimRequest(backend="main", target=it.server.address)

    def fail(_: object) -> None:
        raise OSError("no space")

    assert it.store.claim(claim)
    with monkeypatch.context() as patch:
        patch.setattr(it.journal, "release", fail)
        it.store.release(claim)
    assert it.store.claim(claim)
    assert not it.store.claim(claim), "whoever has it now keeps it"


def test_a_claim_is_given_up_although_the_store_is_known_to_be_out_of_reach() -> None:
    it = Replayer(CAS_AND_VERSIONS)
    claim = ClaimRequest(backend="main", target=it.server.address)
    assert it.store.claim(claim)
    condition = Condition(
        "store", failures=1, probe_every=60, clock=it.clock, wall_clock=lambda: 0, on_change=lambda _: None
    )
    it.store.backend().condition = condition
    condition.note(BackendUnavailableError("no answer", code="timeout"))
    assert condition.is_out
    it.store.release(claim)
    it.store.backend().condition = None
    assert it.store.claim(claim)


def test_an_entry_that_is_not_authentic_ends_the_pass_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    it = Replayer(CAS_AND_VERSIONS)
    entries = [it.queue(f"n{at}", "new") for at in range(6)]
    whole = it.store.entries

    def damaged(request):  # type: ignore[no-untyped-def]  # the store's own
        found = whole(request)
        if any(one.id == entries[3].id for one in found):
            raise TamperedError("an entry is not authentic")
        return found

    monkeypatch.setattr(it.store, "entries", damaged)
    with pytest.raises(TamperedError):
        it.drain()
    assert [one.name for one in it.server.done] == ["n0", "n1", "n2"]
    assert len(it.left()) == 3
