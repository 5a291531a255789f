"""When services rotate secrets: of all backends that say so, of what the principal may list, and recorded."""

from __future__ import annotations

import asyncio

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

import strongroom

from serviced import ServicedBackend
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Decision, Leasing, Schedule, SchedulesResult, Verdict
from strongroom.errors import BackendError, BackendUnavailableError, InvalidNameError, SuspiciousActivityError
from strongroom.model import SecretName
from strongroom.testing import FakeClock


def schedule(name: str) -> Schedule:
    return Schedule(name=SecretName(name), rule="every 30 days", by="rotate-it")


class Services:
    """Two backends whose services rotate some names, and one without, of which each may hold some names."""

    def __init__(self, open_manager: Any, clock: FakeClock) -> None:
        self.first = self._service(clock, "r1", "db/b", "db/deep/a", "api/elsewhere", "z")
        self.second = self._service(clock, "r2", "api/c", "db/elsewhere")
        self._open = open_manager

    def _service(self, clock: FakeClock, request_id: str, *names: str) -> ServicedBackend:
        service = ServicedBackend(MemorySettings(), clock=clock)
        service.listed = [schedule(name) for name in names]
        service.request_id = request_id
        return service

    def __call__(self, **config: Any) -> strongroom.SecretManager:
        """Open a manager on the three."""
        backends = {"first": self.first, "second": self.second, "plain": MemoryBackend()}
        routes = {"api/": "second", "plain/": "plain"}
        opened: strongroom.SecretManager = self._open(backends=backends, backend="first", routes=routes, **config)
        return opened


@pytest.fixture
def services(open_manager: Any, clock: FakeClock) -> Services:
    return Services(open_manager, clock)


@pytest.fixture
def names() -> Callable[[tuple[Schedule, ...]], list[str]]:
    return lambda schedules: [one.name for one in schedules]


@pytest.mark.parametrize(
    ("prefix", "found", "asked"),
    [
        ("", ["api/c", "db/b", "db/deep/a", "z"], (1, 1)),
        ("db", ["db/b", "db/deep/a"], (1, 0)),
        ("db/", ["db/b", "db/deep/a"], (1, 0)),
        ("db/deep", ["db/deep/a"], (1, 0)),
        ("api", ["api/c"], (0, 1)),
        ("plain", [], (0, 0)),
    ],
)
def test_every_backend_is_asked_that_may_hold_such_names_and_told_is_what_is_read_from_it(
    prefix: str, found: list[str], asked: tuple[int, int], services: Services, names: Any
) -> None:
    assert names(services().schedules(prefix)) == found
    # And nothing else is asked, such as whether each secret is rotated.
    assert services.first.asked == ["schedules"] * asked[0]
    assert services.second.asked == ["schedules"] * asked[1]


def test_a_backend_whose_service_rotates_nothing_has_none(open_manager: Any) -> None:
    assert open_manager({"db/password": "v"}).schedules() == ()


def test_what_the_principal_may_not_list_is_left_out(services: Services, names: Any, rule: Any) -> None:
    manager = services(policies=[rule("tester", "list", names="db/**"), rule("tester", "read", names="z")])
    assert names(manager.schedules()) == ["db/b", "db/deep/a"]


def test_a_view_sees_what_both_may_list(services: Services, names: Any, rule: Any) -> None:
    rules = [rule("tester", "list", names="db/**"), rule("other", "list", names=["db/b", "z"])]
    assert names(services(policies=rules).as_principal("other").schedules()) == ["db/b"]


def test_what_a_backend_says_of_other_folders_is_left_out(services: Services, names: Any) -> None:
    listed = tuple(services.first.listed)
    services.first.schedules = lambda _: SchedulesResult(schedules=listed)  # type: ignore[method-assign]  # a double
    assert names(services().schedules("db/deep")) == ["db/deep/a"]


@pytest.mark.parametrize("time", ["last", "next"])
def test_a_time_without_its_offset_is_the_plugin_s_fault_and_shows_no_name(
    time: str, services: Services, rule: Any
) -> None:
    services.first.listed.append(schedule("hidden/name").replace(**{time: datetime(2030, 1, 2)}))  # noqa: DTZ001  # that is the fault
    with pytest.raises(BackendError, match="without the offset from UTC") as caught:
        services(policies=[rule("tester", "list", names="db/**")]).schedules()
    assert "hidden" not in repr(caught.value.__dict__)


def test_a_leased_name_is_left_out(open_manager: Any, clock: FakeClock, names: Any) -> None:
    class Mixed(ServicedBackend, Leasing):
        def is_leased(self, name: SecretName) -> bool:
            return name.is_below("creds")

        def renew_lease(self, request: Any) -> Any:
            raise AssertionError("nothing was leased")

        revoke_lease = release_lease = renew_lease

    mixed = Mixed(MemorySettings(), clock=clock)
    mixed.listed = [schedule("creds/role"), schedule("db/b")]
    assert names(open_manager(backends={"memory": mixed}).schedules()) == ["db/b"]


def test_it_is_recorded_as_a_list_is(services: Services, sink: Any) -> None:
    manager = services()
    manager.schedules("db/")
    manager.schedules()
    one, whole = sink.named("schedules")
    assert (one.key, one.result, one.count, one.request_id) == ("db/", "ok", 2, "r1")
    assert (whole.key, whole.count, whole.request_id) == ("", 4, "r1,r2")


def test_a_failure_is_recorded(services: Services, sink: Any) -> None:
    def fail(_: str) -> None:
        raise BackendUnavailableError("no answer", code="timeout")

    services.second.before = fail
    with pytest.raises(BackendUnavailableError):
        services().schedules()
    assert [event.result for event in sink.named("schedules")] == ["timeout"]


@pytest.mark.parametrize("prefix", ["a//b", "../x", 7, "/"])
def test_a_prefix_that_is_no_folder_is_refused_and_recorded(prefix: Any, services: Services, sink: Any) -> None:
    with pytest.raises(InvalidNameError):
        services().schedules(prefix)
    assert [event.result for event in sink.named("schedules", "list")] == ["invalid_name"]
    assert len(sink.named("schedules")) == 1


def test_a_detector_sees_it_as_a_list_and_may_block_it(services: Services, sink: Any, watched: Any) -> None:
    watched.verdict = Verdict(decision=Decision.BLOCK, reason="at night")
    manager = services(anomaly=[{"type": "watch", "action": "block"}])
    with pytest.raises(SuspiciousActivityError):
        manager.schedules("db")
    assert [(access.action, access.name) for access in watched.seen] == [("list", "db")]
    assert [event.result for event in sink.named("schedules")] == ["suspicious"]
    assert services.first.asked == []


def test_on_a_loop_it_is_the_same(services: Services) -> None:
    manager = services()

    async def main() -> tuple[Schedule, ...]:
        async with strongroom.AsyncSecretManager(manager) as aio:
            return await aio.schedules("db")

    assert asyncio.run(main()) == manager.schedules("db")
