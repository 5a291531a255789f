"""A connection to a server over TCP, TLS or a local stream socket."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import ssl
import sys
import time

from typing import Any, Final

from strongroom_audit_syslog.deadline import Deadline

Socket = socket.socket
"""A plain one, or one with TLS, which is a subclass."""

_READ: Final = 65536
_READS: Final = 16
"""How often what the server says is read and dropped before it counts as alive."""
_SETTLE: Final = 0.05
_ENDED: Final = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_POLLRDHUP: Final = getattr(select, "POLLRDHUP", 0)
_GONE: Final = select.POLLERR | select.POLLHUP | select.POLLNVAL | _POLLRDHUP


def opened(family: Any, target: Any, deadline: Deadline, seconds: float | None = None) -> Socket:
    """Return a connected socket.

    Args:
        family: The family of the address.
        target: The address.
        deadline: When connecting must be over.
        seconds: How long it may take, if that is less.

    Raises:
        OSError: It cannot be connected; a ``TimeoutError`` if it took too long.
    """
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.settimeout(deadline.left() if seconds is None else min(seconds, deadline.left()))
        if family != socket.AF_UNIX:
            _prepare(made)
        made.connect(target)
    except BaseException:
        made.close()
        raise
    return made


def _prepare(made: Socket) -> None:
    """Send at once, and notice a server that has vanished while nothing was sent."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def secured(made: Socket, context: ssl.SSLContext, name: str, deadline: Deadline) -> ssl.SSLSocket:
    """Return a connection with TLS over it; if that fails, the connection is closed.

    Args:
        made: The connection.
        context: Whom to trust.
        name: What the server's certificate must be made out to.
        deadline: When the handshake must be over.

    Raises:
        OSError: As ``ssl`` raises; a ``TimeoutError`` if it took too long.
    """
    started = time.monotonic()
    try:
        made.settimeout(deadline.left())
        wrapped = context.wrap_socket(made, server_hostname=name, do_handshake_on_connect=False)
        made = wrapped
        wrapped.settimeout(deadline.left())
        wrapped.do_handshake()
        _settle(wrapped, deadline, 2 * (time.monotonic() - started) + _SETTLE)
    except BaseException:
        made.close()
        raise
    return wrapped


def _settle(made: ssl.SSLSocket, deadline: Deadline, seconds: float) -> None:
    """Give the server time to refuse our certificate, which in TLS 1.3 it does only after the handshake.

    A session ticket says that it does not. A server that sends none is waited for that long, once a connection.
    """
    if made.version() != "TLSv1.3":
        return
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ready = _poll(made.fileno(), select.POLLIN, min(deadline.left(), max(0.0, end - time.monotonic())))
        if not ready:
            return
        if not is_alive(made):
            raise ConnectionResetError("the connection was closed after the handshake")
        session = made.session
        if session is not None and session.has_ticket:
            return


def is_alive(made: Socket) -> bool:
    """Tell whether the server has neither closed nor broken the connection; what it says is dropped.

    Raises:
        ssl.SSLError: It has ended TLS, and says why.
    """
    made.settimeout(0)
    try:
        # A server that talks without end takes up no more than this.
        return all(made.recv(_READ) for _ in range(_READS))
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return True
    except ssl.SSLError as error:
        if isinstance(error, _ENDED):
            return False
        raise
    except OSError:
        return False


def still_alive(made: Socket) -> bool:
    """Tell the same of a connection that has been in use: however it has ended, another one is made."""
    try:
        return is_alive(made)
    except ssl.SSLError:
        return False


def seems_alive(made: Socket) -> bool:
    """Tell whether the connection stands, as far as can be seen without reading; another thread may be using it."""
    # Asked for once: the other thread may give it back at any moment.
    handle = made.fileno()
    return handle >= 0 and not _poll(handle, 0, 0.0) & _GONE


def _poll(handle: int, events: int, seconds: float) -> int:
    poll = select.poll()
    poll.register(handle, events | _POLLRDHUP)
    found = poll.poll(seconds * 1000)
    return found[0][1] if found else 0


def send(made: Socket, data: bytes, deadline: Deadline) -> None:
    """Hand all of the data to the system.

    Raises:
        OSError: Not all could be handed over: the connection must not be used any more.
    """
    left = memoryview(data)
    while left:
        made.settimeout(deadline.left())
        try:
            left = left[made.send(left) :]
        # Whichever way TLS has seen it end: another connection may serve.
        except _ENDED as error:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET)) from error


def unacknowledged(made: Socket) -> int:
    """Return how many bytes the other side's system has not confirmed; 0 where the system does not say."""
    if sys.platform != "linux":
        return 0
    import fcntl
    import termios

    try:
        return int.from_bytes(fcntl.ioctl(made.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def wait_until_acknowledged(made: Socket, deadline: Deadline) -> None:
    """Wait until the other side's system has confirmed all that was sent.

    Raises:
        OSError: The connection has ended meanwhile; a ``TimeoutError`` if it took too long.
    """
    pause = 0.0001
    while unacknowledged(made):
        if not seems_alive(made):
            break
        # There is nothing to be woken by.
        time.sleep(min(pause, deadline.left()))
        pause = min(2 * pause, 0.01)
    if not is_alive(made):
        raise ConnectionResetError("the connection was closed before all was confirmed")


def close(made: Socket) -> None:
    """Close a connection so that what was sent arrives, and a server with TLS is told that this is the end."""
    with contextlib.suppress(OSError):
        # What is left unread would make the system break the connection instead of ending it.
        is_alive(made)
        if isinstance(made, ssl.SSLSocket):
            made.settimeout(0)
            # It tells the server, and does not wait for an answer.
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                made.unwrap()
    with contextlib.suppress(OSError):
        made.shutdown(socket.SHUT_WR)
    abandon(made)


def abandon(made: Socket) -> None:
    """Give a handle back without a word to the server: another process may go on with the connection."""
    with contextlib.suppress(OSError):
        made.close()
