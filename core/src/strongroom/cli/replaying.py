"""``anomaly replay``: shows detectors a recorded trail, and prints what they would have done."""

from __future__ import annotations

import argparse
import os
import sys

from contextlib import closing
from datetime import datetime
from typing import Any, Final

from strongroom.anomaly.replay import Replay
from strongroom.anomaly.stage import Alert
from strongroom.cli.command import Session, UsageError, note, print_json, table
from strongroom.cli.text import printable
from strongroom.config import files
from strongroom.config.convert import Place
from strongroom.config.load import DetectorTable, SinkTable, load
from strongroom.contracts import TrailQuery
from strongroom.discovery import Catalogue
from strongroom.errors import ConfigurationError
from strongroom.opening import open_detector, open_sink
from strongroom.trails import OpenTrail

COMMAND_LINE: Final = "the command line"


def replay_file(session: Session, options: argparse.Namespace) -> int:
    """Run the detectors over a trail's file.

    Args:
        session: Says which configuration names the detectors.
        options: The options of ``anomaly replay``.

    Returns:
        The exit status.

    Raises:
        UsageError: There is no such file, it is no trail, or an option makes no sense.
        ConfigurationError: There is no detector, or its settings are not usable.
        PluginError: No plugin offers a detector, or the sink that reads trails.
        AuditError: The trail cannot be read.
    """
    if options.settings and options.detector is None:
        raise UsageError("--set needs --detector", hint="say whose settings they are")
    tables = _tables(session, options)
    learn_until = datetime.fromisoformat(options.learn_until) if options.learn_until is not None else None
    catalogue = Catalogue()
    alerts: list[dict[str, Any]] = []
    with closing(_recorded(options.file, catalogue)) as trail:
        replay = Replay(tuple(open_detector(one, catalogue) for one in tables), learn_until=learn_until)
        with closing(replay):
            for event in trail.read(TrailQuery(since=options.since, until=options.until)):
                for alert in replay.feed(event):
                    if options.json:
                        alerts.append(_alert(alert))
                    elif not options.summary:
                        sys.stdout.write(_line(alert) + "\n")
    if options.json:
        kept = {} if options.summary else {"alerts": alerts}
        print_json({"file": os.path.abspath(options.file), **_summary(replay, tables), **kept})
    else:
        _show_summary(replay, tables, learn_until)
    return 0


def _tables(session: Session, options: argparse.Namespace) -> tuple[DetectorTable, ...]:
    """Return the tables of the detectors that are to be tried."""
    if options.detector is None:
        configuration = load(session.config)
        if not configuration.detectors:
            raise ConfigurationError(
                f"{configuration.source} has no detector", hint="add an [[anomaly]] table, or try one with --detector"
            )
        return configuration.detectors
    configured = load(session.config).detectors if _has_configuration(session) else ()
    own = [one for one in configured if one.type == options.detector]
    given = [_as_written(one) for one in own] or [{}]
    made = [_made({"type": options.detector, **one, **dict(options.settings)}) for one in given]
    places = [one.place for one in own] or [Place(file=COMMAND_LINE, table="", folder=os.getcwd())]
    if options.settings:
        places = [Place(file=COMMAND_LINE, table="", folder=place.folder) for place in places]
    return tuple(one.replace(place=place) for one, place in zip(made, places, strict=True))


def _has_configuration(session: Session) -> bool:
    """Tell whether there is one at all: a trail may be looked at on a machine where nothing else is."""
    named = session.config or os.environ.get(files.VARIABLE)
    return bool(named) or any(map(os.path.isfile, files.search_path()))


def _as_written(configured: DetectorTable) -> dict[str, Any]:
    return {
        **configured.table,
        "action": "block" if configured.block else "alert",
        "required": configured.required,
        "cool_down": f"{configured.cool_down:.6f}s",
    }


def _made(content: dict[str, Any]) -> DetectorTable:
    """Check a detector's table as if it stood in a file."""
    return load({"backends": {"memory": {"type": "memory"}}, "audit": "none", "anomaly": [content]}).detectors[0]


def _recorded(file: str, catalogue: Catalogue) -> OpenTrail:
    """Open a trail by its file; nothing is made or written.

    Raises:
        UsageError: There is no such file, or it is no trail.
        PluginError: The sink that reads trails is not installed.
        AuditError: It cannot be read.
    """
    path = os.path.realpath(file)
    if not os.path.isfile(path):
        raise UsageError(f"there is no file {file}", hint="give the path that [[audit]] has for the sink `jsonl`")
    place = Place(file=COMMAND_LINE, table="", folder=os.getcwd())
    trail = OpenTrail(open_sink(SinkTable(name="jsonl", type="jsonl", table={"path": path}, place=place), catalogue))
    try:
        if next(iter(trail.read(TrailQuery())), None) is None:
            raise UsageError(f"{file} is no audit trail", hint="not one line of it is as the sink `jsonl` writes them")
    except BaseException:
        trail.close()
        raise
    return trail


def _alert(alert: Alert) -> dict[str, Any]:
    access = alert.access
    return {
        "time": access.time.isoformat(timespec="microseconds"),
        "principal": access.principal.name,
        "on_behalf_of": access.base.name if access.base is not None else None,
        "action": access.action,
        "name": access.name,
        "host": access.host,
        "program": access.process,
        "detector": alert.detector,
        "blocked": alert.blocked,
        "reason": alert.reason,
        "evidence": list(alert.evidence),
        "suppressed": alert.suppressed,
    }


def _line(alert: Alert) -> str:
    access = alert.access
    base = f" for {access.base.name}" if access.base is not None else ""
    columns = (
        access.time.isoformat(timespec="microseconds"),
        f"{access.principal.name}{base}",
        access.action,
        access.name,
        alert.detector,
        "block" if alert.blocked else "alert",
        alert.reason,
    )
    return "  ".join(map(printable, columns))


def _summary(replay: Replay, tables: tuple[DetectorTable, ...]) -> dict[str, Any]:
    return {
        "events": replay.events,
        "accesses": replay.accesses,
        "first": replay.first.isoformat(timespec="microseconds") if replay.first is not None else None,
        "last": replay.last.isoformat(timespec="microseconds") if replay.last is not None else None,
        "days": replay.days,
        "detectors": [
            {**summary.as_dict(), "place": _place(one)} for summary, one in zip(replay.summaries(), tables, strict=True)
        ],
    }


def _place(one: DetectorTable) -> str:
    return f"{one.place.table} in {one.place.file}" if one.place.table else one.place.file


def _show_summary(replay: Replay, tables: tuple[DetectorTable, ...], learn_until: datetime | None) -> None:
    headings = ("DETECTOR", "ALERTS", "A DAY", "BLOCKS", "NOT SENT", "FAILED", "SETTINGS")
    rows = []
    for summary, one in zip(replay.summaries(), tables, strict=True):
        counts = (summary.alerts, f"{summary.alerts_per_day:.2f}", summary.blocks, summary.suppressed, summary.failures)
        rows.append((printable(summary.detector), *map(str, counts), printable(_place(one))))
    table(rows, headings)
    sys.stdout.flush()
    learned = f", since {learn_until.isoformat(timespec='seconds')}" if learn_until is not None else ""
    note(f"{replay.events} events, {replay.accesses} accesses, {replay.days:.2f} days{learned}")
