"""Writes in an outage: accepted for later, or refused with the outage's own error; nothing overtakes what waits."""

from __future__ import annotations

import os
import threading

from collections.abc import Callable
from typing import Any

import pytest

from strongroom import ABSENT, SecretManager, SecretValue
from strongroom.contracts import (
    Capability,
)
from strongroom.contracts.journal import Entry, EntryState, Place
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom.testing import FakeClock, in_forked_child
from unreachable import NAME, RotatingServer, Server, Store, entry, opener


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def opened(open_manager: Any, server: Server, store: Store) -> Callable[..., SecretManager]:
    """A function that opens a manager of that server and that store; it takes the table ``[resilience]``."""
    return opener(open_manager, server, store)


class TestAccepted:
    """What waits, and what the caller is told of it."""

    def test_a_write_is_queued_read_back_at_once_and_made_later(
        self, opened: Any, server: Server, clock: FakeClock
    ) -> None:
        manager = opened()
        manager.set(NAME, "1")
        server.down = "refused"
        written = manager.set(NAME, "2")
        assert (written.name, written.version, written.subscribers_failed) == (NAME, f"queued:{written.queued}", ())
        assert manager.get(NAME).reveal_text() == "2"
        assert manager.get(NAME).version == written.version
        assert server.content() == "1"
        server.down = ""
        assert manager.journal.replay().made == 1
        assert (server.content(), manager.get(NAME).version) == ("2", "2")

    def test_a_write_of_what_was_never_there_is_made_only_if_it_still_is_not(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        manager.set(NAME, "ours")
        manager.set("db/other", "ours")
        server.put("somebody else's")
        server.down = ""
        assert (manager.journal.replay().made, server.content(), server.content("db/other")) == (
            1,
            "somebody else's",
            "ours",
        )
        assert (entry(manager).state, entry(manager).found) == (EntryState.CONFLICT, "1")

    def test_a_delete_is_queued_and_the_secret_is_gone_from_then_on(self, opened: Any, server: Server) -> None:
        manager = opened()
        manager.set(NAME, "1")
        server.down = "refused"
        deleted = manager.delete(NAME)
        assert (deleted.existed, bool(deleted.queued)) == (True, True)
        with pytest.raises(SecretDeletedError, match=deleted.queued):
            manager.get(NAME)
        again = manager.delete(NAME)
        assert (again.existed, again.queued != deleted.queued) == (False, True)
        server.down = ""
        assert manager.journal.replay().made == 2
        with pytest.raises(SecretDeletedError):
            manager.get(NAME)

    def test_a_delete_behind_a_write_that_waits_deletes_something(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        manager.set(NAME, "1")
        assert manager.delete(NAME).existed

    def test_what_a_write_of_ours_has_made_is_known_without_a_read_or_a_copy(self, opened: Any, server: Server) -> None:
        manager = opened()
        for content in ("1", "2"):
            manager.set(NAME, content)
        manager.delete("db/other")
        server.down = "refused"
        manager.set(NAME, "3")
        assert entry(manager).expected == "2"

    def test_what_a_replay_has_made_is_known_as_well(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        manager.set(NAME, "1")
        server.down = ""
        manager.journal.replay()
        server.down = "refused"
        manager.set(NAME, "2")
        assert entry(manager).expected == "1"

    @pytest.mark.parametrize("asyncio", [False, True])
    def test_a_rotation_is_queued_over_a_version_that_is_known(
        self, asyncio: bool, opened: Any, server: Server
    ) -> None:
        manager = opened()
        manager.set(NAME, "1")
        manager.get(NAME)
        server.down = "refused"
        written = _rotate_async(manager) if asyncio else manager.rotate(NAME)
        assert written.queued
        assert manager.get(NAME).reveal() != b"1"
        assert (entry(manager).change, entry(manager).expected) == ("rotate", "1")
        # It was only asked which version is current: nothing of the rotation itself was sent, so nothing is unclear.
        assert server.calls.count("write") == 1
        assert entry(manager).state is EntryState.WAITING

    def test_a_rotation_of_what_nobody_knows_is_an_outage(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.put("1")
        server.down = "refused"
        with pytest.raises(BackendUnavailableError):
            manager.rotate(NAME)
        assert manager.journal.list() == ()

    def test_a_rotation_behind_a_write_that_waits_is_made_over_that(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        first = manager.set(NAME, "1")
        manager.rotate(NAME)
        assert manager.journal.list()[1].follows == first.queued
        manager.delete(NAME)
        with pytest.raises(SecretDeletedError):
            manager.rotate(NAME)

    def test_what_a_service_rotates_is_never_queued(self, opened: Any, store: Store) -> None:
        server = RotatingServer()
        server.put("1")
        manager = opened(backends={"main": server, "store": store})
        manager.get(NAME)
        server.down = "refused"
        with pytest.raises(BackendUnavailableError):
            manager.rotate(NAME)
        assert manager.journal.list() == ()


def _rotate_async(manager: SecretManager) -> Any:
    import asyncio

    from strongroom.aio.manager import AsyncSecretManager

    async def rotated() -> Any:
        async with AsyncSecretManager(manager) as own:
            return await own.rotate(NAME)

    return asyncio.run(rotated())


class TestRefused:
    """What must not, or cannot, wait."""

    @pytest.mark.parametrize(
        "resilience",
        [{"queue_writes": False}, {"names": {"db/**": {"queue_writes": False}}}],
        ids=["everything", "by name"],
    )
    @pytest.mark.parametrize("change", ["set", "delete", "rotate"])
    def test_by_configuration_it_is_the_outage(
        self, change: str, resilience: Any, opened: Any, server: Server, sink: Any
    ) -> None:
        manager = opened(resilience)
        manager.set(NAME, "1")
        manager.get(NAME)
        server.down = "refused"
        with pytest.raises(BackendUnavailableError, match="nobody answers"):
            {"set": lambda: manager.set(NAME, "2"), "delete": lambda: manager.delete(NAME)}.get(
                change, lambda: manager.rotate(NAME)
            )()
        assert manager.journal.list() == ()
        assert sink.named(change)[-1].result == "connection_refused"

    def test_without_a_fallback_it_is_the_outage(self, open_manager: Any, server: Server) -> None:
        manager = open_manager(backends={"main": server}, backend="main")
        server.down = "refused"
        with pytest.raises(BackendUnavailableError):
            manager.set(NAME, "1")
        assert server.tokens == [None]

    def test_the_limits_of_the_backend_that_is_out_of_reach_hold(self, opened: Any, server: Server) -> None:
        server.max_value_bytes, server.accepts_empty = 3, False
        server.capabilities = frozenset(Capability) - {Capability.CHECK_AND_SET}
        manager = opened()
        server.down = "refused"
        with pytest.raises(ValueTooLargeError):
            manager.set(NAME, "1234")
        with pytest.raises(InvalidValueError):
            manager.set(NAME, "")
        with pytest.raises(UnsupportedOperationError):
            manager.set(NAME, "1", expect_version="1")
        with pytest.raises(UnsupportedOperationError):
            manager.check_set(NAME, SecretValue("1"), expect_version=ABSENT)
        assert manager.journal.list() == ()

    def test_a_full_journal_says_so_and_what_to_do(self, opened: Any, server: Server, sink: Any) -> None:
        manager = opened({"journal_entries": 1})
        server.down = "refused"
        manager.set(NAME, "1")
        with pytest.raises(BackendUnavailableError, match=r"nobody answers; .* the journal is full") as caught:
            manager.set("db/other", "2")
        assert "strongroom journal list" in caught.value.hint
        assert "journal_entries" in caught.value.hint
        assert sink.named("set")[-1].result == "connection_refused"
        with pytest.raises(BackendUnavailableError, match=r"another write .* waits .* the journal is full"):
            manager.set(NAME, "2")
        assert len(manager.journal.list()) == 1

    def test_a_journal_that_cannot_be_used_is_said_beside_the_outage(
        self, opened: Any, server: Server, store: Store
    ) -> None:
        manager = opened()
        server.down = "refused"
        store.failing["append"] = BackendError("no space is left", code="storage_full", hint="make room")
        with pytest.raises(BackendUnavailableError, match=r"nobody answers; .* no space is left: make room"):
            manager.set(NAME, "1")

    def test_a_journal_that_cannot_be_used_holds_up_nothing_while_the_backend_answers(
        self, opened: Any, server: Server, store: Store
    ) -> None:
        manager = opened({"keep_copy": True})
        for method in ("recall", "append", "keep_copies", "drop_copies", "journal_status"):
            store.failing[method] = BackendUnavailableError("it is locked")
        written = manager.set(NAME, "1")
        assert (written.queued, written.copy_failed) == (None, "it is locked")
        assert server.content() == "1"

    def test_as_long_as_nobody_knows_whose_secrets_they_are_nothing_is_queued(
        self, opened: Any, server: Server
    ) -> None:
        server.keeps_target = False
        manager = opened()
        server.down = "refused"
        with pytest.raises(BackendUnavailableError, match="whose secrets") as caught:
            manager.set(NAME, "1")
        assert "account" in caught.value.hint

    def test_a_write_that_may_not_queue_does_not_overtake_one_that_waits(
        self, opened: Any, server: Server, store: Store
    ) -> None:
        manager = opened()
        server.down = "refused"
        waiting = manager.set(NAME, "1").queued
        server.down = ""
        other = opened({"queue_writes": False})
        with pytest.raises(BackendUnavailableError, match=str(waiting)) as caught:
            other.set(NAME, "2")
        assert caught.value.code == "busy"
        manager.journal.replay()
        other.set(NAME, "2")
        assert server.content() == "2"

    def test_what_is_cached_stays_if_nothing_was_sent(self, opened: Any, server: Server) -> None:
        manager = opened({"queue_writes": False, "failures": 1}, cache={"ttl": "1h"})
        manager.set(NAME, "1")
        manager.get(NAME)
        server.down = "refused"
        with pytest.raises(BackendUnavailableError):
            manager.set("db/other", "x")  # from now on nothing is sent
        with pytest.raises(BackendUnavailableError):
            manager.set(NAME, "2")
        assert manager.get(NAME).reveal_text() == "1"


class TestRights:
    """What a principal without all rights may have queued."""

    def test_one_that_may_only_update_queues_over_a_version_that_is_known(
        self, opened: Any, server: Server, rule: Any
    ) -> None:
        server.put("1")
        server.put("1", "db/unknown")
        manager = opened(policies=[rule("tester", "update", "read", "list")])
        manager.get(NAME)
        server.down = "refused"
        assert manager.set(NAME, "2").queued
        assert manager.check_set(NAME, SecretValue("3")) == NAME
        assert manager.set(NAME, "3").queued
        for change in (manager.set, lambda name, _: manager.check_set(name, SecretValue("2"))):
            with pytest.raises(BackendUnavailableError):
                change("db/unknown", "2")
        assert [one.expected for one in manager.journal.list()] == ["1", None]
        server.down = ""
        manager.journal.replay()
        assert server.content() == "3"

    def test_one_that_may_only_update_does_not_create_what_waits_to_be_deleted(
        self, opened: Any, server: Server, rule: Any
    ) -> None:
        server.put("1")
        manager = opened(policies=[rule("tester", "update", "read", "delete")])
        manager.get(NAME)
        server.down = "refused"
        manager.delete(NAME)
        with pytest.raises(SecretNotFoundError):
            manager.set(NAME, "2")

    def test_one_that_may_only_create_never_writes_over_what_is_there(
        self, opened: Any, server: Server, rule: Any
    ) -> None:
        manager = opened(policies=[rule("tester", "create")])
        server.down = "refused"
        assert manager.set(NAME, "1").queued
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "2")
        assert manager.set("db/other", "1").queued
        server.put("somebody else's", "db/other")
        server.down = ""
        manager.journal.replay()
        assert (server.content(), server.content("db/other")) == ("1", "somebody else's")

    def test_what_is_forbidden_is_refused_before_anything_waits(self, opened: Any, server: Server, rule: Any) -> None:
        manager = opened(policies=[rule("tester", "read")])
        server.down = "refused"
        for change in (lambda: manager.set(NAME, "1"), lambda: manager.delete(NAME), lambda: manager.rotate(NAME)):
            with pytest.raises(AccessDeniedError):
                change()


class TestExpectedVersions:
    def test_a_version_that_was_read_waits_with_the_write(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.put("1")
        seen = manager.get(NAME).version
        server.down = "refused"
        manager.set(NAME, "ours", expect_version=seen)
        server.put("somebody else's")
        server.down = ""
        assert manager.journal.replay().set_aside == 1
        assert (entry(manager).expected, entry(manager).found) == (seen, "2")
        assert manager.get(NAME).reveal_text() == "somebody else's"

    def test_a_chain_of_writes_names_what_waits(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        manager.set(NAME, "0", expect_version=ABSENT)
        for _ in range(5):
            secret = manager.get(NAME)
            manager.set(NAME, str(int(secret.reveal_text()) + 1), expect_version=secret.version)
        server.down = ""
        assert manager.journal.replay().made == 6
        assert server.content() == "5"

    @pytest.mark.parametrize("expected", ["1", ABSENT, "queued:00000000-0000-4000-8000-000000000000"])
    def test_another_version_than_the_one_that_waits_is_a_conflict_that_names_both(
        self, expected: Any, opened: Any, server: Server, sink: Any
    ) -> None:
        manager = opened()
        server.down = "refused"
        first = manager.set(NAME, "1")
        with pytest.raises(VersionConflictError) as caught:
            manager.set(NAME, "2", expect_version=expected)
        told = "absent" if expected is ABSENT else expected
        assert (caught.value.expected, caught.value.found, caught.value.name) == (told, first.version, NAME)
        assert len(manager.journal.list()) == 1
        assert sink.named("set")[-1].result == "conflict"

    def test_after_a_delete_that_waits_there_is_none(self, opened: Any, server: Server) -> None:
        manager = opened()
        manager.set(NAME, "1")
        server.down = "refused"
        manager.delete(NAME)
        with pytest.raises(VersionConflictError) as caught:
            manager.set(NAME, "2", expect_version="1")
        assert caught.value.found == "absent"
        assert manager.set(NAME, "2", expect_version=ABSENT).queued

    def test_what_does_not_wait_any_more_is_a_conflict(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        first = manager.set(NAME, "1")
        server.down = ""
        manager.journal.replay()
        with pytest.raises(VersionConflictError) as caught:
            manager.set(NAME, "2", expect_version=first.version)
        assert caught.value.expected == first.version
        assert server.content() == "1"

    def test_a_conflict_is_never_queued_and_drops_what_is_cached(self, opened: Any, server: Server) -> None:
        manager = opened()
        manager.set(NAME, "1")
        seen = manager.get(NAME).version
        server.put("somebody else's")
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "2", expect_version=seen)
        assert manager.journal.list() == ()
        assert manager.get(NAME).reveal_text() == "somebody else's"


class TestUnclear:
    """What was sent, and may have been made."""

    def test_a_lost_answer_is_made_once(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.put("1")
        manager.get(NAME)
        server.down = "lost"
        written = manager.set(NAME, "2")
        assert (entry(manager).state, server.content()) == (EntryState.UNCLEAR, "2")
        server.down = ""
        assert manager.journal.replay().made == 1
        assert manager.get(NAME).version == "2"
        assert server.tokens == [written.queued]

    def test_what_is_not_sent_is_not_unclear(self, opened: Any, server: Server) -> None:
        manager = opened({"failures": 1})
        server.down = "refused"
        manager.set("db/other", "1")
        manager.set(NAME, "1")
        assert [one.state for one in manager.journal.list()] == [EntryState.UNCLEAR, EntryState.WAITING]
        assert server.calls == ["write"]

    def test_the_token_of_the_first_attempt_is_that_of_the_replay(self, opened: Any, server: Server) -> None:
        manager = opened()
        server.down = "refused"
        written = manager.set(NAME, "1")
        server.down = ""
        manager.journal.replay()
        assert server.tokens == [written.queued, written.queued]
        manager.set(NAME, "2")
        assert server.tokens[-1] not in {None, written.queued}

    def test_an_unclear_write_that_may_not_wait_leaves_the_copy_as_it_was_and_marked(
        self, opened: Any, server: Server, clock: FakeClock
    ) -> None:
        manager = opened({"keep_copy": True, "queue_writes": False}, cache={"ttl": "1s", "max_stale": "0s"})
        manager.set(NAME, "1")
        server.down = "lost"
        with pytest.raises(BackendUnavailableError):
            manager.set(NAME, "2")
        server.down = "refused"
        clock.advance(2)
        secret = manager.get(NAME)
        assert (secret.reveal_text(), secret.version, secret.freshness.value) == ("1", "1", "fallback")


class TestOrder:
    """Nothing overtakes what waits."""

    def test_while_a_write_waits_others_queue_behind_it_although_the_backend_answers(
        self, opened: Any, server: Server
    ) -> None:
        manager = opened()
        server.down = "refused"
        first = manager.set(NAME, "1")
        server.down = ""
        second = manager.set(NAME, "2")
        assert (second.queued, manager.journal.list()[1].follows) == (second.version[7:], first.queued)
        assert manager.get(NAME).reveal_text() == "2"
        assert manager.set("db/other", "x").queued is None
        assert manager.journal.replay().made == 2
        assert server.content() == "2"

    def test_so_do_those_of_another_manager_of_the_same_store(self, opened: Any, server: Server) -> None:
        manager, other = opened(), opened()
        other.set("db/other", "x")
        server.down = "refused"
        manager.set(NAME, "1")
        server.down = ""
        assert other.set(NAME, "2").queued
        assert other.get(NAME).reveal_text() == "2"

    def test_a_write_that_comes_while_another_one_fails_is_not_sent(self, opened: Any, server: Server) -> None:
        """It waits for the end of the first one, and finds it in the queue."""
        manager = opened()
        results: list[Any] = []
        second = threading.Thread(target=lambda: results.append(manager.set(NAME, "2")))

        def begin_second() -> None:
            server.before = lambda: None
            second.start()
            server.down = "lost"

        server.before = begin_second
        first = manager.set(NAME, "1")
        server.down = ""
        second.join(10)
        assert [one.queued for one in results] == [manager.journal.list()[1].id]
        assert manager.journal.list()[1].follows == first.queued
        assert server.calls.count("write") == 1

    def test_a_write_whose_predecessor_is_made_before_it_is_accepted_goes_out_directly(
        self, opened: Any, server: Server, store: Store
    ) -> None:
        manager = opened()
        server.down = "refused"
        manager.set(NAME, "1")
        server.down = ""
        append = store.append

        def replay_first(request: Any) -> Any:
            store.append = append  # type: ignore[method-assign]  # once
            manager.journal.replay()
            return append(request)

        store.append = replay_first  # type: ignore[method-assign]  # as another process may
        assert manager.set(NAME, "2").queued is None
        assert server.content() == "2"
        assert manager.journal.list() == ()

    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_a_write_of_another_process_that_comes_between_is_followed_and_what_was_sent_stays_unclear(
        self, expected: Any, opened: Any, server: Server
    ) -> None:
        manager, other = opened(), opened()

        def theirs_first() -> None:
            server.before = lambda: None
            server.down = "refused"
            other.set(NAME, "theirs")
            server.down = "lost"

        server.before = theirs_first
        if expected is None:
            manager.set(NAME, "ours")
            first, second = manager.journal.list()
            assert (second.follows, second.state) == (first.id, EntryState.UNCLEAR)
        else:
            # It may have been made, so it is no conflict.
            with pytest.raises(BackendUnavailableError, match="could not be queued"):
                manager.set(NAME, "ours", expect_version=expected)
            assert len(manager.journal.list()) == 1

    def test_a_count_that_was_taken_before_a_write_was_accepted_is_not_believed_after_it(
        self, opened: Any, server: Server, store: Store
    ) -> None:
        manager = opened()
        server.put("0")
        count = store.journal_status

        def count_then_write(request: Any) -> Any:
            store.journal_status = count  # type: ignore[method-assign]  # once
            counted = count(request)
            server.down = "refused"
            manager.set(NAME, "accepted")
            server.down = ""
            return counted

        store.journal_status = count_then_write  # type: ignore[method-assign]  # as if in another thread
        manager.get(NAME)
        assert manager.get(NAME).reveal_text() == "accepted"

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_waits_for_none_of_the_parents_writes(self, opened: Any, server: Server, gate: Any) -> None:
        manager = opened()
        server.before = gate.hold
        parent = threading.Thread(target=manager.set, args=(NAME, "1"))
        parent.start()
        gate.wait_for_arrival()

        def change() -> str:
            server.before = lambda: None
            return str(manager.set(NAME, "2").queued)

        assert in_forked_child(change) == "None"
        gate.open()
        parent.join(10)


class TestCosts:
    """What a healthy write asks of the fallback store."""

    @pytest.mark.parametrize(("keep", "most"), [(False, 2), (True, 2)])
    def test_a_healthy_write_takes_two_looks_at_most(
        self, keep: bool, most: int, opened: Any, store: Store, server: Server
    ) -> None:
        manager = opened({"keep_copy": keep})
        manager.set(NAME, "1")
        store.asked.clear()
        server.calls.clear()
        manager.set(NAME, "2")
        assert store.asked in (["recall", "recall"], ["recall", "keep_copies"])
        assert len(store.asked) <= most
        assert server.calls == ["write"]

    def test_without_a_fallback_it_takes_none(self, open_manager: Any, store: Store, server: Server) -> None:
        manager = open_manager(backends={"main": server, "store": store}, backend="main")
        manager.set(NAME, "1")
        assert store.asked == []


def test_an_entry_shows_no_value() -> None:
    one = Entry(
        id="i",
        place=Place(backend="main", target="t", name=SecretName(NAME)),
        change="set",
        value=SecretValue("s3cret"),
        expected=None,
        queued=0.0,
        principal="p",
    )
    assert "s3cret" not in repr(one)


def test_a_write_that_fails_while_credentials_change_is_bound_to_where_it_was_sent(opened: Any, server: Server) -> None:
    manager = opened()
    manager.set(NAME, "1")
    before = server.target()
    server.down = "lost"
    server.before = lambda: setattr(server, "address", "memory:elsewhere")
    manager.set(NAME, "2")
    assert entry(manager).target == before
