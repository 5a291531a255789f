"""Text from secrets: it does not show itself, and is remembered so that reports can be searched for it."""

from __future__ import annotations

import os
import threading

from typing import Final

from strongroom import Secret, SecretValue
from strongroom.masking import Masker

SHOWN: Final = "'[hidden]'"
REMEMBERED: Final = 8
"""How many values of one secret are remembered, the newest: leased credentials change every hour."""


class HiddenText(str):
    """Text of a secret: a ``str`` like any other, but ``repr`` does not show it.

    So whatever prints settings does not either: ``manage.py diffsettings``, the debug page, a traceback with local
    variables. What is made of it is plain text again: ``str()`` of it, a slice, a formatted string, JSON. Pickled
    and read again it is the same.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return SHOWN


class Known:
    """The values that have left strongroom by this distribution. Threads may share it."""

    def __init__(self) -> None:
        self._values: dict[str, list[SecretValue]] = {}
        self._masker: Masker | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """Have a lock in a forked child that no thread of the parent's holds."""
        self._lock = threading.Lock()

    def reveal(self, secret: Secret, place: str) -> HiddenText:
        """Return a secret's text, and remember it.

        Args:
            secret: The secret.
            place: What stands for the secret, or for its member: of each the newest values are remembered.

        Raises:
            InvalidValueError: It is no text.
        """
        text = HiddenText(secret.reveal_text())
        with self._lock:
            values = self._values.setdefault(place, [])
            if secret.value not in values:
                values.append(secret.value)
                del values[:-REMEMBERED]
                self._masker = None
        return text

    def masker(self) -> Masker:
        """Return what finds all these values."""
        with self._lock:
            if self._masker is None:
                self._masker = Masker([value for values in self._values.values() for value in values])
            return self._masker


known: Final = Known()
"""The values of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=known.after_fork)
