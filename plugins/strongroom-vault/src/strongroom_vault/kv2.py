"""The key-value engine in version 2, which keeps older versions of each secret."""

from __future__ import annotations

from typing import Final

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
from strongroom.errors import AccessDeniedError, InvalidValueError, SecretNotFoundError, StrongroomError
from strongroom.model import SecretName
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.engine import Current, Engine
from strongroom_vault.faults import gone, is_of_2, misfit, missing, nothing_there, refusal, token_refused
from strongroom_vault.folders import FoldersOf2
from strongroom_vault.history import DESTROYED, History, moment
from strongroom_vault.listing import listing
from strongroom_vault.lookup import Lookup, state_at_rest
from strongroom_vault.notes import notes_problem
from strongroom_vault.paths import Paths, quoted
from strongroom_vault.replies import Reply
from strongroom_vault.values import Codec
from strongroom_vault.writes import Writes, version_number

_CAPABILITIES: Final = frozenset(Capability) - {Capability.BATCH}
_DONE: Final = frozenset({200, 204})


class KeyValue2(Engine):
    """Secrets in an engine of version 2.

    Args:
        adapter: The way to the server.
        paths: How names are spelt in the engine.
        codec: How values are kept in fields.
    """

    def __init__(self, adapter: AskingAdapter, paths: Paths, codec: Codec) -> None:
        self._adapter = adapter
        self._kv = adapter.client().secrets.kv.v2
        self._paths = paths
        self._codec = codec
        self._data = f"/v1/{quoted(paths.mount)}/data/"
        self._lookup = Lookup(adapter, self._kv, paths)
        self._writes = Writes(self._kv, paths, codec, self._lookup)
        self._folders = FoldersOf2(adapter, self._kv, paths)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What an engine of this version can do."""
        return _CAPABILITIES

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret, with one request; see ``Backend.read``."""
        name = request.name
        # Not by hvac's method, which quotes the mount anew each time: this is most of what a program ever does here.
        url = self._data + quoted(self._paths.inside(name))
        if request.version is not None:
            url += f"?version={version_number(name, request.version)}"
        reply = self._adapter.request("GET", url)
        if reply.status != 200:
            raise self._unread(reply, request)
        if not is_of_2(reply):
            raise misfit(f"reading {name}", name)
        self._lookup.certify()
        # A version may have been written without any fields, not even none.
        found = reply.data
        metadata, value = found["metadata"], self._codec.decode(found["data"] or {})
        # The error that may be raised must not show it.
        del found
        if isinstance(value, InvalidValueError):
            raise value
        return ReadResult(
            value=value,
            version=str(metadata["version"]),
            created=moment(metadata.get("created_time")),
            request_id=reply.request_id,
        )

    def current(self, name: SecretName) -> Current:
        """Say which version of a secret is current, with one request for its metadata; see ``VersionPolling``.

        Not everybody who may read a secret may read its metadata. Then the secret itself is read, and its value
        dropped.
        """
        reply, what = self._lookup.metadata(name), f"looking for {name}"
        if reply.status == 200 or nothing_there(reply):
            newest = self._lookup.told(reply, name, what).newest
            return Current(version=str(newest.version) if newest.is_live else None, request_id=reply.request_id)
        if reply.status != 403 or token_refused(reply):
            raise refusal(reply, what, name=name)
        try:
            found = self.read(ReadRequest(name=name))
        except SecretNotFoundError:
            return Current(version=None)
        return Current(version=found.version, is_read=True, request_id=found.request_id)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""
        return self._writes.write(request)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete the newest version of a secret, so that it can be brought back; see ``Backend.delete``."""
        name = request.name
        seen = self._lookup.seen(name)
        self._lookup.ensure_version_2(name, f"deleting {name}")
        # Sent even if nothing was seen: a node that lags behind may not know yet what another one was told.
        reply = self._kv.delete_latest_version_of_secret(self._paths.inside(name), self._paths.mount)
        _expect_done(reply, f"deleting {name}", name)
        # Whoever may delete, but not look, is told that it was there.
        existed = seen is None or seen.is_live
        return DeleteResult(existed=existed, request_id=_request_id(reply, None if seen is None else seen.request_id))

    def list(self, request: ListRequest) -> ListResult:
        """Return the names below a prefix; see ``Backend.list``."""
        found = listing(request, self._paths, self._folders.look, self._folders.is_live)
        if not found.names and not found.folders:
            self._lookup.ensure_empty(self._paths.folder(request.prefix))
        return found

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions that are kept of a secret; see ``Backend.versions``."""
        reply, found = self._lookup.history(request.name, f"listing the versions of {request.name}")
        if not found.versions:
            raise missing(request.name)
        return VersionsResult(versions=found.listed(), request_id=reply.request_id)

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a deleted version back; see ``Recoverable.undelete``."""
        name = request.name
        seen = self._lookup.seen(name, None if request.version is None else version_number(name, request.version))
        if seen is None:
            raise AccessDeniedError(
                f"the server does not let us see whether there is anything of {name} to bring back",
                name=name,
                hint="ask for a policy that lets you read its metadata",
            )
        if not seen.version:
            raise missing(name, request.version)
        if seen.state == DESTROYED:
            raise gone(name, seen)
        if seen.is_live:
            return UndeleteResult(version=str(seen.version), request_id=seen.request_id)
        reply = self._kv.undelete_secret_versions(self._paths.inside(name), [seen.version], self._paths.mount)
        _expect_done(reply, f"bringing {name} back", name)
        return UndeleteResult(version=str(seen.version), request_id=_request_id(reply, seen.request_id))

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions, or a secret with all that is noted about it; see ``Recoverable.destroy``."""
        name, path, mount = request.name, self._paths.inside(request.name), self._paths.mount
        numbers = [version_number(name, version) for version in request.versions]
        looked, found = self._history_to_destroy(name)
        if numbers:
            existed = found is None or _any_left(name, found, numbers)
            reply = self._kv.destroy_secret_versions(path, numbers, mount)
        else:
            existed = found is None or bool(found.current or found.notes)
            reply = self._kv.delete_metadata_and_all_versions(path, mount)
        _expect_done(reply, f"destroying {name}", name)
        return DestroyResult(existed=existed, request_id=_request_id(reply, looked.request_id))

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is noted about a secret; see ``Describing.describe``."""
        reply, found = self._lookup.history(request.name, f"describing {request.name}")
        return DescribeResult(
            metadata=found.notes,
            version=str(found.current) if found.current else None,
            created=found.made,
            updated=found.updated,
            facts=found.facts,
            request_id=reply.request_id,
        )

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace what is noted about a secret; see ``Describing.annotate``."""
        name = request.name
        trouble = notes_problem(request.metadata)
        if trouble:
            raise InvalidValueError(f"Vault cannot hold these notes about {name}: {trouble}", name=name)
        # A note about a secret that is not there would make one without versions.
        looked, _ = self._lookup.history(name, f"annotating {name}")
        # Not by hvac's method, which resets how long versions are kept.
        path = quoted(f"{self._paths.mount}/metadata/{self._paths.inside(name)}")
        reply = self._adapter.request("POST", f"/v1/{path}", json={"custom_metadata": request.metadata})
        _expect_done(reply, f"annotating {name}", name)
        return AnnotateResult(request_id=_request_id(reply, looked.request_id))

    def _unread(self, reply: Reply, request: ReadRequest) -> StrongroomError:
        if reply.status == 404 and is_of_2(reply):
            self._lookup.certify()
            metadata = reply.data["metadata"]
            return gone(request.name, state_at_rest(int(metadata["version"]), metadata, reply))
        if nothing_there(reply):
            return missing(request.name, request.version) if request.version else self._lookup.missing(request.name)
        return refusal(reply, f"reading {request.name}", name=request.name)

    def _history_to_destroy(self, name: SecretName) -> tuple[Reply, History | None]:
        """Return what is kept of a secret, or nothing if the server does not let us look, and its answer."""
        reply, what = self._lookup.metadata(name), f"destroying {name}"
        if reply.status != 403 and reply.status != 200 and not nothing_there(reply):
            raise refusal(reply, what, name=name)
        found = None if reply.status == 403 else self._lookup.told(reply, name, what)
        self._lookup.ensure_version_2(name, what)
        return reply, found


def _request_id(reply: Reply, looked: str | None) -> str | None:
    """Return the id by which the server's audit log knows a change.

    An answer without content names none, so it is then the id of the request that looked for the secret just before.
    """
    return reply.request_id or looked


def _any_left(name: SecretName, found: History, numbers: list[int]) -> bool:
    """Tell whether one of some versions is not destroyed yet; each of them must be there."""
    for number in numbers:
        if not found.of(number).version:
            raise missing(name, str(number))
    return any(found.of(number).state != DESTROYED for number in numbers)


def _expect_done(reply: Reply, what: str, name: SecretName) -> None:
    if reply.status not in _DONE:
        raise refusal(reply, what, name=name)
