"""The contract of a backend: something that keeps secrets."""

from __future__ import annotations

import enum

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from strongroom._record import Record
from strongroom.contracts.health import Health, HealthState
from strongroom.contracts.leasing import Lease
from strongroom.errors import StrongroomError, UnsupportedOperationError
from strongroom.model import Absent, SecretName, SecretValue, SecretVersion


class Capability(enum.Enum):
    """What a backend can do beyond reading one secret by name."""

    WRITE = "write"
    """Create, update and delete."""
    LIST = "list"
    """Say which names it holds."""
    VERSIONS = "versions"
    """Keep older versions and read them by version."""
    CHECK_AND_SET = "check_and_set"
    """Write only if the current version is the expected one."""
    BATCH = "batch"
    """Read several secrets in fewer calls than one each."""


class ReadRequest(Record):
    """Read one secret."""

    name: SecretName
    version: str | None = None
    """An older version; ``None`` for the current one."""


class ReadResult(Record):
    """What the backend holds under a name."""

    value: SecretValue
    version: str
    """Opaque, and different for each write of the name; without ``VERSIONS`` at least for each other value."""
    created: datetime | None = None
    """With its offset from UTC."""
    request_id: str | None = None
    place: str | None = None
    """What answered instead of the usual place, such as ``region eu-west-1``; ``None`` for the usual one."""
    lease: Lease | None = None
    """For how long it lives, where the backend made it for this reader; see ``Leasing``. What a backend returns that
    does not implement that is served up to its end and replaced before, and neither renewed nor revoked."""


class ReadManyRequest(Record):
    """Read the current versions of several secrets."""

    names: tuple[SecretName, ...]


class ReadManyResult(Record):
    """An answer for each name that was asked for."""

    found: dict[SecretName, ReadResult]
    errors: dict[SecretName, StrongroomError]


class WriteRequest(Record):
    """Create or update one secret."""

    name: SecretName
    value: SecretValue
    expect_version: str | Absent | None = None
    """Write only if this is the current version; ``ABSENT``: only if there is none."""
    token: str | None = None
    """36 characters that name this write, the same however often it is sent: a backend that knows a token again does
    nothing more. Where versions are named by those who write them, it is the version's name."""


class WriteResult(Record):
    """The version that a write made."""

    version: str
    created: datetime | None = None
    request_id: str | None = None


class DeleteRequest(Record):
    """Delete one secret."""

    name: SecretName


class DeleteResult(Record):
    """What a delete did."""

    existed: bool
    recoverable_until: datetime | None = None
    """Until when it can be brought back, where the backend has such a window."""
    request_id: str | None = None


class ListRequest(Record):
    """List names."""

    prefix: str = ""
    """A folder without its final slash; empty for all. ``db`` means ``db/...``, not ``db`` itself."""
    recursive: bool = True
    """Else the names directly below are enough, and ``folders`` says what else is there. A backend to which
    deeper names cost nothing may return them all the same."""


class ListResult(Record):
    """All names below the prefix, however deep, sorted, without deleted ones."""

    names: tuple[SecretName, ...]
    folders: tuple[SecretName, ...] = ()
    """Folders directly below into which the backend has not looked, since it was not asked to; sorted."""
    request_id: str | None = None


class VersionsRequest(Record):
    """List the versions of one secret."""

    name: SecretName


class VersionsResult(Record):
    """The versions that are kept, oldest first."""

    versions: tuple[SecretVersion, ...]
    request_id: str | None = None


