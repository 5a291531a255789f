"""What must not go wrong with cache hits: interruptions in the middle, odd names, clocks that are set, forks."""

from __future__ import annotations

import os
import sys
import threading
import types

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom.audit.buffer import HitBuffer
from strongroom.builtin.memory import MemoryBackend
from strongroom.cache.entries import Entry
from strongroom.contracts import Access, AnomalyDetector, AuditWrite, Decision, Repeats, Verdict
from strongroom.errors import AccessDeniedError, SecretNotFoundError, SuspiciousActivityError
from strongroom.testing import FakeClock, MemorySink, in_threads


class CaseBlind(str):
    """Text that takes another spelling for its own."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class Patient(AnomalyDetector):
    """Lets repetitions pass for ever, unless it is told another time or counter; notes what it judges."""

    def __init__(self, wish: Callable[[Access], Repeats] = lambda access: Repeats()) -> None:
        self.verdict: Verdict | Exception = Verdict(decision=Decision.ALLOW)
        self.judged = 0
        self.wish = wish

    def judge(self, access: Access) -> Verdict:
        self.judged += 1
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict

    def repeats(self, access: Access) -> Repeats:
        return self.wish(access)


def interrupted_once(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, before: Any = lambda: None) -> None:
    """Have one call of a method end with what a signal's handler raises as soon as it begins."""
    original = getattr(owner, method)

    def interrupt(*_: Any) -> None:
        monkeypatch.setattr(owner, method, original)
        before()
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, method, interrupt)


def swept_as_if_it_were_late(manager: Any) -> None:
    """Sweep a cache's entries although they have not expired for its readers."""
    cache = manager._cache
    clock, cache.clock = cache.clock, lambda: float("inf")
    try:
        cache.sweep()
    finally:
        cache.clock = clock


