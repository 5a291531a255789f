"""An optional interface of backends that keep, encrypted, what the core itself must remember."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from strongroom._record import Record

MAX_STATE_BYTES: Final = 1024 * 1024
"""No state may have more bytes."""


class SaveStateRequest(Record):
    """Keep a state under a key in place of the one before."""

    key: str
    """Exact text: segments joined by slashes, such as ``anomaly/rate``. These are no names of secrets: no read returns
    them, and no list shows them."""
    state: bytes


class LoadStateRequest(Record):
    """Return the state that was kept last."""

    key: str


class LoadStateResult(Record):
    """What is kept under a key."""

    state: bytes | None
    """``None`` if nothing is."""


class StateStore(ABC):
    """Keeps small states, such as a detector's baseline, as safe as it keeps secrets."""

    @abstractmethod
    def save_state(self, request: SaveStateRequest) -> None:
        """Keep a state; it replaces the one before as a whole, and is durable when this returns.

        Raises:
            ValueTooLargeError: It has more than ``MAX_STATE_BYTES``.
            BackendUnavailableError: It cannot be kept now.
        """

    @abstractmethod
    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return what is kept.

        Raises:
            BackendUnavailableError: It cannot be read now.
            TamperedError: What is stored is not authentic.
        """
