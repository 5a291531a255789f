"""The agent's log: a few lines on standard error, with neither names of secrets nor addresses of requests."""

from __future__ import annotations

import logging
import sys

from typing import Final

LOG: Final = logging.getLogger("strongroom_agent")


def start() -> None:
    """Write to standard error, and keep the server's own log quiet: it would tell what was requested."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("strongroom agent: %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    silence()


def silence() -> None:
    """Switch the server's own loggers off."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        other = logging.getLogger(name)
        other.handlers = [logging.NullHandler()]
        other.propagate = False
        other.setLevel(logging.CRITICAL)
