"""One tree of Vault's paths: finds the capabilities of each path so that the rules come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from strongroom._record import Record
from strongroom.policy import Action
from strongroom.rendering.result import Claim, Loss
from strongroom.rendering.vault_paths import (
    FOLDER,
    FRESH,
    ONE,
    VaultPath,
    closed_under_meeting,
    deciding,
    samples,
)

LIST: Final = "list"
_WILDCARDS: Final = ("*", "**")


class Place(Record):
    """A request that stands for all that the same paths match."""

    segments: tuple[str, ...]
    wanted: frozenset[str]
    """The capabilities that the rules give on it."""
    possible: frozenset[str]
    """Those that mean anything there."""

    @property
    def shown(self) -> str:
        """The request's path, with ``*`` for what no rule names."""
        return "/".join("*" if segment == FRESH else segment for segment in self.segments)


class Tree:
    """A part of Vault's paths below one root.

    Args:
        root: The segments before each name.
        claims: What the rules say.
        names: The capability that each action needs on a name's path.
        folders: Whether folders are listed here.
        behind: The segments behind each name; there can be some only if no pattern ends in ``**``.
    """

    def __init__(
        self,
        root: tuple[str, ...],
        claims: list[Claim],
        *,
        names: dict[Action, str],
        folders: bool = False,
        behind: tuple[str, ...] = (),
    ) -> None:
        self._root = root
        self._behind = behind
        self._capabilities = names
        actions = names.keys() | ({Action.ROTATE} if Action.UPDATE in names else set())
        self._names = [(claim, self._path(claim.pattern)) for claim in claims if claim.actions & actions]
        listing = [claim for claim in claims if folders and Action.LIST in claim.actions]
        self._listed = [(claim, self._path(claim.pattern)) for claim in listing]
        self._folders = [(claim, self._folder(claim.pattern)) for claim in listing]
        self._losses: dict[tuple[str, tuple[str, ...]], Loss] = {}

    def _path(self, pattern: tuple[str, ...]) -> VaultPath:
        deep = pattern[-1] == "**"
        segments = pattern[:-1] if deep else pattern
        named = (ONE if part == "*" else part for part in segments)
        return VaultPath(segments=(*self._root, *named, *self._behind), open=deep)

    def _folder(self, pattern: tuple[str, ...]) -> VaultPath:
        """Return the path of the folder in which a pattern's names are."""
        path = self._path(pattern)
        return path if path.open else path.replace(segments=(*path.segments[:-1], FOLDER))

    def solve(self) -> tuple[dict[str, frozenset[str]], list[Loss]]:
        """Return each path with its capabilities, and what could not be said.

        Where one path decides on requests that the rules tell apart, it gets what
        the rules give on all of them.

        Raises:
            ConfigurationError: The rules overlap in too many ways.
        """
        paths = self._all_paths()
        if not paths:
            return {}, []
        places = [place for path in paths for place in self._places(path, paths)]
        decided = {place: deciding(paths, place.segments) for place in places}
        granted = {path: _common(place for place in places if path in decided[place]) for path in paths}
        for place in places:
            self._note_missing(place, _effective(place, decided[place], granted), decided[place])
        kept = _pruned(granted, decided)
        return {path.text: granted[path] for path in kept}, list(self._losses.values())

    def _all_paths(self) -> list[VaultPath]:
        paths = closed_under_meeting(path for _, path in (*self._names, *self._folders))
        if self._folders:
            # A list request also finds the exact path of a secret that is called like the folder.
            twins = [path.replace(segments=(*path.segments, FOLDER)) for path in paths if path.exact]
            paths = closed_under_meeting([*paths, *(path for path in twins if path.segments[-2] != FOLDER)])
        return paths

    def _places(self, path: VaultPath, paths: list[VaultPath]) -> list[Place]:
        found = []
        name = samples(path, paths, folder=False) if self._names else None
        if name is not None:
            possible = frozenset(self._capabilities.values())
            found.append(Place(segments=name, wanted=self._wanted(name), possible=possible))
        folder = samples(path, paths, folder=True) if self._folders else None
        if folder is not None:
            wanted = frozenset({LIST} if self._lists(folder) else ())
            found.append(Place(segments=folder, wanted=wanted, possible=frozenset({LIST})))
        return found

    def _wanted(self, name: tuple[str, ...]) -> frozenset[str]:
        allowed = _allowed(self._names, name)
        if Action.ROTATE in allowed and Action.UPDATE not in allowed and Action.UPDATE in self._capabilities:
            reason = "to Vault a rotation is an update, and who may rotate here may not update"
            self._note("rotate", self._concerned(self._names, name, {Action.ROTATE, Action.UPDATE}), reason, "rotate")
        return frozenset(self._capabilities[action] for action in allowed if action in self._capabilities)

    def _lists(self, folder: tuple[str, ...]) -> bool:
        """Tell whether every name in a folder may be listed; Vault lists all of them or none."""
        literal = {claim.pattern[-1] for claim, _ in self._listed} - set(_WILDCARDS)
        children = [(*folder[:-1], child) for child in sorted({*literal, FRESH})]
        shown = [Action.LIST in _allowed(self._listed, child) for child in children]
        if any(shown) and not all(shown):
            place = "/".join("*" if segment == FRESH else segment for segment in folder)
            reason = f"Vault lists all names of the folder {place} or none, and the rules tell them apart"
            self._note("list", self._concerned(self._folders, folder, {Action.LIST}), reason, "list there")
        return all(shown)

    def _note_missing(self, place: Place, effective: frozenset[str], decisive: list[VaultPath]) -> None:
        missing = sorted(place.wanted - effective)
        if missing:
            lost = {action for action, capability in self._capabilities.items() if capability in missing}
            source = self._folders if LIST in missing else self._names
            rules = self._concerned(source, place.segments, lost | ({Action.LIST} if LIST in missing else set()))
            reason = f"{decisive[0].text} decides on {place.shown}, too, and Vault looks at no other path then"
            self._note("path", rules, reason, f"{', '.join(missing)} there")

    def _concerned(
        self, claims: list[tuple[Claim, VaultPath]], place: tuple[str, ...], actions: set[Action]
    ) -> list[Claim]:
        return [claim for claim, path in claims if claim.actions & actions and path.matches(place)]

    def _note(self, kind: str, claims: list[Claim], reason: str, what: str) -> None:
        """Remember a loss, once for the same rules."""
        rules = tuple({claim.rule.id: claim.rule for claim in claims}.values())
        loss = Loss(rules=rules, reason=reason, instead=f"{what} is not granted")
        self._losses.setdefault((kind, tuple(rule.id for rule in rules)), loss)


