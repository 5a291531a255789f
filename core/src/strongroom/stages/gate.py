"""The gate in front of every operation: canonical name, then policy, then detectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from strongroom.contracts.anomaly import Access
from strongroom.contracts.names import refuse_reserved
from strongroom.errors import AccessDeniedError, InvalidNameError, StrongroomError
from strongroom.events.updates import Announcement, SecretUpdated
from strongroom.model import AuditEvent, Principal, SecretName
from strongroom.policy import Action, Ruling, denied, name_pattern
from strongroom.wiring import Parts

Event = TypeVar("Event", SecretUpdated, Announcement)

_EVENTS: Final = {Action.READ: "get", Action.CREATE: "set", Action.UPDATE: "set"}


class Gate:
    """Decides what one principal may do, and records what it refuses.

    Args:
        parts: The stages of the manager.
        principal: Who asks.
        base: The gate of the view from which the principal was taken on; what that one
            may do limits the principal, unless that one may impersonate it.
    """

    def __init__(self, parts: Parts, principal: Principal, base: Gate | None = None) -> None:
        self.principal = principal
        self.base = base
        self.root: Principal | None = base.chain[-1] if base is not None else None
        """Who took on the principal, if somebody did; if one view was made from another, the first of all."""
        self._parts = parts
        self._refusal = ""

    def recording_as(self, event: str) -> Gate:
        """Return a gate that decides alike, and calls by this name what it refuses.

        Args:
            event: What the event is called; for an action that several operations need.
        """
        gate = Gate(self._parts, self.principal, self.base)
        gate._refusal = event
        return gate

    @property
    def chain(self) -> tuple[Principal, ...]:
        """The principal, then the one it was taken on from, and so on; its rights depend on them all."""
        return (self.principal, *(self.base.chain if self.base is not None else ()))

    def ensure_open(self) -> None:
        """Refuse an operation on a manager that is done.

        Raises:
            ClosedError: The manager is closed.
        """
        self._parts.ensure_open()

    def check(self, action: Action, spelling: str) -> SecretName:
        """Return the canonical name if this principal may do this to it, and record it if not.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            AccessDeniedError: The policy does not allow it.
            ClosedError: The manager is closed.
        """
        return self.admit(action, spelling)[0]

    def admit(self, action: Action, spelling: str) -> tuple[SecretName, Ruling]:
        """Return the canonical name and the ruling that allows it; else as :meth:`check`."""
        name = self.canonical(action, spelling)
        try:
            return name, self.allow(action, name)
        except AccessDeniedError as error:
            self.refused(action, name, error)
            raise

    def canonical(self, action: Action, spelling: str) -> SecretName:
        """Return the canonical name whatever the rights to it, and record it if there is none.

        Raises:
            InvalidNameError: The name is not one that a secret can have.
            ClosedError: The manager is closed.
        """
        self.ensure_open()
        try:
            name = SecretName(spelling)
            refuse_reserved(name)
            return name
        except InvalidNameError as error:
            self.refused(action, printable(spelling), error)
            raise

    def folder(self, prefix: str, *, event: str) -> str:
        """Return a folder's canonical name, empty for the root, once the detectors have let it be listed.

        Args:
            prefix: The folder with or without its final slash; empty for the root.
            event: What tells of a refusal.

        Raises:
            InvalidNameError: The prefix is not a folder of names.
            SuspiciousActivityError: A detector blocks it.
            ClosedError: The manager is closed.
        """
        gate = self.recording_as(event)
        gate.ensure_open()
        # The root's name is empty, but nothing else that is empty is the root.
        text = prefix.removesuffix("/") if isinstance(prefix, str) else prefix
        folder = "" if isinstance(prefix, str) and not prefix else gate.canonical(Action.LIST, text)
        # The root has no name; the pattern of everything stands for it.
        gate.judge(Action.LIST, SecretName(folder or "**"))
        return folder

    def check_pattern(self, action: Action, pattern: str) -> None:
        """Refuse a malformed name pattern, and record it.

        Raises:
            InvalidNameError: The pattern is malformed.
            ClosedError: The manager is closed.
        """
        self.ensure_open()
        try:
            if not isinstance(pattern, str):
                raise InvalidNameError(f"a pattern is text, not {type(pattern).__name__}")
            name_pattern(pattern)
        except InvalidNameError as error:
            self.refused(action, printable(pattern), error)
            raise

    def allow(self, action: Action, name: SecretName) -> Ruling:
        """Return the ruling that allows this principal something, and show the detectors what is denied.

        Raises:
            AccessDeniedError: The principal, or the one that limits it, has not got it.
        """
        ruling = self.ruling(action, name)
        if not ruling.allowed:
            access = self._access(action, name, allowed=False)
            if access is not None:
                # The detectors see what was denied, too; whether they block it as well changes nothing.
                self._parts.anomaly.judge_denied(access)
            raise denied(self.principal.name, action, name, ruling.rule)
        return ruling

    def _access(self, action: Action, name: SecretName, *, allowed: bool = True) -> Access | None:
        return self._parts.anomaly.access(self.principal, action, name, base=self.root, allowed=allowed)

    def permits(self, action: Action, name: str) -> bool:
        """Tell whether the principal has a right, without anybody noticing the question."""
        return self.ruling(action, name).allowed

    def readable(self, callback: Callable[[Event], object]) -> Callable[[Event], None]:
        """Return a callback that is told only of what the principal may read by then."""

        def permitted(event: Event) -> None:
            if self.permits(Action.READ, event.name):
                callback(event)

        permitted.__qualname__ = getattr(callback, "__qualname__", type(callback).__qualname__)
        return permitted

    def permits_below(self, action: Action, folder: str) -> bool:
        """Tell whether the principal has a right to anything that a folder may hold; nobody notices the question."""
        now = self._parts.wall_clock() / 1e9
        if not self._parts.decisions.policy.reaches_below(self.principal.name, action, folder, now=now):
            return False
        return (
            self.base is None
            or self.base.permits(Action.IMPERSONATE, self.principal.name)
            or self.base.permits_below(action, folder)
        )

    def ruling(self, action: Action, name: str) -> Ruling:
        """Return the decision on this principal, limited by the base unless that may act as this one."""
        now = self._parts.wall_clock() / 1e9
        ruling = self._parts.decisions.policy.decide(self.principal.name, action, name, now=now)
        if not ruling.allowed or self.base is None:
            return ruling
        impersonation = self.base.ruling(Action.IMPERSONATE, self.principal.name)
        if impersonation.allowed:
            return ruling.replace(until=_earlier(ruling.until, impersonation.until))
        limit = self.base.ruling(action, name)
        return limit.replace(until=_earlier(limit.until, _earlier(ruling.until, impersonation.until)))

    def judge(self, action: Action, name: SecretName) -> Access | None:
        """Let the detectors see an access, and record it if one of them blocks it.

        Returns:
            What they have seen; ``None`` if there are none.

        Raises:
            SuspiciousActivityError: A detector blocks it.
        """
        access = self._access(action, name)
        if access is None:
            return None
        try:
            self._parts.anomaly.judge(access)
        except AccessDeniedError as error:
            self.refused(action, name, error)
            raise
        return access

    def refused(self, action: Action, key: str, error: StrongroomError) -> None:
        """Record that an access was refused.

        Args:
            action: What was asked for.
            key: The canonical name, or a printable form of what is none.
            error: Why.
        """
        rule = getattr(error, "rule", None)
        event = self._refusal or _EVENTS.get(action, action.value)
        self._parts.audit.record(self.event(event, key=key, result=error.code, rule=rule, backend=error.backend))

    @contextmanager
    def recording_refusal(self, action: Action, name: SecretName) -> Iterator[None]:
        """Record whatever refuses an access inside the ``with`` block.

        Args:
            action: What was asked for.
            name: The canonical name.
        """
        try:
            yield
        except StrongroomError as error:
            error.name = error.name or name
            self.refused(action, name, error)
            raise

    @contextmanager
    def recording_look(self, event: str, key: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Record a look at metadata, whether it succeeds or fails.

        Args:
            event: What the event is called.
            key: The canonical name, or a folder.
            **fields: What is known of it already; the ``with`` block may add to what it is given.
        """
        audit, clock = self._parts.audit, self._parts.clock
        started = clock()
        facts: dict[str, Any] = {"key": key, **fields}
        try:
            yield facts
        except StrongroomError as error:
            audit.record(self.event(event, result=error.code, **facts))
            raise
        audit.record(self.event(event, duration=clock() - started, **facts))

    def event(self, event: str, **fields: Any) -> AuditEvent:
        """Make an event of this principal's; see :meth:`AuditStage.event`."""
        return self._parts.audit.event(event, principal=self.principal, base=self.root, **fields)


def _earlier(one: float | None, other: float | None) -> float | None:
    return min(one, other) if one is not None and other is not None else one if other is None else other


def printable(spelling: object) -> str:
    """Return a refused name as ASCII: it may hold what breaks a line, a terminal or an encoder."""
    if not isinstance(spelling, str):
        return f"<{type(spelling).__name__}>"
    return spelling[:512].encode("unicode_escape").decode("ascii")[:512]
