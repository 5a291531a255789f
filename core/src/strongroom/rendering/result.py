"""What a rendering gives, and what it could not say."""

from __future__ import annotations

from strongroom._record import Record
from strongroom.policy import Action, Policy, Rule, name_pattern, principal_matches


class Loss(Record):
    """Something that rules say and the target cannot."""

    rules: tuple[Rule, ...]
    """The rules concerned, in the order of the policy."""
    reason: str
    """What cannot be said, and why."""
    instead: str
    """What is written instead, which never allows more."""


class Rendered(Record):
    """One principal's rights in the words of a target."""

    principal: str
    text: str
    losses: tuple[Loss, ...]
    """Empty if the text says exactly what the rules say."""
    notes: tuple[str, ...] = ()
    """What whoever sets it has to know besides."""


class Claim(Record):
    """One name pattern of one rule, as the target can say it."""

    rule: Rule
    actions: frozenset[Action]
    pattern: tuple[str, ...]
    """Segments: texts, ``*`` for one whole segment, ``**`` for one or more."""

    @property
    def allow(self) -> bool:
        """Whether the rule allows."""
        return self.rule.allow


def rules_of(policy: Policy, principal: str, now: float) -> list[Rule]:
    """Return the rules that decide on what a principal may do to secrets, and have not expired.

    To act as somebody else is a right that only strongroom knows, so it is left out.
    So is what denies something that no rule allows.

    Args:
        policy: The policy.
        principal: The principal's name.
        now: The time, in seconds since 1970 UTC.
    """
    found = [
        rule.replace(actions=rule.actions - {Action.IMPERSONATE})
        for rule in policy.rules
        if not rule.expired(now)
        and rule.actions - {Action.IMPERSONATE}
        and principal_matches(rule.principal, principal)
    ]
    allowing = [rule for rule in found if rule.allow]
    return [kept for rule in found if (kept := rule if rule.allow else _needed(rule, allowing)) is not None]


def _needed(rule: Rule, allowing: list[Rule]) -> Rule | None:
    """Return what of a rule that denies takes something from those that allow; ``None`` if nothing does."""
    names = {
        name: {action for one in allowing if any(overlap(name, other) for other in one.names) for action in one.actions}
        for name in rule.names
    }
    kept = tuple(name for name, actions in names.items() if actions & rule.actions)
    actions = rule.actions.intersection(set().union(*(names[name] for name in kept)))
    return rule.replace(names=kept, actions=actions) if kept else None


def overlap(pattern: str, other: str) -> bool:
    """Tell whether there is a name that both of two name patterns match.

    Args:
        pattern: The one.
        other: The other.

    Raises:
        InvalidNameError: One is malformed.
    """
    rows, columns = _tokens(pattern), _tokens(other)
    # below[j]: whether what is left of the first, from the next row on, overlaps with the second from j on.
    below = [all(token == "**" for token in columns[at:]) for at in range(len(columns) + 1)]
    for token in reversed(rows):
        current = [False] * len(columns) + [token == "**" and below[-1]]
        for at in reversed(range(len(columns))):
            theirs = columns[at]
            if token == "**":
                current[at] = below[at] or current[at + 1]
            elif theirs == "**":
                current[at] = current[at + 1] or below[at]
            else:
                current[at] = ("*" in (token, theirs) or token == theirs) and below[at + 1]
        below = current
    return below[0]


def covers(pattern: str, other: str) -> bool:
    """Tell whether one name pattern matches every name that another one matches.

    Args:
        pattern: The one that may match more.
        other: The one that may match less.

    Raises:
        InvalidNameError: One is malformed.
    """
    tokens = _tokens(pattern)
    # Each way to read the second leads to a set of places in the first. What a wildcard of the second stands for
    # is taken to be a segment that no pattern has: whatever takes that takes any other, too.
    ways = {_beyond(tokens, {0})}
    for token in _tokens(other):
        if token != "**":
            ways = {_step(tokens, places, token) for places in ways}
            continue
        while not (new := {_step(tokens, places, "*") for places in ways}) <= ways:
            ways |= new
    return all(len(tokens) in places for places in ways)


def _step(tokens: list[str], places: frozenset[int], segment: str) -> frozenset[int]:
    staying = {at for at in places if tokens[at : at + 1] == ["**"]}
    going = {at + 1 for at in places if tokens[at : at + 1] in ([segment], ["*"])}
    return _beyond(tokens, staying | going)


def _beyond(tokens: list[str], places: set[int]) -> frozenset[int]:
    """Add those places that are reached by leaving out what may stand for nothing."""
    reached = set(places)
    for at, token in enumerate(tokens):
        if token == "**" and at in reached:
            reached.add(at + 1)
    return frozenset(reached)


def _tokens(pattern: str) -> list[str]:
    """Return a pattern's segments, in which ``**`` stands for any number, none included."""
    return [token for part in name_pattern(pattern) for token in (("*", "**") if part == "**" else (part,))]


def instant(seconds: float) -> str:
    """Return a point in time as ISO 8601 in UTC.

    Args:
        seconds: Since 1970 UTC.
    """
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
