"""What both versions of the key-value engine are asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod

from strongroom.contracts import (
    AnnotateRequest,
    AnnotateResult,
    Capability,
    DeleteRequest,
    DeleteResult,
    DescribeRequest,
    DescribeResult,
    DestroyRequest,
    DestroyResult,
    ListRequest,
    ListResult,
    ReadRequest,
    ReadResult,
    Record,
    UndeleteRequest,
    UndeleteResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.model import SecretName


class Current(Record):
    """Which version of a secret is current."""

    version: str | None
    """``None`` if there is no such secret, or no more."""
    is_read: bool = False
    """Whether the value had to be fetched to tell."""
    request_id: str | None = None


class Engine(ABC):
    """A key-value engine at one mount. Its methods are those of the backend, and raise what those do."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[Capability] | None:
        """What it can do; ``None`` until its version is known."""

    @abstractmethod
    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret; see ``Backend.read``."""

    @abstractmethod
    def current(self, name: SecretName) -> Current:
        """Say which version of a secret is current, without its value if that may be.

        Raises:
            StrongroomError: As ``Backend.read``, but that there is no such secret.
        """

    @abstractmethod
    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""

    @abstractmethod
    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret; see ``Backend.delete``."""

    @abstractmethod
    def list(self, request: ListRequest) -> ListResult:
        """Return names; see ``Backend.list``."""

    @abstractmethod
    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions of a secret; see ``Backend.versions``."""

    @abstractmethod
    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a version back; see ``Recoverable.undelete``."""

    @abstractmethod
    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions for good; see ``Recoverable.destroy``."""

    @abstractmethod
    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is noted about a secret; see ``Describing.describe``."""

    @abstractmethod
    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace what is noted about a secret; see ``Describing.annotate``."""
