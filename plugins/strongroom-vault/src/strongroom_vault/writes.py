"""Writing to an engine of version 2, over the expected version or any."""

from __future__ import annotations

from typing import Any, Final

from strongroom.contracts import WriteRequest, WriteResult
from strongroom.errors import (
    InvalidValueError,
    StrongroomError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import ABSENT, SecretName
from strongroom_vault.asking import bare
from strongroom_vault.faults import misfit, missing, refusal
from strongroom_vault.history import Seen, moment
from strongroom_vault.lookup import Lookup
from strongroom_vault.paths import Paths
from strongroom_vault.replies import Reply
from strongroom_vault.values import Codec

_MISMATCH: Final = "check-and-set parameter did not match"
_REQUIRED: Final = "check-and-set parameter required"
_LARGEST: Final = 2**63


class Writes:
    """Writes secrets.

    The server compares numbers only: the number of a deleted version still fits, and 0,
    'there is none', does not fit where there is a deleted one. To strongroom a deleted
    secret is absent, so its state is looked up: before a write over an expected version,
    and after one that expected no secret and was refused. What is deleted or brought back
    between that look and the write keeps its number, and so is not noticed.

    Args:
        kv: hvac's methods for version 2, above an ``AskingAdapter``.
        paths: How names are spelt in the engine.
        codec: How values are kept in fields.
        lookup: Finds out in which state a secret is.
    """

    def __init__(self, kv: Any, paths: Paths, codec: Codec, lookup: Lookup) -> None:
        self._kv = kv
        self._paths = paths
        self._codec = codec
        self._lookup = lookup

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``.

        Raises:
            VersionConflictError: The current version is not the expected one.
            UnsupportedOperationError: The server takes no write of it without an expected version.
            InvalidValueError: The name is for fields, and the value is no object that could be kept so.
        """
        reply = self._sent(request, self._number(request))
        if isinstance(reply, Reply) and _MISMATCH in reply.errors and request.expect_version is ABSENT:
            seen = self._lookup.seen(request.name)
            if seen is None or seen.is_live:
                raise _conflict(request, seen)
            reply = self._sent(request, seen.version)
        if isinstance(reply, BaseException):
            raise reply
        version = reply.data.get("version")
        if reply.status != 200 or not isinstance(version, int):
            raise self._refused(reply, request)
        self._lookup.certify()
        created = moment(reply.data.get("created_time"))
        return WriteResult(version=str(version), created=created, request_id=reply.request_id)

    def _number(self, request: WriteRequest) -> int | None:
        """Return the number that the server is to compare with; ``None`` for no comparison."""
        expected = request.expect_version
        if expected is None:
            return None
        if expected is ABSENT:
            return 0
        seen = self._lookup.seen(request.name)
        number = _number(expected)
        if number is None or (seen is not None and seen.version == number and not seen.is_live):
            raise _conflict(request, seen)
        return number

    def _sent(self, request: WriteRequest, number: int | None) -> Reply | BaseException:
        """Send a value. What goes wrong is returned, for the caller to raise where no variable holds the value."""
        fields = self._codec.encode(request.name, request.value)
        if isinstance(fields, InvalidValueError):
            return fields
        try:
            self._lookup.ensure_version_2(request.name, f"writing {request.name}")
            path = self._paths.inside(request.name)
            reply: Reply = self._kv.create_or_update_secret(path, fields, number, self._paths.mount)
        # Ctrl-C, too.
        except BaseException as error:  # noqa: BLE001  # the caller raises it again
            return bare(error)
        return reply

    def _refused(self, reply: Reply, request: WriteRequest) -> StrongroomError:
        if _MISMATCH in reply.errors:
            return _conflict(request, self._lookup.seen(request.name))
        if _REQUIRED in reply.errors:
            return UnsupportedOperationError(
                f"the server takes no write of {request.name} without an expected version",
                name=request.name,
                hint="pass expect_version: the version that was read, or ABSENT for a new secret",
            )
        if reply.status < 400:
            path = self._paths.inside(request.name)
            return misfit(f"writing {request.name}", request.name, done=f"it has the value as data/{path} now")
        return refusal(reply, f"writing {request.name}", name=request.name, size=len(request.value))


def version_number(name: SecretName, version: str) -> int:
    """Return a version as the server counts it.

    Raises:
        SecretNotFoundError: It cannot be one.
    """
    number = _number(version)
    if number is None:
        raise missing(name, version)
    return number


def _number(version: object) -> int | None:
    text = str(version)
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_LARGEST)) or text.startswith("0"):
        return None
    # 0 and less would mean the newest one to the server, and what it cannot count is no version of its own.
    return int(text) if int(text) < _LARGEST else None


def _conflict(request: WriteRequest, seen: Seen | None) -> VersionConflictError:
    expected = "absent" if request.expect_version is ABSENT else str(request.expect_version)
    found = None if seen is None else str(seen.version) if seen.is_live else "absent"
    return VersionConflictError(
        f"version {expected} of {request.name} was expected, and {_told(found)}",
        expected=expected,
        found=found,
        name=request.name,
        hint="read it again, and decide anew",
    )


def _told(found: str | None) -> str:
    if found is None:
        return "there is another, which the server does not let us see"
    return "there is none" if found == "absent" else f"version {found} is there"
