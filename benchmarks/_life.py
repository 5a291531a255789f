"""What each principal does in thirty days if nothing special happens: its routine, deployments and trips included."""

from __future__ import annotations

import math

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from _fleet import DAY, DAYS, HOUR, MINUTE, Event, Member, World, poisson, popularity


@dataclass
class Era:
    """A time in which a service has the same machines and the same names."""

    start: float
    names: list[str]
    hosts: list[str]
    booting: list[str] = field(default_factory=list)
    """Machines that start with an empty cache."""
    cause: str = "usual"


class Life:
    """What one member does in thirty days, as events in no order.

    Args:
        world: The world that it lives in.
        member: Who.
    """

    def __init__(self, world: World, member: Member) -> None:
        self.world = world
        self.member = member
        self.rng = world.random(member.name)
        self.events: list[Event] = []

    def run(self) -> list[Event]:
        """Live through all days."""
        live = {
            "web": self._service,
            "scaled": self._service,
            "batch": self._batch,
            "ci": self._pipelines,
            "check": self._checks,
            "person": self._person,
        }
        live[self.member.kind]()
        return self.events

    def add(
        self,
        time: float,
        name: str,
        *,
        host: str,
        cause: str = "usual",
        result: str = "ok",
        action: str = "read",
        process: str = "",
    ) -> None:
        """Note one access, unless it lies outside the thirty days."""
        member, world = self.member, self.world
        if world.start <= time < world.end:
            self.events.append(Event(time, member.name, action, name, result, host, process or member.process, cause))

    def in_a_row(self, time: float, names: Sequence[str], host: str, gap: tuple[float, float], **more: str) -> float:
        """Read some names one after the other; return when the last is read."""
        for name in names:
            self.add(time, name, host=host, **more)
            time += self.rng.uniform(*gap)
        return time

    def working(self, day: int) -> bool:
        return self.world.working[day]

    def days(self) -> range:
        return range(self.member.first, DAYS)

    # Services

    def _service(self) -> None:
        eras = self._eras()
        starts = [era.start for era in eras]
        weights = {len(era.names): popularity(len(era.names)) for era in eras}
        for era in eras:
            self._boot(era)
        for day in self.days():
            for hour in range(24):
                start = self.world.at(day, hour)
                count = poisson(self.rng, self.member.pace / 24 * self._load(start))
                for _ in range(count):
                    time = start + self.rng.random() * HOUR
                    era = eras[max(0, bisect_right(starts, time) - 1)]
                    name = self.rng.choices(era.names, cum_weights=weights[len(era.names)])[0]
                    self.add(time, name, host=self.rng.choice(era.hosts))

    def _load(self, time: float) -> float:
        """Return how busy a service is, 1 on average on a working day."""
        day = int((time - self.world.start) // DAY)
        hour = (time / HOUR + self.member.shift) % 24
        busy = 0.25 + 1.5 * max(0.0, math.sin((hour - 6) / 16 * math.pi)) if 6 <= hour <= 22 else 0.25
        return busy * (1.0 if self.working(day) else 0.45)

    def _boot(self, era: Era) -> None:
        time = era.start
        for host in era.booting:
            names = list(era.names)
            self.rng.shuffle(names)
            self.in_a_row(time, names, host, (0.05, 2.0), cause=era.cause)
            time += self.rng.uniform(20, 120)

    def _eras(self) -> list[Era]:
        member, rng = self.member, self.rng
        names = list(member.used)
        hosts = self._pods(4) if member.kind == "scaled" else list(member.hosts)
        start = self.world.at(member.first, 8 if member.first else 0)
        eras = [Era(start, names, hosts, list(hosts), "new service" if member.first else "usual")]
        for day in self.days():
            times = [(hour + rng.random(), "scale") for hour in range(24)] if member.kind == "scaled" else []
            if self.working(day) and rng.random() < 0.35:
                times.append((rng.uniform(9, 17), "deployment"))
            if member.kind == "web" and rng.random() < 0.01:
                times.append((rng.uniform(0, 24), "replacement"))
            for hour, what in sorted(times):
                time = self.world.at(day, hour)
                if time > eras[-1].start:
                    eras += self._changed(eras[-1], time, what)
        return eras

    def _pods(self, count: int) -> list[str]:
        return [f"{self.member.name}-{self.rng.randrange(16**8):08x}" for _ in range(count)]

    def _changed(self, era: Era, time: float, what: str) -> Iterator[Era]:
        """Yield the next era, if anything changes."""
        rng, scaled = self.rng, self.member.kind == "scaled"
        if what == "scale":
            wanted = max(3, round(3 + 9 * self._load(min(time, self.world.end - 1))))
            new = self._pods(max(0, wanted - len(era.hosts)))
            if new or wanted < len(era.hosts) - 1:
                yield Era(time, era.names, era.hosts[-wanted:] + new, new, "scaling")
        elif what == "replacement":
            old = rng.choice(era.hosts)
            new = [f"{old.rstrip('0123456789')}{rng.randint(10, 99)}"]
            yield Era(time, era.names, [host for host in era.hosts if host != old] + new, new, "replacement")
        else:
            hosts = self._pods(len(era.hosts)) if scaled else era.hosts
            names = self._released(era.names)
            if rng.random() < 0.1:
                self._misspelled(time, names, hosts)
            yield Era(time, names, hosts, list(hosts), "deployment")

    def _released(self, names: list[str]) -> list[str]:
        """Return the names that a new release uses: mostly the same, sometimes a few more, rarely many more."""
        chance = self.rng.random()
        count = self.rng.randint(8, 15) if chance < 0.05 else self.rng.randint(1, 3) if chance < 0.4 else 0
        unused = [name for name in self.member.visible if name not in names]
        new = self.rng.sample(unused, min(count, len(unused)))
        merged = list(names)
        for name in new:
            merged.insert(self.rng.randint(0, len(merged)), name)
        return merged

    def _misspelled(self, time: float, names: list[str], hosts: list[str]) -> None:
        """Read a name that does not exist until somebody mends the configuration."""
        name = f"{self.rng.choice(names)}s"
        end = time + self.rng.uniform(10, 60) * MINUTE
        while time < end:
            self.add(time, name, host=self.rng.choice(hosts), result="not_found", cause="misspelling")
            time += self.rng.uniform(20, 200)

    # Jobs, pipelines and checks

    def _batch(self) -> None:
        what, names, hour = self.member.process, list(self.member.used), self.rng.uniform(0, 5)
        for day in self.days():
            due = {
                "week": self.world.weekday[day] == 6,
                "rotation": self.world.weekday[day] == 2,
                "month": self.world.month_end[day],
            }.get(what, True)
            if self.rng.random() < 0.08 and what != "backup":
                unused = [name for name in self.member.visible if name not in names]
                names += self.rng.sample(unused, min(len(unused), self.rng.randint(1, 2)))
            if due:
                self._job(day, hour + self.rng.gauss(0, 0.05), names)

    def _job(self, day: int, hour: float, names: list[str]) -> None:
        late = self.rng.uniform(1, 6) if self.rng.random() < 0.08 else 0.0
        runs = self.rng.randint(2, 4) if self.rng.random() < 0.05 else 1
        time = self.world.at(day, hour + late)
        for run in range(runs):
            part = names if run == runs - 1 else names[: self.rng.randint(1, len(names))]
            if self.member.process == "rotation":
                part = self.rng.sample(part, min(len(part), self.rng.randint(10, 30)))
            action = "rotate" if self.member.process == "rotation" else "read"
            cause = "late job" if late else "repeated job" if run else "job"
            time = self.in_a_row(time, part, self.member.hosts[0], (0.1, 3), cause=cause, action=action)
            time += self.rng.uniform(3, 15) * MINUTE

    def _pipelines(self) -> None:
        rng, names = self.rng, list(self.member.used)
        recipes = [rng.sample(names, rng.randint(4, 20)) for _ in range(rng.randint(4, 7))]
        for day in self.days():
            self._pipeline(self.world.at(day, 1 + rng.random() / 2, self.member), names, "nightly pipeline")
            if rng.random() < 0.15:
                unused = [name for name in self.member.visible if name not in names]
                new = rng.sample(unused, min(len(unused), rng.randint(1, 4)))
                rng.choice(recipes).extend(new)
                names += new
            for _ in range(poisson(rng, self.member.pace if self.working(day) else 0.6)):
                hour = min(23.0, max(0.0, rng.gauss(13.5, 3)))
                self._pipeline(self.world.at(day, hour, self.member), rng.choice(recipes), "pipeline")

    def _pipeline(self, time: float, names: list[str], cause: str) -> None:
        host = self.rng.choice(self.member.hosts) if self.member.hosts else f"runner-{self.rng.randrange(16**6):06x}"
        self.in_a_row(time, names, host, (0.1, 20), cause=cause)

    def _checks(self) -> None:
        gap = DAY / self.member.pace
        time = self.world.start + self.rng.random() * gap
        while time < self.world.end:
            self.in_a_row(time, self.member.used, self.member.hosts[0], (0.05, 0.5))
            time += gap + self.rng.gauss(0, 2)

    # People

    def _person(self) -> None:
        rng, member = self.rng, self.member
        names = list(member.used)
        away = range(start, start + 7) if rng.random() < 0.07 and (start := rng.randrange(DAYS)) else range(0)
        new_laptop = rng.randrange(DAYS * 14)
        for day in self.days():
            if day == new_laptop:
                member.hosts[0] = f"laptop-{rng.randrange(16**4):04x}"
            shift = rng.choice((-7.0, 6.0)) if day in away else 0.0
            for _ in range(self._sessions(day)):
                hour = rng.gauss(10.5, 1.2) if rng.random() < 0.5 else rng.gauss(15, 1.5)
                cause = "travel" if shift else "joiner" if member.first and day < member.first + 4 else "usual"
                self._session(self.world.at(day, hour + shift, member), names, cause)
            if rng.random() < 0.02:
                hour = rng.uniform(19.5, 25.5) if self.working(day) else rng.uniform(9, 22)
                self._session(self.world.at(day, hour, member), names, "overtime")

    def _sessions(self, day: int) -> int:
        joining = self.member.first and day < self.member.first + 4
        return poisson(self.rng, self.member.pace * (2 if joining else 1)) if self.working(day) else 0

    def _session(self, time: float, names: list[str], cause: str) -> None:
        rng, member = self.rng, self.member
        host = member.hosts[0] if rng.random() < 0.85 else member.hosts[-1]
        process = "python" if rng.random() < 0.1 else ""
        if rng.random() < 0.15:
            folder = rng.choice(member.visible).split("/", 1)[0]
            self.add(time, folder, host=host, action="list", cause=cause, process=process)
        for _ in range(min(12, 1 + int(rng.expovariate(0.4)))):
            time += rng.uniform(3, 120)
            self._look(time, names, host, cause, process)

    def _look(self, time: float, names: list[str], host: str, cause: str, process: str) -> None:
        """Read one name as people do: mostly a known one, at times a new, a wrong or a forbidden one."""
        rng, chance = self.rng, self.rng.random()
        result, action = "ok", "update" if rng.random() < 0.03 else "read"
        if chance < (0.4 if cause == "joiner" else 0.06):
            name = rng.choice(self.member.visible)
            names.insert(rng.randint(0, len(names)), name)
        elif chance < 0.92 or cause == "joiner":
            name = rng.choices(names, cum_weights=popularity(len(names)))[0]
        elif chance < 0.985:
            name = rng.choice(names)
            name, result = (name, "ok") if rng.random() < 0.7 else (f"{name[:-1]}", "not_found")
        else:
            name, result = rng.choice(self.world.names), "ok"
            result = "ok" if name in self.member.visible else "denied"
        self.add(time, name, host=host, cause=cause, process=process, result=result, action=action)
