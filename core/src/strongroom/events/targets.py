"""Where messages go outside the process: to a command or to a webhook, each within a time limit.

What a message is, and what is sent of it, its own module says, such as :mod:`strongroom.events.alerts`.
"""

from __future__ import annotations

import hmac
import os
import threading
import time

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from strongroom.model import SecretValue

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from subprocess import Popen

    from strongroom.config.targets import CommandSettings, WebhookSettings

Message = TypeVar("Message")

SIGNATURE_VERSION: Final = "v1"
_BUSY_STATUSES: Final = frozenset({408, 425, 429})
"""Answers that ask for another attempt later, besides all from 500 on."""
_DYING_SECONDS: Final = 1.0
"""How long a program that was killed is waited for: one that runs as another user cannot be."""


class DeliveryError(Exception):
    """A message did not arrive. The text says why and holds no address and no secret.

    Attributes:
        again: Whether another attempt may help.
    """

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


class Target(ABC, Generic[Message]):
    """Something that messages are delivered to, by one thread at a time."""

    @abstractmethod
    def deliver(self, message: Message) -> None:
        """Deliver one message.

        Raises:
            DeliveryError: It did not arrive.
        """

    def cancel(self) -> None:
        """End a delivery that is under way in another thread, if one is."""
        return

    def after_fork(self) -> None:
        """Forget, in a forked child, what the parent has under way."""
        return


class CommandTarget(Target[Message]):
    """Runs a program for each message, with the message on its standard input and without a shell.

    Args:
        command: The program and its arguments.
        body: Returns what it gets of a message.
        seconds: How long it may run; after that it is killed, with its process group.
        hidden: Returns the environment variables that it does not inherit; asked once.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        body: Callable[[Message], bytes],
        seconds: float,
        hidden: Callable[[], Collection[str]],
    ) -> None:
        self._command = list(command)
        self._body = body
        self._seconds = seconds
        self._hidden = hidden
        self._known: Collection[str] | None = None
        self._running: Popen[bytes] | None = None
        self._cancelled = False

    def deliver(self, message: Message) -> None:
        """Run the program to its end."""
        from subprocess import TimeoutExpired

        self._cancelled = False
        process = self._running = self._started()
        if self._cancelled:
            # While it was being started, when nobody knew yet what to kill.
            _kill(process)
        try:
            process.communicate(self._body(message), timeout=self._seconds)
        except TimeoutExpired:
            raise DeliveryError(f"it did not end within {self._seconds:g} s") from None
        finally:
            self._end(process)
        if process.returncode:
            raise DeliveryError(f"it ended with status {process.returncode}")

    def _started(self) -> Popen[bytes]:
        from subprocess import DEVNULL, PIPE, Popen

        try:
            # A session of its own, so that it can be killed together with what it starts.
            return Popen(  # noqa: S603  # the configuration says what to run
                self._command,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=DEVNULL,
                env=self._environment(),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            # No process is to be had now: there are too many, which may pass.
            again = isinstance(error, BlockingIOError)
            raise DeliveryError(f"it could not be started: {reason}", again=again) from error

    def _environment(self) -> dict[str, str]:
        if self._known is None:
            self._known = self._hidden()
        return {name: value for name, value in os.environ.items() if name not in self._known}

    def _end(self, process: Popen[bytes]) -> None:
        """Kill it and its group unless it has ended by itself."""
        from subprocess import TimeoutExpired

        self._running = None
        if process.returncode is not None:
            return
        _kill(process)
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_DYING_SECONDS)
        except TimeoutExpired:
            return  # it is waited for when the next one is started

    def cancel(self) -> None:
        """Kill the program, if it is running or being started."""
        self._cancelled = True
        process = self._running
        if process is not None and process.returncode is None:
            _kill(process)

    def after_fork(self) -> None:
        """Forget the parent's program."""
        self._running = None


def _kill(process: Popen[bytes]) -> None:
    import signal

    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        return  # it is gone, or it has become another user's


def signature(secret: SecretValue, timestamp: str, body: bytes) -> str:
    """Return the signature of a webhook's body, as its header has it.

    Args:
        secret: What sender and receiver share.
        timestamp: Seconds since 1970, as the header ``Strongroom-Timestamp`` has them.
        body: The exact body.
    """
    digest = hmac.digest(secret.reveal(), timestamp.encode() + b"." + body, "sha256")
    return f"{SIGNATURE_VERSION}={digest.hex()}"


