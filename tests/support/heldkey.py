"""A master key that a test holds."""

from __future__ import annotations

import base64
import secrets

from strongroom.contracts import KeySource
from strongroom.model import SecretValue


class HeldKey(KeySource):
    """A new random master key, as its base64 text."""

    def __init__(self) -> None:
        self.text = base64.b64encode(secrets.token_bytes(32)).decode()

    def read(self) -> SecretValue:
        return SecretValue(self.text)

    def describe(self) -> str:
        return "the test's key"
