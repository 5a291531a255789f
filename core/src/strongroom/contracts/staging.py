"""An optional interface of backends in which a new value can wait beside the current one.

A rotation needs that: the candidate is kept before anybody is told of it, and
readers go on getting the current value until the candidate has been tried.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime

from strongroom._record import Record
from strongroom.model import SecretName, SecretValue


class StageRequest(Record):
    """Keep a value as the one that may become current."""

    name: SecretName
    value: SecretValue
    token: str
    """What names this logical write, a UUID: with the same token and value again it is the same version."""
    expect_pending: str | None = None
    """The pending version that is to be replaced; ``None``: only if there is none."""


class StageResult(Record):
    """The pending version that was kept."""

    version: str
    created: datetime | None = None
    request_id: str | None = None


class StagesRequest(Record):
    """Say which versions of a secret are current, pending and previous."""

    name: SecretName


class StagesResult(Record):
    """The versions of a secret that have a part in its rotation."""

    current: str | None
    pending: str | None
    """The one that may become current; never the one that is."""
    previous: str | None
    unfinished: str | None = None
    """The current one, if it was promoted with ``keep_unfinished`` and has not been discarded since."""
    request_id: str | None = None


class PromoteRequest(Record):
    """Make a version the current one."""

    name: SecretName
    version: str
    """A pending version, or the previous one, which takes a promotion back."""
    expect_current: str
    """Only if this is the current version; it becomes the previous one."""
    keep_unfinished: bool = False
    """Whether the version goes on being marked, as ``StagesResult.unfinished``: its rotation has not come to its
    end. Discarding it takes the mark off and changes nothing else; so does staging another value."""


class PromoteResult(Record):
    """What a promotion did."""

    request_id: str | None = None


class DiscardRequest(Record):
    """Give a pending version up, or take the mark off one that is unfinished."""

    name: SecretName
    version: str


class DiscardResult(Record):
    """What giving up a pending version did."""

    existed: bool
    """Whether it was the pending one, or unfinished."""
    request_id: str | None = None


class Staging(ABC):
    """Keeps a pending value beside the current one; a :class:`Backend` with ``VERSIONS`` may implement it, too.

    A pending version is read by its version, like any other; a read without one
    never returns it. Only one version of a secret is pending at a time, whichever
    process or host asks: that is the fence of a rotation.
    """

    @abstractmethod
    def stage(self, request: StageRequest) -> StageResult:
        """Keep a value as the pending one; it is durable when this returns, and the current value stays as it is.

        Raises:
            SecretNotFoundError: There is no such secret.
            VersionConflictError: Another version is pending than the one that was expected.
            ValueTooLargeError: The value is over the backend's limit.
        """

    @abstractmethod
    def stages(self, request: StagesRequest) -> StagesResult:
        """Return which versions are current, pending and previous.

        Raises:
            SecretNotFoundError: There is no such secret.
        """

    @abstractmethod
    def promote(self, request: PromoteRequest) -> PromoteResult:
        """Make a version the current one; if it is so already, nothing changes.

        Raises:
            SecretNotFoundError: There is no such secret or version.
            VersionConflictError: Another version than the expected one is current.
        """

    @abstractmethod
    def discard(self, request: DiscardRequest) -> DiscardResult:
        """Give a pending version up, or the mark of an unfinished one; any other is left alone.

        Raises:
            SecretNotFoundError: There is no such secret.
        """
