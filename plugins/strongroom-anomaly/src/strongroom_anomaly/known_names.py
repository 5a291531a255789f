"""Which names each principal has used, bounded over all principals."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from strongroom_anomaly.counting import Table

Names = OrderedDict[int, None]


class HasNames(Protocol):
    """A state with names in it."""

    names: Names


Holder = TypeVar("Holder", bound=HasNames)


class KnownNames(Generic[Holder]):
    """Keeps the number of names in a table's states below a limit.

    Args:
        most: How many names all states hold together. One holds a quarter of them
            at most, so that nobody alone can make all others' be forgotten.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._most_of_one = max(most // 4, 1)
        self._count = 0

    def knows(self, holder: Holder, name: int) -> bool:
        """Tell whether a state has a name, which is its most recent one then."""
        if name not in holder.names:
            return False
        holder.names.move_to_end(name)
        return True

    def add(self, holder: Holder, name: int, table: Table[Holder]) -> None:
        """Note a name that the state has not.

        Args:
            holder: The state, the most recent one in the table.
            name: The name's key.
            table: Where least recent states are dropped if there are too many names.
        """
        if len(holder.names) >= self._most_of_one:
            holder.names.popitem(last=False)
            self._count -= 1
        holder.names[name] = None
        self._count += 1
        while self._count > self._most and len(table) > 1:
            table.drop_oldest()

    def forget(self, holder: Holder, name: int) -> None:
        """Forget a name, if the state has it."""
        if name in holder.names:
            del holder.names[name]
            self._count -= 1

    def dropped(self, holder: Holder) -> None:
        """Note that a state has been dropped from its table."""
        self._count -= len(holder.names)
