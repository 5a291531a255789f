"""An optional interface of backends that help others through an outage: copies to read, and writes that wait."""

from __future__ import annotations

import enum
import math

from abc import ABC, abstractmethod
from datetime import datetime

from strongroom._record import Record
from strongroom.model import SecretName, SecretValue


class Place(Record):
    """Where a secret is kept: two places are never taken for each other, whatever the names are."""

    backend: str
    """The configured name of the backend that keeps it."""
    target: str
    """What :meth:`Backend.target` of that backend says: location, namespace or account, and mount."""
    name: SecretName


class Copy(Record):
    """A secret as its backend had it at a certain time."""

    place: Place
    value: SecretValue
    version: str
    created: datetime | None
    """When the backend says that the version was written, in UTC."""
    taken: float
    """As of when, in seconds since 1970 UTC: when the backend was asked for it, or had made it."""


class EntryState(enum.Enum):
    """What has become of a write that was accepted."""

    WAITING = "waiting"
    """It has not been sent, or was sent and certainly not made. A delete may be on its way."""
    UNCLEAR = "unclear"
    """It was sent, and nobody knows what became of it: read before it is sent again."""
    CONFLICT = "conflict"
    """The backend has another version than the one that it was made over."""
    OVERDUE = "overdue"
    """It has waited for longer than it may."""
    REFUSED = "refused"
    """The backend will not have it."""

    @property
    def waits(self) -> bool:
        """Whether it is still to be made; else it is set aside for a person to decide about."""
        return self in {EntryState.WAITING, EntryState.UNCLEAR}


class Entry(Record):
    """A write that was accepted during an outage, and is to be made later."""

    id: str
    """36 characters of a random UUID; also the token under which the write is sent."""
    place: Place
    change: str
    """``set``, ``rotate`` or ``delete``."""
    value: SecretValue | None
    """``None`` for a delete."""
    expected: str | None
    """The version that it was made over; ``None`` if there was none, as far as was known. Of no meaning if ``follows``
    is given."""
    follows: str | None = None
    """The id of the entry before it that it was made over, as long as that one waits."""
    queued: float
    """When it was accepted, in seconds since 1970 UTC."""
    principal: str
    """Who wrote."""
    principal_source: str = ""
    """How that was established."""
    on_behalf_of: str | None = None
    """Who took on that principal, if somebody did."""
    state: EntryState = EntryState.WAITING
    reason: str = ""
    """Why it is set aside, in one sentence without a final stop; never a value."""
    found: str | None = None
    """In a conflict: the version that the backend had instead, or ``absent``."""
    found_created: datetime | None = None
    """When that version was written, if the backend said so."""
    position: int = 0
    """Its place in the order in which writes were accepted, from 1; given by the journal."""


class KeepCopiesRequest(Record):
    """Keep copies in place of those before; an older one, by ``taken``, never replaces a newer one.

    One that is there and was taken later than ``now`` is from before a clock was set back: it is replaced by any.
    """

    copies: tuple[Copy, ...]
    now: float = math.inf
    """In seconds since 1970 UTC, by the clock that ``taken`` was read from."""


class DropCopiesRequest(Record):
    """Forget copies; what is not there is no error."""

    places: tuple[Place, ...]


class RecallRequest(Record):
    """Return what is known of a secret."""

    place: Place
    copy_only: bool = False
    """Whether only the copy is asked for: a write that waits is then neither returned nor looked at."""


class RecallResult(Record):
    """What is known of a secret."""

    copy: Copy | None
    entry: Entry | None
    """The newest write of it that waits."""


class AppendRequest(Record):
    """Accept a write, unless that would be too much, or another one was accepted meanwhile."""

    entry: Entry
    max_entries: int
    """How many entries there may be afterwards, those set aside among them."""
    max_bytes: int
    """How many bytes their values may have together afterwards."""


class Appended(enum.Enum):
    """Whether a write was accepted."""

    YES = "yes"
    FULL = "full"
    MOVED = "moved"
    """The newest write of the name that waits is not the one that ``entry.follows`` says."""


class AppendResult(Record):
    """Whether a write was accepted, and which place it got."""

    outcome: Appended
    position: int = 0


