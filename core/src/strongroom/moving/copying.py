"""Copies what a plan says: read again, write over what was compared and nothing else, read back, compare."""

from __future__ import annotations

import time

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from strongroom._record import Record
from strongroom.crew import run_all
from strongroom.errors import AuditError, BackendError, StrongroomError, UnsupportedOperationError, VersionConflictError
from strongroom.model import SecretValue
from strongroom.moving.histories import READABLE, Seen, missing_from
from strongroom.moving.marks import Mark
from strongroom.moving.notes import Notes
from strongroom.moving.planning import Plan
from strongroom.moving.rules import IfExists, Verdict, decide
from strongroom.moving.sides import Leased, Look, Looked
from strongroom.moving.survey import Pair, Progress, Survey, counted

PAUSES: Final = (0.2, 0.5, 1.0)
"""Seconds until what was written is read back again, where the first answer is not that: a service may lag behind."""


class Copied(Record):
    """One secret that was copied."""

    version: str
    """The target's."""
    versions: int
    """How many versions were written."""
    mark: Mark


class Outcome:
    """What a copy has done so far. Names are without the folder.

    Attributes:
        copied: What was written.
        equal: What was found to be equal when it was to be written.
        kept: What the rule has left as it was.
        leased: What has turned out to be made for each reader.
        shortened: What has fewer versions in the target than in the source, with how many it has there.
        problems: Why a name was not copied, or what is wrong with the copy.
    """

    def __init__(self) -> None:
        self.copied: dict[str, Copied] = {}
        self.equal: list[str] = []
        self.kept: list[str] = []
        self.leased: list[str] = []
        self.shortened: dict[str, int] = {}
        self.problems: dict[str, StrongroomError] = {}


