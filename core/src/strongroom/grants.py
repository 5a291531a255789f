"""The rules in force, and what a principal has been found allowed to read by them."""

from __future__ import annotations

import itertools
import threading
import weakref

from collections.abc import Callable
from typing import Final

from strongroom.anomaly.stage import Watch
from strongroom.cache.entries import Entry
from strongroom.contracts.audit import Reading
from strongroom.contracts.cache import Lifetime
from strongroom.model import Principal, SecretName
from strongroom.policy import Policy
from strongroom.resilience.guarded import GuardedBackend

NO_ENTRY: Final = Entry(0.0, Lifetime(fresh_until=float("-inf")), secret=None, error=None)
"""Stands where there is no cached answer; it is never served."""


class Grant:
    """A principal's right to read one name, with all that reading it needs.

    Attributes:
        reading: The same for audit sinks, which must get hold of nothing that leads to a value.
        name: The secret's name.
        origin: The configured name of its backend.
        backend: Where the secret is.
        immediate: Whether each hit is recorded at once.
        expires: When the right has to be decided anew, in seconds since 1970; ``None`` for never.
        entry: The cached answer, if it may be served without asking anybody but ``watch``.
        watch: What such a hit has to pass; ``None`` if there are no detectors.
    """

    __slots__ = ("backend", "entry", "expires", "immediate", "name", "origin", "reading", "watch")

    def __init__(
        self,
        chain: tuple[Principal, ...],
        name: SecretName,
        backend: GuardedBackend,
        *,
        immediate: bool,
        expires: float | None,
    ) -> None:
        self.reading = Reading(chain[0], chain[-1] if len(chain) > 1 else None, name, backend.name)
        self.name = name
        self.origin = backend.name
        self.backend = backend
        self.immediate = immediate
        self.expires = expires
        self.entry = NO_ENTRY
        self.watch: Watch | None = None

    @property
    def principal(self) -> Principal:
        """Who reads."""
        return self.reading.principal

    @property
    def base(self) -> Principal | None:
        """Who took on that principal, if somebody did."""
        return self.reading.base

    def serve(self, entry: Entry, watch: Watch | None) -> None:
        """Let further hits of the entry be served at once, unless each has to be looked at by itself."""
        if self.immediate or self.expires is not None or entry.secret is None:
            return
        # First what has to be passed, then what it leads to.
        self.entry = NO_ENTRY
        self.watch = watch
        self.entry = entry


class Memo(dict[str, Grant]):
    """What a principal has been found allowed to read, by the spelling that was used."""

    __slots__ = ("__weakref__",)


class Decisions:
    """The rules in force, and the memos of what has been decided by them.

    Args:
        policy: The rules at first.
        reread: Returns them anew, from where they came; the same ones unless given.

    Attributes:
        policy: The rules in force. A decision made by others is not to be remembered.
    """

    def __init__(self, policy: Policy, reread: Callable[[], Policy] | None = None) -> None:
        self.policy = policy
        self._reread = reread or (lambda: policy)
        self._turns = itertools.count(1)
        self._turn = 0
        # Held by those who read: a principal that nobody acts as any more costs nothing.
        self._memos: weakref.WeakValueDictionary[tuple[Principal, ...], Memo] = weakref.WeakValueDictionary()
        self._lock = threading.RLock()

    def memo(self, chain: tuple[Principal, ...]) -> Memo:
        """Return the memo of what a principal has been found allowed to read.

        Args:
            chain: The principal, and those whose rights limit it.
        """
        with self._lock:
            memo = self._memos.get(chain)
            if memo is None:
                memo = self._memos[chain] = Memo()
            return memo

    def reload(self) -> None:
        """Read the rules anew, and decide by them from now on.

        Raises:
            ConfigurationError: They cannot be read or are not usable; nothing has changed.
        """
        turn = next(self._turns)
        policy = self._reread()
        with self._lock:
            # Whoever began later, in another thread or a signal's handler, has read what is newer.
            if turn > self._turn:
                self._turn = turn
                self.replace(policy)

    def replace(self, policy: Policy) -> None:
        """Decide by other rules from now on, and forget every decision that was made."""
        self.policy = policy
        self.forget()

    def forget(self) -> None:
        """Forget every decision that was made."""
        with self._lock:
            memos = list(self._memos.values())
        for memo in memos:
            memo.clear()

    def after_fork(self) -> None:
        """Start with a new lock in a forked child, and with nothing decided."""
        self._lock = threading.RLock()
        self.forget()
