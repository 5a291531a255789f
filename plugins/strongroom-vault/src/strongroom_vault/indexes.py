"""``X-Vault-Index``: how far a cluster's log must have got in a node before it may answer."""

from __future__ import annotations

import base64
import binascii
import json
import threading

from typing import Final

HEADER: Final = "X-Vault-Index"

# A node that is behind shall not refuse but ask the active one. The header has no effect without an index.
_FORWARD: Final = {"X-Vault-Inconsistent": "forward-active-node"}

_NEVER_REACHED: Final = str(2**62)


class Index:
    """The newest state of the cluster that our own writes have made. Threads may share it.

    Attributes:
        headers: What a request must carry in order not to see an older one; empty if nothing is known.
        changing: What one must carry that changes something. Only the active node may decide on it: another one
            would hold a condition against a state that is past, and find nothing to delete that is new. Empty
            as long as the cluster is not known.
    """

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.changing: dict[str, str] = {}
        self._newest: tuple[str, int] | None = None
        self._lock = threading.RLock()

    def note(self, index: str | None) -> None:
        """Take up the header of an answer to a write.

        Args:
            index: Its text, if it has one.
        """
        if not index:
            return
        parsed = parse(index)
        self._learn(parsed)
        with self._lock:
            newest = self._newest
            if parsed is not None and newest is not None and parsed[0] == newest[0] and parsed[1] <= newest[1]:
                return
            self._newest = parsed
            self.headers = {HEADER: index, **_FORWARD}

    def learn(self, index: str | None) -> None:
        """Take up which cluster it is from the header of an answer to a read; how far that one is does not matter.

        Args:
            index: Its text, if it has one.
        """
        if index and not self.changing:
            self._learn(parse(index))

    def forget(self) -> None:
        """Forget it: the server cannot read it any more."""
        with self._lock:
            self._newest = None
            self.headers = {}
            self.changing = {}

    def after_fork(self) -> None:
        """Take a lock of one's own in a forked child: another thread of the parent may have held it."""
        self._lock = threading.RLock()

    def _learn(self, parsed: tuple[str, int] | None) -> None:
        self.changing = {} if parsed is None else beyond_all(parsed[0])


def beyond_all(cluster: str) -> dict[str, str]:
    """Return headers with which only the active node answers: each other one finds that it is behind.

    Args:
        cluster: The id of the cluster.
    """
    text = json.dumps({"cluster": cluster, "value": _NEVER_REACHED})
    return {HEADER: base64.b64encode(text.encode()).decode(), **_FORWARD}


def parse(index: str) -> tuple[str, int] | None:
    """Return an index's cluster and position; ``None`` if it is of another form, which servers keep to themselves."""
    try:
        found = json.loads(base64.b64decode(index, validate=True))
        return str(found["cluster"]), int(found["value"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
