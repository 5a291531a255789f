"""The way to the server: connections, attempts, the deadline, and which node is asked."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable

import urllib3

from strongroom.errors import BackendUnavailableError
from strongroom_vault.replies import Reply
from strongroom_vault.target import Target


class Transport:
    """Sends requests. It is safe to use from several threads; it knows no token.

    Args:
        target: Where the server is and how it is reached.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        target: Target,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.target = target
        self.retries = 0
        """How many requests were sent again."""
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(maxsize=target.connections, retries=False)

    def send(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str],
        body: bytes | None = None,
        repeatable: bool = False,
        timeout: float | None = None,
    ) -> Reply:
        """Send a request until it is answered or the deadline has come.

        Args:
            method: The HTTP method.
            path: From ``/v1/`` on, with a query if there is one; quoted.
            headers: Those that concern this request.
            body: What to send.
            repeatable: Whether sending it twice does no harm. One of which it is known that it was not
                acted on is sent again in any case.
            timeout: How many seconds all attempts may take; the target's own unless given.

        Returns:
            The server's answer, whatever its status, unless that means an outage.

        Raises:
            BackendUnavailableError: There is no answer in time, or the server says that it cannot answer now.
            BackendError: The server could not be trusted (code ``tls_failed``).
        """
        try:
            answer = self._pool.request(
                method, self.target.addresses[0] + path, headers=headers, body=body, timeout=self.target.timeout
            )
        except urllib3.exceptions.HTTPError as error:
            raise BackendUnavailableError("no answer") from error
        return Reply(answer.status, answer.headers, answer.data)

    def after_fork(self) -> None:
        """Use new connections in a forked child, and leave the parent's alone."""
        self._lock = threading.Lock()
        self._pool = urllib3.PoolManager(maxsize=self.target.connections, retries=False)

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()
