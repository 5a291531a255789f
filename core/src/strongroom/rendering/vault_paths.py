"""Paths of Vault's policies, and which of them decides on a request.

As Vault documents it: ``+`` stands for one segment, ``*`` at the end for
whatever follows. An exact path decides before all others. Of the others that
match, the one decides whose first wildcard comes last; then one that does not
end in ``*``; then the one with fewer ``+``; then the longer one. Only that
path's capabilities count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom._record import Record
from strongroom.errors import ConfigurationError

ONE: Final = "+"
FOLDER: Final = ""
"""The last segment of a folder's path, which ends with a slash."""
FRESH: Final = "\0"
"""A segment that no rule mentions: no name can hold it."""
MOST_PATHS: Final = 400


class VaultPath(Record):
    """A path of a policy."""

    segments: tuple[str, ...]
    """Texts, or :data:`ONE`."""
    open: bool = False
    """Whether it ends in ``/*``, and so needs at least one more segment."""

    @property
    def text(self) -> str:
        """The path as a policy has it."""
        return "/".join((*self.segments, "*") if self.open else self.segments)

    @property
    def exact(self) -> bool:
        """Whether it matches one path only."""
        return not self.open and ONE not in self.segments

    @property
    def rank(self) -> tuple[int, bool, int, int]:
        """What Vault compares among paths with wildcards, counted in bytes; the greatest decides."""
        text = self.text.encode()
        first = min(position for position in (text.find(ONE.encode()), text.find(b"*")) if position >= 0)
        return first, not self.open, -self.segments.count(ONE), len(text)

    def matches(self, place: tuple[str, ...]) -> bool:
        """Tell whether it matches the segments of a request's path."""
        length = len(self.segments)
        fits = len(place) > length if self.open else len(place) == length
        return fits and all(own in (ONE, other) for own, other in zip(self.segments, place, strict=False))

    def meet(self, other: VaultPath) -> VaultPath | None:
        """Return the path of all requests that both match; ``None`` if there is none."""
        short, long = sorted((self, other), key=lambda path: len(path.segments))
        gap = len(long.segments) - len(short.segments)
        if (short.open != long.open) if gap == 0 else not short.open:
            return None
        merged = []
        for own, theirs in zip((*short.segments, *(ONE,) * gap), long.segments, strict=True):
            if ONE not in (own, theirs) and own != theirs:
                return None
            merged.append(theirs if own == ONE else own)
        return VaultPath(segments=tuple(merged), open=long.open)


def closed_under_meeting(paths: Iterable[VaultPath]) -> list[VaultPath]:
    """Return paths and all that they have in common: each request then has one path that is the narrowest.

    Args:
        paths: The paths.

    Raises:
        ConfigurationError: They overlap in too many ways.
    """
    found = list(dict.fromkeys(paths))
    known = set(found)
    for index, path in enumerate(found):  # grows meanwhile
        for other in found[:index]:
            common = path.meet(other)
            if common is not None and common not in known:
                known.add(common)
                found.append(common)
        if len(found) > MOST_PATHS:
            raise ConfigurationError(
                "the rules overlap in too many ways for Vault", hint="render fewer principals, or simplify the rules"
            )
    return found


def deciding(paths: Iterable[VaultPath], place: tuple[str, ...]) -> list[VaultPath]:
    """Return the path that decides on a request; several if only their spelling would part them.

    Args:
        paths: A policy's paths.
        place: The segments of the request's path; the last one is empty for a folder that is listed.
    """
    fitting = [path for path in paths if path.matches(place)]
    exact = [path for path in fitting if path.exact]
    if not exact and place[-1] == FOLDER:
        # For a list request Vault also takes the exact path without the final slash.
        exact = [path for path in paths if path.exact and path.segments == place[:-1]]
    if exact or not fitting:
        return exact
    best = max(path.rank for path in fitting)
    return [path for path in fitting if path.rank == best]


def samples(path: VaultPath, paths: list[VaultPath], *, folder: bool) -> tuple[str, ...] | None:
    """Return a request whose narrowest path is this one; ``None`` if there is none.

    Args:
        path: One of the paths.
        paths: Paths closed under meeting.
        folder: Whether the request lists a folder.
    """
    narrower = [other for other in paths if other != path and path.meet(other) == other]
    longest = max(len(other.segments) for other in paths) + 2
    filled = tuple(FRESH if segment == ONE else segment for segment in path.segments)
    lengths = range(len(filled) + 1, longest + 1) if path.open else (len(filled),)
    for length in lengths:
        place = filled + (FRESH,) * (length - len(filled))
        if folder and place[-1] in (FRESH, FOLDER):
            place = (*place[:-1], FOLDER)
        if (place[-1] == FOLDER) == folder and not any(other.matches(place) for other in narrower):
            return place
    return None
