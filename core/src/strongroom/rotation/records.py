"""A rotation written down beside its secret: a record that is changed by check-and-set only."""

from __future__ import annotations

import json
import os

from base64 import b64decode, b64encode
from math import isfinite
from typing import Any, Final

from strongroom.contracts.backend import Capability, ReadRequest, ReadResult, VersionsRequest, WriteRequest
from strongroom.contracts.names import rotation_record
from strongroom.contracts.recovery import DestroyRequest, Recoverable
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    VersionConflictError,
)
from strongroom.model import ABSENT, Absent, SecretName, SecretValue, ValueType
from strongroom.resilience.guarded import GuardedBackend
from strongroom.rotation.ledger import Ledger, in_progress, lost
from strongroom.rotation.pending import Pending, Standing, Step, owner_of, this_process
from strongroom.rotation.service import new_uuid

FORMAT: Final = 1
_ROOM: Final = 256
"""How many bytes a record may grow by: a version, points in time, and the name of another host that takes it over."""
_PROMOTED: Final = (Step.ANNOUNCE, Step.FINISH)
"""The steps that come after the promotion."""


class RecordLedger(Ledger):
    """Keeps rotations in a record under a name of strongroom's own.

    Args:
        backend: The secret's backend.
        name: The secret's name.
        single_host: Whether all who rotate it are on this host, and kept apart by something else than the record.

    Raises:
        ConfigurationError: The backend has no check-and-set, and this is not a single host.
        InvalidNameError: The name is too long to have a record.
    """

    def __init__(self, backend: GuardedBackend, name: SecretName, *, single_host: bool = False) -> None:
        self.name = name
        self._backend = backend
        self.record = rotation_record(name)
        self.compares = Capability.CHECK_AND_SET in backend.capabilities
        self._mark: str | None = None
        """The record's version as it was seen last; ``None`` if there is none."""
        self._rotated: float | None = None
        self._expires: float | None = None
        if not self.compares and not single_host:
            raise ConfigurationError(
                f"{backend.name} (type {backend.type}) has neither stages nor check-and-set, so nothing keeps two "
                f"hosts from rotating {name} at the same time",
                name=name,
                backend=backend.name,
                hint="use KV version 2, or say `single_host = true` in its [rotation] table if one host only rotates",
            )

    def look(self) -> Standing:
        """Return what the record says; nothing is pending if there is none."""
        try:
            return self.seen(self._backend.read(ReadRequest(name=self.record)))
        except SecretNotFoundError:
            return self.seen(None)

    def seen(self, found: ReadResult | None) -> Standing:
        """Return what the record says, as somebody has read it.

        Args:
            found: What was read under :attr:`record`; ``None`` if there is no such record.

        Raises:
            TamperedError: It is no record that this release can read.
        """
        if found is None:
            self._mark = self._rotated = self._expires = None
            return Standing(pending=None)
        standing = self._understood(found.value, found.version)
        self._mark, self._rotated, self._expires = found.version, standing.rotated, standing.expires
        pending = standing.pending
        # Until it is finished, when it was promoted stands with it.
        return standing if pending is None or not pending.promoted else standing.replace(rotated=pending.promoted)

    def begin(self, draft: Pending) -> Pending:
        """Record a candidate as pending, if the record is as it was seen last; :meth:`look` first."""
        begun = draft.replace(owner=this_process())
        # What it says later must not be too large once the dependent has taken the candidate.
        most = begun.replace(step=Step.ANNOUNCE, version="0" * _ROOM, promoted=begun.began)
        self._backend.check_write_value(self.record, _document(most, self._rotated, self._expires))
        try:
            return self._write(begun)
        except VersionConflictError as error:
            raise in_progress(
                self.name, "by another process, which was faster", "wait until that is done; see `rotation status`"
            ) from error

    def advance(self, pending: Pending, step: Step) -> Pending:
        """Record which step is next."""
        return self._held(pending.replace(step=step))

    def replace(self, pending: Pending, candidate: SecretValue) -> Pending:
        """Record another candidate instead."""
        return self._held(pending.replace(candidate=candidate, attempt=pending.attempt + 1, step=Step.APPLY))

    def take_over(self, pending: Pending, now: float) -> Pending:
        """Write this process down as the one who leads it."""
        return self._held(pending.replace(owner=this_process(), began=now))

    def rebase(self, pending: Pending, version: str) -> Pending:
        """Note that the candidate is promoted over another version."""
        return self._held(pending.replace(base=version, step=Step.APPLY))

    def confirm(self, pending: Pending) -> None:
        """Read the record again."""
        try:
            found = self._backend.read(ReadRequest(name=self.record))
        except SecretNotFoundError as error:
            raise lost(self.name) from error
        if found.version != pending.mark:
            raise lost(self.name)

    def promote(self, pending: Pending, now: float) -> Pending:
        """Write the candidate over the base."""
        self.confirm(pending)
        promoted = pending.replace(version=self._promoted_version(pending), promoted=now, step=Step.ANNOUNCE)
        return self._held(promoted)

    def _promoted_version(self, pending: Pending) -> str:
        request = WriteRequest(
            name=self.name,
            value=pending.candidate,
            expect_version=pending.base if self.compares else None,
            token=new_uuid(),
        )
        if not self.compares and (version := self._current_version_of(pending.candidate, pending)) is not None:
            return version
        try:
            return self._backend.write(request).version
        except (VersionConflictError, BackendUnavailableError):
            # Written by an earlier attempt, or by this one whose answer was lost: what is current tells.
            now = self._backend.read(ReadRequest(name=self.name))
            if now.value != pending.candidate:
                raise
            return now.version

    def _current_version_of(self, value: SecretValue, pending: Pending) -> str | None:
        """Return the current version if it is a value's; ``None`` if the former value is current.

        Raises:
            VersionConflictError: It is neither.
        """
        now = self._backend.read(ReadRequest(name=self.name))
        if now.value == value:
            return now.version
        if now.value == pending.former:
            return None
        raise VersionConflictError(
            f"{self.name} is at version {now.version}, not {pending.base}",
            expected=pending.base,
            found=now.version,
            name=self.name,
            hint="look at what is current now; somebody has written it during its rotation",
        )

    def finish(self, pending: Pending, expires: float | None) -> None:
        """Note when it was rotated, and remove the values from the record and its history."""
        self._rotated, self._expires = pending.promoted, expires
        self._close(pending)

    def abandon(self, pending: Pending, *, foreign: bool) -> str | None:
        """Write the former value over the candidate, or over itself; then remove the values from the record."""
        version = self._restored(pending, foreign=foreign)
        self._close(pending)
        return version

    def _restored(self, pending: Pending, *, foreign: bool) -> str | None:
        now = self._backend.read(ReadRequest(name=self.name))
        promoted = now.value == pending.candidate and now.value != pending.former
        if not promoted and not (foreign and now.version == pending.base and self.compares):
            return None
        request = WriteRequest(
            name=self.name,
            value=pending.former,
            expect_version=now.version if self.compares else None,
            token=new_uuid(),
        )
        try:
            return self._backend.write(request).version
        except (VersionConflictError, BackendUnavailableError):
            again = self._backend.read(ReadRequest(name=self.name))
            if again.value != pending.former or again.version == now.version:
                raise
            return again.version

    def _close(self, pending: Pending) -> None:
        self._settle(pending.mark, _document(None, self._rotated, self._expires))
        self._forget_history()

    def _forget_history(self) -> None:
        """Destroy the record's older versions, which hold candidates, where the backend can; else they age out."""
        if not self._backend.offers(Recoverable) or Capability.VERSIONS not in self._backend.capabilities:
            return
        try:
            kept = self._backend.versions(VersionsRequest(name=self.record)).versions
            old = tuple(one.version for one in kept if one.version != self._mark)
            if old:
                self._backend.destroy(DestroyRequest(name=self.record, versions=old))
        # The rotation is done; who may not destroy here has an older value in a place that nobody reads.
        except StrongroomError:
            return

    def _held(self, pending: Pending) -> Pending:
        try:
            return self._write(pending)
        except VersionConflictError as error:
            raise lost(self.name) from error

    def _write(self, pending: Pending) -> Pending:
        mark = self._settle(pending.mark, _document(pending, self._rotated, self._expires))
        return pending.replace(mark=mark)

    def _settle(self, expected: str, value: SecretValue) -> str:
        """Write the record over a version, and find out what came of it if the answer was lost.

        Args:
            expected: The record's version; empty for the one that was seen last.
            value: What it is to say; never as text, which a traceback's locals would show.

        Returns:
            The record's new version.

        Raises:
            VersionConflictError: Somebody else has changed it.
        """
        over: str | Absent = expected or self._mark or ABSENT
        request = WriteRequest(
            name=self.record, value=value, expect_version=over if self.compares else None, token=new_uuid()
        )
        self._backend.check_write(request)
        try:
            self._mark = self._backend.write(request).version
        except (BackendUnavailableError, VersionConflictError) as error:
            if isinstance(error, BackendUnavailableError) and error.unsent:
                raise
            self._mark = self._version_of(value, error)
        return self._mark

    def _version_of(self, value: SecretValue, error: StrongroomError) -> str:
        """Return the record's version if it is what was to be written; else raise the error of the write."""
        try:
            found = self._backend.read(ReadRequest(name=self.record))
        except SecretNotFoundError:
            raise error from None
        if found.value != value:
            raise error
        return found.version

    def _understood(self, value: SecretValue, version: str) -> Standing:
        standing = _standing(value, version)
        if standing is None:
            raise TamperedError(
                f"the record of {self.name}'s rotation is not one that this release can read",
                name=self.name,
                backend=self._backend.name,
                hint="it was written by a later release, or by somebody else; nothing was changed",
            )
        return standing


