"""The command ``strongroom agent`` as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from pathlib import Path
from typing import Self

from agents import TOKEN, RunningAgent
from commandline import clean_environment

CONFIG = """\
audit = "none"
backend = "held"
principal = "agent"

[backends.held]
type = "memory"
seed = {{"db/password" = "{value}"}}

[agent]
listen = ["127.0.0.1:0", "unix:{folder}/agent.sock"]
{more}

[agent.callers.web]
principal = "web"
token = {{file = "web.token"}}
"""


def write_config(folder: Path, *, value: str = "s3cret", more: str = "") -> Path:
    """Write a configuration whose store is in memory, and a token of the caller ``web``.

    Args:
        folder: Where to.
        value: What ``db/password`` is.
        more: Further lines for the agent.
    """
    secret = folder / "web.token"
    secret.touch(mode=0o600)
    secret.write_text(TOKEN + "\n")
    path = folder / "strongroom.toml"
    path.write_text(CONFIG.format(value=value, folder=folder, more=more))
    return path


class AgentProcess(RunningAgent):
    """An agent in a process of its own; ended with the block.

    Args:
        folder: Where its configuration is.
        variables: Further ones of the environment.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder = folder
        self.log: list[str] = []
        self._process = subprocess.Popen(
            [str(Path(sys.executable).with_name("strongroom")), "agent"],
            cwd=folder,
            env=clean_environment(folder, **variables),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line.rstrip("\n"))

    def __enter__(self) -> Self:
        line = self.wait_for("listening at")
        where = line.partition("listening at ")[2].split(", ")
        self.port = next((int(one.rpartition(":")[2]) for one in where if not one.startswith("unix:")), 0)
        self.path = next((one.removeprefix("unix:") for one in where if one.startswith("unix:")), "")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(30)
        self._reader.join(10)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def wait_for(self, text: str, times: int = 1) -> str:
        """Return the line of the log with a text in it, as soon as so many of them are there."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            found = [line for line in self.log if text in line]
            if len(found) >= times:
                return found[times - 1]
            assert self._process.poll() is None, "\n".join(self.log)
            time.sleep(0.02)
        raise AssertionError(f"no {text!r} in {self.log}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    def end(self, seconds: float = 60) -> int:
        """Return its exit status when it has ended."""
        status = self._process.wait(seconds)
        self._reader.join(10)
        return status
