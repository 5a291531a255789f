"""Credentials that outlast an outage of what gives them out."""

from __future__ import annotations

import logging
import threading
import time

from collections.abc import Callable
from typing import Any, Final

from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, RefreshableCredentials
from botocore.exceptions import NoCredentialsError

from strongroom_aws.failures import Failures

PAUSE: Final = 5.0
"""Seconds after a failed renewal in which none is tried."""
TRUSTED: Final = 30.0
"""Seconds for which credentials are used without a look at how old they are, while another thread has it."""

_LOGGER: Final = logging.getLogger("strongroom.aws")


class Lasting(Credentials):  # type: ignore[misc]  # botocore has no types
    """Credentials that are renewed in time, and used on while that fails: the service knows when they have run out.

    botocore renews them minutes before that, and fails if it cannot, although they are still good.

    Args:
        first: Gets them, with all that is needed to renew them; called when they are first used, and by a signal's
            handler that comes amidst: that needs some of its own.
        method: What botocore calls the way they were found.
        clock: Monotonic seconds.
        approve: Raises if renewed ones are not to be used.
    """

    def __init__(
        self,
        first: Callable[[], Credentials],
        method: str,
        clock: Callable[[], float] = time.monotonic,
        approve: Callable[[Any], None] | None = None,
    ) -> None:
        # The attributes of the base class are properties here.
        self.method = method
        self._first = first
        self._clock = clock
        self._inner: Credentials | None = None
        self._last: Any = None
        self._seen = self._failed = float("-inf")
        self._is_asking = False
        self._approve = approve
        self._failures = Failures()
        # Reentrant, since a signal's handler may read.
        self._lock = threading.RLock()

    @property
    def access_key(self) -> Any:
        """The key's id."""
        return self.get_frozen_credentials().access_key

    @property
    def secret_key(self) -> Any:
        """The key itself."""
        return self.get_frozen_credentials().secret_key

    @property
    def token(self) -> Any:
        """The session's token."""
        return self.get_frozen_credentials().token

    @property
    def account_id(self) -> Any:
        """The account, where what gives them out says it."""
        return self.get_frozen_credentials().account_id

    def get_frozen_credentials(self) -> Any:
        """Return them as they are now; all requests are signed with these.

        Raises:
            Exception: There are none, and never were: whatever botocore raises.
            Shared: The same, and another thread has met it while this one waited.
        """
        before = self._failures.count
        if not self._lock.acquire(blocking=False):
            # Another thread has a look at them. That takes long only if they are renewed.
            if self._last is not None and self._clock() < self._seen + TRUSTED:
                return self._last
            self._lock.acquire()
        try:
            if self._last is None:
                return self._begun(before)
            return self._current()
        finally:
            self._lock.release()

    def _begun(self, before: int) -> Any:
        """Get the first ones; only these may fail."""
        if self._is_asking:
            # A signal's handler: its own thread holds a lock of botocore's within the others.
            return self._first().get_frozen_credentials()
        self._failures.meet(before)
        try:
            self._is_asking = True
            with self._failures.noted():
                if self._inner is None:
                    self._inner = self._first()
                self._last = self._inner.get_frozen_credentials()
            self._seen = self._clock()
        finally:
            self._is_asking = False
        return self._last

    def _current(self) -> Any:
        if self._inner is None or self._is_asking or self._clock() < self._failed + PAUSE:
            return self._last
        try:
            self._is_asking = True
            self._last = self._approved(self._inner.get_frozen_credentials())
            self._seen = self._clock()
        # Any, since botocore's own ways of failing here are many; what is good is used on until the service says no.
        except Exception as error:  # noqa: BLE001  # see above
            self._failed = self._clock()
            _LOGGER.warning("the AWS credentials could not be renewed (%s); those at hand are used on", _named(error))
        finally:
            self._is_asking = False
        return self._last

    def _approved(self, found: Any) -> Any:
        if self._approve is not None and self._last is not None and found.access_key != self._last.access_key:
            self._approve(found)
        return found


class LastingProvider(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    """Finds credentials where another does, and makes those last that are renewed.

    Args:
        source: Finds them.
        approve: Raises if renewed ones are not to be used.
    """

    METHOD = "strongroom"

    def __init__(self, source: CredentialResolver, approve: Callable[[Any], None]) -> None:
        super().__init__()
        self._source = source
        self._approve = approve

    def load(self) -> Credentials | None:
        """Return them; ``None`` if there are none."""
        found = self._source.load_credentials()
        if not isinstance(found, RefreshableCredentials):
            return found
        unused = [found]
        return Lasting(lambda: unused.pop() if unused else self._anew(), found.method, approve=self._approve)

    def _anew(self) -> Credentials:
        found = self._source.load_credentials()
        if found is None:
            raise NoCredentialsError
        return found


def _named(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Code") or type(error).__name__)
