"""The way of a read through the cache: times, single flight, outages, refreshing."""

from __future__ import annotations

import threading
import time
import weakref

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from strongroom import Freshness, SecretManager, SecretName
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
)
from strongroom.testing import FakeClock, in_threads

NAME = "db/password"
TTL = {"policy": "ttl", "ttl": "100s", "jitter": 0, "negative_ttl": "5s"}
WITH_STALE = TTL | {"max_stale": "1h"}


@pytest.fixture
def manager(open_manager: Any, hooked: Any) -> SecretManager:
    return open_manager(backends={"memory": hooked}, cache=TTL)


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(64) as threads:
        yield threads


def wait_until_followed(manager: SecretManager, name: str, count: int) -> None:
    """Wait until so many threads wait for the load of a name; nothing public tells of them."""
    deadline = time.monotonic() + 10
    while len(manager._cache._flights[SecretName(name)].done._cond._waiters) < count:
        assert time.monotonic() < deadline, "the other readers did not come"
        time.sleep(0.001)


class TestTimes:
    """How long an answer serves."""

    def test_within_its_time_a_value_comes_from_the_cache(self, manager: Any, hooked: Any, clock: FakeClock) -> None:
        assert manager.get(NAME).freshness is Freshness.FRESH
        clock.advance(99)
        assert manager.get(NAME).freshness is Freshness.CACHED
        clock.advance(1)
        assert manager.get(NAME).freshness is Freshness.FRESH
        assert hooked.reads == [NAME, NAME]

    def test_a_thousand_prefetched_names_do_not_expire_at_one_instant(
        self, open_manager: Any, make_hooked: Any, clock: FakeClock
    ) -> None:
        backend = make_hooked({f"n/{number}": "v" for number in range(1000)})
        manager = open_manager(backends={"memory": backend}, cache={"ttl": "300s", "jitter": 0.1})
        assert len(manager.prefetch("n/*").found) == 1000
        assert backend.batches == 10
        clock.advance(285)
        assert 200 < manager.stats().lives["inf"] < 800
        clock.advance(15)
        assert manager.stats().lives["inf"] == 0

    def test_without_a_cache_every_read_asks(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked}, cache={"policy": "none"})
        assert [manager.get(NAME).freshness for _ in range(3)] == [Freshness.FRESH] * 3
        assert len(hooked.reads) == 3

    def test_a_missing_name_is_asked_for_once_per_negative_time(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        for _ in range(1000):
            with pytest.raises(SecretNotFoundError):
                manager.get("absent")
        assert hooked.reads == ["absent"]
        clock.advance(5)
        with pytest.raises(SecretNotFoundError):
            manager.get("absent")
        assert hooked.reads == ["absent", "absent"]
        assert (manager.stats().misses, manager.stats().negative_hits) == (2, 999)

    def test_a_remembered_error_is_a_new_one_each_time(self, manager: Any) -> None:
        """One exception raised twice would gather the tracebacks of both."""
        with pytest.raises(SecretNotFoundError):
            manager.get("absent")
        caught = []
        for _ in range(2):
            with pytest.raises(SecretNotFoundError) as info:
                manager.get("absent")
            caught.append(info.value)
        assert caught[0] is not caught[1]
        assert (caught[0].name, caught[0].code, str(caught[0])) == (caught[1].name, caught[1].code, str(caught[1]))

    def test_without_a_thread_to_remove_what_expires_a_read_succeeds(
        self, manager: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            assert manager.get(NAME).reveal_text() == "s3cret"
        manager.refresh(NAME)
        assert manager._parts._sweeper.is_alive()

    def test_an_expired_value_leaves_the_memory_by_itself(self, open_manager: Any, hooked: Any, clock: Any) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=TTL | {"sweep_every": "10ms"})
        value = manager.get(NAME).value
        gone = threading.Event()
        buffer, _ = value._buffer, weakref.finalize(value, gone.set)
        del value
        clock.advance(100)
        assert gone.wait(10)
        assert bytes(buffer) == bytes(len("s3cret"))


class TestChanges:
    """What is changed through the manager is what the very next read sees."""

    @pytest.mark.parametrize("change", ["set", "rotate", "delete", "invalidate", "invalidate all"])
    def test_the_next_read_sees_it(self, change: str, manager: Any, hooked: Any) -> None:
        assert manager.get(NAME).version == "1"
        {
            "set": lambda: manager.set(NAME, "new"),
            "rotate": lambda: manager.rotate(NAME),
            "delete": lambda: manager.delete(NAME),
            "invalidate": lambda: manager.invalidate(NAME),
            "invalidate all": manager.invalidate,
        }[change]()
        if change == "delete":
            with pytest.raises(SecretDeletedError):
                manager.get(NAME)
        else:
            assert manager.get(NAME).version == ("1" if "invalidate" in change else "2")
        assert hooked.reads[-1] == NAME
        assert len(hooked.reads) >= 2

    def test_creating_a_name_clears_that_it_was_missing(self, manager: Any) -> None:
        with pytest.raises(SecretNotFoundError):
            manager.get("new")
        manager.set("new", "here")
        assert manager.get("new").reveal_text() == "here"

    def test_a_held_secret_does_not_change_with_the_store(self, manager: Any) -> None:
        held = manager.get(NAME)
        manager.set(NAME, "new")
        assert held.reveal_text() == "s3cret"

    def test_versions_are_cached_apart_and_dropped_together(self, manager: Any, hooked: Any) -> None:
        manager.set(NAME, "new")
        assert manager.get(NAME).reveal_text() == "new"
        assert manager.get(NAME, version="1").reveal_text() == "s3cret"
        assert manager.get(NAME, version="1").freshness is Freshness.CACHED
        manager.delete(NAME)
        with pytest.raises(SecretDeletedError):
            manager.get(NAME, version="1")

    @pytest.mark.parametrize("change", ["set", "invalidate", "delete"])
    def test_a_change_during_a_load_wins_over_its_older_answer(
        self, change: str, manager: Any, hooked: Any, gate: Any, pool: Any
    ) -> None:
        hooked.on_read = lambda _: gate.hold()
        reading = pool.submit(manager.get, NAME)
        gate.wait_for_arrival()
        hooked.on_read = None
        if change == "invalidate":
            manager.invalidate(NAME)
        else:
            manager.set(NAME, "new") if change == "set" else manager.delete(NAME)
        gate.open()
        assert reading.result().reveal_text() == "s3cret"
        if change == "delete":
            with pytest.raises(SecretDeletedError):
                manager.get(NAME)
        else:
            assert manager.get(NAME).freshness is Freshness.FRESH
            assert manager.get(NAME).reveal_text() == ("new" if change == "set" else "s3cret")


class TestTogether:
    """Many readers, one load."""

    def test_a_hundred_threads_on_an_expired_name_cause_one_call(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        clock.advance(100)
        hooked.on_read = lambda _: time.sleep(0.05)
        secrets = in_threads(100, lambda _: manager.get(NAME))
        assert {secret.reveal_text() for secret in secrets} == {"s3cret"}
        assert hooked.reads == [NAME, NAME]
        assert manager.stats().reads == 101

    def test_one_name_that_is_stuck_does_not_hold_up_the_others(
        self, open_manager: Any, make_hooked: Any, gate: Any, pool: Any
    ) -> None:
        backend = make_hooked({f"n/{number}": "v" for number in range(50)})
        backend.on_read = lambda request: gate.hold() if request.name == "n/0" else None
        manager = open_manager(backends={"memory": backend})
        stuck = pool.submit(manager.get, "n/0")
        gate.wait_for_arrival()
        assert [manager.get(f"n/{number}").reveal_text() for number in range(1, 50)] == ["v"] * 49
        assert not stuck.done()
        gate.open()
        assert stuck.result().reveal_text() == "v"

    def test_if_the_leader_fails_the_others_get_the_error_and_ask_no_more(
        self, manager: Any, hooked: Any, gate: Any, pool: Any
    ) -> None:
        def fail(_: object) -> None:
            gate.hold()
            raise BackendUnavailableError("no answer")

        hooked.on_read = fail
        readers = [pool.submit(manager.get, NAME) for _ in range(20)]
        gate.wait_for_arrival()
        wait_until_followed(manager, NAME, 19)
        gate.open()
        errors = [reader.exception() for reader in readers]
        assert {type(error) for error in errors} == {BackendUnavailableError}
        assert len({id(error) for error in errors}) == 20
        assert hooked.reads == [NAME]
        assert manager.stats().errors == 20

    def test_if_the_leader_is_killed_somebody_else_leads(self, manager: Any, hooked: Any, gate: Any, pool: Any) -> None:
        def die(_: object) -> None:
            hooked.on_read = None
            gate.hold()
            raise KeyboardInterrupt

        hooked.on_read = die
        leader: Future[object] = Future()
        thread = threading.Thread(target=_run_into, args=(leader, lambda: manager.get(NAME)))
        thread.start()
        gate.wait_for_arrival()
        followers = [pool.submit(manager.get, NAME) for _ in range(5)]
        wait_until_followed(manager, NAME, 5)
        gate.open()
        assert {reader.result(10).reveal_text() for reader in followers} == {"s3cret"}
        assert isinstance(leader.exception(10), KeyboardInterrupt)
        assert manager.stats().reads == 6
        thread.join()

    def test_if_a_batch_is_killed_nobody_waits_for_its_other_names(
        self, open_manager: Any, make_hooked: Any, gate: Any, pool: Any
    ) -> None:
        backend = make_hooked({"a": "1", "b/x": "2"})

        def die(_: object) -> None:
            backend.on_read = None
            gate.hold()
            raise KeyboardInterrupt

        backend.on_read = die
        manager = open_manager(backends={"memory": backend})
        batch: Future[object] = Future()
        stays_alive = threading.Event()
        thread = threading.Thread(
            target=_run_into, args=(batch, lambda: manager.get_many(["a", "b/x"])), kwargs={"then": stays_alive}
        )
        thread.start()
        gate.wait_for_arrival()
        follower = pool.submit(manager.get, "b/x")
        wait_until_followed(manager, "b/x", 1)
        gate.open()
        assert follower.result(10).reveal_text() == "2"
        stays_alive.set()
        thread.join()

    def test_statistics_of_many_threads_add_up(self, open_manager: Any, make_hooked: Any, clock: FakeClock) -> None:
        backend = make_hooked({f"n/{number}": "v" for number in range(10)})
        manager = open_manager(backends={"memory": backend}, cache=TTL)

        def read(number: int) -> None:
            for turn in range(200):
                try:
                    manager.get(f"n/{(turn + number) % 12}")
                except SecretNotFoundError:
                    pass
                if turn % 50 == 49:
                    clock.advance(60)

        in_threads(8, read)
        stats = manager.stats()
        assert stats.reads == 8 * 200
        served = stats.hits + stats.negative_hits + stats.stale_hits + stats.fallback_hits
        assert stats.reads == served + stats.misses + stats.errors
        assert stats.loads == len(backend.reads) <= stats.misses + stats.errors
        assert stats.errors == stats.stale_hits == 0

    @pytest.mark.parametrize("with_sink", [True, False])
    def test_each_read_of_many_threads_is_counted_as_what_it_was(
        self, with_sink: bool, open_manager: Any, make_hooked: Any, clock: FakeClock, sink: Any
    ) -> None:
        backend = make_hooked({f"n/{number}": "v" for number in range(10)})
        tables = {"cache": WITH_STALE, "resilience": {"failures": 1_000_000}}
        manager = open_manager(backends={"memory": backend}, sinks=(sink,) if with_sink else (), **tables)

        def fail_sometimes(request: Any) -> None:
            if "9" in request.name or len(backend.reads) % 3 == 0:
                raise BackendUnavailableError("no answer")

        def read(number: int) -> Counter[str]:
            seen: Counter[str] = Counter()
            for turn in range(300):
                try:
                    seen[manager.get(f"n/{(turn + number) % 12}").freshness.value] += 1
                except StrongroomError as error:
                    seen[error.code] += 1
                if turn % 50 == 49:
                    clock.advance(60)
            return seen

        backend.on_read = fail_sometimes
        seen = sum(in_threads(8, read), Counter())
        stats = manager.stats()
        assert seen.total() == stats.reads == 8 * 300
        assert (stats.hits, stats.stale_hits, stats.errors) == (seen["cached"], seen["stale"], seen["unavailable"])
        assert stats.misses + stats.negative_hits == seen["fresh"] + seen["not_found"]
        assert min(stats.hits, stats.stale_hits, stats.errors, stats.misses, stats.negative_hits) > 0
        if with_sink:
            manager.flush()
            events = sink.named("get")
            assert len({event.id for event in events}) == len(events) == 8 * 300
            assert Counter(event.result for event in events)["unavailable"] == stats.errors
            assert sum(event.cache_hit for event in events) == stats.hits + stats.stale_hits + stats.negative_hits


def _run_into(result: Future[object], action: Callable[[], object], then: threading.Event | None = None) -> None:
    """Do what a thread of an application does that Ctrl-C ends."""
    try:
        result.set_result(action())
    except BaseException as error:
        result.set_exception(error)
    if then is not None:
        then.wait(10)


class TestOutages:
    """Only an outage opens the way to a stale value."""

    def fail(self, hooked: Any, error: StrongroomError | None) -> None:
        def raise_it(_: object) -> None:
            assert error is not None
            raise error.again()

        hooked.on_read = raise_it if error is not None else None

    @pytest.mark.parametrize("code", BackendUnavailableError.codes)
    def test_an_expired_value_stands_in_marked_with_its_age(
        self, code: str, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        clock.advance(200)
        self.fail(hooked, BackendUnavailableError("no answer", code=code))
        secret = manager.get(NAME)
        assert (secret.freshness, secret.age, secret.reveal_text()) == (Freshness.STALE, 200.0, "s3cret")
        assert manager.stats().stale_hits == 1
        self.fail(hooked, None)
        assert manager.get(NAME).freshness is Freshness.FRESH

    def test_a_stale_value_serves_no_longer_than_allowed(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        self.fail(hooked, BackendUnavailableError("no answer"))
        clock.advance(100 + 3599)
        assert manager.get(NAME).freshness is Freshness.STALE
        clock.advance(1)
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_without_permission_nothing_stale_is_served(self, manager: Any, hooked: Any, clock: FakeClock) -> None:
        manager.get(NAME)
        clock.advance(100)
        self.fail(hooked, BackendUnavailableError("no answer"))
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    @pytest.mark.parametrize(
        "error",
        [
            AccessDeniedError("not for you"),
            SecretNotFoundError("none"),
            SecretDeletedError("gone"),
            AuthenticationError("run out"),
            TamperedError("not authentic"),
            BackendError("no trust", code="tls_failed"),
            BackendError("odd"),
        ],
        ids=lambda error: error.code,
    )
    def test_what_is_no_outage_never_gives_a_stale_value(
        self, error: StrongroomError, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        clock.advance(100)
        self.fail(hooked, error)
        with pytest.raises(type(error)) as caught:
            manager.get(NAME)
        assert (caught.value.code, caught.value.name, caught.value.backend) == (error.code, NAME, "memory")

    @pytest.mark.parametrize("negative_ttl", ["5s", "0s"])
    def test_what_was_seen_gone_does_not_come_back_in_an_outage(
        self, negative_ttl: str, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE | {"negative_ttl": negative_ttl})
        manager.get(NAME)
        clock.advance(100)
        self.fail(hooked, SecretNotFoundError("none"))
        with pytest.raises(SecretNotFoundError):
            manager.get(NAME)
        clock.advance(10)
        self.fail(hooked, BackendUnavailableError("no answer"))
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_what_the_backend_has_denied_does_not_come_back_in_an_outage(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        clock.advance(100)
        self.fail(hooked, AccessDeniedError("not for you"))
        with pytest.raises(AccessDeniedError):
            manager.get(NAME)
        clock.advance(1)
        self.fail(hooked, BackendUnavailableError("no answer"))
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_an_error_does_not_replace_a_value_that_is_still_usable(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        clock.advance(100)
        self.fail(hooked, AuthenticationError("run out"))
        with pytest.raises(AuthenticationError):
            manager.get(NAME)
        clock.advance(1)
        self.fail(hooked, BackendUnavailableError("no answer"))
        assert manager.get(NAME).reveal_text() == "s3cret"

    def test_all_who_wait_in_an_outage_get_the_stale_value(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        clock.advance(100)
        self.fail(hooked, BackendUnavailableError("no answer"))
        secrets = in_threads(20, lambda _: manager.get(NAME))
        assert {secret.freshness for secret in secrets} == {Freshness.STALE}
        assert manager.stats().stale_hits == 20


class TestRefreshing:
    """Fetching although the cache holds an answer."""

    def test_a_refresh_goes_to_the_backend_inside_the_time(self, manager: Any, hooked: Any) -> None:
        manager.get(NAME)
        assert manager.refresh(NAME).freshness is Freshness.FRESH
        assert hooked.reads == [NAME, NAME]
        assert manager.get(NAME).freshness is Freshness.CACHED

    def test_a_refresh_in_an_outage_fails_and_keeps_what_is_there(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=WITH_STALE)
        manager.get(NAME)
        TestOutages().fail(hooked, BackendUnavailableError("no answer"))
        with pytest.raises(BackendUnavailableError):
            manager.refresh(NAME)
        assert manager.get(NAME).freshness is Freshness.CACHED

    def test_refreshing_all_fetches_what_is_cached_and_reports_each_failure(self, manager: Any, hooked: Any) -> None:
        manager.get_many([NAME, "db/user"])
        hooked.reads.clear()
        manager.delete("db/user")
        manager.get(NAME, version="1")
        batch = manager.refresh_all()
        assert (set(batch.found), batch.errors) == ({NAME}, {})
        assert hooked.reads == [NAME, NAME]

    def test_refreshing_all_leaves_alone_what_others_may_read(
        self, open_manager: Any, hooked: Any, rule: Any, sink: Any
    ) -> None:
        """Not even that they are cached is shown."""
        manager = open_manager(
            backends={"memory": hooked},
            policies=[rule("tester", "*", "impersonate"), rule("api", "read", names="db/user")],
        )
        manager.get_many([NAME, "db/user"])
        recorded = len(sink.events)
        batch = manager.as_principal("api").refresh_all()
        assert (set(batch.found), batch.errors) == ({"db/user"}, {})
        assert [event.key for event in sink.events[recorded:]] == ["db/user"]

    def test_only_what_one_may_read_one_may_have_forgotten(
        self, open_manager: Any, hooked: Any, rule: Any, sink: Any
    ) -> None:
        manager = open_manager(
            backends={"memory": hooked},
            policies=[rule("tester", "*", "impersonate"), rule("api", "read", names="db/user")],
        )
        manager.get_many([NAME, "db/user"])
        manager.get(NAME, version="1")
        api = manager.as_principal("api")
        with pytest.raises(AccessDeniedError):
            api.invalidate(NAME)
        assert (sink.events[-1].key, sink.events[-1].result) == (NAME, "denied")
        api.invalidate()
        assert manager._cache.kept() == [NAME, (NAME, "1")]
        manager.invalidate()
        assert manager._cache.kept() == []

    def test_forgetting_all_includes_a_load_under_way(self, manager: Any, hooked: Any, gate: Any, pool: Any) -> None:
        hooked.on_read = lambda _: gate.hold()
        reading = pool.submit(manager.get, NAME)
        gate.wait_for_arrival()
        hooked.on_read = None
        manager.invalidate()
        gate.open()
        assert reading.result().reveal_text() == "s3cret"
        assert manager.stats().size == 0

    def test_a_refresh_does_not_wait_for_a_load_under_way(
        self, manager: Any, hooked: Any, gate: Any, pool: Any
    ) -> None:
        hooked.on_read = lambda _: gate.hold()
        stuck = pool.submit(manager.get, NAME)
        gate.wait_for_arrival()
        hooked.on_read = None
        assert manager.refresh(NAME).reveal_text() == "s3cret"
        gate.open()
        assert stuck.result().reveal_text() == "s3cret"
