"""What is to happen in an outage: the table ``[resilience]``."""

from __future__ import annotations

from typing import Final

from strongroom._record import Record
from strongroom.contracts.patterns import first_match, malformed, most_specific_first
from strongroom.contracts.settings import Seconds, Size

OPERATIONS: Final = frozenset({"read", "read_many", "write", "delete", "list", "versions", "other"})
"""What ``deadlines`` may name; ``other`` is everything else."""


class NameKeys(Record):
    """What is to happen to some names, as ``[resilience.names."db/**"]`` says; what it leaves out is as for all."""

    keep_copy: bool | None = None
    queue_writes: bool | None = None
    max_stale: Seconds | None = None
    """For how long an answer may stand in beyond its time, if the cache's policy lets it, and how old a copy may be;
    0 for names whose value must be the present one."""


class NameRules(Record):
    """What is to happen to one name in an outage."""

    keep_copy: bool
    queue_writes: bool
    max_stale: float | None


class ResilienceKeys(Record):
    """The table ``[resilience]``."""

    failures: int = 3
    """How many calls to a backend have to fail in a row until it is not asked any more, but for probes."""
    probe_every: Seconds = 5.0
    """How much time lies between two probes at most; it is a random part of it, down to half. A probe may take as long
    as that, or 1 s if that is longer."""
    deadline: Seconds = 60.0
    """How long any call to a backend may take."""
    deadlines: dict[str, Seconds] | None = None
    """Other times for some operations: ``read``, ``read_many``, ``write``, ``delete``, ``list``, ``versions``, and
    ``other`` for all else."""
    keep_copy: bool = False
    """Whether what is read is copied to the fallback store, encrypted, to be read there in an outage."""
    copy_max_age: Seconds = 30 * 86400.0
    """How old a copy may be to be returned."""
    queue_writes: bool = True
    """Whether writes of an outage are accepted into the journal, if there is a fallback store; else they fail."""
    journal_entries: int = 10_000
    """How many writes may wait or be set aside; beyond that, further ones are refused."""
    journal_bytes: Size = 64 * 1024 * 1024
    """How many bytes the values of these writes may have together."""
    journal_max_age: Seconds = 86400.0
    """How long a write may wait; an older one is set aside for a person to decide about."""
    names: dict[str, NameKeys] | None = None
    """What is otherwise for some names, by pattern; of several that match, the most specific counts, as a whole."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        above = {"probe_every": self.probe_every, "deadline": self.deadline, "journal_max_age": self.journal_max_age}
        above |= {f"deadlines.{name}": seconds for name, seconds in (self.deadlines or {}).items()}
        found = [f"{name} is not above 0" for name, seconds in above.items() if not seconds > 0]
        least = {"failures": self.failures, "journal_entries": self.journal_entries}
        found += [f"{name} is below 1" for name, number in least.items() if number < 1]
        found += [f"deadlines.{name} is no operation" for name in sorted((self.deadlines or {}).keys() - OPERATIONS)]
        if self.copy_max_age < 0 or self.journal_bytes < 0:
            found.append("copy_max_age or journal_bytes is below 0")
        return found + malformed(self.names or ())


class Resilience:
    """The table ``[resilience]``, ready to be asked about names.

    Args:
        keys: The table.
        fallback: The configured name of the backend that keeps copies and the journal, if there is one.
    """

    def __init__(self, keys: ResilienceKeys | None = None, fallback: str | None = None) -> None:
        self.keys = keys or ResilienceKeys()
        self.fallback = fallback
        common = self.keys
        self.common = NameRules(keep_copy=common.keep_copy, queue_writes=common.queue_writes, max_stale=None)
        self._patterns = most_specific_first(self.keys.names or ())

    def rules(self, name: str) -> NameRules:
        """Return what is to happen to a name."""
        if not self.keys.names:
            return self.common
        pattern = first_match(self._patterns, name)
        if pattern is None:
            return self.common
        own, common = self.keys.names[pattern], self.common
        return NameRules(
            keep_copy=common.keep_copy if own.keep_copy is None else own.keep_copy,
            queue_writes=common.queue_writes if own.queue_writes is None else own.queue_writes,
            max_stale=own.max_stale,
        )

    def deadline(self, operation: str) -> float:
        """Return for how many seconds an operation may take."""
        deadlines = self.keys.deadlines
        if not deadlines:
            return self.keys.deadline
        return deadlines.get(operation if operation in OPERATIONS else "other", self.keys.deadline)
