"""What stands in for a backend's answer: a write that waits for it, or the copy in the fallback store."""

from __future__ import annotations

from strongroom.contracts.backend import ReadResult
from strongroom.contracts.journal import Copy, Entry, RecallResult
from strongroom.errors import SecretDeletedError
from strongroom.fallback import FallbackStore, copied_secret, waiting_secret
from strongroom.grants import Grant
from strongroom.model import SecretName
from strongroom.outcomes import Substitute
from strongroom.resilience import GuardedBackend


class Substitutes:
    """Answers reads in a backend's stead. Nothing here is a reason to fail a read that needs no substitute.

    Args:
        store: The fallback store.
    """

    def __init__(self, store: FallbackStore) -> None:
        self._store = store

    def accepted(self, grant: Grant, version: str | None) -> Substitute | None:
        """Return the newest accepted write of a name, if one waits: it is newer than anything that the backend has.

        Args:
            grant: The right to the name.
            version: A version that is asked for; ``None`` for the current one.
        """
        found: list[Entry | None] = [None]

        def look() -> None:
            if self._store.covers(grant.backend, grant.name) and self._store.waiting():
                place = self._store.place(grant.backend, grant.name)
                found[0] = self._store.recall(place).entry if place is not None else None

        self._store.attempt(look, "the journal could not be read")
        return None if found[0] is None else self._of_entry(found[0], version)

    def _of_entry(self, entry: Entry, version: str | None) -> Substitute | None:
        secret = waiting_secret(entry, self._store.now())
        if version is not None:
            return Substitute(secret=secret) if secret is not None and secret.version == version else None
        if secret is not None:
            return Substitute(secret=secret)
        name = entry.place.name
        error = SecretDeletedError(
            f"{name} is deleted; the delete waits for {entry.place.backend} as entry {entry.id} of the journal",
            name=name,
            backend=entry.place.backend,
            hint="`strongroom journal show` tells more",
        )
        return Substitute(secret=None, error=error)

    def copy(self, grant: Grant, version: str | None) -> Substitute | None:
        """Return the copy of a secret whose backend does not answer, if there is one that may be used."""
        found: list[RecallResult | None] = [None]

        def look() -> None:
            place = self._store.place(grant.backend, grant.name)
            if place is not None and self._store.covers(grant.backend, grant.name):
                found[0] = self._store.recall(place)

        self._store.attempt(look, "the fallback store could not be read")
        copy = found[0].copy if found[0] is not None else None
        if copy is None or version not in {None, copy.version}:
            return None
        secret = copied_secret(copy, self._store.now())
        longest = self._store.rules.keys.copy_max_age
        own = self._store.rules.rules(grant.name).max_stale
        limit = longest if own is None else min(longest, own)
        return Substitute(secret=secret, keep=limit - secret.age) if secret.age < limit else None

    def answered(self, grant: Grant, result: ReadResult, version: str | None) -> None:
        """Have an answer of the backend's copied, if it is the current version and the configuration says so."""
        if version is None and result.place is None:
            self._store.keep_behind(grant.backend, grant.name, result)

    def known(self, backend: GuardedBackend, name: SecretName) -> Copy | None:
        """Return the copy of a secret, however old it is."""
        found: list[Copy | None] = [None]
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        if place is not None:
            self._store.attempt(
                lambda: found.append(self._store.recall(place).copy), "the fallback store could not be read"
            )
        return found[-1]

    def changed(self, backend: GuardedBackend, name: SecretName, result: ReadResult | None) -> str:
        """Bring the copy of what has been changed up to date.

        Args:
            backend: Its backend.
            name: Its name.
            result: What it is now; ``None`` if it is deleted.

        Returns:
            Why that failed; empty if it did not.
        """
        if not self._store.covers(backend, name) or not self._store.rules.rules(name).keep_copy:
            return ""
        copy = self._store.copy_of(backend, name, result) if result is not None else None
        place = self._store.place(backend, name)
        if place is None:
            return ""
        error = self._store.attempt(
            lambda: self._store.keep((copy,)) if copy is not None else self._store.drop(place),
            f"the copy of {name} could not be brought up to date",
        )
        return error.what if error is not None else ""

    def gone(self, grant: Grant) -> None:
        """Forget the copy of what a backend has said that there is not, or that it denies."""
        if not self._store.covers(grant.backend, grant.name):
            return
        place = self._store.place(grant.backend, grant.name)
        if place is not None and self._store.rules.rules(grant.name).keep_copy:
            self._store.attempt(lambda: self._store.drop(place), f"the copy of {grant.name} could not be dropped")
