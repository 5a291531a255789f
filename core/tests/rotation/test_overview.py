"""What is told of rotations: whose, to whom, how they stand, and what is read for that."""

from __future__ import annotations

import asyncio

from datetime import timedelta
from typing import Any

import pytest

import strongroom

from dues import DatedBackend, opened
from serviced import ServicedBackend
from staged import StagedBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Schedule
from strongroom.contracts.backend import Capability
from strongroom.errors import BackendUnavailableError, InvalidNameError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock

DAY = 86400.0
NAMES = ("api/key", "db/a", "db/b", "db/deep/c", "plain")
RULES = {"db/*": {"every": "90d", "warn_before": "7d"}, "api/key": {"encoding": "hex", "overlap": "2h"}}


@pytest.fixture
def backend(clock: FakeClock) -> DatedBackend:
    return DatedBackend(clock, *NAMES)


@pytest.fixture
def manager(clock: FakeClock, backend: DatedBackend, sink: Any) -> Any:
    with opened(clock, backend, RULES, sink=sink) as manager:
        yield manager


def names(found: tuple[Any, ...]) -> list[str]:
    return [one.name for one in found]


class TestWhich:
    """The secrets that rules are for."""

    @pytest.mark.parametrize(
        ("prefix", "found"),
        [
            ("", ["api/key", "db/a", "db/b"]),
            ("db", ["db/a", "db/b"]),
            ("db/", ["db/a", "db/b"]),
            ("db/a", ["db/a"]),
            ("db/a/", []),
            ("api", ["api/key"]),
            ("api/key", ["api/key"]),
            ("db/deep", []),
            ("db/nothing", []),
            ("plain", []),
        ],
    )
    def test_are_those_of_the_tables_and_those_that_are_listed_below_patterns(
        self, prefix: str, found: list[str], manager: strongroom.SecretManager
    ) -> None:
        assert names(manager.rotation.status(prefix)) == found
        assert names(manager.rotation.schedule(prefix)) == found
        assert manager.schedules(prefix) == manager.rotation.schedule(prefix)

    def test_the_most_specific_rule_counts_as_a_whole(self, clock: FakeClock, backend: DatedBackend) -> None:
        rules = {"**": {"every": "1d"}, "db/**": {"every": "2d"}, "db/a": {"rotator": "random"}}
        with opened(clock, backend, rules) as manager:
            assert {one.name: one.rule for one in manager.schedules()} == {
                "api/key": "every 1 day",
                "db/a": "when asked for",
                "db/b": "every 2 days",
                "db/deep/c": "every 2 days",
                "plain": "every 1 day",
            }
            # One list has all that the others would have.
            assert backend.asked.count("list") == 1

    def test_each_backend_is_listed_only_where_a_pattern_may_lead(self, clock: FakeClock) -> None:
        first, second = DatedBackend(clock, "db/a", "api/elsewhere"), DatedBackend(clock, "api/b", "db/elsewhere")
        rules = {"db/*": {"every": "1d"}, "api/*": {"every": "1d"}}
        with opened(clock, first, rules, backends={"second": second}, routes={"api/": "second"}) as manager:
            assert names(manager.schedules()) == ["api/b", "db/a"]
            assert (first.asked.count("list"), second.asked.count("list")) == (1, 1)
            manager.schedules("db")
            assert (first.asked.count("list"), second.asked.count("list")) == (2, 1)

    def test_are_those_that_the_principal_may_list(self, clock: FakeClock, backend: DatedBackend, rule: Any) -> None:
        policies = [rule("tester", "list", names="db/a"), rule("tester", "read", names="**")]
        with opened(clock, backend, RULES, policies=policies) as manager:
            assert names(manager.rotation.status()) == names(manager.schedules()) == ["db/a"]

    def test_without_lists_those_of_the_tables_are_served_and_of_the_patterns_it_is_said_why_not(
        self, clock: FakeClock
    ) -> None:
        backend = DatedBackend(clock, *NAMES, lacks=[Capability.LIST])
        with opened(clock, backend, RULES) as manager:
            status = {one.name: one for one in manager.rotation.status()}
            assert (status[SecretName("api/key")].state, status[SecretName("db/*")].state) == ("idle", "unknown")
            assert "the names below db/* could not be listed" in status[SecretName("db/*")].problem
            assert [(one.name, one.state) for one in manager.schedules()] == [("api/key", "off"), ("db/*", "unknown")]
            # Who names one need not have it listed.
            assert [(one.name, one.state) for one in manager.schedules("db/a")] == [("db/*", "unknown"), ("db/a", "ok")]

    def test_a_pattern_that_cannot_be_listed_is_no_business_of_who_may_see_none_of_it(
        self, clock: FakeClock, rule: Any
    ) -> None:
        backend = DatedBackend(clock, *NAMES, lacks=[Capability.LIST])
        with opened(clock, backend, RULES, policies=[rule("tester", "list", names="api/**")]) as manager:
            assert names(manager.rotation.status()) == ["api/key"]

    @pytest.mark.parametrize("prefix", ["a//b", "../x", 7])
    def test_a_prefix_that_is_none_is_refused_and_recorded(
        self, prefix: Any, manager: strongroom.SecretManager, sink: Any
    ) -> None:
        for look in (manager.rotation.status, manager.rotation.schedule, manager.rotation.rotate_due):
            with pytest.raises(InvalidNameError):
                look(prefix)
        assert [event.result for event in sink.named("schedules")] == ["invalid_name"] * 3


