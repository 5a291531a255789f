"""How long a token lives, and when something is to be done about it. All times are on a monotonic clock."""

from __future__ import annotations

import itertools
import math
import os

from collections.abc import Callable
from typing import Final

from strongroom_vault.login.grants import Grant

RENEW: Final = (0.5, 0.6)
"""Between which parts of its life a token is renewed: the other half is left for an outage to end in."""
REPLACE: Final = (0.8, 0.9)
"""The same for a new login in the place of a token that cannot be renewed, which is no hurry and costs more."""
CAPPED: Final = 0.9
"""A renewal that gives less than this part of the first life shows that the token nears the longest it may live."""
FIRST_DELAY: Final = 1.0
LONGEST_DELAY: Final = 30.0
"""After a failure it is tried again later and later, within these seconds."""
_SERIALS: Final = itertools.count(1)


class Life:
    """A token that is in use.

    Args:
        grant: What the server gave.
        since: When it was asked for; what it gave counts from then.
        draw: Returns a random number from 0 to 1.
        renew: Whether one that was configured is renewed.
    """

    def __init__(self, grant: Grant, since: float, draw: Callable[[], float], *, renew: bool = False) -> None:
        self.serial = next(_SERIALS)
        """Another number for each token."""
        self.token = grant.token.reveal_text()
        self.configured = grant.configured
        self.batch = grant.batch
        self.request_id = grant.request_id
        self.uses = grant.uses
        """How many uses are left; ``None`` if they are not counted."""
        self.used = False
        self.process = os.getpid()
        # A request with a token that may be shown a few times only is too dear for renewing it.
        self.renewable = grant.uses is None and (renew if grant.configured else grant.renewable)
        self.expires = math.inf
        self.due = math.inf
        """When it is to be renewed or replaced."""
        self._first = grant.ttl
        self._failures = 0
        self._draw = draw
        if grant.configured:
            # Nobody knows how long it lives: renewing it tells.
            self.due = since if self.renewable else math.inf
        else:
            self._plan(since, grant.ttl)

    def lasts(self, now: float) -> bool:
        """Tell whether the server still takes it, as far as is known."""
        return now < self.expires and self.uses != 0

    def renewed(self, since: float, ttl: float | None, *, renewable: bool) -> None:
        """Take in what a renewal gave.

        Args:
            since: When it was asked for.
            ttl: How long the token lives from then on; ``None`` for ever.
            renewable: Whether it can be renewed again.
        """
        self._failures = 0
        if ttl is None and self.expires < math.inf:
            # It had an end, which does not go away: there is less than a second to it.
            self.cannot_renew(since)
            return
        self._first = self._first or ttl
        capped = ttl is not None and self._first is not None and ttl < CAPPED * self._first
        self.renewable = renewable and not capped
        self._plan(since, ttl)

    def cannot_renew(self, now: float) -> None:
        """Take in that the server does not renew it: it is used up to its end."""
        self.renewable = False
        self._plan(now, self.expires - now if self.expires < math.inf else None)

    def failed(self, now: float) -> None:
        """Try again a little later, and again and again before it ends."""
        delay = min(FIRST_DELAY * 2.0**self._failures, LONGEST_DELAY, max((self.expires - now) / 4, FIRST_DELAY / 4))
        self._failures = min(self._failures + 1, 10)
        self.due = now + delay * (0.5 + self._draw() / 2)

    def rest(self) -> None:
        """Do nothing more about it: whoever needs it when it has ended logs in."""
        self.due = math.inf

    def _plan(self, since: float, ttl: float | None) -> None:
        if ttl is None:
            self.expires = self.due = math.inf
            return
        first, last = RENEW if self.renewable else REPLACE
        self.due = since + ttl * (first + (last - first) * self._draw())
        if self.configured:
            # It is shown as long as there is no other, and cannot be replaced.
            self.due = self.due if self.renewable else math.inf
        else:
            self.expires = since + ttl
            # Those that count their uses are spent faster than they age.
            self.due = self.due if self.uses is None else math.inf
