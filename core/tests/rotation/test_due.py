"""Runs over all that is due: what they rotate, leave alone, finish, announce, and what stops none of them."""

from __future__ import annotations

import threading

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import strongroom

from dues import DatedBackend, announcements, opened
from serviced import ServicedBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Schedule
from strongroom.contracts.backend import Capability, WriteRequest
from strongroom.errors import BackendUnavailableError, ConfigurationError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock
from strongroom.testing.processes import in_forked_child

DAY = 86400.0
RULES = {"db/*": {"every": "90d", "warn_before": "7d"}}


@pytest.fixture
def backend(clock: FakeClock) -> DatedBackend:
    return DatedBackend(clock, "db/a", "db/b", "plain")


@pytest.fixture
def manager(clock: FakeClock, backend: DatedBackend, sink: Any) -> Any:
    with opened(clock, backend, RULES, sink=sink) as manager:
        yield manager


@pytest.fixture
def dependent(distributions: Any) -> Any:
    """A rotator that the configuration can name ``slow``, and what its dependent knows and does."""
    distributions.add(
        "slow-rotators",
        {"strongroom.rotators": {"slow": "slow_rotators"}},
        """
        import itertools

        from datetime import UTC, datetime, timedelta

        from strongroom.contracts import Record
        from strongroom.contracts.rotation import (
            ApplyResult, FinishResult, GenerateResult, Life, Rotator, RotatorSpec, UndoResult, VerifyCandidateResult,
        )
        from strongroom.hookspecs import hookimpl
        from strongroom.model import SecretValue

        numbers = itertools.count(1)
        accepted = []
        finished = []
        before = {"apply": lambda: None, "finish": lambda: None}
        life = {"begins": None, "days": 0}

        class Settings(Record):
            pass

        class Slow(Rotator):
            def __init__(self, settings):
                pass

            def generate(self, request):
                return GenerateResult(value=SecretValue(f"value {next(numbers)}"))

            def apply(self, request):
                before["apply"]()
                request.confirm()
                accepted.append(request.candidate.reveal_text())
                return ApplyResult()

            def verify(self, request):
                return VerifyCandidateResult()

            def finish(self, request):
                before["finish"]()
                finished.append(request.former.reveal_text())
                return FinishResult()

            def undo(self, request):
                return UndoResult()

        class Short(Slow):
            def life(self, value):
                return Life(begins=life["begins"], ends=life["begins"] + timedelta(days=life["days"]))

        @hookimpl
        def strongroom_rotators():
            yield RotatorSpec(name="slow", summary="A test's own.", settings=Settings, open=Slow)
        """,
    )
    import slow_rotators

    return slow_rotators


@pytest.fixture
def short_lived(dependent: Any) -> Any:
    """The same, for values that end by themselves."""
    dependent.Slow.life = dependent.Short.life
    dependent.life["begins"] = datetime(2026, 1, 1, 12, tzinfo=UTC)
    dependent.life["days"] = 90
    return dependent


def names(found: tuple[Any, ...]) -> list[str]:
    return [getattr(one, "name", one) for one in found]


