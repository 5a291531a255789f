"""The detector ``enumeration``: many names that a principal never read before.

Fast (``distinct`` in a ``window``), slowly (``per_day``), or of what does not exist
(``missing``). Names that the principal reads anyway never count and are never
stopped.
"""

from __future__ import annotations

import math

from collections.abc import Callable
from typing import Final

from strongroom.contracts import Access, Outcome, Repeats, Verdict
from strongroom_anomaly.counting import Age, PerDay, Table, Told, Window, day_window
from strongroom_anomaly.detector import StatefulDetector
from strongroom_anomaly.facts import (
    ALLOWED,
    HOUR,
    Finding,
    in_words,
    key_of,
    number_in_words,
    object_of,
    seconds_of,
    whom,
)
from strongroom_anomaly.known_names import KnownNames, Names
from strongroom_anomaly.settings import EnumerationSettings
from strongroom_anomaly.stored import Row, key, pack_keys, unpack_keys

_LIMITS: Final = ("distinct", "per_day")
MOST_MISSING: Final = 256
"""How many missing names are remembered of a principal: it asks for these each time that it starts, say."""


class Reader:
    """What is known of a principal."""

    __slots__ = ("age", "lately", "missing", "missing_lately", "names", "per_day", "today", "told")

    def __init__(self, window: float) -> None:
        self.names: Names = Names()
        self.missing: Names = Names()
        self.age = Age()
        self.lately = Window(window)
        self.missing_lately = Window(window)
        self.today = day_window()
        self.per_day = PerDay()
        self.told = {setting: Told() for setting in _LIMITS}


class EnumerationDetector(StatefulDetector):
    """Counts new names.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: EnumerationSettings) -> None:
        self._settings = settings
        super().__init__("enumeration")

    def judge(self, access: Access) -> Verdict:
        """Count an access, if its name is new for the principal, and compare with the limits."""
        if not access.allowed or access.action == "list":
            return ALLOWED
        now, who, name = seconds_of(access), whom(access), object_of(access)
        with self._lock:
            reader = self._readers.use(key_of(who))
            learning = reader.age.at(now) < self._settings.learn_for
            if self._known.knows(reader, name):
                return ALLOWED
            if access.action not in ("read", "decrypt"):
                self._known.add(reader, name, self._readers)  # who makes or changes names does not search for them
                return ALLOWED
            self._count(reader, now)
            finding, block = self._finding(reader, who, now, learning=learning)
            if not block:
                self._known.add(reader, name, self._readers)
        return finding.verdict(block=block) if finding else ALLOWED

    def repeats(self, access: Access) -> Repeats:
        """Ignore repetitions: the name is known. It is refreshed hourly."""
        return Repeats(until=seconds_of(access) + HOUR)

    def observe(self, outcome: Outcome) -> Verdict:
        """Count a name that is not there; and learn one that was read, though it should have been stopped."""
        access = outcome.access
        if not access.allowed or outcome.result not in {"ok", "not_found"}:
            return ALLOWED
        now, who, name = seconds_of(access), whom(access), object_of(access)
        with self._lock:
            reader = self._readers.use(key_of(who))
            if outcome.result == "ok":
                if name not in reader.names:
                    self._known.add(reader, name, self._readers)
                return ALLOWED
            if name in reader.missing:
                reader.missing.move_to_end(name)
                return ALLOWED
            if len(reader.missing) >= MOST_MISSING:
                reader.missing.popitem(last=False)
            reader.missing[name] = None
            reader.missing_lately.add(now)
            return self._judge_missing(reader, who, now)

    def _count(self, reader: Reader, now: float) -> None:
        reader.lately.add(now)
        before = reader.today.at(now)
        reader.today.add(now, most=self._settings.per_hour)
        # No more than half as much again as is usual already: an attack teaches little.
        most = max(self._settings.per_day, 1.5 * reader.per_day.usual)
        reader.per_day.add(now, reader.today.total - before, most)

    def _finding(self, reader: Reader, who: str, now: float, *, learning: bool) -> tuple[Finding | None, bool]:
        """Return why the new name is odd, if it is and was not told yet, and whether it is to be stopped."""
        settings = self._settings
        factor = settings.while_learning if learning else 1.0
        a_day = math.inf if learning else max(settings.per_day, settings.times_usual * reader.per_day.usual)
        limits = (
            (reader.lately.at(now), settings.distinct * factor, settings.window, "distinct", settings.distinct),
            (reader.today.at(now), a_day, 24 * HOUR, "per_day", settings.per_day),
        )
        stopped = reader.missing_lately.at(now) >= settings.missing * factor * settings.block_at
        for seen, limit, span, setting, value in limits:
            block = stopped or seen >= limit * settings.block_at
            if reader.told[setting].is_news(seen, limit) or block:
                finding = Finding(
                    reason=f"{who} read {seen} names within {in_words(span)} that it never read before",
                    evidence=(
                        f"{seen} new names within {in_words(span)}"
                        + (f", at most {settings.per_hour} an hour counted" if setting == "per_day" else ""),
                        f"usual: {number_in_words(reader.per_day.usual)} new names a day, {len(reader.names)} known",
                        f"the limit is {limit:g}, from {setting} = {value}",
                    ),
                    subject=who,
                )
                return finding, block
        return None, False

    def _judge_missing(self, reader: Reader, who: str, now: float) -> Verdict:
        settings = self._settings
        learning = reader.age.at(now) < settings.learn_for
        limit = settings.missing * (settings.while_learning if learning else 1.0)
        seen = reader.missing_lately.at(now)
        if seen < limit:
            return ALLOWED
        span = in_words(settings.window)
        finding = Finding(
            reason=f"{who} asked for {seen} names within {span} that do not exist",
            evidence=(
                f"{seen} missing names within {span}, each asked for the first time",
                f"{len(reader.names)} names are known of it",
                f"the limit is {limit:g}, from missing = {settings.missing}",
            ),
            subject=who,
        )
        return finding.verdict(block=seen >= limit * settings.block_at)

    def _forget(self) -> None:
        self._known: KnownNames[Reader] = KnownNames(self._settings.max_names)
        self._readers: Table[Reader] = Table(
            self._settings.max_tracked, lambda: Reader(self._settings.window), self._known.dropped
        )

    def _rows(self) -> dict[str, list[Row]]:
        rows: list[Row] = [
            [
                known,
                pack_keys(reader.names),
                pack_keys(reader.missing),
                reader.age.dump(),
                reader.today.dump(),
                reader.per_day.dump(),
                reader.lately.dump(),
                reader.missing_lately.dump(),
                [reader.told[setting].dump() for setting in _LIMITS],
            ]
            for known, reader in self._readers.items()
        ]
        return {"principals": rows}

    def _loaders(self) -> dict[str, Callable[[Row], None]]:
        return {"principals": self._load}

    def _load(self, row: Row) -> None:
        known, names, missing, age, today, per_day, lately, missing_lately, told = row
        reader = self._readers.use(key(known))
        for name in unpack_keys(names):
            if name not in reader.names:
                self._known.add(reader, name, self._readers)
        reader.missing = Names.fromkeys(unpack_keys(missing)[-MOST_MISSING:])
        reader.age.load(age)
        reader.today.load(today)
        reader.per_day.load(per_day)
        # The short windows, too: each call of the command is a process of its own.
        reader.lately.load(lately)
        reader.missing_lately.load(missing_lately)
        for setting, count in zip(_LIMITS, told, strict=True):
            reader.told[setting].load(count)
