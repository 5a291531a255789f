"""The settings of the rotators that the core itself offers."""

from __future__ import annotations

from strongroom._record import Record
from strongroom.generators import PasswordRules, check_random


class FieldSettings(Record):
    """What each rotator of values that nobody has to take may be told."""

    field: str | None = None
    """The member of a JSON object that is replaced, all others staying; unless given, the value as a whole."""


class RandomSettings(FieldSettings):
    """Settings of the rotator ``random``."""

    size: int = 32
    """How many random bytes, at least 16."""
    encoding: str = "raw"
    """``raw`` for the bytes themselves; ``hex`` or ``base64url`` for text that stands for them."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = check_random(self.size, self.encoding)
        if self.field is not None and self.encoding == "raw":
            found.append("field needs an encoding: a member of a JSON object is text")
        return found


class PasswordSettings(PasswordRules):
    """Settings of the rotator ``password``."""

    field: str | None = None
    """As in ``FieldSettings``."""


class UuidSettings(FieldSettings):
    """Settings of the rotator ``uuid``."""
