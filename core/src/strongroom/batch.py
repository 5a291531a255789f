"""Reading several secrets at once: one call a backend for what is not cached, and an answer for each name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from strongroom._record import Record
from strongroom.access import printable
from strongroom.cache import Flight
from strongroom.contracts.backend import ReadManyRequest, ReadResult
from strongroom.errors import BackendError, BatchError, StrongroomError
from strongroom.loading import Load
from strongroom.model import Secret, SecretName
from strongroom.policy import Action, matches
from strongroom.reading import Reader

Led = tuple[str, Load, Flight[Secret]]
"""A name as it was written, the read that it stands for, and the load under way for it."""


class Batch(Record):
    """What reading several names gave: an answer for each of them."""

    found: dict[str, Secret]
    errors: dict[str, StrongroomError]


class BatchReader(Reader):
    """Reads secrets as one principal, one by one and several at once."""

    def get_many(self, names: Iterable[str], *, strict: bool = False) -> Batch:
        """Return several secrets, with an error for each name that has none.

        Names that are not cached are fetched from each backend together.

        Args:
            names: The secrets' names.
            strict: Raise instead of returning errors.

        Raises:
            BatchError: ``strict`` is set and at least one name failed; the message
                names those, ``errors`` holds the reason of each.
        """
        self._gate.ensure_open()
        found: dict[str, Secret] = {}
        errors: dict[str, StrongroomError] = {}
        missing: list[tuple[str, Load]] = []
        for name in _once_each(names):
            # What is no text has no answer under its own name.
            spelling = name if isinstance(name, str) else printable(name)
            with _collecting(spelling, errors):
                grant = self._grant(name)
                load = Load(grant, None, self._gate.judge(Action.READ, grant.name))
                secret = self._from_cache(grant, grant.name, load.access, None)
                if secret is not None:
                    found[spelling] = secret
                else:
                    missing.append((spelling, load))
        self._load_many(missing, found, errors)
        if strict and errors:
            raise BatchError(
                f"{len(errors)} of {len(found) + len(errors)} names failed: {', '.join(sorted(errors))}",
                errors=errors,
                hint="see the error's `errors` for each reason",
            )
        return Batch(found=found, errors=errors)

    def _load_many(
        self, missing: list[tuple[str, Load]], found: dict[str, Secret], errors: dict[str, StrongroomError]
    ) -> None:
        """Fetch what is not cached, one call a backend; what somebody else is fetching is waited for."""
        leading: dict[str, list[Led]] = {}
        following: list[tuple[str, Load]] = []
        led: set[SecretName] = set()
        for spelling, load in missing:
            # Two spellings of one name are one secret, to be asked for once.
            if load.grant.name not in led:
                flight, leads = self._cache.join(load.key)
                if leads:
                    led.add(load.grant.name)
                    leading.setdefault(load.grant.origin, []).append((spelling, load, flight))
                    continue
            following.append((spelling, load))
        try:
            for group in leading.values():
                self._load_group(group, found, errors)
        except BaseException as error:
            # Whoever waits for one of the others must not wait for ever.
            self._give_up([one for group in leading.values() for one in group], error)
            raise
        for spelling, load in following:
            with _collecting(spelling, errors):
                secret = self._from_cache(load.grant, load.key, load.access, None)
                found[spelling] = secret if secret is not None else self._loader.load(load)

    def _load_group(self, group: list[Led], found: dict[str, Secret], errors: dict[str, StrongroomError]) -> None:
        started = self._clock()
        self._cache.counters.cell.loads += 1
        backend = group[0][1].grant.backend
        try:
            answer = backend.read_many(ReadManyRequest(names=tuple(load.grant.name for _, load, _ in group)))
            outcomes: dict[SecretName, ReadResult | StrongroomError] = {**answer.found, **answer.errors}
        except StrongroomError as error:
            outcomes = {load.grant.name: error.again() for _, load, _ in group}
        for spelling, load, flight in group:
            with _collecting(spelling, errors):
                outcome = outcomes.get(load.grant.name) or _unanswered(backend.name, load.grant.name)
                found[spelling] = self._loader.settle(load, flight, outcome, started)

    def _give_up(self, group: list[Led], error: BaseException) -> None:
        for _, load, flight in group:
            if not flight.done.is_set():
                self._cache.land(load.key, flight, secret=None, error=error)
                self._loader.count(load, None, error)

    def prefetch(self, *patterns: str) -> Batch:
        """Read into the cache every secret whose name matches, where this principal may.

        Args:
            patterns: Names, or patterns such as ``db/*`` and ``db/**``.

        Raises:
            InvalidNameError: A pattern is malformed.
            UnsupportedOperationError: A backend that it concerns cannot list.
        """
        names: list[str] = []
        for pattern in patterns:
            self._gate.check_pattern(Action.READ, pattern)
            folder = "/".join(pattern.split("*", 1)[0].split("/")[:-1])
            names += [name for name in self.list(folder) if matches(pattern, name)] if "*" in pattern else [pattern]
        return self.get_many(names)

    def refresh_all(self) -> Batch:
        """Fetch every cached secret anew that this principal may read, with an error for each that could not be."""
        found: dict[str, Secret] = {}
        errors: dict[str, StrongroomError] = {}
        self._gate.ensure_open()
        cached = [key for key in self._cache.kept() if isinstance(key, str)]
        # What others have read here is none of this principal's business, and asking is no attempt to read it.
        for name in [key for key in cached if self._gate.permits(Action.READ, key)]:
            with _collecting(name, errors):
                found[name] = self.refresh(name)
        return Batch(found=found, errors=errors)


def _unanswered(backend: str, name: SecretName) -> StrongroomError:
    return BackendError(f"{backend} gave no answer for {name} in a batch", name=name, backend=backend)


@contextmanager
def _collecting(spelling: str, errors: dict[str, StrongroomError]) -> Iterator[None]:
    """Keep an error as one name's answer."""
    try:
        yield
    except StrongroomError as error:
        errors[spelling] = error


def _once_each(names: Iterable[str]) -> Iterator[str]:
    """Yield each name once; what is no text, and so may not be hashable, as it comes."""
    seen: set[str] = set()
    for name in names:
        if isinstance(name, str):
            if name in seen:
                continue
            seen.add(name)
        yield name
