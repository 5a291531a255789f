"""Six kinds of attack on the fleet, each from plain to hard to see.

The attacker holds the credential of one principal, and knows what an attacker
would know: what can be listed, what the program reads anyway, and nothing about
detectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from _fleet import DAY, DAYS, HOUR, MINUTE, Event, Member, World
from _incidents import History

ATTACKS: Final = ("bulk dump", "slow enumeration", "stolen at night", "new host", "probing", "hammering")
STRENGTHS: Final = ("plain", "medium", "hard")
OF_EACH: Final = 4

Steps = Iterator[tuple[float, str, str, str]]
"""Seconds after the one before, action, name and result."""


class Attack(NamedTuple):
    """One attack: what is to be found."""

    id: str
    kind: str
    strength: str
    principal: str
    start: float
    end: float


class Attacker:
    """Attacks one world, in the second half of its thirty days, each principal at most once.

    Args:
        world: The world.
        history: What happens there without attacks.
    """

    def __init__(self, world: World, history: History) -> None:
        self.world = world
        self.history = history
        self.rng = world.random("attacks")
        # A credential that has never been used yet is nothing that a detector can know about.
        middle = world.start + DAYS / 2 * DAY
        self.free = [member for member in world.members if history.before(member.name, middle, DAYS * DAY)]
        self.rng.shuffle(self.free)

    def all(self) -> tuple[list[Attack], list[Event]]:
        """Return the attacks and their events."""
        attacks: list[Attack] = []
        events: list[Event] = []
        plans = [(kind, turn) for turn in range(OF_EACH) for kind in ATTACKS]
        # First come those that need a person, while there are some.
        plans.sort(key=lambda plan: plan[0] != "stolen at night")
        for number, (kind, turn) in enumerate(plans):
            strength = STRENGTHS[turn] if turn < len(STRENGTHS) else self.rng.choice(STRENGTHS)
            own = self._attack(f"attack {number}", kind, strength)
            attacks.append(Attack(own[0].cause, kind, strength, own[0].principal, own[0].time, own[-1].time))
            events += own
        return attacks, events

    def _attack(self, cause: str, kind: str, strength: str) -> list[Event]:
        member, start = self._victim(kind)
        host, process = self._place(kind, member, start)
        level = STRENGTHS.index(strength)
        known = self.history.names(member.name, start) or member.used
        plan = {
            "bulk dump": self._dump(member, level),
            "slow enumeration": self._enumeration(member, level),
            "stolen at night": self._visit(member, known, level),
            "new host": self._use(member, known, level),
            "probing": self._probing(member, level),
            "hammering": self._hammering(known, level),
        }
        events, time = [], start
        for pause, action, name, result in plan[kind]:
            time += pause
            if time >= self.world.end:
                break
            events.append(Event(time, member.name, action, name, result, host, process, cause))
        return events

    def _victim(self, kind: str) -> tuple[Member, float]:
        """Return whom to attack, and when."""
        rng, world = self.rng, self.world
        person = kind == "stolen at night"
        # By the middle of the month a newcomer has been there for some days, as the attacked mostly are.
        fits = [m for m in self.free if m.first <= 12 and (not person or m.kind == "person")]
        member = fits[0] if fits else self.free[0]
        self.free.remove(member)
        # Early enough for the longest of them to end in time.
        day = rng.uniform(DAYS / 2, DAYS - 2)
        if person:
            return member, world.at(int(day), rng.uniform(22.5, 29), member)
        if kind == "new host":
            # The stolen credential is used in the hours of its owner.
            times = [event.time for event in self.history.before(member.name, world.end, DAYS / 2 * DAY)]
            times = [time for time in times if time < world.end - 4 * HOUR] or [world.start + day * DAY]
            return member, rng.choice(times) + rng.uniform(0, 20) * MINUTE
        return member, world.start + day * DAY

    def _place(self, kind: str, member: Member, time: float) -> tuple[str, str]:
        """Return from which machine and program the attacker comes."""
        rng = self.rng
        elsewhere = kind == "new host" or rng.random() < (0.5 if kind == "stolen at night" else 0.3)
        if not elsewhere:
            # Code of the attacker's in the program itself, or a shell on its machine.
            host = rng.choice(self.history.hosts(member.name, time))
            return host, member.process if rng.random() < 0.7 else rng.choice(("python3", "sh", "curl"))
        others = [m for m in self.world.members if m.hosts and not set(m.hosts) & set(member.hosts)]
        host = rng.choice(
            (
                rng.choice(rng.choice(others).hosts),
                f"ip-10-{rng.randrange(256)}-{rng.randrange(256)}-{rng.randrange(256)}",
                rng.choice(("kali", "localhost", f"desktop-{rng.randrange(16**6):06x}", f"vps{rng.randrange(9999)}")),
            )
        )
        return host, member.process if rng.random() < 0.4 else rng.choice(("python3", "strongroom", "curl"))

    def _within(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    # Plans

    def _dump(self, member: Member, level: int) -> Steps:
        """Read all that can be read, or as much as seems wise, without regard to what is used anyway."""
        rng = self.rng
        count = (len(member.visible), rng.randint(25, 50), rng.randint(12, 20))[level]
        gap = ((0.02, 1.0), (2, 10), (15, 60))[level]
        if rng.random() < 0.6:
            yield 0.0, "list", member.visible[0].split("/")[0], "ok"
        for name in rng.sample(member.visible, min(count, len(member.visible))):
            yield self._within(*gap), "read", name, "ok"

    def _enumeration(self, member: Member, level: int) -> Steps:
        """Read one name after the other, slowly; half of the attackers have to guess the names."""
        rng = self.rng
        count = (rng.randint(40, 65), rng.randint(35, 60), rng.randint(30, 50))[level]
        gap = ((1, 5), (5, 15), (15, 40))[level]
        guesses = rng.random() < 0.5
        for name in rng.sample(member.visible, min(count, len(member.visible))):
            pause = self._within(*gap) * MINUTE
            if guesses and rng.random() < 0.3:
                other = rng.choice(self.world.names)
                wrong = other if rng.random() < 0.5 else f"{name}-{rng.choice(('old', 'prod', 'admin'))}"
                result = "ok" if wrong in member.visible else "denied" if wrong is other else "not_found"
                yield pause, "read", wrong, result
            else:
                yield pause, "read", name, "ok"

    def _visit(self, member: Member, known: list[str], level: int) -> Steps:
        """Read some secrets at a time when their owner sleeps."""
        rng = self.rng
        for _ in range((rng.randint(12, 25), rng.randint(6, 12), rng.randint(3, 5))[level]):
            name = rng.choice(known if rng.random() < 0.6 else member.visible)
            yield self._within(5, 240), "read", name, "ok"

    def _use(self, member: Member, known: list[str], level: int) -> Steps:
        """Read from another machine what the principal reads anyway."""
        rng = self.rng
        for _ in range((rng.randint(15, 30), rng.randint(6, 12), rng.randint(2, 4))[level]):
            name = rng.choice(known if rng.random() < 0.85 else member.visible)
            yield self._within(2, 400), "read", name, "ok"

    def _probing(self, member: Member, level: int) -> Steps:
        """Try what is forbidden, to learn what is not."""
        rng = self.rng
        forbidden = [name for name in self.world.names if name not in set(member.visible)]
        count = (rng.randint(40, 100), rng.randint(12, 25), rng.randint(5, 8))[level]
        gap = ((0.2, 10), (20, 120), (200, 1200))[level]
        for name in rng.sample(forbidden, count):
            if rng.random() < 0.15:
                yield self._within(*gap), "read", rng.choice(member.visible), "ok"
            action = rng.choice(("read", "read", "read", "list", "update", "delete"))
            yield self._within(*gap), action, name, "denied"

    def _hammering(self, known: list[str], level: int) -> Steps:
        """Read one secret again and again, to see it change or to keep its store busy."""
        rng = self.rng
        name = rng.choice(known)
        pause = (rng.uniform(0.03, 0.1), rng.uniform(0.3, 1.0), rng.uniform(2, 5))[level]
        seconds = (rng.uniform(1, 4), rng.uniform(8, 20), rng.uniform(30, 60))[level] * MINUTE
        for _ in range(int(seconds / pause)):
            yield pause * rng.uniform(0.8, 1.2), "read", name, "ok"
