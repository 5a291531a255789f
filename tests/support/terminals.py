"""A terminal of a test's own, with a program at it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import subprocess
import termios

from typing import Any

LIMIT = 60.0
"""Seconds that a busy machine may take."""


class Terminal:
    """A program that is the first at a terminal, as the shell of a login is.

    Args:
        command: Its command line.
        options: Further arguments of ``subprocess.Popen``.

    Attributes:
        process: The program.
        seen: What the terminal has shown.
    """

    def __init__(self, command: list[str], **options: Any) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            **options,
        )
        os.close(theirs)
        self.seen = b""

    def type(self, keys: bytes) -> None:
        """Type something; ``\\x03`` is Ctrl-C."""
        os.write(self._ours, keys)

    def wait_for(self, wanted: bytes, count: int = 1) -> bytes:
        """Wait until the terminal has shown something so many times; return all that it has shown.

        Args:
            wanted: What to wait for.
            count: How many times.
        """
        while self.seen.count(wanted) < count:
            assert self._read(), f"the terminal has only shown {self.seen!r}"
        return self.seen

    def wait_for_end(self) -> int:
        """Read all that comes until the program ends, and return its status."""
        while self._read():
            continue
        return self.process.wait(LIMIT)

    def _read(self) -> bool:
        if not select.select([self._ours], [], [], LIMIT)[0]:
            return False
        try:
            part = os.read(self._ours, 4096)
        except OSError:  # Linux says so when nobody has the other end any more
            return False
        self.seen += part
        return bool(part)

    def hang_up(self) -> None:
        """Take the terminal away, as a connection that breaks off does."""
        os.close(self._ours)
        self._ours = -1

    def close(self) -> None:
        """End the program, and give the terminal back."""
        self.process.kill()
        self.process.wait(LIMIT)
        if self._ours >= 0:
            os.close(self._ours)