class Copier:
    """Carries a plan out.

    Args:
        survey: Both sides.
        plan: What is to be written.
        rule: What to do about what differs by now.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self, survey: Survey, plan: Plan, rule: IfExists, *, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        self._source = survey.source
        self._target = survey.target
        self._plan = plan
        self._rule = rule
        self._sleep = sleep
        self._begun: set[str] = set()
        """What has been written, be it only the first of several versions."""
        self.outcome = Outcome()
        self.notes = Notes(survey.source, survey.target, overwrite=rule is IfExists.OVERWRITE)

    def run(self, progress: Progress) -> None:
        """Copy everything; what concerns one name only is kept in :attr:`outcome`.

        Args:
            progress: Told how many names are done, and how many there are.

        Raises:
            BackendUnavailableError: A side is out of reach.
            AuditError: Something cannot be recorded.
        """
        for done, chunk in counted(self._plan.writes, versions=self._source.versions):
            self._copy(chunk)
            written = [pair.rest for pair in chunk if pair.rest in self.outcome.copied]
            self._read_back(written)
            # What has turned out to be another's, or another value, gets no notes of ours.
            self._each(self.notes.take, [name for name in written if name not in self.outcome.problems])
            progress(done, len(self._plan.writes))
        for _, names in counted(self._plan.equal, versions=False):
            # An earlier run may have ended between a secret and its notes.
            self._each(self.notes.take, names)

    def _each(self, do: Callable[[str], object], names: Sequence[str]) -> None:
        run_all([partial(do, name) for name in names], threads=self._target.workers)

    def _copy(self, chunk: Sequence[Pair]) -> None:
        names = [pair.rest for pair in chunk]
        fresh = self._source.look(names)
        # Where a write cannot depend on the version, this look is as near to it as can be.
        now = {} if self._target.is_conditional else self._target.look(names)
        jobs = [partial(self._copy_one, pair, fresh.pop(pair.rest), now.get(pair.rest)) for pair in chunk]
        run_all(jobs, threads=self._target.workers)

    def _copy_one(self, pair: Pair, looked: Looked, now: Looked) -> None:
        error: StrongroomError | None = None
        try:
            self._write(pair, looked, now)
        except AuditError:
            raise
        except StrongroomError as problem:
            # That of a look says that a history does not stand still; nothing was to be written then.
            if isinstance(problem, VersionConflictError) and problem is not looked and problem is not now:
                self._settle_conflict(pair, looked, problem)
            else:
                error = self.outcome.problems[pair.rest] = problem
        self._target.outages.note(error)

    def _write(self, pair: Pair, looked: Looked, now: Looked) -> None:
        if isinstance(looked, StrongroomError):
            raise looked
        if looked is None:
            return  # somebody has deleted it meanwhile
        if isinstance(now, StrongroomError):
            raise now
        if isinstance(looked, Leased) or isinstance(now, Leased):
            self.outcome.leased.append(pair.rest)
            return
        name = self._target.place.name_of(pair.rest)
        if not self._target.is_conditional and not _is_as_before(pair.target, now):
            raise self._changed(pair.rest, expected="as before", found=None)
        decision = decide(name, looked.seen, pair.target, self._rule)
        if decision.verdict is not Verdict.WRITE:
            (self.outcome.equal if decision.verdict is Verdict.EQUAL else self.outcome.kept).append(pair.rest)
            return
        marks = looked.seen.marks[-decision.lacking :]
        self._write_history(pair, looked.values[-decision.lacking :], marks)
        if len(looked.seen.marks) > 1:
            self._note_length(pair.rest, len(looked.seen.marks))

    def _write_history(self, pair: Pair, values: Sequence[SecretValue], marks: Sequence[Mark]) -> None:
        expected = self._target.expected(pair.target)
        for count, (value, mark) in enumerate(zip(values, marks, strict=True), start=1):
            try:
                expected = self._target.write(pair.rest, value, expected).version
            except VersionConflictError as conflict:
                raise self._changed(pair.rest, conflict.expected, conflict.found) from conflict
            self._begun.add(pair.rest)
            if count < len(values):
                # It will not be the current one when the others are read back.
                self._compare(pair.rest, self._target.version(pair.rest, expected).seen, mark)
            else:
                self.outcome.copied[pair.rest] = Copied(version=expected, versions=count, mark=mark)

    def _changed(self, rest: str, expected: str, found: str | None) -> VersionConflictError:
        name, backend = self._target.place.name_of(rest), self._target.place.backend
        if rest in self._begun:
            what = f"{name} was changed by somebody else in {backend} while its versions were copied"
            hint = "compare both histories with `strongroom diff --versions`"
        else:
            what = f"{name} has changed in {backend} since it was compared, and was left as it is"
            hint = "run the same command again, which compares it anew"
        return VersionConflictError(what, expected=expected, found=found, name=name, hint=hint)

    def _note_length(self, rest: str, whole: int) -> None:
        listed = self._target.manager.versions(self._target.place.name_of(rest))
        kept = sum(one.state in READABLE for one in listed)
        if kept < whole:
            self.outcome.shortened[rest] = kept

    def _settle_conflict(self, pair: Pair, looked: Looked, conflict: VersionConflictError) -> None:
        """Report a write by somebody else, unless it is what was to be written: so it is if two copy at once."""
        there = self._target.look([pair.rest])[pair.rest]
        if isinstance(there, Look) and isinstance(looked, Look) and missing_from(there.seen, looked.seen) == 0:
            self.outcome.equal.append(pair.rest)
        elif self._rule is IfExists.SKIP and pair.target is None and pair.rest not in self._begun:
            self.outcome.kept.append(pair.rest)
        else:
            self.outcome.problems[pair.rest] = conflict

    def _read_back(self, names: Sequence[str]) -> None:
        """Compare what the target holds now with what was written."""
        waiting = list(names)
        found: dict[str, Looked] = {}
        for pause in (0.0, *PAUSES):
            if not waiting:
                return
            if pause:
                self._sleep(pause)
            found = self._target.look_at_current(waiting)
            waiting = [name for name in waiting if not self._is_as_written(name, found[name])]
        for name in waiting:
            self.outcome.problems[name] = self._why_other(name, found[name])

    def _is_as_written(self, rest: str, found: Looked) -> bool:
        if not isinstance(found, Look):
            return False
        copied = self.outcome.copied[rest]
        return found.seen.version == copied.version and found.seen.current.matches(copied.mark)

    def _why_other(self, rest: str, found: Looked) -> StrongroomError:
        """Return what is wrong with a secret that does not come back as it was written."""
        if isinstance(found, StrongroomError):
            return found
        copied = self.outcome.copied[rest]
        try:
            if isinstance(found, Look) and found.seen.version == copied.version:
                self._compare(rest, found.seen, copied.mark)
            self._compare(rest, self._target.version(rest, copied.version).seen, copied.mark)
        except UnsupportedOperationError:
            pass  # of what has been there before nothing can be known
        except StrongroomError as error:
            return error
        name = self._target.place.name_of(rest)
        return VersionConflictError(
            f"{name} was changed by somebody else just after it had been copied",
            expected=copied.version,
            found=found.seen.version if isinstance(found, Look) else None,
            name=name,
            hint="compare both sides with `strongroom diff`",
        )

    def _compare(self, rest: str, seen: Seen, mark: Mark) -> None:
        if seen.current.matches(mark):
            return
        name = self._target.place.name_of(rest)
        other = "another type" if seen.current.has_content_of(mark) else "another value"
        raise BackendError(
            f"{name} comes back from {self._target.place.backend} as {other} than was written",
            name=name,
            backend=self._target.place.backend,
            hint="do not rely on this copy; the original is as it was",
        )


def _is_as_before(before: Seen | None, now: Look | None) -> bool:
    seen = now.seen if now is not None else None
    if before is None or seen is None:
        return before is seen
    return before.version == seen.version and before.current.is_equal_to(seen.current)