def _allowed(claims: list[tuple[Claim, VaultPath]], place: tuple[str, ...]) -> frozenset[Action]:
    """Return what the claims allow on a name: what one allows and none denies."""
    allowed: set[Action] = set()
    refused: set[Action] = set()
    for claim, path in claims:
        if path.matches(place):
            (allowed if claim.allow else refused).update(claim.actions)
    return frozenset(allowed - refused)


def _common(places: Iterable[Place]) -> frozenset[str]:
    """Return the capabilities that are wanted on each of the places where they mean something."""
    possible: set[str] = set()
    unwanted: set[str] = set()
    for place in places:
        possible |= place.possible
        unwanted |= place.possible - place.wanted
    return frozenset(possible - unwanted)


def _effective(place: Place, decisive: Iterable[VaultPath], granted: dict[VaultPath, frozenset[str]]) -> frozenset[str]:
    """Return what is possible on a place by the paths that decide on it."""
    sets = [granted[path] for path in decisive]
    return place.possible.intersection(*sets) if sets else frozenset()


def _same(place: Place, new: list[VaultPath], old: list[VaultPath], granted: dict[VaultPath, frozenset[str]]) -> bool:
    """Tell whether other paths give on a place what these did, whichever of them decides there."""
    before = _effective(place, old, granted)
    return all(_effective(place, [one], granted) == before for one in new) if new else not before


def _pruned(granted: dict[VaultPath, frozenset[str]], decided: dict[Place, list[VaultPath]]) -> list[VaultPath]:
    """Return the paths without those that change nothing."""
    kept = list(granted)
    for path in sorted(granted, key=lambda path: (path.exact, path.text), reverse=True):
        rest = [other for other in kept if other != path]
        moved = {place: deciding(rest, place.segments) for place, decisive in decided.items() if path in decisive}
        if all(_same(place, new, decided[place], granted) for place, new in moved.items()):
            kept = rest
            decided = decided | moved
    return kept
