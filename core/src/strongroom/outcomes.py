"""What answers a read that the cache does not answer, and a change that a backend does not make at once."""

from __future__ import annotations

from strongroom._record import Record
from strongroom.contracts.backend import ReadResult
from strongroom.errors import BackendUnavailableError, SecretDeletedError, StrongroomError
from strongroom.model import Absent, Principal, Secret, SecretName, SecretValue


class Substitute(Record):
    """An answer that is not the backend's: a secret, or that there is none."""

    secret: Secret | None
    error: SecretDeletedError | None = None
    keep: float = 0.0
    """For how many seconds it may stand in again without being looked up."""


Begun = tuple[int, float]
"""When a load was begun: a number that each change of a copy raises, and seconds since 1970 UTC."""


class Wish(Record):
    """A change that somebody wants made."""

    change: str
    """``set``, ``rotate`` or ``delete``."""
    name: SecretName
    value: SecretValue | None = None
    """``None`` for a delete."""
    expected: str | Absent | None = None
    """What the caller expects to be there; ``None`` for anything."""
    cached: str | None = None
    """The version that is in the cache; ``None`` if none is."""
    outage: BackendUnavailableError | None = None
    """Why the backend need not be asked; ``None`` if nobody knows of an outage."""
    principal: Principal
    base: Principal | None = None


class Accepted(Record):
    """A change that was accepted to be made later."""

    id: str
    """The id of its entry in the journal."""
    version: str | None
    """Under which the value is read until then; ``None`` for a delete."""
    existed: bool
    """Whether there was a secret before, as far as is known."""


Outcome = ReadResult | StrongroomError | Substitute
