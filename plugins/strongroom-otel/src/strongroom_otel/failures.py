"""Why a collector did not confirm a request."""

from __future__ import annotations


class UndeliveredError(Exception):
    """The collector did not confirm a request.

    Args:
        reason: Why, for people; neither the data nor a header is in it.
        hint: What to do about it.
        again: Whether a later attempt may succeed.
        slow: Whether the time was used up.
    """

    def __init__(self, reason: str, *, hint: str = "", again: bool = False, slow: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint
        self.again = again
        self.slow = slow
