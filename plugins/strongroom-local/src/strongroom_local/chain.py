"""The chain of names: each entry of the index is sealed together with the place of the next.

So an index that lost an entry, by an accident or by a hand, cannot answer that a
name is absent, nor leave it out of a list.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from strongroom_local.faults import tampered
from strongroom_local.keys import StoreKeys
from strongroom_local.sealing import ORIGIN, Head, open_head


def chained(keys: StoreKeys, rows: Iterable[tuple[object, object, object]]) -> Iterator[Head]:
    """Yield the head of every name, having checked that each follows the one before it.

    Args:
        keys: The store's keys.
        rows: Look-up value, current and sealed of every row, in order of the first.

    Raises:
        TamperedError: An entry is missing, added or not authentic.
    """
    expected = ORIGIN
    started = False
    for lookup, current, sealed in rows:
        if lookup != expected or (started and lookup == ORIGIN):
            raise tampered("the local store's index does not have each entry that it should")
        head = open_head(keys, lookup, current, sealed)
        expected = head.next
        if started:
            yield head
        started = True
    if not started or expected != ORIGIN:
        raise tampered("the local store's index does not have each entry that it should")
