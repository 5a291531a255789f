"""What a login needs, as it is in one version of a secret."""

from __future__ import annotations

from collections.abc import Mapping

from strongroom import Freshness, Secret, SecretValue
from strongroom.errors import InvalidValueError
from strongroom_sqlalchemy.settings import LoginOptions


class Credentials:
    """The parts of a login, of one version of a secret. Two are equal if one would log in as the other does.

    Args:
        secret: The secret.
        settings: Where its parts are.

    Attributes:
        version: The secret's version.
        is_current: Whether the backend has said so; else it may stand in for another one.

    Raises:
        InvalidValueError, SecretNotFoundError: The secret has not got such parts.
    """

    __slots__ = ("_parts", "_username", "is_current", "version")

    def __init__(self, secret: Secret, settings: LoginOptions) -> None:
        members = settings.in_secret()
        self._parts: Mapping[str, SecretValue]
        if members is None:
            self._parts = {"password": secret.value}
        else:
            self._parts = {part: secret.field(member).value for part, member in members.items()}
        self._username = settings.username
        self.version = secret.version
        self.is_current = secret.freshness in (Freshness.FRESH, Freshness.CACHED)

    def reveal(self) -> dict[str, str | int]:
        """Return the parts in clear: hand them to the driver and keep them nowhere.

        Raises:
            InvalidValueError: A part is no text, or the port no number.
        """
        revealed: dict[str, str | int] = {part: value.reveal_text() for part, value in self._parts.items()}
        if self._username is not None:
            revealed["username"] = self._username
        if "port" in revealed:
            revealed["port"] = _number(str(revealed["port"]))
        return revealed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Credentials):
            return NotImplemented
        return self._username == other._username and self._parts == other._parts

    __hash__ = None  # type: ignore[assignment]  # a hash would be a digest of the password

    def __repr__(self) -> str:
        return f"<Credentials version {self.version}>"


def _number(text: str) -> int:
    if text.isascii() and text.isdecimal():
        return int(text)
    raise InvalidValueError("the port in the secret is no number")
