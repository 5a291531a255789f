"""The cache by itself: entries, statistics, single flight by name, bounded size."""

from __future__ import annotations

import gc
import threading
import weakref

from datetime import UTC, datetime
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.builtin.policies import TtlPolicy
from strongroom.builtin.settings import TtlSettings
from strongroom.cache.cache import Cache
from strongroom.cache.entries import Entry
from strongroom.cache.flights import Flight
from strongroom.contracts import CachePolicy, Lifetime, Previous, StoreRequest
from strongroom.errors import PluginError, SecretNotFoundError
from strongroom.model import Secret, SecretName, SecretValue
from strongroom.testing import FakeClock, in_forked_child, in_threads


def make_cache(clock: FakeClock, *, max_entries: int = 10, policy: CachePolicy | None = None, **times: float) -> Cache:
    policy = policy or TtlPolicy(TtlSettings(**{"ttl": 100.0, "jitter": 0.0, **times}))
    return Cache(policy, max_entries=max_entries, clock=clock, random=lambda: 0.5)


def put(cache: Cache, name: str, flight: Flight[Secret] | None = None, *, version: str | None = None) -> None:
    """Do what a read does that finds a secret."""
    canonical = SecretName(name)
    key = canonical if version is None else (canonical, version)
    secret = Secret(canonical, SecretValue("value of " + name), version or "1", "b", retrieved=datetime.now(UTC))
    joined = flight or cache.join(key)[0]
    cache.store(key, canonical, joined, secret=secret, error=None)
    cache.land(key, joined, secret=secret, error=None)


def put_missing(cache: Cache, name: str) -> None:
    """Do what a read does that finds nothing."""
    error = SecretNotFoundError("there is none", name=name)
    flight, _ = cache.join(name)
    cache.store(name, SecretName(name), flight, secret=None, error=error)
    cache.land(name, flight, secret=None, error=error)


def join_elsewhere(cache: Cache, key: str) -> tuple[Flight[Secret], bool]:
    """Join as another thread does while this one leads."""
    return in_threads(1, lambda _: cache.join(key))[0]


