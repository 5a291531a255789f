"""The rotator: one run of the program for each step."""

from __future__ import annotations

import os
import secrets

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Rotator,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import (
    BackendUnavailableError,
    CandidateRefusedError,
    RotationError,
    StrongroomError,
    UndoRefusedError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.pacing import time_left
from strongroom_rotate_command.pipes import MOST_BYTES, Catch, Feed
from strongroom_rotate_command.running import Order, run
from strongroom_rotate_command.settings import CommandSettings

REFUSED: Final = 10
UNAVAILABLE: Final = 75
"""``EX_TEMPFAIL`` of sysexits.h."""
_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

_MARGIN: Final = 0.2
"""Seconds by which a program is ended before nobody waits for it any more."""


class CommandRotator(Rotator):
    """Has a program do each step. It keeps nothing open between them, so threads and forks are no matter.

    Args:
        settings: What to run, and how.
    """

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Have the program make a candidate, of the current value's type, or make a password.

        Raises:
            ConfigurationError: The program cannot be run.
            BackendUnavailableError: It did not end in time, or says that it cannot do it now.
            RotationError: It failed, or has made nothing that can be used.
        """
        if self._settings.generate == "password":
            settings = self._settings
            return GenerateResult(
                value=SecretValue("".join(secrets.choice(settings.alphabet) for _ in range(settings.length)))
            )
        catch = Catch()
        told = {"ATTEMPT": str(request.attempt)}
        self._run("generate", request, {"CURRENT": request.current}, catch=catch, told=told)
        problem = "nothing" if len(catch) == 0 else "too large a value" if len(catch) > MOST_BYTES else ""
        made = catch.value(request.current.type)
        if made is None:
            problem = problem or "no text in UTF-8, as the current value is"
        if made is None or problem:
            raise _failed("generate", request.name, f"has made {problem}")
        return GenerateResult(value=made)

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Have the program make the dependent take the candidate.

        Raises:
            CandidateRefusedError: The program says that the dependent refuses it.
            ConfigurationError: The program cannot be run.
            BackendUnavailableError: It did not end in time, or says that it cannot do it now.
            RotationError: It failed, or ``confirm`` says so.
        """
        values = {"CANDIDATE": request.candidate, "CURRENT": request.current}
        self._run("apply", request, values, confirm=request.confirm)
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """Have the program try the candidate.

        Raises:
            CandidateRefusedError: The program says that the dependent does not accept it.
            ConfigurationError: The program cannot be run.
            BackendUnavailableError: It did not end in time, or says that it cannot do it now.
            RotationError: It failed.
        """
        self._run("verify", request, {"CANDIDATE": request.candidate})
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Have the program take the former value from the dependent.

        Raises:
            ConfigurationError: The program cannot be run.
            BackendUnavailableError: It did not end in time, or says that it cannot do it now.
            RotationError: It failed, or ``confirm`` says so.
        """
        values = {"CURRENT": request.current, "FORMER": request.former}
        self._run("finish", request, values, confirm=request.confirm)
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Have the program bring the dependent back to the current value.

        Raises:
            UndoRefusedError: The candidate is promoted, and the program says that the dependent cannot be brought back.
            ConfigurationError: The program cannot be run.
            BackendUnavailableError: It did not end in time, or says that it cannot do it now.
            RotationError: It failed, or ``confirm`` says so.
        """
        values = {"CANDIDATE": request.candidate, "CURRENT": request.current}
        self._run("undo", request, values, confirm=request.confirm, told={"PROMOTED": "1"} if request.promoted else {})
        return UndoResult()

    def _run(
        self,
        step: str,
        request: Any,
        values: dict[str, SecretValue],
        *,
        confirm: Callable[[], None] = lambda: None,
        catch: Catch | None = None,
        told: Mapping[str, str] = _NOTHING,
    ) -> None:
        """Run the program for a step, and raise what its exit status says."""
        pipes: dict[str, Feed | Catch] = {} if catch is None else {"OUTPUT": catch}
        try:
            others = self._settings.secrets.items()
            further = {f"SECRET_{key.upper()}": request.read_secret(name) for key, name in others}
            for what, value in (values | further).items():
                pipes[what] = Feed(value)
            environment = self._environment(step, request.name, told, pipes)
            status = run(self._order(step, environment, pipes.values()), confirm)
        except StrongroomError as error:
            error.name = error.name or request.name
            raise
        finally:
            for pipe in pipes.values():
                pipe.close()
        if status == REFUSED and "PROMOTED" in told:
            raise _not_undone(request.name)
        _judge(status, step, request.name)

    def _order(self, step: str, environment: dict[str, str], pipes: Iterable[Feed | Catch]) -> Order:
        left = time_left()
        seconds = self._settings.timeout if left is None else min(left - _MARGIN, self._settings.timeout)
        if seconds <= 0:
            raise BackendUnavailableError(
                f"there is no time left to run {self._settings.command[0]}", hint="make the rule's `limit` longer"
            )
        return Order(
            command=(*self._settings.command, step),
            environment=environment,
            pipes=tuple(pipes),
            seconds=seconds,
            show_output=self._settings.show_output,
        )

    def _environment(
        self, step: str, name: SecretName, told: Mapping[str, str], pipes: dict[str, Feed | Catch]
    ) -> dict[str, str]:
        wanted = (*_INHERITED, *self._settings.environment)
        facts = {"NAME": str(name), "STEP": step, **told}
        ends = {f"STRONGROOM_{what}_FD": str(pipe.given) for what, pipe in pipes.items()}
        return (
            {key: os.environ[key] for key in wanted if key in os.environ}
            | {f"STRONGROOM_ROTATION_{key}": fact for key, fact in facts.items()}
            | ends
        )


def _not_undone(name: SecretName) -> UndoRefusedError:
    return UndoRefusedError(
        f"the rotator's program says that the former value of {name} is of no use any more",
        name=name,
        hint=f"`strongroom rotate {name} --resume` leads its rotation to the end",
    )


def _judge(status: int, step: str, name: SecretName) -> None:
    """Raise what an exit status says, unless it says that all is well.

    Raises:
        CandidateRefusedError: The dependent refuses the candidate.
        BackendUnavailableError: It cannot be done now.
        RotationError: Anything else.
    """
    if status == 0:
        return
    if status == REFUSED and step in {"apply", "verify"}:
        raise CandidateRefusedError(f"the rotator's program refuses the candidate for {name} in {step}", name=name)
    if status == UNAVAILABLE:
        raise BackendUnavailableError(
            f"the rotator's program cannot {step} {name} now: it ended with status {UNAVAILABLE}", name=name
        )
    raise _failed(step, name, f"was ended by signal {-status}" if status < 0 else f"ended with status {status}")


def _failed(step: str, name: SecretName, what: str) -> RotationError:
    showing = "show_output = true in the [rotation] table shows what it prints, if it prints no values"
    begun = step != "generate"
    error = RotationError(
        f"the rotator's program {what} in {step} of {name}",
        code="rotation_incomplete" if begun else "rotation_failed",
        name=name,
        hint=f"`strongroom rotate --resume` or `--undo` goes on from there; {showing}" if begun else showing,
    )
    error.step = step
    return error
