"""Looking up a host's addresses within a time limit, which the system's own resolver does not know."""

from __future__ import annotations

import os
import socket
import threading

from typing import Any, Final

MOST_LEFT_BEHIND: Final = 64
"""How many look-ups that take too long may be under way at the same time; beyond that, none is begun."""

_left: Final[set[Lookup]] = set()
"""Those that nobody waits for any more. Each ends when the resolver gives up."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_left.clear)


def looked_up(host: str, port: int | None, seconds: float) -> list[tuple[Any, ...]]:
    """Return the addresses of a host, as ``socket.getaddrinfo`` does.

    Args:
        host: Its name, or an address, which takes no time.
        port: The port.
        seconds: How long to wait at most.

    Raises:
        TimeoutError: The resolver has not answered in time, or has not so often that no more is asked.
        OSError: It has no address for the name.
    """
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        if len(_left) >= MOST_LEFT_BEHIND:
            raise TimeoutError("too many look-ups have not been answered in time") from None
    lookup = Lookup(host, port)
    try:
        threading.Thread(target=lookup.run, name="strongroom-lookup", daemon=True).start()
    except RuntimeError:
        # There is no thread to be had, as at the interpreter's end: it takes what time it likes.
        lookup.run()
    return lookup.result(seconds)


class Lookup:
    """One look-up, made in a thread that can be left behind.

    Args:
        host: The host's name.
        port: The port.
    """

    def __init__(self, host: str, port: int | None) -> None:
        self._host = host
        self._port = port
        self._done = threading.Event()
        self._found: list[tuple[Any, ...]] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Ask the resolver."""
        try:
            self._found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        # Kept for the thread that waits.
        except BaseException as error:  # noqa: BLE001  # see above
            self._error = error
        self._done.set()
        _left.discard(self)

    def result(self, seconds: float) -> list[tuple[Any, ...]]:
        """Wait for the answer.

        Args:
            seconds: How long at most.

        Raises:
            TimeoutError: It has not come.
            OSError: There is no address.
        """
        if not self._done.wait(max(seconds, 0.0)):
            _left.add(self)
            if self._done.is_set():
                _left.discard(self)
            raise TimeoutError("the host's name could not be looked up in time")
        if self._error is not None:
            raise self._error
        return self._found
