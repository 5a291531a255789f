"""Signals are waited for one by one, also where the system says nothing about their senders."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: which signals are blocked is a matter of the whole process.
SCRIPT = """
import os, signal, sys, threading
from strongroom.cli.supervising.arrivals import arriving, wake
sys.platform = sys.argv[1]
before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
with arriving() as arrivals:
    print("mask", arrivals.mask == before)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGWINCH, signal.SIGCONT):
        os.kill(os.getpid(), number)
        arrival = arrivals.wait(60.0 if number != signal.SIGINT else None)
        print(signal.Signals(arrival.number).name, arrival.alone, arrival.sender in {0, os.getpid()})
    threading.Timer(0.01, wake).start()
    print(signal.Signals(arrivals.wait(60.0).number).name)
    late = arrivals.wait(0.01)
    print("late", late is None or late.number == signal.SIGCHLD)
print("mask", signal.pthread_sigmask(signal.SIG_BLOCK, []) == before)
"""


@pytest.mark.parametrize(
    "platform",
    [
        pytest.param(
            "linux", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who has sent a signal")
        ),
        "another",
    ],
)
def test_each_signal_arrives_and_time_limits_are_kept(platform: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, platform],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=60,
        check=False,
    )
    names = ("SIGTERM", "SIGUSR1", "SIGINT", "SIGWINCH", "SIGCONT")
    expected = ["mask True", *(f"{name} True True" for name in names), "SIGCHLD", "late True", "mask True"]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
