"""A program under ``strongroom run --on-change``, which says what happens to it."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from commandline import Cli, clean_environment

LIMIT: Final = 60.0
"""Seconds that a busy machine may take."""
FAST: Final = ("--every", "1s")

PROGRAM: Final = """
import os, signal, sys
def say(*words):
    os.write(1, (" ".join(words) + "\\n").encode())
def stop(*_):
    say("term")
    sys.exit(3)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGHUP, lambda *_: say("hup"))
say("start", *(os.environ.get(name, "-") for name in ("A", "B", "C")))
while True:
    signal.pause()
"""


class Running:
    """A program under the command; a test reads what it says line by line."""

    def __init__(self, cli: Cli, *options: str, program: str = PROGRAM, env: dict[str, str] | None = None) -> None:
        command = [str(Path(sys.executable).with_name("strongroom")), "run", *FAST, *options]
        self._errors = (cli.folder / "errors.txt").open("w+b")
        self.process = subprocess.Popen(
            [*command, "--", sys.executable, "-c", program],
            cwd=cli.folder,
            env=clean_environment(cli.home, **(env or {})),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._said = b""

    def line(self) -> str:
        """Return the next line that the program says."""
        assert self.process.stdout is not None
        while b"\n" not in self._said:
            assert select.select([self.process.stdout], [], [], LIMIT)[0], self.told()
            part = os.read(self.process.stdout.fileno(), 4096)
            assert part, self.told()
            self._said += part
        line, _, self._said = self._said.partition(b"\n")
        return line.decode()

    def lines(self, count: int) -> list[str]:
        return [self.line() for _ in range(count)]

    def told(self) -> str:
        """Return what the command has said about itself."""
        self._errors.flush()
        return Path(self._errors.name).read_text()

    def wait_until_told(self, words: str, count: int = 1) -> None:
        end = time.monotonic() + LIMIT
        while self.told().count(words) < count:
            assert time.monotonic() < end, self.told()
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        """Ask it to end; return its status, and what else it has said."""
        self.process.terminate()
        rest = self.process.communicate(timeout=LIMIT)[0]
        return self.process.returncode, (self._said + rest).decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)
        self._errors.close()


@contextmanager
def supervising(cli: Cli) -> Iterator[Callable[..., Running]]:
    """Lend what starts a program, which is started anew on a change unless the options say otherwise.

    Args:
        cli: The command, and its folder.
    """
    opened: list[Running] = []

    def start(*options: str, **more: Any) -> Running:
        way = () if "--on-change" in options else ("--on-change", "restart")
        opened.append(Running(cli, *way, *options, **more))
        return opened[-1]

    try:
        yield start
    finally:
        for one in opened:
            one.close()
