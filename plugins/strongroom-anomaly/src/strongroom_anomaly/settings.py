"""What a configuration may say in an ``[[anomaly]]`` table of each type."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom.contracts import Record, Seconds


class RateSettings(Record):
    """Settings of the detector ``rate``."""

    window: Seconds = 60.0
    """What accesses of a principal are counted in."""
    name_window: Seconds = 600.0
    """What accesses of a principal to one name from one machine are counted in."""
    times_usual: float = 5.0
    """How many times the usual number of accesses in a busy window is odd, for a principal or one of its names."""
    times_busiest: float = 2.0
    """And how many times the busiest window of recent weeks; both must be exceeded."""
    at_least: int = 100
    """Fewer accesses of a principal in a window are never odd."""
    at_least_per_name: int = 100
    """Fewer accesses of a principal to one name from one machine in a window are never odd."""
    block_at: float = 100.0
    """How many times the odd number is to be stopped."""
    learn_for: Seconds = 86400.0
    """How long a principal, or its use of a name, is watched before it is judged."""
    half_life: Seconds = 14 * 86400.0
    """After which time what was seen counts half."""
    max_tracked: int = 4000
    """How many principals, and how many uses of a name by one, are remembered; the least recent are forgotten."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return _sentences(
            (
                *_common(self),
                (self.window >= 1, "window is below 1s"),
                (self.name_window >= 1, "name_window is below 1s"),
                (self.half_life > 0, "half_life is not above 0"),
                *(
                    (getattr(self, name) >= 1, f"{name} is below 1")
                    for name in ("times_usual", "times_busiest", "at_least", "at_least_per_name", "block_at")
                ),
            )
        )


class EnumerationSettings(Record):
    """Settings of the detector ``enumeration``."""

    window: Seconds = 3600.0
    """In which time many new names are odd."""
    distinct: int = 10
    """How many names that a principal never read before are odd in a window."""
    missing: int = 10
    """How many names that do not exist, each asked for the first time, are odd in a window."""
    per_day: int = 15
    """How many new names are odd in 24 hours, however slowly they come."""
    per_hour: int = 4
    """How many new names of one hour count for ``per_day``: a release brings many at once, a slow search few."""
    times_usual: float = 3.0
    """How many times the usual number of new names a day is odd, where that is more than ``per_day``."""
    block_at: float = 6.0
    """How many times the odd number is to be stopped."""
    learn_for: Seconds = 7 * 86400.0
    """How long a principal is new: ``per_day`` does not apply, and the others are higher."""
    while_learning: float = 8.0
    """How many times as high ``distinct`` and ``missing`` are for a principal that is new."""
    max_tracked: int = 2000
    """How many principals are remembered; the least recent are forgotten."""
    max_names: int = 50_000
    """How many names are remembered for all principals together, a quarter of them for one at most."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        names = ("distinct", "missing", "per_day", "per_hour", "times_usual", "block_at", "while_learning", "max_names")
        return _sentences(
            (
                *_common(self),
                (self.window >= 1, "window is below 1s"),
                *((getattr(self, name) >= 1, f"{name} is below 1") for name in names),
            )
        )


class DeniedBurstSettings(Record):
    """Settings of the detector ``denied-burst``."""

    window: Seconds = 300.0
    """In which time many denials are odd."""
    denials: int = 4
    """How many names, each denied to a principal for the first time, are odd in a window."""
    repeated: int = 100
    """How many denials are odd in a window, of whatever names: more than somebody who tries again."""
    per_day: int = 4
    """How many names, each denied for the first time, are odd in 24 hours."""
    per_hour: int = 4
    """How many of one hour count for ``per_day``: a wrong policy denies many at once, a slow search few."""
    times_usual: float = 3.0
    """How many times the usual number of newly denied names a day is odd, where that is more than ``per_day``."""
    block_at: float = 5.0
    """How many times the odd number stops whatever is new for the principal, until the window has passed."""
    max_tracked: int = 2000
    """How many principals are remembered; the least recent are forgotten."""
    max_names: int = 40_000
    """How many names are remembered that principals read, a quarter of them for one at most; these go on."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        names = ("denials", "repeated", "per_day", "per_hour", "times_usual", "block_at", "max_tracked", "max_names")
        return _sentences(
            (
                (self.window >= 1, "window is below 1s"),
                *((getattr(self, name) >= 1, f"{name} is below 1") for name in names),
            )
        )


