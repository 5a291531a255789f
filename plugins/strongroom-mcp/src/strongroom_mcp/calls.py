"""One call of a tool, from the arguments to the answer."""

from __future__ import annotations

import json
import time

from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread
import mcp_types as types

from strongroom.contracts import Record
from strongroom.errors import AccessDeniedError, AuditError, StrongroomError, SuspiciousActivityError
from strongroom.masking import Masker
from strongroom_mcp import outputs, programs, requests
from strongroom_mcp.approving import Approver, Context, Question
from strongroom_mcp.collecting import harmless
from strongroom_mcp.declared import LIST, principal_of, used
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.held import Held
from strongroom_mcp.limits import Limits
from strongroom_mcp.log import LOG
from strongroom_mcp.parameters import Value, accept
from strongroom_mcp.settings import ActionSettings, McpSettings
from strongroom_mcp.switch import Switch
from strongroom_mcp.trail import APPROVERS, Subject, Trail

MOST_JSON: Final = 2**20
"""How many bytes of JSON are taken in where the form of the output is declared."""
_LISTINGS: Final = 30
"""How often names may be listed in a minute: each time, backends are asked."""
_UNKNOWN: Final = 30
"""How often a tool that is not declared may be called in a minute: each time is recorded."""

Answer = types.CallToolResult | types.InputRequiredResult
Work = Callable[[], Awaitable[types.CallToolResult]]
Result = TypeVar("Result")


class Action(Record):
    """One declared action with what it needs to run."""

    name: str
    principal: str
    settings: ActionSettings
    limits: Limits

    @property
    def subject(self) -> Subject:
        """What the trail calls it."""
        approver = APPROVERS[self.settings.approval]
        return Subject(action=f"mcp/{self.name}", principal=self.principal, approver=approver)


