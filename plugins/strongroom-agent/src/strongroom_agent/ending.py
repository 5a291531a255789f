"""Ends the process where something that hangs would keep it from ending."""

from __future__ import annotations

import os
import threading
import time

from typing import Final

from strongroom_agent.log import LOG

CLOSING_SECONDS: Final = 15.0
"""How long the manager may take to record what waits, and to close."""
LAST_SECONDS: Final = 1.5
"""How long the rest may take: what waits for a collector, and the interpreter's own end."""


class Ending:
    """Sees to it that the process ends.

    The interpreter waits for the threads that read from backends. A backend that hangs may keep one for as long as
    it likes.
    """

    def __init__(self) -> None:
        self._closed = threading.Event()

    def begin(self) -> None:
        """No request is under way any more: from now on time counts."""
        threading.Thread(target=self._see_to_it, name="strongroom-agent-ending", daemon=True).start()

    def closed(self) -> None:
        """The manager is closed, and nothing will be missing."""
        self._closed.set()

    def _see_to_it(self) -> None:
        if not self._closed.wait(CLOSING_SECONDS):
            LOG.error("backends or audit sinks hang, and the agent ends without closing them")
            os._exit(1)
        time.sleep(LAST_SECONDS)
        LOG.warning("a backend hangs, and the agent ends without waiting for it")
        os._exit(0)
