"""The way to the server: datagrams or a stream, which is made anew when it has broken."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from strongroom_audit_syslog import streams
from strongroom_audit_syslog.deadline import Deadline, Lookup

if TYPE_CHECKING:
    from strongroom_audit_syslog.address import Address
    from strongroom_audit_syslog.settings import SyslogSettings
    from strongroom_audit_syslog.tls import Contexts

KEPT_BYTES: Final = 1024 * 1024
"""How much may be unconfirmed before a write waits for it, whether or not it has to be durable."""
_CLOSE_SECONDS: Final = 1.0


class Link(ABC):
    """A way to the server. One thread at a time sends; another one may ask how it is.

    Attributes:
        connecting: Whether what failed last failed before there was a connection.
    """

    connecting = False

    @abstractmethod
    def send(self, messages: list[bytes], deadline: Deadline, *, durable: bool) -> None:
        """Send messages; on return the server's system has them, as far as the transport can say.

        Args:
            messages: In their order.
            deadline: When it must be over.
            durable: Whether the server's system has to confirm them, and all before them.

        Raises:
            OSError: They may not have arrived.
        """

    @abstractmethod
    def probe(self, deadline: Deadline) -> None:
        """Find out whether the server can be reached, without sending anything.

        Raises:
            OSError: It cannot.
        """

    @abstractmethod
    def forget(self) -> None:
        """Forget, in a forked child, what is the parent's."""

    @abstractmethod
    def close(self) -> None:
        """End it; it is made anew if there is more to send."""


class StreamLink(Link):
    """A connection, which is made when it is first needed.

    What the server's system has not confirmed is kept, and sent again over the next connection.

    Args:
        address: Where the server is.
        settings: The sink's.
        contexts: Whom to trust, for TLS.
    """

    def __init__(self, address: Address, settings: SyslogSettings, contexts: Contexts | None) -> None:
        self._address = address
        self._contexts = contexts
        self._name = settings.server_name or address.host
        self._lookup = Lookup(address.host, address.port, socket.SOCK_STREAM)
        self._socket: streams.Socket | None = None
        self._unconfirmed: list[bytes] = []

    def send(self, messages: list[bytes], deadline: Deadline, *, durable: bool) -> None:
        """Send messages; see :meth:`Link.send`."""
        data = self._framed(messages)
        if not data and not (durable and self._unconfirmed):
            return
        try:
            self._send(data, deadline, durable=durable)
        except BaseException as error:
            # Half of a message may have gone out: nothing may follow it.
            self._drop()
            # A timeout has used up the time; what TLS refuses, it refuses again.
            if not isinstance(error, OSError) or isinstance(error, TimeoutError | ssl.SSLError) or self.connecting:
                raise
        else:
            return
        try:
            self._send(data, deadline, durable=durable)
        except BaseException:
            self._drop()
            raise

    def _send(self, data: bytes, deadline: Deadline, *, durable: bool) -> None:
        made = self._socket
        if made is not None and streams.still_alive(made):
            if self._unconfirmed and not streams.unacknowledged(made):
                self._unconfirmed.clear()
            streams.send(made, data, deadline)
        else:
            self._drop()
            made = self._connected(deadline)
            streams.send(made, b"".join((*self._unconfirmed, data)), deadline)
        if durable or sum(map(len, self._unconfirmed)) + len(data) > KEPT_BYTES:
            streams.wait_until_acknowledged(made, deadline)
            self._unconfirmed.clear()
        else:
            self._unconfirmed.append(data)

    def _connected(self, deadline: Deadline) -> streams.Socket:
        self.connecting = True
        self._socket = self._made(deadline)
        self.connecting = False
        return self._socket

    def _made(self, deadline: Deadline) -> streams.Socket:
        made = connect(self._address, self._lookup, deadline)
        if self._contexts is None:
            return made
        return streams.secured(made, self._contexts.current(), self._name, deadline)

    def _framed(self, messages: list[bytes]) -> bytes:
        """Return messages as they stand in a stream: each after its length, on a local socket each on a line.

        No message has a line feed in it.
        """
        if self._address.transport == "unix":
            return b"".join(b"%b\n" % message for message in messages)
        return b"".join(b"%d %b" % (len(message), message) for message in messages)

    def probe(self, deadline: Deadline) -> None:
        """Look at the connection, or make another one for a moment; see :meth:`Link.probe`."""
        made = self._socket
        if made is not None and streams.seems_alive(made):
            return
        streams.close(self._made(deadline))

    def forget(self) -> None:
        """Close this process's handle alone: the parent goes on with the connection."""
        made, self._socket = self._socket, None
        self._unconfirmed = []
        self._lookup.forget()
        if made is not None:
            streams.abandon(made)

    def close(self) -> None:
        """End the connection in order, after a last look whether all has been confirmed."""
        made, self._socket = self._socket, None
        if made is None:
            return
        with contextlib.suppress(OSError):
            streams.wait_until_acknowledged(made, Deadline(_CLOSE_SECONDS))
            self._unconfirmed.clear()
        streams.close(made)

    def _drop(self) -> None:
        made, self._socket = self._socket, None
        if made is not None:
            streams.abandon(made)


