"""Reading several secrets at once: one call a backend for what is not cached, and an answer for each name."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from strongroom._record import Record
from strongroom.audit.stage import recorded_at_once
from strongroom.cache.flights import Flight
from strongroom.contracts.backend import Capability, ReadManyRequest, ReadManyResult, ReadResult
from strongroom.errors import BackendError, BatchError, StrongroomError
from strongroom.model import Secret, SecretName
from strongroom.operations.reading import Reader
from strongroom.policy import Action, matches
from strongroom.stages.gate import printable
from strongroom.stages.loads import Load

CONCURRENCY: Final = 8
"""How many calls to backends one reading of several names makes at the same time."""

Progress = Callable[[int, int], object]
Wanted = tuple[str, Load]
"""A name as it was written, and the read that it stands for."""
Outcome = TypeVar("Outcome", bound=ReadResult | StrongroomError)
Led = tuple[str, Load, Flight[Secret]]
"""A name as it was written, the read that it stands for, and the load under way for it."""


class Batch(Record):
    """What reading several names gave: an answer for each of them."""

    found: dict[str, Secret]
    errors: dict[str, StrongroomError]


class Collected:
    """What reading several names has given so far.

    Args:
        total: How many names there are.
        progress: Told how many are done, and of how many.
    """

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.found: dict[str, Secret] = {}
        self.errors: dict[str, StrongroomError] = {}
        self._total = total
        self._progress = progress
        # Reentrant: a signal's handler may read while its own thread reports.
        self._lock = threading.RLock()

    @contextmanager
    def answer(self, spelling: str) -> Iterator[None]:
        """Keep an error as one name's answer."""
        try:
            yield
        except StrongroomError as error:
            self.errors[spelling] = error

    def report(self) -> None:
        """Tell how far it has come."""
        if self._progress is not None:
            with self._lock:
                self._progress(len(self.found) + len(self.errors), self._total)

    def batch(self, spellings: Iterable[str], *, strict: bool = False) -> Batch:
        """Return it all in the order in which it was asked for; if that must be complete, raise if it is not."""
        ordered = list(spellings)
        errors = {one: self.errors[one] for one in ordered if one in self.errors}
        if strict and errors:
            raise BatchError(
                f"{len(errors)} of {len(ordered)} names failed: {', '.join(sorted(errors))}",
                errors=errors,
                hint="see the error's `errors` for each reason",
            )
        return Batch(found={one: self.found[one] for one in ordered if one in self.found}, errors=errors)