class TestWhatIsDue:
    """What is rotated, and when."""

    def test_nothing_is_rotated_before_it_is_due(self, manager: Any, backend: DatedBackend, clock: FakeClock) -> None:
        clock.advance(90 * DAY - 1)
        assert manager.rotation.rotate_due() == strongroom.rotation.desk.DueRun()
        assert (backend.asked.count("write"), backend.values) == (0, [])

    def test_what_is_due_is_rotated_once_and_nothing_else(self, manager: Any, clock: FakeClock) -> None:
        clock.advance(90 * DAY)
        run = manager.rotation.rotate_due()
        assert (names(run.rotated), names(run.failed)) == (["db/a", "db/b"], [])
        assert [manager.get(name).version for name in ("db/a", "db/b", "plain")] == ["2", "2", "1"]
        assert manager.rotation.rotate_due().rotated == ()

    def test_what_was_missed_for_long_is_made_up_for_once(self, manager: Any, clock: FakeClock) -> None:
        clock.advance(1000 * DAY)
        assert names(manager.rotation.rotate_due().rotated) == ["db/a", "db/b"]
        for _ in range(89):
            clock.advance(DAY)
            assert manager.rotation.rotate_due().rotated == ()
        clock.advance(DAY)
        assert names(manager.rotation.rotate_due().rotated) == ["db/a", "db/b"]

    def test_a_clock_that_is_set_back_or_forward_and_back_rotates_nothing_again(
        self, manager: Any, clock: FakeClock
    ) -> None:
        clock.advance(90 * DAY)
        manager.rotation.rotate_due()
        right = clock.now()
        for days in (-400, -90, -1):
            clock.set_wall(right + timedelta(days=days))
            assert manager.rotation.rotate_due().rotated == ()
        clock.set_wall(right + timedelta(days=89))
        assert manager.rotation.rotate_due().rotated == ()

    def test_when_a_version_was_made_is_not_asked_for_again_before_it_may_be_due(
        self, manager: Any, backend: DatedBackend, clock: FakeClock
    ) -> None:
        for days in (0, 40, 42.9):
            clock.advance(days * DAY)
            manager.rotation.rotate_due()
        assert backend.asked.count("versions") == 2
        manager.set("db/a", "by hand")
        clock.advance(7.1 * DAY)
        assert names(manager.rotation.rotate_due().rotated) == ["db/b"]
        clock.advance(82.9 * DAY)
        assert names(manager.rotation.rotate_due().rotated) == ["db/a"]

    def test_a_folder_or_a_name_narrows_it(self, manager: Any, clock: FakeClock) -> None:
        clock.advance(90 * DAY)
        assert names(manager.rotation.rotate_due("api").rotated) == []
        assert names(manager.rotation.rotate_due("db/b").rotated) == ["db/b"]
        assert names(manager.rotation.rotate_due("db/").rotated) == ["db/a"]

    def test_it_waits_for_its_window_unless_told_otherwise(self, clock: FakeClock, backend: DatedBackend) -> None:
        with opened(clock, backend, {"db/*": {"every": "1d", "window": "02:00-04:00"}}) as manager:
            clock.advance(DAY + 13 * 3600)  # 01:00
            run = manager.rotation.rotate_due()
            assert (names(run.waiting), run.rotated) == (["db/a", "db/b"], ())
            assert names(manager.rotation.rotate_due("db/a", ignore_windows=True).rotated) == ["db/a"]
            clock.advance(3600)
            assert names(manager.rotation.rotate_due().rotated) == ["db/b"]

    def test_a_window_that_closes_meanwhile_holds_back_what_is_left(
        self, clock: FakeClock, backend: DatedBackend, dependent: Any
    ) -> None:
        rules = {"db/*": {"rotator": "slow", "every": "1d", "window": "02:00-04:00", "limit": "2h"}}
        dependent.before["apply"] = lambda: clock.advance(1.9 * 3600)
        with opened(clock, backend, rules) as manager:
            clock.advance(DAY + 14.5 * 3600)
            run = manager.rotation.rotate_due()
        assert (names(run.rotated), names(run.waiting)) == (["db/a"], ["db/b"])

    def test_what_has_waited_longest_comes_first(self, manager: Any, clock: FakeClock) -> None:
        clock.advance(DAY)
        manager.rotate("db/a")
        clock.advance(90 * DAY)
        assert names(manager.rotation.rotate_due().rotated) == ["db/b", "db/a"]

    def test_what_a_service_rotates_is_left_to_it(self, clock: FakeClock) -> None:
        seed = {name: SecretValue("v") for name in ("managed/a", "own/b")}
        service = ServicedBackend(MemorySettings(seed=seed), clock=clock)
        service.listed = [Schedule(name=SecretName("managed/a"), rule="daily", by="fn")]
        clock.set_wall(datetime.now(UTC) + timedelta(days=2))  # the backend's versions have the real time
        with opened(clock, service, {"**": {"every": "1d"}}) as manager:
            assert names(manager.rotation.rotate_due().rotated) == ["own/b"]
        assert "trigger_rotation" not in service.asked

    def test_it_is_done_with_the_right_to_rotate_alone(
        self, clock: FakeClock, backend: DatedBackend, rule: Any
    ) -> None:
        with opened(clock, backend, RULES, policies=[rule("tester", "rotate", names="db/b")]) as manager:
            clock.advance(90 * DAY)
            run = manager.rotation.rotate_due()
        assert (names(run.rotated), run.failed) == (["db/b"], ())