def _standing(value: SecretValue, version: str) -> Standing | None:
    """Return what a record says; ``None`` if it is none, since an error's text and locals would show values."""
    try:
        content = json.loads(value.reveal())
        if content["format"] != FORMAT:
            return None
        pending = content["pending"]
        return Standing(
            pending=None if pending is None else _pending(pending, version),
            rotated=_number(content["rotated"]),
            expires=_number(content["expires"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _document(pending: Pending | None, rotated: float | None, expires: float | None) -> SecretValue:
    """Return a record; no two are the same."""
    return SecretValue(json.dumps(_content(pending, rotated, expires) | {"write": os.urandom(8).hex()}))


def _content(pending: Pending | None, rotated: float | None, expires: float | None) -> dict[str, Any]:
    written: dict[str, Any] | None = None
    if pending is not None:
        written = pending.as_dict() | {
            "step": pending.step.value,
            "candidate": _spelled(pending.candidate),
            "former": _spelled(pending.former),
            "owner": None if pending.owner is None else pending.owner.as_dict(),
        }
        del written["mark"]
    return {"format": FORMAT, "pending": written, "rotated": rotated, "expires": expires}


def _pending(content: dict[str, Any], mark: str) -> Pending:
    pending = Pending(
        **content
        | {
            "step": Step(content["step"]),
            "candidate": _value(content["candidate"]),
            "former": _value(content["former"]),
            "owner": owner_of(content["owner"]),
            "began": _number(content["began"]),
            "promoted": _number(content["promoted"]),
            "mark": mark,
        }
    )
    if not all(isinstance(one, str) for one in (pending.id, pending.base, pending.version or "")):
        raise TypeError
    if pending.began is None or not isinstance(pending.attempt, int):
        raise TypeError
    is_promoted = pending.version is not None and pending.promoted is not None
    if pending.step in (Step.GENERATE, Step.RECORD) or (pending.step in _PROMOTED and not is_promoted):
        raise ValueError
    return pending


def _number(content: Any) -> float | None:
    if content is None:
        return None
    if isinstance(content, bool) or not isinstance(content, int | float):
        raise TypeError
    # A whole number may be too large for a float.
    if not isfinite(float(content)):
        raise ValueError
    return content


def _spelled(value: SecretValue) -> dict[str, str]:
    return {"type": value.type.value, "base64": b64encode(value.reveal()).decode("ascii")}


def _value(content: dict[str, str]) -> SecretValue:
    return SecretValue.of_bytes(b64decode(content["base64"], validate=True), ValueType(content["type"]))
