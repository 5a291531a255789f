"""The agent ends when it is told to, also where a backend hangs."""

from __future__ import annotations

import subprocess
import sys
import threading

from pathlib import Path

import pytest

from agents import running, settings
from strongroom.contracts.health import Health
from strongroom.testing import FaultyBackend
from strongroom_agent.notify import Notifier

HANGING = """
import threading
from concurrent.futures import ThreadPoolExecutor
from strongroom_agent import ending, log

log.start()
ThreadPoolExecutor().submit(threading.Event().wait)
one = ending.Ending()
{}
"""


@pytest.mark.parametrize(
    ("lines", "status", "word"),
    [
        ("one.begin(); one.closed()", 0, "without waiting for it"),
        ("ending.CLOSING_SECONDS = 0.1; one.begin()", 1, "without closing them"),
    ],
)
def test_a_thread_that_hangs_does_not_keep_the_process_from_ending(lines: str, status: int, word: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING.format(lines)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, done.stderr
    assert word in done.stderr


class Told(Notifier):
    """Keeps what systemd would be told."""

    def __init__(self) -> None:
        super().__init__({})
        self.states: list[str] = []

    def _send(self, text: str) -> None:
        self.states.append(text.partition("=")[0])


class Hanging(FaultyBackend):
    """Does not say how it is until a test lets it."""

    def __init__(self, backend: FaultyBackend) -> None:
        super().__init__(backend)
        self.go_on = threading.Event()

    def health(self) -> Health:
        assert self.go_on.wait(60)
        return super().health()


def test_an_agent_that_is_told_to_stop_while_it_starts_never_says_that_it_is_ready(
    tmp_path: Path, backend: FaultyBackend
) -> None:
    told, hanging = Told(), Hanging(backend)
    with running(settings(tmp_path), hanging, notifier=told) as agent:
        assert agent.ask("/healthz").status == 200
        assert agent.ask("/metrics").status == 200
        assert agent.ask("/readyz").json() == {"state": "unknown"}
        assert agent.get("db/password").status == 200
        agent.stop()
        hanging.go_on.set()
    assert told.states == ["STOPPING"]