class TestFailures:
    """One that fails stops no other."""

    def test_each_is_kept_and_the_others_are_rotated(
        self, manager: Any, backend: DatedBackend, clock: FakeClock
    ) -> None:
        clock.advance(90 * DAY)
        backend.failing["db/a"] = BackendUnavailableError("no answer")
        run = manager.rotation.rotate_due()
        assert ([(one.name, one.error.code) for one in run.failed], names(run.rotated)) == (
            [("db/a", "unavailable")],
            ["db/b"],
        )
        backend.failing.clear()
        assert names(manager.rotation.rotate_due().rotated) == ["db/a"]

    def test_a_backend_that_lists_nothing_serves_the_names_of_the_tables(self, clock: FakeClock) -> None:
        backend = DatedBackend(clock, "db/a", "api/key", lacks=[Capability.LIST])
        with opened(clock, backend, RULES | {"api/key": {"every": "1d"}}) as manager:
            clock.advance(90 * DAY)
            run = manager.rotation.rotate_due()
        assert (names(run.rotated), [(one.name, one.error.code) for one in run.failed]) == (
            ["api/key"],
            [("db/*", "unsupported")],
        )

    def test_two_hosts_that_nothing_keeps_apart_are_refused(self, clock: FakeClock) -> None:
        backend = DatedBackend(clock, "db/a", lacks=[Capability.CHECK_AND_SET])
        with opened(clock, backend, RULES) as manager:
            clock.advance(90 * DAY)
            (failed,) = manager.rotation.rotate_due().failed
        assert isinstance(failed.error, ConfigurationError)


