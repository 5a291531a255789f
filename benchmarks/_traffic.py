"""Thirty days of accesses to secrets by a fleet of fifty principals, with attacks, made up from a seed.

Much of what is no attack looks like one: deployments read many names for the
first time, people are called at night, machines come and go, failing services
read one secret again and again, and a change of the policy makes others run into
refusals. The steady load of services is scaled down to some hundreds of reads a
day each, what answers most reads of a busy service being its cache; bursts are
not scaled.
"""

from __future__ import annotations

from typing import NamedTuple

from _attacks import Attack, Attacker
from _fleet import DAYS, Event, World
from _incidents import History, Incidents, by_principal
from _life import Life


class Traffic(NamedTuple):
    """All that happens in one world."""

    seed: int
    start: float
    days: int
    events: list[Event]
    """In the order of time."""
    attacks: list[Attack]


def traffic(seed: int) -> Traffic:
    """Return the traffic of a seed: the same for the same seed, whatever the machine."""
    world = World(seed)
    routine = by_principal(world, (event for member in world.members for event in Life(world, member).run()))
    incidents = list(Incidents(world, History(routine)).all())
    usual = by_principal(world, [*(event for own in routine.values() for event in own), *incidents])
    attacks, events = Attacker(world, History(usual)).all()
    events += (event for own in usual.values() for event in own)
    events.sort()
    return Traffic(seed, world.start, DAYS, events, attacks)
