"""The service's rules of rotation: as settings give them, and in words."""

from __future__ import annotations

from typing import Any, Final

from strongroom.contracts import Schedule
from strongroom.model import SecretName
from strongroom_aws.settings import RotationSettings
from strongroom_aws.values import utc

_DAY: Final = 86_400
_HOUR: Final = 3_600


def rules_of(settings: RotationSettings) -> dict[str, Any]:
    """Return the rules as the service takes them; empty if the settings have none."""
    rules: dict[str, Any] = {}
    if settings.every is not None:
        hours = int(settings.every) // _HOUR
        if hours % 24 == 0:
            rules["AutomaticallyAfterDays"] = hours // 24
        else:
            rules["ScheduleExpression"] = f"rate({hours} hours)"  # four at least: never one
    elif settings.schedule is not None:
        rules["ScheduleExpression"] = settings.schedule
    if settings.window is not None:
        rules["Duration"] = f"{int(settings.window) // _HOUR}h"
    return rules


def differs(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Tell whether a secret's rules are others than wanted; what is not wanted may be as it is.

    Args:
        found: Those that it has.
        wanted: Those of the settings.
    """
    days = wanted.get("AutomaticallyAfterDays")
    if days is not None and found.get("ScheduleExpression") not in (None, f"rate({days} day{'s' * (days != 1)})"):
        return True  # the service counts the days of any expression: they may be the same by chance
    return any(found.get(key) != value for key, value in wanted.items())


def schedule_of(name: SecretName, entry: dict[str, Any]) -> Schedule | None:
    """Return when the service rotates a secret; ``None`` if that was never set up.

    Args:
        name: Its name.
        entry: What the service says of it.
    """
    rules = entry.get("RotationRules") or {}
    enabled = bool(entry.get("RotationEnabled"))
    if not enabled and not rules:
        return None
    return Schedule(
        name=name,
        rule=_in_words(rules),
        by=_rotator(entry),
        enabled=enabled,
        last=utc(entry.get("LastRotatedDate")),
        next=utc(entry.get("NextRotationDate")) if enabled else None,
        window=_seconds(rules.get("Duration")),
    )


def _in_words(rules: dict[str, Any]) -> str:
    expression, days = rules.get("ScheduleExpression"), rules.get("AutomaticallyAfterDays")
    if expression:
        return str(expression)
    if days:
        return "every day" if days == 1 else f"every {days} days"
    return "on demand"


def _rotator(entry: dict[str, Any]) -> str:
    """Return the name of the function, or of the service, that rotates a secret."""
    arn = entry.get("RotationLambdaARN")
    if arn:
        return str(arn).partition(":function:")[2] or str(arn)
    return str(entry.get("OwningService") or entry.get("Type") or "AWS Secrets Manager")


def _seconds(duration: str | None) -> float | None:
    hours = (duration or "").removesuffix("h")
    return float(hours) * _HOUR if hours.isascii() and hours.isdigit() else None
