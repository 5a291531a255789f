"""One login for many threads, and none for a while after a refusal."""

from __future__ import annotations

import threading

from collections.abc import Iterable

from strongroom.contracts import KeySource
from strongroom.errors import AuthenticationError, BackendUnavailableError, ConfigurationError, StrongroomError
from strongroom.model import SecretValue
from strongroom_vault.life import FIRST_DELAY, LONGEST_DELAY


class Flight:
    """A login that is under way in the thread that makes this; others wait for it."""

    def __init__(self) -> None:
        self.leader = threading.get_ident()
        self.done = threading.Event()
        self.error: StrongroomError | None = None

    def wait(self, limit: float) -> None:
        """Wait until it has ended.

        Args:
            limit: For how many seconds at most.

        Raises:
            StrongroomError: What it failed with.
            BackendUnavailableError: It has not ended in time.
        """
        if not self.done.wait(max(0.0, min(limit, threading.TIMEOUT_MAX))):
            raise BackendUnavailableError(
                "the login that another thread has begun takes longer than there is time",
                code="timeout",
                hint="try again, or allow more time",
            )
        if self.error is not None:
            raise self.error.again()


class Refusal:
    """That a server has refused a login, and for how long it is left alone for it.

    That is a second, and twice as long after each further refusal up to half a minute, so that
    a password is not shown so often that the server locks the user out. If what is shown has
    changed since, it is shown at once.

    Args:
        error: What it was refused with.
        sources: Where what was shown comes from.
        now: The clock.
        before: The refusal before, with no success in between.
    """

    def __init__(
        self, error: AuthenticationError, sources: Iterable[KeySource], now: float, before: Refusal | None
    ) -> None:
        self._error = error.again()
        self._sources = tuple(sources)
        self._shown = _read(self._sources)
        self._delay: float = FIRST_DELAY if before is None else min(2 * before._delay, LONGEST_DELAY)
        self._until = now + self._delay

    def hold(self, now: float) -> None:
        """Raise the error again while it is too early for another try.

        Raises:
            AuthenticationError: It is.
        """
        if now < self._until and _read(self._sources) == self._shown:
            raise self._error.again()


def _read(sources: tuple[KeySource, ...]) -> list[SecretValue | None]:
    """Return what the sources hold now; nothing for one that has been taken away."""
    found: list[SecretValue | None] = []
    for source in sources:
        try:
            found.append(source.read())
        except ConfigurationError:
            found.append(None)
    return found