class BatchReader(Reader):
    """Reads secrets as one principal, one by one and several at once."""

    @recorded_at_once
    def get_many(
        self,
        names: Iterable[str],
        *,
        strict: bool = False,
        concurrency: int = CONCURRENCY,
        progress: Progress | None = None,
    ) -> Batch:
        """Return several secrets, with an error for each name that has none.

        Names that are not cached are fetched from each backend together where it can
        answer for several at once, else one by one in a few threads.

        Args:
            names: The secrets' names.
            strict: Raise instead of returning errors.
            concurrency: How many calls to backends are made at the same time, at most.
            progress: Called with how many names have an answer and how many there are: first for
                what is cached, last with two equal numbers; from several threads, but one at a time.

        Raises:
            BatchError: ``strict`` is set and at least one name failed; the message
                names those, ``errors`` holds the reason of each.
        """
        return self._fetch(self._look_up(names, progress), strict=strict, concurrency=concurrency)

    def _fetch(
        self, looked_up: tuple[list[str], Collected, list[Wanted]], *, strict: bool = False, concurrency: int
    ) -> Batch:
        # Imported here: most programs read one by one.
        from strongroom.crew import run_all

        asked, collected, missing = looked_up
        run_all(self._jobs(missing, collected), threads=concurrency)
        return collected.batch(asked, strict=strict)

    def _look_up(
        self, names: Iterable[str], progress: Progress | None, *, ahead: bool = False
    ) -> tuple[list[str], Collected, list[Wanted]]:
        """Lead names through policy, detectors and cache; return all, what that gave, and what is to be fetched.

        If they are read ahead of their use, what is leased is refused.
        """
        self._gate.ensure_open()
        # What is no text has no answer under its own name.
        asked = [(name if isinstance(name, str) else printable(name), name) for name in _once_each(names)]
        collected = Collected(len(asked), progress)
        missing: list[Wanted] = []
        for spelling, name in asked:
            with collected.answer(spelling):
                grant = self._grant(name)
                if ahead:
                    with self._gate.recording_refusal(Action.READ, grant.name):
                        grant.backend.refuse_leased(grant.name, "prefetching")
                load = Load(self._gate, grant, None, self._gate.judge(Action.READ, grant.name))
                secret = self._from_cache(grant, grant.name, load.access, None)
                if secret is not None:
                    collected.found[spelling] = secret
                else:
                    missing.append((spelling, load))
        collected.report()
        return [spelling for spelling, _ in asked], collected, missing

    def _jobs(self, missing: list[Wanted], collected: Collected) -> Iterator[Callable[[], object]]:
        """Yield what is to be fetched: so many names at once as the backend can answer for."""
        groups: dict[str, list[Wanted]] = {}
        for wanted in missing:
            groups.setdefault(wanted[1].grant.origin, []).append(wanted)
        for group in groups.values():
            backend = group[0][1].grant.backend
            if Capability.BATCH not in backend.capabilities:
                yield from (partial(self._load_one, *wanted, collected) for wanted in group)
                continue
            size = max(1, backend.batch_size)
            for start in range(0, len(group), size):
                yield partial(self._load_chunk, group[start : start + size], collected)

    def _load_one(self, spelling: str, load: Load, collected: Collected) -> None:
        with collected.answer(spelling):
            secret = self._from_cache(load.grant, load.key, load.access, None)
            collected.found[spelling] = secret if secret is not None else self._loader.load(load)
        collected.report()

    def _load_chunk(self, chunk: list[Wanted], collected: Collected) -> None:
        """Fetch what can be had in one call; what somebody else is fetching is waited for."""
        leading: list[Led] = []
        try:
            following = self._lead_some(chunk, leading)
            self._load_group(leading, collected)
        except BaseException as error:
            # Whoever waits for one of the others must not wait for ever.
            self._give_up(leading, error)
            raise
        collected.report()
        for spelling, load in following:
            self._load_one(spelling, load, collected)

    def _lead_some(self, chunk: list[Wanted], leading: list[Led]) -> list[Wanted]:
        """Add to ``leading`` what is to be fetched here; return what somebody is fetching already."""
        following: list[Wanted] = []
        led: set[SecretName] = set()
        for spelling, load in chunk:
            # Two spellings of one name are one secret, to be asked for once.
            if load.grant.name not in led:
                own: Flight[Secret] = Flight()
                # Noted first: it must land even if this is interrupted.
                leading.append((spelling, load, own))
                if self._loader.join(load, own)[1]:
                    led.add(load.grant.name)
                    continue
                leading.pop()
            following.append((spelling, load))
        return following

    def _load_group(self, group: list[Led], collected: Collected) -> None:
        group = self._not_refused(self._not_accepted(group, collected), collected)
        if not group:
            return
        started = self._clock()
        self._cache.counters.cell.loads += 1
        backend = group[0][1].grant.backend
        try:
            answer = backend.read_many(ReadManyRequest(names=tuple(load.grant.name for _, load, _ in group)))
            outcomes = _usable(answer)
        except StrongroomError as error:
            outcomes = {load.grant.name: error.again() for _, load, _ in group}
        for spelling, load, flight in group:
            name = load.grant.name
            with collected.answer(spelling):
                outcome = _for_itself(outcomes.get(name) or _unanswered(backend.name, name), name)
                collected.found[spelling] = self._loader.settle(load, flight, outcome, started)

    def _not_accepted(self, group: list[Led], collected: Collected) -> list[Led]:
        """Return those of which no accepted write waits; the others are answered with it."""
        asked: list[Led] = []
        for spelling, load, flight in group:
            accepted = self._loader.accepted(load)
            if accepted is None:
                asked.append((spelling, load, flight))
                continue
            with collected.answer(spelling):
                collected.found[spelling] = self._loader.settle(load, flight, accepted, self._clock())
        return asked

    def _not_refused(self, group: list[Led], collected: Collected) -> list[Led]:
        """Return those of which the backend may be asked now; the others have been refused a moment ago."""
        held = [(one, self._loader.denial(one[1])) for one in group]
        asked = [one for one, refusal in held if refusal is None]
        # Only for whom the backend would be asked: this may take the turn to try it.
        credentials = self._loader.refused_credentials(asked[0][1]) if asked else None
        for (spelling, load, flight), denial in held:
            refusal = denial or credentials
            if refusal is not None:
                with collected.answer(spelling):
                    self._loader.hold_back(load, flight, _for_itself(refusal.again(), load.grant.name))
        return asked if credentials is None else []

    def _give_up(self, group: list[Led], error: BaseException) -> None:
        for _, load, flight in group:
            if not flight.done.is_set():
                self._loader.give_up(load, flight, error)
                self._loader.count(load, None, error)

    @recorded_at_once
    def prefetch(self, *patterns: str, concurrency: int = CONCURRENCY, progress: Progress | None = None) -> Batch:
        """Read into the cache every secret whose name matches, where this principal may.

        Leased credentials are left out: whoever needs one reads it. One that is asked for
        by its name has an ``UnsupportedOperationError`` among the errors.

        Args:
            patterns: Names, or patterns such as ``db/*`` and ``db/**``.
            concurrency: How many calls to backends are made at the same time, at most.
            progress: As for :meth:`get_many`; not called before the names have been listed.

        Raises:
            InvalidNameError: A pattern is malformed.
            UnsupportedOperationError: A backend that it concerns cannot list.
        """
        names: list[str] = []
        for pattern in patterns:
            self._gate.check_pattern(Action.READ, pattern)
            folder = "/".join(pattern.split("*", 1)[0].split("/")[:-1])
            names += [name for name in self.list(folder) if matches(pattern, name)] if "*" in pattern else [pattern]
        return self._fetch(self._look_up(names, progress, ahead=True), concurrency=concurrency)

    def refresh_all(self) -> Batch:
        """Fetch every cached secret anew that this principal may read, with an error for each that could not be.

        Leased credentials are left out.
        """
        self._gate.ensure_open()
        cached = [key for key in self._cache.kept() if isinstance(key, str) and not self._parts.is_leased(key)]
        # What others have read here is none of this principal's business, and asking is no attempt to read it.
        permitted = [key for key in cached if self._gate.permits(Action.READ, key)]
        collected = Collected(len(permitted), None)
        for name in permitted:
            with collected.answer(name):
                collected.found[name] = self.refresh(name)
        return collected.batch(permitted)


def _usable(answer: ReadManyResult) -> dict[SecretName, ReadResult | StrongroomError]:
    """Return what is an answer of those that a backend gave: a plugin may have filled in anything."""
    parts = [part for part in (answer.found, answer.errors) if isinstance(part, dict)]
    kinds = (ReadResult, StrongroomError)
    return {name: one for part in parts for name, one in part.items() if isinstance(one, kinds)}


def _for_itself(outcome: Outcome, name: SecretName) -> Outcome:
    """Return an outcome for one name; an error that speaks of another one may be that one's, too."""
    if isinstance(outcome, StrongroomError) and outcome.name not in {None, name}:
        outcome = outcome.again()
        outcome.name = name
    return outcome


def _unanswered(backend: str, name: SecretName) -> StrongroomError:
    return BackendError(f"{backend} gave no answer for {name} in a batch", name=name, backend=backend)


def _once_each(names: Iterable[str]) -> Iterator[str]:
    """Yield each name once; what is no text, and so may not be hashable, as it comes."""
    seen: set[str] = set()
    for name in names:
        if isinstance(name, str):
            if name in seen:
                continue
            seen.add(name)
        yield name
