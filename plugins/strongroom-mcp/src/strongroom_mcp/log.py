"""The server's log: a few lines on standard error, since standard output is the protocol's."""

from __future__ import annotations

import logging
import sys

from typing import Final

LOG: Final = logging.getLogger("strongroom_mcp")


def start() -> None:
    """Write to standard error, and keep the loggers of libraries quiet: they would tell what was called."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("strongroom mcp: %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    for name in ("mcp", "httpx2", "httpcore2", "asyncio"):
        other = logging.getLogger(name)
        other.handlers = [logging.NullHandler()]
        other.propagate = False
        other.setLevel(logging.CRITICAL)
