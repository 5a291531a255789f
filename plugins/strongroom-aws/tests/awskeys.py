"""Keys of a configuration, for tests."""

from __future__ import annotations

from strongroom.contracts import KeySource
from strongroom.model import SecretValue


class Literal(KeySource):
    """A key that is known already."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> SecretValue:
        """Return it."""
        return SecretValue(self._text)

    def describe(self) -> str:
        """Return where it comes from."""
        return "a test"


class Changing(Literal):
    """A key that changes with each look, as one that somebody else renews: its beginning and the look's number."""

    looks = 0

    def read(self) -> SecretValue:
        """Return the next one."""
        self.looks += 1
        return SecretValue(f"{self._text}{self.looks}")
