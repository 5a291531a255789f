"""A TCP proxy on loopback that does to connections what a bad network does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading

from collections.abc import Coroutine
from typing import Self

PIECE = 4096
SMALL_PIECE = 64
_ABORT = struct.pack("ii", 1, 0)
"""No lingering: closing sends a reset."""


class FaultProxy:
    """Passes bytes on to a port of this machine, for better or worse.

    What is set on it holds for connections that are open and for those to come, until :meth:`heal`.

    Args:
        upstream: The port.
        port: Its own port; one that the system chooses unless given.

    Attributes:
        port: Its own port.
        reset: New connections are answered with a reset, and so is the next byte of an open one.
        blackhole: Nothing is passed on, and nothing is closed.
        latency: How many seconds each piece is held back, in both directions.
        bandwidth: How many bytes a second come back from the server at most.
        cut_after: How many bytes of a connection come back from the server before it is closed.
        answer: What each new connection is answered with as soon as it has sent something; then it is closed.
        accepted: How many connections have come in so far.
    """

    def __init__(self, upstream: int, port: int = 0) -> None:
        self.port = port
        self.accepted = 0
        self.heal()
        self._upstream = upstream
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._thread.start()
        self._server: asyncio.Server | None = None
        self.listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def heal(self) -> None:
        """Pass everything on again."""
        self.reset = False
        self.blackhole = False
        self.latency = 0.0
        self.bandwidth: float | None = None
        self.cut_after: int | None = None
        self.answer: bytes | None = None

    def listen(self) -> None:
        """Take connections; it does so from the start."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Refuse connections until :meth:`listen`, and reset each that is open: a machine on which nothing runs."""
        self._run(self._refuse())

    def drop_live(self) -> None:
        """Reset each connection that is open."""
        self._loop.call_soon_threadsafe(self._drop)

    def close(self) -> None:
        """Close the port and each connection."""
        self._run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._drop()

    def _drop(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def _stop(self) -> None:
        await self._refuse()
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._writers.add(writer)
        server: asyncio.StreamWriter | None = None
        try:
            if self.reset:
                _abort(writer)
                return
            if self.answer is not None:
                await reader.read(PIECE)
                writer.write(self.answer)
                await writer.drain()
                return
            back, server = await asyncio.open_connection("127.0.0.1", self._upstream)
            await self._both_ways(reader, server, back, writer)
        except OSError:
            _abort(writer)
        except asyncio.CancelledError:
            pass  # the proxy is being closed
        finally:
            self._writers.discard(writer)
            for each in (writer, server):
                if each is not None:
                    each.close()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        server: asyncio.StreamWriter,
        back: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Pass on in both directions until one of them ends; the other one then ends, too."""
        ways = {
            asyncio.ensure_future(self._pass_on(reader, server)),
            asyncio.ensure_future(self._pass_on(back, writer, from_server=True)),
        }
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in done:
                way.result()
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, from_server: bool = False
    ) -> None:
        passed = 0
        while data := await reader.read(SMALL_PIECE if self.bandwidth else PIECE):
            while self.blackhole:
                await asyncio.sleep(0.02)
            if self.reset:
                raise ConnectionResetError
            await asyncio.sleep(self.latency)
            if from_server and self.bandwidth:
                await asyncio.sleep(len(data) / self.bandwidth)
            rest = None if self.cut_after is None or not from_server else max(self.cut_after - passed, 0)
            writer.write(data[:rest])
            await writer.drain()
            passed += len(data)
            if rest is not None and rest <= len(data):
                return


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close a connection with a reset."""
    with contextlib.suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    writer.transport.abort()
