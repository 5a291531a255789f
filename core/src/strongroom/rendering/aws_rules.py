"""The statements for single rules in a policy of AWS, and what they cannot say."""

from __future__ import annotations

import math

from collections.abc import Iterator
from typing import Any, Final

from strongroom._record import Record
from strongroom.policy import Action, Rule, matches, name_pattern
from strongroom.rendering.aws_target import NAME, AwsTarget
from strongroom.rendering.result import Loss, covers, instant, overlap

_OPERATIONS: Final = {
    Action.READ: ("GetSecretValue", "ListSecretVersionIds"),
    Action.CREATE: ("CreateSecret",),
    Action.UPDATE: ("PutSecretValue", "UpdateSecretVersionStage", "RestoreSecret", "TagResource", "UntagResource"),
    Action.ROTATE: ("RotateSecret",),
    Action.DELETE: ("DeleteSecret",),
}
_DESCRIBE: Final = "DescribeSecret"
_DESCRIBING: Final = frozenset({Action.READ, Action.UPDATE, Action.ROTATE, Action.DELETE})
"""What begins with a look at what is known of a secret, its value excepted."""
_REPLICATE: Final = "ReplicateSecretToRegions"
_REPLICATING: Final = frozenset({Action.CREATE, Action.UPDATE})
"""What makes copies: of a new secret, and of one that is brought back."""
_END_REPLICATION: Final = "RemoveRegionsFromReplication"
"""What removes the copies of a secret that is to be deleted."""
_UPDATING: Final = frozenset({Action.CREATE, Action.ROTATE})
"""What takes a right that AWS cannot tell from that to update; to create does so only if there are tags."""
_ELSEWHERE: Final = "AWS lists all secrets of an account and region or none"


_Part = tuple[str, list[str], list[str], dict[str, Any]]
"""What a statement's Sid ends in, its operations, its resources and its condition."""


class Granted(Record):
    """That a policy allows something."""

    until: str | None
    """When the last statement that allows it ends, as ISO 8601; ``None`` for never."""


