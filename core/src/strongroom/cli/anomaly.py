"""``anomaly``: explain what a detector found, and try detectors on a recorded trail."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Callable
from typing import Any, Final

from strongroom.anomaly.replay import moment_of
from strongroom.cli.audit import add_time, event_line
from strongroom.cli.command import Command, Session, add_json, print_json, table
from strongroom.cli.explain import Activity, Alert, Found, activity, alert_about, find, result_of
from strongroom.cli.replaying import replay_file
from strongroom.cli.settings import toml
from strongroom.cli.text import printable
from strongroom.cli.trail import open_trails
from strongroom.config.load import Configuration, load
from strongroom.discovery import Catalogue
from strongroom.errors import SuspiciousActivityError
from strongroom.model import AuditEvent


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    explain = actions.add_parser("explain", help="why there was an alert, and what came before it")
    explain.add_argument("event", metavar="EVENT_ID", help="an event's id, or at least its first 8 characters")
    explain.add_argument(
        "--sink", metavar="TYPE", help="look in one audit sink only, by type or number, not in all that have a trail"
    )
    replay = actions.add_parser("replay", help="what detectors would have said to a recorded trail")
    replay.add_argument("file", metavar="AUDITFILE", help="the trail's file, as the audit sink `jsonl` writes it")
    replay.add_argument("--detector", metavar="TYPE", help="only this one, configured or not")
    replay.add_argument(
        "--set",
        dest="settings",
        metavar="KEY=VALUE",
        type=_setting,
        action="append",
        default=[],
        help="a setting of --detector instead of the configured one; may be repeated",
    )
    add_time(replay, "--since", "only events at or after it")
    add_time(replay, "--until", "only events before it")
    add_time(replay, "--learn-until", "the detectors only learn from what was before it")
    replay.add_argument("--summary", action="store_true", help="leave the single alerts out")
    for action in (explain, replay):
        add_json(action)


def _setting(text: str) -> tuple[str, Any]:
    import tomllib

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        # Numbers and lists are what they are in the file; a text needs no quotation marks here.
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


def _run(session: Session, options: argparse.Namespace) -> int:
    return ACTIONS[options.action](session, options)


def _explain(session: Session, options: argparse.Namespace) -> int:
    configuration = load(session.config)
    trails = [trail for _, trail in open_trails(configuration, options.sink)]
    try:
        found = find(trails, options.event)
        alert = alert_about(found, configuration, Catalogue())
        before = activity(found)
    finally:
        for trail in trails:
            trail.close()
    if options.json:
        print_json(_explained(found, alert, before))
    else:
        _show_event(found)
        _show_alert(found.event, alert, configuration)
        if found.event.principal is not None:
            _show_activity(before)
    return 0


def _explained(found: Found, alert: Alert | None, before: Activity) -> dict[str, Any]:
    content: dict[str, Any] = {
        "event": found.event.as_dict(),
        "sink": found.trail.type,
        "program": found.program or None,
        "local_time": _local(found.event),
        "alert": None,
        "hour_before": {
            "counts": before.counts,
            "names": before.names,
            "last": [event.as_dict() for event in before.last],
        },
    }
    if alert is not None:
        content["alert"] = {
            "id": alert.event.id,
            "timestamp": alert.event.timestamp,
            "detector": alert.event.rule,
            "blocked": alert.blocked,
            "reason": alert.reason,
            "evidence": list(alert.evidence),
            "suppressed": alert.suppressed,
            "configured": [
                {
                    "place": one.place,
                    "settings": {
                        name: {"value": value, "from": source} for name, (value, source) in one.settings.items()
                    },
                }
                for one in alert.tables
            ],
        }
    return content


def _local(event: AuditEvent) -> str | None:
    moment = moment_of(event)
    return moment.astimezone().isoformat(timespec="seconds") if moment is not None else None


def _fact(label: str, text: object, more: str = "") -> None:
    sys.stdout.write(f"{label:<12}{printable(text)}{more}\n")


def _show_event(found: Found) -> None:
    event = found.event
    _fact("event", event.id, f"  {printable(event.event)} {printable(result_of(event))}")
    _fact("time", event.timestamp, f"  ({printable(_local(event) or 'not a time')} here)")
    _fact("principal", event.principal or "-", f"  ({printable(event.principal_source or 'unknown')})")
    if event.on_behalf_of:
        _fact("for", event.on_behalf_of, "  (who took on that principal)")
    _fact("name", event.key or "-")
    _fact("process", f"{event.pid or '-'} on {event.host or '-'}, user {event.user or '-'}")
    if found.program:
        _fact("program", found.program)
    if event.event != "alert":
        for label, part in (("rule", event.rule), ("detail", event.detail), ("backend", event.backend)):
            if part:
                _fact(label, part)


def _show_alert(event: AuditEvent, alert: Alert | None, configuration: Configuration) -> None:
    blocked = event.result in SuspiciousActivityError.codes
    if alert is None:
        told = "blocked it, but its alert is not in this trail" if blocked else "no detector said anything about it"
        _fact("detector", f"{event.rule or 'one'} {told}" if blocked else told)
        return
    if alert.event is not event:
        _fact("alert", alert.event.id, f"  {printable(alert.event.timestamp)}")
    # An alert that was only reported may be the last one about what was blocked later.
    _fact("detector", alert.event.rule or "-", "  blocked it" if blocked or alert.blocked else "  only reported it")
    _fact("reason", alert.reason or "-")
    for evidence in alert.evidence:
        _fact("evidence", evidence)
    if alert.suppressed:
        _fact("before that", f"{alert.suppressed} alerts about the same were not sent")
    for one in alert.tables:
        sys.stdout.write(f"\nto change it: {printable(one.place)}\n")
        rows = [(printable(name), toml(value), printable(source)) for name, (value, source) in one.settings.items()]
        table(rows, ("SETTING", "VALUE", "FROM"))
    if not alert.tables:
        sys.stdout.write(f"\nno [[anomaly]] table of {printable(configuration.source)} has this type now\n")


def _show_activity(before: Activity) -> None:
    sys.stdout.write(f"\nin the hour before, {before.names} different names:\n")
    for what, count in before.counts.items():
        sys.stdout.write(f"  {count:>6}  {printable(what)}\n")
    if not before.counts:
        sys.stdout.write("  nothing\n")
    if before.last:
        sys.stdout.write(f"\nthe last {len(before.last)}:\n")
    for event in before.last:
        sys.stdout.write(f"  {event_line(event)}\n")


ACTIONS: Final[dict[str, Callable[[Session, argparse.Namespace], int]]] = {"explain": _explain, "replay": replay_file}

COMMANDS: Final = {
    "anomaly": Command(
        summary=(
            "Explain what a detector found, and try detectors on a recorded trail. "
            "Nothing is recorded by it, and no detector that runs learns from it."
        ),
        configure=_configure,
        run=_run,
        examples="""
            strongroom anomaly explain 3f9d41c2b8e6
            strongroom anomaly replay audit.jsonl
            strongroom anomaly replay audit.jsonl --detector rate --set at_least=50 --summary
            strongroom anomaly replay audit.jsonl --learn-until 7d --json
        """,
    ),
}
