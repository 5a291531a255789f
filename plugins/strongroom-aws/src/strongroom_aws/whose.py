"""Whose secrets our credentials lead to, as far as the settings or the service's answers have said it."""

from __future__ import annotations

from typing import Any


class Whose:
    """Knows the account. Threads may share it.

    Args:
        named: The account's digits, if the settings name it; then no answer says otherwise.

    Attributes:
        account: The account's digits; ``None`` if they are not known.
    """

    def __init__(self, named: str | None) -> None:
        self._named = named
        self.account = named

    @property
    def is_learned(self) -> bool:
        """Whether only answers have said it, so that other credentials may lead to another account."""
        return self.account is not None and self._named is None

    def learn(self, parameters: dict[str, Any], data: dict[str, Any]) -> None:
        """Take the account from an answer.

        Args:
            parameters: What was asked; a secret that was asked for by its ARN may be of any account.
            data: The answer.
        """
        if self._named is not None:
            return
        asked = (parameters.get("SecretId"), *parameters.get("SecretIdList", ()))
        arn = _arn_of(data)
        if arn is not None and not any(str(one).startswith("arn:") for one in asked):
            self.account = arn.split(":")[4]

    def forget(self) -> str | None:
        """Note that there are other credentials; return the account that was known only from answers."""
        if self._named is not None:
            return None
        known, self.account = self.account, None
        return known


def _arn_of(data: dict[str, Any]) -> str | None:
    parts = data.get("SecretList") or data.get("SecretValues") or [data]
    arn = parts[0].get("ARN")
    return arn if isinstance(arn, str) and arn.count(":") >= 5 else None
