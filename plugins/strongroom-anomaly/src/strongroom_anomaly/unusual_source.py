"""The detector ``unusual-source``: a principal is used on a machine, or by a program, that is new for it.

A source that several other principals use already is no stranger. For a principal
whose sources change all the time, as with machines that come and go by load, only
the stem of the name counts: what ``web-7f9c-1`` and ``web-55b8-3`` have in common.
"""

from __future__ import annotations

import itertools

from collections.abc import Callable
from typing import Final

from strongroom.contracts import Access, Outcome, Repeats, Verdict
from strongroom_anomaly.counting import Age, Changes, Table
from strongroom_anomaly.detector import StatefulDetector
from strongroom_anomaly.facts import ALLOWED, DAY, HOUR, Finding, in_words, key_of, number_in_words, seconds_of, whom
from strongroom_anomaly.known_names import Names
from strongroom_anomaly.settings import UnusualSourceSettings
from strongroom_anomaly.stored import Row, key, pack_keys, unpack_keys

MOST_SOURCES: Final = 64
"""How many machines, and how many programs, are remembered of a principal."""
MOST_STEMS: Final = 16
"""Of how many stems its sources' names may be: with more, these change all the time, too."""

HEXADECIMAL: Final = frozenset("abcdef")


class Places:
    """Where a principal is used: its machines, or its programs."""

    __slots__ = ("age", "changes", "known", "stems")

    def __init__(self, half_life: float) -> None:
        self.known: Names = Names()
        self.stems: Names = Names()
        self.age = Age()
        self.changes = Changes(half_life)


class Guests:
    """Who uses a machine or a program: the first few."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: tuple[int, ...] = ()


class UnusualSourceDetector(StatefulDetector):
    """Knows the machines and programs of each principal.

    Args:
        settings: What is odd, and for whom.
    """

    def __init__(self, settings: UnusualSourceSettings) -> None:
        self._settings = settings
        super().__init__("unusual-source")

    def judge(self, access: Access) -> Verdict:
        """Say whether machine and program are usual for whoever asks; what is not known is not judged."""
        if not access.allowed:
            return ALLOWED  # what was refused says nothing about habits
        now, who = seconds_of(access), whom(access)
        found = ALLOWED
        with self._lock:
            for kind, source in self._sources_of(access):
                verdict = self._judge(kind, source, who, now)
                found = verdict if found is ALLOWED else found
        return found

    def repeats(self, access: Access) -> Repeats:
        """Ignore repetitions: the source is known. It is refreshed hourly."""
        return Repeats(until=seconds_of(access) + HOUR)

    def observe(self, outcome: Outcome) -> Verdict:
        """Learn a source whose accesses were let through, though they should have been stopped."""
        access = outcome.access
        if self._settings.blocks and outcome.result == "ok" and access.allowed:
            who, now = whom(access), seconds_of(access)
            with self._lock:
                for kind, source in self._sources_of(access):
                    places = self._places.use(key_of(kind, who))
                    if key_of(kind, source) not in places.known:
                        self._learn(places, key_of(who), key_of(kind, source), key_of(stem_of(source)), now)
        return ALLOWED

    def _sources_of(self, access: Access) -> list[tuple[str, str]]:
        settings = self._settings
        named = (("host", access.host, settings.hosts), ("program", access.process, settings.processes))
        return [(kind, source) for kind, source, wanted in named if source and wanted]

    def _judge(self, kind: str, source: str, who: str, now: float) -> Verdict:
        places, here = self._places.use(key_of(kind, who)), key_of(kind, source)
        age = places.age.at(now)
        if here in places.known:
            places.known.move_to_end(here)
            return ALLOWED
        verdict, stem = ALLOWED, key_of(stem_of(source))
        if age >= self._settings.learn_for and places.known:
            others = len(self._guests.use(here).known)
            if others < self._settings.peers and self._is_odd(places, stem, now):
                verdict = self._odd(places, f"{kind} {source}", who, others, now)
        if verdict is ALLOWED or not self._settings.blocks:
            self._learn(places, key_of(who), here, stem, now)
        return verdict

    def _is_odd(self, places: Places, stem: int, now: float) -> bool:
        if places.changes.at(now) < self._settings.changes:
            return True
        return stem not in places.stems and len(places.stems) < MOST_STEMS

    def _learn(self, places: Places, who: int, here: int, stem: int, now: float) -> None:
        if len(places.stems) < MOST_STEMS:
            places.stems[stem] = None
        if places.age.at(now) >= DAY:
            places.changes.add(now)  # those of the first day are how it was set up
        if len(places.known) >= MOST_SOURCES:
            places.known.popitem(last=False)
        places.known[here] = None
        guests = self._guests.use(here)
        if who not in guests.known and len(guests.known) < self._settings.peers:
            guests.known = (*guests.known, who)

    def _odd(self, places: Places, source: str, who: str, others: int, now: float) -> Verdict:
        settings = self._settings
        finding = Finding(
            reason=f"{who} is used from the {source}, where it never was",
            evidence=(
                f"the first access of {who} from the {source}, which {others} others use",
                f"usual: {len(places.known)} known in {in_words(round(places.age.total / HOUR) * HOUR)}, "
                f"with {number_in_words(places.changes.at(now))} recent days of new ones",
                f"the limits are peers = {settings.peers}, changes = {settings.changes:g} "
                f"and learn_for = {in_words(settings.learn_for)}",
            ),
            subject=f"{who} from {source}",
        )
        return finding.verdict(block=settings.blocks)

    def _forget(self) -> None:
        settings = self._settings
        self._places: Table[Places] = Table(2 * settings.max_tracked, lambda: Places(settings.half_life))
        self._guests: Table[Guests] = Table(2 * settings.max_tracked, Guests)

    def _rows(self) -> dict[str, list[Row]]:
        return {
            "principals": [
                [who, pack_keys(places.known), pack_keys(places.stems), places.age.dump(), places.changes.dump()]
                for who, places in self._places.items()
            ],
            "sources": [[source, *guests.known] for source, guests in self._guests.items()],
        }

    def _loaders(self) -> dict[str, Callable[[Row], None]]:
        return {"principals": self._load_places, "sources": self._load_guests}

    def _load_guests(self, row: Row) -> None:
        source, *known = row
        self._guests.use(key(source)).known = tuple(key(who) for who in known[: self._settings.peers])

    def _load_places(self, row: Row) -> None:
        who, known, stems, age, changes = row
        places = self._places.use(key(who))
        places.known = Names.fromkeys(unpack_keys(known)[-MOST_SOURCES:])
        places.stems = Names.fromkeys(unpack_keys(stems)[-MOST_STEMS:])
        places.age.load(age)
        places.changes.load(changes)


def stem_of(source: str) -> str:
    """Return what the names of like machines have in common: the parts before the first that looks drawn by lot."""
    parts = source.replace(".", "-").replace("_", "-").split("-")
    return "-".join(itertools.takewhile(_is_word, parts))


def _is_word(part: str) -> bool:
    """Tell whether a part is chosen by people: without digits, and not long without a vowel or hexadecimal."""
    if any(map(str.isdigit, part)) or (len(part) >= 6 and HEXADECIMAL.issuperset(part.lower())):
        return False
    return len(part) <= 4 or not part.isascii() or any(letter in "aeiouy" for letter in part.lower())
