"""Masking data that comes in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from strongroom.masking.views import unescaped

_WINDOW: Final = 1 << 18


class MaskingStream:
    """Masks data that comes in chunks; what comes out does not depend on where they end.

    It is made by :meth:`Masker.stream`. At most twice as much as the longest form of a value is held back, until more
    data or the end arrives. It is not safe for use by several threads at once.

    Attributes:
        masked: How many places were replaced so far.
    """

    __slots__ = ("_covered", "_held", "_hold", "_replacement", "_search", "masked")

    masked: int

    def __init__(
        self, search: Callable[[bytes, int], Iterable[tuple[int, int]]], hold: int, replacement: bytes
    ) -> None:
        self._search, self._hold, self._replacement = search, hold, replacement
        self._held = bytearray()
        # How many of the held bytes belong to a place whose replacement is out already.
        self._covered = 0
        self.masked = 0

    def feed(self, chunk: bytes) -> bytes:
        """Take the next chunk.

        Args:
            chunk: More of the data; of any size, also empty.

        Returns:
            What can be passed on by now, masked; often not all that was taken.
        """
        self._held += chunk
        passed = []
        # Each byte is searched twice at most, however small the chunks are.
        while len(self._held) > 2 * self._hold:
            window = bytes(memoryview(self._held)[: max(_WINDOW, 4 * self._hold)])
            passed.append(self._pass_on(window, unescaped(window, len(window) - self._hold)))
        return b"".join(passed)

    def finish(self) -> bytes:
        """Return the rest, masked. The stream may then be used anew; its count goes on."""
        rest = bytes(self._held)
        return self._pass_on(rest, len(rest))

    def __repr__(self) -> str:
        """Tell how many places were replaced, and nothing of the data."""
        return f"<MaskingStream: {self.masked} masked>"

    def _pass_on(self, data: bytes, cut: int) -> bytes:
        """Return the data before ``cut``, masked, and keep the rest."""
        parts, end = [], self._covered
        done = min(end, cut)
        for start, stop in sorted(self._search(data, cut)):
            if start >= end:
                parts += [data[done:start], self._replacement]
                self.masked += 1
            end = max(end, stop)
            done = min(end, cut)
        parts.append(data[done:cut])
        del self._held[:cut]
        self._covered = max(0, end - cut)
        return b"".join(parts)
