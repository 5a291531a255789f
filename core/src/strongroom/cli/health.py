"""``health``: the state of every configured backend and audit sink."""

from __future__ import annotations

import argparse
import sys
import time

from datetime import UTC, datetime
from typing import Any, Final

from strongroom._spoken import spoken
from strongroom.cli.command import Command, Session, add_json, print_json, table
from strongroom.cli.parts import Part, opened_parts, told_facts
from strongroom.cli.standby import Standby, look
from strongroom.cli.text import printable
from strongroom.contracts import HealthState
from strongroom.discovery import Kind
from strongroom.errors import AuditError, BackendUnavailableError


def _run(session: Session, options: argparse.Namespace) -> int:
    configuration = session.load()
    now = time.time()
    with opened_parts(configuration) as parts:
        standby = look(configuration, parts, now)
        verdict, status = judge(parts, standby, configuration.spare)
    if options.json:
        print_json(
            {
                "state": verdict.partition(":")[0],
                "verdict": verdict,
                "parts": [_described(part) | _condition(part, standby, now) for part in parts],
                "journal": _journal(standby),
            }
        )
        return status
    rows = [
        (_label(part), printable(part.name), part.health.state.value, printable(_explained(part, standby, now)))
        for part in parts
    ]
    table(rows, ("KIND", "NAME", "STATE", "DETAILS"))
    if standby is not None:
        sys.stdout.write(f"{printable(standby.told())}\n")
    sys.stdout.write(f"{verdict}\n")
    return status


def judge(parts: list[Part], standby: Standby | None = None, spare: str | None = None) -> tuple[str, int]:
    """Return the verdict over all parts in words, and the exit status that goes with it.

    Args:
        parts: The parts; without its required audit sinks nothing works, so those count most.
        standby: The fallback store, if there is one: a backend for which it stands in does not stop everything.
        spare: Its name, if no name is routed to it: by itself it stops nothing.
    """
    down = [part for part in parts if part.health.state is HealthState.DOWN and part.required]
    if any(part.kind is Kind.AUDIT_SINK for part in down):
        return "unhealthy: audit", AuditError.exit_status
    lost = [part for part in down if standby is None or not standby.covers(part)]
    if lost and [part.name for part in lost] != [spare]:
        names = ", ".join(printable(part.name) for part in lost)
        return f"unhealthy: {names}", BackendUnavailableError.exit_status
    all_up = all(part.health.state is HealthState.UP for part in parts) and (standby is None or not standby.problem)
    return ("healthy" if all_up else "degraded"), 0


def _label(part: Part) -> str:
    return "audit" if part.kind is Kind.AUDIT_SINK else "backend"


def _explained(part: Part, standby: Standby | None, now: float) -> str:
    """Return why a part is not up and what to do, or what it says of itself; and since when, where that is known."""
    told = ": ".join(filter(None, (part.health.reason, part.health.hint))) or told_facts(part.health)
    if standby is None or part.kind is not Kind.BACKEND:
        return told
    outage = standby.outages.get(part.name)
    lasted = f"out of reach for {spoken(max(0.0, now - outage.since))}" if outage is not None else ""
    waiting = standby.by_backend.get(part.name)
    return "; ".join(filter(None, (lasted, told, f"{waiting} writes wait for it" if waiting else "")))


def _condition(part: Part, standby: Standby | None, now: float) -> dict[str, Any]:
    """Return for programs how a backend is, as one look from outside tells."""
    if part.kind is not Kind.BACKEND or standby is None or part.name == standby.backend:
        return {}
    outage = standby.outages.get(part.name)
    return {
        "condition": standby.condition(part).value,
        "since": datetime.fromtimestamp(outage.since, UTC).isoformat() if outage is not None else None,
        "lasted": max(0.0, now - outage.since) if outage is not None else None,
        "waiting": standby.by_backend.get(part.name, 0),
    }


def _journal(standby: Standby | None) -> dict[str, Any] | None:
    if standby is None:
        return None
    names = ("backend", "waiting", "set_aside", "size", "oldest", "problem")
    return {name: getattr(standby, name) for name in names}


def _described(part: Part) -> dict[str, Any]:
    health = part.health
    return {
        "kind": _label(part),
        "name": part.name,
        "state": health.state.value,
        "required": part.required,
        "code": part.error.code if part.error else None,
        "reason": health.reason,
        "hint": health.hint,
        "facts": dict(health.facts),
    }


COMMANDS: Final = {
    "health": Command(
        summary=(
            "Show the state of every backend and audit sink, and what waits in the journal. Status 0 if all are up or "
            "only degraded, as with a backend that is down while the fallback store stands in for it; 6 if a backend "
            "is down otherwise, 10 if audit is down."
        ),
        configure=add_json,
        run=_run,
        examples="""
            strongroom health
            strongroom health --json
        """,
    ),
}
