"""Since when backends have been out of reach, kept in the fallback store so that the next process can tell.

``known_outage(store: GuardedBackend, backend: str) -> KnownOutage | None`` returns what some process has noted about
a backend, given the opened fallback store; it never fails. ``manager.health()`` has the same, for each backend that
does not answer, as ``PartHealth.outage``.
"""

from __future__ import annotations

import threading

from typing import Final

from strongroom._record import Record
from strongroom.background import Background
from strongroom.contracts.state import LoadStateRequest, SaveStateRequest, StateStore
from strongroom.errors import StrongroomError
from strongroom.outages.fallback import STORE_SECONDS, FallbackStore
from strongroom.pacing import within
from strongroom.resilience.conditions import ConditionChanged, ConditionState
from strongroom.resilience.guarded import GuardedBackend


class KnownOutage(Record):
    """An outage that some process has noted."""

    since: float
    """Since when, in seconds since 1970 UTC."""
    reason: str
    """Why, in one sentence without a final stop."""


class _News(Record):
    """What is to be noted about a backend."""

    outage: KnownOutage | None = None
    """``None`` if it answers."""
    answered: float | None = None
    """When it has answered this process last before that, in seconds since 1970 UTC; ``None`` for never."""

    def beside(self, noted: KnownOutage | None) -> KnownOutage | None:
        """Return what is right together with what has been noted before.

        Args:
            noted: What is noted. It is of the same outage unless the backend has answered since then.
        """
        ours = self.outage
        if ours is None or noted is None or noted.since >= ours.since:
            return ours
        if self.answered is not None and self.answered > noted.since:
            return ours
        return ours.replace(since=noted.since)


_ENDED: Final = _News()


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
        self._newest: dict[str, _News] = {}

    def note(self, change: ConditionChanged) -> None:
        """Note a change of a backend's state, a little later."""
        if change.backend == self._store.name or change.state is ConditionState.RECOVERING:
            return
        if change.state is ConditionState.DEGRADED:
            outage = KnownOutage(since=change.since, reason=change.reason)
            self._newest[change.backend] = _News(outage=outage, answered=change.answered)
        else:
            self._newest[change.backend] = _ENDED
        self._soon(change.backend)

    def answered(self, backend: str, *, soon: bool) -> None:
        """Forget what another process has noted about a backend, which has just answered.

        Args:
            backend: The backend's configured name.
            soon: Whether a little later; else when everything that waits is written.
        """
        self._newest[backend] = _ENDED
        if soon:
            self._soon(backend)

    def ended(self, backend: str) -> None:
        """Forget what is noted about a backend that answers; at once."""
        self._newest[backend] = _ENDED
        self._write(backend)

    def flush(self) -> None:
        """Write what waits to be written, now."""
        for backend in list(self._newest):
            self._write(backend)

    def _soon(self, backend: str) -> None:
        # Each has a task of its own, and each task writes what is known last by then.
        self._background.submit(object(), lambda: self._write(backend))

    def known(self, backend: str) -> KnownOutage | None:
        """Return the outage of a backend that has been noted last, unless its end has been noted, too.

        Args:
            backend: The backend's configured name.
        """
        try:
            with within(STORE_SECONDS):
                return known_outage(self._store.backend(), backend)
        except StrongroomError:
            return None  # there is no such store now

    def _write(self, backend: str) -> None:
        with self._lock:
            news = self._newest.pop(backend, None)
            if news is None:
                return  # it is written already
            before = self.known(backend)
            outage = news.beside(before)
            if outage == before:
                return

            def save() -> None:
                store = self._store.backend()
                if store.offers(StateStore):
                    store.save_state(SaveStateRequest(key=_key(backend), state=_text(outage)))

            try:
                with within(STORE_SECONDS):
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
