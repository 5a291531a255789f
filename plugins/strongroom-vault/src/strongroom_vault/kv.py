"""The key-value engine, in whichever version it is."""

from __future__ import annotations

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
from strongroom.model import SecretName
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.detection import Detection
from strongroom_vault.engine import Engine
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
        self._engine = None if settings.kv_version == DETECT else self._engines[int(settings.kv_version)]

    @property
    def capabilities(self) -> frozenset[Capability] | None:
        """What the engine can do; ``None`` until its version is known."""
        return None if self._engine is None else self._engine.capabilities

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret; see ``Backend.read``."""
        return self._for(request.name).read(request)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""
        return self._for(request.name).write(request)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret; see ``Backend.delete``."""
        return self._for(request.name).delete(request)

    def list(self, request: ListRequest) -> ListResult:
        """Return names; see ``Backend.list``."""
        engine = self._engine or self._detected(self._paths.folder(request.prefix), "LIST")
        return engine.list(request)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions of a secret; see ``Backend.versions``."""
        return self._for(request.name).versions(request)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a version back; see ``Recoverable.undelete``."""
        return self._for(request.name).undelete(request)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions for good; see ``Recoverable.destroy``."""
        return self._for(request.name).destroy(request)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is noted about a secret; see ``Describing.describe``."""
        return self._for(request.name).describe(request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace what is noted about a secret; see ``Describing.annotate``."""
        return self._for(request.name).annotate(request)

    def after_fork(self) -> None:
        """Use another lock in a forked child."""
        self._detection.after_fork()

    def _for(self, name: SecretName) -> Engine:
        return self._engine or self._detected(self._paths.inside(name), "GET")

    def _detected(self, path: str, method: str) -> Engine:
        self._engine = self._engines[self._detection.version(path, method)]
        return self._engine
