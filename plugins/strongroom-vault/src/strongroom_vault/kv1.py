"""The key-value engine in version 1, which keeps one value for each name."""

from __future__ import annotations

import hmac
import secrets

from typing import Final, NoReturn

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
from strongroom.errors import InvalidValueError, SecretNotFoundError, UnsupportedOperationError
from strongroom.model import SecretName, SecretValue
from strongroom_vault.asking import AskingAdapter, bare
from strongroom_vault.engine import Current, Engine
from strongroom_vault.faults import foreign, is_of_2, missing, nothing_there, refusal, versioned
from strongroom_vault.folders import FoldersOf1
from strongroom_vault.listing import listing
from strongroom_vault.paths import Paths
from strongroom_vault.replies import Reply
from strongroom_vault.values import Codec

_CAPABILITIES: Final = frozenset({Capability.WRITE, Capability.LIST})
_DONE: Final = frozenset({200, 204})
_VERSION_BYTES: Final = 16


class KeyValue1(Engine):
    """Secrets in an engine of version 1. An overwrite and a delete are final.

    The engine counts no versions, so a version here is a keyed digest of the value:
    the same for the same value, and of no use to anybody without this process's key.

    Args:
        adapter: The way to the server.
        paths: How names are spelt in the engine.
        codec: How values are kept in fields.
    """

    def __init__(self, adapter: AskingAdapter, paths: Paths, codec: Codec) -> None:
        self._kv = adapter.client().secrets.kv.v1
        self._paths = paths
        self._codec = codec
        self._folders = FoldersOf1(self._kv, paths)
        self._key = secrets.token_bytes(32)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What an engine of this version can do."""
        return _CAPABILITIES

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret, with one request; see ``Backend.read``."""
        name = request.name
        if request.version is not None:
            self._refuse("reading an older version", name)
        reply = self._kv.read_secret(self._paths.inside(name), self._paths.mount)
        if nothing_there(reply):
            raise missing(name)
        _expect_secret(reply, f"reading {name}", name)
        value = self._codec.decode(reply.data)
        if isinstance(value, InvalidValueError):
            raise value
        return ReadResult(value=value, version=self._version(value), request_id=reply.request_id)

    def current(self, name: SecretName) -> Current:
        """Say which version of a secret is current, for which its value has to be read; see ``VersionPolling``."""
        try:
            found = self.read(ReadRequest(name=name))
        except SecretNotFoundError:
            return Current(version=None)
        return Current(version=found.version, is_read=True, request_id=found.request_id)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""
        name = request.name
        if request.expect_version is not None:
            self._refuse("writing only over an expected version", name)
        reply, version = self._sent(request)
        if isinstance(reply, BaseException):
            raise reply
        if reply.status not in _DONE:
            raise refusal(reply, f"writing {name}", name=name, size=len(request.value))
        return WriteResult(version=version, request_id=reply.request_id)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret; see ``Backend.delete``."""
        name, path = request.name, self._paths.inside(request.name)
        # The engine offers no way to look but to read; whoever may not is told that it was there.
        found = self._kv.read_secret(path, self._paths.mount)
        if found.status != 403 and not nothing_there(found):
            _expect_secret(found, f"deleting {name}", name)
            # In version 2 a name such as data/x is the path of the secret x.
            if is_of_2(found) or {"versions", "current_version"} <= found.data.keys():
                raise versioned(f"deleting {name}", name)
        reply = self._kv.delete_secret(path, self._paths.mount)
        if reply.status not in _DONE:
            raise refusal(reply, f"deleting {name}", name=name)
        # The answer to a delete has no body and so names no request; the look before it does.
        return DeleteResult(existed=found.status != 404, request_id=reply.request_id or found.request_id)

    def list(self, request: ListRequest) -> ListResult:
        """Return the names below a prefix; see ``Backend.list``."""
        return listing(request, self._paths, self._folders.look, bool)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Refuse: the engine keeps none; see ``Backend.versions``."""
        self._refuse("listing versions", request.name)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Refuse: a delete is final; see ``Recoverable.undelete``."""
        self._refuse("bringing a deleted secret back", request.name)

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Delete a secret, which destroys it; see ``Recoverable.destroy``."""
        if request.versions:
            self._refuse("destroying single versions", request.name)
        done = self.delete(DeleteRequest(name=request.name))
        return DestroyResult(existed=done.existed, request_id=done.request_id)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Refuse: the engine keeps no notes; see ``Describing.describe``."""
        self._refuse("describing a secret", request.name)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Refuse: the engine keeps no notes; see ``Describing.annotate``."""
        self._refuse("annotating a secret", request.name)

    def _sent(self, request: WriteRequest) -> tuple[Reply | BaseException, str]:
        """Send a value. What goes wrong is returned, for the caller to raise where no variable holds the value."""
        fields = self._codec.encode(request.name, request.value)
        if isinstance(fields, InvalidValueError):
            return fields, ""
        if not fields:
            what = f"the value of {request.name} cannot be kept: version 1 of the engine takes no object without fields"
            return InvalidValueError(what, name=request.name), ""
        value = self._codec.decode(fields)
        try:
            # With the method given, since hvac reads first to find it out.
            reply = self._kv.create_or_update_secret(
                self._paths.inside(request.name), fields, method="POST", mount_point=self._paths.mount
            )
        # Ctrl-C, too.
        except BaseException as error:  # noqa: BLE001  # the caller raises it again
            return bare(error), ""
        return reply, self._version(value) if isinstance(value, SecretValue) else ""

    def _version(self, value: SecretValue) -> str:
        content = value.type.value.encode() + b"\0" + value.reveal()
        return hmac.digest(self._key, content, "sha256")[:_VERSION_BYTES].hex()

    def _refuse(self, what: str, name: SecretName) -> NoReturn:
        raise UnsupportedOperationError(
            f"the engine at {self._paths.mount} has version 1, which does not support {what}",
            name=name,
            hint="use an engine of version 2",
        )


def _expect_secret(reply: Reply, what: str, name: SecretName) -> None:
    if reply.status != 200:
        raise refusal(reply, what, name=name)
    # The engine takes no secret without fields.
    if not reply.data:
        raise foreign(what, name)
