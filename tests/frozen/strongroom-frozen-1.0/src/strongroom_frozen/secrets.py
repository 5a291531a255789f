"""Secrets and their versions."""

from __future__ import annotations

from collections.abc import Callable

from strongroom.contracts import (
    AnnotateRequest,
    AnnotateResult,
    Backend,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    DeleteRequest,
    DeleteResult,
    DescribeRequest,
    DescribeResult,
    Describing,
    DestroyRequest,
    DestroyResult,
    DiscardRequest,
    DiscardResult,
    ListRequest,
    ListResult,
    PromoteRequest,
    PromoteResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    Recoverable,
    StageRequest,
    StageResult,
    StagesRequest,
    StagesResult,
    Staging,
    UndeleteRequest,
    UndeleteResult,
    VersionPolling,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import (
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import ABSENT, SecretName, SecretValue, SecretVersion
from strongroom_frozen.document import Document, Json, moment, now, packed, unpacked
from strongroom_frozen.settings import StoreSettings


class FrozenSecrets(Backend, Recoverable, Describing, VersionPolling, Staging):
    """The part of the backend that keeps secrets."""

    versions_at_once = 50

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._document = Document(settings.path)
        self.address = f"frozen:{settings.path}"
        self.max_value_bytes = settings.largest
        self.accepts_empty = True
        self.batch_size = 50
        self.keeps_deadlines = False

    def read(self, request: ReadRequest) -> ReadResult:
        """Return the current version of a secret, or the one asked for."""
        return _result(_known(self._document.read(), request.name), request.name, request.version)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several secrets as they are at one moment."""
        content = self._document.read()
        found: dict[SecretName, ReadResult] = {}
        errors: dict[SecretName, StrongroomError] = {}
        for name in request.names:
            try:
                found[name] = _result(_known(content, name), name, None)
            except StrongroomError as error:
                errors[name] = error
        return ReadManyResult(found=found, errors=errors)

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return the current versions of several secrets."""
        secrets = self._document.read().get("secrets", {})
        versions: dict[SecretName, str | None] = {}
        for name in request.names:
            secret = secrets.get(name)
            versions[name] = secret["current"] if secret and _is_alive(secret) else None
        return CurrentVersionsResult(versions=versions, errors={}, values_fetched=True, request_id="polled")

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret."""
        self._check_size(request.name, request.value)
        with self._document.changing() as content:
            secret = _made(content, request.name)
            if request.token is not None and request.token in secret["tokens"]:
                version = secret["tokens"][request.token]
                return WriteResult(version=version, created=moment(secret["versions"][version]["created"]))
            _check_expected(secret, request)
            if _is_alive(secret):
                secret["previous"] = secret["current"]
            secret["current"] = self._add(secret, request.value, request.token)
            version = secret["current"]
            created = moment(secret["versions"][version]["created"])
        return WriteResult(version=version, created=created, request_id="written")

    def _add(self, secret: Json, value: SecretValue, token: str | None) -> str:
        secret["last"] += 1
        version = str(secret["last"])
        secret["versions"][version] = {"created": now().isoformat(), "value": packed(value), "deleted": None}
        if token is not None:
            secret["tokens"][token] = version
        kept = {secret["current"], secret["pending"], secret["previous"], version}
        for old in list(secret["versions"])[: -self._settings.keep]:
            if old not in kept:
                del secret["versions"][old]
        secret["tokens"] = {one: found for one, found in secret["tokens"].items() if found in secret["versions"]}
        return version

    def _check_size(self, name: SecretName, value: SecretValue) -> None:
        if len(value) > self._settings.largest:
            raise ValueTooLargeError(
                f"the value for {name} is too large",
                size=len(value),
                limit=self._settings.largest,
                name=name,
                hint="store less",
            )

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Delete a secret, until it is brought back."""
        with self._document.changing() as content:
            secret = content.get("secrets", {}).get(request.name)
            existed = secret is not None and _is_alive(secret)
            if existed:
                for version in secret["versions"].values():
                    version["deleted"] = version["deleted"] or now().isoformat()
                secret["pending"] = secret["previous"] = None
        return DeleteResult(existed=existed, recoverable_until=None, request_id="deleted")

    def list(self, request: ListRequest) -> ListResult:
        """Return every name below a prefix."""
        secrets = self._document.read().get("secrets", {})
        alive = (SecretName(name) for name, secret in secrets.items() if _is_alive(secret))
        return ListResult(
            names=tuple(sorted(name for name in alive if name.is_below(request.prefix))),
            folders=(),
            request_id="listed" if request.recursive else None,
        )

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions that are kept of a secret."""
        secret = _known(self._document.read(), request.name)
        return VersionsResult(
            versions=tuple(
                SecretVersion(
                    version=number,
                    created=moment(version["created"]),
                    state=_state(secret, number),
                    deleted=moment(version["deleted"]),
                )
                for number, version in secret["versions"].items()
            ),
            request_id="versions",
        )

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a deleted version back."""
        with self._document.changing() as content:
            secret = _known(content, request.name)
            number = secret["current"] if request.version is None else request.version
            version = _version(secret, request.name, number)
            if version["value"] is None:
                raise SecretDeletedError(
                    f"{request.name} was destroyed", code="destroyed", when=version["deleted"], name=request.name
                )
            version["deleted"] = None
        return UndeleteResult(version=number, request_id="undeleted")

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove versions, or the secret as a whole."""
        with self._document.changing() as content:
            if not request.versions:
                secret = content.get("secrets", {}).pop(request.name, None)
                if secret is not None:
                    content.setdefault("numbers", {})[request.name] = secret["last"]
                return DestroyResult(existed=secret is not None, request_id="destroyed")
            secret = _known(content, request.name)
            found = [_version(secret, request.name, number) for number in request.versions]
            existed = any(version["value"] is not None for version in found)
            for version in found:
                version |= {"value": None, "deleted": version["deleted"] or now().isoformat()}
        return DestroyResult(existed=existed, request_id="destroyed")

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is known of a secret beside its value."""
        secret = _known(self._document.read(), request.name)
        versions = [*secret["versions"].items()]
        return DescribeResult(
            metadata=dict(secret["notes"]),
            version=versions[-1][0],
            created=moment(versions[0][1]["created"]),
            updated=moment(versions[-1][1]["created"]),
            facts=(("versions kept", str(len(versions))),),
            request_id="described",
        )

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace what is noted about a secret."""
        with self._document.changing() as content:
            _known(content, request.name)["notes"] = dict(request.metadata)
        return AnnotateResult(request_id="annotated")

    def stage(self, request: StageRequest) -> StageResult:
        """Keep a value as the pending one."""
        self._check_size(request.name, request.value)
        with self._document.changing() as content:
            secret = _known(content, request.name)
            if not _is_alive(secret):
                raise SecretNotFoundError(f"there is no secret {request.name}", name=request.name)
            pending = secret["pending"]
            if pending is None or secret["tokens"].get(request.token) != pending:
                if pending != request.expect_pending:
                    raise _conflict(request.name, request.expect_pending, pending)
                secret["unfinished"] = None
                secret["pending"] = self._add(secret, request.value, request.token)
            pending = secret["pending"]
            created = moment(secret["versions"][pending]["created"])
        return StageResult(version=pending, created=created, request_id="staged")

    def stages(self, request: StagesRequest) -> StagesResult:
        """Return which versions are current, pending and previous."""
        secret = _known(self._document.read(), request.name)
        return StagesResult(
            current=secret["current"] if _is_alive(secret) else None,
            pending=secret["pending"],
            previous=secret["previous"],
            unfinished=secret["unfinished"],
            request_id="stages",
        )

    def promote(self, request: PromoteRequest) -> PromoteResult:
        """Make a version the current one."""
        with self._document.changing() as content:
            secret = _known(content, request.name)
            _version(secret, request.name, request.version)
            if secret["current"] != request.version:
                if secret["current"] != request.expect_current:
                    raise _conflict(request.name, request.expect_current, secret["current"])
                secret["previous"], secret["current"] = secret["current"], request.version
                secret["pending"] = None if secret["pending"] == request.version else secret["pending"]
                secret["unfinished"] = request.version if request.keep_unfinished else None
        return PromoteResult(request_id="promoted")

    def discard(self, request: DiscardRequest) -> DiscardResult:
        """Give a pending version up, or the mark of an unfinished one."""
        with self._document.changing() as content:
            secret = _known(content, request.name)
            existed = request.version in {secret["pending"], secret["unfinished"]}
            for role in ("pending", "unfinished"):
                secret[role] = None if secret[role] == request.version else secret[role]
        return DiscardResult(existed=existed, request_id="discarded")


def _made(content: Json, name: SecretName) -> Json:
    blank: Json = dict.fromkeys(("current", "pending", "previous", "unfinished"))
    blank |= {"versions": {}, "tokens": {}, "notes": {}, "last": content.get("numbers", {}).get(name, 0)}
    secret: Json = content.setdefault("secrets", {}).setdefault(name, blank)
    return secret


def _known(content: Json, name: SecretName) -> Json:
    secret: Json | None = content.get("secrets", {}).get(name)
    if secret is None:
        raise SecretNotFoundError(f"there is no secret {name}", name=name, hint="check the name's spelling")
    return secret


def _version(secret: Json, name: SecretName, number: str) -> Json:
    if number not in secret["versions"]:
        raise SecretNotFoundError(f"{name} has no version {number}", code="version_not_found", name=name)
    version: Json = secret["versions"][number]
    return version


def _is_alive(secret: Json) -> bool:
    version = secret["versions"].get(secret["current"], {"value": None})
    return version["value"] is not None and version["deleted"] is None


def _state(secret: Json, number: str) -> str:
    version = secret["versions"][number]
    if version["value"] is None:
        return "destroyed"
    if version["deleted"] is not None:
        return "deleted"
    return "current" if number == secret["current"] else "superseded"


def _result(secret: Json, name: SecretName, number: str | None) -> ReadResult:
    number = secret["current"] if number is None else number
    version = _version(secret, name, number or "none")
    value = unpacked(version["value"])
    if value is None or version["deleted"] is not None:
        code = "destroyed" if value is None else "deleted"
        raise SecretDeletedError(f"{name} was {code}", code=code, when=version["deleted"], name=name)
    return ReadResult(
        value=value, version=number or "", created=moment(version["created"]), request_id="read", place=None
    )


def _check_expected(secret: Json, request: WriteRequest) -> None:
    found = secret["current"] if _is_alive(secret) else None
    if request.expect_version is None:
        return
    if request.expect_version is ABSENT:
        if found is not None:
            raise _conflict(request.name, None, found)
    elif request.expect_version != found:
        raise _conflict(request.name, str(request.expect_version), found)


def _conflict(name: SecretName, expected: str | None, found: str | None) -> VersionConflictError:
    shown: Callable[[str | None], str] = lambda version: "absent" if version is None else version  # noqa: E731
    return VersionConflictError(
        f"{name} is at {shown(found)}, not {shown(expected)}",
        expected=shown(expected),
        found=shown(found),
        name=name,
        hint="read it again and decide anew",
    )
