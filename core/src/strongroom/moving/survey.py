"""Compares two sides name by name, a few at a time, so that few values are held at once."""

from __future__ import annotations

import enum

from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from strongroom._record import Record
from strongroom.errors import StrongroomError, UnsupportedOperationError
from strongroom.moving.histories import Seen
from strongroom.moving.sides import Leased, Look, Looked, Side

CHUNK: Final = 100
"""How many names are looked at together; their values are held at the same time."""
HISTORIES: Final = 10
"""The same where all their versions are."""

Progress = Callable[[int, int], object]
Item = TypeVar("Item")


class State(enum.Enum):
    """How the two sides of a name compare."""

    SAME = "same"
    DIFFERS = "differs"
    OTHER_SPELLING = "same JSON, other spelling"
    OTHER_TYPE = "same bytes, other type"
    OTHER_HISTORY = "same value, other history"
    ONLY_FROM = "only in FROM"
    ONLY_TO = "only in TO"
    GONE = "gone"
    """It was there when the names were listed."""
    LEASED = "leased"
    UNKNOWN = "unknown"


class Pair(Record):
    """One name on both sides, without values."""

    rest: str
    """The name without the folders."""
    state: State
    source: Seen | None = None
    target: Seen | None = None
    error: StrongroomError | None = None
    """Why it is not known how they compare."""


class Survey:
    """Both sides of a move.

    Args:
        source: Where from.
        target: Where to.
    """

    def __init__(self, source: Side, target: Side) -> None:
        self.source = source
        self.target = target

    def everywhere(self, progress: Progress) -> Iterator[Pair]:
        """Compare what is on either side, in the order of the names.

        Args:
            progress: Told how many names have been compared, and how many there are.

        Raises:
            StrongroomError: A side cannot be listed, or is out of reach.
        """
        here, there = self.source.names(), self.target.names()
        names = sorted(here | there)
        for done, chunk in counted(names, versions=self.source.versions):
            mine = self.source.look([name for name in chunk if name in here or self.source.makes(name)])
            theirs = self.target.look([name for name in chunk if name in there or self.target.makes(name)])
            yield from (compared(name, mine.get(name), theirs.get(name)) for name in chunk)
            progress(done, len(names))

    def from_source(self, progress: Progress) -> Iterator[tuple[Pair, Look | None]]:
        """Compare what the source holds, in the order of the names; each comes with its values there.

        Raises:
            StrongroomError: A side is out of reach or keeps no versions, or the source cannot be listed.
        """
        names = sorted(self.source.names())
        listed = self._listed()
        self._try_versions(names)
        for done, chunk in counted(names, versions=self.source.versions):
            mine = self.source.look(chunk)
            # What no list has is there for none of us, but a name that the backend cannot spell has to be tried, and
            # one that stands for credentials is in no list.
            theirs = self.target.look([name for name in chunk if listed is None or self._is_to_be_seen(name, listed)])
            for name in chunk:
                looked = mine.pop(name)
                yield compared(name, looked, theirs.pop(name, None)), looked if isinstance(looked, Look) else None
            progress(done, len(names))

    def _is_to_be_seen(self, name: str, listed: set[str]) -> bool:
        return name in listed or not self.target.has_plain_name(name) or self.target.makes(name)

    def _try_versions(self, names: Sequence[str]) -> None:
        """Have a target refuse that keeps no versions, although it may have none of the names to be asked about.

        Raises:
            UnsupportedOperationError: It keeps none, and these are concerned.
        """
        for name in names if self.target.versions else ():
            if not isinstance(self.target.look([name])[name], StrongroomError | Leased):
                return

    def _listed(self) -> set[str] | None:
        try:
            return self.target.names()
        except UnsupportedOperationError:
            return None


def counted(names: Sequence[Item], *, versions: bool) -> Iterator[tuple[int, Sequence[Item]]]:
    """Yield names in small groups, each with how many there have been by its end."""
    size = HISTORIES if versions else CHUNK
    for start in range(0, len(names), size):
        chunk = names[start : start + size]
        yield start + len(chunk), chunk


def compared(rest: str, source: Looked, target: Looked) -> Pair:
    """Compare what was found on both sides."""
    for looked in (source, target):
        if isinstance(looked, StrongroomError):
            return Pair(rest=rest, state=State.UNKNOWN, error=looked)
    if isinstance(source, Leased) or isinstance(target, Leased):
        return Pair(rest=rest, state=State.LEASED)
    mine = source.seen if isinstance(source, Look) else None
    theirs = target.seen if isinstance(target, Look) else None
    return Pair(rest=rest, state=_state(mine, theirs), source=mine, target=theirs)


def _state(source: Seen | None, target: Seen | None) -> State:
    if target is None:
        return State.GONE if source is None else State.ONLY_FROM
    if source is None:
        return State.ONLY_TO
    if source.current.is_equal_to(target.current):
        return State.SAME if source.is_equal_to(target) else State.OTHER_HISTORY
    if source.current.matches(target.current):
        return State.OTHER_SPELLING
    return State.OTHER_TYPE if source.current.has_content_of(target.current) else State.DIFFERS
