"""``health``: the state of every configured backend and audit sink."""

from __future__ import annotations

import argparse
import sys

from typing import Any, Final

from strongroom.cli.command import Command, Session, add_json, print_json, table
from strongroom.cli.parts import Part, opened_parts, told_facts
from strongroom.cli.text import printable
from strongroom.config.load import load
from strongroom.contracts import HealthState
from strongroom.discovery import Kind
from strongroom.errors import AuditError, BackendUnavailableError


def _run(session: Session, options: argparse.Namespace) -> int:
    with opened_parts(load(session.config)) as parts:
        verdict, status = judge(parts)
    if options.json:
        print_json({"state": verdict.partition(":")[0], "verdict": verdict, "parts": list(map(_described, parts))})
    else:
        rows = [
            (_label(part), printable(part.name), part.health.state.value, printable(_explained(part))) for part in parts
        ]
        table(rows, ("KIND", "NAME", "STATE", "DETAILS"))
        sys.stdout.write(f"{verdict}\n")
    return status


def judge(parts: list[Part]) -> tuple[str, int]:
    """Return the verdict over all parts in words, and the exit status that goes with it.

    Args:
        parts: The parts; without its required audit sinks nothing works, so those count most.
    """
    down = [part for part in parts if part.health.state is HealthState.DOWN and part.required]
    if any(part.kind is Kind.AUDIT_SINK for part in down):
        return "unhealthy: audit", AuditError.exit_status
    if down:
        names = ", ".join(printable(part.name) for part in down)
        return f"unhealthy: {names}", BackendUnavailableError.exit_status
    return ("healthy" if all(part.health.state is HealthState.UP for part in parts) else "degraded"), 0


def _label(part: Part) -> str:
    return "audit" if part.kind is Kind.AUDIT_SINK else "backend"


def _explained(part: Part) -> str:
    """Return why a part is not up and what to do, or what it says of itself."""
    return ": ".join(filter(None, (part.health.reason, part.health.hint))) or told_facts(part.health)


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
            "Show the state of every backend and audit sink. Status 0 if all are up or only degraded, "
            "6 if a backend is down, 10 if audit is down."
        ),
        configure=add_json,
        run=_run,
        examples="""
            strongroom health
            strongroom health --json
        """,
    ),
}
