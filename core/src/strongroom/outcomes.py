"""What answers a read that the cache does not answer, and a change that a backend does not make at once."""

from __future__ import annotations

from datetime import datetime

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


class Written(Record):
    """What a write or rotation did."""

    name: SecretName
    version: str
    """The new version; of a write that waits ``queued:`` with the entry's id, under which this process reads it."""
    subscribers_failed: tuple[str, ...] = ()
    """Subscribers that raised or did not return in time, one sentence each."""
    queued: str | None = None
    """The id of its entry in the journal, if the backend is out of reach: it is accepted, but not yet made."""
    copy_failed: str = ""
    """Why the copy in the fallback store could not be brought up to date; empty if it is, or if there is none."""


class Deleted(Record):
    """What a delete did."""

    name: SecretName
    existed: bool
    """Whether there was one; of a delete that waits, as far as is known."""
    recoverable_until: datetime | None = None
    subscribers_failed: tuple[str, ...] = ()
    queued: str | None = None
    """As in :class:`Written`."""
    copy_failed: str = ""
    """As in :class:`Written`."""


class Rotated(Written):
    """What a rotation by a rule did."""

    id: str
    """The rotation's id, a UUID; empty for one that waits in the journal."""
    unfinished: str = ""
    """What is still to be done and when, in words: the former value is taken from the dependent only after the
    rule's ``overlap``. Empty if all is done."""

    @property
    def is_complete(self) -> bool:
        """Whether everything is done and everybody has heard of it."""
        return not self.unfinished and not self.subscribers_failed and not self.copy_failed


Outcome = ReadResult | StrongroomError | Substitute
