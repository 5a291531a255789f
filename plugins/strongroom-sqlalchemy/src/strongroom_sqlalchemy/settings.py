"""How logins are made of a secret, and what happens when one is refused."""

from __future__ import annotations

import time

from collections.abc import Callable, Mapping
from typing import Final

from strongroom.contracts import Record
from strongroom.errors import ConfigurationError
from strongroom_sqlalchemy.refusals import is_refused

PARTS: Final = ("username", "password", "host", "port", "database")
"""The parts of a login that a secret may give."""


class LoginOptions(Record):
    """How logins are made of a secret, and what happens when one is refused."""

    username: str | None = None
    """A fixed user: then the whole secret is the password, unless ``members`` says otherwise. Without it, user and
    password are members of the secret, a JSON object."""
    members: Mapping[str, str] | None = None
    """Which member of the secret is which part of the login, of ``username``, ``password``, ``host``, ``port`` and
    ``database``; unless given, ``username`` and ``password`` are called just that. What is not there stays as the URL
    has it."""
    is_refused: Callable[[BaseException], bool] = is_refused
    """Tells whether what a driver raised means that the server refused user or password."""
    cool_down: float = 30.0
    """For how many seconds a login that was refused is not tried again, unless the secret changes; each further
    refusal doubles it."""
    max_cool_down: float = 600.0
    """For how many seconds it is not tried again, at most."""
    recycle_on_update: bool = True
    """Whether connections of a pool that were made with another version of the secret are replaced when they are
    taken out next."""
    clock: Callable[[], float] = time.monotonic
    """Monotonic seconds, for tests."""

    def check(self) -> None:
        """Refuse settings that cannot be used.

        Raises:
            ConfigurationError: They say something that cannot be.
        """
        members = self.members if self.members is not None else {"password": ""}
        unknown = sorted(set(members) - set(PARTS))
        if unknown:
            raise ConfigurationError(
                f"a login has no part {', '.join(unknown)}", hint=f"name members for {', '.join(PARTS)}"
            )
        if "password" not in members:
            raise ConfigurationError("no member of the secret is the password", hint="name it under members")
        if self.username is not None and "username" in members:
            raise ConfigurationError("the user is fixed, and a member of the secret", hint="say one of the two")
        # Turned round, so that what is no number at all is refused as well.
        if not 0 < self.cool_down <= self.max_cool_down:
            raise ConfigurationError("cool_down is not above 0 and at most max_cool_down")

    def in_secret(self) -> Mapping[str, str] | None:
        """Return which member is which part; ``None`` if the whole secret is the password."""
        if self.members is not None:
            return self.members
        return None if self.username is not None else {"username": "username", "password": "password"}
