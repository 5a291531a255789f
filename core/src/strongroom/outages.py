"""Since when backends have been out of reach, kept in the fallback store so that the next process can tell.

``known_outage(store: GuardedBackend, backend: str) -> KnownOutage | None`` returns what some process has noted about
a backend, given the opened fallback store; it never fails. ``manager.health()`` has the same, for each backend that
does not answer, as ``PartHealth.outage``.
"""

from __future__ import annotations

import threading

from strongroom._record import Record
from strongroom.background import Background
from strongroom.conditions import ConditionChanged, State
from strongroom.contracts.state import LoadStateRequest, SaveStateRequest, StateStore
from strongroom.errors import StrongroomError
from strongroom.fallback import FallbackStore
from strongroom.resilience import GuardedBackend


class KnownOutage(Record):
    """An outage that some process has noted."""

    since: float
    """Since when, in seconds since 1970 UTC."""
    reason: str
    """Why, in one sentence without a final stop."""


class Outages:
    """Notes when outages begin and end. Nothing here is a reason to fail anything.

    Args:
        store: The fallback store.
        background: Where it is written, so that nobody waits for it.
    """

    def __init__(self, store: FallbackStore, background: Background) -> None:
        self._store = store
        self._background = background
        self.after_fork()

    def after_fork(self) -> None:
        """Start with nothing to write in a forked child: that is the parent's."""
        self._lock = threading.RLock()
        self._newest: dict[str, KnownOutage | None] = {}

    def note(self, change: ConditionChanged) -> None:
        """Note a change of a backend's state, a little later."""
        if change.backend == self._store.name or change.state is State.RECOVERING:
            return
        out = change.state is State.DEGRADED
        self._newest[change.backend] = KnownOutage(since=change.since, reason=change.reason) if out else None
        # Each has a task of its own, and each task writes what is known last by then.
        self._background.submit(object(), lambda: self._write(change.backend))

    def ended(self, backend: str) -> None:
        """Forget what is noted about a backend that answers; at once."""
        if self.known(backend) is not None:
            self._newest[backend] = None
            self._write(backend)

    def known(self, backend: str) -> KnownOutage | None:
        """Return the outage of a backend that has been noted last, unless its end has been noted, too.

        Args:
            backend: The backend's configured name.
        """
        try:
            return known_outage(self._store.backend(), backend)
        except StrongroomError:
            return None  # there is no such store now

    def _write(self, backend: str) -> None:
        with self._lock:
            outage = self._newest.get(backend)

            def save() -> None:
                store = self._store.backend()
                if store.offers(StateStore):
                    store.save_state(SaveStateRequest(key=_key(backend), state=_text(outage)))

            try:
                self._store.attempt(save, "since when an outage lasts could not be noted")
            except StrongroomError:
                return  # a store that could never do it; whoever needs more of it hears of that


def known_outage(store: GuardedBackend, backend: str) -> KnownOutage | None:
    """Return the outage of a backend that has been noted last, unless its end has been noted, too.

    Args:
        store: The fallback store. One that keeps no states, or does not answer, knows of none.
        backend: The backend's configured name.
    """
    if not store.offers(StateStore):
        return None
    try:
        return _understood(store.load_state(LoadStateRequest(key=_key(backend))).state)
    except StrongroomError:
        return None


def _key(backend: str) -> str:
    return f"outage/{backend}"


def _text(outage: KnownOutage | None) -> bytes:
    import json  # no process needs it in which all goes well

    return json.dumps({} if outage is None else {"since": outage.since, "reason": outage.reason}).encode()


def _understood(state: bytes | None) -> KnownOutage | None:
    import json

    try:
        found = json.loads(state or b"{}")
        return KnownOutage(since=float(found["since"]), reason=str(found["reason"]))
    # Nothing, the note that it has ended, or the text of another version of this.
    except (ValueError, TypeError, KeyError):
        return None
