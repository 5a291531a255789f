"""What the policies say of one request, as ``policy check`` and ``policy test`` ask it."""

from __future__ import annotations

from typing import Final

from strongroom._record import Record
from strongroom.model import SecretName
from strongroom.policy import WRITE, Action, Policy, Rule, Ruling
from strongroom.rendering.lines import place_of

ACTIONS: Final = (*(action.value for action in Action), WRITE)


class Answer(Record):
    """What the policy says of one request; of two, where it is to write."""

    principal: str
    name: str
    rulings: dict[Action, Ruling]
    matching: dict[Action, tuple[Rule, ...]]
    """All rules that speak of the request, expired ones too."""

    @property
    def allowed(self) -> bool:
        """Whether all of it is allowed."""
        return all(ruling.allowed for ruling in self.rulings.values())

    def decider(self, action: Action) -> Rule | None:
        """Return the rule that decided; ``None`` if none did.

        Args:
            action: One of those that were asked for.
        """
        return next((rule for rule in self.matching[action] if rule.id == self.rulings[action].rule), None)

    def place(self, action: Action) -> str:
        """Return what decided, with its line if a rule did.

        Args:
            action: One of those that were asked for.
        """
        rule = self.decider(action)
        return self.rulings[action].rule if rule is None else place_of(rule)


def ask(policy: Policy, principal: str, action: str, name: str, now: float) -> Answer:
    """Ask the policy about one request.

    Args:
        policy: The policy.
        principal: The principal's name.
        action: The action; ``write`` stands for creating and updating.
        name: The secret's name; with ``impersonate`` the other principal's.
        now: For which time, in seconds since 1970 UTC.

    Raises:
        InvalidNameError: It is no name of a secret.
    """
    wanted = (Action.CREATE, Action.UPDATE) if action == WRITE else (Action(action),)
    canonical = name if action == Action.IMPERSONATE.value else str(SecretName(name))
    return Answer(
        principal=principal,
        name=canonical,
        rulings={one: policy.decide(principal, one, canonical, now=now) for one in wanted},
        matching={one: tuple(policy.applying(principal, one, canonical)) for one in wanted},
    )
