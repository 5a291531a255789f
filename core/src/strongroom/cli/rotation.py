"""``rotate`` and ``rotation``: leading secrets to new values, and seeing how that stands."""

from __future__ import annotations

import argparse
import sys

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.command import Command, Session, UsageError, add_json, note, print_json, table
from strongroom.cli.durations import duration
from strongroom.cli.text import printable
from strongroom.cli.values import report_written
from strongroom.errors import RotationError, StrongroomError

if TYPE_CHECKING:
    from strongroom.manager import SecretManager
    from strongroom.outcomes import Rotated, Written
    from strongroom.rotation.desk import DueRun, RotationPlan, RotationStatus

HEADINGS: Final = ("NAME", "STATE", "STEP", "ROTATOR", "ROTATED", "BEGAN", "BY")

_EPILOG: Final = """\
rotations:
  What [rotation."..."] tables say is led step by step: generate, record, apply,
  verify, promote, announce, finish. A rotation that stops is kept where it
  stopped; --resume leads it to its end, --undo takes it back. Of one name only one
  is under way at a time, on all hosts. For an overlap after a rotation the former
  value goes on working; then the next run of `rotate --all-due` takes it away.

statuses:
  0 rotated, or nothing was due; 11 queued; 12 a rotation is in progress elsewhere,
  has stopped, or has been undone."""


