"""The connections of a client that nobody uses, kept without a lock."""

from __future__ import annotations

import queue

from collections import deque
from typing import Any


class Idle:
    """A stack of them in place of urllib3's.

    That one has a lock, which a signal's handler that reads could find taken by its own thread.

    Args:
        size: How many are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[Any] = deque()

    def get(self, *_how: Any, **_further: Any) -> Any:
        """Return the last one.

        Raises:
            queue.Empty: There is none.
        """
        try:
            return self._items.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, item: Any, *_how: Any, **_further: Any) -> None:
        """Keep one, or close it if there are enough; urllib3 fills its own with ``None``, of which none is kept."""
        if item is None:
            return
        if len(self._items) < self._size:
            self._items.append(item)
        else:
            item.close()

    def qsize(self) -> int:
        """Return how many there are."""
        return len(self._items)


def keep_without_lock(session: Any) -> None:
    """Have a new HTTP session of botocore keep its connections so.

    Where a version of botocore keeps its pools elsewhere, it stays as it is.

    Args:
        session: The session, which has sent nothing yet.
    """
    classes: dict[str, type] = getattr(session, "_pool_classes_by_scheme", {})
    for scheme, pool in classes.items():
        classes[scheme] = type(pool.__name__, (pool,), {"QueueCls": Idle})
