"""Approval: a person, or a program of the operator's, says yes to one call before anything is read for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import tempfile

from asyncio.subprocess import DEVNULL
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import mcp_types as types

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError

from strongroom.contracts import Record
from strongroom_mcp.declared import used
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.log import LOG
from strongroom_mcp.parameters import Value
from strongroom_mcp.programs import PATH, why
from strongroom_mcp.settings import ActionSettings, McpSettings
from strongroom_mcp.targets import address, arguments, body

Context = ServerRequestContext[Any, Any]

KEY: Final = "approval"
"""What the question is called among those that a client is asked."""
_MOST_KEPT: Final = 64
"""Before so many of the latest questions, those whose time is up are forgotten: an answer to one counts as made up."""
_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Run it", "description": "Yes, run exactly this once."}},
    "required": ["approve"],
}
_DESKTOP: Final = ("HOME", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""Variables that a program needs in order to ask a person on a screen."""


class Question(Record):
    """One call that is to be approved."""

    action: str
    principal: str
    values: dict[str, Value]
    target: str
    """The program with its arguments, or the address with its body, as JSON: exactly what will be used."""
    secrets: tuple[str, ...]
    """References to what will be filled in."""
    description: str

    @classmethod
    def of(cls, name: str, principal: str, settings: ActionSettings, values: Mapping[str, Value]) -> Question:
        """Return the question whether an action may run.

        Args:
            name: The action's name.
            principal: As whom it reads secrets.
            settings: The action.
            values: The parameters.

        Raises:
            RefusedError: The parameters cannot be used.
        """
        if settings.command:
            target = json.dumps(arguments(settings, values))
        else:
            sent = body(settings, values, str)
            target = json.dumps([settings.method, address(settings, values), *([sent.decode()] if sent else [])])
        return cls(
            action=name,
            principal=principal,
            values=dict(values),
            target=target,
            secrets=tuple(str(one) for one in used(settings)),
            description=settings.description,
        )

    def text(self) -> str:
        """Return it for a person. All that the model has chosen is escaped, so that it is read as it is."""
        lines = [f"May the model run {self.action}, once? {self.description}", f"runs: {self.target}"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in self.values.items()]
        return "\n".join([*lines, f"secrets: {', '.join(self.secrets) or 'none'}"])

    def document(self) -> str:
        """Return it as JSON, for a program and for comparison."""
        return json.dumps(
            {
                "action": self.action,
                "principal": self.principal,
                "parameters": self.values,
                "target": json.loads(self.target),
                "secrets": list(self.secrets),
                "text": self.text(),
            }
        )


class _Open(Record):
    """A question that a client was given, and has not answered in a way that counts."""

    action: str
    document: str
    until: float
    answered: bool = False
    """Whether a call has come with what stands for it, which need not have got as far as its answer."""


class Approver:
    """Has calls approved.

    Args:
        settings: Which program approves, and how long an approval may take.
        clock: Monotonic seconds.
    """

    def __init__(self, settings: McpSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._open: dict[str, _Open] = {}

    async def by_program(self, question: Question) -> None:
        """Have the operator's program approve a call.

        Raises:
            RefusedError: It does not, or not in time.
        """
        with anyio.move_on_after(self._settings.approval_timeout):
            if await _ask_program(self._settings.approve, question.document()):
                return
            raise _denied()
        raise _denied("approval_timeout")

    async def by_person(self, question: Question, context: Context) -> types.InputRequiredResult | None:
        """Have the person at the client approve a call.

        Returns:
            ``None`` if it is approved; for clients of the protocol of 2026 the question, which they answer by calling
            again.

        Raises:
            RefusedError: It is not approved, not in time, the client can ask nobody, or was given as many questions
                about this action as may run of it at a time.
        """
        capability = context.session.client_capabilities
        asks = capability.elicitation if capability is not None else None
        if asks is None or (asks.form is None and asks.url is not None):
            raise RefusedError(
                "the action needs a person's approval, and this client cannot ask anybody", result="cannot_ask"
            )
        if not context.session.can_send_request:
            return self._put(question)
        answer = None
        with anyio.move_on_after(self._settings.approval_timeout) as limit, contextlib.suppress(MCPError, ValueError):
            answer = await context.session.elicit_form(question.text(), _FORM, context.request_id)
        if limit.cancelled_caught:
            raise _denied("approval_timeout")
        _check(answer)
        return None

    def take_first_answer(self, state: str | None) -> bool:
        """Take note of an answer, and return whether it is the first one to a question that a client was given.

        Args:
            state: What the client was given with the question.
        """
        asked = self._open.get(state) if state is not None else None
        if state is None or asked is None or asked.answered:
            return False
        self._open[state] = _Open(action=asked.action, document=asked.document, until=asked.until, answered=True)
        return True

    def redeem(self, state: str, question: Question, answers: Mapping[str, Any] | None) -> None:
        """Take the answer to a question that a client was given; it counts once, and for that call only.

        Args:
            state: What the client was given with the question.
            question: What is called now.
            answers: The client's answers.

        Raises:
            RefusedError: It is not approved, or something else is called than was asked about.
        """
        asked = self._open.pop(state, None)
        if asked is None or asked.document != question.document():
            raise _denied()
        if self._clock() > asked.until:
            raise _denied("approval_timeout")
        _check((answers or {}).get(KEY))

    def _put(self, question: Question) -> types.InputRequiredResult:
        now = self._clock()
        # Who is given a question holds no place among the calls that run: nobody else would bound how many there are.
        waiting = sum(one.action == question.action and one.until >= now for one in self._open.values())
        if waiting >= self._settings.actions[question.action].concurrency:
            raise RefusedError(
                "as many calls of the action wait for approval as may: try again when one is answered",
                result="too_many_running",
            )
        state = secrets.token_urlsafe(32)
        until = now + self._settings.approval_timeout
        self._open[state] = _Open(action=question.action, document=question.document(), until=until)
        for old in list(self._open)[:-_MOST_KEPT]:
            if self._open[old].until < now:
                del self._open[old]
        form = types.ElicitRequestFormParams(message=question.text(), requested_schema=_FORM)
        return types.InputRequiredResult(input_requests={KEY: types.ElicitRequest(params=form)}, request_state=state)


def _check(answer: object) -> None:
    approved = isinstance(answer, types.ElicitResult) and answer.action == "accept"
    if not approved or (answer.content or {}).get("approve") is not True:  # type: ignore[attr-defined]  # see above
        raise _denied()


def _denied(result: str = "not_approved") -> RefusedError:
    return RefusedError("the call is not approved", result=result)


async def _ask_program(command: tuple[str, ...], document: str) -> bool:
    environment = {"PATH": PATH, "LANG": "C.UTF-8"}
    environment |= {name: os.environ[name] for name in _DESKTOP if name in os.environ}
    # A file that no folder leads to, rather than a pipe: nobody has to wait for who does not read.
    with tempfile.TemporaryFile() as file:
        file.write(document.encode())
        file.seek(0)
        try:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=file, stdout=DEVNULL, stderr=DEVNULL, env=environment, cwd="/", start_new_session=True
            )
        except (OSError, ValueError) as error:
            LOG.error("the program that approves cannot be started: %s", why(error, command[0], "/"))
            raise _denied("cannot_ask") from None
    try:
        await process.wait()
    finally:
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return process.returncode == 0
