"""The contract of an anomaly detector: something that judges each access."""

from __future__ import annotations

import enum

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.model import Principal, SecretName


class Access(Record):
    """One access about to happen, or refused by the policy; metadata only."""

    principal: Principal
    action: str
    """``read``, ``list``, ``create``, ``update``, ``rotate`` or ``delete``; of a key ``encrypt``, ``decrypt``,
    ``sign``, ``verify`` or ``rotate``."""
    name: SecretName
    time: datetime
    """UTC."""
    allowed: bool = True
    """False where the policy has denied it already."""
    base: Principal | None = None
    """Who took on the principal with ``as_principal``, if somebody did: whom the manager was opened for.

    What one principal may do is counted for this one: names of principals cost nothing.
    """
    host: str = ""
    """The machine that the program runs on."""
    process: str = ""
    """The name of the program."""


class Decision(enum.Enum):
    """What a detector wants, from least to most."""

    ALLOW = "allow"
    ALERT = "alert"
    BLOCK = "block"


class Verdict(Record):
    """A detector's answer."""

    decision: Decision
    reason: str = ""
    """Why, in one sentence without a final stop; empty for ``ALLOW``."""
    evidence: tuple[str, ...] = ()
    """What was seen, what is usual, and which setting decides, a phrase each; for people who ask why."""
    subject: str = ""
    """What the cool-down applies to, such as a principal, or a principal and a name; the principal unless given."""


class Outcome(Record):
    """How an access ended that was judged, or that the policy refused."""

    access: Access
    result: str
    """``ok``, ``not_found`` or the code of another error."""


class Repeats(Record):
    """How a detector wants to hear of accesses that differ from one it has just allowed in their time only.

    These are the hits of the cache: many a second, so they cost as little as they can.
    """

    until: float = float("inf")
    """In seconds since 1970, UTC: the first repetition from here on is judged as a whole again; if this is
    not for ever, it is after ten seconds at the latest, since clocks are set and machines sleep."""
    counters: tuple[tuple[Callable[[], int], int], ...] = ()
    """Each a function that counts a repetition and returns the new count, and the last count that passes.

    A repetition beyond it is judged as a whole; it has been counted then already. The next ones
    are only judged, until ``repeats`` names another function or another limit.
    ``itertools.count(1).__next__`` is such a function, and loses nothing among threads.
    """


class AnomalyDetector(ABC):
    """Judges each access, in constant time, from its metadata. Called from several threads.

    ``BLOCK`` says that an access is odd enough to be stopped; whether it is stopped
    or only reported is for the configuration to say.
    """

    @abstractmethod
    def judge(self, access: Access) -> Verdict:
        """Return what to do about an access. It must not block and never sees a value.

        There is a verdict whatever the action, the name and the time are: times may stand still or go back.
        """

    def repeats(self, access: Access) -> Repeats | None:
        """Say what to do about repetitions of an access that ``judge`` has just allowed.

        Returns:
            ``None``, unless overridden: ``judge`` is asked about each of them, too.
        """
        return None

    def observe(self, outcome: Outcome) -> Verdict:
        """Learn how an access ended that the backend was asked for, or that was refused.

        Called after ``judge`` for each read that the cache did not answer with a
        value, whatever its result; the access may be unknown. It is too late to block
        this one: ``BLOCK`` alerts, and what ``judge`` says next time counts.
        """
        return Verdict(decision=Decision.ALLOW)

    def dump(self) -> bytes | None:
        """Return what must outlive the process, at most a megabyte; ``None`` if there is nothing.

        Called from time to time and before ``close``, by any thread.
        """
        return None

    def restore(self, state: bytes) -> None:
        """Take up what an earlier process dumped; called before the first access is judged.

        Raises:
            Exception: The state is not usable; it is counted as a failure, and the
                detector goes on as new.
        """
        return

    def after_fork(self) -> None:
        """Forget, in a forked child, every lock."""
        return

    def close(self) -> None:
        """Release what is held. Closing twice is no error."""
        return


class DetectorSpec(Record):
    """Describes a kind of detector; what the hook ``strongroom_anomaly_detectors`` yields."""

    name: str
    """What ``type = "..."`` in ``[[anomaly]]`` says; the entry point's name."""
    summary: str
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], AnomalyDetector]

    kind: ClassVar[str] = "anomaly_detector"