class TestInterruptions:
    """A signal's handler may raise anywhere, as one for SIGALRM or Ctrl-C does."""

    @pytest.mark.parametrize(
        "change",
        [
            lambda manager: manager.invalidate("db/password"),
            lambda manager: manager.refresh("db/password"),
            lambda manager: manager.set("db/password", "first"),
            lambda manager: manager.delete("db/password"),
            lambda manager: manager.get("db/user"),
            swept_as_if_it_were_late,
        ],
        ids=["invalidated", "refreshed", "set", "deleted", "evicted", "swept"],
    )
    def test_an_old_answer_is_not_served_after_what_drops_it_was_interrupted(
        self, change: Callable[[Any], object], open_manager: Any, hooked: Any, monkeypatch: Any
    ) -> None:
        manager = open_manager(backends={"memory": hooked}, cache={"max_entries": 1})
        for _ in range(3):
            manager.get("db/password")
        interrupted_once(monkeypatch, Entry, "end")
        with pytest.raises(KeyboardInterrupt):
            change(manager)
        manager.set("db/password", "second")
        for _ in range(2):
            assert manager.get("db/password").reveal_text() == "second"

    @pytest.mark.parametrize("change", ["set", "rotate", "delete"])
    def test_what_an_interrupted_change_has_done_is_seen_at_once(
        self, change: str, open_manager: Any, hooked: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Older versions are gone with it, too."""
        manager = open_manager(backends={"memory": hooked})
        for _ in range(3):
            manager.get("db/password")
            manager.get("db/password", version="1")
        interrupted_once(monkeypatch, Entry, "end")
        with pytest.raises(KeyboardInterrupt):
            getattr(manager, change)("db/password", *(["new"] if change == "set" else []))
        hooked.reads.clear()
        if change == "delete":
            for version in (None, "1"):
                with pytest.raises(SecretNotFoundError):
                    manager.get("db/password", version=version)
        else:
            assert manager.get("db/password").version == "2"
            assert manager.get("db/password", version="1").reveal_text() == "s3cret"
        assert hooked.reads == ["db/password"] * 2

    def test_a_load_that_was_under_way_is_not_kept_after_an_interrupted_change(
        self, open_manager: Any, hooked: Any, gate: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager = open_manager(backends={"memory": hooked})
        manager.invalidate("db/password")
        hooked.on_read = lambda _: gate.hold()
        reader = threading.Thread(target=manager.get, args=("db/password",))
        reader.start()
        gate.wait_for_arrival()
        hooked.on_read = None

        class Flights(dict):  # type: ignore[type-arg]
            def pop(self, *arguments: Any) -> Any:
                super().pop(*arguments)
                monkeypatch.setattr(manager._cache, "_flights", dict(self))
                raise KeyboardInterrupt

        monkeypatch.setattr(manager._cache, "_flights", Flights(manager._cache._flights))
        with pytest.raises(KeyboardInterrupt):
            manager.set("db/password", "new")
        gate.open()
        reader.join()
        assert manager.get("db/password").reveal_text() == "new"

    def test_hits_are_written_although_the_one_that_wakes_the_thread_was_interrupted(
        self, open_manager: Any, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager = open_manager({"a": "1"})
        manager.get("a")
        # Another thread's hit comes when this one is about to see to it that both are written.
        interrupted_once(
            monkeypatch, HitBuffer, "_run_thread", before=lambda: in_threads(1, lambda _: manager.get("a"))
        )
        with pytest.raises(KeyboardInterrupt):
            manager.get("a")
        assert sink.wait_for(lambda events: sum(event.cache_hit for event in events) == 2)
        manager.get("a")
        assert sink.wait_for(lambda events: sum(event.cache_hit for event in events) == 3)


class TestOddNames:
    """A str may be of a class that compares as it likes; what is asked for is the text."""

    def test_a_plain_name_reaches_its_own_secret(self, open_manager: Any) -> None:
        manager = open_manager({"KEY": "upper", "key": "lower"})
        assert manager.get(CaseBlind("KEY")).reveal_text() == "upper"
        assert manager.get("key").reveal_text() == "lower"
        assert manager.get("KEY").reveal_text() == "upper"

    def test_a_plain_version_is_its_own(self, open_manager: Any, hooked: Any) -> None:
        manager = open_manager(backends={"memory": hooked})
        asked: list[Any] = []
        hooked.on_read = lambda request: asked.append(request.version)
        manager.get("db/user", version=CaseBlind("1"))
        assert type(asked[0]) is str

    @pytest.mark.parametrize("way", ["acting_as", "as_principal"])
    def test_a_principal_has_no_rights_of_one_that_is_spelt_otherwise(
        self, way: str, open_manager: Any, rule: Any
    ) -> None:
        rules = [rule("tester", "read"), rule("Root", "read"), rule("root", "read", names="public")]
        manager = open_manager({"a": "1"}, policies=rules)

        def read(who: str) -> None:
            if way == "as_principal":
                manager.as_principal(who).get("a")
                return
            with strongroom.acting_as(who):
                manager.get("a")

        keep = manager.as_principal(CaseBlind("Root"))
        keep.get("a")
        read(CaseBlind("Root"))
        with pytest.raises(AccessDeniedError):
            read("root")


class TestDetectors:
    """A verdict is left out only where the detector has said so, about an access that it allowed."""

    @pytest.mark.parametrize(
        "verdict",
        [Verdict(decision=Decision.ALERT, reason="odd"), Verdict(decision=Decision.BLOCK, reason="odd"), OSError()],
        ids=["alerts", "would block", "fails"],
    )
    def test_repetitions_of_what_was_not_allowed_are_judged(
        self, verdict: Any, open_manager: Any, detecting: Any
    ) -> None:
        detector = Patient()
        detector.verdict = verdict
        manager = open_manager({"a": "1"}, anomaly=detecting(detector))
        for number in range(1, 6):
            manager.get("a")
            assert detector.judged == number
        detector.verdict = Verdict(decision=Decision.ALLOW)
        for _ in range(5):
            manager.get("a")
        assert detector.judged == 6

    def test_what_another_detector_finds_odd_is_shown_to_all(self, open_manager: Any, detecting: Any) -> None:
        odd, calm = Patient(), Patient()
        odd.verdict = Verdict(decision=Decision.ALERT, reason="odd")
        manager = open_manager({"a": "1"}, anomaly=detecting(odd, calm))
        for _ in range(5):
            manager.get("a")
        assert (odd.judged, calm.judged) == (5, 5)

    def test_a_counter_that_fails_leads_to_a_judgement(self, open_manager: Any, detecting: Any) -> None:
        counts = iter(range(3))
        detector = Patient(lambda access: Repeats(counters=((counts.__next__, 10),)))
        manager = open_manager({"a": "1"}, anomaly=detecting(detector))
        for _ in range(2 + 3):
            manager.get("a")
        assert detector.judged == 2
        assert manager.get("a").reveal_text() == "1"
        assert detector.judged == 3

    def test_a_wish_that_makes_no_sense_leads_to_judgements(self, open_manager: Any, detecting: Any) -> None:
        detector = Patient(lambda access: Repeats(until=access.time + timedelta(hours=1)))  # type: ignore[arg-type]
        manager = open_manager({"a": "1"}, anomaly=detecting(detector))
        for _ in range(5):
            assert manager.get("a").reveal_text() == "1"
        assert detector.judged == 5

    def test_a_clock_that_is_set_forward_ends_within_seconds_what_may_pass(
        self, open_manager: Any, detecting: Any, clock: FakeClock
    ) -> None:
        """As when the machine has slept, which the monotonic clock does not notice."""
        detector = Patient(lambda access: Repeats(until=access.time.timestamp() + 60))
        manager = open_manager({"a": "1"}, anomaly=detecting(detector, action="block"))
        for _ in range(3):
            manager.get("a")
        clock.set_wall(clock.now() + timedelta(hours=8))
        clock.advance(10)
        detector.verdict = Verdict(decision=Decision.BLOCK, reason="at night")
        with pytest.raises(SuspiciousActivityError):
            manager.get("a")


class TestRecords:
    """Each hit is one event, whatever the time and wherever the process forks."""

    def test_hits_before_1970_are_recorded(self, open_manager: Any, sink: Any, clock: FakeClock) -> None:
        clock.set_wall(datetime(1969, 12, 31, 23, 59, 58, 250_000, tzinfo=UTC))
        manager = open_manager({"a": "1"})
        for _ in range(2):
            manager.get("a")
        manager.flush()
        assert [event.timestamp for event in sink.named("get")] == ["1969-12-31T23:59:58.250000+00:00"] * 2

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes can fork")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    def test_a_hit_is_recorded_by_a_child_that_was_forked_in_its_middle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As by a signal's handler; here by what tells the trace."""
        trail = tmp_path / "trail"

        class FileSink(MemorySink):
            def write(self, request: AuditWrite) -> None:
                with trail.open("a") as file:
                    file.writelines(f"{event.pid} {event.event} {event.id}\n" for event in request.events)

        children: list[int] = []

        def fork() -> Any:
            if not children:
                children.append(os.fork())
            return types.SimpleNamespace(get_span_context=lambda: types.SimpleNamespace(is_valid=False))

        manager = strongroom.open({"audit": "none"}, backends={"memory": MemoryBackend()}, sinks=(FileSink(),))
        manager.set("a", "1")
        for _ in range(2):
            manager.get("a")
        manager.flush()
        before = trail.read_text().count(" get ")
        monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.SimpleNamespace(get_current_span=fork))
        status = 1
        try:
            assert manager.get("a").reveal_text() == "1"
            manager.flush()
            status = 0
        finally:
            if children == [0]:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
        manager.close()
        gets = [line.split() for line in trail.read_text().splitlines() if " get " in line][before:]
        assert sorted(int(pid) for pid, _, _ in gets) == sorted([os.getpid(), children[0]])
        assert len({event_id for _, _, event_id in gets}) == 2
