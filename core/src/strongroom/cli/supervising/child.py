"""The parent's side: one process that is to become the program, or has become it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from collections.abc import Iterable, Sequence
from typing import Final

from strongroom.cli.environment import inherited
from strongroom.cli.supervising.handover import Report

_STATES: Final = os.WNOHANG | os.WUNTRACED | os.WCONTINUED


class Child:
    """A process that reads the secrets, and becomes the program when it is told to.

    Args:
        common: The options of ``strongroom`` itself.
        command: The command's name, and its arguments.
        mask: Which signals are blocked in it.

    Attributes:
        pid: Its process id.
        report: What it has read; ``None`` until it has.
        status: How it has ended: its status, or the negative number of a signal; ``None`` until it has.
        is_stopped: Whether a signal has stopped it.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, common: Sequence[str], command: Sequence[str], mask: Iterable[int]) -> None:
        self.report: Report | None = None
        self.status: int | None = None
        self.is_stopped = False
        self._said = b""
        self._report = self._go = report = go = -1
        try:
            self._report, report = os.pipe()
            go, self._go = os.pipe()
            os.set_blocking(self._report, False)
            for end in (report, go):
                os.set_inheritable(end, True)
            handover = ["--handover", f"{report}:{go}:{os.getpid()}"]
            self.pid = _spawn([*common, *command[:1], *handover, *command[1:]], mask)
        except OSError:
            self._let_go()
            raise
        finally:
            for end in (report, go):
                if end >= 0:
                    os.close(end)

    def look(self) -> bool:
        """Take in what it has said and how it is; return whether it has just been stopped."""
        stopped = False
        while self.status is None:
            pid, state = os.waitpid(self.pid, _STATES)
            if pid == 0:
                break
            if os.WIFSTOPPED(state) or os.WIFCONTINUED(state):
                stopped = self.is_stopped = os.WIFSTOPPED(state)
            else:
                self.status = os.waitstatus_to_exitcode(state)
        if self.report is None and self.status is None:
            self._read()
        return stopped

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._report, 65536):
                self._said += part
        if not self._said.endswith(b"\n"):
            return
        try:
            self.report, self._said = Report.from_json(self._said), b""
        except ValueError:
            # The program that runs goes on: it is this process that the parent cannot use.
            self.give_up()

    def go(self) -> None:
        """Let it become the program."""
        # It may have been killed just now, which the next look finds out.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._go, b"g")
        self._let_go()

    def send(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def give_up(self) -> None:
        """End it at once, whatever it is doing."""
        self.send(signal.SIGKILL)
        while self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._let_go()

    def _let_go(self) -> None:
        for end in (self._report, self._go):
            if end >= 0:
                os.close(end)
        self._report = self._go = -1


def _spawn(arguments: Sequence[str], mask: Iterable[int]) -> int:
    # Not from the current folder, where anybody may have put a module of that name.
    flags = ["-I"] if sys.flags.isolated else ["-P"]
    command = [sys.executable, *flags, "-m", "strongroom", *arguments]
    return os.posix_spawn(sys.executable, command, inherited(), setsigmask=mask)