class EntriesRequest(Record):
    """Return entries in their order."""

    backend: str | None = None
    """Only those of one backend, by its configured name."""
    target: str | None = None
    """Only those that are bound to this."""
    id: str | None = None
    """Only this one."""
    waiting: bool = False
    """Only those that wait."""
    after: int = 0
    """Only those with a higher position."""
    limit: int | None = None
    """At most so many."""


class EntriesResult(Record):
    """Entries in their order."""

    entries: tuple[Entry, ...]


class Settlement(Record):
    """What has become of one entry. One that is not there any more is passed over."""

    entry: Entry
    """It as it is from now on; its id, its place, what it changes and its position never are other than before."""
    done: bool = False
    """Whether it is to be removed, since it has been made."""
    dropped: bool = False
    """Whether it is to be removed, since nobody wants it any more; what follows it is still bound to it."""
    version: str | None = None
    """If it is done: the version that the secret has now, ``None`` if there is none. The entry that follows it waits
    over that version from now on."""
    copy: Copy | None = None
    """If it is done: what to keep as the copy."""
    drop_copy: bool = False
    """If it is done: whether to forget the copy instead."""


class SettleRequest(Record):
    """Note what has become of entries: all of it, or nothing."""

    settlements: tuple[Settlement, ...]
    now: float = math.inf
    """As in :class:`KeepCopiesRequest`, for the copies among them."""


class JournalStatusRequest(Record):
    """Count entries."""

    backend: str | None = None
    target: str | None = None


class JournalStatus(Record):
    """How many entries there are."""

    waiting: int
    set_aside: int
    size: int
    """Bytes of all their values together."""
    oldest: float | None
    """When the oldest one that waits was accepted, in seconds since 1970 UTC; ``None`` also if nobody can say."""


class ClaimRequest(Record):
    """Become the one who makes the writes that wait for a target."""

    backend: str
    target: str


class ClaimResult(Record):
    """Whether that is so; if not, another manager or process is at it."""

    granted: bool


class Journal(ABC):
    """Keeps copies of other backends' secrets and writes that wait for them, as safe as it keeps secrets of its own.

    They are no secrets of its own: no read, list or version shows them. Whatever a method has done
    is durable when it returns; one that fails has changed nothing.
    """

    @abstractmethod
    def keep_copies(self, request: KeepCopiesRequest) -> None:
        """Keep copies.

        Raises:
            BackendUnavailableError: They cannot be kept now.
            BackendError: There is no space left (code ``storage_full``).
        """

    @abstractmethod
    def drop_copies(self, request: DropCopiesRequest) -> None:
        """Forget copies.

        Raises:
            BackendUnavailableError: They cannot be dropped now.
        """

    @abstractmethod
    def recall(self, request: RecallRequest) -> RecallResult:
        """Return the copy of a secret, and the newest write of it that waits, both of one moment.

        Raises:
            BackendUnavailableError: They cannot be read now.
            TamperedError: What is stored is not authentic.
        """

    @abstractmethod
    def append(self, request: AppendRequest) -> AppendResult:
        """Accept a write.

        Raises:
            BackendUnavailableError: It cannot be kept now.
            BackendError: There is no space left (code ``storage_full``).
        """

    @abstractmethod
    def entries(self, request: EntriesRequest) -> EntriesResult:
        """Return entries in the order in which they were accepted.

        Raises:
            BackendUnavailableError: They cannot be read now.
            TamperedError: What is stored is not authentic.
        """

    @abstractmethod
    def settle(self, request: SettleRequest) -> None:
        """Note what has become of entries.

        Raises:
            BackendUnavailableError: It cannot be noted now.
            BackendError: There is no space left (code ``storage_full``).
        """

    @abstractmethod
    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        """Return how many entries there are.

        Raises:
            BackendUnavailableError: They cannot be counted now.
        """

    @abstractmethod
    def claim(self, request: ClaimRequest) -> ClaimResult:
        """Become the one who makes the writes that wait for a target, unless somebody is that already.

        It ends with :meth:`release`, and with the process however that ends. No clock has a part in it.
        """

    @abstractmethod
    def release(self, request: ClaimRequest) -> None:
        """Give up a claim; one that is not held is no error."""
