"""What the cache does not answer: refreshes that nobody waits for, and refusals that are not asked for again."""

from __future__ import annotations

import linecache
import sys
import time

from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import Freshness, SecretName
from strongroom.stages.loads import Load
from strongroom.testing import FakeClock, in_threads
from strongroom.testing.meters import Meters

NAME = "db/password"


def eventually(condition: Callable[[], object]) -> None:
    """Wait until something has happened in the background."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


@pytest.fixture
def windows(distributions: Any) -> dict[str, Any]:
    """A cache table: entries live for 100 s, are refreshed in the last 20, and serve 50 s longer meanwhile."""
    distributions.add(
        "windows-plugin",
        {"strongroom.cache_policies": {"windows": "windows_plugin"}},
        """
        from strongroom.contracts import CachePolicy, CachePolicySpec, Lifetime, Record, Seconds
        from strongroom.hookspecs import hookimpl

        class Settings(Record):
            revalidate: Seconds = 50.0
            stale: Seconds = 0.0

        class Windows(CachePolicy):
            def __init__(self, settings):
                self.settings = settings

            def lifetime(self, request):
                end = request.now + (100 if request.found else 5)
                if not request.found:
                    return Lifetime(fresh_until=end)
                return Lifetime(
                    fresh_until=end,
                    refresh_at=end - 20,
                    revalidate_until=end + self.settings.revalidate,
                    stale_until=end + self.settings.stale,
                )

        @hookimpl
        def strongroom_cache_policies():
            yield CachePolicySpec(name="windows", summary="A test's own.", settings=Settings, open=Windows)
        """,
    )
    return {"policy": "windows"}


@pytest.fixture
def manager(open_manager: Any, hooked: Any, windows: dict[str, Any]) -> SecretManager:
    # The backend is to be asked however often it has failed.
    made = open_manager(backends={"memory": hooked}, cache=windows, resilience={"failures": 1000})
    made.get(NAME)
    return made


def change_elsewhere(hooked: Any, text: str) -> None:
    """Write past the manager, as another program does."""
    from strongroom.contracts import WriteRequest
    from strongroom.model import SecretValue

    hooked.write(WriteRequest(name=SecretName(NAME), value=SecretValue(text)))


def fail(hooked: Any, error: StrongroomError | None) -> None:
    def refuse(_: object) -> None:
        if error is not None:
            raise error.again()

    hooked.on_read = refuse


class TestRefreshAhead:
    """An entry in use is fetched anew before it expires, and nobody waits for it."""

    def test_the_first_reader_late_in_its_life_has_it_fetched_and_gets_the_old_answer_at_once(
        self, manager: Any, hooked: Any, clock: FakeClock, gate: Any
    ) -> None:
        change_elsewhere(hooked, "new")
        hooked.on_read = lambda _: gate.hold()
        clock.advance(79)
        assert manager.get(NAME).reveal_text() == "s3cret"
        assert len(hooked.reads) == 1
        clock.advance(1)
        secret = manager.get(NAME)
        assert (secret.reveal_text(), secret.freshness) == ("s3cret", Freshness.CACHED)
        gate.open()
        eventually(lambda: manager.get(NAME).reveal_text() == "new")
        assert len(hooked.reads) == 2

    def test_many_readers_cause_one_call(self, manager: Any, hooked: Any, clock: FakeClock, gate: Any) -> None:
        hooked.on_read = lambda _: gate.hold()
        clock.advance(90)
        assert set(in_threads(50, lambda _: manager.get(NAME).reveal_text())) == {"s3cret"}
        gate.open()
        eventually(lambda: manager.stats().lives["inf"] == 1 and manager.stats().lives["10"] == 0)
        assert len(hooked.reads) == 2
        assert manager.stats().refreshes == 1

    def test_an_entry_that_nobody_reads_is_not_fetched(self, manager: Any, hooked: Any, clock: FakeClock) -> None:
        clock.advance(99)
        time.sleep(0.05)
        assert len(hooked.reads) == 1

    def test_it_is_recorded_as_an_event_of_its_own_by_the_one_who_caused_it(
        self, manager: Any, sink: Any, clock: FakeClock
    ) -> None:
        reader = manager.as_principal("app")
        reader.get(NAME)
        clock.advance(90)
        reader.get(NAME)
        assert sink.wait_for(lambda _: sink.named("refresh"))
        (event,) = sink.named("refresh")
        assert (event.principal, event.key, event.source, event.result) == ("app", NAME, "backend", "ok")
        manager.flush()
        assert len(sink.named("get")) == 3

    def test_it_is_no_read_in_the_statistics(self, manager: Any, clock: FakeClock) -> None:
        clock.advance(90)
        manager.get(NAME)
        eventually(lambda: manager.stats().refreshes)
        stats = manager.stats()
        assert (stats.reads, stats.hits, stats.misses, stats.loads) == (2, 1, 1, 1)

    @pytest.mark.parametrize(
        "change", [lambda manager: manager.set(NAME, "mine"), lambda manager: manager.invalidate(NAME)]
    )
    def test_a_change_meanwhile_wins_over_its_older_answer(
        self, change: Any, manager: Any, hooked: Any, clock: FakeClock, gate: Any
    ) -> None:
        hooked.on_read = lambda _: gate.hold()
        clock.advance(90)
        manager.get(NAME)
        gate.wait_for_arrival()
        change_elsewhere(hooked, "theirs")
        hooked.on_read = None
        change(manager)
        expected = manager.get(NAME).reveal_text()
        gate.open()
        eventually(lambda: not manager._parts.background._keys)
        assert manager.get(NAME).reveal_text() == expected != "s3cret"

    def test_what_turns_out_to_be_gone_is_gone(self, manager: Any, hooked: Any, clock: FakeClock) -> None:
        from strongroom.contracts import DeleteRequest

        hooked.delete(DeleteRequest(name=SecretName(NAME)))
        clock.advance(90)
        assert manager.get(NAME).reveal_text() == "s3cret"
        eventually(lambda: manager._entries[NAME].secret is None)
        with pytest.raises(SecretDeletedError):
            manager.get(NAME)
        assert manager.stats().failed_refreshes == 0


class TestFailedRefreshes:
    """They keep what is cached, are not repeated at once, and are counted."""

    def test_the_old_answer_stays_and_the_next_try_waits_longer_each_time(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        fail(hooked, BackendUnavailableError("no answer"))
        clock.advance(80)
        calls = []
        for second in range(19):
            before = manager.stats().failed_refreshes
            assert manager.get(NAME).freshness is Freshness.CACHED
            if second in {0, 1, 3, 7, 15}:
                eventually(lambda before=before: manager.stats().failed_refreshes == before + 1)
                calls.append(second)
            eventually(lambda: not manager._parts.background._keys)
            clock.advance(1)
        assert calls == [0, 1, 3, 7, 15]
        assert len(hooked.reads) == 1 + 5
        assert manager.stats().refreshes == manager.stats().failed_refreshes == 5

    def test_one_that_is_under_way_counts_neither_as_ok_nor_as_failed(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        """A counter could not take it back."""

        def told() -> list[float | None]:
            return [meters.value("cache.refreshes", outcome=outcome) for outcome in ("ok", "failed")]

        def refuse(_: object) -> None:
            during.append(told())
            raise BackendUnavailableError("no answer")

        during: list[Any] = []
        with Meters() as meters:
            hooked.on_read = refuse
            clock.advance(90)
            manager.get(NAME)
            eventually(lambda: manager.stats().failed_refreshes)
            assert (during, told()) == ([[0, 0]], [0, 1])

    def test_they_do_not_hold_up_a_reader_who_needs_the_backend(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        fail(hooked, BackendUnavailableError("no answer"))
        clock.advance(99)
        manager.get(NAME)
        eventually(lambda: manager.stats().failed_refreshes)
        fail(hooked, None)
        clock.advance(0.5)
        manager.invalidate(NAME)
        assert manager.get(NAME).freshness is Freshness.FRESH

    def test_what_the_backend_denies_serves_to_the_end_of_its_life_and_no_longer(
        self, open_manager: Any, hooked: Any, windows: dict[str, Any], clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache=windows | {"stale": "1h"})
        manager.get(NAME)
        fail(hooked, AccessDeniedError("not for you any more"))
        clock.advance(90)
        manager.get(NAME)
        eventually(lambda: manager.stats().failed_refreshes)
        assert manager.get(NAME).reveal_text() == "s3cret"
        clock.advance(10)
        fail(hooked, BackendUnavailableError("no answer"))
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_refused_credentials_stop_the_refreshes_of_all_names(
        self, open_manager: Any, make_hooked: Any, windows: dict[str, Any], clock: FakeClock
    ) -> None:
        backend = make_hooked({f"n/{number}": "v" for number in range(20)})
        manager = open_manager(backends={"memory": backend}, cache=windows)
        manager.prefetch("n/*")
        fail(backend, AuthenticationError("expired"))
        clock.advance(85)
        manager.get("n/0")
        eventually(lambda: manager.stats().failed_refreshes == 1)
        for number in range(20):
            assert manager.get(f"n/{number}").freshness is Freshness.CACHED
        eventually(lambda: not manager._parts.background._keys)
        assert len(backend.reads) == 20 + 1


class TestStaleWhileRevalidating:
    """For a while after its end an answer still serves, and the new one comes meanwhile."""

    def test_a_late_reader_gets_the_old_answer_marked_as_stale(
        self, manager: Any, hooked: Any, clock: FakeClock, gate: Any
    ) -> None:
        change_elsewhere(hooked, "new")
        hooked.on_read = lambda _: gate.hold()
        clock.advance(110)
        for _ in range(3):
            secret = manager.get(NAME)
            assert (secret.reveal_text(), secret.freshness, secret.age) == ("s3cret", Freshness.STALE, 110.0)
        gate.open()
        eventually(lambda: manager.get(NAME).reveal_text() == "new")
        assert len(hooked.reads) == 2
        assert manager.stats().stale_hits >= 3

    def test_beyond_the_window_a_reader_waits_for_the_backend(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        change_elsewhere(hooked, "new")
        clock.advance(150)
        secret = manager.get(NAME)
        assert (secret.reveal_text(), secret.freshness) == ("new", Freshness.FRESH)

    def test_in_the_window_a_backend_that_fails_is_not_asked_by_every_reader(
        self, manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        fail(hooked, BackendUnavailableError("no answer"))
        clock.advance(110)
        manager.get(NAME)
        eventually(lambda: manager.stats().failed_refreshes == 1)
        for _ in range(100):
            assert manager.get(NAME).freshness is Freshness.STALE
        eventually(lambda: not manager._parts.background._keys)
        assert len(hooked.reads) == 2

    def test_after_closing_nothing_is_fetched(self, manager: Any, hooked: Any, clock: FakeClock) -> None:
        clock.advance(110)
        manager.close()
        with pytest.raises(StrongroomError):
            manager.get(NAME)
        assert len(hooked.reads) == 1


class TestRefusals:
    """A backend that has refused is not asked again at once, so what is wrong does not use up a quota."""

    def test_refused_credentials_cause_a_call_at_growing_intervals_whatever_is_read(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("bad token"))
        called = []
        for second in range(70):
            before = len(hooked.reads)
            for name in (NAME, "db/user", "other"):
                with pytest.raises((AuthenticationError, SecretNotFoundError)):
                    manager.get(name)
            called += [second] * (len(hooked.reads) - before)
            clock.advance(1)
        assert called == [0, 1, 3, 7, 15, 31, 63]
        stats = manager.stats()
        assert (stats.errors, stats.loads) == (210, 7)

    def test_mended_credentials_are_noticed_with_the_next_try(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("bad token"))
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                manager.get(NAME)
        fail(hooked, None)
        clock.advance(1)
        assert manager.get(NAME).reveal_text() == "s3cret"
        assert manager.get("db/user").reveal_text() == "app"

    def test_a_refresh_on_request_asks_at_once(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("bad token"))
        with pytest.raises(AuthenticationError):
            manager.get(NAME)
        fail(hooked, None)
        assert manager.refresh(NAME).reveal_text() == "s3cret"
        assert manager.get("db/user").reveal_text() == "app"

    def test_the_error_speaks_of_the_name_that_was_asked_for(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("db/password: bad token", name="db/password"))
        with pytest.raises(AuthenticationError):
            manager.get(NAME)
        with pytest.raises(AuthenticationError, match="a moment ago") as caught:
            manager.get("db/user")
        assert caught.value.name == "db/user"
        assert "db/password" not in str(caught.value)

    def test_what_is_held_back_is_recorded(self, open_manager: Any, hooked: Any, sink: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("bad token"))
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                manager.get(NAME)
        assert [(event.source, event.result) for event in sink.named("get")] == [
            ("backend", "authentication_failed"),
            ("cache", "authentication_failed"),
        ]

    def test_a_denied_name_is_held_back_and_no_other(
        self, open_manager: Any, make_hooked: Any, clock: FakeClock
    ) -> None:
        backend = make_hooked({"a": "1", "b": "2"})

        def deny(request: Any) -> None:
            if request.name == "a":
                raise AccessDeniedError("not for you")

        backend.on_read = deny
        manager = open_manager(backends={"memory": backend})
        for _ in range(10):
            with pytest.raises(AccessDeniedError):
                manager.get("a")
            assert manager.get("b").reveal_text() == "2"
        assert backend.reads == ["a", "b"]
        backend.on_read = None
        clock.advance(1)
        assert manager.get("a").reveal_text() == "1"

    def test_a_denied_name_is_asked_for_at_growing_intervals(
        self, open_manager: Any, hooked: Any, clock: FakeClock
    ) -> None:
        fail(hooked, AccessDeniedError("not for you"))
        manager = open_manager(backends={"memory": hooked})
        asked: list[int] = []
        for second in range(16):
            before = len(hooked.reads)
            with pytest.raises(AccessDeniedError):
                manager.get(NAME)
            asked += [second] * (len(hooked.reads) - before)
            clock.advance(1)
        assert asked == [0, 1, 3, 7, 15]

    def test_a_secret_that_is_called_as_its_backend_is_held_back_alone(
        self, open_manager: Any, make_hooked: Any
    ) -> None:
        backend = make_hooked({"memory": "1", "b": "2"})
        fail(backend, AccessDeniedError("not for you"))
        manager = open_manager(backends={"memory": backend})
        with pytest.raises(AccessDeniedError):
            manager.get("memory")
        backend.on_read = None
        assert manager.get("b").reveal_text() == "2"

    @pytest.mark.parametrize("read", [lambda manager: manager.get("a"), lambda manager: manager.get_many(["a"])])
    def test_what_is_held_back_does_not_take_the_turn_to_try_the_backend(
        self, read: Callable[[Any], object], open_manager: Any, make_hooked: Any, clock: FakeClock
    ) -> None:
        backend = make_hooked({"a": "1", "b": "2"})
        manager = open_manager(backends={"memory": backend})
        fail(backend, AuthenticationError("a new key is needed"))
        manager.get_many(["b"])
        clock.advance(0.5)
        fail(backend, AccessDeniedError("not for you"))
        with pytest.raises(AccessDeniedError):
            manager.refresh("a")
        backend.on_read = None
        clock.advance(0.5)
        with suppress(AccessDeniedError):
            read(manager)
        assert manager.get("b").reveal_text() == "2"

    def test_refused_credentials_do_not_take_the_turn_to_try_a_denied_name(
        self, open_manager: Any, make_hooked: Any, clock: FakeClock
    ) -> None:
        backend = make_hooked({"a": "1", "b": "2"})
        manager = open_manager(backends={"memory": backend})
        fail(backend, AccessDeniedError("not for you"))
        manager.get_many(["a"])
        clock.advance(0.5)
        fail(backend, AuthenticationError("a new key is needed"))
        manager.get_many(["b"])
        clock.advance(0.7)
        manager.get_many(["a"])
        backend.on_read = None
        clock.advance(0.3)
        assert manager.get("a").reveal_text() == "1"

    def test_a_refresh_that_is_held_back_is_no_failed_call(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("a new key is needed"))
        manager.get_many([NAME])
        # As in the background, for an entry that has been dropped since.
        manager._loader.fetch_anew(Load(manager._gate, manager._grant(NAME), None, None, refresh=True, is_read=False))
        stats = manager.stats()
        assert (stats.refreshes, stats.failed_refreshes) == (0, 0)

    @pytest.mark.parametrize("change", [lambda manager: manager.invalidate("a"), lambda manager: manager.set("a", "1")])
    def test_a_change_ends_the_pause_of_a_denied_name(self, change: Any, open_manager: Any, make_hooked: Any) -> None:
        backend = make_hooked({"a": "1"})
        fail(backend, AccessDeniedError("not for you"))
        manager = open_manager(backends={"memory": backend})
        with pytest.raises(AccessDeniedError):
            manager.get("a")
        backend.on_read = None
        change(manager)
        assert manager.get("a").reveal_text() == "1"

    def test_one_backend_s_refusal_is_not_another_s(self, open_manager: Any, make_hooked: Any) -> None:
        first, second = make_hooked({"a": "1"}), make_hooked({"b/x": "2"})
        fail(first, AuthenticationError("bad token"))
        manager = open_manager(backends={"first": first, "second": second}, backend="first", routes={"b": "second"})
        with pytest.raises(AuthenticationError):
            manager.get("a")
        assert manager.get("b/x").reveal_text() == "2"

    def test_a_batch_is_held_back_as_a_single_read_is(self, open_manager: Any, hooked: Any, clock: FakeClock) -> None:
        manager = open_manager(backends={"memory": hooked})
        fail(hooked, AuthenticationError("bad token"))
        names = [NAME, "db/user"]
        for _ in range(3):
            assert {error.code for error in manager.get_many(names).errors.values()} == {"authentication_failed"}
        assert hooked.batches == 1
        fail(hooked, None)
        clock.advance(1)
        assert set(manager.get_many(names).found) == set(names)

    def test_a_usable_answer_is_served_whatever_the_backend_refuses(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        manager.get(NAME)
        fail(hooked, AuthenticationError("bad token"))
        with pytest.raises(AuthenticationError):
            manager.get("db/user")
        assert manager.get(NAME).freshness is Freshness.CACHED


class Interrupt:
    """Ends a thread's work at the n-th line of these modules, as a signal's handler may."""

    MODULES = ("loading.py", "cache.py", "batch.py", "crew.py")

    def __init__(self, at: int) -> None:
        self._left = at

    @property
    def has_come(self) -> bool:
        return self._left == 0

    def __call__(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.endswith(self.MODULES) else None

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Any:
        # The interpreter itself looks for signals neither before a lock is taken nor before it is given back.
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not line.lstrip().startswith("with "):
            self._left -= 1
            if self.has_come:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._line


def interrupted(interrupt: Interrupt, read: Callable[[], object]) -> None:
    """Read, in a thread of its own: one that is interrupted at an odd moment may handle an error for ever after."""
    tracer = sys.gettrace()
    sys.settrace(interrupt)
    try:
        read()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(tracer)


@pytest.mark.parametrize("read", [lambda manager: manager.get("a"), lambda manager: manager.get_many(["a", "b"])])
def test_an_interrupt_at_any_moment_leaves_nobody_waiting(
    read: Callable[[Any], object], open_manager: Any, make_hooked: Any
) -> None:
    for at in range(1, 1000):
        manager = open_manager(backends={"memory": make_hooked({"a": "1", "b": "2"})})
        interrupt = Interrupt(at)
        in_threads(1, lambda _: interrupted(interrupt, lambda: read(manager)))  # noqa: B023  # done at once
        if not interrupt.has_come:
            break
        # In another thread: one that was interrupted waits for nothing of its own.
        answer = in_threads(1, lambda _: [manager.get(name).reveal_text() for name in ("a", "b")])  # noqa: B023  # done at once
        assert answer == [["1", "2"]]
    assert at > 50