class WebhookTarget(Target[Message]):
    """Posts each message to an address, signed. No redirect is followed, and no proxy used.

    Args:
        url: An ``https`` address, or an ``http`` one where that was allowed.
        body: Returns what is posted of a message.
        secret: What the signature is made with.
        seconds: How long the whole exchange may take, from looking up the host to the answer.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        url: str,
        secret: SecretValue,
        *,
        body: Callable[[Message], bytes],
        seconds: float,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._body = body
        self._secret = secret
        self._seconds = seconds
        self._wall_clock = wall_clock
        self._running: _Exchange | None = None

    def deliver(self, message: Message) -> None:
        """Post one message, and take any answer from 200 to 299 for its arrival."""
        body, timestamp = self._body(message), str(int(self._wall_clock()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "strongroom",
            "Strongroom-Timestamp": timestamp,
            "Strongroom-Signature": signature(self._secret, timestamp, body),
            "Connection": "close",
        }
        exchange = self._running = _Exchange(self._url, body, headers, self._seconds)
        try:
            status = exchange.status()
        finally:
            self._running = None
        if not 200 <= status < 300:
            raise DeliveryError(f"the answer was {status}", again=status >= 500 or status in _BUSY_STATUSES)

    def cancel(self) -> None:
        """Hang up, if an exchange is under way."""
        exchange = self._running
        if exchange is not None:
            exchange.hang_up()

    def after_fork(self) -> None:
        """Forget the parent's exchange; its connection is not closed."""
        self._running = None


class _Exchange:
    """One request and its answer, in a thread of its own: looking up a host cannot be given a time limit."""

    def __init__(self, url: str, body: bytes, headers: dict[str, str], seconds: float) -> None:
        self._request: tuple[Any, ...] = (url, body, headers)
        self._seconds = seconds
        self._given_up = False
        self._connection: HTTPConnection | None = None
        self._status: int | None = None
        self._problem: DeliveryError | None = None
        self._thread = threading.Thread(target=self._run, name="strongroom-webhook", daemon=True)

    def status(self) -> int:
        """Return the answer's status.

        Raises:
            DeliveryError: There was none in time.
        """
        try:
            self._thread.start()
        except RuntimeError:
            # There are too many threads, or the interpreter ends and starts none: the limit is for each step then.
            self._run()
        else:
            self._thread.join(self._seconds)
            if self._thread.is_alive():
                self.hang_up()
                raise self._too_late()
        if self._status is None:
            raise self._problem or DeliveryError("there was no answer")
        return self._status

    def _too_late(self) -> DeliveryError:
        return DeliveryError(f"there was no answer within {self._seconds:g} s")

    def hang_up(self) -> None:
        """Have the thread end soon: nothing more is sent or waited for."""
        self._given_up = True
        connection = self._connection
        sock = getattr(connection, "sock", None)
        if sock is not None:
            import socket

            try:
                sock.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):
                return  # it is closed already

    def _run(self) -> None:
        try:
            self._status = self._answered()
        # Whatever happens in this thread is the delivery's own failure; its text may hold the address.
        except BaseException as error:  # noqa: BLE001  # see above
            self._problem = self._too_late() if isinstance(error, TimeoutError) else _problem(error)

    def _answered(self) -> int | None:
        url, body, headers = self._request
        connection, target = _connection(url, self._seconds)
        self._connection = connection
        try:
            connection.connect()
            if self._given_up:
                return None
            connection.request("POST", target, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()


def _connection(url: str, seconds: float) -> tuple[HTTPConnection, str]:
    """Return a connection to an address's host, not yet made, and what to ask it for."""
    from http.client import HTTPConnection, HTTPSConnection
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname or ""
    if parts.scheme == "http":
        return HTTPConnection(host, parts.port, timeout=seconds), target
    import ssl

    # The default context checks the certificate and its name.
    return HTTPSConnection(host, parts.port, timeout=seconds, context=ssl.create_default_context()), target


def _problem(error: BaseException) -> DeliveryError:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return DeliveryError("the server's certificate is not valid for the address", again=False)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
    return DeliveryError(f"the exchange failed: {reason}", again=isinstance(error, OSError))


def target_of(
    settings: CommandSettings | WebhookSettings,
    body: Callable[[Message], bytes],
    hidden: Callable[[], Collection[str]],
) -> Target[Message]:
    """Return the target that a table of the configuration is about; nothing is started or sent by that.

    Args:
        settings: What the table says.
        body: Returns what is sent of a message.
        hidden: Returns the environment variables that a command does not inherit.

    Raises:
        ConfigurationError: A webhook's secret is not where it should be.
    """
    from strongroom.config.targets import CommandSettings

    if isinstance(settings, CommandSettings):
        return CommandTarget(settings.command, body=body, seconds=settings.timeout, hidden=hidden)
    return WebhookTarget(settings.url, settings.read_secret(), body=body, seconds=settings.timeout)
