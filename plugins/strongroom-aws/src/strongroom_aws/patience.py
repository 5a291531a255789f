"""Waiting for what the service does in the background."""

from __future__ import annotations

from strongroom.errors import BackendUnavailableError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker


class Patience:
    """Waits until something is over, or until it is too late.

    Args:
        asker: Has the clock, and the time limit.
        name: The secret's name.
        waiting: What is not over yet, for the error.
    """

    def __init__(
        self, asker: Asker, name: SecretName, waiting: str = "it is still being deleted, or others keep changing it"
    ) -> None:
        self._asker = asker
        self._name = name
        self._waiting = waiting
        self._end = asker.limit
        self.tries = 0

    def wait(self) -> None:
        """Wait before another try.

        Raises:
            BackendUnavailableError: It is too late for one (code ``busy``).
        """
        self.tries += 1
        if not self._asker.pause(self.tries, self._end):
            raise self._busy()

    def check(self) -> None:
        """Raise as :meth:`wait` does if it is too late; do not wait."""
        self.tries += 1
        if self._asker.clock() > self._end:
            raise self._busy()

    def _busy(self) -> BackendUnavailableError:
        return BackendUnavailableError(
            f"{self._name} is busy: {self._waiting}", code="busy", name=self._name, hint="try again in a minute"
        )
