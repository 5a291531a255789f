"""Checks of what is configured: keys, backends, audit sinks and the trail itself."""

from __future__ import annotations

import os

from collections.abc import Iterator
from typing import Final

from strongroom.cli.diagnosis.finding import Finding, Place, from_error, ok, problem, warning
from strongroom.cli.diagnosis.sources import all_settings, keys, opened_trails
from strongroom.cli.parts import Part, free_bytes, opened_parts, own_path, told_facts
from strongroom.contracts import HealthState, Maintenance, TrailReport, VerifyRequest
from strongroom.discovery import Kind
from strongroom.errors import AuditError, BackendUnavailableError, StrongroomError, TamperedError
from strongroom.resilience.guarded import GuardedBackend
from strongroom.trails import OpenTrail

LITTLE_SPACE: Final = 64 << 20
"""Below so many free bytes there is a warning."""


def check_keys(place: Place) -> Iterator[Finding]:
    """Say which keys cannot be read from where they are."""
    for key in keys(place):
        where = f"{key.setting}, {key.source.describe()},"
        try:
            size = len(key.source.read())
        except StrongroomError as error:
            yield from_error(error)
            continue
        if size:
            yield ok(f"{where} can be read")
        else:
            yield problem(f"{where} is empty", "put the key there, from your copy of it", 8)


def check_backends(place: Place) -> Iterator[Finding]:
    """Open each backend, ask how it is, and have it check what it keeps if it can."""
    if place.configuration is None:
        return
    with opened_parts(place.configuration, kinds=(Kind.BACKEND,)) as parts:
        for part in parts:
            yield from _backend(part)


def _backend(part: Part) -> Iterator[Finding]:
    label = f"the backend {part.name}"
    if isinstance(part.opened, GuardedBackend) and isinstance(part.opened.wrapped, Maintenance):
        try:
            result = part.opened.maintain("verify", lambda store: store.verify(VerifyRequest()))
        except StrongroomError as error:
            yield from_error(error)
            return
        for sentence in result.problems:
            yield problem(f"{label}: {sentence}", "restore a backup", TamperedError.exit_status)
        if not result.problems and part.health.state is HealthState.UP:
            yield ok(f"{label} is up, and all {result.secrets} secrets in it are whole")
            return
    yield from _health(part, label, BackendUnavailableError.exit_status)


def _health(part: Part, label: str, status: int) -> Iterator[Finding]:
    health = part.health
    if part.error is not None:
        yield from_error(part.error)
    elif health.state is HealthState.UP:
        facts = told_facts(health)
        yield ok(f"{label} is up: {facts}" if facts else f"{label} is up")
    elif health.state is HealthState.DEGRADED or not part.required:
        yield warning(f"{label} is {health.state.value}: {health.reason}", health.hint)
    else:
        yield problem(f"{label} is down: {health.reason}", health.hint, status)


def check_sinks(place: Place) -> Iterator[Finding]:
    """Ask each audit sink how it is, and verify the trails that can be read back."""
    if place.configuration is None:
        return
    if not place.configuration.sinks:
        mend = 'add an [[audit]] table with type = "jsonl" and a path'
        yield warning("nothing is recorded: no audit sink is configured", mend)
    with opened_parts(place.configuration, kinds=(Kind.AUDIT_SINK,)) as parts:
        for part in parts:
            yield from _health(part, f"the audit sink {part.name}", AuditError.exit_status)


def check_trail(place: Place) -> Iterator[Finding]:
    """Verify the trails that can be read back."""
    if place.configuration is None:
        return
    for trail in opened_trails(place.configuration):
        yield from _trail(trail)


def _trail(trail: OpenTrail) -> Iterator[Finding]:
    try:
        report = trail.verify()
    except StrongroomError as error:
        yield from_error(error)
        return
    what = f"the trail of {trail.type} is {report.state}: {_first(report)}"
    if report.state == "broken":
        yield problem(what, "see `strongroom audit verify`; keep a copy of the trail as it is", AuditError.exit_status)
    elif report.state == "sealed":
        yield ok(f"the trail of {trail.type} is sealed, {report.events} events")
    else:
        yield warning(what, "see `strongroom audit verify` for each place")


def _first(report: TrailReport) -> str:
    rest = len(report.findings) - 1
    if rest < 0:
        return f"{report.events} events"
    first = report.findings[0]
    return f"{first.place} {first.detail}" + (f", and {rest} more" if rest else "")


def check_space(place: Place) -> Iterator[Finding]:
    """Say where stores and trails will soon have no space left."""
    folders: dict[str, None] = {}
    for _, settings in all_settings(place):
        path = own_path(settings)
        if path is not None and os.path.isdir(os.path.dirname(path)):
            folders[os.path.dirname(path)] = None
    free = {folder: free_bytes(folder) for folder in folders}
    short = {folder: size for folder, size in free.items() if size is not None and size < LITTLE_SPACE}
    for folder, size in short.items():
        what = f"the disk of {folder} has {size >> 10} KiB left"
        mend = "free some space: without it nothing can be recorded"
        yield warning(what, mend) if size else problem(what, mend, AuditError.exit_status)
    if folders and not short:
        yield ok("there is space for what is kept and recorded")
