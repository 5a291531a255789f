"""Optional interfaces of backends that keep deleted versions for a while, and notes about each secret."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from strongroom._record import Record
from strongroom.model import SecretName


class UndeleteRequest(Record):
    """Bring a deleted version back."""

    name: SecretName
    version: str | None = None
    """The newest one unless given."""


class UndeleteResult(Record):
    """What was brought back."""

    version: str
    request_id: str | None = None


class DestroyRequest(Record):
    """Remove versions so that nobody can bring them back."""

    name: SecretName
    versions: tuple[str, ...] = ()
    """Empty for the secret as a whole: each version, and what is noted about it."""


class DestroyResult(Record):
    """What was destroyed."""

    existed: bool
    """Whether there was anything to destroy."""
    request_id: str | None = None


class Recoverable(ABC):
    """Keeps what was deleted until it is destroyed; a :class:`Backend` may implement it, too."""

    @abstractmethod
    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a deleted version back; one that is not deleted stays as it is.

        Raises:
            SecretNotFoundError: There is no such secret or version.
            SecretDeletedError: It is destroyed (code ``destroyed``), and nothing brings it back.
            UnsupportedOperationError: This secret's engine keeps nothing that was deleted.
        """

    @abstractmethod
    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions, or the secret as a whole, for good; what is not there is no error.

        Raises:
            SecretNotFoundError: Versions are named, and the secret has not got one of them.
        """


class DescribeRequest(Record):
    """Return what is noted about a secret."""

    name: SecretName


class DescribeResult(Record):
    """What a backend knows of a secret beside its value."""

    metadata: dict[str, str]
    """What users have noted, by name; never a secret."""
    version: str | None = None
    """The newest version, whatever its state."""
    created: datetime | None = None
    updated: datetime | None = None
    facts: tuple[tuple[str, str], ...] = ()
    """What else the backend says, such as how many versions it keeps; never a value."""
    request_id: str | None = None


class AnnotateRequest(Record):
    """Replace what users have noted about a secret."""

    name: SecretName
    metadata: dict[str, str]


class AnnotateResult(Record):
    """What an annotation did."""

    request_id: str | None = None


class Describing(ABC):
    """Keeps notes about each secret; a :class:`Backend` may implement it, too."""

    @abstractmethod
    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is known of a secret beside its value.

        Raises:
            SecretNotFoundError: There is no such secret.
        """

    @abstractmethod
    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace the notes about a secret that is there, as a whole and exactly.

        Raises:
            SecretNotFoundError: There is no such secret.
            InvalidValueError: The backend cannot hold such notes.
        """
