"""Decides what is to be copied, and finds what would go wrong, before anything is written."""

from __future__ import annotations

from strongroom.errors import AuditError, ClosedError, StrongroomError, VersionConflictError
from strongroom.moving.rules import IfExists, Verdict, decide
from strongroom.moving.sides import Look
from strongroom.moving.survey import Pair, Progress, State, Survey


class Plan:
    """What a copy is going to do. Names are without the folder.

    Attributes:
        writes: What is to be written.
        equal: What is there already.
        kept: What is there with another value, and stays.
        leased: What is made for each reader, and is not copied.
        shortened: What is there with fewer versions, of those that are equal, and with how many.
        conflicts: By name what is there with another value, and the rule does not say what to do.
        problems: By name why it cannot be copied.
    """

    def __init__(self) -> None:
        self.writes: list[Pair] = []
        self.equal: list[str] = []
        self.kept: list[str] = []
        self.leased: list[str] = []
        self.shortened: dict[str, int] = {}
        self.conflicts: dict[str, VersionConflictError] = {}
        self.problems: dict[str, StrongroomError] = {}


def complete(plan: Plan, survey: Survey, rule: IfExists, progress: Progress) -> None:
    """Compare both sides, and check each value that is to be written.

    Args:
        plan: Takes what is found, so that it is there even if this is stopped.
        survey: Both sides.
        rule: What to do about what differs.
        progress: Told how many names are done, and how many there are.

    Raises:
        StrongroomError: A side cannot be listed or is out of reach; what concerns one name only is in the plan.
        AuditError: Something cannot be recorded.
    """
    for pair, look in survey.from_source(progress):
        if pair.state is State.LEASED:
            plan.leased.append(pair.rest)
        elif pair.error is not None:
            plan.problems[pair.rest] = pair.error
        elif look is not None:
            try:
                _add(plan, survey, rule, pair, look)
            except VersionConflictError as conflict:
                plan.conflicts[pair.rest] = conflict
            except (AuditError, ClosedError):
                raise
            except StrongroomError as problem:
                plan.problems[pair.rest] = problem


def _add(plan: Plan, survey: Survey, rule: IfExists, pair: Pair, look: Look) -> None:
    target = survey.target
    decision = decide(target.place.name_of(pair.rest), look.seen, pair.target, rule)
    if decision.verdict is Verdict.WRITE:
        expected = target.expected(pair.target)
        for value in look.values[-decision.lacking :]:
            target.check(pair.rest, value, expected)
        plan.writes.append(pair)
    elif decision.verdict is Verdict.KEEP:
        plan.kept.append(pair.rest)
    else:
        plan.equal.append(pair.rest)
        if pair.target is not None and len(pair.target.marks) < len(look.seen.marks):
            plan.shortened[pair.rest] = len(pair.target.marks)
