"""Checks of the machine: Python, user, clock and plugins."""

from __future__ import annotations

import os
import platform
import sys
import time

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from strongroom.cli.diagnosis.finding import Finding, Place, ok, problem, warning
from strongroom.cli.diagnosis.sources import configuration_files, kept_files, key_files, opened_trails
from strongroom.cli.text import seconds
from strongroom.contracts import TrailQuery
from strongroom.errors import StrongroomError
from strongroom.trails import OpenTrail

OLDEST_PYTHON: Final = (3, 11)
BUILT: Final = 2025
"""No clock of a machine that runs this can rightly be before this year."""
TOLERANCE: Final = 2.0
"""So many seconds two clocks, or a disk's and the system's, may differ."""
NEWEST: Final = 100
"""Among so many of the last events the newest is looked for; several processes write them."""


def check_python(_place: Place) -> Iterator[Finding]:
    """Say which Python this is."""
    version = platform.python_version()
    if sys.version_info[:2] < OLDEST_PYTHON:
        yield problem(f"this is Python {version}, and strongroom needs 3.11", "install it for a newer one")
    else:
        yield ok(f"Python {version} at {sys.executable}")


def check_user(_place: Place) -> Iterator[Finding]:
    """Say whether this is root, whom no file mode stops."""
    if not hasattr(os, "geteuid"):
        return
    if os.geteuid() == 0:
        yield ok("running as root: no file mode stops it, and what it makes is closed to the service's own user")
    else:
        yield ok(f"running as user {os.geteuid()}")


def check_plugins(place: Place) -> Iterator[Finding]:
    """Load every installed plugin and say which fail."""
    records = place.catalogue.load_all()
    wrong = [record for record in records if record.state != "ok"]
    for record in wrong:
        what = f"the {record.kind} {record.name} of {record.distribution} {record.version} is {record.state}"
        yield warning(f"{what}: {record.error}", "upgrade or uninstall that distribution")
    if not wrong:
        yield ok(f"all {len(records)} plugins load")


def check_clock(place: Place) -> Iterator[Finding]:
    """Say whether the clock was set back; all times are UTC, so the time zone does not matter."""
    now = time.time()
    found = []
    if datetime.fromtimestamp(now, UTC).year < BUILT:
        found.append(f"the clock says {_spelled(now)}, before this release was made")
    for what, then in (*_newest_file(place), *_newest_events(place)):
        if then > now + TOLERANCE:
            found.append(f"the clock says {_spelled(now)}, {seconds(then - now)} before {what}")
    for sentence in found:
        yield problem(sentence, "set the clock, and have it kept by NTP")
    if not found:
        yield ok(f"the clock says {_spelled(now)}, after everything that is kept here")


def _spelled(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _newest_file(place: Place) -> list[tuple[str, float]]:
    times = []
    for path in (*configuration_files(place), *key_files(place), *kept_files(place)):
        try:
            times.append((f"the last change of {path}", os.stat(path).st_mtime))
        except OSError:
            continue  # other checks tell what is missing
    return sorted(times, key=lambda pair: pair[1])[-1:]


def _newest_events(place: Place) -> Iterator[tuple[str, float]]:
    if place.configuration is None:
        return
    for trail in opened_trails(place.configuration):
        yield from _newest_event(trail)


def _newest_event(trail: OpenTrail) -> Iterator[tuple[str, float]]:
    try:
        times = [datetime.fromisoformat(event.timestamp).timestamp() for event in trail.read(TrailQuery(last=NEWEST))]
    except (StrongroomError, ValueError):
        return  # the check of the trail tells
    if times:
        yield f"the newest event of {trail.type}", max(times)
