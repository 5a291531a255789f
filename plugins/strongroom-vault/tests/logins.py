"""What the tests of logging in share: sources, answers, and keepers of a fake server."""

from __future__ import annotations

import itertools
import threading

from typing import Any

from fakes import Answer, FakeVault, Sent
from strongroom.contracts import KeySource
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.replies import Reply
from strongroom_vault.settings import AuthSettings
from strongroom_vault.target import Target
from strongroom_vault.tokens import TokenKeeper
from strongroom_vault.transport import Transport

DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
REFUSED = {"errors": ["permission denied"]}
WRONG = {"errors": ["invalid role or secret ID"]}


class Given(KeySource):
    """A secret that a test gives, and may change or take away."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def read(self) -> SecretValue:
        if self.text is None:
            raise ConfigurationError("it is gone")
        return SecretValue(self.text)

    def describe(self) -> str:
        return "the test"


APPROLE = AuthSettings(method="approle", role_id=Given("some-role"), secret_id=Given("some-secret"))


def granted(token: str, ttl: int = 3600, **auth: Any) -> dict[str, Any]:
    """Return what a server answers to a login or a renewal."""
    auth = {"client_token": token, "lease_duration": ttl, "renewable": True, "num_uses": 0} | auth
    return {"request_id": "request-of-the-login", "auth": {"token_type": "service"} | auth}


class Tokens:
    """The server's side of a login: gives a token at each, counts down its uses, and reads for whoever shows one."""

    def __init__(self, vault: FakeVault, **answer: Any) -> None:
        self.vault = vault
        self.answer = answer
        self.left: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        vault.handle("POST", "/v1/auth/approle/login", self._login)
        vault.handle("GET", "/v1/secret/data/", self._read)
        vault.answer("POST", "/v1/auth/token/revoke-self", 204)

    def _login(self, sent: Sent) -> Answer:
        with self._lock:
            token = f"token-{next(self._numbers)}"
            self.left[token] = self.answer.get("num_uses") or float("inf")
        return Answer(200, granted(token, **self.answer))

    def _read(self, sent: Sent) -> Answer:
        token = sent.headers.get("x-vault-token")
        with self._lock:
            if self.left.get(token, 0) <= 0:
                return Answer(403, REFUSED)
            self.left[token] -= 1
        if "/denied" in sent.path:
            return Answer(403, DENIED)
        return Answer(200, {"data": {"data": {"value": token}, "metadata": {"version": 1}}})

    @property
    def logins(self) -> int:
        return len(self.vault.sent("POST", "/v1/auth/approle/login"))


def transport_to(address: str, **settings: Any) -> Transport:
    return Transport(Target(addresses=(address,), **{"attempts": 1, **settings}))


def keeper_of(vault: FakeVault, auth: AuthSettings = APPROLE, *, timeout: float = 5.0) -> TokenKeeper:
    """Return a keeper that asks the fake server."""
    return TokenKeeper.open(auth, transport_to(vault.address, timeout=timeout))


def read(keeper: TokenKeeper, name: str = "name") -> Reply:
    """Read from the fake server as the backend does."""
    return VaultAdapter(keeper._transport, keeper).send("GET", f"/v1/secret/data/{name}")
