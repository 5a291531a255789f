"""One end for all that a call does, and addresses that are looked up within it."""

from __future__ import annotations

import errno
import socket
import threading
import time

from typing import Any, Final

Found = list[tuple[Any, Any, int, str, Any]]
"""What ``socket.getaddrinfo`` returns."""


class Deadline:
    """When a call must be over.

    Args:
        seconds: From now on.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return how many seconds are left.

        Raises:
            TimeoutError: None.
        """
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class Lookup:
    """Looks names up in a thread of its own: the system's resolver knows no deadline.

    A lookup that is not over in time goes on, and whoever asks again before it is over waits for that one.

    Args:
        host: A name or an IP address.
        port: The port.
        kind: ``socket.SOCK_STREAM`` or ``socket.SOCK_DGRAM``.
    """

    def __init__(self, host: str, port: int, kind: socket.SocketKind) -> None:
        self._asked: Final = (host, port)
        self._kind = kind
        self._running: _Question | None = None

    def addresses(self, deadline: Deadline) -> Found:
        """Return the addresses, looked up anew.

        Raises:
            OSError: There are none; a ``TimeoutError`` if it took too long.
        """
        host, port = self._asked
        try:
            return socket.getaddrinfo(host, port, type=self._kind, flags=socket.AI_NUMERICHOST)
        # It is a name, or not even that.
        except (socket.gaierror, UnicodeError):
            pass
        # Several threads may ask at once, of which each keeps to the one that it has seen. One that is over is too old.
        question = self._running
        if question is None or not question.is_alive():
            question = _Question(host, port, self._kind)
            _begin(question)
            # Only now: a thread that has not begun could never be waited for.
            self._running = question
        question.join(deadline.left())
        if question.is_alive():
            raise TimeoutError
        if question.failure is not None:
            raise question.failure
        return question.found

    def forget(self) -> None:
        """Forget, in a forked child, the thread that is not there."""
        self._running = None


def _begin(question: _Question) -> None:
    try:
        question.start()
    # There are too many threads, or the interpreter is about to end.
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no thread can be started that looks its name up") from error


class _Question(threading.Thread):
    """One lookup.

    Attributes:
        found: The answer, once the thread has ended.
        failure: Why there is none.
    """

    def __init__(self, host: str, port: int, kind: socket.SocketKind) -> None:
        # The end of the process waits for no resolver.
        super().__init__(name="strongroom-syslog-lookup", daemon=True)
        self._asked = (host, port, kind)
        self.found: Found = []
        self.failure: OSError | None = None

    def run(self) -> None:
        """Look the name up."""
        host, port, kind = self._asked
        try:
            self.found = socket.getaddrinfo(host, port, type=kind)
        except OSError as error:
            self.failure = error
        # A name that no resolver can be asked for, such as one with an empty label.
        except UnicodeError as error:
            self.failure = socket.gaierror(socket.EAI_NONAME, f"it is no name: {error}")
