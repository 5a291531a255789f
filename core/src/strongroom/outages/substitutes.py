"""What stands in for a backend's answer: a write that waits for it, or the copy in the fallback store."""

from __future__ import annotations

from typing import Final

from strongroom.contracts.backend import ReadResult
from strongroom.contracts.journal import Copy, Entry, Place
from strongroom.errors import SecretDeletedError
from strongroom.grants import Grant
from strongroom.model import SecretName
from strongroom.outages.copies import undropped
from strongroom.outages.fallback import FallbackStore
from strongroom.outages.standins import copied_secret, waiting_secret
from strongroom.outcomes import Begun, Substitute
from strongroom.resilience.guarded import GuardedBackend

KEEP_SECONDS: Final = 60.0
"""For how long a copy that has been read serves again without being looked up; another process may drop it."""


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
        place = self._place(grant)
        entry = self._store.newest_readable(place) if place is not None else None
        return None if entry is None else self._of_entry(entry, version)

    def _place(self, grant: Grant) -> Place | None:
        covered = self._store.covers(grant.backend, grant.name)
        return self._store.place(grant.backend, grant.name) if covered else None

    def begin(self) -> Begun:
        """Return what :meth:`answered` needs to know of when a backend was asked."""
        return self._store.begin()

    def may_wait(self, grant: Grant) -> bool:
        """Tell, without asking anybody, whether a write of a name may wait that this process has accepted."""
        place = self._place(grant)
        return place is not None and self._store.may_wait(place)

    def none_waits(self, name: SecretName) -> bool:
        """Tell, without asking anybody, whether it is known that no accepted write of a name waits."""
        return self._store.known_clear(name)

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
        """Return the copy of a secret whose backend does not answer, if there is one that may be used.

        Args:
            grant: The right to the name.
            version: A version that is asked for; ``None`` for the current one.
        """
        rules, longest = self._store.rules.rules(grant.name), self._store.rules.keys.copy_max_age
        # Where none are kept any more, what is left of them is older than what has been read since.
        copy = self.known(grant.backend, grant.name) if rules.keep_copy else None
        if copy is None or version not in {None, copy.version}:
            return None
        if rules.max_stale is not None and copy.taken > self._store.now():
            # The clock has been set back: how old it is nobody can say.
            return None
        secret = copied_secret(copy, self._store.now())
        limit = longest if rules.max_stale is None else min(longest, rules.max_stale)
        if secret.age >= limit:
            return None
        return Substitute(secret=secret, keep=min(limit - secret.age, KEEP_SECONDS))

    def answered(self, grant: Grant, result: ReadResult, version: str | None, begun: Begun) -> None:
        """Have an answer of the backend's copied, if it is the current version and the configuration says so.

        Args:
            grant: The right to the name.
            result: The answer.
            version: The version that was asked for; ``None`` for the current one.
            begun: When it was asked for.
        """
        if version is None and result.place is None:
            self._store.keep_behind(grant.backend, grant.name, result, begun)

    def known(self, backend: GuardedBackend, name: SecretName) -> Copy | None:
        """Return the copy of a secret, however old it is."""
        found: list[Copy | None] = [None]
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        if place is not None:
            self._store.attempt(
                lambda: found.append(self._store.recall(place, copy_only=True).copy),
                "the fallback store could not be read",
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
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        if place is None:
            return ""
        copy = self._store.copy_of(backend, name, result) if result is not None else None
        if copy is not None and self._store.rules.rules(name).keep_copy:
            error = self._store.copies.replace(copy)
        else:
            error = self._store.copies.forget(place)
        return error.what if error is not None else ""

    def gone(self, backend: GuardedBackend, name: SecretName) -> None:
        """Forget the copy of what a backend has said that there is not, or not as it was, or that it denies.

        Args:
            backend: The backend.
            name: The secret's name.
        """
        place = self._store.place(backend, name) if self._store.covers(backend, name) else None
        error = self._store.forget_gone(place) if place is not None else None
        if error is not None:
            self._store.warn(undropped(name), error)
