"""Takes in what a program or a server says: masked before anything else, then cut, then made harmless to show."""

from __future__ import annotations

from typing import Final

from strongroom.masking import Masker

CUT: Final = "\n[cut]"
"""What follows an output that is longer than it may be."""


class Collected:
    """One output.

    Args:
        masker: Masks values in it, whatever chunks they come in.
        limit: How many bytes to keep.
    """

    def __init__(self, masker: Masker, limit: int) -> None:
        self._masker = masker
        self._stream = masker.stream()
        self._limit = limit
        self._kept = bytearray()
        self._ended = False

    @property
    def full(self) -> bool:
        """Whether nothing more is kept."""
        return len(self._kept) > self._limit

    def feed(self, chunk: bytes) -> None:
        """Take in what has arrived."""
        if not self.full:
            self._kept += self._stream.feed(chunk)

    def text(self) -> str:
        """Return it as text, once all has arrived."""
        if not self._ended and not self.full:
            # What is held back at a cut may be the beginning of a value: it is dropped.
            self._kept += self._stream.finish()
        self._ended = True
        shown = bytes(self._kept[: self._limit]).decode("utf-8", "replace")
        # Once more, as text: what was made harmless must not have become a value.
        return self._masker.mask_text(harmless(shown)) + (CUT if self.full else "")


def harmless(text: str) -> str:
    """Return a text without what would steer a terminal or change the order in which it is read.

    Each such character is replaced, never dropped: what stands on both sides of it does not come together.
    """
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(character) else character for character in text)


def _steers(character: str) -> bool:
    code = ord(character)
    return (
        (code < 0x20 and character not in "\n\t")
        or 0x7F <= code < 0xA0
        or 0xD800 <= code < 0xE000
        or 0x202A <= code <= 0x202E
        or 0x2066 <= code <= 0x2069
        or code in {0x200E, 0x200F, 0x061C, 0x2028, 0x2029}
        # What a model reads, and a person does not see: tags, selectors of variants, and what has no width. Left are
        # those that Persian and emoji are written with.
        or 0xE0000 <= code <= 0xE0FFF
        or 0xFE00 <= code <= 0xFE0E
        or 0x2060 <= code <= 0x2064
        or code in {0x00AD, 0x180E, 0x200B, 0xFEFF}
    )
