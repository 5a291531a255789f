"""``schedule``: when the services of backends rotate secrets."""

from __future__ import annotations

import argparse

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Command, Session, add_json, print_json, table
from strongroom.cli.text import printable

if TYPE_CHECKING:
    from strongroom.contracts.service_rotation import Schedule

_UNITS: Final = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
HEADINGS: Final = ("NAME", "RULE", "LAST", "NEXT", "IN", "WINDOW", "BY")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="a folder such as db/")
    add_json(parser)


def _show(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        schedules = sorted(manager.schedules(options.prefix), key=_soonest_first)
    if options.json:
        print_json([described(one) for one in schedules])
    else:
        now = datetime.now(UTC)
        table([row(one, now) for one in schedules], HEADINGS)
    return 0


def _soonest_first(schedule: Schedule) -> tuple[bool, float, str]:
    """Return what sorts the next one first, and last what is never due."""
    due = schedule.next if schedule.enabled else None
    return due is None, due.timestamp() if due is not None else 0.0, schedule.name


def described(schedule: Schedule) -> dict[str, object]:
    """Return a schedule as it is shown to programs, with its times in ISO 8601, in UTC."""
    times = {key: moment.astimezone(UTC).isoformat() if moment else None for key, moment in _times(schedule).items()}
    return schedule.as_dict() | times


def _times(schedule: Schedule) -> dict[str, datetime | None]:
    return {"last": schedule.last, "next": schedule.next}


def row(schedule: Schedule, now: datetime) -> tuple[str, ...]:
    """Return a schedule as a row of the table.

    Args:
        schedule: The schedule.
        now: What time it is, with its offset from UTC.
    """
    times = [_minutes(moment) if moment else "-" for moment in _times(schedule).values()]
    # The rule and who follows it are in the service's words: nothing in them may move the cursor or start a line.
    return (
        printable(schedule.name),
        printable(schedule.rule),
        *times,
        until(schedule, now),
        _span(timedelta(seconds=schedule.window)) if schedule.window else "-",
        printable(schedule.by),
    )


def _minutes(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ", timespec="minutes")


def until(schedule: Schedule, now: datetime) -> str:
    """Return in how long a secret is to be rotated, in the unit that suits it.

    Args:
        schedule: When it is.
        now: What time it is, with its offset from UTC.
    """
    if not schedule.enabled:
        return "off"
    if schedule.next is None:
        return "-"
    left = schedule.next - now
    if left > timedelta(0):
        return f"in {_span(left)}"
    # A service may begin within a while after the time that it has set itself.
    return "due" if -left <= timedelta(seconds=schedule.window or 0.0) else "overdue"


def _span(time: timedelta) -> str:
    """Return how long a time is, in the unit that suits it."""
    return next((f"{time // size} {unit}" for unit, size in _UNITS if time >= size), "under 1 min")


COMMANDS: Final = {
    "schedule": Command(
        summary="Show when the services of backends rotate the secrets below a prefix, the next one first.",
        configure=_configure,
        run=_show,
        examples="""
            strongroom schedule
            strongroom schedule prod/ --json
        """,
    ),
}
