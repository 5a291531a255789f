"""Standard input and output as the way to the client.

While it is open, whatever else reads standard input finds nothing there, and whatever else writes to standard output
writes to standard error: only the protocol may stand there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

from collections.abc import AsyncIterator, Iterator
from typing import Final

import anyio
import mcp_types as types

from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage

LONGEST_LINE: Final = 4 * 2**20
"""How many bytes a message may have; a longer one ends the session."""
_CHUNK: Final = 65536

Reading = MemoryObjectReceiveStream[SessionMessage | Exception]
Writing = MemoryObjectSendStream[SessionMessage]


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[tuple[Reading, Writing]]:
    """Take standard input and output over, and yield the streams of messages; the block ends with the client."""
    with _taken(0, os.O_RDONLY) as source, _taken(1, os.O_WRONLY) as target:
        incoming, reading = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        writing, outgoing = anyio.create_memory_object_stream[SessionMessage](0)
        loop = asyncio.get_running_loop()
        # A thread that keeps nothing from ending: a read of standard input cannot be called off.
        threading.Thread(target=_read, args=(source, incoming, loop), name="strongroom-mcp-input", daemon=True).start()
        async with anyio.create_task_group() as group:
            group.start_soon(_write, target, outgoing, group.cancel_scope)
            yield reading, writing
            group.cancel_scope.cancel()


@contextlib.contextmanager
def _taken(number: int, mode: int) -> Iterator[int]:
    own = os.dup(number)
    other = os.open(os.devnull, mode) if number == 0 else os.dup(2)
    os.dup2(other, number)
    os.close(other)
    try:
        yield own
    finally:
        os.dup2(own, number)
        if number:  # the thread may be reading still
            os.close(own)


def _read(
    source: int, incoming: MemoryObjectSendStream[SessionMessage | Exception], loop: asyncio.AbstractEventLoop
) -> None:
    pending = b""
    # The loop is closed, or the session has ended: nobody reads any more.
    with contextlib.suppress(RuntimeError, anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
        while (chunk := os.read(source, _CHUNK)) and len(pending) < LONGEST_LINE:
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                asyncio.run_coroutine_threadsafe(incoming.send(_parsed(line)), loop).result()
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(incoming.close)


def _parsed(line: bytes) -> SessionMessage | Exception:
    try:
        text = line.decode("utf-8", "replace")
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(text, by_name=False))
    except ValueError as error:
        return error


async def _write(target: int, outgoing: MemoryObjectReceiveStream[SessionMessage], session: anyio.CancelScope) -> None:
    # A thread of its own: backends that hang may have taken all others.
    limiter = anyio.CapacityLimiter(1)
    async with outgoing:
        async for one in outgoing:
            line = one.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
            try:
                await anyio.to_thread.run_sync(_write_all, target, line, abandon_on_cancel=True, limiter=limiter)
            except BrokenPipeError:
                # The client is gone.
                session.cancel()


def _write_all(target: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(target, rest) :]
