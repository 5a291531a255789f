"""Rotation: a durable machine that leads a secret from one value to the next, and when it is due to."""

from __future__ import annotations

from typing import Final

WAIT_SECONDS: Final = 300.0
"""For how long a rotation that a service makes is watched, at most."""
