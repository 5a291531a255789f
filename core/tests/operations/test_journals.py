"""What people see of the journal and decide about it."""

from __future__ import annotations

import asyncio

from typing import Any

import pytest

import strongroom

from strongroom.aio.manager import AsyncSecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import WriteRequest
from strongroom.contracts.journal import EntryState
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    VersionConflictError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock, MemorySink


class Flaky(MemoryBackend):
    """Is out of reach while it is told so."""

    down = False
    lost = False
    """Whether the answers to writes are lost."""
    unreadable = False
    """Whether reads are denied."""

    def _check(self) -> None:
        if self.down:
            error = BackendUnavailableError("refused", code="connection_refused")
            error.unsent = True
            raise error

    def read(self, request: Any) -> Any:
        self._check()
        if self.unreadable:
            raise AccessDeniedError("the server denies it")
        return super().read(request)

    def write(self, request: Any) -> Any:
        self._check()
        result = super().write(request)
        if self.lost:
            raise BackendUnavailableError("no answer", code="timeout")
        return result

    def delete(self, request: Any) -> Any:
        self._check()
        return super().delete(request)

    def health(self) -> Any:
        self._check()
        return super().health()

    def put(self, name: str, value: str) -> None:
        """Write as somebody else does."""
        MemoryBackend.write(self, WriteRequest(name=SecretName(name), value=SecretValue.wrap(value)))


class Desk:
    """A manager whose backend can be cut off."""

    def __init__(self, *, sink: MemorySink | None = None, **tables: Any) -> None:
        self.main, self.store, self.sink = Flaky(), MemoryBackend(), sink or MemorySink()
        self.clock = FakeClock()
        self.manager = strongroom.open(
            {"backend": "main", "fallback": "store", "audit": "none", "cache": {"ttl": 0, "max_stale": 0}} | tables,
            clock=self.clock,
            wall_clock=lambda: round(self.clock.time() * 1e9),
            backends={"main": self.main, "store": self.store},
            sinks=(self.sink,),
        )

    def queue(self, name: str, value: str, **options: Any) -> str:
        self.main.down = True
        entry = self.manager.set(name, value, **options).queued
        assert entry is not None
        return entry

    def conflict(self) -> str:
        """Return the entry of a write that is set aside, since the backend has another version."""
        entry = self.queue("a", "ours")
        self.main.put("a", "theirs")
        self.main.down = False
        assert self.manager.journal.replay().set_aside == 1
        return entry

    def named(self, kind: str) -> list[tuple[str, str]]:
        return [(one.phase, one.result) for one in self.sink.events if one.event == kind]


@pytest.fixture
def desk() -> Any:
    made = Desk()
    yield made
    made.manager.close()


def test_what_waits_is_listed_without_its_value(desk: Desk) -> None:
    entry = desk.queue("a", "s3cret")
    desk.clock.advance(5)
    (shown,) = desk.manager.journal.list()
    assert (shown.id, shown.name, shown.change, shown.size, shown.state) == (entry, "a", "set", 6, EntryState.WAITING)
    assert shown.age == pytest.approx(5)
    assert "s3cret" not in repr(shown)
    assert desk.manager.journal.show(entry[:8]) == shown
    assert desk.named("journal_list") == [("outcome", "ok")]


def test_what_waits_is_made(desk: Desk) -> None:
    desk.queue("a", "new")
    result = desk.manager.journal.replay()
    assert (result.made, result.waiting) == (0, 1)
    assert result.left
    desk.main.down = False
    result = desk.manager.journal.replay("main")
    assert (result.made, result.set_aside, result.waiting, result.left) == (1, 0, 0, "")
    assert desk.manager.get("a").reveal_text() == "new"
    assert desk.named("journal_replay") == [("attempt", "ok"), ("outcome", "ok")] * 2


@pytest.mark.parametrize("id", ["", "1234567", 12345678], ids=repr)
def test_an_id_needs_eight_characters(desk: Desk, id: Any) -> None:
    with pytest.raises(ConfigurationError, match="at least 8"):
        desk.manager.journal.show(id)


def test_an_unknown_id_is_not_found(desk: Desk) -> None:
    for operation in (desk.manager.journal.show, desk.manager.journal.drop):
        with pytest.raises(SecretNotFoundError, match="no such entry"):
            operation("00000000")
    with pytest.raises(ConfigurationError, match="no backend"):
        desk.manager.journal.replay("other")


def test_a_dropped_write_is_never_made(desk: Desk) -> None:
    dropped = desk.manager.journal.drop(desk.queue("a", "new"))
    assert dropped.name == "a"
    desk.main.down = False
    assert desk.manager.journal.replay().made == 0
    with pytest.raises(SecretNotFoundError):
        desk.manager.get("a")
    assert desk.named("journal_drop") == [("attempt", "ok"), ("outcome", "ok")]


