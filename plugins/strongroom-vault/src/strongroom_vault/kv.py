"""The key-value engine, in whichever version it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
    UndeleteRequest,
    UndeleteResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import ConfigurationError
from strongroom.model import SecretName
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.detection import Detection
from strongroom_vault.engine import Current, Engine
from strongroom_vault.kv1 import KeyValue1
from strongroom_vault.kv2 import KeyValue2
from strongroom_vault.paths import Paths
from strongroom_vault.settings import DETECT, VaultSettings
from strongroom_vault.values import Codec


class KeyValue(Engine):
    """Secrets in the engine that the settings name; its version is found out when it is first needed, if at all.

    Args:
        adapter: The way to the server.
        settings: The backend's settings.
    """

    def __init__(self, adapter: AskingAdapter, settings: VaultSettings) -> None:
        self._paths = Paths(settings.mount, settings.prefix)
        codec = Codec(settings.value_key, settings.fields)
        self._engines: dict[int, Engine] = {
            1: KeyValue1(adapter, self._paths, codec),
            2: KeyValue2(adapter, self._paths, codec),
        }
        self._detection = Detection(adapter, self._paths)
        self._detects = settings.kv_version == DETECT
        self._engine = None if self._detects else self._engines[int(settings.kv_version)]

    @property
    def capabilities(self) -> frozenset[Capability] | None:
        """What the engine can do; ``None`` until its version is known."""
        return None if self._engine is None else self._engine.capabilities

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret; see ``Backend.read``."""
        if self._engine is not None and not self._detects:
            return self._engine.read(request)
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.read(request)

    def current(self, name: SecretName) -> Current:
        """Say which version of a secret is current; see ``VersionPolling``."""
        with self._at(self._paths.inside(name)) as engine:
            return engine.current(name)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.write(request)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret; see ``Backend.delete``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.delete(request)

    def list(self, request: ListRequest) -> ListResult:
        """Return names; see ``Backend.list``."""
        with self._at(self._paths.folder(request.prefix), "LIST") as engine:
            return engine.list(request)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions of a secret; see ``Backend.versions``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.versions(request)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a version back; see ``Recoverable.undelete``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.undelete(request)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions for good; see ``Recoverable.destroy``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.destroy(request)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is noted about a secret; see ``Describing.describe``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.describe(request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace what is noted about a secret; see ``Describing.annotate``."""
        with self._at(self._paths.inside(request.name)) as engine:
            return engine.annotate(request)

    def after_fork(self) -> None:
        """Use another lock in a forked child."""
        self._detection.after_fork()

    @contextmanager
    def _at(self, path: str, method: str = "GET") -> Iterator[Engine]:
        """Give the engine; ``path`` and ``method`` are what its version may be found out with."""
        engine = self._engine or self._engines[self._detection.version(path, method)]
        self._engine = engine
        try:
            yield engine
        except ConfigurationError:
            # It may have been upgraded, or another one mounted in its place.
            if self._detects:
                self._engine = None
                self._detection.forget()
            raise
