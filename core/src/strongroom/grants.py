"""What a principal has been found allowed to read, with all that reading it again needs."""

from __future__ import annotations

from typing import Final

from strongroom.anomaly import Watch
from strongroom.cache import Entry
from strongroom.contracts.audit import Reading
from strongroom.contracts.cache import Lifetime
from strongroom.model import Principal, SecretName
from strongroom.resilience import GuardedBackend

NO_ENTRY: Final = Entry(0.0, Lifetime(fresh_until=float("-inf")), secret=None, error=None)
"""Stands where there is no cached answer; it is never served."""


class Grant(Reading):
    """A principal's right to read one name, with all that reading it needs.

    Attributes:
        backend: Where the secret is.
        immediate: Whether each hit is recorded at once.
        expires: When the right has to be decided anew, in seconds since 1970; ``None`` for never.
        entry: The cached answer, if it may be served without asking anybody but ``watch``.
        watch: What such a hit has to pass; ``None`` if there are no detectors.
    """

    __slots__ = ("backend", "entry", "expires", "immediate", "watch")

    name: SecretName

    def __init__(
        self,
        chain: tuple[Principal, ...],
        name: SecretName,
        backend: GuardedBackend,
        *,
        immediate: bool,
        expires: float | None,
    ) -> None:
        super().__init__(chain[0], chain[-1] if len(chain) > 1 else None, name, backend.name)
        self.backend = backend
        self.immediate = immediate
        self.expires = expires
        self.entry = NO_ENTRY
        self.watch: Watch | None = None

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
