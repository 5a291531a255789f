"""Actions of a program that stand in the trail: attempt and outcome, or the outcome alone of what was refused."""

from __future__ import annotations

import re

from types import TracebackType
from typing import Final, Self

from strongroom.errors import AuditError, ClosedError, ConfigurationError, StrongroomError
from strongroom.stages.changing import INTERRUPTED, Attempt, keeping
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts

EVENT: Final = "action"
FAILED: Final = "failed"
"""The result of an action that has ended with an exception that is none of ours."""
_ACTION: Final = re.compile(r"[a-z][a-z0-9_./-]{0,99}")
_RESULT: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_DETAIL: Final = 200


class RecordedAction:
    """Something that a program does: a ``with`` block that is recorded; what ``SecretManager.recorded`` returns.

    Args:
        parts: The stages of the manager.
        gate: Whose action it is.
        action: What it is called.
        detail: A fact about it.

    Raises:
        ConfigurationError: The name or the detail is not of the form that it has to be.
    """

    def __init__(self, parts: Parts, gate: Gate, action: str, detail: str | None) -> None:
        self._parts = parts
        self._gate = gate
        self._action = action
        self._detail = _detail(action, detail)
        self._result: str | None = None
        self._is_entered = False

    def __enter__(self) -> Self:
        if self._is_entered:
            raise entered_twice()
        self._gate.ensure_open()
        self._attempt = Attempt(self._parts, self._gate, EVENT, detail=self._detail)
        # Only now: if it could not be recorded it was not done, and may be tried again.
        self._is_entered = True
        return self

    def note(self, *, result: str | None = None, detail: str | None = None) -> None:
        """Say what the outcome will tell.

        Args:
            result: How it has ended, in place of what would be recorded: small letters, digits and ``_``.
            detail: A fact about it, in place of the one of the attempt.

        Raises:
            ConfigurationError: One of them is not of its form.
        """
        if result is not None:
            self._result = _checked_result(result)
        if detail is not None:
            self._detail = _detail(self._action, detail)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with keeping(error):
                self._attempt.end(result=self._result or _result_of(error), detail=self._detail)
            return
        try:
            self._attempt.end(result=self._result or "ok", detail=self._detail)
        except (AuditError, ClosedError) as failure:
            raise AuditError(
                f"the action {self._action} was done, but its outcome could not be recorded: {failure.what}",
                applied=True,
                hint="`strongroom audit report` lists the open attempt; mend the sink first",
            ) from failure


def entered_twice() -> ConfigurationError:
    """Return what is raised where an action would be done again: there is one attempt, and it has one outcome."""
    return ConfigurationError("a recorded action is done once", hint="call `recorded` anew for each time")


def record_refused(parts: Parts, gate: Gate, action: str, result: str, detail: str | None) -> None:
    """Record that something is not done.

    Args:
        parts: The stages of the manager.
        gate: Whose action it would be.
        action: What it is called.
        result: Why it is not done.
        detail: A fact about it.

    Raises:
        ConfigurationError: One of the texts is not of its form.
        AuditError: It cannot be recorded.
        ClosedError: The manager is closed.
    """
    gate.ensure_open()
    told = _detail(action, detail)
    if _checked_result(result) == "ok":
        raise ConfigurationError("what is refused is not ok", hint="say why it is refused")
    parts.audit.record(gate.event(EVENT, result=result, detail=told), durable=True)


def _detail(action: str, detail: str | None) -> str:
    """Return what the trail says of an action: its name first."""
    if not isinstance(action, str) or not _ACTION.fullmatch(action):
        raise ConfigurationError(
            "an action's name is a small letter, and up to 99 small letters, digits, and _ . / -",
            hint="call it by a name of its own, which nobody else has chosen",
        )
    if detail is None:
        return action
    if not isinstance(detail, str) or len(detail) > _MOST_DETAIL or not detail.isprintable():
        raise ConfigurationError(
            f"the detail of an action is one printable line of at most {_MOST_DETAIL} characters",
            hint="say what was done, and nothing that was read or sent",
        )
    return f"{action}: {detail}"


def _checked_result(result: str) -> str:
    if not isinstance(result, str) or not _RESULT.fullmatch(result):
        raise ConfigurationError(
            "an action's result is a small letter, and up to 39 small letters, digits and _",
            hint="such as not_approved",
        )
    return result


def _result_of(error: BaseException) -> str:
    if isinstance(error, StrongroomError):
        return error.code
    return FAILED if isinstance(error, Exception) else INTERRUPTED