class FirstUseSettings(Record):
    """Settings of the detector ``first-use``."""

    learn_for: Seconds = 7 * 86400.0
    """How long a principal is watched before it is judged."""
    established: Seconds = 86400.0
    """How long ago others must have begun to use a name; a younger one belongs to a release."""
    names: int = 4
    """How many first uses of such names are odd in a window."""
    window: Seconds = 3600.0
    """In which time they are."""
    shared_by: int = 2
    """A name that more other principals than this use is shared, and its first use by one more is not odd."""
    unknown_names: bool = False
    """Whether names that nobody has used before are odd, too; for processes with few principals."""
    after_start: Seconds = 600.0
    """How long after the start of the process nothing is odd: a release starts processes."""
    changes: float = 1.5
    """How many recent days with new names make a principal one that often has some; it is not judged."""
    half_life: Seconds = 14 * 86400.0
    """After which time such a day counts half."""
    blocks: bool = False
    """Whether such first uses are to be stopped; otherwise they only alert."""
    max_tracked: int = 2000
    """How many principals are remembered; the least recent are forgotten."""
    max_names: int = 40_000
    """How many uses of a name by a principal are remembered, a quarter of them for one at most."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        names = ("names", "window", "shared_by", "max_names")
        return _sentences(
            (
                *_common(self),
                (self.half_life > 0, "half_life is not above 0"),
                (self.established >= 0, "established is below 0"),
                (self.after_start >= 0, "after_start is below 0"),
                (self.changes > 0, "changes is not above 0"),
                *((getattr(self, name) >= 1, f"{name} is below 1") for name in names),
            )
        )


class UnusualTimeSettings(Record):
    """Settings of the detector ``unusual-time``."""

    learn_for: Seconds = 14 * 86400.0
    """How long a principal is watched before it is judged."""
    min_hours: int = 10
    """In how many different hours it must have been used by then."""
    tolerance: int = 2
    """How many hours before or after a usual one are usual, too."""
    rare: float = 0.1
    """The share of a principal's uses at lone hours above which its hours are irregular; it is not judged."""
    peers: int = 2
    """While this many other principals are at work at hours unusual for them, something is going on: it is not odd."""
    half_life: Seconds = 28 * 86400.0
    """After which time an hour counts half."""
    blocks: bool = False
    """Whether an access at an unusual hour is to be stopped; otherwise it only alerts."""
    max_tracked: int = 2000
    """How many principals are remembered; the least recent are forgotten."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return _sentences(
            (
                *_common(self),
                (self.half_life > 0, "half_life is not above 0"),
                (self.min_hours >= 1, "min_hours is below 1"),
                (self.peers >= 1, "peers is below 1"),
                (0 <= self.tolerance <= 6, "tolerance is not between 0 and 6"),
                (0 < self.rare <= 1, "rare is not above 0 and at most 1"),
            )
        )


class UnusualSourceSettings(Record):
    """Settings of the detector ``unusual-source``."""

    learn_for: Seconds = 7 * 86400.0
    """How long a principal is watched before it is judged."""
    hosts: bool = True
    """Whether a machine that is new for a principal is odd."""
    processes: bool = True
    """Whether a program that is new for a principal is odd."""
    peers: int = 5
    """A machine or program that this many other principals use already is not odd."""
    changes: float = 1.5
    """How many recent days with new sources make a principal one that moves about: only the kind of name counts."""
    half_life: Seconds = 14 * 86400.0
    """After which time such a day counts half."""
    blocks: bool = False
    """Whether an access from a new source is to be stopped; otherwise it only alerts."""
    max_tracked: int = 2000
    """How many principals, and how many sources, are remembered; the least recent are forgotten."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        return _sentences(
            (
                *_common(self),
                (self.half_life > 0, "half_life is not above 0"),
                (self.peers >= 1, "peers is below 1"),
                (self.changes > 0, "changes is not above 0"),
            )
        )


Learning = RateSettings | EnumerationSettings | FirstUseSettings | UnusualTimeSettings | UnusualSourceSettings


def _common(settings: Learning) -> tuple[tuple[bool, str], ...]:
    return (
        (settings.learn_for >= 0, "learn_for is below 0"),
        (settings.max_tracked >= 1, "max_tracked is below 1"),
    )


def _sentences(rules: Iterable[tuple[bool, str]]) -> list[str]:
    return [sentence for kept, sentence in rules if not kept]
