"""The format of one line and of one block; ``docs/audit-format.md`` describes it for outsiders.

A line is ``BODY,"chain":"<64 hex>"}`` or ``BODY,"chain":"<64 hex>","seal":"<64 hex>"}``.
The chain value is computed over the bytes of the body as they stand, not over a
canonical form of the JSON, so that there is no second way to write a line.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from typing import Any, Final

from strongroom.contracts import Record
from strongroom_audit_jsonl.keys import SealKey

FORMAT: Final = 1
ORIGIN: Final = bytes(32)
"""The head of a trail without lines."""
OPENING: Final = b'{"seq":'
"""What each line begins with."""
LONGEST: Final = 16 * 1024 * 1024
"""No line has more bytes than this, so nobody has to read further to find its end."""

CHAIN: Final = b',"chain":"'
SEAL: Final = b',"seal":"'


class Head(Record):
    """A place in the trail: a line's number and its chain value."""

    seq: int = 0
    digest: bytes = ORIGIN


class Start(Record):
    """Where and how a block begins."""

    head: Head
    new_file: bool
    """Whether the block's first line is the first of its file, and so states the head before it."""
    marks: tuple[dict[str, Any], ...] = ()
    """Lines that the sink adds before the events."""


class Line(Record):
    """One line, taken apart but not yet believed."""

    fields: dict[str, Any]
    body: bytes
    seq: int
    digest: bytes
    seal: str | None

    @property
    def before(self) -> int:
        """The number of the line that it says it follows."""
        return self.seq - 1 - count(self.fields, "skipped")


def link(previous: bytes, body: bytes) -> bytes:
    """Return the chain value of a line whose predecessor's is known."""
    return hashlib.sha256(previous + body).digest()


def is_genuine(line: Line, key: SealKey) -> bool:
    """Tell whether a line has a seal that was made with this key."""
    if line.seal is None or line.fields.get("key_id") != key.id:
        return False
    return hmac.compare_digest(line.seal, key.seal(line.digest))


def count(fields: dict[str, Any], name: str) -> int:
    """Return a count that a line states; 0 if it states none that makes sense."""
    value = fields.get(name)
    return value if type(value) is int and value > 0 else 0


def stated_digest(text: object) -> bytes | None:
    """Return the chain value that a line's ``prev`` states; ``None`` if it is none."""
    try:
        digest = bytes.fromhex(text) if isinstance(text, str) else b""
    except ValueError:
        return None
    return digest if len(digest) == len(ORIGIN) else None


def parse(raw: bytes) -> Line | None:
    """Take a line apart, without its line feed; ``None`` if it has not exactly the format."""
    if raw[-1:] != b"}":
        return None
    rest, seal = _cut(raw[:-1], SEAL)
    body, chain = _cut(rest, CHAIN)
    fields = _load(body)
    if chain is None or fields is None or not raw.startswith(OPENING) or type(fields.get("seq")) is not int:
        return None
    return Line(
        fields=fields,
        body=body,
        seq=fields["seq"],
        digest=bytes.fromhex(chain),
        seal=seal,
    )


def _cut(text: bytes, label: bytes) -> tuple[bytes, str | None]:
    """Split off a label with 64 lower-case hexadecimal digits and a quotation mark."""
    start = len(text) - len(label) - 65
    if start < 0 or text[start : start + len(label)] != label or text[-1:] != b'"':
        return text, None
    digits = text[start + len(label) : -1].decode("ascii", "replace")
    if digits.strip("0123456789abcdef"):
        return text, None
    return text[:start], digits


def _load(body: bytes) -> dict[str, Any] | None:
    try:
        fields = json.loads(body + b"}")
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
