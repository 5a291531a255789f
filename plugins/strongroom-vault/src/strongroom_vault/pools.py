"""Connections: urllib3's pools, with one deadline for all that a request takes, and without locks to inherit."""

from __future__ import annotations

import collections
import contextlib
import http.client
import io
import queue
import socket
import ssl
import struct
import sys
import time

from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # not typed

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, make_headers
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from strongroom_vault.lookups import looked_up
from strongroom_vault.target import Target
from strongroom_vault.tls import Contexts

_LOST: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""What OpenSSL says when the other side goes away: no word on whether it can be trusted."""

_SOCKET_OPTIONS: Final = [
    *HTTPConnection.default_socket_options,
    # An idle connection that a firewall has forgotten is found before the next request hangs on it.
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), 30)
        for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL")
        if hasattr(socket, name)
    ),
]


def lost(error: BaseException) -> bool:
    """Tell whether an error of TLS only means that the connection has gone."""
    return isinstance(error, _LOST)


class _Timely(socket.socket):
    """A socket whose time limit the kernel keeps.

    Python's own way is to wait before each call until there is something to do, and lets another thread run
    for each of the two: with several of them at work that costs a fifth of all they get done. What is lost
    is this: a signal that comes again and again, more often than the limit, has it begin anew each time.
    """

    _limit: float | None = None

    def settimeout(self, value: float | None) -> None:
        """Set the limit in seconds for each single call; up to 50 ms more are left as they are."""
        kept = self._limit
        if value is None or kept is None or not value <= kept <= value + 0.05:
            whole, part = divmod(max(value, 0.001), 1) if value is not None else (0.0, 0.0)
            limit = struct.pack("ll", int(min(whole, _LONGEST)), int(part * 1e6))
            self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            self._limit = value

    def gettimeout(self) -> float | None:
        """Return that limit."""
        return self._limit

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send it all, as sockets do."""
        try:
            super().sendall(data, flags)
            return
        except BlockingIOError:
            pass
        # Outside the handler: the error within all others is taken for what has happened.
        raise TimeoutError("sending took too long")


_LONGEST: Final = 10.0**9
# The kernel takes two C longs where those are as wide as its times, and Windows takes something else. Sockets
# that another library has put in the place of Python's, such as gevent's, never wait in the kernel.
_BY_KERNEL: Final = (
    sys.platform != "win32" and struct.calcsize("l") == 8 and socket.socket.__module__ == socket.__name__
)


class _Timed(io.RawIOBase):
    """What comes in on a socket, until the deadline that the socket's timeout meant when the answer began."""

    def __init__(self, connected: Any) -> None:
        self._socket = connected
        self._raw = connected.makefile("rb", buffering=0)
        self._end: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        # Most answers come in one piece: only then is there nothing to compute but this.
        if self._end is None:
            timeout = self._socket.gettimeout()
            self._end = time.monotonic() + (timeout if timeout is not None else 3600.0)
        else:
            left = self._end - time.monotonic()
            if left <= 0.0:
                raise TimeoutError("the answer came too slowly")
            self._socket.settimeout(left)
        got = self._raw.readinto(buffer)
        if got is None:
            raise TimeoutError("no answer came")
        return int(got)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Source:
    """What http.client wants of a socket."""

    __slots__ = ("_socket",)

    def __init__(self, connected: Any) -> None:
        self._socket = connected

    def makefile(self, *_mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Timed(self._socket))


