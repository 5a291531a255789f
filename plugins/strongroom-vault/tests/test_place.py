"""What a write that waits is bound to: the servers, the namespace, the mount and the prefix."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom_vault.backend import VaultBackend
from strongroom_vault.settings import VaultSettings

ONE, TWO = "https://one.example.com:8200", "https://two.example.com:8200"


def target(**settings: Any) -> str | None:
    """Return what a backend with such settings says; nothing is sent for it."""
    backend = VaultBackend.open(VaultSettings(**{"address": ONE} | settings))
    try:
        return backend.target()
    finally:
        backend.close()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAULT_ADDR", "BAO_ADDR", "VAULT_NAMESPACE", "BAO_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


def test_each_thing_that_decides_where_a_secret_is_makes_a_difference() -> None:
    others: list[dict[str, Any]] = [
        {},
        {"address": TWO},
        {"address": (ONE, TWO)},
        {"namespace": "team"},
        {"namespace": "team/prod"},
        {"mount": "team"},
        {"mount": "kv", "prefix": "team"},
        {"mount": "kv/team"},
        {"prefix": "team"},
        {"namespace": "team:secret", "mount": "kv"},
        {"namespace": "team", "mount": "secret:kv"},
    ]
    found = [target(**other) for other in others]
    assert None not in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"address": (ONE, TWO)}, {"address": (TWO, ONE)}),
        ({"address": ONE}, {"address": ONE + "/"}),
        ({"namespace": "team"}, {"namespace": "/team/"}),
        ({"namespace": "root"}, {}),
        ({"mount": "/secret/"}, {}),
        ({"prefix": "/team/"}, {"prefix": "team"}),
    ],
)
def test_another_order_or_spelling_of_the_same_place_makes_none(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert target(**one) == target(**other)


def test_a_server_from_a_variable_is_the_same_as_one_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_ADDR", TWO)
    monkeypatch.setenv("VAULT_NAMESPACE", "team")
    assert target(address=None) == target(address=TWO, namespace="team")
