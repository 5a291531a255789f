"""Who is in the fleet whose traffic is made up: its calendar, its secrets and its fifty principals."""

from __future__ import annotations

import calendar
import math
import random

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

DAYS = 30
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
TEAMS = ("shop", "pay", "search", "mail", "stock", "auth", "media", "data", "ship", "ads", "hr", "core")
NAMES_OF_A_TEAM, SHARED_NAMES, OPERATIONS_NAMES = 35, 30, 50
KINDS = ("user", "password", "token", "key", "dsn", "cert", "webhook")


class Event(NamedTuple):
    """One access and how it ends."""

    time: float
    """Seconds since 1970, UTC."""
    principal: str
    action: str
    name: str
    result: str
    """``ok``, ``not_found`` or ``denied``."""
    host: str
    process: str
    cause: str
    """What brought it about, such as ``usual`` or ``deployment``; the number of an attack if it is part of one."""


@dataclass
class Member:
    """One principal of the fleet."""

    name: str
    kind: str
    """``web``, ``scaled``, ``batch``, ``ci``, ``check`` or ``person``."""
    process: str
    visible: list[str]
    """Every name that the policy lets it read."""
    used: list[str]
    """The names that it starts with, the most popular first."""
    hosts: list[str]
    pace: float
    """Reads, runs or sessions on a working day, by kind."""
    shift: float = 0.0
    """Hours that its day is ahead of UTC."""
    first: int = 0
    """The day on which it appears."""
    on_call: bool = False


class World:
    """The calendar, the names and the members.

    Args:
        seed: Decides everything; two worlds of one seed are alike.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = self.random("world")
        first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=rng.randrange(330))
        self.start = first.timestamp()
        self.end = self.start + DAYS * DAY
        days = [first + timedelta(days=number) for number in range(DAYS)]
        holidays = {number for number, day in enumerate(days) if day.weekday() < 5 and rng.random() < 0.05}
        self.working = [day.weekday() < 5 and number not in holidays for number, day in enumerate(days)]
        self.weekday = [day.weekday() for day in days]
        self.month_end = [day.day == calendar.monthrange(day.year, day.month)[1] for day in days]
        self.names = _names(rng)
        self.members = _members(self, rng)

    def random(self, purpose: str) -> random.Random:
        """Return a source of chance of its own for each purpose, so that none disturbs another."""
        return random.Random(f"{self.seed}/{purpose}")

    def at(self, day: int, hour: float, member: Member | None = None) -> float:
        """Return the time of an hour of a day; on the member's clock if there is one."""
        return self.start + day * DAY + (hour - (member.shift if member else 0.0)) * HOUR

    def folder(self, *teams: str) -> list[str]:
        """Return all names of some teams."""
        return [name for name in self.names if name.split("/", 1)[0] in teams]


def _names(rng: random.Random) -> list[str]:
    teams = [
        f"{team}/{rng.choice(('db', 'api', 'queue', 'vendor', 'jobs'))}-{number}/{rng.choice(KINDS)}"
        for team in TEAMS
        for number in range(NAMES_OF_A_TEAM)
    ]
    shared = [f"shared/{number}/{rng.choice(KINDS)}" for number in range(SHARED_NAMES)]
    return teams + shared + [f"ops/{number}/{rng.choice(KINDS)}" for number in range(OPERATIONS_NAMES)]


