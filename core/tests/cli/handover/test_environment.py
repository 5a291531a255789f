"""Which variables count as strongroom's own secrets."""

from __future__ import annotations

import os

from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.environment import own_credentials, with_secrets
from strongroom.cli.selection import Choice
from strongroom.config.load import load
from strongroom.errors import PluginError, StrongroomError
from strongroom.model import Secret, SecretName, SecretValue
from strongroom.testing import FakeClock

PLUGIN = """
    from typing import Any
    from strongroom.contracts import BackendSpec, Record
    from strongroom.hookspecs import hookimpl

    class Settings(Record):
        auth: Any = None

    @hookimpl
    def strongroom_backends():
        yield BackendSpec(
            name="acme", summary="", settings=Settings, open=None, credential_variables=("ACME_TOKEN", "ACME_KEY")
        )
"""


def credentials(**tables: Any) -> set[str]:
    return own_credentials(
        load({"backend": "main", "backends": {"main": {"type": "memory"}}, "audit": "none"} | tables)
    )


def test_the_master_key_is_one_whatever_is_configured() -> None:
    assert credentials() == {"STRONGROOM_MASTER_KEY"}


def test_all_that_the_configuration_refers_to_are_however_deep() -> None:
    auth = {"method": "approle", "id": {"env": "A"}, "more": {"deep": [{"key": {"env": "B"}}]}, "file": {"file": "C"}}
    tables = {
        "backends": {"main": {"type": "memory", "auth": auth}, "unused": {"type": "memory", "token": {"env": "D"}}},
        "audit": [{"type": "any", "key": {"env": "E"}}],
        "anomaly": [{"type": "any", "key": {"env": "F"}}],
        "cache": {"policy": "ttl", "key": {"env": "G"}},
    }
    assert credentials(**tables) == {"STRONGROOM_MASTER_KEY", "A", "B", "D", "E", "F", "G"}


def test_variables_that_open_a_configured_backend_by_themselves_are(distributions: Any) -> None:
    distributions.add("acme", {"strongroom.backends": {"acme": "acme"}}, PLUGIN)
    assert credentials() == {"STRONGROOM_MASTER_KEY"}
    found = credentials(backends={"main": {"type": "memory"}, "other": {"type": "acme"}})
    assert found == {"STRONGROOM_MASTER_KEY", "ACME_TOKEN", "ACME_KEY"}


def test_those_of_an_overridden_backend_are_too(distributions: Any, tmp_path: Path) -> None:
    """If its plugin is there; that of a backend that is not in force need not be."""
    distributions.add("acme", {"strongroom.backends": {"acme": "acme"}}, PLUGIN)
    file = tmp_path / "strongroom.toml"
    file.write_text('audit = "none"\nbackend = "a"\n[backends.a]\ntype = "acme"\n[backends.b]\ntype = "absent"\n')
    (tmp_path / "strongroom.local.toml").write_text('[backends.a]\ntype = "memory"\n[backends.b]\ntype = "memory"\n')
    assert own_credentials(load(str(file))) == {"STRONGROOM_MASTER_KEY", "ACME_TOKEN", "ACME_KEY"}


@pytest.mark.parametrize("kind", ["acme", "not-installed"])
def test_a_backend_that_cannot_be_asked_stops_the_start_with_a_way_out(distributions: Any, kind: str) -> None:
    distributions.add("acme", {"strongroom.backends": {"acme": "acme"}}, "raise RuntimeError")
    with pytest.raises(PluginError, match=kind) as caught:
        credentials(backends={"main": {"type": kind}})
    assert "--pass-credentials" in caught.value.hint


def choice(variable: str) -> Choice:
    return Choice(name=SecretName("a"), variable=variable)


def secret(content: str) -> Secret:
    return Secret(SecretName("a"), SecretValue(content), "1", "main", retrieved=FakeClock().now())


def test_the_processs_own_environment_is_never_changed() -> None:
    before = dict(os.environb)
    made = with_secrets({b"A": b"1"}, {"B": secret("x"), "A": secret("y")}, {"A": choice("A"), "B": choice("B")})
    assert made == {b"A": b"y", b"B": b"x"}
    assert dict(os.environb) == before


def test_each_value_with_a_nul_is_named() -> None:
    secrets = {name: secret(f"{name}\0") for name in ("A", "B")}
    with pytest.raises(StrongroomError, match="variable A") as caught:
        with_secrets({}, secrets, {name: choice(name) for name in secrets})
    assert "variable B" in caught.value.__notes__[0]
