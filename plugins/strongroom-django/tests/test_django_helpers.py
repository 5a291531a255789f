"""What settings modules call."""

from __future__ import annotations

import copy
import json
import pickle
import pprint

from pathlib import Path
from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

import strongroom
import strongroom_django

from sqlaccess import Held
from strongroom import SecretManager
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidValueError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.testing import assert_hidden
from strongroom_django import HiddenText, configure, database, secret, secret_key_fallbacks

MYSQL = "django.db.backends.mysql"


def test_a_secret_is_text(manager: SecretManager) -> None:
    manager.set("django/secret-key", "s3cret")
    found = secret("django/secret-key")
    assert isinstance(found, str)
    assert found == "s3cret"


def test_a_member_of_a_secret_is_text(manager: SecretManager) -> None:
    manager.set("mail", '{"user": "shop", "port": 25}')
    assert (secret("mail", field="user"), secret("mail", field="port")) == ("shop", "25")


def test_what_is_not_there_is_an_error_or_the_default(manager: SecretManager) -> None:
    manager.set("mail", "{}")
    with pytest.raises(SecretNotFoundError):
        secret("absent")
    with pytest.raises(SecretNotFoundError):
        secret("mail", field="user")
    assert secret("absent", default=None) is None
    assert secret("mail", field="user", default="nobody") == "nobody"


def test_an_outage_is_an_error_whatever_the_default() -> None:
    store = Held()
    store.is_out = True
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": store}) as manager:
        configure(manager)
        with pytest.raises(BackendUnavailableError):
            secret("django/secret-key", default="insecure")
        configure(None)


def test_what_is_no_text_is_an_error(manager: SecretManager) -> None:
    manager.set("binary", b"\xff")
    with pytest.raises(InvalidValueError):
        secret("binary")


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60))
def test_hidden_text_is_used_as_text_and_not_shown(text: str) -> None:
    value = f"s3cr3t:{text}"
    hidden = HiddenText(value)
    assert hidden == value
    assert hash(hidden) == hash(value)
    assert f"{hidden}" == str(hidden) == value
    assert json.loads(json.dumps({"key": hidden})) == {"key": value}
    for one in (hidden, pickle.loads(pickle.dumps(hidden)), copy.deepcopy(hidden), copy.copy(hidden)):
        assert type(one) is HiddenText
        assert one == value
        for shown in (repr(one), repr({"a": [one]}), pprint.pformat({"a": (one,)}, width=20), f"{one!r}"):
            assert "s3cr3t" not in shown
            assert "[hidden]" in shown


def test_fallbacks_are_the_earlier_versions_newest_first(manager: SecretManager) -> None:
    for number in range(1, 5):
        manager.set("django/secret-key", f"key-{number}")
    assert secret_key_fallbacks("django/secret-key") == ["key-3"]
    assert secret_key_fallbacks("django/secret-key", keep=2) == ["key-3", "key-2"]
    assert secret_key_fallbacks("django/secret-key", keep=9) == ["key-3", "key-2", "key-1"]
    assert secret_key_fallbacks("django/secret-key", keep=0) == []
    assert "key-3" not in repr(secret_key_fallbacks("django/secret-key"))


def test_a_destroyed_version_is_no_fallback(manager: SecretManager) -> None:
    for number in range(1, 4):
        manager.set("django/secret-key", f"key-{number}")
    manager.destroy("django/secret-key", ["2"])
    assert secret_key_fallbacks("django/secret-key", keep=1) == ["key-1"]


def test_fallbacks_may_be_members(manager: SecretManager) -> None:
    manager.set("keys", "{}")
    manager.set("keys", '{"django": "old"}')
    manager.set("keys", '{"django": "new"}')
    assert secret_key_fallbacks("keys", field="django", keep=5) == ["old"]


def test_a_backend_without_versions_is_an_error() -> None:
    store = Held()
    store.put("django/secret-key", "key")
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": store}) as manager:
        configure(manager)
        with pytest.raises(UnsupportedOperationError):
            secret_key_fallbacks("django/secret-key")
        configure(None)


def test_an_entry_for_postgresql_reads_nothing_yet(manager: SecretManager) -> None:
    entry = database("absent", NAME="shop", HOST="db.example.com")
    assert entry == {
        "ENGINE": "strongroom_django.postgresql",
        "NAME": "shop",
        "HOST": "db.example.com",
        "STRONGROOM": {"secret": "absent", "members": {"USER": "username", "PASSWORD": "password"}},
    }


def test_an_entry_for_another_engine_holds_the_login(manager: SecretManager) -> None:
    manager.set("db/shop", '{"username": "app", "password": "s3cret-1", "host": "db", "db": "shop"}')
    members = {"USER": "username", "PASSWORD": "password", "HOST": "host", "NAME": "db"}
    entry = database("db/shop", ENGINE=MYSQL, members=members, PORT=3306)
    assert entry == {
        "ENGINE": MYSQL,
        "PORT": 3306,
        "USER": "app",
        "PASSWORD": "s3cret-1",
        "HOST": "db",
        "NAME": "shop",
    }
    assert_hidden("s3cret-1", repr(entry), "the entry")


def test_with_a_user_the_whole_secret_is_the_password(manager: SecretManager) -> None:
    manager.set("db/password", "s3cret")
    entry = database("db/password", ENGINE=MYSQL, USER="app", NAME="shop")
    assert (entry["USER"], entry["PASSWORD"]) == ("app", "s3cret")


@pytest.mark.parametrize(
    ("members", "settings"),
    [
        ({"HOST": "host"}, {"HOST": "db", "ENGINE": MYSQL}),
        ({"NAME": "name", "PASSWORD": "password"}, {}),
        ({"OPTIONS": "options"}, {}),
    ],
)
def test_an_entry_that_cannot_be_is_refused(
    members: dict[str, str], settings: dict[str, Any], manager: SecretManager
) -> None:
    with pytest.raises(ConfigurationError):
        database("db/shop", members=members, **settings)


def test_a_manager_is_opened_once_and_another_configuration_closes_it(tmp_path: Path) -> None:
    seed = {"backends": {"here": {"type": "memory"}}, "audit": "none"}
    file = tmp_path / "strongroom.toml"
    file.write_text('audit = "none"\n[backends.here]\ntype = "memory"\n')
    configure(seed)
    first = strongroom_django.manager()
    assert strongroom_django.manager() is first
    configure(file)
    with pytest.raises(strongroom.errors.ClosedError):
        first.get("any")
    assert strongroom_django.manager() is not first
    configure(None)
