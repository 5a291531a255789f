"""The detector ``denied-burst``: somebody tries what is open to it.

Names that are denied to a principal for the first time count, in a ``window`` and
``per_day``: a program that is not allowed a name and asks for it again and again is
badly configured, no more. Only very many denials are odd whatever their names. While
somebody searches, what is stopped are names that the principal does not read anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from strongroom.contracts import Access, Outcome, Repeats, Verdict
from strongroom_anomaly.counting import PerDay, Table, Window, day_window
from strongroom_anomaly.detector import StatefulDetector
from strongroom_anomaly.facts import ALLOWED, DAY, Finding, in_words, key_of, number_in_words, seconds_of, whom
from strongroom_anomaly.known_names import KnownNames, Names
from strongroom_anomaly.settings import DeniedBurstSettings
from strongroom_anomaly.stored import Row, key, pack_keys, unpack_keys

MOST_DENIED: Final = 256
"""How many denied names are remembered of a principal."""


class Denials:
    """What was denied to a principal, and what it may read."""

    __slots__ = ("all_lately", "denied", "lately", "names", "per_day", "today")

    def __init__(self, window: float) -> None:
        self.names: Names = Names()
        """What it has read."""
        self.denied: Names = Names()
        self.lately = Window(window)
        self.all_lately = Window(window)
        self.today = day_window()
        self.per_day = PerDay()

    def add(self, now: float, name: int, settings: DeniedBurstSettings) -> bool:
        """Count a denial, and return whether it is the first of its name."""
        self.all_lately.add(now)
        if name in self.denied:
            self.denied.move_to_end(name)
            return False
        if len(self.denied) >= MOST_DENIED:
            self.denied.popitem(last=False)
        self.denied[name] = None
        self.lately.add(now)
        before = self.today.at(now)
        self.today.add(now, most=settings.per_hour)
        self.per_day.add(now, self.today.total - before, max(settings.per_day, 1.5 * self.per_day.usual))
        return True


class DeniedBurstDetector(StatefulDetector):
    """Counts denials, by the policy and by the backend.

    Args:
        settings: The limits.
    """

    def __init__(self, settings: DeniedBurstSettings) -> None:
        self._settings = settings
        super().__init__("denied-burst")

    def judge(self, access: Access) -> Verdict:
        """Count a denial; or stop what is new for a principal that was just denied very much."""
        who, now = whom(access), seconds_of(access)
        with self._lock:
            if not access.allowed:
                return self._denied(access, who, now)
            denials, name = self._principals.use(key_of(who)), key_of(access.name)
            if self._known.knows(denials, name):
                return ALLOWED
            finding, block = self._finding(denials, who, now, repeated=True)
            if finding and block:
                return finding.verdict(block=True)
            self._known.add(denials, name, self._principals)
        return ALLOWED

    def repeats(self, access: Access) -> Repeats:
        """Ignore repetitions until the window has passed: what the cache answers was not denied."""
        return Repeats(until=seconds_of(access) + self._settings.window)

    def observe(self, outcome: Outcome) -> Verdict:
        """Count a denial by the backend; ``judge`` has counted the policy's."""
        access = outcome.access
        if outcome.result != "denied" or not access.allowed:
            return ALLOWED
        with self._lock:
            self._known.forget(self._principals.use(key_of(whom(access))), key_of(access.name))
            return self._denied(access, whom(access), seconds_of(access))

    def _denied(self, access: Access, who: str, now: float) -> Verdict:
        denials = self._principals.use(key_of(who))
        is_first = denials.add(now, key_of(access.name), self._settings)
        finding, block = self._finding(denials, who, now, repeated=not is_first)
        return finding.verdict(block=block) if finding else ALLOWED

    def _finding(self, denials: Denials, who: str, now: float, *, repeated: bool) -> tuple[Finding | None, bool]:
        """Return why a denial is odd, if it is, and whether what follows is to be stopped.

        Args:
            denials: Of the principal.
            who: Its name.
            now: In seconds since 1970.
            repeated: Whether the name was denied before, or the access is not denied:
                then a slow search is not reported again.
        """
        settings, window = self._settings, in_words(self._settings.window)
        usual = denials.per_day.usual
        a_day = max(float(settings.per_day), settings.times_usual * usual)
        found, block = None, False
        limits = (
            (denials.today.at(now), a_day, f"{{}} names within {in_words(DAY)}", "per_day", not repeated),
            (denials.all_lately.at(now), float(settings.repeated), f"{{}} accesses within {window}", "repeated", True),
            (denials.lately.at(now), float(settings.denials), f"{{}} names within {window}", "denials", True),
        )
        for seen, limit, what, setting, applies in limits:
            if applies and seen >= limit:
                found = Finding(
                    reason=f"{who} was denied {what.format(seen)}",
                    evidence=(
                        f"{what.format(seen)} denied" + ("" if setting == "repeated" else " for the first time"),
                        f"usual: {number_in_words(usual)} newly denied names a day",
                        f"the limit is {limit:g}, from {setting} = {getattr(settings, setting)}",
                    ),
                    subject=who,
                )
                # Who tries one name again and again is badly configured: his other accesses must go on.
                block = block or (setting == "denials" and seen >= limit * settings.block_at)
        return found, block

    def _forget(self) -> None:
        self._known: KnownNames[Denials] = KnownNames(self._settings.max_names)
        self._principals: Table[Denials] = Table(
            self._settings.max_tracked, lambda: Denials(self._settings.window), self._known.dropped
        )

    def _rows(self) -> dict[str, list[Row]]:
        rows: list[Row] = [
            [
                known,
                pack_keys(denials.names),
                pack_keys(denials.denied),
                denials.today.dump(),
                denials.per_day.dump(),
                denials.lately.dump(),
                denials.all_lately.dump(),
            ]
            for known, denials in self._principals.items()
        ]
        return {"principals": rows}

    def _loaders(self) -> dict[str, Callable[[Row], None]]:
        return {"principals": self._load}

    def _load(self, row: Row) -> None:
        known, names, denied, today, per_day, lately, all_lately = row
        denials = self._principals.use(key(known))
        for name in unpack_keys(names):
            if name not in denials.names:
                self._known.add(denials, name, self._principals)
        denials.denied = Names.fromkeys(unpack_keys(denied)[-MOST_DENIED:])
        denials.today.load(today)
        denials.per_day.load(per_day)
        # The short windows, too: each call of the command is a process of its own.
        denials.lately.load(lately)
        denials.all_lately.load(all_lately)