class TestServices:
    """What services rotate, beside what we do."""

    def test_both_are_in_one_list_and_nothing_is_in_it_twice(self, clock: FakeClock) -> None:
        service = ServicedBackend(
            MemorySettings(seed={name: SecretValue("v") for name in ("managed/a", "own/b")}), clock=clock
        )
        service.listed = [
            Schedule(name=SecretName("managed/a"), rule="every 3 days", by="fn", next=clock.now() + timedelta(days=1)),
            Schedule(name=SecretName("own/c"), rule="every 3 days", by="fn", enabled=False),
        ]
        with opened(clock, service, {"**": {"every": "1d"}}) as manager:
            assert [(one.name, one.by, one.pattern, one.state) for one in manager.schedules()] == [
                ("managed/a", "fn", None, "ok"),
                ("own/b", "random", "**", "ok"),
                ("own/c", "fn", None, "off"),
            ]
            assert names(manager.rotation.status()) == ["own/b"]

    @pytest.mark.parametrize(("passed", "state"), [(-1.0, "ok"), (0.0, "due"), (3600.0, "due"), (3601.0, "overdue")])
    def test_a_service_s_schedule_has_a_state_too(self, passed: float, state: str, clock: FakeClock) -> None:
        service = ServicedBackend(MemorySettings(), clock=clock)
        due = clock.now() - timedelta(seconds=passed)
        service.listed = [Schedule(name=SecretName("a"), rule="daily", by="fn", next=due, window=3600.0)]
        with opened(clock, service, {}) as manager:
            assert [one.state for one in manager.schedules()] == [state]


