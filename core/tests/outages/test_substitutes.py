"""Reads in an outage: what is cached, copies in the fallback store, and writes that wait."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time

from datetime import timedelta
from typing import Any

import pytest

from strongroom import Freshness, SecretManager, SecretName, SecretValue
from strongroom.contracts import WriteRequest
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.testing import FakeClock, in_forked_child, in_threads

NAME = "db/password"
TTL = {"policy": "ttl", "ttl": "100s", "jitter": 0, "negative_ttl": "5s"}
WITH_STALE = TTL | {"max_stale": "1000s"}
OUTAGE = BackendUnavailableError("no answer", code="timeout")


@pytest.fixture
def resilience() -> dict[str, Any]:
    return {"keep_copy": True, "copy_max_age": "1h"}


@pytest.fixture
def open_with(open_manager: Any, backend: Any, store: Any, resilience: dict[str, Any]) -> Any:
    """A function that opens a manager on the backend ``main`` with the fallback store."""

    def open_one(cache: dict[str, Any] = TTL, **options: Any) -> SecretManager:
        opened: SecretManager = open_manager(
            **(
                {
                    "backends": {"main": backend, "store": store},
                    "backend": "main",
                    "fallback": "store",
                    "cache": cache,
                    "resilience": resilience,
                }
                | options
            )
        )
        return opened

    return open_one


@pytest.fixture
def manager(open_with: Any) -> SecretManager:
    made: SecretManager = open_with()
    return made


def learn(manager: SecretManager, *names: str) -> None:
    """Read names, and have their copies written."""
    for name in names or (NAME,):
        manager.get(name)
    manager.flush()


def break_down(manager: SecretManager, backend: Any) -> None:
    """Let a backend fail until it is known to be out."""
    backend.error = OUTAGE
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            manager.get("no/copy")


class TestCopies:
    def test_a_copy_answers_when_the_backend_does_not(
        self, manager: SecretManager, backend: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        backend.error = OUTAGE
        clock.advance(300)
        found = manager.get(NAME)
        assert (found.reveal_text(), found.freshness, found.age) == ("s3cret", Freshness.FALLBACK, 300)

    def test_a_new_process_reads_them_in_an_outage_that_it_was_born_into(
        self, open_with: Any, backend: Any, clock: FakeClock
    ) -> None:
        first = open_with()
        first.get(NAME)
        # Closing it writes what waits.
        first.close()
        backend.error = OUTAGE
        clock.advance(60)
        found = open_with().get(NAME)
        assert (found.freshness, found.age) == (Freshness.FALLBACK, 60)

    def test_a_copy_that_is_too_old_is_an_outage(self, manager: SecretManager, backend: Any, clock: FakeClock) -> None:
        learn(manager)
        backend.error = OUTAGE
        clock.advance(3599)
        assert manager.get(NAME).age == 3599
        clock.advance(1)
        with pytest.raises(BackendUnavailableError) as caught:
            manager.get(NAME)
        assert caught.value.lasted is not None

    def test_the_error_says_how_long_the_outage_lasts(
        self, manager: SecretManager, backend: Any, clock: FakeClock
    ) -> None:
        break_down(manager, backend)
        clock.advance(1)
        with pytest.raises(BackendUnavailableError, match="out of reach for 1 s") as caught:
            manager.get("no/copy")
        assert caught.value.lasted == 1

    def test_what_is_cached_comes_first(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        backend.error = OUTAGE
        clock.advance(200)
        found = manager.get(NAME)
        assert (found.freshness, found.age) == (Freshness.STALE, 200)
        clock.advance(1000)
        found = manager.get(NAME)
        assert (found.freshness, found.age) == (Freshness.FALLBACK, 1200)

    def test_a_healthy_read_does_not_wait_for_its_copy(self, manager: SecretManager, store: Any) -> None:
        go_on = threading.Event()
        store.before = lambda operation: operation != "keep_copies" or go_on.wait(10)
        try:
            assert manager.get(NAME).freshness is Freshness.FRESH
            assert store.count("recall") == 0
        finally:
            go_on.set()

    def test_only_what_is_to_have_one_has_one(self, open_with: Any, backend: Any, make_backend: Any) -> None:
        manager = open_with(resilience={"names": {"db/**": {"keep_copy": True}}})
        manager.set("other/one", "1")
        learn(manager, NAME, "other/one")
        manager.invalidate()
        backend.error = OUTAGE
        assert manager.get(NAME).freshness is Freshness.FALLBACK
        with pytest.raises(BackendUnavailableError):
            manager.get("other/one")

    def test_a_replica_s_answer_is_no_copy(
        self, manager: SecretManager, backend: Any, store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = backend.read
        monkeypatch.setattr(backend, "read", lambda request: read(request).replace(place="elsewhere"))
        learn(manager)
        assert store.count("keep_copies") == 0

    def test_an_older_version_is_no_copy(self, manager: SecretManager, store: Any) -> None:
        version = manager.set(NAME, "new").version
        before = store.count("keep_copies")
        assert manager.get(NAME, version="1").reveal_text() == "s3cret"
        manager.flush()
        assert (version, store.count("keep_copies")) == ("2", before)

    def test_the_current_version_may_be_asked_for_by_its_number(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        backend.error = OUTAGE
        assert manager.get(NAME, version="1").freshness is Freshness.FALLBACK
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME, version="0")

    def test_a_backend_that_cannot_say_whose_secrets_it_has_gets_no_copies(
        self, manager: SecretManager, backend: Any, store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(backend, "target", lambda: None)
        learn(manager)
        backend.error = OUTAGE
        manager.invalidate()
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)
        assert store.count("keep_copies") == 0

    def test_a_field_of_a_copy_is_marked_as_the_copy_is(
        self, manager: SecretManager, backend: Any, clock: FakeClock
    ) -> None:
        manager.set("db/login", '{"user": "app"}')
        learn(manager, "db/login")
        backend.error = OUTAGE
        clock.advance(200)
        found = manager.get("db/login", field="user")
        assert (found.reveal_text(), found.freshness, found.age) == ("app", Freshness.FALLBACK, 200)

    def test_several_names_are_each_marked(self, manager: SecretManager, backend: Any, clock: FakeClock) -> None:
        manager.set("a", "1")
        learn(manager, NAME, "a")
        backend.error = OUTAGE
        clock.advance(150)
        batch = manager.get_many([NAME, "a", "b"])
        assert {name: (one.freshness, one.age) for name, one in batch.found.items()} == {
            NAME: (Freshness.FALLBACK, 150),
            "a": (Freshness.FALLBACK, 150),
        }
        assert isinstance(batch.errors["b"], BackendUnavailableError)


class TestScope:
    def test_two_backends_with_the_same_names_never_mix(
        self, open_with: Any, make_backend: Any, store: Any, clock: FakeClock
    ) -> None:
        seeds = ({"a/x": "1", "a/b/x": "2"}, {"a/x": "3", "a/b/x": "4"})
        made = [make_backend(seed) for seed in seeds]

        def values(manager: SecretManager) -> list[str]:
            return [manager.get(name).reveal_text() for name in ("a/x", "a/b/x")]

        def open_two(default: str) -> SecretManager:
            backends = {"one": made[0], "two": made[1], "store": store}
            opened: SecretManager = open_with(backends=backends, backend=default)
            return opened

        for default in ("one", "two"):
            learn(open_two(default), "a/x", "a/b/x")
        for backend in made:
            backend.error = OUTAGE
        assert values(open_two("one")) == ["1", "2"]
        assert values(open_two("two")) == ["3", "4"]

    def test_another_place_under_the_same_name_has_no_copies(
        self, open_with: Any, make_backend: Any, store: Any
    ) -> None:
        learn(open_with())
        other = make_backend({NAME: "another's"})
        other.error = OUTAGE
        with pytest.raises(BackendUnavailableError):
            open_with(backends={"main": other, "store": store}).get(NAME)


class TestGone:
    @pytest.mark.parametrize(
        "error", [SecretNotFoundError("gone"), SecretDeletedError("gone"), AccessDeniedError("no")]
    )
    @pytest.mark.parametrize("dropping", ["works", "fails"])
    def test_what_was_seen_gone_or_denied_has_no_copy_any_more(
        self, error: StrongroomError, dropping: str, manager: SecretManager, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        clock.advance(200)
        backend.error = error
        store.broken = {"drop_copies"} if dropping == "fails" else set()
        with pytest.raises(type(error)):
            manager.get(NAME)
        backend.error = OUTAGE
        clock.advance(200)
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_dropping_is_tried_again_and_lasts(
        self, manager: SecretManager, open_with: Any, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        clock.advance(200)
        backend.error, store.broken = SecretNotFoundError("gone"), {"drop_copies"}
        with pytest.raises(SecretNotFoundError):
            manager.get(NAME)
        store.broken = set()
        manager.close()
        backend.error = OUTAGE
        with pytest.raises(BackendUnavailableError):
            open_with().get(NAME)

    @pytest.mark.parametrize(
        "error",
        [AuthenticationError("no"), VersionConflictError("no", expected="1", found="2"), StrongroomError("TLS")],
    )
    def test_nothing_but_an_outage_opens_the_way(
        self, error: StrongroomError, open_with: Any, backend: Any, clock: FakeClock
    ) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        clock.advance(200)
        backend.error = error
        with pytest.raises(type(error)):
            manager.get(NAME)

    def test_a_copy_from_when_they_were_kept_is_dropped_with_its_secret(
        self, manager: SecretManager, open_with: Any, backend: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        without = open_with(resilience={})
        backend.error = SecretNotFoundError("gone")
        with pytest.raises(SecretNotFoundError):
            without.get(NAME)
        backend.error = OUTAGE
        with pytest.raises(BackendUnavailableError):
            open_with().get(NAME)

    @pytest.mark.parametrize(
        "look",
        [
            lambda manager: manager.set(NAME, "ours", expect_version="1"),
            lambda manager: manager.rotate(NAME),
            lambda manager: manager.versions(NAME),
        ],
        ids=["set", "rotate", "versions"],
    )
    def test_what_was_seen_gone_by_the_way_has_no_copy_any_more(
        self, look: Any, manager: SecretManager, open_with: Any, backend: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        backend.error = SecretNotFoundError("gone")
        with pytest.raises(SecretNotFoundError):
            look(manager)
        backend.error = OUTAGE
        for reader in (manager, open_with()):
            with pytest.raises(BackendUnavailableError):
                reader.get(NAME)

    def test_what_somebody_else_has_changed_has_no_copy_any_more(
        self, manager: SecretManager, open_with: Any, backend: Any
    ) -> None:
        learn(manager)
        backend.write(WriteRequest(name=SecretName(NAME), value=SecretValue("theirs")))
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "ours", expect_version="1")
        backend.error = OUTAGE
        for reader in (manager, open_with()):
            with pytest.raises(BackendUnavailableError):
                reader.get(NAME)

    def test_a_wrong_guess_in_an_outage_costs_no_copy(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        break_down(manager, backend)
        waiting = manager.set(NAME, "ours").queued
        assert waiting is not None
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "again", expect_version="7")
        manager.journal.drop(waiting)
        assert manager.get(NAME).reveal_text() == "s3cret"

    @pytest.mark.parametrize("change", ["set", "delete"])
    def test_our_own_change_is_the_copy_s_too(
        self, change: str, manager: SecretManager, open_with: Any, backend: Any
    ) -> None:
        learn(manager)
        if change == "set":
            assert manager.set(NAME, "new").copy_failed == ""
        else:
            assert manager.delete(NAME).copy_failed == ""
        backend.error = OUTAGE
        if change == "set":
            assert open_with().get(NAME).reveal_text() == "new"
        else:
            with pytest.raises(BackendUnavailableError):
                open_with().get(NAME)

    def test_a_copy_that_could_not_be_renewed_is_told_and_not_used(
        self, manager: SecretManager, backend: Any, store: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        learn(manager)
        store.broken = {"keep_copies"}
        caplog.clear()
        assert manager.set(NAME, "new").copy_failed
        # Whoever made the change has been told, and once is enough.
        assert caplog.messages == []
        backend.error = OUTAGE
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_a_copy_that_nobody_waits_for_is_warned_of(
        self, manager: SecretManager, backend: Any, store: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        learn(manager)
        store.broken = {"drop_copies"}
        backend.error = SecretNotFoundError("gone")
        with pytest.raises(SecretNotFoundError):
            manager.refresh(NAME)
        assert [f"the copy of {NAME} could not be dropped" in one for one in caplog.messages] == [True]


class TestNamesThatMustBePresent:
    @pytest.fixture
    def resilience(self) -> dict[str, Any]:
        return {"keep_copy": True, "names": {"db/**": {"max_stale": "0s"}, "b/**": {"max_stale": "150s"}}}

    def test_neither_what_is_cached_nor_a_copy_stands_in(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        clock.advance(100)
        for calls in ([*["read"]] * 3, []):
            backend.error = OUTAGE
            backend.calls.clear()
            for _ in range(3):
                with pytest.raises(BackendUnavailableError):
                    manager.get(NAME)
            # When the backend is known to be out, nothing is served straight from the cache either.
            assert backend.calls == calls

    def test_a_limit_holds_for_both(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE)
        manager.set("b/x", "1")
        learn(manager, "b/x")
        backend.error = OUTAGE
        clock.advance(249)
        assert manager.get("b/x").freshness is Freshness.STALE
        clock.advance(1)
        with pytest.raises(BackendUnavailableError):
            manager.get("b/x")


class TestStraightFromTheCache:
    def test_a_known_outage_costs_no_call(self, open_with: Any, backend: Any, store: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        break_down(manager, backend)
        clock.advance(100)
        # The first one looks whether a write waits.
        manager.get(NAME)
        backend.calls.clear()
        store.calls.clear()
        found = [manager.get(NAME) for _ in range(10)]
        assert {one.freshness for one in found} == {Freshness.STALE}
        assert (backend.calls, store.calls) == ([], [])

    def test_a_copy_is_looked_up_once(self, manager: SecretManager, backend: Any, store: Any, clock: FakeClock) -> None:
        learn(manager)
        break_down(manager, backend)
        clock.advance(200)
        first = manager.get(NAME)
        store.calls.clear()
        backend.calls.clear()
        clock.advance(0.5)
        again = manager.get(NAME)
        assert (store.calls, backend.calls) == ([], [])
        assert (first.freshness, again.freshness) == (Freshness.FALLBACK, Freshness.FALLBACK)
        assert (first.age, again.age) == (200, 200.5)

    def test_it_is_looked_up_again_a_minute_later(
        self, manager: SecretManager, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        break_down(manager, backend)
        clock.advance(100)
        manager.get(NAME)
        clock.advance(61)
        store.calls.clear()
        assert manager.get(NAME).age == 161
        assert store.count("recall") == 1

    def test_a_copy_is_not_served_once_the_backend_answers(
        self, manager: SecretManager, backend: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        break_down(manager, backend)
        clock.advance(200)
        assert manager.get(NAME).freshness is Freshness.FALLBACK
        backend.error = None
        clock.advance(5)
        backend.calls.clear()
        assert manager.get(NAME).freshness is Freshness.FRESH
        assert backend.calls == ["read"]

    def test_detectors_still_judge(self, open_with: Any, watched: Any, backend: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE, anomaly=[{"type": "watch"}])
        learn(manager)
        break_down(manager, backend)
        clock.advance(100)
        watched.seen.clear()
        for _ in range(3):
            manager.get(NAME)
        assert [access.name for access in watched.seen] == [NAME] * 3

    @pytest.mark.parametrize(("cache", "source"), [(WITH_STALE, "stale"), (TTL, "fallback")])
    def test_each_is_recorded_and_counted_as_what_it_is(
        self, cache: dict[str, Any], source: str, open_with: Any, backend: Any, sink: Any, clock: FakeClock
    ) -> None:
        manager = open_with(cache)
        learn(manager)
        break_down(manager, backend)
        clock.advance(100)
        for _ in range(4):
            manager.get(NAME)
        manager.flush()
        events = [event for event in sink.named("get") if event.key == NAME][1:]
        assert [(one.source, one.cache_hit, one.result, one.version) for one in events] == [
            (source, True, "ok", "1")
        ] * 4
        stats = manager.stats()
        assert (stats.stale_hits, stats.fallback_hits) == ((4, 0) if source == "stale" else (0, 4))
        assert stats.reads == stats.stale_hits + stats.fallback_hits + stats.misses + stats.errors == 8

    def test_health_tells_the_age_of_the_oldest(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        break_down(manager, backend)
        clock.advance(250)
        manager.get(NAME)
        (main,) = [part for part in manager.health().parts if part.name == "main"]
        assert main.condition is not None
        assert main.condition.oldest_stale == 250


class TestRefresh:
    def test_it_never_returns_a_substitute(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        backend.error = OUTAGE
        for _ in range(5):
            with pytest.raises(BackendUnavailableError):
                manager.refresh(NAME)
        assert manager.get(NAME).freshness is Freshness.CACHED

    def test_who_joins_it_gets_what_may_stand_in(
        self, open_with: Any, backend: Any, clock: FakeClock, gate: Any
    ) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        clock.advance(150)
        backend.error = OUTAGE
        backend.before = lambda _: gate.hold()

        def read(number: int) -> Any:
            if number == 0:
                with pytest.raises(BackendUnavailableError):
                    manager.refresh(NAME)
                return None
            gate.wait_for_arrival()
            threading.Timer(0.1, gate.open).start()
            return manager.get(NAME)

        _, found = in_threads(2, read)
        assert (found.freshness, found.age) == (Freshness.STALE, 150)
        assert backend.calls.count("read") == 2

    def test_a_background_refresh_keeps_no_substitute(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        backend.error = OUTAGE
        batch = manager.refresh_all()
        assert isinstance(batch.errors[NAME], BackendUnavailableError)
        assert manager.get(NAME).freshness is Freshness.CACHED


class TestWritesThatWait:
    def test_reads_give_the_newest_accepted_value(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        backend.error = OUTAGE
        for value in ("2", "3"):
            queued = manager.set(NAME, value)
            found = manager.get(NAME)
            assert (found.reveal_text(), found.version, found.freshness) == (value, queued.version, Freshness.FALLBACK)
        assert manager.get_many([NAME]).found[NAME].reveal_text() == "3"
        assert manager.prefetch(NAME).found[NAME].reveal_text() == "3"

    def test_what_is_deleted_is_gone(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        backend.error = OUTAGE
        manager.delete(NAME)
        with pytest.raises(SecretDeletedError, match="journal"):
            manager.get(NAME)
        assert isinstance(manager.get_many([NAME]).errors[NAME], SecretDeletedError)
        stats = manager.stats()
        assert (stats.fallback_hits, stats.negative_hits) == (2, 0)

    def test_nothing_of_it_stays_in_the_cache(self, manager: SecretManager, backend: Any) -> None:
        backend.error = OUTAGE
        manager.set("new", "1")
        manager.get("new")
        assert "new" not in manager._cache.entries

    def test_after_it_is_made_the_backend_answers(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        backend.error = OUTAGE
        manager.set(NAME, "2")
        manager.get(NAME)
        backend.error = None
        manager.journal.replay()
        found = manager.get(NAME)
        assert (found.reveal_text(), found.version, found.freshness) == ("2", "2", Freshness.FRESH)

    def test_refresh_gives_the_backend_s_answer_and_keeps_nothing(self, manager: SecretManager, backend: Any) -> None:
        learn(manager)
        backend.error = OUTAGE
        manager.set(NAME, "2")
        backend.error = None
        assert manager.refresh(NAME).reveal_text() == "s3cret"
        assert manager.get(NAME).reveal_text() == "2"

    def test_another_process_sees_it_a_second_later(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        first, second = open_with(WITH_STALE), open_with(WITH_STALE)
        for manager in (first, second):
            learn(manager)
        for manager in (first, second):
            break_down(manager, backend)
        clock.advance(100)
        assert second.get(NAME).freshness is Freshness.STALE
        first.set(NAME, "2")
        clock.advance(1)
        assert [one.get(NAME).reveal_text() for one in (first, second)] == ["2", "2"]

    def test_what_was_cached_before_does_not_come_back(self, open_with: Any, backend: Any, clock: FakeClock) -> None:
        first, second = open_with(WITH_STALE, resilience={}), open_with(WITH_STALE, resilience={})
        for manager in (first, second):
            learn(manager)
        clock.advance(100)
        backend.error = OUTAGE
        first.set(NAME, "2")
        assert second.get(NAME).reveal_text() == "2"
        backend.error = None
        first.journal.replay()
        backend.error = OUTAGE
        clock.advance(2)
        with pytest.raises(BackendUnavailableError):
            second.get(NAME)

    def test_a_name_of_which_none_waits_is_served_from_the_cache(
        self, open_with: Any, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        break_down(manager, backend)
        manager.set("other", "1")
        clock.advance(100)
        manager.get(NAME)
        store.calls.clear()
        for _ in range(5):
            assert manager.get(NAME).freshness is Freshness.STALE
        assert store.calls == []


class TestAStoreThatFails:
    def test_a_backend_that_answers_is_enough(self, manager: SecretManager, store: Any) -> None:
        store.broken = {"keep_copies", "drop_copies", "recall", "journal_status"}
        assert manager.get(NAME).freshness is Freshness.FRESH
        with pytest.raises(SecretNotFoundError):
            manager.get("none")

    def test_in_an_outage_it_is_as_if_there_were_none(
        self, open_with: Any, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        manager = open_with(WITH_STALE)
        learn(manager)
        store.broken = {"recall", "journal_status"}
        break_down(manager, backend)
        clock.advance(100)
        assert manager.get(NAME).freshness is Freshness.STALE
        store.calls.clear()
        assert manager.get(NAME).freshness is Freshness.STALE
        assert store.calls == []
        clock.advance(1000)
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_one_that_hangs_holds_up_the_first_read_only(
        self, manager: SecretManager, backend: Any, store: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        here = threading.current_thread()
        held_up: list[str] = []

        def hang(request: Any) -> Any:
            if threading.current_thread() is here:
                held_up.append(type(request).__name__)
                clock.advance(5)
            raise BackendUnavailableError("no answer from the store", code="timeout")

        for operation in ("journal_status", "recall", "keep_copies", "drop_copies"):
            monkeypatch.setattr(store, operation, hang)
        for name in (NAME, "a/x", "b/y"):
            with pytest.raises(SecretNotFoundError):
                manager.get(f"none/{name}")
            clock.advance(60)
            assert manager.refresh(NAME).freshness is Freshness.FRESH
            assert manager.get_many([f"none/{name}/{number}" for number in range(3)]).found == {}
        assert held_up == ["JournalStatusRequest"]

    def test_what_was_seen_gone_while_it_hangs_has_no_copy_afterwards(
        self, manager: SecretManager, backend: Any, store: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        learn(manager)
        clock.advance(200)

        def hang(request: Any) -> Any:
            clock.advance(5)
            raise BackendUnavailableError("no answer from the store", code="timeout")

        with monkeypatch.context() as hanging:
            for operation in ("journal_status", "recall", "drop_copies"):
                hanging.setattr(store, operation, hang)
            backend.error = SecretNotFoundError("gone")
            with pytest.raises(SecretNotFoundError):
                manager.get(NAME)
        backend.error = OUTAGE
        clock.advance(200)
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_what_is_read_past_a_journal_that_fails_is_not_kept_over_an_accepted_write(
        self, manager: SecretManager, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        backend.error = OUTAGE
        assert manager.set(NAME, "newer").queued
        backend.error = None
        store.broken = {"recall", "journal_status"}
        clock.advance(60)
        assert manager.get(NAME).reveal_text() == "s3cret"
        store.broken = set()
        clock.advance(2)
        assert manager.get(NAME).reveal_text() == "newer"


class TestClocks:
    def test_a_clock_that_was_set_back_does_not_keep_newer_copies_away(
        self, manager: SecretManager, open_with: Any, backend: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        clock.set_wall(clock.now() - timedelta(hours=2))
        backend.write(WriteRequest(name=SecretName(NAME), value=SecretValue("newer")))
        clock.advance(200)
        learn(manager)
        backend.error = OUTAGE
        assert open_with().get(NAME).reveal_text() == "newer"

    def test_a_copy_of_which_nobody_can_say_how_old_it_is_is_not_used_where_that_matters(
        self, open_with: Any, backend: Any, clock: FakeClock
    ) -> None:
        resilience = {"keep_copy": True, "names": {"db/**": {"max_stale": "1h"}}}
        manager = open_with(resilience=resilience)
        manager.set("a/b", "free")
        learn(manager, NAME, "a/b")
        clock.set_wall(clock.now() - timedelta(seconds=10))
        backend.error = OUTAGE
        clock.advance(5)
        other = open_with(resilience=resilience)
        with pytest.raises(BackendUnavailableError):
            other.get(NAME)
        assert other.get("a/b").freshness is Freshness.FALLBACK

    def test_what_another_process_copies_late_is_not_used_by_who_has_seen_it_gone(
        self, manager: SecretManager, open_with: Any, backend: Any, store: Any, clock: FakeClock
    ) -> None:
        other, keep = open_with(), store.keep_copies
        late: list[Any] = []
        store.keep_copies = late.append
        learn(other)
        clock.advance(1)
        manager.delete(NAME)
        for request in late:
            keep(request)
        backend.error = OUTAGE
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)


class TestForksAndExits:
    def test_a_child_begins_without_the_parent_s_copies_and_reads_them_from_the_store(
        self, manager: SecretManager, backend: Any, clock: FakeClock
    ) -> None:
        learn(manager)
        backend.error = OUTAGE
        clock.advance(150)

        def in_child() -> object:
            found = manager.get(NAME)
            return found.reveal_text(), found.freshness.value, found.age, len(manager._cache.entries)

        assert in_forked_child(in_child) == "('s3cret', 'fallback', 150.0, 1)"

    @pytest.mark.parametrize("ending", ["manager.close()", "manager.flush()", "pass"])
    def test_a_store_that_hangs_holds_up_the_end_for_a_few_seconds_only(self, ending: str) -> None:
        program = f"""
            import threading, strongroom
            from strongroom.builtin.memory import MemoryBackend

            class Hanging(MemoryBackend):
                keeps_deadlines = False
                def keep_copies(self, request):
                    threading.Event().wait()

            manager = strongroom.open(
                {{"audit": "none", "backend": "main", "fallback": "store", "resilience": {{"keep_copy": True}}}},
                backends={{"main": MemoryBackend(), "store": Hanging()}},
            )
            manager.set("a", "1")
            print(manager.get("a").freshness.value)
            {ending}
        """
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (0, "fresh\n"), done.stderr
        assert time.monotonic() - begun < 40

    def test_what_waits_is_written_when_the_process_ends(self) -> None:
        program = """
            import strongroom
            from strongroom.builtin.memory import MemoryBackend

            class Telling(MemoryBackend):
                def keep_copies(self, request):
                    print(len(request.copies))

            manager = strongroom.open(
                {"audit": "none", "backend": "main", "fallback": "store", "resilience": {"keep_copy": True}},
                backends={"main": MemoryBackend(), "store": Telling()},
            )
            manager._parts.background.close()  # as if its threads had not come to it yet
            manager._parts.backend("main").wrapped.write(strongroom.contracts.WriteRequest(
                name=strongroom.SecretName("a"), value=strongroom.SecretValue("1")))
            manager.get("a")
        """
        done = subprocess.run(
            [sys.executable, "-c", "import strongroom.contracts\n" + textwrap.dedent(program)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
