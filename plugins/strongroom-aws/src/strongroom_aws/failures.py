"""Failures that threads share: who waits while another fails gets that failure, and does not try the same once more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.errors import StrongroomError
from strongroom_aws.faults import Shared, understood
from strongroom_aws.replies import Fault, Refusal

_WHAT: Final = "this request"
"""What was tried, for all who share a failure: each has asked for something else."""


class Failures:
    """Those of something that one thread does while others wait for it, and its lock is held throughout.

    Twenty threads that wait for a role which STS refuses would else ask for it twenty times, one after the other.

    Attributes:
        count: How many there have been. Look at it before waiting.
    """

    def __init__(self) -> None:
        self.count = 0
        self._last: Refusal | Fault | StrongroomError | None = None

    def meet(self, since: int) -> None:
        """Raise the last failure if there has been one since then.

        Args:
            since: The count before the wait.

        Raises:
            Shared: There has.
        """
        if self.count != since and self._last is not None:
            raise Shared(self._last)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Keep what is raised in the ``with`` block for those who wait; without its frames, which hold values."""
        try:
            yield
        except Exception as error:
            outcome = understood(error, "", _WHAT)
            self._last = outcome.again() if isinstance(outcome, StrongroomError) else outcome
            self.count += 1
            raise