class TestSchedule:
    """When our own rules are due."""

    def test_what_was_never_rotated_counts_from_when_it_was_written(
        self, manager: strongroom.SecretManager, backend: DatedBackend, clock: FakeClock
    ) -> None:
        begun = clock.now()
        clock.advance(5 * DAY)
        found = manager.schedules("db/a")[0]
        assert (found.last, found.due, found.warn_from) == (
            None,
            begun + timedelta(days=90),
            begun + timedelta(days=83),
        )
        assert (found.next, found.window, found.rule, found.by) == (found.due, None, "every 90 days", "random")
        assert backend.values == []

    def test_what_was_rotated_counts_from_then_also_after_it_was_written_by_hand(
        self, manager: strongroom.SecretManager, clock: FakeClock
    ) -> None:
        clock.advance(5 * DAY)
        manager.rotate("db/a")
        rotated = clock.now()
        clock.advance(DAY)
        manager.set("db/a", "by hand")
        found = manager.schedules("db/a")[0]
        assert (found.last, found.due) == (rotated, rotated + timedelta(days=90))

    @pytest.mark.parametrize(
        ("days", "state"), [(0, "ok"), (83, "due soon"), (90, "due"), (90.05, "overdue"), (400, "overdue")]
    )
    def test_the_state_tells_monitoring_what_to_do(
        self, days: float, state: str, manager: strongroom.SecretManager, clock: FakeClock
    ) -> None:
        clock.advance(days * DAY)
        assert [one.state for one in manager.schedules()] == ["off", state, state]

    def test_a_rule_with_a_window_says_when_and_how_long_it_is_open(
        self, clock: FakeClock, backend: DatedBackend
    ) -> None:
        with opened(clock, backend, {"db/a": {"every": "36h", "window": "Sun 02:00-04:00"}}) as manager:
            (found,) = manager.schedules()
        assert found.rule == "every 36 hours, Sun 02:00-04:00"
        assert found.next is not None
        assert (found.next.isoformat(), found.window) == ("2026-01-04T02:00:00+00:00", 7200.0)

    def test_without_versions_what_was_never_rotated_is_due_now(self, clock: FakeClock) -> None:
        backend = DatedBackend(clock, "db/a", lacks=[Capability.VERSIONS])
        with opened(clock, backend, {"db/a": {"every": "90d"}}) as manager:
            assert [(one.due, one.state) for one in manager.schedules()] == [(clock.now(), "due")]
            manager.rotation.rotate_due()
            assert [one.state for one in manager.schedules()] == ["ok"]

    def test_stages_that_do_not_say_when_are_never_taken_for_due(self, clock: FakeClock) -> None:
        """They would be due after each rotation again."""
        backend = StagedBackend()
        backend.versions = lambda request: _undated(backend, request)  # type: ignore[method-assign]  # a double
        with opened(clock, backend, {"db/a": {"every": "90d"}}) as manager:
            manager.set("db/a", "old")
            (found,) = manager.schedules()
            assert (found.state, manager.rotation.rotate_due().rotated) == ("unknown", ())
            assert "does not say when versions were made" in found.problem

    def test_a_secret_of_a_table_that_is_not_there_is_unknown(self, clock: FakeClock, backend: DatedBackend) -> None:
        with opened(clock, backend, {"db/gone": {"every": "90d"}}) as manager:
            assert [(one.state, one.problem) for one in manager.schedules()] == [
                ("unknown", "there is no secret db/gone")
            ]

    def test_one_that_fails_is_unknown_and_the_others_are_told(
        self, manager: strongroom.SecretManager, backend: DatedBackend
    ) -> None:
        backend.failing["db/a"] = BackendUnavailableError("no answer")
        assert [(one.name, one.state, one.problem) for one in manager.schedules("db")] == [
            ("db/a", "unknown", "no answer"),
            ("db/b", "ok", ""),
        ]

    def test_a_rotation_in_the_future_of_the_clock_is_shown(
        self, manager: strongroom.SecretManager, clock: FakeClock
    ) -> None:
        manager.rotate("db/a")
        clock.set_wall(clock.now() - timedelta(days=300))
        (found,) = manager.schedules("db/a")
        assert (found.state, found.due) == ("ok", clock.now() + timedelta(days=90))
        assert "still to come by this clock" in found.problem

    def test_a_rotator_that_there_is_not_is_no_reason_to_fail(self, clock: FakeClock, backend: DatedBackend) -> None:
        with opened(clock, backend, RULES | {"db/b": {"rotator": "nobody-has-it"}}) as manager:
            assert [(one.name, one.state) for one in manager.schedules("db")] == [("db/a", "ok"), ("db/b", "unknown")]

    def test_the_records_of_many_are_read_at_once_and_no_value_with_them(self, clock: FakeClock, sink: Any) -> None:
        backend = DatedBackend(clock, *(f"db/{number:03}" for number in range(250)))
        with opened(clock, backend, {"db/*": {"every": "1d"}}, sink=sink) as manager:
            assert len(manager.schedules()) == 250
        assert backend.asked.count("read_many") == 3
        assert (backend.asked.count("read"), backend.values) == (0, [])
        assert [(event.key, event.count) for event in sink.named("schedules")] == [("", 250)]

    def test_on_a_loop_it_is_the_same(self, manager: strongroom.SecretManager) -> None:
        async def main() -> list[Any]:
            aio = strongroom.AsyncSecretManager(manager)
            desk = aio.rotation
            return [await aio.schedules(), await desk.schedule("db"), await desk.status(), await desk.plan("db/a")]

        desk = manager.rotation
        assert asyncio.run(main()) == [manager.schedules(), desk.schedule("db"), desk.status(), desk.plan("db/a")]


