"""What answers a read that the cache does not answer."""

from __future__ import annotations

from typing import Final

from strongroom._record import Record
from strongroom.contracts.backend import ReadResult
from strongroom.errors import SecretDeletedError, StrongroomError
from strongroom.model import Freshness, Secret

SUBSTITUTED: Final = frozenset({Freshness.STALE, Freshness.FALLBACK})
"""What an answer that is not the backend's is marked with."""


class Substitute(Record):
    """An answer that is not the backend's: a secret, or that there is none."""

    secret: Secret | None
    error: SecretDeletedError | None = None
    keep: float = 0.0
    """For how many seconds it may stand in again without being looked up."""


Outcome = ReadResult | StrongroomError | Substitute