class TestOthers:
    """Other processes and threads that rotate the same secrets."""

    def test_what_another_one_leads_is_no_failure(
        self, clock: FakeClock, backend: DatedBackend, dependent: Any, gate: Any
    ) -> None:
        dependent.before["apply"] = gate.hold
        rules = {"db/*": {"rotator": "slow", "every": "1d"}}
        with opened(clock, backend, rules) as manager:
            clock.advance(DAY)
            leader = threading.Thread(target=lambda: manager.rotate("db/a"), daemon=True)
            leader.start()
            gate.wait_for_arrival()
            dependent.before["apply"] = lambda: None
            assert [one.state for one in manager.schedules()] == ["running", "due"]
            run = manager.rotation.rotate_due()
            assert (names(run.running), names(run.rotated), run.failed) == (["db/a"], ["db/b"], ())
            gate.open()
            leader.join(10)

    def test_what_another_one_has_rotated_meanwhile_is_not_rotated_again(
        self, clock: FakeClock, backend: DatedBackend, manager: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It comes between the look at all of them and the rotation of the second one."""
        clock.advance(90 * DAY)
        write = backend.write
        other = opened(clock, backend, RULES)

        def write_and_be_overtaken(request: WriteRequest) -> Any:
            monkeypatch.setattr(backend, "write", write)
            other.rotate("db/b")
            return write(request)

        monkeypatch.setattr(backend, "write", write_and_be_overtaken)
        assert names(manager.rotation.rotate_due().rotated) == ["db/a"]
        assert manager.get("db/b").version == "2"
        other.close()

    def test_not_even_if_it_was_done_between_the_last_look_and_the_beginning(
        self, clock: FakeClock, backend: DatedBackend, manager: Any, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock.advance(90 * DAY)
        other = opened(clock, backend, RULES)
        record = sink.write
        done: list[Any] = []

        def write(request: Any) -> None:
            record(request)
            if not done and any(event.event == "rotate" and event.phase == "attempt" for event in request.events):
                done.append(other.rotate("db/a"))

        monkeypatch.setattr(sink, "write", write)
        run = manager.rotation.rotate_due("db/a")
        assert (run.rotated, names(run.running), run.failed, len(done)) == ((), ["db/a"], (), 1)
        assert manager.get("db/a").version == "2"
        other.close()

    def test_many_at_once_rotate_each_once(self, clock: FakeClock) -> None:
        backend = DatedBackend(clock, *(f"db/{number}" for number in range(12)))
        managers = [opened(clock, backend, RULES) for _ in range(4)]
        clock.advance(90 * DAY)
        runs: list[Any] = []
        threads = [threading.Thread(target=lambda one=one: runs.append(one.rotation.rotate_due())) for one in managers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert [one for run in runs for one in run.failed] == []
        assert sorted(name for run in runs for name in names(run.rotated)) == sorted(f"db/{n}" for n in range(12))
        assert {managers[0].get(f"db/{number}").version for number in range(12)} == {"2"}
        for manager in managers:
            manager.close()


SLOW = {"db/*": {"rotator": "slow", "every": "90d", "overlap": "1h", "window": "Sun 02:00-04:00"}}


class TestLeftovers:
    """What a run finds half done."""

    def test_what_was_left_is_led_to_its_end_whatever_the_window(
        self, clock: FakeClock, backend: DatedBackend, dependent: Any
    ) -> None:
        def fail() -> None:
            raise BackendUnavailableError("the dependent does not answer")

        with opened(clock, backend, SLOW) as manager:
            dependent.before["apply"] = fail
            with pytest.raises(strongroom.errors.RotationError):
                manager.rotate("db/b")
            assert [one.state for one in manager.rotation.status()] == ["idle", "left"]
            assert [one.state for one in manager.schedules()] == ["ok", "left"]
            assert [one.error.code for one in manager.rotation.rotate_due().failed] == ["rotation_incomplete"]
            dependent.before["apply"] = lambda: None
            run = manager.rotation.rotate_due()
            assert (names(run.resumed), run.rotated, run.failed) == (["db/b"], (), ())
            assert manager.get("db/b").reveal_text() == dependent.accepted[-1]

    def test_the_former_value_is_taken_away_when_its_overlap_is_over(
        self, clock: FakeClock, backend: DatedBackend, dependent: Any
    ) -> None:
        with opened(clock, backend, SLOW) as manager:
            manager.rotate("db/b")
            clock.advance(3599)
            assert (manager.rotation.rotate_due().resumed, dependent.finished) == ((), [])
            clock.advance(1)
            assert (names(manager.rotation.rotate_due().resumed), dependent.finished) == (["db/b"], ["old"])
            assert [one.state for one in manager.rotation.status()] == ["idle", "idle"]

    def test_what_is_due_again_waits_for_the_end_of_its_overlap(
        self, clock: FakeClock, backend: DatedBackend, dependent: Any
    ) -> None:
        with opened(clock, backend, {"db/b": {"rotator": "slow", "every": "1h", "overlap": "2h"}}) as manager:
            manager.rotate("db/b")
            clock.advance(3600)
            assert names(manager.rotation.rotate_due().waiting) == ["db/b"]
            clock.advance(3600)
            run = manager.rotation.rotate_due()
            assert (names(run.resumed), names(run.rotated), dependent.finished) == (["db/b"], ["db/b"], ["old"])


class TestLife:
    """Values that end by themselves."""

    def test_they_are_renewed_in_time_and_what_they_say_is_read_once(
        self, clock: FakeClock, backend: DatedBackend, short_lived: Any
    ) -> None:
        with opened(clock, backend, {"db/a": {"rotator": "slow"}}) as manager:
            (found,) = manager.schedules()
            assert (found.due, found.ends) == (clock.now() + timedelta(days=60), clock.now() + timedelta(days=90))
            assert (found.rule, found.enabled, backend.values) == ("before its end", True, ["db/a"])
            clock.advance(60 * DAY)
            short_lived.life["begins"] = clock.now()
            # What was written by hand is read to see when it ends.
            short_lived.life["begins"] -= timedelta(days=60)
            short_lived.before["apply"] = lambda: short_lived.life.update(begins=clock.now())
            assert names(manager.rotation.rotate_due().rotated) == ["db/a"]
            backend.reads.clear()
            (found,) = manager.schedules()
            assert (found.due, found.ends) == (clock.now() + timedelta(days=60), clock.now() + timedelta(days=90))
            # From then on the record has it.
            assert backend.values == []

    def test_whoever_may_not_read_it_is_not_told_when_it_ends(
        self, clock: FakeClock, backend: DatedBackend, short_lived: Any, rule: Any
    ) -> None:
        rules = {"db/a": {"rotator": "slow"}}
        with opened(clock, backend, rules, policies=[rule("tester", "list")]) as manager:
            assert [(one.ends, one.state) for one in manager.schedules()] == [(None, "off")]
        assert backend.values == []


class TestAnnouncements:
    """What subscribers hear before it is too late."""

    def test_it_is_announced_once_that_something_is_due(
        self, manager: Any, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, backend: DatedBackend
    ) -> None:
        heard = announcements(manager, monkeypatch)
        due = clock.now() + timedelta(days=90)
        clock.advance(83 * DAY - 1)
        manager.rotation.rotate_due()
        assert heard == []
        for seconds in (1, 3600, DAY):
            clock.advance(seconds)
            manager.rotation.rotate_due()
        assert [(one.kind, one.name, one.when) for one in heard] == [
            ("rotation_due", "db/a", due),
            ("rotation_due", "db/b", due),
        ]
        assert heard[0].detail == f"its next rotation is due at {due.isoformat()}"
        clock.advance(7 * DAY)
        manager.rotation.rotate_due()
        clock.advance(83 * DAY)
        manager.rotation.rotate_due()
        assert [one.kind for one in heard].count("rotation_due") == 4

    def test_of_what_nobody_knows_it_is_announced_once_too(
        self, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = DatedBackend(clock, "db/a", lacks=[Capability.VERSIONS])
        with opened(clock, backend, {"db/a": {"every": "1d", "window": "02:00-03:00"}}) as manager:
            heard = announcements(manager, monkeypatch)
            for _ in range(3):
                manager.rotation.rotate_due()
                clock.advance(60)
        assert [one.kind for one in heard] == ["rotation_due"]

    def test_a_value_that_ends_and_could_not_be_renewed_is_announced(
        self, clock: FakeClock, backend: DatedBackend, short_lived: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise BackendUnavailableError("the dependent does not answer")

        short_lived.before["apply"] = fail
        ends = clock.now() + timedelta(days=90)
        with opened(clock, backend, {"db/a": {"rotator": "slow"}}) as manager:
            heard = announcements(manager, monkeypatch)
            clock.advance(61 * DAY)
            for _ in range(2):
                manager.rotation.rotate_due()
        assert [(one.name, one.when) for one in heard if one.kind == "expiring"] == [("db/a", ends)]


def test_a_run_is_recorded_as_a_look_and_each_rotation_as_one(manager: Any, clock: FakeClock, sink: Any) -> None:
    clock.advance(90 * DAY)
    manager.rotation.rotate_due("db")
    (look,) = sink.named("schedules")
    assert (look.key, look.count, look.detail) == ("db/", 2, "to rotate what is due")
    assert [event.key for event in sink.named("rotate") if event.phase != "attempt"] == ["db/a", "db/b"]


def test_a_rotation_that_a_fork_has_left_behind_is_found_by_the_parent(
    clock: FakeClock, backend: DatedBackend, dependent: Any
) -> None:
    """The child's own ones are not taken for the parent's, nor the other way round."""
    with opened(clock, backend, {"db/a": {"rotator": "slow", "every": "1d"}}) as manager:
        clock.advance(DAY)
        in_forked_child(lambda: manager.rotation.rotate_due().rotated[0].version == "2")
        assert names(manager.rotation.rotate_due().rotated) == ["db/a"]
