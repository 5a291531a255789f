"""The server's log: a few lines on standard error, since standard output is the protocol's."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading

from collections.abc import Iterator
from typing import Final

LOG: Final = logging.getLogger("strongroom_mcp")
_MOST_WAITING: Final = 1000
"""How many lines may wait for whoever reads them; what comes then is dropped."""
_END_SECONDS: Final = 1.0
"""How long the last lines may take."""


class _Behind(logging.Handler):
    """Writes to standard error in a thread of its own.

    The client holds the other end. If it does not read, that must hold up no limit of time and no kill switch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._write, name="strongroom-mcp-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        self._put(self.format(record))

    def end(self) -> None:
        self._put(None)
        self._thread.join(_END_SECONDS)

    def _put(self, line: str | None) -> None:
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            while (line := self._lines.get()) is not None:
                # Not by `sys.stderr`: its lock would keep the process from ending.
                os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def opened() -> Iterator[None]:
    """Write to standard error, and keep the loggers of libraries quiet: they would tell what was called."""
    handler = _Behind()
    handler.setFormatter(logging.Formatter("strongroom mcp: %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    for name in ("mcp", "httpx2", "httpcore2", "asyncio"):
        other = logging.getLogger(name)
        other.handlers = [logging.NullHandler()]
        other.propagate = False
        other.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        handler.end()
        LOG.removeHandler(handler)
