"""Reading how a file ends, from its last few kilobytes."""

from __future__ import annotations

import hashlib
import os

from typing import Final

from strongroom.contracts import Record
from strongroom_audit_jsonl.lines import LONGEST, OPENING, Head, Line, parse

_WINDOW: Final = 8192


class Tail(Record):
    """How a file ends."""

    head: Head | None = None
    """The last whole line's place in the trail; ``None`` if there is no whole line."""
    end: int = 0
    """Where the last whole line ends."""
    unsealed: int = 0
    """How many whole lines stand at the end without a seal."""
    torn: bytes = b""
    """What follows the last whole line: a write that was cut short, or of which pages never reached the disk."""
    sealed: Line | None = None
    """The sealed line that the unsealed ones follow."""
    first: Line | None = None
    """The first of the unsealed lines, if there is no sealed one before it in the file."""

    @property
    def is_ours(self) -> bool:
        """Whether what is torn looks like the beginning of a line, or like a page that never reached the disk."""
        return OPENING.startswith(self.torn[: len(OPENING)]) or not self.torn.strip(b"\0")

    def describe_torn(self) -> str:
        """Say what was torn, so that it can be recognised without being kept."""
        return f"{len(self.torn)} bytes with SHA-256 {hashlib.sha256(self.torn).hexdigest()}"


def read_tail(descriptor: int, size: int, *, lenient: bool = False) -> Tail | None:
    """Return how a file of this size ends; ``None`` if its last whole line is none of the trail's.

    Args:
        descriptor: The file.
        size: How much of it counts, in bytes.
        lenient: Pass over lines that are none of the trail's.

    Raises:
        OSError: The file cannot be read.
    """
    window = _WINDOW
    while True:
        start = max(0, size - window)
        content = os.pread(descriptor, size - start, start)
        lines, torn = _split(content, whole=start == 0)
        parsed = _from_last_seal(lines, lenient=lenient)
        if start == 0 or (parsed and (parsed[0] is None or parsed[0].seal)):
            return _tail(parsed, size - len(torn), torn)
        if window > LONGEST and b"\n" not in content:
            return None  # Nothing that the sink wrote, and it may be of any size.
        # The last line, or the last sealed one, begins further up.
        window *= 8


def tail_of(content: bytes) -> Tail | None:
    """Return how a file ends whose last part this is, passing over lines that are none of the trail's."""
    lines, torn = _split(content, whole=True)
    return _tail(_from_last_seal(lines, lenient=True), len(content) - len(torn), torn)


def _split(content: bytes, *, whole: bool) -> tuple[list[bytes], bytes]:
    """Return the whole lines and what follows the last of them."""
    *lines, torn = content.split(b"\n")
    if not whole:
        # The content begins somewhere in the file, so its first line is the rest of one.
        lines = lines[1:]
    while lines and b"\0" in lines[-1]:
        # No line holds a NUL byte; a power failure leaves them where a page had not been written.
        torn = lines.pop() + b"\n" + torn
    return lines, torn


def _from_last_seal(lines: list[bytes], *, lenient: bool) -> list[Line | None]:
    """Return the lines from the last sealed one on; ``None`` stands for one that is not the trail's."""
    parsed: list[Line | None] = []
    for raw in reversed(lines):
        line = parse(raw)
        if line is None and lenient:
            continue
        parsed.append(line)
        if line is None or line.seal:
            break
    return parsed[::-1]


def _tail(parsed: list[Line | None], end: int, torn: bytes) -> Tail | None:
    if not parsed:
        return Tail(end=end, torn=torn)
    first, last = parsed[0], parsed[-1]
    if last is None:
        return None
    return Tail(
        head=Head(seq=last.seq, digest=last.digest),
        end=end,
        unsealed=sum(1 for line in parsed if line is not None and not line.seal),
        torn=torn,
        sealed=first if first is not None and first.seal else None,
        first=first if first is not None and not first.seal else None,
    )