class _Response(http.client.HTTPResponse):
    def __init__(self, connected: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(_Source(connected), *arguments, **options)  # type: ignore[arg-type]  # it uses makefile only

    def begin(self) -> None:
        super().begin()
        # The library takes these for the answer, and what follows would be that of the connection's next request.
        while 101 < self.status < 200:
            self.headers = self.msg = None  # type: ignore[assignment]  # as before the first line came
            super().begin()
        if self.headers.defects:
            # The library would warn of them in the log, with the path, and so the secret's name. Whether the answer
            # is whole is found out by what it lacks.
            self.headers.defects.clear()
            self.headers.set_payload("")


class _Direct(HTTPConnection):
    """A connection that tells whatever goes wrong before the first byte is sent from what does later."""

    response_class = _Response
    connect_timeout = 5.0
    path: str | None = None
    """Of a Unix socket."""
    socket_class: type[socket.socket] = _Timely if _BY_KERNEL else socket.socket

    def connect(self) -> None:
        whole = self.timeout
        self.timeout = min(self.connect_timeout, whole or self.connect_timeout)
        try:
            self._open()
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "connecting took too long") from error
        except ssl.SSLError as error:
            if lost(error):
                raise NewConnectionError(self, "the server went away") from error
            raise
        except OSError as error:
            raise NewConnectionError(self, f"connecting failed: {error.strerror or error}") from error
        self.timeout = whole
        if self.sock is not None:
            self.sock.settimeout(whole)

    def _new_conn(self) -> socket.socket:
        """Connect to one of the host's addresses. They share the time that there is, and TLS has what is left."""
        end = time.monotonic() + (self.timeout or self.connect_timeout)
        try:
            found = looked_up(self._dns_host.strip("[]"), self.port, end - time.monotonic())
        except (socket.gaierror, UnicodeError) as error:
            raise NameResolutionError(self.host, self, socket.gaierror(*error.args)) from error
        problem: OSError = TimeoutError("no address could be tried in time")
        for number, (family, _, _, _, address) in enumerate(found):
            try:
                return self._connected(family, address, end, len(found) - number)
            except OSError as error:
                problem = error
        raise problem

    def _connected(self, family: int, address: Any, end: float, shares: int) -> socket.socket:
        connected = self.socket_class(family, socket.SOCK_STREAM)
        try:
            for option in self.socket_options or ():
                connected.setsockopt(*option)
            # No other call but this one needs Python's own limit.
            socket.socket.settimeout(connected, max((end - time.monotonic()) / shares, 0.001))
            connected.connect(address)
            socket.socket.settimeout(connected, None)
            connected.settimeout(max(end - time.monotonic(), 0.001))
        except BaseException:
            connected.close()
            raise
        return connected

    def _open(self) -> None:
        if self.path is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class _Secure(_Direct, HTTPSConnection):
    contexts: Contexts
    # TLS has waits of its own, and takes over the limit in Python's way.
    socket_class = socket.socket

    def connect(self) -> None:
        self.ssl_context = self.contexts.current()
        super().connect()
        # That anybody is accepted has been warned of once; urllib3 would do so at every request.
        self.is_verified = True


class _Idle:
    """The connections of a pool that nobody uses: a stack without a lock, which a forked child could find taken."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: collections.deque[Any] = collections.deque()

    def get(self, *_how: Any, **_further: Any) -> Any:
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, *_how: Any, **_further: Any) -> None:
        if item is None:
            return
        if len(self._items) < self._size:
            self._items.append(item)
        else:
            item.close()

    def qsize(self) -> int:
        return len(self._items)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Direct
    QueueCls = _Idle  # type: ignore[assignment]  # no more of a queue is used


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure
    QueueCls = _Idle  # type: ignore[assignment]  # no more of a queue is used


def open_pool(url: str, target: Target, contexts: Contexts | None) -> HTTPConnectionPool:
    """Return the pool for a server; nothing is sent yet.

    Args:
        url: Its URL.
        target: How it is reached.
        contexts: For ``https``.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        pool: HTTPConnectionPool = _PlainPool("localhost", maxsize=target.connections)
        pool.ConnectionCls = type("_Unix", (_Direct,), {"path": unquote(parts.path)})
        return _with_options(pool, target, None)
    options: dict[str, Any] = {"maxsize": target.connections, "socket_options": _SOCKET_OPTIONS}
    if parts.scheme == "https" and contexts is not None:
        options |= {"ssl_context": contexts.current(), "server_hostname": target.tls.server_name}
    manager = _manager(proxy_for(url, target.proxy), options)
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return _with_options(manager.connection_from_host(parts.hostname, parts.port, parts.scheme), target, contexts)


def drop_idle(pool: HTTPConnectionPool) -> None:
    """Close the connections that nobody uses: one of them has just turned out to be dead."""
    idle: Any = pool.pool
    with contextlib.suppress(queue.Empty, AttributeError):
        while True:
            idle.get().close()


def proxy_for(url: str, given: str | None) -> str | None:
    """Return the URL of the proxy that stands between us and a server, if there is one.

    Args:
        url: The server's URL.
        given: A proxy's URL; empty for none; ``None`` for what ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` say.
    """
    if given is not None:
        return given or None
    parts = urlsplit(url)
    proxies = getproxies_environment()
    found = proxies.get(parts.scheme) or proxies.get("all")
    if not found or proxy_bypass_environment(parts.netloc, proxies):
        return None
    return found if "://" in found else f"http://{found}"


def _with_options(pool: Any, target: Target, contexts: Contexts | None) -> HTTPConnectionPool:
    # A class of the pool's own, since urllib3 hands on only those options that it knows.
    base = pool.ConnectionCls
    own = {"connect_timeout": target.connect_timeout, "contexts": contexts}
    pool.ConnectionCls = type(base.__name__, (base,), own)
    return pool  # type: ignore[no-any-return]  # it is of the class that we gave


def _manager(proxy: str | None, options: dict[str, Any]) -> PoolManager:
    if proxy is None:
        return PoolManager(**options)
    parts = urlsplit(proxy)
    headers = None
    if parts.username is not None:
        headers = make_headers(proxy_basic_auth=f"{unquote(parts.username)}:{unquote(parts.password or '')}")
    return ProxyManager(proxy, proxy_headers=headers, **options)
