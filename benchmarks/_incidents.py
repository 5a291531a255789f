"""What disturbs the fleet although nobody attacks it, and looks like an attack."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from _fleet import DAY, DAYS, HOUR, MINUTE, Event, Member, World


class History:
    """What each principal did up to a moment, from its sorted events."""

    def __init__(self, events: dict[str, list[Event]]) -> None:
        self.events = events
        self._times = {name: [event.time for event in own] for name, own in events.items()}

    def before(self, principal: str, time: float, seconds: float) -> list[Event]:
        """Return the events of some seconds before a moment."""
        times = self._times[principal]
        return self.events[principal][bisect_left(times, time - seconds) : bisect_left(times, time)]

    def hosts(self, principal: str, time: float) -> list[str]:
        """Return the machines of the last two hours with events, or else of the last days."""
        for seconds in (2 * HOUR, DAY, 7 * DAY, DAYS * DAY):
            if found := {event.host for event in self.before(principal, time, seconds)}:
                return sorted(found)
        return ["new-host"]

    def names(self, principal: str, time: float) -> list[str]:
        """Return what was read successfully in the last ten days, most popular first."""
        counts: dict[str, int] = {}
        for event in self.before(principal, time, 10 * DAY):
            if event.result == "ok" and event.action == "read":
                counts[event.name] = counts.get(event.name, 0) + 1
        return sorted(counts, key=lambda name: (-counts[name], name))


class Incidents:
    """Makes the incidents of one world.

    Args:
        world: The world.
        history: What has happened there.
    """

    def __init__(self, world: World, history: History) -> None:
        self.world = world
        self.history = history
        self.rng = world.random("incidents")
        self.members = {kind: [m for m in world.members if m.kind == kind] for kind in {m.kind for m in world.members}}

    def all(self) -> Iterator[Event]:
        """Yield the events of all incidents, in no order."""
        rng = self.rng
        for _ in range(rng.randint(2, 4)):
            yield from self._outage(rng.uniform(1, DAYS))
        for _ in range(rng.randint(2, 3)):
            yield from self._permissions(rng.uniform(1, DAYS))
        for week in range(5):
            for member in rng.sample([m for m in self.members["person"] if m.on_call], 2):
                for _ in range(rng.randint(0, 2)):
                    yield from self._called(member, week * 7 + rng.randrange(7))
        for happens, chance in ((self._audit, 0.5), (self._copy, 0.5), (self._maintenance, 0.6), (self._folder, 0.5)):
            if rng.random() < chance:
                yield from happens(self._workday())

    def _workday(self) -> int:
        return self.rng.choice([day for day in range(3, DAYS) if self.world.working[day]])

    def _event(self, member: Member, time: float, name: str, host: str, cause: str, **more: str) -> Event:
        facts = {"action": "read", "result": "ok", "process": member.process} | more
        return Event(time, member.name, facts["action"], name, facts["result"], host, facts["process"], cause)

    def _outage(self, day: float) -> Iterator[Event]:
        """A dependency fails: services read its secret at each attempt to connect, most with growing pauses."""
        rng = self.rng
        start, services = self.world.start + day * DAY, self.members["web"] + self.members["scaled"]
        end = start + rng.uniform(5, 40) * MINUTE
        for member in rng.sample(services, rng.choice((1, 1, 2, 4))):
            names = self.history.names(member.name, start)[:6]
            if not names:
                continue
            name, most = rng.choice(names), rng.choice((1, 10, 30, 30, 60))
            for host in self.history.hosts(member.name, start):
                time, pause = start + rng.uniform(0, 30), 1.0
                while time < end:
                    yield self._event(member, time, name, host, "outage")
                    time += pause * rng.uniform(0.8, 1.2)
                    pause = min(most, pause * 2)

    def _permissions(self, day: float) -> Iterator[Event]:
        """A policy is changed by mistake: a service is refused a few names until somebody notices."""
        rng = self.rng
        start = self.world.start + day * DAY
        member = rng.choice(self.members["web"] + self.members["scaled"])
        names = self.history.names(member.name, start)[: rng.randint(1, 3)]
        end = start + rng.uniform(20, 360) * MINUTE
        for host in self.history.hosts(member.name, start):
            time = start + rng.uniform(0, 120)
            while names and time < end:
                yield self._event(member, time, rng.choice(names), host, "permissions", result="denied")
                time += rng.uniform(30, 240)

    def _folder(self, day: int) -> Iterator[Event]:
        """A folder is withdrawn from a job, which tries all its names and fails."""
        member = self.rng.choice(self.members["batch"] + self.members["ci"])
        time = self.world.at(day, self.rng.uniform(0, 23))
        names = self.history.names(member.name, time)
        host = self.rng.choice(self.history.hosts(member.name, time))
        for name in self.rng.sample(names, min(len(names), self.rng.randint(4, 12))):
            yield self._event(member, time, name, host, "permissions", result="denied")
            time += self.rng.uniform(0.1, 5)

    def _called(self, member: Member, day: int) -> Iterator[Event]:
        """Somebody on call is woken up, and reads what the failing service uses."""
        rng = self.rng
        if not member.first <= day < DAYS:
            return
        time = self.world.at(day, rng.choice((rng.uniform(22, 30), rng.uniform(0, 24))), member)
        names = self.history.names(member.name, time) or member.used
        for _ in range(rng.randint(4, 20)):
            name = rng.choice(member.visible) if rng.random() < 0.3 else rng.choice(names)
            yield self._event(member, time, name, member.hosts[0 if rng.random() < 0.8 else -1], "on call")
            time += rng.uniform(5, 300)

    def _audit(self, day: int) -> Iterator[Event]:
        """Somebody looks through their folders for what nobody needs any more."""
        names = self.rng.randint(30, 60)
        yield from self._tour(day, names, (20, 160), "audit", "strongroom")

    def _copy(self, day: int) -> Iterator[Event]:
        """Somebody moves a folder with a script."""
        yield from self._tour(day, self.rng.randint(20, 40), (1, 8), "copy", "python")

    def _tour(self, day: int, count: int, gap: tuple[float, float], cause: str, process: str) -> Iterator[Event]:
        member = self.rng.choice(self.members["person"])
        time = self.world.at(max(day, member.first), self.rng.uniform(9, 16), member)
        yield self._event(member, time, member.visible[0].split("/")[0], member.hosts[0], cause, action="list")
        for name in self.rng.sample(member.visible, min(count, len(member.visible))):
            time += self.rng.uniform(*gap)
            yield self._event(member, time, name, member.hosts[0], cause, process=process)

    def _maintenance(self, day: int) -> Iterator[Event]:
        """A planned night: two people work late and restart three services."""
        rng = self.rng
        time = self.world.at(day, 22)
        for member in rng.sample(self.members["person"], 2):
            moment = time
            names = self.history.names(member.name, time) or member.used
            for _ in range(rng.randint(10, 30)):
                moment += rng.uniform(10, 600)
                yield self._event(member, moment, rng.choice(names), member.hosts[0], "maintenance")
        for member in rng.sample(self.members["web"], 3):
            for host in self.history.hosts(member.name, time):
                moment = time + rng.uniform(0, 2 * HOUR)
                for name in self.history.names(member.name, time):
                    moment += rng.uniform(0.05, 2)
                    yield self._event(member, moment, name, host, "maintenance")


def by_principal(world: World, events: Iterable[Event]) -> dict[str, list[Event]]:
    """Return the events of each principal within the thirty days, in their order."""
    sorted_out: dict[str, list[Event]] = {member.name: [] for member in world.members}
    for event in events:
        if world.start <= event.time < world.end:
            sorted_out[event.principal].append(event)
    for own in sorted_out.values():
        own.sort()
    return sorted_out
