"""An agent with a dashboard for tests: the real application over a trail that is a list, in a thread."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from strongroom.contracts import KeySource, TrailHead, TrailReport
from strongroom.contracts.health import Health, HealthState
from strongroom.contracts.service_rotation import Schedule
from strongroom.model import AuditEvent, SecretName, SecretValue

TOKEN = "token-of-the-operator-0123456789abcdef"
PLAIN_TOKEN = "token-of-a-program-0123456789abcdefgh"
HEAD = TrailHead(position=1, digest="00" * 32)


def stamp(when: datetime) -> str:
    """Return a time as the trail has it."""
    return when.isoformat(timespec="microseconds")


def event(number: int, when: datetime, **fields: Any) -> AuditEvent:
    """Return an event; a read of ``db/password`` by ``web`` from the cache unless the fields say otherwise."""
    usual = {"event": "get", "key": "db/password", "principal": "web", "source": "cache", "backend": "local"}
    return AuditEvent(**{**usual, "id": f"{number:032x}", "timestamp": stamp(when), **fields})


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another thread brings about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.01)


class FakeTrail:
    """A trail that is a list, to which a test may add."""

    def __init__(self, events: Iterable[AuditEvent] = (), *, type: str = "fake") -> None:
        self.type = type
        self.events = list(events)
        self.reads = 0
        self.closed = 0
        self.ended = False
        self.error: Exception | None = None
        self.report: Any = None

    def read(self, query: Any) -> Iterator[AuditEvent]:
        self.reads += 1
        place = 0
        while not self.ended:
            if self.error is not None:
                raise self.error
            while place < len(self.events):
                place += 1
                yield self.events[place - 1]
            time.sleep(0.01)

    def verify(self, head: Any = None) -> Any:
        if isinstance(self.report, Exception):
            raise self.report
        sealed = TrailReport(state="sealed", events=len(self.events), files=("audit.jsonl",), head=HEAD)
        return self.report or sealed

    def close(self) -> None:
        self.closed += 1


class GivenToken(KeySource):
    """A caller's token that is in no file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def read(self) -> SecretValue:
        return SecretValue(self._token)

    def describe(self) -> str:
        return "the test's token"


class _Part:
    def __init__(self, kind: str, name: str, health: Health, condition: Any = None) -> None:
        self.kind, self.name, self.health, self.condition = kind, name, health, condition


class StandInManager:
    """What the dashboard uses of a manager."""

    def __init__(self, events: Iterable[AuditEvent]) -> None:
        self.trail = FakeTrail(events, type="jsonl")
        self.schedules: list[Schedule] = []
        self.parts: list[Any] = []
        self.journal: Any = None
        self.looks = 0

    def trails(self) -> tuple[Any, ...]:
        return (self.trail,)

    @property
    def rotation(self) -> Any:
        return self

    def schedule(self) -> tuple[Schedule, ...]:
        self.looks += 1
        return tuple(self.schedules)

    def stats(self) -> Any:
        from strongroom.cache.stats import CacheStats

        counts = dict.fromkeys(set(CacheStats._fields) - {"ages", "lives"}, 0)
        served = {"reads": 48211, "hits": 45802, "misses": 2300, "negative_hits": 87, "errors": 22, "size": 311}
        return CacheStats(**(counts | served | {"max_entries": 1000, "ages": {}, "lives": {}}))

    def health(self) -> Any:
        from strongroom.operations.checkup import ManagerHealth

        states = [HealthState.UP, HealthState.DEGRADED, HealthState.DOWN]
        worst = max((part.health.state for part in self.parts), key=states.index, default=HealthState.UP)
        return ManagerHealth(state=worst, parts=tuple(self.parts), journal=self.journal)

    def as_principal(self, name: str) -> StandInManager:
        return self

    def close(self) -> None:
        self.trail.ended = True


def backend(name: str, state: HealthState = HealthState.UP, *, breaker: str = "healthy", reason: str = "") -> Any:
    """Return a backend's part of a manager's health."""
    from strongroom.resilience.conditions import ConditionReport, ConditionState

    report = ConditionReport(backend=name, state=ConditionState(breaker), since=0.0, reason=reason, oldest_stale=None)
    return _Part("backend", name, Health(state=state, reason=reason), report)


def sink(name: str) -> Any:
    """Return an audit sink's part of a manager's health."""
    return _Part("audit", name, Health(state=HealthState.UP))


def journal(*, waiting: int, set_aside: int, oldest: float) -> Any:
    """Return the journal's part of a manager's health."""
    from strongroom.operations.checkup import JournalHealth

    return JournalHealth(waiting=waiting, set_aside=set_aside, size=10, oldest=oldest)


def schedule(name: str, state: str, *, every: timedelta, left: timedelta, now: datetime | None = None) -> Schedule:
    """Return when a secret is rotated, ``left`` from now on."""
    until = (now or datetime.now(UTC)) + left
    rule = f"every {every.days} days" if every.days else f"every {every.seconds // 3600} hours"
    return Schedule(
        name=SecretName(name), rule=rule, by="random", last=until - every, next=until, pattern="**", state=state
    )


def make_state(manager: StandInManager, **settings: Any) -> Any:
    """Return the agent's state over a stand-in; the operator's token is ``TOKEN``, a program's ``PLAIN_TOKEN``."""
    from strongroom_agent.settings import AgentSettings, CallerSettings
    from strongroom_agent.state import AgentState, Loaded

    callers = {}
    for name, token, sees in (("operator", TOKEN, True), ("program", PLAIN_TOKEN, False)):
        callers[name] = CallerSettings(principal=name, token=GivenToken(token), dashboard=sees)
    made = AgentSettings(**{"callers": callers, "dashboard": True, "listen": ("127.0.0.1:0",), **settings})
    return AgentState(lambda: Loaded(settings=made, manager=cast("Any", manager)))


@contextlib.contextmanager
def served(state: Any, port: int = 0) -> Iterator[str]:
    """Serve an agent's application on loopback, and return its address.

    Args:
        state: The agent's state.
        port: Where; any that is free unless given.
    """
    import uvicorn

    from strongroom_agent.app import Agent

    with socket.create_server(("127.0.0.1", port)) as listener:
        config = uvicorn.Config(Agent(state), log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            state.close()