class TestStatus:
    """How rotations stand."""

    def test_the_overlap_is_told_with_its_end(self, manager: strongroom.SecretManager, clock: FakeClock) -> None:
        rotated = manager.rotate("api/key")
        (status,) = manager.rotation.status("api/key")
        assert (status.state, status.step, status.until) == ("overlap", "finish", clock.now() + timedelta(hours=2))
        assert (status.id, status.rotated, status.rotator) == (rotated.id, clock.now(), "random")  # type: ignore[attr-defined]  # by a rule
        assert status.owner is not None
        assert status.owner.startswith("process ")
        clock.advance(7200)
        assert manager.rotation.status("api/key")[0].state == "left"
        # Whoever looks next finishes it: monitoring has no reason to call anybody yet.
        assert manager.schedules("api/key")[0].state == "off"
        clock.advance(3601)
        assert manager.schedules("api/key")[0].state == "left"

    def test_it_needs_no_value_and_is_recorded(
        self, manager: strongroom.SecretManager, backend: DatedBackend, sink: Any
    ) -> None:
        manager.rotation.status("db")
        assert backend.values == []
        (event,) = sink.named("schedules")
        assert (event.key, event.count, event.detail) == ("db/", 2, "how rotations stand")


class TestPlan:
    """What rotating would do."""

    def test_nothing_is_done_and_no_value_read(
        self, manager: strongroom.SecretManager, backend: DatedBackend, sink: Any
    ) -> None:
        plan = manager.rotation.plan("db/a")
        assert (plan.name, plan.backend, plan.rotator, plan.version) == ("db/a", "main", "random", "1")
        assert plan.steps[0] == "Have the rotator random make a new value."
        assert "Make it the current value, over version 1." in plan.steps
        assert plan.obstacle is None
        assert (backend.values, backend.asked.count("write")) == ([], 0)
        assert [(event.key, event.detail) for event in sink.named("schedules")] == [("db/a", "a plan of its rotation")]

    def test_without_a_rule_it_is_one_write(self, manager: strongroom.SecretManager) -> None:
        plan = manager.rotation.plan("plain")
        assert (plan.steps, plan.obstacle) == (
            ("Make 32 random bytes.", "Write them over version 1.", "Tell subscribers."),
            None,
        )

    def test_what_would_refuse_it_is_told_and_not_raised(
        self, manager: strongroom.SecretManager, clock: FakeClock, backend: DatedBackend
    ) -> None:
        assert manager.rotation.plan("nothing").obstacle.code == "not_found"  # type: ignore[union-attr]  # there is one
        manager.rotate("api/key")
        plan = manager.rotation.plan("api/key")
        with pytest.raises(strongroom.errors.RotationError) as refused:
            manager.rotate("api/key")
        assert (plan.obstacle.code, plan.obstacle.what) == (refused.value.code, refused.value.what)  # type: ignore[union-attr]  # there is one
        clock.advance(7200)
        plan = manager.rotation.plan("api/key")
        assert (plan.steps[0], plan.obstacle) == ("Finish the rotation before this one.", None)
        backend.failing["db/a"] = BackendUnavailableError("no answer")
        assert manager.rotation.plan("db/a").obstacle is backend.failing["db/a"]

    def test_a_rotator_that_there_is_not_is_an_obstacle(self, clock: FakeClock, backend: DatedBackend) -> None:
        with opened(clock, backend, {"db/b": {"rotator": "nobody-has-it"}}) as manager:
            obstacle = manager.rotation.plan("db/b").obstacle
        assert obstacle is not None
        assert obstacle.code == "plugin_missing"

    def test_what_a_service_rotates_is_left_to_it(self, clock: FakeClock) -> None:
        service = ServicedBackend(MemorySettings(seed={"managed/a": SecretValue("v")}), clock=clock)
        with opened(clock, service, {}) as manager:
            plan = manager.rotation.plan("managed/a")
        assert (plan.rotator, plan.steps[0]) == ("the backend's service", "Have the service of main rotate it.")
        assert "trigger_rotation" not in service.asked

    def test_it_takes_the_right_to_rotate(self, clock: FakeClock, backend: DatedBackend, rule: Any, sink: Any) -> None:
        with (
            opened(clock, backend, RULES, policies=[rule("tester", "list", "read")], sink=sink) as manager,
            pytest.raises(strongroom.errors.AccessDeniedError),
        ):
            manager.rotation.plan("db/a")
        assert [(event.key, event.result) for event in sink.named("schedules")] == [("db/a", "denied")]


def _undated(backend: StagedBackend, request: Any) -> Any:
    found = StagedBackend.versions(backend, request)
    return found.replace(versions=tuple(one.replace(created=None) for one in found.versions))
