"""What verification found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from strongroom.contracts import TrailFinding

_MOST: Final = 1000


class Findings:
    """Gathers findings in the order in which they are made, up to a limit."""

    def __init__(self) -> None:
        self._found: list[TrailFinding] = []
        self._kinds: set[str] = set()

    def add(self, kind: str, place: str, detail: str) -> None:
        """Take up a finding.

        Args:
            kind: ``broken``, ``gap`` or ``unsealed``.
            place: File and line.
            detail: What was found.
        """
        # One of each kind is never left out: they decide the state.
        if len(self._found) < _MOST or kind not in self._kinds:
            self._kinds.add(kind)
            self._found.append(TrailFinding(kind=kind, place=place, detail=detail))

    def __iter__(self) -> Iterator[TrailFinding]:
        """Yield what was found."""
        return iter(self._found)
