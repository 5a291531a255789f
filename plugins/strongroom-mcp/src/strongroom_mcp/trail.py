"""What stands in the trail of each call: what was asked for, who approved it, and how it ended; no parameter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

import anyio

from strongroom import AsyncSecretManager
from strongroom.contracts import Record
from strongroom.errors import AuditError, StrongroomError
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.log import LOG

if TYPE_CHECKING:
    from strongroom import AsyncRecordedAction, SecretManager

APPROVERS: Final = {"none": "none", "ask": "person at the client", "command": "program"}
"""Who approves an action, as the trail has it."""
SECONDS: Final = 10.0
"""How long a call waits for something to be recorded, at most: it may be that the sink never answers."""


class Subject(Record):
    """What a call is about, as the trail has it."""

    action: str
    """The action's name after ``mcp/``: another program's actions may have the same name."""
    principal: str
    approver: str | None = None
    """Who approves it."""

    @property
    def detail(self) -> str | None:
        """What is told of it beside its name."""
        return f"approval: {self.approver}" if self.approver is not None else None


class Trail:
    """Records calls.

    Its threads are its own: backends that hang may have taken all others.

    Args:
        manager: Whose audit trail it is.
        principal: As whom what belongs to no action is recorded.
    """

    def __init__(self, manager: SecretManager, principal: str) -> None:
        self._manager = AsyncSecretManager(manager)
        self._principal = principal

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Have all recorded that is under way when the block ends."""
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await self._manager.aclose()

    @asynccontextmanager
    async def running(self, subject: Subject) -> AsyncIterator[AsyncRecordedAction]:
        """Record that an action runs, before and after it.

        Args:
            subject: The action.

        Yields:
            What can be told how it has ended.

        Raises:
            AuditError: It cannot be recorded: then the block does not begin, or it was done (``applied``).
        """
        recorded = self._manager.as_principal(subject.principal).recorded(subject.action, detail=subject.detail)
        # Not by `async with`, which waits for as long as the sink takes.
        await _in_time(recorded.__aenter__(), applied=False)
        try:
            yield recorded
        except BaseException as error:
            if isinstance(error, RefusedError):
                recorded.note(result=error.result)
            with _logged(subject.action, "how it ended"):
                await _in_time(recorded.__aexit__(type(error), error, error.__traceback__), applied=True)
            raise
        await _in_time(recorded.__aexit__(None, None, None), applied=True)

    async def refused(self, subject: Subject, result: str) -> None:
        """Record that a call is not made. It is not made either if that cannot be recorded.

        Args:
            subject: What was called.
            result: Why it is not made.
        """
        manager = self._manager.as_principal(subject.principal)
        with _logged(subject.action, "that it was refused"):
            # Who cancels the call stops waiting, and does not thereby keep it out of the trail.
            await _in_time(manager.record_refused(subject.action, result, detail=subject.detail), applied=False)

    async def switched(self, stopped: bool) -> None:  # noqa: FBT001  # it is called with it alone
        """Record that the kill switch was used.

        Args:
            stopped: Whether everything is stopped now.
        """
        what = "mcp-stopped" if stopped else "mcp-resumed"
        with _logged(what, "it"):
            async with self._manager.as_principal(self._principal).recorded(what):
                pass


@contextmanager
def _logged(action: str, what: str) -> Iterator[None]:
    """Say in the log, and nowhere else, that something could not be recorded."""
    try:
        yield
    # The second where there can be no thread for it: neither the call's answer nor the session hangs on that.
    except (StrongroomError, RuntimeError) as error:
        LOG.warning("%s: %s could not be recorded: %s", action, what, error)


async def _in_time(recording: Coroutine[Any, Any, object], *, applied: bool) -> None:
    """Wait for something to be recorded, but not for ever.

    Args:
        recording: What records it.
        applied: Whether what it is about is done already.

    Raises:
        AuditError: It is not recorded, or not yet.
    """
    with anyio.move_on_after(SECONDS) as limit:
        await recording
    if limit.cancelled_caught:
        raise AuditError(
            "the audit trail has not answered in time", applied=applied, hint="see `strongroom health` for the sinks"
        )