class DatagramLink(Link):
    """One datagram for each message, over UDP or to a local socket.

    Args:
        address: Where the server is.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._lookup = Lookup(address.host, address.port, socket.SOCK_DGRAM)
        self._socket: socket.socket | None = None

    def send(
        self,
        messages: list[bytes],
        deadline: Deadline,
        *,
        durable: bool,  # noqa: ARG002  # nobody confirms a datagram
    ) -> None:
        """Send messages; see :meth:`Link.send`."""
        if not messages:
            return
        is_new = self._socket is None
        try:
            self._send(messages, deadline)
        except OSError as error:
            self.close()
            # A local server that was started anew has another socket under the same path.
            if is_new or self._address.transport != "unix" or isinstance(error, TimeoutError):
                raise
            self._send(messages, deadline)

    def _send(self, messages: list[bytes], deadline: Deadline) -> None:
        if self._socket is None:
            self.connecting = True
            self._socket = self._made(deadline)
            self.connecting = False
        made = self._socket
        # That an earlier datagram was refused shows only now, and that one of these was, at once if it is near.
        _raise_refusal(made)
        for message in messages:
            made.settimeout(deadline.left())
            made.send(message)
        _raise_refusal(made)

    def _made(self, deadline: Deadline) -> socket.socket:
        if self._address.transport == "unix":
            return _connected_to(socket.AF_UNIX, self._address.path)
        found = self._lookup.addresses(deadline)
        failure: OSError = socket.gaierror(socket.EAI_NONAME, "there is no address")
        for family, _, _, _, target in found:
            try:
                return _connected_to(family, target)
            # Such as an IPv6 address on a machine that has no way there.
            except OSError as error:
                failure = error
        raise failure

    def probe(self, deadline: Deadline) -> None:
        """Find out whether there is a way to the server; whether somebody listens, only a datagram tells."""
        self._made(deadline).close()

    def forget(self) -> None:
        """Give this process's handle back."""
        self._lookup.forget()
        self.close()

    def close(self) -> None:
        """Give the socket back."""
        made, self._socket = self._socket, None
        if made is not None:
            made.close()


class LocalLink(Link):
    """A local socket of whichever kind the server has made there: datagrams, or else a stream.

    Args:
        address: Where it is.
        settings: The sink's.
    """

    def __init__(self, address: Address, settings: SyslogSettings) -> None:
        self._links: tuple[Link, Link] = (DatagramLink(address), StreamLink(address, settings, None))

    def send(self, messages: list[bytes], deadline: Deadline, *, durable: bool) -> None:
        """Send messages; see :meth:`Link.send`."""
        self._with_the_right_one(lambda link: link.send(messages, deadline, durable=durable))

    def probe(self, deadline: Deadline) -> None:
        """Look whether the socket is there; see :meth:`Link.probe`."""
        self._with_the_right_one(lambda link: link.probe(deadline))

    def _with_the_right_one(self, act: Callable[[Link], None]) -> None:
        first, other = self._links
        try:
            act(first)
        except OSError as error:
            self.connecting = first.connecting
            if error.errno != errno.EPROTOTYPE:
                raise
        else:
            return
        first.close()
        self._links = (other, first)
        try:
            act(other)
        finally:
            self.connecting = other.connecting

    def forget(self) -> None:
        """Forget both."""
        for link in self._links:
            link.forget()

    def close(self) -> None:
        """End both."""
        for link in self._links:
            link.close()


def connect(address: Address, lookup: Lookup, deadline: Deadline) -> streams.Socket:
    """Return a connection to the first of a server's addresses that answers.

    Args:
        address: Where the server is.
        lookup: Finds its addresses.
        deadline: When it must be over; none of several addresses takes the time of all.

    Raises:
        OSError: None answers.
    """
    if address.transport == "unix":
        return streams.opened(socket.AF_UNIX, address.path, deadline)
    found = lookup.addresses(deadline)
    failure: OSError = socket.gaierror(socket.EAI_NONAME, "there is no address")
    for number, (family, _, _, _, target) in enumerate(found):
        try:
            return streams.opened(family, target, deadline, deadline.left() / (len(found) - number))
        except OSError as error:
            failure = error
    raise failure


def _connected_to(family: Any, target: Any) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        made.connect(target)
    except BaseException:
        made.close()
        raise
    return made


def _raise_refusal(made: socket.socket) -> None:
    code = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
