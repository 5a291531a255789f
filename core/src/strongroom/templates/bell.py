"""Wakes a loop that waits, from a signal's handler or another thread."""

from __future__ import annotations

import select
import socket

from contextlib import suppress
from typing import Self


class Bell:
    """Rings until somebody has waited for it. It takes no lock, so a signal's handler can ring it at any moment."""

    def __init__(self) -> None:
        self._hears, self._rings = socket.socketpair()
        self._hears.setblocking(False)
        self._rings.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ring(self) -> None:
        """Wake whoever waits, or who will wait next; after the end, do nothing."""
        # What is full rings already.
        with suppress(OSError):
            self._rings.send(b"\0")

    def wait(self, seconds: float) -> bool:
        """Wait until it rings; tell whether it did.

        Args:
            seconds: For how long at most.
        """
        if not select.select([self._hears], [], [], seconds)[0]:
            return False
        with suppress(OSError):
            while self._hears.recv(4096):
                pass
        return True

    def close(self) -> None:
        """End it; twice is no error."""
        self._hears.close()
        self._rings.close()
