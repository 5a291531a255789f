"""Secrets for one call, and the values that this session has used, so that none of them gets out in an output."""

from __future__ import annotations

import json
import threading

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from strongroom.errors import InvalidValueError
from strongroom.masking import Masker
from strongroom.model import SecretValue
from strongroom.references import Reference
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.targets import texts_of

if TYPE_CHECKING:
    from strongroom import SecretManager

MOST_VALUES: Final = 1000
"""How many values a session masks at least; the ones that were used longest ago are forgotten beyond that."""

_SHORTEST_MEMBER: Final = 8
"""How many characters a text within JSON needs to be masked by itself: shorter ones are ports, users and the like."""


class Filling:
    """The secrets of one call.

    Args:
        values: The value of each reference, by its text.
    """

    def __init__(self, values: dict[str, SecretValue]) -> None:
        self._values = values

    def value(self, reference: Reference) -> SecretValue:
        """Return what a reference stands for."""
        return self._values[str(reference)]

    def text(self, reference: Reference) -> str:
        """Return what a reference stands for as text.

        Raises:
            RefusedError: It is not text.
        """
        try:
            return self.value(reference).reveal_text()
        except InvalidValueError:
            pass
        # Raised outside the handler: what decoding raises may hold the bytes.
        raise RefusedError("a secret that the action needs is not text", result="unusable_secret")


class Held:
    """Reads secrets, and knows all values that it has read.

    Args:
        manager: Whose rights bound those of every action.
    """

    def __init__(self, manager: SecretManager) -> None:
        self._manager = manager
        self._lock = threading.Lock()
        self._values: list[SecretValue] = []
        self._masker = Masker(())

    @property
    def masker(self) -> Masker:
        """What masks all values that have been read so far."""
        return self._masker

    def read(self, principal: str, wanted: Iterable[Reference]) -> Filling:
        """Read what an action needs.

        Args:
            principal: As whom.
            wanted: What its templates refer to.

        Raises:
            StrongroomError: One of them cannot be read.
        """
        manager = self._manager.as_principal(principal)
        found = {str(one): manager.get(one.name, field=one.field).value for one in wanted}
        self._remember(found.values())
        return Filling(found)

    def listed(self, principal: str, wanted: Iterable[Reference]) -> list[str]:
        """Return those names among some that a principal may list.

        Args:
            principal: Who asks.
            wanted: What an action refers to.

        Raises:
            StrongroomError: A backend has no answer.
        """
        names = {str(one.name) for one in wanted}
        manager = self._manager.as_principal(principal)
        there: set[str] = set()
        for folder in sorted({name.rpartition("/")[0] for name in names}):
            there.update(manager.list(folder))
        return sorted(names & there)

    def _remember(self, values: Iterable[SecretValue]) -> None:
        parts = [part for value in values for part in (value, *_members(value))]
        with self._lock:
            is_new = any(one not in self._values for one in parts)
            others = [one for one in self._values if one not in parts]
            # None of this call's is forgotten, however many they are.
            self._values = [*others, *parts][-max(MOST_VALUES, len(parts)) :]
            if is_new:
                self._masker = Masker(self._values)


def _members(value: SecretValue) -> Iterator[SecretValue]:
    """Yield the texts within a value that is JSON: a program that gets all of it may print one."""
    try:
        content = json.loads(value.reveal())
    except (ValueError, RecursionError):
        return
    if isinstance(content, dict | list):
        yield from (SecretValue(text) for text in texts_of(content) if len(text) >= _SHORTEST_MEMBER)
