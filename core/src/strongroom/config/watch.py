"""Whether a process looks for changes that others make: the table ``[watch]``."""

from __future__ import annotations

from typing import Final

from strongroom._record import Record
from strongroom.contracts.patterns import malformed
from strongroom.contracts.settings import Seconds

SHORTEST_EVERY: Final = 1.0


class WatchKeys(Record):
    """The table ``[watch]``."""

    every: Seconds | None = None
    """How much time lies at most between two looks at which versions are current, of the secrets that the process has
    cached or subscribed to by name; it is a random part of it, down to half. At least 1 s; it does not look unless
    given."""
    names: tuple[str, ...] = ()
    """Patterns of the names to look at; all unless given."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        short = self.every is not None and not self.every >= SHORTEST_EVERY
        return (["every is below 1s"] if short else []) + malformed(self.names)