def _configure_rotate(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    parser.add_argument("name", nargs="?", metavar="NAME", help="with --all-due a folder such as db/")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    instead.add_argument("--resume", action="store_true", help="lead a rotation that was left to its end")
    instead.add_argument("--undo", action="store_true", help="take a pending rotation back")
    instead.add_argument(
        "--all-due", action="store_true", help="rotate all that is due, and resume and finish what was left"
    )
    parser.add_argument("--force", action="store_true", help="with --resume or --undo: its process is dead, you know")
    parser.add_argument("--ignore-window", action="store_true", help="with --all-due: also outside of the windows")
    parser.add_argument("--bytes", type=int, metavar="N", help="how many random bytes (32); not with a rule")
    parser.add_argument(
        "--encoding",
        choices=("raw", "hex", "base64url"),
        help="store the bytes themselves, unless given, or text that stands for them; not with a rule",
    )
    parser.add_argument("--expect-version", metavar="VERSION", help="rotate only this version")
    parser.add_argument(
        "--wait", metavar="TIME", default="5m", help="how long to wait for a service that makes the new value (5m)"
    )
    add_json(parser)


def _rotate(session: Session, options: argparse.Namespace) -> int:
    _check_usage(options)
    wait = duration("--wait", options.wait)
    with session.open() as manager:
        if options.all_due:
            return _all_due(manager, options)
        if options.dry_run:
            return _plan(manager.rotation.plan(options.name), options)
        if options.undo:
            return _undo(manager, options)
        written: Written
        if options.resume:
            written = manager.rotation.resume(options.name, force=options.force)
        else:
            written = manager.rotate(
                options.name,
                size=options.bytes,
                encoding=options.encoding,
                expect_version=options.expect_version,
                wait=wait,
            )
    unfinished = getattr(written, "unfinished", "")
    status = report_written(session, options, "rotated", written)
    if unfinished:
        note(f"{written.name}: {unfinished}; `strongroom rotate --all-due` takes it away after that")
    for problem in written.subscribers_failed:
        note(f"rotated, but {problem}")
    return status or (RotationError.exit_status if written.subscribers_failed else 0)


def _check_usage(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    chosen = options.dry_run or options.resume or options.undo or options.all_due
    if options.name is None and not options.all_due:
        raise UsageError("NAME is missing", hint="name a secret, or use --all-due")
    if options.force and not (options.resume or options.undo):
        raise UsageError("--force goes with --resume or --undo")
    if options.ignore_window and not options.all_due:
        raise UsageError("--ignore-window goes with --all-due")
    given = [
        option
        for option, value in (
            ("--bytes", options.bytes),
            ("--encoding", options.encoding),
            ("--expect-version", options.expect_version),
        )
        if value is not None
    ]
    if chosen and given:
        raise UsageError(f"{', '.join(given)} goes with a plain rotation only")


def _plan(plan: RotationPlan, options: argparse.Namespace) -> int:
    obstacle = plan.obstacle
    if options.json:
        content = plan.as_dict() | {"obstacle": None if obstacle is None else _problem(obstacle)}
        print_json(content)
    else:
        sys.stdout.write(f"{printable(plan.name)} version {plan.version} in {plan.backend}, by {plan.rotator}:\n")
        sys.stdout.writelines(f"  {number}. {step}\n" for number, step in enumerate(plan.steps, start=1))
        if obstacle is not None:
            note(f"it would be refused now: {obstacle}")
    return 0 if obstacle is None else obstacle.exit_status


def _undo(manager: SecretManager, options: argparse.Namespace) -> int:
    undone = manager.rotation.undo(options.name, force=options.force)
    if options.json:
        print_json(undone.as_dict() | {"status": "undone"})
    else:
        now = "as it was" if undone.version is None else f"at version {undone.version}, with the former value"
        note(f"undone the rotation {undone.id}; {undone.name} is {now}")
    return 0


def _all_due(manager: SecretManager, options: argparse.Namespace) -> int:
    run = manager.rotation.rotate_due(options.name or "", ignore_windows=options.ignore_window)
    if options.json:
        print_json(_described_run(run))
    else:
        for verb, done in (("rotated", run.rotated), ("finished", run.resumed)):
            for one in done:
                note(f"{verb} {one.name} version {one.version}{_left(one)}")
        for name in run.waiting:
            note(f"{name} is due, and waits for its window, or for the end of an overlap")
        for name in run.running:
            note(f"{name} is being rotated by another process")
        for failure in run.failed:
            note(f"{failure.name} failed: {failure.error}")
        if run == type(run)():
            note("nothing is due")
    return RotationError.exit_status if run.failed else 0


def _left(one: Rotated) -> str:
    told = [one.unfinished, *one.subscribers_failed, one.copy_failed]
    return "".join(f"; {text}" for text in told if text)


def _described_run(run: DueRun) -> dict[str, Any]:
    return {
        "rotated": [one.as_dict() for one in run.rotated],
        "finished": [one.as_dict() for one in run.resumed],
        "waiting": list(run.waiting),
        "running": list(run.running),
        "failed": [{"name": one.name} | _problem(one.error) for one in run.failed],
    }


def _problem(error: StrongroomError) -> dict[str, str]:
    return {"code": error.code, "message": str(error)}


def _configure_rotation(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    status = actions.add_parser("status", help="show how the rotation of each name stands that a rule is for")
    status.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="a folder such as db/")
    add_json(status)
    units = actions.add_parser("units", help="print or write systemd units that rotate what is due")
    units.add_argument("folder", nargs="?", metavar="FOLDER", help="where to write them; they are printed unless given")
    units.add_argument("--every", metavar="TIME", default="15m", help="how often to look (15m)")


def _rotation(session: Session, options: argparse.Namespace) -> int:
    if options.action == "units":
        # Imported here, as every command's own.
        from strongroom.cli.units import SHORTEST_EVERY, write_units

        return write_units(session, options.folder, duration("--every", options.every, least=SHORTEST_EVERY))
    with session.open() as manager:
        found = manager.rotation.status(options.prefix)
    if options.json:
        print_json([_described(one) for one in found])
    else:
        table([_row(one) for one in found], HEADINGS)
        for one in found:
            if one.problem:
                note(f"{one.name}: {one.problem}")
    return RotationError.exit_status if any(one.state in {"left", "unknown"} for one in found) else 0


def _described(status: RotationStatus) -> dict[str, object]:
    content = status.as_dict()
    times = {key: moment.isoformat() for key, moment in content.items() if isinstance(moment, datetime)}
    return content | times


def _row(status: RotationStatus) -> tuple[str, ...]:
    until = f" until {_minutes(status.until)}" if status.until is not None and status.state == "overlap" else ""
    return (
        printable(status.name),
        f"{status.state}{until}",
        status.step or "-",
        printable(status.rotator),
        _minutes(status.rotated),
        _minutes(status.began),
        printable(status.owner or "-"),
    )


def _minutes(moment: datetime | None) -> str:
    return "-" if moment is None else moment.astimezone(UTC).isoformat(sep=" ", timespec="minutes")


COMMANDS: Final = {
    "rotate": Command(
        summary="Replace a secret's value: as a [rotation] table says, by its service, or by random bytes.",
        configure=_configure_rotate,
        run=_rotate,
        examples="""
            strongroom rotate session/key
            strongroom rotate db/app --dry-run
            strongroom rotate db/app --resume
            strongroom rotate --all-due
            strongroom rotate prod/db/password --wait 10m
        """,
    ),
    "rotation": Command(
        summary="Show how rotations stand, or make systemd units that run those that are due.",
        configure=_configure_rotation,
        run=_rotation,
        examples="""
            strongroom rotation status db/
            strongroom rotation units ~/.config/systemd/user
        """,
    ),
}