def _mixed(rng: random.Random, own: Sequence[str], shared: Sequence[str], count: int) -> list[str]:
    """Pick names, one in four of them shared; the popular shared ones are popular with everybody."""
    some = min(len(shared), max(1, count // 4))
    names = rng.sample(own, min(len(own), count - some)) + list(shared[: some * 2])[:some]
    rng.shuffle(names)
    return names


def _members(world: World, rng: random.Random) -> list[Member]:
    shared = world.folder("shared")
    members = [_service(world, rng, number, shared) for number in range(18)]
    members += [_batch(world, rng, number, shared) for number in range(8)]
    members += [_pipeline(world, rng, number, shared) for number in range(4)]
    members += [_check(rng, number, shared) for number in range(6)]
    members += [_person(world, rng, number, shared) for number in range(14)]
    rng.choice(members[:14]).first = rng.randint(10, 22)
    rng.choice(members[-14:]).first = rng.randint(5, 20)
    return members


def _service(world: World, rng: random.Random, number: int, shared: list[str]) -> Member:
    kind = "web" if number < 14 else "scaled"
    team = TEAMS[number % len(TEAMS)]
    own = world.folder(team)
    hosts = [f"{team}-{chr(97 + number)}{host}" for host in range(1, rng.randint(2, 6) + 1)]
    return Member(
        name=f"svc-{team}-{number}",
        kind=kind,
        process=rng.choice(("gunicorn", "uvicorn", f"{team}-server", "celery")),
        visible=own + shared,
        used=_mixed(rng, own, shared, rng.randint(8, 25)),
        hosts=hosts,
        pace=min(2500.0, max(80.0, rng.lognormvariate(6.2, 0.8))),
        shift=rng.choice((0, 0, 1, 1, 2, -5, -8)),
    )


def _batch(world: World, rng: random.Random, number: int, shared: list[str]) -> Member:
    what = ("night", "night", "night", "night", "backup", "week", "rotation", "month")[number]
    folders = rng.sample(TEAMS, 5 if what in {"backup", "month", "rotation"} else 2)
    own = world.folder(*folders)
    count = {"backup": len(own), "month": 50, "rotation": 40}.get(what, rng.randint(5, 30))
    return Member(
        name=f"job-{what}-{number}",
        kind="batch",
        process=what,
        visible=own + shared,
        used=own if what == "backup" else _mixed(rng, own, shared, count),
        hosts=[f"batch-{rng.randint(1, 3)}"],
        pace=1.0,
        shift=rng.choice((0, 1, 2)),
    )


def _pipeline(world: World, rng: random.Random, number: int, shared: list[str]) -> Member:
    own = world.folder(*rng.sample(TEAMS, 4))
    return Member(
        name=f"ci-{number}",
        kind="ci",
        process=rng.choice(("runner", "deploy", "pytest")),
        visible=own + shared,
        used=_mixed(rng, own, shared, rng.randint(30, 50)),
        # Half of them start a new machine for each run.
        hosts=[f"runner-{number}-{host}" for host in range(4)] if number % 2 else [],
        pace=rng.uniform(8, 30),
        shift=rng.choice((0, 1, 2)),
    )


def _check(rng: random.Random, number: int, shared: list[str]) -> Member:
    return Member(
        name=f"check-{number}",
        kind="check",
        process="healthcheck" if number % 2 else "cron",
        visible=shared,
        used=rng.sample(shared, rng.randint(1, 3)),
        hosts=[f"monitor-{rng.randint(1, 2)}"],
        pace=DAY / rng.choice((300, 600, 900)),
    )


def _person(world: World, rng: random.Random, number: int, shared: list[str]) -> Member:
    own = world.folder(*rng.sample(TEAMS, rng.randint(1, 3)))
    if number < 6:
        own += world.folder("ops")
    return Member(
        name=f"person-{number}",
        kind="person",
        process="strongroom",
        visible=own + shared,
        used=_mixed(rng, own, shared, rng.randint(6, 15)),
        hosts=[f"laptop-{rng.randrange(16**4):04x}"] + (["jump-1"] if rng.random() < 0.4 else []),
        pace=rng.uniform(1, 5),
        shift=rng.choice((0, 0, 1, 1, 2, -5, -8)),
        on_call=number < 6,
    )


def poisson(rng: random.Random, mean: float) -> int:
    """Return how often something happens that happens *mean* times on average."""
    if mean > 40:
        return max(0, round(rng.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), rng.random(), 0
    while product > limit:
        product *= rng.random()
        count += 1
    return count


def popularity(count: int) -> list[float]:
    """Return cumulated weights: the second name is used half as often as the first, and so on."""
    weights, total = [], 0.0
    for rank in range(1, count + 1):
        total += 1 / rank
        weights.append(total)
    return weights
