"""The public face of masking."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from strongroom.masking.needles import MIN_BYTES, Needle, folded, needles_of, present
from strongroom.masking.stream import MaskingStream
from strongroom.masking.views import LONGEST_ESCAPE, View, views_of
from strongroom.model import SecretValue

# How a view's own text is searched; base64 and hexadecimal may stand in each.
_TEXT: Final = {
    # A field of a form has no escape in it if all that was encoded are its blanks.
    "plain": (("exact", "exact"), ("plus", "form")),
    "backslash": (("exact", "exact"),),
    "entity": (("exact", "exact"),),
    "percent": (("plus", "plus"),),
    "any": (("plus", "any"),),
}


class Masker:
    r"""Finds some values in text, in whatever form they stand there, and replaces them.

    It is the second line of defence, for output that should not hold a value in the first place: what a program
    prints, what a test logs, what an action returns to whoever asked for it.

    It knows these forms of a value, also within other text and side by side:

    - as it is, without the line breaks around it, with other line breaks (``\n``, ``\r\n``), in UTF-16 or Latin-1;
    - base64, standard or URL-safe, with or without padding, at each of the three alignments that
      other bytes before the value give it, and wrapped into lines;
    - hexadecimal in either case, also with colons, dashes or blanks between the bytes;
    - percent-encoded, with any choice of encoded characters, in either case, and with ``+`` for a blank;
    - with backslash escapes as in JSON, in Python's ``repr``, C or ``printf %q``: any choice of escaped characters,
      ``\u`` with four digits and surrogate pairs, ``\x`` with two, octal;
    - with HTML and XML entities, and with the quotes that a shell's single-quoted word needs;
    - escaped more than once or in several of these ways (JSON within JSON, a URL in JSON), unless the value itself
      contains two kinds of escapes, and base64 or hexadecimal that was escaped afterwards;
    - each line of at least 8 bytes of a value that has several, apart from the first and the last line of PEM.

    What it cannot find, since anything can be computed from a value: a part of a value (its first half, one member of
    a JSON object), reversed or re-ordered text, other encodings (base32, base64 of UTF-16 or of a form that was
    escaped before, several rounds of base64), compressed or encrypted data, digests, a value that other text
    interrupts or that comes in two outputs, and forms that are more than 12 times as long as the value. Values under
    4 bytes are left alone; ``unmaskable`` counts them. Who must not learn a value must not choose how it is printed.

    The time it takes grows with the length of the text and with the number of values, whatever the two contain.
    A masker does not change, and can be used by several threads.

    Args:
        values: What must not show: values as a manager gives them, bytes, or text (taken as UTF-8).
        replacement: What stands in its place; one for each place, however long.

    Attributes:
        unmaskable: How many of the values are shorter than 4 bytes and therefore left alone; empty ones count.
    """

    __slots__ = ("_hold", "_needles", "_replacement", "unmaskable")

    unmaskable: int

    def __init__(self, values: Iterable[SecretValue | bytes | str], *, replacement: str = "[masked]") -> None:
        contents = [_content(value) for value in values]
        maskable = {content for content in contents if len(content) >= MIN_BYTES}
        self.unmaskable = sum(len(content) < MIN_BYTES for content in contents)
        self._needles: dict[str, list[Needle]] = {}
        for content in maskable:
            for kind, needles in needles_of(content).items():
                self._needles.setdefault(kind, []).extend(needles)
        limits = [needle.limit for needles in self._needles.values() for needle in needles]
        # What begins so far before the end of the data, and all escapes in it, stand complete in it.
        self._hold = max(limits, default=0) + LONGEST_ESCAPE
        self._replacement = _content(replacement)

    def mask(self, data: bytes) -> bytes:
        """Return data with each form of a value replaced."""
        stream = self.stream()
        return stream.feed(data) + stream.finish()

    def mask_text(self, text: str) -> str:
        """Return text with each form of a value replaced; text that holds none comes back as it is."""
        content = _content(text)
        masked = self.mask(content)
        # Text that UTF-8 cannot express keeps its halves of surrogate pairs as long as nothing is found in it.
        return text if masked == content else masked.decode("utf-8", "surrogateescape")

    def finds(self, data: bytes | str) -> bool:
        """Return whether data or text holds a value in any form."""
        stream = self.stream()
        stream.feed(_content(data))
        stream.finish()
        return stream.masked > 0

    def stream(self) -> MaskingStream:
        """Return the same for data that comes in chunks; each stream is for one flow of data."""
        return MaskingStream(self._search, self._hold, self._replacement)

    def __repr__(self) -> str:
        """Tell nothing of the values, not even how many there are."""
        return "<Masker>"

    def _search(self, data: bytes, before: int) -> Iterator[tuple[int, int]]:
        """Yield the place of each form that begins before a place in the data."""
        if not self._needles:
            return
        for name, view in views_of(View(data)):
            for fold, kind in (*_TEXT[name], ("base64", "base64"), ("hex", "hex")):
                if needles := self._needles[kind]:
                    seen = folded(view, fold)
                    for needle in present(needles, seen.data):
                        yield from needle.spans(seen, before)


def _content(value: SecretValue | bytes | str) -> bytes:
    if isinstance(value, SecretValue):
        return value.reveal()
    if isinstance(value, bytes):
        return value
    try:
        # Bytes that are no UTF-8 reach a program's text as lone surrogates: so do those of file names and arguments.
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogatepass")