class TestKeeping:
    """What is stored and how it leaves."""

    def test_the_policy_decides_how_long_an_entry_is_fresh_and_how_long_it_may_stand_in(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_stale=50.0)
        put(cache, "a")
        entry = cache.entries["a"]
        assert (entry.fresh_until - clock(), entry.stale_until - clock()) == (100.0, 150.0)

    def test_what_is_over_before_it_begins_is_not_kept(self, clock: FakeClock) -> None:
        cache = make_cache(clock, ttl=0.0)
        put(cache, "a")
        assert cache.kept() == []

    def test_an_answer_not_worth_keeping_still_removes_the_older_one(self, clock: FakeClock) -> None:
        """After 'not found' the value from before must not stand in during an outage."""
        cache = make_cache(clock, negative_ttl=0.0, max_stale=500.0)
        put(cache, "a")
        clock.advance(200)
        put_missing(cache, "a")
        assert cache.kept() == []

    def test_dropping_a_name_drops_its_versions_and_no_other_name(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        put(cache, "a")
        put(cache, "a", version="1")
        put(cache, "a", version="2")
        put(cache, "a/b")
        put(cache, "b", version="1")
        cache.drop(SecretName("a"))
        assert cache.kept() == ["a/b", ("b", "1")]

    @pytest.mark.parametrize("remove", ["drop", "clear", "sweep", "evict", "replace"])
    def test_a_value_that_leaves_the_cache_is_wiped(self, remove: str, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=1)
        put(cache, "a")
        value = cache.entries["a"].secret.value  # type: ignore[union-attr]
        buffer, gone = value._buffer, weakref.ref(value)
        del value
        clock.advance(101)
        {
            "drop": lambda: cache.drop(SecretName("a")),
            "clear": cache.clear,
            "sweep": cache.sweep,
            "evict": lambda: put(cache, "b"),
            "replace": lambda: put(cache, "a"),
        }[remove]()
        gc.collect()
        assert gone() is None
        assert bytes(buffer) == bytes(len(buffer))

    @pytest.mark.parametrize("remove", ["drop", "clear", "evict", "replace", "fork"])
    def test_whoever_still_holds_an_entry_that_has_left_learns_that_it_is_over(
        self, remove: str, clock: FakeClock
    ) -> None:
        """Also who has taken the secret from it a moment before, and looks at its times now."""
        cache = make_cache(clock, max_entries=1, max_stale=500.0)
        put(cache, "a")
        entry = cache.entries["a"]
        assert clock() < entry.quiet_until <= entry.fresh_until < entry.stale_until
        {
            "drop": lambda: cache.drop(SecretName("a")),
            "clear": cache.clear,
            "evict": lambda: put(cache, "b"),
            "replace": lambda: put(cache, "a"),
            "fork": cache.after_fork,
        }[remove]()
        assert entry.secret is None
        assert max(entry.quiet_until, entry.fresh_until, entry.revalidate_until, entry.stale_until) < clock()

    def test_sweeping_removes_what_has_expired_and_nothing_else(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        put(cache, "old")
        clock.advance(60)
        put(cache, "new")
        clock.advance(60)
        assert cache.sweep() == 1
        assert cache.kept() == ["new"]
        assert cache.stats().expirations == 1

    def test_sweeping_keeps_what_may_still_stand_in(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_stale=50.0)
        put(cache, "a")
        clock.advance(149)
        assert cache.sweep() == 0
        clock.advance(1)
        assert cache.sweep() == 1

    def test_the_policy_is_told_what_an_answer_is_and_what_it_replaces(self, clock: FakeClock) -> None:
        asked: list[StoreRequest] = []

        class Curious(CachePolicy):
            def lifetime(self, request: StoreRequest) -> Lifetime:
                asked.append(request)
                return Lifetime(fresh_until=request.now + 100)

        cache = make_cache(clock, policy=Curious())
        put(cache, "a")
        cache.entries["a"].visited = True
        clock.advance(5)
        put(cache, "a")
        put_missing(cache, "a")
        put(cache, "a", version="7")
        assert [(one.found, one.version, one.pinned) for one in asked] == [
            (True, "1", False),
            (True, "1", False),
            (False, None, False),
            (True, "7", True),
        ]
        stored = clock()
        assert [one.previous for one in asked] == [
            None,
            Previous(version="1", stored=stored - 5, used=True),
            Previous(version="1", stored=stored, used=False),
            None,
        ]

    def test_a_policy_that_fails_is_named_as_the_reason(self, clock: FakeClock) -> None:
        class Broken(CachePolicy):
            def lifetime(self, request: StoreRequest) -> Lifetime:
                raise ZeroDivisionError

        cache = make_cache(clock, policy=Broken())
        with pytest.raises(PluginError, match="the cache policy failed with ZeroDivisionError"):
            put(cache, "a")

    def test_a_forked_child_starts_empty_even_if_the_lock_was_held(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        put(cache, "a")
        cache.counters.cell.hits += 1

        def child() -> object:
            cache.after_fork()
            put(cache, "b")
            return cache.kept(), cache.stats().reads

        with cache._lock:
            assert in_forked_child(child) == "(['b'], 0)"


class TestBound:
    """At most so many entries."""

    def test_a_used_entry_survives_an_unused_one(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=3)
        for name in "abc":
            put(cache, name)
        cache.entries["a"].visited = True
        put(cache, "d")
        assert cache.kept() == ["a", "c", "d"]
        put(cache, "e")
        assert cache.kept() == ["a", "d", "e"]
        assert cache.stats().evictions == 2

    def test_a_refreshed_entry_stays_as_long_as_its_readers_have_earned_it(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=3)
        for name in "abc":
            put(cache, name)
        cache.entries["a"].visited = True
        put(cache, "a")
        put(cache, "d")
        assert cache.kept() == ["a", "c", "d"]

    def test_an_entry_that_the_policy_spares_leaves_after_the_others(self, clock: FakeClock) -> None:
        class Sparing(CachePolicy):
            def lifetime(self, request: StoreRequest) -> Lifetime:
                return Lifetime(fresh_until=request.now + 100, spared=3 if request.name == "a" else 0)

        cache = make_cache(clock, max_entries=3, policy=Sparing())
        for name in "abcde":
            put(cache, name)
        assert cache.kept() == ["a", "d", "e"]

    def test_if_all_are_used_one_still_goes(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=3)
        for name in "abc":
            put(cache, name)
            cache.entries[name].visited = True
        put(cache, "d")
        assert len(cache.kept()) == 3
        assert "d" in cache.kept()

    @given(
        steps=st.lists(st.tuples(st.sampled_from(["put", "use", "drop", "missing"]), st.integers(0, 9)), max_size=200)
    )
    def test_the_bound_holds_whatever_happens_and_the_newest_is_there(self, steps: list[tuple[str, int]]) -> None:
        clock = FakeClock()
        cache = make_cache(clock, max_entries=4)
        for step, number in steps:
            name = f"n{number}"
            if step == "use" and name in cache.entries:
                cache.entries[name].visited = True
            elif step == "drop":
                cache.drop(SecretName(name))
                assert name not in cache.entries
            elif step in {"put", "missing"}:
                (put if step == "put" else put_missing)(cache, name)
                assert name in cache.entries
            assert len(cache.entries) <= 4


class TestPinned:
    """What is kept beside the others, with a time of its own."""

    def pin(self, cache: Cache, name: str, left: list[str], *, seconds: float = 1000.0) -> Entry | None:
        key = SecretName(name)
        flight, _ = cache.join(key)
        secret = Secret(key, SecretValue("value of " + name), "1", "b", retrieved=datetime.now(UTC))
        until = cache.clock() + seconds
        entry = cache.pin(key, flight, secret, until=until, on_leaving=lambda: left.append(name))
        cache.land(key, flight, secret=secret, error=None)
        return entry

    def test_it_takes_no_room_and_leaves_for_none(self, clock: FakeClock) -> None:
        cache, left = make_cache(clock, max_entries=2), list[str]()
        for number in range(5):
            self.pin(cache, f"pinned/{number}", left)
        for number in range(5):
            put(cache, f"plain/{number}")
        assert cache.kept() == [*(f"pinned/{n}" for n in range(5)), "plain/3", "plain/4"]
        assert cache.stats().evictions == 3
        assert left == []

    def test_no_policy_says_how_long_it_serves(self, clock: FakeClock) -> None:
        cache = make_cache(clock, ttl=1.0, max_stale=5000.0)
        entry = self.pin(cache, "a", [], seconds=1000.0)
        assert entry is not None
        times = (entry.quiet_until, entry.fresh_until, entry.revalidate_until, entry.stale_until)
        assert times == (clock() + 1000.0,) * 4

    @pytest.mark.parametrize(
        "remove",
        [
            lambda cache, entry: cache.drop(SecretName("a")),
            lambda cache, entry: cache.clear(),
            lambda cache, entry: cache.release("a", entry),
            lambda cache, entry: put(cache, "a"),
            lambda cache, entry: put_missing(cache, "a"),
        ],
    )
    def test_whoever_looks_after_it_hears_once_that_it_has_left(self, clock: FakeClock, remove: Any) -> None:
        cache, left = make_cache(clock), list[str]()
        entry = self.pin(cache, "a", left)
        remove(cache, entry)
        cache.clear()
        assert left == ["a"]
        assert entry is not None
        assert entry.secret is None

    def test_its_end_is_heard_of_too(self, clock: FakeClock) -> None:
        cache, left = make_cache(clock), list[str]()
        self.pin(cache, "a", left)
        assert cache.keeps_beside("a")
        clock.advance(1000.0)
        assert not cache.keeps_beside("a")
        assert cache.sweep() == 1
        assert left == ["a"]

    def test_a_plain_answer_in_its_place_counts_again(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=2)
        put(cache, "b")
        put(cache, "c")
        self.pin(cache, "a", [])
        put(cache, "a")
        assert len(cache.kept()) == 2
        assert "a" in cache.kept()

    def test_one_that_was_dropped_while_it_was_made_is_not_kept(self, clock: FakeClock) -> None:
        cache, left = make_cache(clock), list[str]()
        key = SecretName("a")
        flight, _ = cache.join(key)
        cache.drop(key)
        secret = Secret(key, SecretValue("x"), "1", "b", retrieved=datetime.now(UTC))
        assert cache.pin(key, flight, secret, until=clock() + 9, on_leaving=lambda: left.append("a")) is None
        assert (cache.kept(), left) == ([], [])

    def test_only_the_one_that_is_there_can_be_prolonged_or_released(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        old, new = self.pin(cache, "a", []), self.pin(cache, "a", [])
        assert old is not None
        assert new is not None
        cache.prolong("a", old, clock() + 5000)
        cache.release("a", old)
        assert old.fresh_until == float("-inf")
        assert cache.kept() == ["a"]
        cache.prolong("a", new, clock() + 5000)
        assert new.quiet_until == new.stale_until == clock() + 5000

    def test_a_forked_child_has_none_and_tells_nobody(self, clock: FakeClock) -> None:
        cache, left = make_cache(clock), list[str]()
        self.pin(cache, "a", left)
        cache.after_fork()
        assert (cache.kept(), left) == ([], [])


class TestFlights:
    """One load for all who want the same."""

    def test_the_first_leads_and_the_others_follow(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        flight, leads = cache.join("a")
        assert leads
        assert join_elsewhere(cache, "a") == (flight, False)
        assert join_elsewhere(cache, "b")[1]

    def test_who_leads_and_asks_again_does_not_wait_for_itself(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        cache.join("a")
        assert cache.join("a")[1]

    def test_after_landing_the_next_one_leads_anew(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        put(cache, "a")
        assert cache.join("a")[1]

    def test_a_flight_whose_leader_died_without_landing_is_taken_over(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        thread = threading.Thread(target=lambda: cache.join("a"))
        thread.start()
        thread.join()
        assert cache.join("a")[1]

    @pytest.mark.parametrize("change", ["drop", "clear", "abandon"])
    def test_what_changes_during_a_load_wins_over_its_answer(self, change: str, clock: FakeClock) -> None:
        cache = make_cache(clock)
        flight, _ = cache.join("a")
        {
            "drop": lambda: cache.drop(SecretName("a")),
            "clear": cache.clear,
            "abandon": lambda: cache.abandon("a"),
        }[change]()
        newer, leads = cache.join("a")
        put(cache, "a", flight)
        assert cache.kept() == []
        assert leads
        assert join_elsewhere(cache, "a") == (newer, False)

    def test_dropping_a_name_makes_a_load_of_its_versions_obsolete(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        flight, _ = cache.join((SecretName("a"), "1"))
        cache.drop(SecretName("a"))
        put(cache, "a", flight, version="1")
        assert cache.kept() == []


class TestSignals:
    """A signal's handler may read while its own thread is inside the cache."""

    @pytest.mark.parametrize("by", ["a", "b"])
    def test_every_operation_can_be_done_within_another(self, by: str, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=2)
        done = threading.Event()

        def work() -> None:
            put(cache, "a")
            with cache._lock:
                put(cache, by)
                put_missing(cache, by)
                cache.join(SecretName(by))
                cache.abandon(by)
                cache.drop(SecretName(by))
                cache.stats()
                cache.sweep()
                cache.kept()
                cache.names()
                cache.clear()
            done.set()

        threading.Thread(target=work, daemon=True).start()
        assert done.wait(10), "it waits for a lock that its own thread holds"

    def test_a_read_while_its_own_thread_is_in_here_waits_for_no_other_thread(self, clock: FakeClock) -> None:
        """That one may be about to come in here."""
        cache = make_cache(clock)
        flight, _ = cache.join("a")

        def read() -> bool:
            with cache._lock:
                own, leading = cache.join("a")
                cache.land("a", own, secret=None, error=None)
                return leading

        assert in_threads(1, lambda _: read()) == [True]
        assert not flight.done.is_set()
        assert in_threads(1, lambda _: cache.join("a")[1]) == [True]

    def test_waiting_for_a_load_within_waiting_for_it_ends(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        flight, _ = cache.join("a")
        done = threading.Event()

        def follow() -> None:
            with flight.done._cond:
                flight.done.wait(10)
            done.set()

        threading.Thread(target=follow, daemon=True).start()
        cache.land("a", flight, secret=None, error=None)
        assert done.wait(10)

    def test_a_change_while_an_answer_is_being_stored_wins_over_it(self, clock: FakeClock) -> None:
        cache = make_cache(clock)

        class Interrupted(dict[Any, Any]):
            def __setitem__(self, key: Any, entry: Any) -> None:
                cache.drop(SecretName("a"))
                super().__setitem__(key, entry)

        cache._sieve._entries = cache.entries = Interrupted()
        put(cache, "a")
        assert cache.kept() == []

    def test_the_bound_holds_even_if_the_hand_has_lost_an_entry(self, clock: FakeClock) -> None:
        cache = make_cache(clock, max_entries=3)
        for name in "abc":
            put(cache, name)
        cache._sieve.clear()
        for name in "def":
            put(cache, name)
            assert name in cache.kept()
            assert len(cache.kept()) == 3

    def test_a_handler_that_reads_at_any_moment_hangs_nothing(self, run_program: Any) -> None:
        done = run_program(
            """
            import random, signal, strongroom, threading, time
            from strongroom.builtin.memory import MemoryBackend
            from strongroom.errors import AuditError, SecretNotFoundError
            from strongroom.testing import MemorySink

            manager = strongroom.open(
                {"audit": "none", "cache": {"ttl": "0s"}}, backends={"memory": MemoryBackend()}, sinks=(MemorySink(),)
            )
            count = 0
            def read(name):
                try: manager.get(name)
                except (AuditError, SecretNotFoundError): pass
            def handle(*_):
                global count
                count += 1
                read("b")
                signal.setitimer(signal.ITIMER_REAL, random.uniform(5e-5, 3e-4))
            signal.signal(signal.SIGALRM, handle)
            signal.setitimer(signal.ITIMER_REAL, 1e-4)
            end = time.monotonic() + 2
            while time.monotonic() < end: read("a")
            signal.setitimer(signal.ITIMER_REAL, 0)
            print("done", count > 100)
            """
        )
        assert done.stdout == "done True\n"


class TestStatistics:
    """Counts take no lock and lose nothing."""

    def test_counts_of_many_threads_add_up_after_they_have_ended(self, clock: FakeClock) -> None:
        cache = make_cache(clock)

        def count(number: int) -> None:
            for _ in range(2000):
                cell = cache.counters.cell
                cell.hits += 1
                cell.errors += number % 2
                cache.stats() if cell.hits % 500 == 0 else None

        for _ in range(3):
            in_threads(8, count)
        stats = cache.stats()
        assert (stats.hits, stats.errors, stats.reads) == (3 * 8 * 2000, 3 * 4 * 2000, 3 * 12 * 2000)
        assert len(cache._cells) < 24  # cells of dead threads do not pile up

    def test_ages_and_lives_are_distributions(self, clock: FakeClock) -> None:
        cache = make_cache(clock)
        put(cache, "old")
        clock.advance(95)
        put(cache, "new")
        stats = cache.stats()
        assert stats.ages == {"1": 1, "10": 1, "60": 1, "300": 2, "3600": 2, "inf": 2}
        assert stats.lives == {"1": 0, "10": 1, "60": 1, "300": 2, "3600": 2, "inf": 2}
        clock.advance(10)
        assert cache.stats().lives["inf"] == 1

    def test_the_hit_rate_is_what_the_cache_answered(self, clock: FakeClock) -> None:
        cache: Any = make_cache(clock)
        assert cache.stats().hit_rate == 0.0
        cell = cache.counters.cell
        cell.hits, cell.negative, cell.stale, cell.misses, cell.errors = 4, 1, 1, 3, 1
        assert cache.stats().hit_rate == 0.6
