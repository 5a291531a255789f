"""A progress bar on standard error, where a person may wait."""

from __future__ import annotations

import os
import sys
import time

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

PATIENCE: Final = 0.5
"""Nothing is shown of what is done within so many seconds."""
EVERY: Final = 0.1
"""The bar is drawn anew at most this often, in seconds."""
_ERASE: Final = "\r\x1b[K"


class Progress:
    """Draws how far something has come, and leaves no trace when it is done.

    Without a terminal nothing is ever written. It is called with how many are done
    and how many there are, by one thread at a time.

    Args:
        what: What is being done, in one word, such as ``reading``.
        stream: Where to draw; standard error unless given.
        clock: Monotonic seconds.
    """

    def __init__(self, what: str, *, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._clock = clock
        self._next = clock() + PATIENCE
        self._shown = False
        self._possible = self._stream.isatty() and os.environ.get("TERM") != "dumb"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # Whatever comes next, a result or an error, starts on a clean line.
        if self._shown:
            self._shown = False
            self._write(_ERASE)

    def __call__(self, done: int, total: int) -> None:
        """Show that so many of so many are done, unless it is too early to draw anything."""
        now = self._clock()
        if not self._possible or now < self._next:
            return
        self._next = now + EVERY
        self._shown = True
        self._write(_ERASE + bar(self._what, done, total, self._columns()))

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            # The terminal has gone; the work has not.
            self._possible = False


def bar(what: str, done: int, total: int, columns: int) -> str:
    """Return one line that fits a terminal.

    Args:
        what: What is being done.
        done: How many are done.
        total: How many there are.
        columns: The terminal's width.
    """
    count = f"{done:,} of {total:,}".rjust(len(f"{total:,} of {total:,}"))
    # The last column stays free: some terminals go on to the next line there.
    width = min(40, columns - 1 - len(what) - len(count) - 4)
    if width < 5:
        return f"{what} {count}"[: max(0, columns - 1)]
    full = width * done // total if total else width
    return f"{what} [{'#' * full}{'-' * (width - full)}] {count}"
