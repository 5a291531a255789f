"""Marks: what tells two values apart without holding either."""

from __future__ import annotations

import hmac
import os

from strongroom._record import Record
from strongroom.model import SecretValue, ValueType


class Mark(Record):
    """A digest of a value under a key that nobody has but this run, and whether the value is text or bytes."""

    digest: bytes
    type: ValueType

    def has_content_of(self, other: Mark) -> bool:
        """Tell whether both are of the same bytes, whatever their types."""
        return hmac.compare_digest(self.digest, other.digest)

    def is_equal_to(self, other: Mark) -> bool:
        """Tell whether both are of equal values: the same bytes, and text or bytes alike."""
        return self.has_content_of(other) and self.type is other.type

    def __repr__(self) -> str:
        return "<Mark: hidden>"


class Marker:
    """Makes marks. Those of two markers have nothing in common, so none says anything outside its run."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def mark(self, value: SecretValue) -> Mark:
        """Return the mark of a value."""
        return Mark(digest=hmac.digest(self._key, value.reveal(), "sha256"), type=value.type)