def test_what_follows_a_dropped_write_is_set_aside(desk: Desk) -> None:
    first, second = desk.queue("a", "one"), desk.queue("a", "two")
    desk.manager.journal.drop(first)
    desk.main.down = False
    assert desk.manager.journal.replay().set_aside == 1
    assert desk.manager.journal.show(second).state is EntryState.CONFLICT


def test_ours_is_made_over_what_was_found(desk: Desk) -> None:
    entry = desk.conflict()
    assert desk.manager.journal.show(entry).found == "1"
    assert desk.manager.journal.resolve(entry, "ours") is None
    assert desk.manager.get("a").reveal_text() == "ours"
    assert desk.named("journal_resolve") == [("attempt", "ok"), ("outcome", "ok")]


def test_ours_overwrites_nothing_that_nobody_has_seen(desk: Desk) -> None:
    entry = desk.conflict()
    desk.main.put("a", "theirs again")
    again = desk.manager.journal.resolve(entry, "ours")
    assert again is not None
    assert (again.state, again.found) == (EntryState.CONFLICT, "2")
    assert desk.manager.get("a").reveal_text() == "theirs again"


def test_theirs_gives_ours_up(desk: Desk) -> None:
    entry = desk.conflict()
    assert desk.manager.journal.resolve(entry, "theirs") is None
    assert desk.manager.journal.list() == ()
    assert desk.manager.get("a").reveal_text() == "theirs"


def test_an_overdue_write_is_made_if_somebody_says_so(desk: Desk) -> None:
    entry = desk.queue("a", "new")
    desk.clock.advance(100_000)
    desk.main.down = False
    assert desk.manager.journal.replay().set_aside == 1
    assert desk.manager.journal.show(entry).state is EntryState.OVERDUE
    assert desk.manager.journal.resolve(entry, "ours") is None
    assert desk.manager.get("a").reveal_text() == "new"


def test_there_is_nothing_to_decide_about_what_waits(desk: Desk) -> None:
    entry = desk.queue("a", "new")
    with pytest.raises(ConfigurationError, match="nothing to decide"):
        desk.manager.journal.resolve(entry, "ours")
    with pytest.raises(ConfigurationError, match="ours or theirs"):
        desk.manager.journal.resolve(entry, "both")


def test_an_older_write_does_not_come_back_while_a_newer_one_waits(desk: Desk) -> None:
    entry = desk.conflict()
    desk.queue("a", "newer")
    with pytest.raises(VersionConflictError, match="accepted later"):
        desk.manager.journal.resolve(entry, "ours")


def test_what_is_bound_elsewhere_is_shown_and_never_made(desk: Desk) -> None:
    entry = desk.queue("a", "new")
    desk.main.down, desk.main.address = False, "memory:other"
    shown = desk.manager.journal.show(entry)
    assert shown.elsewhere
    assert "is bound to" in shown.reason
    result = desk.manager.journal.replay()
    assert (result.made, result.waiting) == (0, 1)
    assert "bound to something else" in result.left


def test_only_what_may_be_listed_is_shown_and_only_who_may_change_it_decides(rule: Any) -> None:
    desk = Desk(
        principal="app",
        policies=[
            rule("app", "read", "list", "create", "update", "rotate", "delete", "impersonate"),
            rule("looker", "list"),
            rule("stranger", "read"),
        ],
    )
    with desk.manager:
        entry = desk.queue("a", "new")
        looker, stranger = desk.manager.as_principal("looker").journal, desk.manager.as_principal("stranger").journal
        assert [one.id for one in looker.list()] == [entry]
        assert stranger.list() == ()
        for operation in (stranger.show, stranger.drop):
            with pytest.raises(SecretNotFoundError):
                operation(entry)
        with pytest.raises(AccessDeniedError):
            looker.drop(entry)
        assert desk.named("journal_drop") == [("outcome", "denied")]
        assert [one.id for one in desk.manager.journal.list()] == [entry]


def test_without_a_fallback_there_is_no_journal() -> None:
    manager = strongroom.open({"backend": "main", "audit": "none"}, backends={"main": MemoryBackend()})
    with manager, pytest.raises(ConfigurationError, match="no fallback store"):
        manager.journal.list()


def test_on_asyncio_it_is_the_same(desk: Desk) -> None:
    entry = desk.queue("a", "new")
    desk.main.down = False

    async def look() -> Any:
        desk_of = AsyncSecretManager(desk.manager).journal
        listed, shown = await desk_of.list(), await desk_of.show(entry)
        return listed, shown, await desk_of.replay()

    listed, shown, replayed = asyncio.run(look())
    assert listed == (shown,)
    assert replayed.made == 1


