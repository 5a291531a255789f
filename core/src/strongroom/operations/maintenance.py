"""Verifying, backing up and re-keying a backend that keeps its own file, each recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from strongroom.contracts.maintenance import (
    BackupRequest,
    BackupResult,
    Maintenance,
    RekeyRequest,
    RekeyResult,
    VerifyRequest,
    VerifyResult,
)
from strongroom.errors import AuditError, ClosedError, ConfigurationError, StrongroomError
from strongroom.model import AuditEvent, Principal

if TYPE_CHECKING:
    from strongroom.wiring import Parts

Result = TypeVar("Result", VerifyResult, BackupResult, RekeyResult)


class AuditedMaintenance(Maintenance):
    """A backend's maintenance as one principal; what ``SecretManager.maintenance`` returns.

    The backend is opened when it is needed, so that a failure of that is recorded, too.

    Args:
        parts: The stages of the manager.
        principal: Who asks.
        backend: The backend's configured name; the default one unless given.
        base: Who took on the principal, if somebody did.

    Raises:
        ConfigurationError: There is no such backend.
    """

    def __init__(
        self, parts: Parts, principal: Principal, backend: str | None, *, base: Principal | None = None
    ) -> None:
        name = backend or parts.configuration.default_backend
        if name not in parts.configuration.backends:
            known = ", ".join(parts.configuration.backends)
            raise ConfigurationError(f"there is no backend {name!r}", hint=f"configured here: {known}")
        self._parts = parts
        self._principal = principal
        self._base = base
        self._name = name

    def verify(self, request: VerifyRequest) -> VerifyResult:
        """Check every record and the whole; see :meth:`Maintenance.verify`."""

        def detail(result: VerifyResult) -> str:
            return f"{len(result.problems)} problems" if result.problems else f"counter {result.counter}"

        return self._recorded("verify", lambda store: store.verify(request), detail, attempt=False)

    def backup(self, request: BackupRequest) -> BackupResult:
        """Copy the store; see :meth:`Maintenance.backup`."""
        return self._recorded("backup", lambda store: store.backup(request), lambda result: result.path, attempt=True)

    def rekey(self, request: RekeyRequest) -> RekeyResult:
        """Change the store's keys; see :meth:`Maintenance.rekey`."""
        what = ["new master key"] * (request.new_key is not None) + ["reencrypted"] * request.reencrypt

        def detail(result: RekeyResult) -> str:
            return ", ".join([*what, f"key epoch {result.key_epoch}"])

        return self._recorded("rekey", lambda store: store.rekey(request), detail, attempt=True)

    def prepare(self, event: str) -> None:
        """Open the backend now, so that a failure of that comes before anything is made for a change of it.

        Args:
            event: What is about to be done; a failure is recorded as its outcome.

        Raises:
            StrongroomError: The backend cannot be opened.
        """
        begun = self._event(event, phase="attempt")
        started = self._parts.clock()
        try:
            self._parts.backend(self._name)
        except StrongroomError as error:
            self._record_failure(event, begun, started, error)
            raise

    def _recorded(
        self, event: str, act: Callable[[Maintenance], Result], detail: Callable[[Result], str], *, attempt: bool
    ) -> Result:
        """Record an attempt if one is wanted, act, and record the outcome."""
        begun = self._event(event, phase="attempt")
        if attempt:
            self._parts.audit.record(begun, durable=True)
        started = self._parts.clock()
        try:
            result = self._parts.backend(self._name).maintain(event, act)
        except StrongroomError as error:
            self._record_failure(event, begun, started, error)
            raise
        outcome = "problems" if isinstance(result, VerifyResult) and result.problems else "ok"
        self._record_outcome(event, begun, started, outcome, detail(result))
        return result

    def _event(self, event: str, **fields: object) -> AuditEvent:
        return self._parts.audit.event(event, principal=self._principal, base=self._base, backend=self._name, **fields)

    def _record_outcome(self, event: str, begun: AuditEvent, started: float, result: str, detail: str) -> None:
        duration = self._parts.clock() - started
        made = self._event(event, id=begun.id, result=result, detail=detail, duration=duration)
        try:
            self._parts.audit.record(made, durable=True)
        except (AuditError, ClosedError) as error:
            raise AuditError(
                f"the {event} of {self._name} was made, but its outcome could not be recorded: {error.what}",
                applied=True,
                hint="`strongroom audit report` lists the open attempt; mend the sink first",
            ) from error

    def _record_failure(self, event: str, begun: AuditEvent, started: float, failure: StrongroomError) -> None:
        duration = self._parts.clock() - started
        made = self._event(event, id=begun.id, result=failure.code, duration=duration)
        try:
            self._parts.audit.record(made, durable=True)
        except (AuditError, ClosedError) as error:
            failure.add_note(f"its outcome could not be recorded either: {error.what}")
