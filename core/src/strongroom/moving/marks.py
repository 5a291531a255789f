"""Marks: what tells two values apart without holding either."""

from __future__ import annotations

import hmac
import json
import os

from typing import Any, Never

from strongroom._record import Record
from strongroom.model import SecretValue, ValueType


class Mark(Record):
    """A digest of a value under a key that nobody has but this run, and whether the value is text or bytes."""

    digest: bytes
    type: ValueType
    object: bytes | None = None
    """The same of what a text says that is a JSON object, however it is spelled: the fields of a Vault keep no more."""

    def has_content_of(self, other: Mark) -> bool:
        """Tell whether both are of the same bytes, whatever their types."""
        return hmac.compare_digest(self.digest, other.digest)

    def is_equal_to(self, other: Mark) -> bool:
        """Tell whether both are of equal values: the same bytes, and text or bytes alike."""
        return self.has_content_of(other) and self.type is other.type

    def matches(self, other: Mark) -> bool:
        """Tell whether a copy may have one for the other: they are equal, or the same JSON object spelled otherwise."""
        if self.is_equal_to(other):
            return True
        if self.object is None or other.object is None or self.type is not other.type:
            return False
        return hmac.compare_digest(self.object, other.object)

    def __repr__(self) -> str:
        return "<Mark: hidden>"


class Marker:
    """Makes marks. Those of two markers have nothing in common, so none says anything outside its run."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def mark(self, value: SecretValue) -> Mark:
        """Return the mark of a value."""
        content = value.reveal()
        spelled = _respelled(content) if value.type is ValueType.TEXT and content.lstrip().startswith(b"{") else None
        return Mark(
            digest=self._digest(content),
            type=value.type,
            object=self._digest(spelled) if spelled is not None else None,
        )

    def _digest(self, content: bytes) -> bytes:
        return hmac.digest(self._key, content, "sha256")


def _respelled(content: bytes) -> bytes | None:
    """Return a JSON object in the one spelling of ours; ``None`` for what has none, such as with a fraction in it."""
    try:
        found = json.loads(content, object_pairs_hook=_unique, parse_float=_refuse, parse_constant=_refuse)
        return json.dumps(found, sort_keys=True).encode() if isinstance(found, dict) else None
    except (ValueError, RecursionError):
        return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError
    return members


def _refuse(_: str) -> Never:
    raise ValueError