class Backend(ABC):
    """Keeps secrets. Its methods are called from several threads at once.

    The core calls a backend only with canonical names, after policy and
    detectors, with values within ``max_value_bytes``. It opens one span around
    each call and turns a foreign exception into ``BackendError`` with its cause,
    so a backend translates only what it knows: not found, denied, conflict,
    outage. After a fork the child calls ``after_fork`` before anything else.

    Each name reaches a secret of its own: what a backend cannot spell it escapes so that no two names become one, or
    refuses with ``InvalidNameError``, to a read as to a write. Neither a value nor what opens the backend may reach
    a ``repr``, a log, a span, or an error with its causes and the local variables on its way.

    Attributes:
        address: What tells this backend's secrets from another's: location,
            namespace or account, and mount, without credentials. Cached and
            fallback copies are kept under it.
        max_value_bytes: The most bytes a value may have; ``None`` for no limit.
        accepts_empty: Whether an empty value can be kept.
        batch_size: How many names one ``read_many`` is given at most.
        keeps_deadlines: Whether its calls end by themselves within ``strongroom.pacing.time_left()``. Those of one
            that does not say so are made in a thread of their own, which is left behind when the time is over. It is
            looked at before each call, and may depend on how much time there is.
        capabilities: What this one can do, where that is less than its specification says; it may come to
            know only when its server has been asked. ``None``: all of that.
    """

    address: str
    max_value_bytes: int | None = None
    accepts_empty: bool = True
    batch_size: int = 100
    keeps_deadlines: bool = False
    capabilities: frozenset[Capability] | None = None

    @abstractmethod
    def read(self, request: ReadRequest) -> ReadResult:
        """Return the current version of a secret, or the one asked for.

        The value is what was written, to the last character or byte, and text or bytes as it was then.

        Raises:
            SecretNotFoundError: There is no such name or version; its text says which name.
            SecretDeletedError: It is deleted, and the backend knows that it was there.
            AccessDeniedError: The backend does not let us.
            AuthenticationError: Our own credentials were refused.
            BackendUnavailableError: No answer; an outage.
            TamperedError: What is stored is not authentic.
        """

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several secrets; override it where one call can fetch many, as with ``BATCH``."""
        found: dict[SecretName, ReadResult] = {}
        errors: dict[SecretName, StrongroomError] = {}
        for name in request.names:
            try:
                found[name] = self.read(ReadRequest(name=name))
            except StrongroomError as error:
                errors[name] = error
        return ReadManyResult(found=found, errors=errors)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; it is durable when this returns.

        A write after a delete makes a new secret; its versions never repeat. Comparing with the version that is
        expected and writing are one step, which no other write comes between.

        Raises:
            UnsupportedOperationError: The backend does not declare ``WRITE``, or
                ``CHECK_AND_SET`` where a version is expected.
            VersionConflictError: The current version is not the expected one.
            ValueTooLargeError: The value is over the backend's limit.
        """
        raise self._unsupported("write")

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret, and no other whose name begins with its name; deleting an absent one is no error.

        Raises:
            UnsupportedOperationError: The backend does not declare ``WRITE``.
        """
        raise self._unsupported("delete")

    def list(self, request: ListRequest) -> ListResult:
        """Return every name below a prefix; none, where there is none.

        Raises:
            UnsupportedOperationError: The backend does not declare ``LIST``.
        """
        raise self._unsupported("list")

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions that are kept of a secret.

        Raises:
            UnsupportedOperationError: The backend does not declare ``VERSIONS``.
            SecretNotFoundError: There is no such name.
        """
        raise self._unsupported("versions")

    def target(self) -> str | None:
        """Return what a write that waits is bound to: it must never be made anywhere else.

        The address, unless that does not say whose secrets they are: a cloud's account, for one, is that of the
        credentials. It holds none of these, asks nobody and takes no time.

        Returns:
            The same text in each process, as long as it is the same place; ``None`` if that is not known yet.
        """
        return self.address

    def health(self) -> Health:
        """Say whether the backend can answer, without reading a secret, within seconds."""
        return Health(state=HealthState.UP)

    def after_fork(self) -> None:
        """Forget, in a forked child, every connection and lock; close none that the parent uses."""
        return

    def close(self) -> None:
        """Release what is held. Closing twice is no error."""
        return

    def _unsupported(self, operation: str) -> UnsupportedOperationError:
        return UnsupportedOperationError(
            f"{type(self).__name__} does not support {operation}", hint="use a backend that declares it"
        )


class BackendSpec(Record):
    """Describes a kind of backend; what the hook ``strongroom_backends`` yields."""

    name: str
    """What ``type = "..."`` in the configuration says; the entry point's name."""
    summary: str
    """One sentence for people."""
    settings: type[Any]
    """A class whose annotated attributes are the settings: a ``Record`` or an attrs class."""
    open: Callable[[Any], Backend]
    """Takes an instance of ``settings`` and returns the backend; imports the client library.

    It sends nothing, so that it does not fail in an outage: nothing stands in for a backend that is not open."""
    capabilities: frozenset[Capability] = frozenset()
    create: Callable[[Any], None] | None = None
    """Makes a new, empty store where the settings say, for ``strongroom init``; refuses to overwrite.
    ``None`` where there is nothing to make. ``open`` never makes a store."""
    credential_variables: tuple[str, ...] = ()
    """Environment variables that open this backend by themselves; ``run`` keeps them from the child."""

    kind: ClassVar[str] = "backend"
