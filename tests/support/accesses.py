"""Accesses at explicit times, and what a detector says to them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from strongroom.contracts import Access, AnomalyDetector, Decision, Outcome, Verdict
from strongroom.model import Principal, PrincipalSource, SecretName

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday, at midnight."""

ALLOW, ALERT, BLOCK = Decision.ALLOW, Decision.ALERT, Decision.BLOCK


def principal(name: str) -> Principal:
    return Principal(name=name, source=PrincipalSource.CONFIGURATION)


def at(days: float = 0.0, *, hours: float = 0.0, minutes: float = 0.0, seconds: float = 0.0) -> datetime:
    return MONDAY + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def access(time: datetime, name: str = "db/password", who: str = "api", **facts: object) -> Access:
    plain = Access(principal=principal(who), action="read", name=SecretName(name), time=time)
    return plain.replace(**facts)


def decisions(detector: AnomalyDetector, accesses: Iterable[Access]) -> list[Decision]:
    return [detector.judge(each).decision for each in accesses]


def odd(detector: AnomalyDetector, accesses: Iterable[Access]) -> list[Verdict]:
    """Return the verdicts that are not ALLOW."""
    verdicts = [detector.judge(each) for each in accesses]
    return [verdict for verdict in verdicts if verdict.decision is not ALLOW]


def ended(detector: AnomalyDetector, request: Access, result: str) -> Verdict:
    """Judge an access, and tell how it ended."""
    detector.judge(request)
    return detector.observe(Outcome(access=request, result=result))


def working_days(weeks: int, hours: Iterable[int] = range(8, 18)) -> list[datetime]:
    """Return a moment of each working hour of some weeks."""
    hours = list(hours)
    return [at(7 * week + day, hours=hour, minutes=20) for week in range(weeks) for day in range(5) for hour in hours]
