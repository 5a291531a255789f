"""What all changes share: gate → checks → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from strongroom.access import Gate
from strongroom.errors import AuditError, ClosedError, StrongroomError
from strongroom.events import SecretUpdated
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.resilience import GuardedBackend
from strongroom.wiring import Parts


class Changer:
    """Changes something in backends as one principal.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may do.
        drop: Forgets every cached copy of a secret.
    """

    def __init__(self, parts: Parts, gate: Gate, drop: Callable[[SecretName], None]) -> None:
        self._parts = parts
        self._gate = gate
        self._drop = drop
        self._clock = parts.clock

    @contextmanager
    def _ready(self, action: Action, name: SecretName) -> Iterator[GuardedBackend]:
        """Open a name's backend; if that or what the ``with`` block does is refused, record it."""
        with self._gate.recording_refusal(action, name):
            yield self._parts.backend(self._parts.route(name))

    @contextmanager
    def _change(self, event: str, name: SecretName, backend: str, **facts: Any) -> Iterator[dict[str, Any]]:
        """Record an attempt, let the change happen, drop the cached copies, record the outcome.

        Args:
            event: What the event is called.
            name: What is changed.
            backend: The configured name of its backend.
            **facts: What is known before; the ``with`` block may add to what it is given for the outcome.
        """
        attempt = self._gate.event(event, key=name, backend=backend, phase="attempt", **facts)
        self._parts.audit.record(attempt, durable=True)
        started = self._clock()
        outcome: dict[str, Any] = dict(facts)
        try:
            try:
                yield outcome
            finally:
                # Even a failed change may have been applied, so no copy from before it is served.
                try:
                    self._drop(name)
                except BaseException:
                    # By a signal's handler, that is. What has been changed is dropped all the same.
                    self._drop(name)
                    raise
        except StrongroomError as error:
            error.name = error.name or name
            with _keeping(error):
                self._record_outcome(event, name, backend, attempt.id, started, facts | {"result": error.code})
            raise
        try:
            self._record_outcome(event, name, backend, attempt.id, started, outcome)
        except (AuditError, ClosedError) as error:
            raise AuditError(
                f"the {event} of {name} was made, but its outcome could not be recorded: {error.what}",
                applied=True,
                name=name,
                hint="`strongroom audit report` lists the open attempt; mend the sink first",
            ) from error

    def _record_outcome(
        self, event: str, name: SecretName, backend: str, id: str, started: float, fields: dict[str, Any]
    ) -> None:
        duration = self._clock() - started
        made = self._gate.event(event, key=name, backend=backend, id=id, duration=duration, **fields)
        self._parts.audit.record(made, durable=True)

    def _notify(self, name: SecretName, change: str, version: str | None) -> tuple[str, ...]:
        return self._parts.subscriptions.notify(SecretUpdated(name=name, change=change, version=version)).failed


@contextmanager
def _keeping(first: StrongroomError) -> Iterator[None]:
    """Let an error that is about to be raised win over a failure to record it."""
    try:
        yield
    except (AuditError, ClosedError) as error:
        first.add_note(f"its outcome could not be recorded either: {error.what}")
