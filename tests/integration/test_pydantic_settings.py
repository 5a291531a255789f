"""Settings of pydantic-settings that follow secrets which another process changes."""

from __future__ import annotations

import queue

from pathlib import Path
from typing import Annotated

import pytest

from pydantic import BaseModel, SecretStr, ValidationError

import strongroom

from commandline import Cli
from strongroom.testing import assert_hidden
from strongroom_pydantic import FromSecret, LiveSettings, SecretSettings, StrongroomConfigDict

PATIENCE = 60.0


class Login(BaseModel):
    username: str
    password: SecretStr


class Settings(SecretSettings):
    model_config = StrongroomConfigDict(strongroom_prefix="shop/", env_prefix="SHOP_")
    db: Login
    token: Annotated[SecretStr, FromSecret("payment/api", field="token")]
    url: str = "https://pay.example.com"


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The command in a folder with a new store, which holds what the settings need."""
    command = Cli(folder=tmp_path, home=tmp_path)
    assert command("init").status == 0
    for name, value in (
        ("shop/db", '{"username": "app", "password": "s3cret-1"}'),
        ("payment/api", '{"token": "t0ken-1"}'),
    ):
        assert command("set", name, stdin=value).status == 0
    return command


def test_settings_follow_what_the_command_changes(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_URL", "https://${strongroom://payment/api#token}@pay.example.com")
    monkeypatch.chdir(cli.folder)
    with strongroom.open() as manager, LiveSettings(Settings, manager, settle=0.2) as live:
        changes: queue.Queue[Settings] = queue.Queue()
        problems: queue.Queue[Exception] = queue.Queue()
        live.on_change(lambda _old, new: changes.put(new))
        live.on_problem(problems.put)
        manager.watch(every=1)
        assert live.current.url == "https://t0ken-1@pay.example.com"
        assert cli("set", "payment/api", stdin='{"token": "t0ken-2"}').status == 0
        new = changes.get(timeout=PATIENCE)
        assert (new.token.get_secret_value(), new.url) == ("t0ken-2", "https://t0ken-2@pay.example.com")
        assert cli("set", "shop/db", stdin='{"username": "app"}').status == 0
        problem = problems.get(timeout=PATIENCE)
        assert isinstance(problem, ValidationError)
        assert problem.errors()[0]["loc"] == ("db", "password")
        assert live.current.db.password.get_secret_value() == "s3cret-1"
        assert cli("set", "shop/db", stdin='{"username": "app", "password": "s3cret-3"}').status == 0
        assert changes.get(timeout=PATIENCE).db.password.get_secret_value() == "s3cret-3"
        assert live.problem is None


def test_the_audit_trail_knows_what_the_settings_read_and_no_value(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(cli.folder)
    made = Settings()
    assert made.db.username == "app"
    trail = "".join(path.read_text() for path in cli.folder.glob("audit*.jsonl"))
    assert '"shop/db"' in trail
    assert '"payment/api"' in trail
    for value in ("s3cret-1", "t0ken-1"):
        assert_hidden(value, trail + repr(made), "trail or settings")
