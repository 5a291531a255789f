"""``schedule``: when secrets are rotated, by rules and by the services of backends, and what is due."""

from __future__ import annotations

import argparse

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Command, Session, add_json, note, print_json, table
from strongroom.cli.text import printable
from strongroom.errors import RotationError

if TYPE_CHECKING:
    from strongroom.contracts.service_rotation import Schedule

_UNITS: Final = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
HEADINGS: Final = ("NAME", "RULE", "STATE", "LAST", "NEXT", "IN", "TIMELINE", "WINDOW", "BY")
WIDTH: Final = 10
"""How many characters of a timeline lie between the last rotation and the next one."""
_SEVERITY: Final = {"due soon": 1, "due": 2, "overdue": 3, "left": 3, "unknown": 3}
_CHECKS: Final = {"soon": 1, "due": 2, "overdue": 3}

_EPILOG: Final = """\
timeline:
  from the last rotation to the next one: [####------] is four tenths of the way, and
  [##########! is past its end.

statuses:
  0; with --check 12 if anything is overdue, was left in the middle of a rotation, or
  cannot be found out. --check due and --check soon also count what is due and what
  is due soon."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    parser.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="a folder such as db/")
    parser.add_argument(
        "--check",
        nargs="?",
        const="overdue",
        choices=tuple(_CHECKS),
        help="let the exit status say if anything is overdue, or due, or due soon",
    )
    add_json(parser)


def _show(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        schedules = sorted(manager.schedules(options.prefix), key=_soonest_first)
    if options.json:
        print_json([described(one) for one in schedules])
    else:
        now = datetime.now(UTC)
        table([row(one, now) for one in schedules], HEADINGS)
        for one in schedules:
            if one.problem:
                note(f"{printable(one.name)}: {printable(one.problem)}")
    least = _CHECKS.get(options.check or "")
    worst = max((_SEVERITY.get(one.state, 0) for one in schedules), default=0)
    return RotationError.exit_status if least is not None and worst >= least else 0


def _soonest_first(schedule: Schedule) -> tuple[bool, float, str]:
    """Return what sorts the next one first, and last what is never due."""
    due = schedule.next if schedule.enabled else None
    return due is None, due.timestamp() if due is not None else 0.0, schedule.name


def described(schedule: Schedule) -> dict[str, object]:
    """Return a schedule as it is shown to programs, with its times in ISO 8601, in UTC."""
    times = {key: moment.astimezone(UTC).isoformat() if moment else None for key, moment in _times(schedule).items()}
    return schedule.as_dict() | times


def _times(schedule: Schedule) -> dict[str, datetime | None]:
    return {key: getattr(schedule, key) for key in ("last", "next", "due", "warn_from", "ends")}


def timeline(schedule: Schedule, now: datetime) -> str:
    """Return how far a secret is on its way from its last rotation to the next one, as a bar.

    Args:
        schedule: When it is.
        now: What time it is, with its offset from UTC.
    """
    begin, end = schedule.last, schedule.next
    if not schedule.enabled or begin is None or end is None or end <= begin:
        return "-"
    part = (now - begin) / (end - begin)
    if part > 1:
        return f"[{'#' * WIDTH}!"
    done = int(max(0.0, part) * WIDTH)
    return f"[{'#' * done}{'-' * (WIDTH - done)}]"


def row(schedule: Schedule, now: datetime) -> tuple[str, ...]:
    """Return a schedule as a row of the table.

    Args:
        schedule: The schedule.
        now: What time it is, with its offset from UTC.
    """
    times = [_minutes(moment) if moment else "-" for moment in (schedule.last, schedule.next)]
    # The rule and who follows it are in the service's words: nothing in them may move the cursor or start a line.
    return (
        printable(schedule.name),
        printable(schedule.rule),
        schedule.state or "-",
        *times,
        until(schedule, now),
        timeline(schedule, now),
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
    if schedule.pattern is not None and schedule.state in {"due", "overdue"}:
        return schedule.state
    # A service may begin within a while after the time that it has set itself.
    return "due" if -left <= timedelta(seconds=schedule.window or 0.0) else "overdue"


def _span(time: timedelta) -> str:
    """Return how long a time is, in the unit that suits it."""
    return next((f"{time // size} {unit}" for unit, size in _UNITS if time >= size), "under 1 min")


COMMANDS: Final = {
    "schedule": Command(
        summary="Show when the secrets below a prefix are rotated, the next one first, and what is due.",
        configure=_configure,
        run=_show,
        examples="""
            strongroom schedule
            strongroom schedule prod/ --json
            strongroom schedule --check
        """,
    ),
}
