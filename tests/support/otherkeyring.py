"""Another keyring than strongroom's, which has a password for whatever it is asked."""

from __future__ import annotations

from keyring.backend import KeyringBackend


class Everything(KeyringBackend):
    # Below what keyring chooses by itself, and out of its chain of backends.
    priority = -2

    def get_password(self, service: str, username: str) -> str | None:
        return "a password"

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError("nobody writes into it")
