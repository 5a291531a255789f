"""What tests of the renderings share: making rules and policies."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from strongroom.policy import Policy, Rule, parse_actions


def made(effect: str, actions: str, *names: str, expires: float | None = None, position: int = 1) -> Rule:
    """Return a rule for the principal ``app``; actions are parted by blanks."""
    allow = effect == "allow"
    return Rule(
        id=f"policies[{position}] of rules.toml",
        principal="app",
        allow=allow,
        actions=parse_actions(actions.split(), "here", allow=allow),
        names=names,
        expires=expires,
        position=position,
    )


@pytest.fixture
def make_policy() -> Callable[..., Policy]:
    """Return a function that makes a policy of rules such as ``("allow", "read list", "a/**")``."""

    def make(*rules: tuple[str, ...], expires: float | None = None) -> Policy:
        return Policy(tuple(made(*one, expires=expires, position=at) for at, one in enumerate(rules, start=1)))

    return make
