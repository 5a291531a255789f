"""What all changes share: gate → checks → record the attempt → backend → drop → record the outcome → event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from strongroom.contracts.backend import ReadResult
from strongroom.errors import AuditError, ClosedError, SecretNotFoundError, StrongroomError, VersionConflictError
from strongroom.events.updates import SecretUpdated, Watch
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts

INTERRUPTED: Final = "interrupted"
"""The result of a change that has ended with neither a result nor an error of ours, by Ctrl-C say."""


class Attempt:
    """One change, which is recorded as begun with this, and its outcome, which is recorded once.

    Args:
        parts: The stages of the manager.
        gate: Whose change it is.
        event: What the event is called.
        **facts: What is known before.

    Attributes:
        was_sent: Whether the backend may have received anything.

    Raises:
        AuditError: It cannot be recorded, so it must not begin.
        ClosedError: The manager is closed.
    """

    def __init__(self, parts: Parts, gate: Gate, event: str, **facts: Any) -> None:
        self._parts = parts
        self._gate = gate
        self._event = event
        self._facts = facts
        self.was_sent = True
        begun = gate.event(event, phase="attempt", **facts)
        parts.audit.record(begun, durable=True)
        self._id = begun.id
        self._started = parts.clock()
        # Whoever takes it records the outcome.
        self._left = [None]

    def update(self, **facts: Any) -> None:
        """Note what has become known, for the outcome."""
        self._facts = self._facts | facts

    @property
    def done(self) -> str:
        """What has been done, for errors: ``made``, or ``queued``."""
        return "queued" if self._facts.get("result") == "queued" else "made"

    def end(self, **facts: Any) -> bool:
        """Record the outcome; tell whether that was still to be done.

        Args:
            **facts: What else is known of it.

        Raises:
            AuditError: It cannot be recorded.
            ClosedError: The manager is closed.
        """
        try:
            self._left.pop()
        except IndexError:
            return False
        try:
            duration = self._parts.clock() - self._started
            outcome = {"id": self._id, "duration": duration} | self._facts | facts
            self._parts.audit.record(self._gate.event(self._event, **outcome), durable=True)
        finally:
            self._parts.waiting.pop(self, None)
        return True

    def end_with_manager(self, wake: Callable[[], object]) -> None:
        """Have the outcome recorded when the manager is closed before, since nothing can be recorded after that.

        Args:
            wake: Is called then.

        Raises:
            ClosedError: It is closed already.
        """
        self._parts.waiting[self] = partial(self._close, wake)
        self._parts.ensure_open()

    def _close(self, wake: Callable[[], object]) -> None:
        try:
            self.end(result=ClosedError.codes[0])
        finally:
            wake()


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
            backend = self._parts.backend(self._parts.routing.of(name))
            try:
                yield backend
            except StrongroomError as error:
                self._note_refusal(backend, name, error)
                raise

    def _note_refusal(self, backend: GuardedBackend, name: SecretName, error: BaseException) -> None:
        """Forget all of what the backend has just said to be gone, or to be other than somebody thought."""
        if not isinstance(error, SecretNotFoundError | VersionConflictError):
            return
        if backend.condition is not None and backend.condition.is_out:
            return  # it is the queue that says so
        self._drop_surely(name)
        substitutes = self._parts.continuity.substitutes
        if substitutes is not None:
            substitutes.gone(backend, name)

    @contextmanager
    def _change(self, event: str, name: SecretName, backend: str, **facts: Any) -> Iterator[Attempt]:
        """Record an attempt, let the change happen, drop the cached copies, record the outcome.

        Args:
            event: What the event is called.
            name: What is changed.
            backend: The configured name of its backend.
            **facts: What is known before; the ``with`` block may add to what it is given for the outcome, and says
                there if nothing was sent: then what is cached stays, for reads of the outage.
        """
        attempt = Attempt(self._parts, self._gate, event, key=name, backend=backend, **facts)
        with _own(self._parts.subscriptions.watch, name):
            yield from self._made(attempt, name, backend)
            self._end(attempt, event, name)

    def _made(self, attempt: Attempt, name: SecretName, backend: str) -> Iterator[Attempt]:
        """Let a change happen, and drop the cached copies; if it fails, record that as its outcome."""
        try:
            try:
                yield attempt
            finally:
                # Even a failed change may have been applied, so no copy from before it is served as the present one.
                if attempt.was_sent:
                    self._drop_surely(name)
        except BaseException as error:
            with keeping(error):
                attempt.end(result=_result_of(error, name))
            with keeping(error):
                self._note_refusal(self._parts.backend(backend), name, error)
            raise

    def _drop_surely(self, name: SecretName) -> None:
        try:
            self._drop(name)
        except BaseException:
            # By a signal's handler, that is. What has been changed is dropped all the same.
            self._drop(name)
            raise

    def _renew_copy(self, attempt: Attempt, backend: GuardedBackend, name: SecretName, now: ReadResult | None) -> str:
        """Bring the copy in the fallback store up to date after a change, if one is kept.

        Args:
            attempt: The change, whose outcome says why that failed.
            backend: The secret's backend.
            name: Its name.
            now: What it is now; ``None`` if it is gone, or if nobody has told.

        Returns:
            Why that failed; empty if it did not.
        """
        substitutes = self._parts.continuity.substitutes
        problem = "" if substitutes is None else substitutes.changed(backend, name, now)
        if problem:
            attempt.update(detail=f"its copy in the fallback store is not up to date: {problem}")
        return problem

    def _end(self, attempt: Attempt, event: str, name: SecretName) -> None:
        what = f"the {event} of {name} was {attempt.done}"
        try:
            recorded = attempt.end()
        except (AuditError, ClosedError) as error:
            raise AuditError(
                f"{what}, but its outcome could not be recorded: {error.what}",
                applied=True,
                name=name,
                hint="`strongroom audit report` lists the open attempt; mend the sink first",
            ) from error
        if not recorded:
            raise AuditError(
                f"{what}, but the manager was closed before, and that has been recorded",
                applied=True,
                name=name,
                hint="close it when nothing is under way any more",
            )

    def _notify(self, name: SecretName, change: str, version: str | None) -> tuple[str, ...]:
        return self._parts.notify(SecretUpdated(name=name, change=change, version=version)).failed


@contextmanager
def _own(watch: Watch | None, name: SecretName) -> Iterator[None]:
    """Let nobody take a change of our own for somebody else's."""
    if watch is not None:
        watch.begin_change(name)
    try:
        yield
    finally:
        if watch is not None:
            watch.end_change(name)


def _result_of(error: BaseException, name: SecretName) -> str:
    """Return what the trail says of an error; one of ours is told which secret it is about."""
    if not isinstance(error, StrongroomError):
        return INTERRUPTED
    error.name = error.name or name
    return error.code


@contextmanager
def keeping(first: BaseException) -> Iterator[None]:
    """Let an error that is about to be raised win over a failure to record it.

    Args:
        first: The error; a note of it tells of the failure.
    """
    try:
        yield
    except (AuditError, ClosedError) as error:
        first.add_note(f"its outcome could not be recorded either: {error.what}")
