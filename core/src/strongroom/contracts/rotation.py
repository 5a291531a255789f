"""The contract of a rotator: something that makes new values, and has a dependent take them.

A dependent is whatever checks the secret: a database, a service, a web server.
Rotating goes generate → record as pending → apply → verify → promote → announce
→ finish. The core leads through it, keeps the candidate durably and calls a
rotator again, from any process and any host, wherever it stopped. So each method
but ``generate`` is idempotent: called twice with the same request, the dependent
is as after one call.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.model import SecretName, SecretValue


class GenerateRequest(Record):
    """Make a candidate."""

    name: SecretName
    current: SecretValue
    """The value that is to be replaced."""
    attempt: int
    """1 for the first candidate of a rotation, 2 for the one after the dependent has refused that, and so on."""
    read_secret: Callable[[str], SecretValue]
    """Returns another secret's current value by its name, such as an administrator's password or the key of a
    certificate authority, as the principal who rotates: policy, detectors and audit apply."""


class GenerateResult(Record):
    """A candidate."""

    value: SecretValue
    """A whole value: what stays the same of it, such as a user's name, is in it."""


class ApplyRequest(Record):
    """Have the dependent take the candidate; the current value goes on working if that can be."""

    name: SecretName
    candidate: SecretValue
    current: SecretValue
    """The value that readers get, now and until the candidate is promoted."""
    read_secret: Callable[[str], SecretValue]
    """As in ``GenerateRequest``."""
    confirm: Callable[[], None]
    """Raises ``RotationError`` unless this process still holds the rotation. Call it directly before the dependent is
    changed, after everything that takes time, such as connecting; the core has called it before ``apply``, too."""


class ApplyResult(Record):
    """The dependent has taken the candidate."""


class VerifyCandidateRequest(Record):
    """See whether the dependent accepts the candidate, in the way that readers will use it."""

    name: SecretName
    candidate: SecretValue
    read_secret: Callable[[str], SecretValue]
    """As in ``GenerateRequest``."""


class VerifyCandidateResult(Record):
    """The dependent accepts the candidate."""


class FinishRequest(Record):
    """Take the former value from the dependent, which nobody needs any more."""

    name: SecretName
    current: SecretValue
    """The promoted candidate."""
    former: SecretValue
    """The value that it has replaced, the rule's ``overlap`` ago."""
    read_secret: Callable[[str], SecretValue]
    """As in ``GenerateRequest``."""
    confirm: Callable[[], None]
    """As in ``ApplyRequest``."""


class FinishResult(Record):
    """The dependent accepts the current value only, as far as it can tell them apart."""


class UndoRequest(Record):
    """Have the dependent accept the current value and no candidate, as before the rotation."""

    name: SecretName
    candidate: SecretValue
    """May have been applied, wholly, partly or not at all; it may even have been promoted."""
    current: SecretValue
    """The value that readers are to have."""
    read_secret: Callable[[str], SecretValue]
    """As in ``GenerateRequest``."""
    confirm: Callable[[], None]
    """As in ``ApplyRequest``."""
    promoted: bool = False
    """Whether readers get the candidate now, and would get the current value again. Then ``finish`` may have been
    called already, by a process that was killed before that was written down."""


class UndoResult(Record):
    """The dependent is as it was before."""


class Life(Record):
    """For how long a value is of use by itself, such as a certificate."""

    begins: datetime
    """With its offset from UTC."""
    ends: datetime
    """With its offset from UTC."""


class Rotator(ABC):
    """Makes new values of secrets and has a dependent take them.

    The core opens one span around each call, turns a foreign exception into a
    ``RotationError`` without its text, and calls no method of two rotations of one
    name at the same time; those of different names it may. A call ends within
    ``strongroom.pacing.time_left()``.

    No value may reach a command line, a log, an exception or a file.
    """

    @abstractmethod
    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Make a candidate; nothing is changed by that, and nobody told.

        Raises:
            InvalidValueError: The current value is none that this rotator can build upon.
        """

    @abstractmethod
    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Have the dependent take the candidate. The candidate is on durable storage already.

        Raises:
            CandidateRefusedError: The dependent does not take it, by its rules for passwords say; another one may do.
            BackendUnavailableError: The dependent does not answer; it may have taken the candidate all the same.
            RotationError: Raised by ``confirm``: let it pass.
        """

    @abstractmethod
    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether the dependent accepts the candidate.

        Raises:
            CandidateRefusedError: It does not.
            BackendUnavailableError: It does not answer.
        """

    def finish(self, request: FinishRequest) -> FinishResult:
        """Take the former value from the dependent; unless overridden, there is nothing to do.

        Raises:
            BackendUnavailableError: The dependent does not answer.
        """
        return FinishResult()

    @abstractmethod
    def undo(self, request: UndoRequest) -> UndoResult:
        """Have the dependent accept the current value as before the rotation.

        Raises:
            UndoRefusedError: The candidate is promoted, and ``finish`` has taken the value from the dependent for good,
                as a revocation does. Raise it before anything is changed: the rotation stays as it is, to be resumed.
            BackendUnavailableError: The dependent does not answer.
        """

    def life(self, value: SecretValue) -> Life | None:
        """Return for how long a value is of use by itself; ``None`` if it does not end. Nothing is asked for that.

        Args:
            value: A value that this rotator may have made.

        Raises:
            InvalidValueError: It is none that this rotator could have made.
        """
        return None

    def close(self) -> None:
        """Release what is held. Closing twice is no error."""
        return


class RotatorSpec(Record):
    """Describes a kind of rotator; what the hook ``strongroom_rotators`` yields."""

    name: str
    """What ``rotator = "..."`` in a ``[rotation]`` table says; the entry point's name."""
    summary: str
    """One sentence for people."""
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], Rotator]
    """Takes an instance of ``settings`` and returns the rotator; imports the client library. It sends nothing."""
    overlap: float = 0.0
    """For how many seconds after a promotion the former value has to go on working, unless the rule says otherwise:
    before that neither ``finish`` is called nor another rotation of the name begun."""
    dependent: bool = True
    """Whether something besides the secret's readers has to take the value. Without that only ``generate`` is used,
    and in an outage the rotation may be queued like a write."""

    kind: ClassVar[str] = "rotator"