class Calls:
    """Runs what a model calls.

    Args:
        settings: The server's settings.
        held: Reads secrets, and masks them.
        trail: Records each call.
        switch: Stops everything.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        settings: McpSettings,
        held: Held,
        trail: Trail,
        switch: Switch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.actions = {
            name: Action(
                name=name,
                principal=principal_of(settings, name),
                settings=one,
                limits=Limits(one.calls_per_minute, one.concurrency, clock),
            )
            for name, one in settings.actions.items()
        }
        self._held = held
        self._trail = trail
        self._switch = switch
        self._approver = Approver(settings, clock)
        self._listing = Limits(_LISTINGS, 1, clock)
        self._unknown = Limits(_UNKNOWN, 1, clock)
        self._list_subject = Subject(action=f"mcp/{LIST}", principal=settings.principal)
        self._unknown_subject = Subject(action="mcp-unknown", principal=settings.principal)
        self._running: set[anyio.CancelScope] = set()

    def end(self) -> None:
        """End all calls that are under way."""
        for scope in list(self._running):
            scope.cancel()

    async def call(self, context: Context, params: types.CallToolRequestParams) -> Answer:
        """Answer a call; whatever goes wrong is told in words that hold no value."""
        name = params.name if params.name in self.actions or params.name == LIST else "an unknown tool"
        try:
            return await self._answer(context, params)
        except RefusedError as error:
            LOG.info("%s: %s", name, error)
            return _refused(self._held.masker.mask_text(str(error)))
        except StrongroomError as error:
            # The operator reads why; the model only what kind of failure it is.
            LOG.warning("%s: %s", name, self._held.masker.mask_text(str(error)))
            return _refused(_failure(error))
        # The border to the client: what a library raises may hold a request, and so a value.
        except Exception as error:  # noqa: BLE001  # see above
            LOG.error("%s: %s", name, type(error).__name__)
            return _refused("the action failed inside the server")

    async def _answer(self, context: Context, params: types.CallToolRequestParams) -> Answer:
        action = self.actions.get(params.name)
        subject = self._list_subject if params.name == LIST else self._unknown_subject
        subject = subject if action is None else action.subject
        with ExitStack() as place:
            try:
                work = await self._until_stopped(partial(self._admit, action, context, params, place))
            except RefusedError as error:
                if error.recorded:
                    await self._trail.refused(subject, error.result)
                raise
            except anyio.get_cancelled_exc_class():
                await self._trail.refused(subject, "interrupted")
                raise
            except Exception:
                # A fault of ours stands in the trail, too.
                await self._trail.refused(subject, "failed")
                raise
            if isinstance(work, types.InputRequiredResult):
                await self._trail.refused(subject, "asked")
                return work
            async with self._trail.running(subject) as recorded:
                answer = await self._until_stopped(work)
                if answer.is_error:
                    recorded.note(result="failed")
            return answer

    async def _until_stopped(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Do something that the kill switch ends."""
        scope = anyio.CancelScope()
        self._running.add(scope)
        try:
            with scope:
                return await work()
            raise _stopped()
        finally:
            self._running.discard(scope)

    async def _admit(
        self, action: Action | None, context: Context, params: types.CallToolRequestParams, place: ExitStack
    ) -> types.InputRequiredResult | Work:
        """Return what is to be done for a call, or the question that is to be answered before.

        Each call counts before anything else, so that calls which come to nothing are not without end either.

        Args:
            action: What is called, if it is declared.
            context: The client.
            params: The call.
            place: Keeps one of the places among those that run at a time, which a call needs to be approved, too:
                nobody is to be asked so often that yes becomes a habit. It is given up with a question that the client
                answers by calling again; the approver counts those.

        Raises:
            RefusedError: Nothing is to be done.
        """
        if action is None:
            (self._listing if params.name == LIST else self._unknown).count()
            self._check_switch()
            if params.name != LIST:
                raise RefusedError("there is no tool of that name", result="unknown_action")
            accept({}, params.arguments)
            return self._list
        asks = action.settings.approval
        # An answer that cannot be used, and is given again, counts as any call.
        is_answer = asks == "ask" and self._approver.take_first_answer(params.request_state)
        if not is_answer:
            action.limits.count()
        self._check_switch()
        values = accept(action.settings.parameters, params.arguments)
        question = Question.of(action.name, action.principal, action.settings, values)
        place.enter_context(action.limits.running())
        asked = await self._approve(asks, question, context, params)
        return partial(self._perform, action, values) if asked is None else asked

    async def _approve(
        self, asks: str, question: Question, context: Context, params: types.CallToolRequestParams
    ) -> types.InputRequiredResult | None:
        if asks == "none":
            return None
        if asks == "command":
            await self._approver.by_program(question)
        elif params.request_state is not None:
            self._approver.redeem(params.request_state, question, params.input_responses)
        elif (asked := await self._approver.by_person(question, context)) is not None:
            return asked
        LOG.info("%s: approved", question.action)
        return None

    async def _perform(self, action: Action, values: Mapping[str, Value]) -> types.CallToolResult:
        settings = action.settings
        # An approval may have taken its time.
        self._check_switch()
        with anyio.move_on_after(settings.timeout):
            filling = await anyio.to_thread.run_sync(
                self._held.read, action.principal, used(settings), abandon_on_cancel=True
            )
            self._check_switch()
            limit = MOST_JSON if settings.output else settings.max_output
            perform = programs.run if settings.command else requests.call
            masker = self._held.masker
            finished = await perform(settings, values, filling, masker, limit)
            if finished.is_cut and self._held.masker is not masker:
                # It may be cut within a value that another call has used first meanwhile, which no masker finds.
                raise RefusedError("the action was done; its output was cut, and was dropped", result="unusable_answer")
            LOG.info("%s: %s", action.name, finished.said)
            return self._result(settings, finished)
        # What it had said by then may end within a value, and is dropped.
        raise RefusedError(
            "the action took too long, and was ended; what it had done by then is done", result="took_too_long"
        )

    def _result(self, settings: ActionSettings, finished: programs.Finished) -> types.CallToolResult:
        if not settings.output:
            parts = [finished.said, finished.output]
            parts += [f"standard error:\n{finished.error}"] if finished.error else []
            # Once more as a whole: other calls may have used other secrets meanwhile.
            text = self._held.masker.mask_text("\n".join(part for part in parts if part))
            return _told(text, is_error=not finished.ok)
        if not finished.ok:
            raise RefusedError(f"the action failed: {finished.said}", result="failed")
        picked = outputs.pick(settings.output, finished.output)
        # Before each text is looked through, as nothing else goes on meanwhile; and after it, as a mask may be longer.
        _checked(picked, settings)
        shown = _shown(picked, self._held.masker)
        return _told(_checked(shown, settings), structured=shown)

    async def _list(self) -> types.CallToolResult:
        found = {}
        for name, action in self.actions.items():
            wanted = used(action.settings)
            found[name] = await anyio.to_thread.run_sync(
                self._held.listed, action.principal, wanted, abandon_on_cancel=True
            )
        return _told(_compact({"secrets": found}), structured={"secrets": found})

    def _check_switch(self) -> None:
        if self._switch.stopped:
            raise _stopped()


def _stopped() -> RefusedError:
    return RefusedError("everything is stopped by the operator: do not try again", result="stopped")


def _failure(error: StrongroomError) -> str:
    if isinstance(error, SuspiciousActivityError):
        return "the action was stopped: a detector finds the access suspicious. Do not try again"
    if isinstance(error, AccessDeniedError):
        return "the action was stopped: a secret that it needs is not for this assistant"
    if isinstance(error, AuditError):
        done = "was done, but its end could not be recorded" if error.applied else "was stopped: it cannot be recorded"
        return f"the action {done}"
    return f"the action was stopped: a secret that it needs cannot be read ({error.code})"


def _shown(content: Any, masker: Masker) -> Any:
    """Return what JSON holds without values. What was masked before it was read may have been written otherwise."""
    if isinstance(content, dict):
        return {key: _shown(value, masker) for key, value in content.items()}
    if isinstance(content, list):
        return [_shown(value, masker) for value in content]
    if isinstance(content, str):
        return masker.mask_text(harmless(masker.mask_text(content)))
    if masker.finds(json.dumps(content)):
        raise RefusedError(
            "the answer has a number in it that would have to be masked, and was dropped", result="unusable_answer"
        )
    return content


def _checked(content: Any, settings: ActionSettings) -> str:
    """Return JSON as it is told, if it is not too much."""
    text = _compact(content)
    if len(text.encode(errors="surrogatepass")) > settings.max_output:
        raise RefusedError("the answer is larger than max_output, and was dropped", result="unusable_answer")
    return text


def _compact(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _told(text: str, *, structured: Any = None, is_error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content=structured, is_error=is_error
    )


def _refused(text: str) -> types.CallToolResult:
    return _told(text, is_error=True)