def named_alike(desk: Desk, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Queue writes whose ids all begin with the same characters."""
    made = iter(f"{'0' * 8}-0000-4000-8000-{number:012}" for number in range(len(names)))
    monkeypatch.setattr("strongroom.outages.queueing.new_token", lambda: next(made))
    return [desk.queue(name, "new") for name in names]


def test_a_beginning_of_several_ids_names_none_of_them(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = named_alike(desk, monkeypatch, "a", "b")
    for operation in (desk.manager.journal.show, desk.manager.journal.drop):
        with pytest.raises(ConfigurationError, match="several"):
            operation(first[:8])
    assert desk.manager.journal.drop(second).name == "b"
    assert desk.manager.journal.show(first[:8]).name == "a"


def test_ids_of_what_somebody_may_not_know_of_are_in_nobodys_way(rule: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(
        principal="app",
        policies=[
            rule("app", "read", "list", "create", "update", "rotate", "delete", "impersonate"),
            rule("looker", "list", names="a"),
        ],
    )
    with desk.manager:
        first, _ = named_alike(desk, monkeypatch, "a", "b")
        assert desk.manager.as_principal("looker").journal.show(first[:8]).name == "a"


class Forgetful(MemorySink):
    """Cannot record how anything ends, while it is told so."""

    forgets = False

    def write(self, request: Any) -> None:
        if self.forgets and any(one.phase == "outcome" for one in request.events):
            raise AuditError("no space")
        super().write(request)


class TestOutcomesThatCannotBeRecorded:
    """What has been decided or made is so all the same, and whoever asked is told."""

    @pytest.fixture
    def desk(self) -> Any:
        made = Desk(sink=Forgetful())
        yield made
        made.sink.forgets = False
        made.manager.close()

    def test_a_dropped_write_is_dropped(self, desk: Any) -> None:
        entry = desk.queue("a", "new")
        desk.sink.forgets = True
        with pytest.raises(AuditError, match="could not be recorded") as caught:
            desk.manager.journal.drop(entry)
        assert caught.value.applied
        desk.sink.forgets = False
        assert desk.manager.journal.list() == ()

    def test_a_write_that_is_made_is_noted_and_not_made_again(self, desk: Any) -> None:
        desk.queue("a", "one")
        desk.queue("b", "two")
        desk.main.down = False
        desk.sink.forgets = True
        with pytest.raises(AuditError, match="made 2") as caught:
            desk.manager.journal.replay()
        assert caught.value.applied
        desk.sink.forgets = False
        assert desk.manager.journal.replay().made == 0
        assert [desk.manager.get(name).version for name in "ab"] == ["1", "1"]

    def test_what_is_resolved_as_ours_is_not_set_aside_any_more(self, desk: Any) -> None:
        entry = desk.conflict()
        desk.sink.forgets = True
        with pytest.raises(AuditError, match="could not be recorded") as caught:
            desk.manager.journal.resolve(entry, "ours")
        assert caught.value.applied
        desk.sink.forgets = False
        assert desk.manager.journal.show(entry).state is EntryState.WAITING
        assert desk.manager.journal.replay().made == 1
        assert desk.manager.get("a").reveal_text() == "ours"


def test_nothing_is_decided_that_cannot_be_recorded_before(desk: Desk) -> None:
    entry = desk.conflict()
    desk.sink.failing = True
    for decide in (lambda: desk.manager.journal.drop(entry), lambda: desk.manager.journal.resolve(entry, "theirs")):
        with pytest.raises(AuditError):
            decide()
    desk.sink.failing = False
    assert desk.manager.journal.show(entry).state is EntryState.CONFLICT


def test_what_was_refused_and_may_have_been_made_is_looked_for_before_it_is_sent_again(desk: Desk) -> None:
    """It was set aside since nobody could say whether it had been made, and it had."""
    desk.manager.set("a", "old")
    desk.main.lost = True
    entry = desk.manager.set("a", "new").queued
    assert entry is not None
    desk.main.lost = False
    desk.clock.advance(100_000)
    desk.main.unreadable = True
    assert desk.manager.journal.replay().set_aside == 1
    desk.main.unreadable = False
    assert desk.manager.journal.resolve(entry, "ours") is None
    assert desk.manager.get("a").version == "2"


@pytest.mark.parametrize("rights", [("read", "list"), ("list", "update"), ("list", "delete"), ("update",)], ids=repr)
def test_the_right_to_what_a_write_does_decides_about_it(rights: tuple[str, ...], rule: Any) -> None:
    everything = ("read", "list", "create", "update", "rotate", "delete", "impersonate")
    desk = Desk(principal="app", policies=[rule("app", *everything), rule("other", *rights)])
    with desk.manager:
        entries = [desk.queue("a", "new"), desk.manager.delete("b").queued]
        journal = desk.manager.as_principal("other").journal
        for entry, right in zip(entries, ("update", "delete"), strict=True):
            if right in rights:
                assert journal.drop(str(entry)).id == entry
            else:
                with pytest.raises(AccessDeniedError if "list" in rights else SecretNotFoundError):
                    journal.drop(str(entry))
                assert desk.manager.journal.show(str(entry)).id == entry
        told = [(one.principal, one.on_behalf_of) for one in desk.sink.events if one.event == "journal_drop"]
        assert set(told) <= {("other", "app")}
