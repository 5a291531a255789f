"""The clients of a backend: one for each region, shared by all threads and by no two processes."""

from __future__ import annotations

import os
import threading
import time

from typing import Any, Final

from botocore.exceptions import NoCredentialsError

from strongroom.errors import ClosedError
from strongroom_aws.dripping import close
from strongroom_aws.failures import Failures
from strongroom_aws.identity import account_of, strange_account, wrong_account
from strongroom_aws.place import Place
from strongroom_aws.quiet import hush, quietly
from strongroom_aws.sessions import new_client, new_session
from strongroom_aws.settings import AwsSettings

LOOK_AGAIN: Final = 60.0
"""Seconds after which credentials of a wrong account are looked for anew: somebody may have put that right."""


class Clients:
    """Makes a client for a region when it is first asked for.

    Args:
        settings: The backend's settings.
        place: Where the service is.

    Attributes:
        made: How many clients there have been.
    """

    def __init__(self, settings: AwsSettings, place: Place) -> None:
        self._settings = settings
        self._place = place
        self._inherited: list[Any] = []
        self.made = 0
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        # botocore's sessions are not made for several threads. Reentrant, since a signal's handler may read.
        self._lock = threading.RLock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._strange: str | None = None
        self._strange_until = 0.0
        self._failures = Failures()
        # Last: whoever sees it sees the rest as well.
        self._pid = os.getpid()

    def get(self, region: str) -> Any:
        """Return the client for a region.

        Raises:
            ClosedError: The backend was closed.
            ConfigurationError: The credentials are of another account than the settings say.
            botocore.exceptions.BotoCoreError: There can be none.
            botocore.exceptions.ClientError: STS does not say whose credentials they are.
            Shared: The same, and another thread has met it while this one waited.
        """
        if os.getpid() != self._pid:
            self.after_fork()
        client = self._clients.get(region)
        return client if client is not None else self._make(region)

    def _make(self, region: str) -> Any:
        before = self._failures.count
        with self._lock:
            if self._closed:
                raise ClosedError("the backend was closed")
            client = self._clients.get(region)
            if client is None:
                self._failures.meet(before)
                hush()
                with quietly(), self._failures.noted():
                    client = new_client(self._known_session(), self._settings, self._place, region)
                hush()
                self.made += 1
                self._clients[region] = client
            return client

    def _known_session(self) -> Any:
        """Return the session, whose credentials are of the right account; each is looked at once."""
        if self._strange is not None and time.monotonic() < self._strange_until:
            raise wrong_account(self._strange, self._settings)
        if self._session is None:
            session = new_session(self._settings, self._place)
            if session.get_credentials() is None:
                # A client without any would never look for them again.
                raise NoCredentialsError
            self._strange = strange_account(session, self._settings)
            self._strange_until = time.monotonic() + LOOK_AGAIN
            if self._strange is not None:
                raise wrong_account(self._strange, self._settings)
            self._session = session
        return self._session

    def has(self, client: Any) -> bool:
        """Tell whether a client has the credentials that are used now."""
        return any(one is client for one in list(self._clients.values()))

    def account(self) -> str:
        """Ask STS whose the credentials are that are used now.

        Raises:
            botocore.exceptions.BotoCoreError: There are none, or STS does not answer.
            botocore.exceptions.ClientError: STS does not say it.
        """
        with self._lock:
            session = self._known_session()
        return account_of(session)

    def renew(self, stale: Any) -> bool:
        """Look for credentials anew, since those of a client have run out; not if another thread has just done so.

        Args:
            stale: The client.

        Returns:
            Whether they are looked for.
        """
        with self._lock:
            if not self.has(stale):
                return False
            self._session = None
            self._clients = {}
            return True

    def after_fork(self) -> None:
        """Use clients of its own in a forked child, and leave the parent's connections alone."""
        # Kept, so that nothing closes what the parent still uses.
        self._inherited.append((self._session, self._clients))
        self._begin()

    def close(self) -> None:
        """Close all connections; twice is no error."""
        with self._lock:
            self._closed = True
            clients, self._clients = self._clients, {}
            self._session = None
        if os.getpid() == self._pid:
            for client in clients.values():
                close(client)
