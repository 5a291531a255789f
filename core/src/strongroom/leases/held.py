"""One lease that this process looks after: its times, and what is to be done next."""

from __future__ import annotations

import enum

from collections.abc import Callable, Hashable
from typing import Final

from strongroom._record import Record
from strongroom.cache.entries import Entry
from strongroom.contracts.leasing import Lease
from strongroom.errors import BackendError
from strongroom.grants import Grant
from strongroom.model import SecretName

OVERLAP_SECONDS: Final = 60.0
"""How long a credential that has been replaced lives on at least, if it has so long to live."""
OVERLAP_PART: Final = 0.1
"""The same as a part of its life; the larger of the two counts."""
RENEW_FROM: Final = 0.5
RENEW_TO: Final = 0.65
"""A lease is renewed when a part of what was granted is over: some part between these two."""
MARGIN_PART: Final = 0.01
MARGIN_SECONDS: Final = 1.0
"""How much before its end a credential is served no more, so that whoever gets it can still use it: the smaller."""
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 60.0
"""After how many seconds a failure is tried again: at first, and at most; less for a short life."""

LONGEST_LIFE: Final = 100 * 365 * 86400.0
"""For how many seconds a lease counts as granted at most, so that its times can be reckoned with."""

LIVE: Final = "live"
RETIRED: Final = "retired"


class LeaseStatus(Record):
    """A lease that this process looks after. It holds neither the credential nor the lease's id."""

    name: SecretName
    backend: str
    version: str
    seconds_left: float
    """How long the credential has to live; a live one unless it is renewed."""
    renewable: bool
    state: str
    """``live`` while reads return it; ``retired`` once they do not, until it is revoked or has ended."""


class Step(enum.Enum):
    """What is to be done with a lease next."""

    RENEW = "renew"
    REPLACE = "replace"
    REVOKE = "revoke"
    END = "end"


class Held:
    """One lease; whatever changes it has the lock of its :class:`Leases`.

    Args:
        grant: The right by which it was first read.
        key: The cache's key of it.
        lease: As the backend gave it.
        version: The version of the credential.
        started: When the request was sent.
        fetch: Has the backend make another one, which takes its place in the cache.
    """

    __slots__ = (
        "busy",
        "due",
        "ends",
        "entry",
        "failures",
        "fetch",
        "grant",
        "granted",
        "handed_out",
        "issued",
        "key",
        "lease",
        "lost",
        "retired",
        "step",
        "succeeded",
        "told",
        "version",
    )

    def __init__(
        self,
        grant: Grant,
        key: Hashable,
        lease: Lease,
        version: str,
        *,
        started: float,
        fetch: Callable[[], object],
    ) -> None:
        self.grant = grant
        self.key = key
        self.lease = _reckonable(lease)
        self.version = version
        self.fetch = fetch
        self.issued = started
        self.granted = self.lease.seconds
        self.ends = end_of(self.lease, started)
        self.due = self.ends
        self.step = Step.END
        """What is to be done when it is due."""
        self.entry: Entry | None = None
        self.handed_out = False
        """Whether anybody has got the credential."""
        self.retired = False
        self.lost = False
        """Whether the backend has given it up before its end."""
        self.succeeded = False
        """Whether another one has come after it, or nobody needs one."""
        self.told = False
        """Whether subscribers know that it is gone."""
        self.busy = False
        self.failures = 0

    def renew(self, lease: Lease, started: float) -> None:
        """Take over what a renewal has granted.

        Args:
            lease: What that is.
            started: When it was asked for.
        """
        self.lease = _reckonable(lease).replace(id=self.lease.id)
        self.ends = end_of(self.lease, started)
        self.failures = 0

    def ensure_alive(self, now: float) -> None:
        """Refuse to serve what has ended while it was being made.

        Raises:
            BackendError: It has, or its backend has given it no time at all.
        """
        if now >= self.ends:
            took = ", and took longer to answer" if self.granted else ""
            raise BackendError(
                f"{self.grant.origin} makes {self.grant.name} for {self.granted:g} s{took}",
                name=self.grant.name,
                backend=self.grant.origin,
                hint="let the backend grant a longer lease",
            )

    def status(self, now: float) -> LeaseStatus:
        """Return what there is to tell of it."""
        gone = self.retired or self.lost
        return LeaseStatus(
            name=self.grant.name,
            backend=self.grant.origin,
            version=self.version,
            seconds_left=max(0.0, (self.due if self.retired else self.ends) - now),
            renewable=self.lease.renewable,
            state=RETIRED if gone else LIVE,
        )

    @property
    def overlap(self) -> float:
        """How long it lives on when it has been replaced, at most: the larger of a minute and a tenth of its life."""
        return max(OVERLAP_SECONDS, OVERLAP_PART * (self.ends - self.issued))

    @property
    def replaced_at(self) -> float:
        """When it is replaced if it cannot be renewed; a short one at half its life, so that this comes to an end."""
        return max(self.ends - self.overlap, (self.issued + self.ends) / 2)

    def delay(self, random: float) -> float:
        """Return after how long the next failure is tried again, shorter the shorter it lives."""
        life = self.ends - self.issued
        seconds = min(FIRST_DELAY, life / 20) * 2.0 ** min(self.failures, 10)
        return min(seconds, LONGEST_DELAY, life / 10) * (0.5 + random / 2)


def _reckonable(lease: Lease) -> Lease:
    """Return a lease with a time that is a number: 0.0 if what the backend says is none, or less."""
    seconds: object = lease.seconds
    # Neither is true of what is not a number.
    usable = isinstance(seconds, (int, float)) and seconds > 0
    return lease.replace(seconds=float(min(lease.seconds, LONGEST_LIFE)) if usable else 0.0)


def end_of(lease: Lease, started: float) -> float:
    """Return up to when a credential is served, as a time of the clock.

    Args:
        lease: What was granted.
        started: When that was asked for.
    """
    return started + lease.seconds - min(MARGIN_SECONDS, MARGIN_PART * lease.seconds)