class RuleWriter:
    """Collects the statements for rules, and what could not be said.

    Args:
        target: Where in AWS the names are.
        rules: All of the principal's rules.
    """

    def __init__(self, target: AwsTarget, rules: list[Rule]) -> None:
        self._target = target
        self._rules = rules
        self._given: list[tuple[frozenset[Action], str | None]] = []
        self.statements: list[dict[str, Any]] = []
        self.losses: list[Loss] = []

    def granted(self, *actions: Action) -> Granted | None:
        """Return how long what was written allows one of some actions on anything; ``None`` if it does not."""
        ends = [until for given, until in self._given if given & set(actions)]
        return Granted(until=None if None in ends else max(filter(None, ends))) if ends else None

    def there(self, *regions: str) -> dict[str, Any]:
        """Return the condition that a request goes to one of some regions; empty if there are none."""
        named = regions[0] if len(regions) == 1 else list(regions)
        return {"StringEquals": {"aws:RequestedRegion": named}} if regions else {}

    def _lose(self, rules: list[Rule], reason: str, instead: str) -> None:
        loss = Loss(rules=tuple(rules), reason=reason, instead=instead)
        if loss not in self.losses:
            self.losses.append(loss)

    def add(self, rule: Rule, number: int) -> None:
        """Add what one rule says, but of listing."""
        before = len(self.losses)
        actions = self._actions(rule)
        names = {text: said for text in rule.names if (said := self._name(rule, text)) is not None} if actions else {}
        if not names:
            return
        until = self._until(rule)
        parts = [*(self._allowing(actions, names) if rule.allow else self._denying(rule, actions, names))]
        sid = f"{'Narrowed' if len(self.losses) > before else ''}Rule{number}"
        for part, operations, resources, condition in parts:
            statement: dict[str, Any] = {"Sid": sid + part, "Effect": "Allow" if rule.allow else "Deny"}
            statement |= {"Action": [f"secretsmanager:{one}" for one in operations], "Resource": resources}
            self.statements.append(statement | when(until, condition))
        if rule.allow:
            self._given.append((actions, until))

    def _allowing(self, actions: frozenset[Action], names: dict[str, str]) -> Iterator[_Part]:
        operations = [one for action in _OPERATIONS if action in actions for one in _OPERATIONS[action]]
        operations += self._ending(actions)
        operations += [_DESCRIBE] if actions & _DESCRIBING else []
        yield "", operations, self._arns(names), {}
        copies = self._copies(names)
        if actions & _REPLICATING and self._target.replicas:
            key, regions = "secretsmanager:AddReplicaRegions", list(self._target.replicas)
            condition = {
                "ForAllValues:StringEquals": {key: regions},
                # Without this one a request that names no region would do.
                "Null": {key: "false"},
                # Else a copy could take the place of another secret.
                "BoolIfExists": {"secretsmanager:ForceOverwriteReplicaSecret": "false"},
            }
            yield "Replication", [_REPLICATE], self._arns(names), condition
        if Action.READ in actions and copies:
            yield "Copies", [*_OPERATIONS[Action.READ], _DESCRIBE], copies, {}

    def _denying(self, rule: Rule, actions: frozenset[Action], names: dict[str, str]) -> Iterator[_Part]:
        self._lose_synonyms(rule, actions)
        operations = [one for action in _OPERATIONS if action in actions for one in _OPERATIONS[action]]
        operations += self._ending(actions)
        apart: list[_Part] = []
        for operation, giving, part, told in (
            (_REPLICATE, _REPLICATING if self._target.replicas else frozenset(), "Replication", "the right to copy it"),
            (_DESCRIBE, _DESCRIBING, "Metadata", "a look at what is known of a secret"),
        ):
            concerned = names.items() if actions & giving else ()
            blind = {text: said for text, said in concerned if self._blinds(rule, text, giving, told)}
            if len(blind) == len(names):
                operations.append(operation)
            elif blind:
                apart.append((part, [operation], self._arns(blind), {}))
        yield "", operations, self._arns(names), {}
        yield from apart
        copies = self._copies(names)
        if Action.READ in actions and copies:
            yield "Copies", [*_OPERATIONS[Action.READ], _DESCRIBE], copies, {}

    def _ending(self, actions: frozenset[Action]) -> list[str]:
        return [_END_REPLICATION] if Action.DELETE in actions and self._target.replicas else []

    def _lose_synonyms(self, rule: Rule, actions: frozenset[Action]) -> None:
        """Tell where a denial is of a secret that has another name, too: AWS knows the secret only."""
        for names in self._target.synonyms():
            denied = [name for name in names if any(matches(pattern, name) for pattern in rule.names)]
            others = [name for name in names if name not in denied and self._possible(name) & actions]
            if denied and others:
                told = f"{denied[0]} and {others[0]} are one secret, which AWS denies under both names or none"
                self._lose([rule], told, "it is denied under both")

    def _arns(self, names: dict[str, str], region: str = "") -> list[str]:
        aliases = dict(self._target.aliases)
        own = [self._target.arn(said, region) for text, said in names.items() if not self._is_alias(text)]
        found = [arn for name, arn in aliases.items() if any(matches(text, name) for text in names)]
        return own + [_in_region(arn, region) if region else arn for arn in found]

    def _copies(self, names: dict[str, str]) -> list[str]:
        return [arn for region in self._target.regions()[1:] for arn in self._arns(names, region)]

    def _is_alias(self, text: str) -> bool:
        return "/".join(name_pattern(text)) in dict(self._target.aliases)

    def _actions(self, rule: Rule) -> frozenset[Action]:
        """Return what of a rule's actions is written."""
        actions = rule.actions & _OPERATIONS.keys()
        updating = _UPDATING if self._target.tags else _UPDATING - {Action.CREATE}
        if rule.allow:
            apart = {action for action in updating & actions if not self._may_update(rule)}
        else:
            apart = {action for action in updating if Action.UPDATE in actions and self._hinders(rule, action)}
        if Action.ROTATE in apart and rule.allow:
            reason = "a rotation writes a new value, which AWS cannot tell from an update"
            self._lose([rule], reason, "rotate is not granted")
            actions -= {Action.ROTATE}
        elif Action.ROTATE in apart:
            reason = "a rotation writes a new value, which AWS cannot do where an update is denied"
            self._lose([rule], reason, "rotate is denied, too")
            actions |= {Action.ROTATE}
        if Action.CREATE in apart:
            reason = "the right to tag a new secret is, in AWS, also the right to change the tags of another"
            self._lose([rule], reason, "create is without tags there")
        return actions

    def _may_update(self, rule: Rule) -> bool:
        return all(self._certain(Action.UPDATE, name, rule) for name in rule.names)

    def _hinders(self, rule: Rule, action: Action) -> bool:
        """Tell whether an action may be allowed on some of a denying rule's names."""
        return any(action in self._possible(name) and not self._gone(action, name, rule) for name in rule.names)

    def _blinds(self, rule: Rule, name: str, giving: frozenset[Action], told: str) -> bool:
        """Tell whether a rule that denies has to deny what several actions give, too, such as the look at a secret."""
        left = {action for action in self._possible(name) & giving if not self._gone(action, name, rule)}
        if any(self._certain(action, name, rule) and not self._doubtful(action, name) for action in left):
            return False
        if left:
            rights = " or ".join(sorted(action.value for action in left))
            reason = f"to {rights} takes {told}, and only some names of {name} allow it"
            self._lose([rule], reason, f"that {told.split()[1]} is denied for all of {name}")
        return True

    def _possible(self, name: str) -> set[Action]:
        """Return what is allowed for some of the names that a pattern matches."""
        allowing = [rule for rule in self._rules if rule.allow and any(overlap(name, other) for other in rule.names)]
        return {action for rule in allowing for action in rule.actions}

    def _certain(self, action: Action, name: str, rule: Rule) -> bool:
        """Tell whether one rule allows an action for all names of a pattern, as long as another rule holds."""
        return any(one.allow and _reaches(one, action, name, rule) for one in self._rules)

    def _gone(self, action: Action, name: str, rule: Rule) -> bool:
        """Tell whether one rule denies an action for all names of a pattern, as long as another rule holds."""
        return any(not one.allow and _reaches(one, action, name, rule) for one in self._rules)

    def _doubtful(self, action: Action, name: str) -> bool:
        """Tell whether an action is denied for some names of a pattern."""
        denying = [rule for rule in self._rules if not rule.allow and action in rule.actions]
        return any(overlap(name, other) for rule in denying for other in rule.names)

    def _name(self, rule: Rule, text: str) -> str | None:
        """Return a pattern as IAM has it; ``None`` if the rule cannot afford what IAM would make of it."""
        parts = name_pattern(text)
        if self._is_alias(text):
            return "/".join(parts)  # what is sent is its ARN
        problem = ""
        if "*" in parts:
            problem = f"* in {text} is one segment, and in AWS it runs over slashes"
        elif any(part != "**" and not NAME.fullmatch(part) for part in parts):
            problem = f"{text} has characters that Secrets Manager has not in names"
        said = "/".join("*" if part in ("*", "**") or not NAME.fullmatch(part) else part for part in parts)
        if problem:
            self._lose([rule], problem, f"{text} is not granted" if rule.allow else f"{said} is denied at any depth")
        return None if problem and rule.allow else said

    def _until(self, rule: Rule) -> str | None:
        if rule.expires is None:
            return None
        whole = math.floor(rule.expires) if rule.allow else math.ceil(rule.expires)
        if whole != rule.expires:
            self._lose([rule], "AWS tells the time in whole seconds", f"it expires at {instant(whole)}")
        return instant(whole)

    def add_listing(self) -> None:
        """Add the right to list, which AWS gives for a whole account or not at all."""
        listing = [rule for rule in self._rules if Action.LIST in rule.actions]
        allowing = [rule for rule in listing if rule.allow]
        denying = [rule for rule in listing if not rule.allow]
        if not allowing or any("**" in rule.names and rule.expires is None for rule in denying):
            return
        whole = [rule for rule in allowing if "**" in rule.names]
        forever = any(rule.expires is None for rule in whole)
        narrow = [] if forever else [rule for rule in allowing if rule not in whole]
        if denying or self._target.prefix or not whole:
            reason = _ELSEWHERE + (", those without the prefix, too" if self._target.prefix else "")
            self._lose(listing, reason, "list is not granted")
            return
        if narrow:
            self._lose(narrow, _ELSEWHERE, "list is not granted by it")
        # A listing has no ARN that could name the region.
        condition = self.there(*self._target.regions()[:1])
        for number, rule in enumerate(whole, start=1):
            statement = {"Sid": f"List{number}", "Effect": "Allow", "Action": ["secretsmanager:ListSecrets"]}
            self.statements.append(statement | {"Resource": ["*"]} | when(self._until(rule), condition))


def _in_region(arn: str, region: str) -> str:
    """Return the ARN that a secret's copy has in another region."""
    parts = arn.split(":")
    return ":".join((*parts[:3], region, *parts[4:]))


def _reaches(rule: Rule, action: Action, name: str, other: Rule) -> bool:
    """Tell whether a rule speaks of an action on all names of a pattern, for as long as another rule holds."""
    lasting = rule.expires is None or (other.expires is not None and rule.expires >= other.expires)
    return lasting and action in rule.actions and any(covers(pattern, name) for pattern in rule.names)


def when(until: str | None, condition: dict[str, Any]) -> dict[str, Any]:
    """Return a statement's condition, or nothing if there is none.

    Args:
        until: When the statement ends, as ISO 8601; ``None`` for never.
        condition: What else has to be so.
    """
    whole = condition | ({"DateLessThan": {"aws:CurrentTime": until}} if until else {})
    return {"Condition": whole} if whole else {}
