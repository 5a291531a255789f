"""When secrets are rotated, and how: the tables ``[rotation."db/*"]``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from strongroom._record import Record
from strongroom.contracts.patterns import first_match, most_specific_first
from strongroom.contracts.settings import Seconds

LONGEST_EVERY = 100 * 366 * 86400.0
DEFAULT_ROTATOR = "random"


class RotationKeys(Record):
    """The core's own keys of a ``[rotation."..."]`` table; the others are its rotator's settings."""

    rotator: str = "random"
    """What makes the new value and has the dependent take it."""
    every: Seconds | None = None
    """How long after its last rotation a secret is due for the next one; never by itself unless given."""
    window: str | None = None
    """When a rotation that is due may begin, in UTC, such as ``Sun 02:00-04:00``; at any time unless given."""
    warn_before: Seconds = 0.0
    """How long before it is due that is announced."""
    jitter: Seconds = 0.0
    """By how much later it may be due: a part of this that is always the same for a name."""
    overlap: Seconds | None = None
    """For how long after a rotation the former value has to go on working; as long as the rotator says unless given."""
    limit: Seconds = 600.0
    """How long one rotation may take, and all that it waits for. After that another process may take it over."""
    single_host: bool = False
    """Whether all who rotate these secrets are on this host: needed where the backend has neither check-and-set nor
    stages, which would keep two hosts apart."""
    renew_before: Seconds | None = None
    """For values that end by themselves: how long before their end they are due; a third of their life unless given."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        found = []
        if self.every is not None and not 0 < self.every <= LONGEST_EVERY:
            found.append("every is not above 0 and at most 100 years")
        least = {"warn_before": self.warn_before, "jitter": self.jitter, "overlap": self.overlap or 0.0}
        found += [f"{name} is below 0" for name, seconds in least.items() if seconds < 0]
        if not self.limit > 0:
            found.append("limit is not above 0")
        if self.renew_before is not None and not self.renew_before > 0:
            found.append("renew_before is not above 0")
        return found + _window_problems(self.window)


def _window_problems(window: str | None) -> list[str]:
    if window is None:
        return []
    # Imported here: most rules have none.
    from strongroom.config.windows import parse_windows

    try:
        parse_windows(window)
    except ValueError as error:
        return [f"window {error}"]
    return []


class RotationRule(Record):
    """One ``[rotation."..."]`` table."""

    pattern: str
    """The names that it is for."""
    keys: RotationKeys
    table: Any
    """The rotator's type and settings, a ``PluginTable``."""


class RotationRules:
    """All ``[rotation]`` tables, ready to be asked about names.

    Args:
        rules: The tables.
    """

    def __init__(self, rules: Iterable[RotationRule] = ()) -> None:
        self.by_pattern = {rule.pattern: rule for rule in rules}
        self._patterns = most_specific_first(self.by_pattern)

    def __bool__(self) -> bool:
        return bool(self.by_pattern)

    def rule(self, name: str) -> RotationRule | None:
        """Return the rule for a name, the most specific of several as a whole; ``None`` if there is none."""
        pattern = first_match(self._patterns, name)
        return None if pattern is None else self.by_pattern[pattern]
