"""HTTP on one connection: uvicorn's protocol with limits on what a peer may send, and how long it may take."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from strongroom_agent.answers import refusal
from strongroom_agent.callers import PEER, Peer
from strongroom_agent.settings import NOBODY
from strongroom_agent.state import AgentState

MOST_HEADERS: Final = 100
MOST_WAITING: Final = 16
"""How many requests may wait on one connection behind the one that is being answered."""
MOST_TOLD: Final = 64
"""How many connections beyond those allowed are told so; further ones are just ended, or they would be the flood."""
_FRAMING: Final = 8
"""So many times a body's own size may arrive for it at most: what frames a piece of one byte has five."""
LINGER_SECONDS: Final = 1.0
LINGER_BYTES: Final = 1 << 20
_GO_ON: Final = b"HTTP/1.1 100 "
_REASONS: Final = {
    400: ("malformed", "this is no request of HTTP/1.1"),
    408: ("too_slow", "the request did not arrive in time"),
    413: ("body_too_large", "the request's body is too large"),
    431: ("header_too_large", "the request's headers are too large"),
    503: ("too_many_connections", "there are too many connections; ask again later"),
    505: ("version", "only HTTP/1.0 and HTTP/1.1 are spoken here"),
}
_PHRASES: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


class _Joining:
    """Sends an answer's head together with the first part of its body: one call of the system instead of two.

    Args:
        transport: The connection's own.
    """

    __slots__ = ("_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head: bytes | None = b""

    def write(self, data: bytes) -> None:
        """Send something, or keep it if it is the head."""
        if self._head == b"" and not data.startswith(_GO_ON):
            self._head = data
        elif self._head:
            self._transport.write(self._head + data)
            self._head = None
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self._transport.write(self._head)
        self._head = None

    def close(self) -> None:
        """Close the connection when everything is sent."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether it is being closed."""
        return self._transport.is_closing()


class _RefusedError(Exception):
    """Stops the parser; why is kept by the protocol."""


class AgentProtocol(HttpToolsProtocol):
    """One connection.

    Deadlines are looked at by one task for all connections, see :meth:`expire`: a timer for each would cost more than
    answering.

    Args:
        state: The agent.
        options: What uvicorn gives.
    """

    def __init__(self, state: AgentState, **options: Any) -> None:
        super().__init__(**options)
        self._state = state
        self._extensions: dict[str, Any] = {}
        self._deadline: float | None = None
        self._write_deadline: float | None = None
        # What has arrived of a request: "" for nothing, then "head", then "body".
        self._within = ""
        self._arrived = 0
        self._fields = 0
        self._status = 400
        self._lingering: int | None = None
        self._running: RequestResponseCycle | None = None
        self._joining: Any = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection, or refuse it if there are too many."""
        super().connection_made(transport)
        peer = _peer(transport)
        if peer is not None:
            self._extensions = {PEER: peer}
        self._allow(self._state.settings.header_timeout)
        beyond = len(self.connections) - self._state.settings.max_connections
        if beyond > MOST_TOLD:
            self._state.tally.refused[_REASONS[503][0]] += 1
            self.transport.abort()
        elif beyond > 0:
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._lingering is not None:
            self._lingering -= len(data)
            if self._lingering < 0:
                self.transport.abort()
            return
        self._arrived += len(data)
        super().data_received(data)
        # Without its end, a header, or what frames a body, is taken by the parser and seen by nobody.
        settings = self._state.settings
        if self._within != "body":
            if self._arrived > settings.max_header_bytes:
                self._refuse(431)
        elif self._arrived > settings.max_header_bytes + _FRAMING * settings.max_request_bytes:
            self._refuse(413)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._within, self._fields, self._status = "head", 0, 400
        self.scope["extensions"] = self._extensions
        if len(self.pipeline) >= MOST_WAITING:
            raise _RefusedError
        self._allow(self._state.settings.header_timeout)

    def on_url(self, url: bytes) -> None:
        """Take a part of the path."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; one that comes behind the body would be taken for one of the request's."""
        if self._within == "body":
            raise self._stopped(400)
        self._count(len(name) + len(value) + 4)
        if len(self.headers) >= MOST_HEADERS:
            raise self._stopped(431)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer, if this is a request as it should be."""
        self._check_head()
        self._within, self._arrived, self._fields = "body", 0, 0
        self._allow(self._state.settings.body_timeout)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._fields += len(body)
        # Those that wait on one connection may have no more together than one of them by itself.
        waiting = sum(len(cycle.body) for cycle, _ in self.pipeline)
        if max(self._fields, waiting + len(body)) > self._state.settings.max_request_bytes:
            raise self._stopped(413)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole request is there: from now on it is we who take time."""
        self._within, self._arrived = "", 0
        self._deadline = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._joining.flush()
        super().on_response_complete()
        self._unset_keepalive_if_required()
        if not self._within and not self.pipeline and self._lingering is None:
            self._allow(self._state.settings.idle_timeout)

    def pause_writing(self) -> None:
        """The peer does not take what it is sent."""
        super().pause_writing()
        self._write_deadline = self.loop.time() + self._state.settings.write_timeout

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._write_deadline = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  # uvicorn's words for it
        """Refuse what is no request; what uvicorn calls."""
        self._refuse(self._status)

    def expire(self, now: float) -> None:
        """End the connection if its time is up.

        Args:
            now: The time on the event loop's clock.
        """
        if self._write_deadline is not None and now > self._write_deadline:
            self._state.tally.refused["write_timeout"] += 1
            self.transport.abort()
        elif self._deadline is not None and now > self._deadline:
            # What is closed, and still has something to send, would otherwise wait for its peer for ever.
            if self._lingering is not None or self.transport.is_closing():
                self.transport.abort()
            elif self._within:
                self._refuse(408)
            else:
                self.transport.close()

    def _allow(self, seconds: float) -> None:
        self._deadline = self.loop.time() + seconds

    def _count(self, number: int) -> None:
        self._fields += number
        if self._fields > self._state.settings.max_header_bytes:
            raise self._stopped(431)

    def _stopped(self, status: int) -> _RefusedError:
        self._status = status
        return _RefusedError()

    def _check_head(self) -> None:
        """Refuse what proxies and servers have been known to understand in different ways."""
        if self.parser.get_http_version() not in {"1.0", "1.1"}:
            raise self._stopped(505)
        # A full address instead of a path, and what would make another protocol of the connection.
        if not self.url.startswith(b"/") or self.parser.should_upgrade():
            raise _RefusedError
        lengths = [value for name, value in self.headers if name == b"content-length"]
        codings = [value for name, value in self.headers if name == b"transfer-encoding"]
        if len(lengths) + len(codings) > 1:
            raise _RefusedError
        # Of HTTP/1.0 it is no part, and nothing is unpacked here.
        if codings and (codings[0].lower() != b"chunked" or self.parser.get_http_version() == "1.0"):
            raise _RefusedError
        if lengths and int(lengths[0]) > self._state.settings.max_request_bytes:
            raise self._stopped(413)

    def _refuse(self, status: int) -> None:
        """Say why, and end the connection; if an answer is under way, only the latter."""
        if self._lingering is not None or self.transport.is_closing():
            return
        code, message = _REASONS[status]
        self._state.tally.refused[code] += 1
        self.pipeline.clear()
        running = self._running
        if running is not None and not running.response_complete:
            # It may be waiting for the rest of a body that went wrong, and its answer would come after this one.
            running.disconnected = True
            running.message_event.set()
            if running.response_started or running is not self.cycle:
                self.transport.close()
                return
        body = refusal(status, code, message).body
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self._linger()

    def _linger(self) -> None:
        """Take and drop what is still on its way: closing at once would keep the peer from reading why."""
        self._lingering = LINGER_BYTES
        self._allow(LINGER_SECONDS)
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._joining = _Joining(self.transport)
        cycle.transport = self._joining
        super()._start_asgi_task(cycle, app)


def _peer(transport: asyncio.Transport) -> Peer | None:
    """Return who is at the other end of a Unix socket; ``None`` for any other connection."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    return Peer(uid=_uid(connection))


def _uid(connection: Any) -> int | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        # struct ucred: process, user and group, as the kernel knew them when the connection was made.
        content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
    except OSError:
        return None
    uid: int = struct.unpack("iII", content)[1]
    # What the kernel says where the peer's user has no number here, as from another user namespace.
    return None if uid in NOBODY else uid
