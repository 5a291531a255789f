"""Logins to databases with what a secret says, without a database."""

from __future__ import annotations

import traceback

from collections.abc import Iterator
from typing import Any

import pytest

import strongroom

from sqlaccess import Held
from strongroom.errors import ConfigurationError, SecretNotFoundError
from strongroom.testing import FakeClock, report_of
from strongroom_django import configure, database
from strongroom_django.logins import Login, Pace, SecretLoginMixin, is_refused

LOGIN = '{"username": "app", "password": "%s"}'
PARTS = {"USER": "username", "PASSWORD": "password"}


class RefusedError(Exception):
    sqlstate = "28P01"


class Driver:
    """What Django's own wrapper does, on a server that lets one password in."""

    def __init__(self, entry: dict[str, Any]) -> None:
        self.settings_dict = {"OPTIONS": {}, **entry}
        self.right = "first"
        self.logins: list[str] = []

    def get_connection_params(self) -> dict[str, Any]:
        return {"dbname": self.settings_dict["NAME"]}

    def get_new_connection(self, conn_params: dict[str, Any]) -> str:
        conninfo = " ".join(f"{key}={value}" for key, value in conn_params.items())
        self.logins.append(conninfo)
        if conn_params.get("password") != self.right:
            raise RefusedError("no")
        return conninfo


class Wrapper(SecretLoginMixin, Driver):
    pass


@pytest.fixture
def store() -> Iterator[Held]:
    held = Held()
    held.put("db/shop", LOGIN % "first")
    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": held}) as manager:
        configure(manager)
        yield held
        configure(None)


@pytest.fixture
def wrapper(store: Held, monkeypatch: pytest.MonkeyPatch) -> Wrapper:
    # Each test has its own, as a refusal has an effect on the next one.
    monkeypatch.setattr("strongroom_django.logins.refreshes", Pace(5.0, FakeClock()))
    return Wrapper(database("db/shop", NAME="shop"))


def connect(wrapper: Wrapper) -> Any:
    return wrapper.get_new_connection(wrapper.get_connection_params())


def test_the_login_is_the_secrets(wrapper: Wrapper) -> None:
    assert connect(wrapper) == "dbname=shop user=app password=first"


def test_parameters_do_not_show_the_password(wrapper: Wrapper) -> None:
    assert "first" not in repr(wrapper.get_connection_params())


def test_a_refused_login_is_tried_again_with_the_changed_secret(wrapper: Wrapper, store: Held) -> None:
    connect(wrapper)
    store.put("db/shop", LOGIN % "second")
    wrapper.right = "second"
    assert connect(wrapper) == "dbname=shop user=app password=second"
    assert len(wrapper.logins) == 3
    assert connect(wrapper) == "dbname=shop user=app password=second"
    assert len(wrapper.logins) == 4


def test_a_refused_login_is_not_tried_again_if_the_secret_has_not_changed(wrapper: Wrapper, store: Held) -> None:
    wrapper.right = "unknown"
    for _ in range(5):
        with pytest.raises(RefusedError):
            connect(wrapper)
    assert len(wrapper.logins) == 5
    # The first reading, and one refresh for all refusals.
    assert len(store.reads) == 2


def test_the_driver_s_error_has_none_of_its_frames(wrapper: Wrapper) -> None:
    wrapper.right = "unknown"
    with pytest.raises(RefusedError) as caught:
        connect(wrapper)
    frames = [frame.f_code.co_qualname for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert frames[-1] == "SecretLoginMixin.get_new_connection"
    assert "first" not in report_of(caught.value, "strongroom_django")


def test_an_error_of_another_kind_is_raised_as_it_is(wrapper: Wrapper, store: Held) -> None:
    connect(wrapper)
    wrapper.right = "second"
    store.put("db/shop", LOGIN % "second")
    RefusedError.sqlstate = "53300"
    try:
        with pytest.raises(RefusedError):
            connect(wrapper)
    finally:
        RefusedError.sqlstate = "28P01"
    assert len(store.reads) == 1


def test_an_outage_while_it_is_refreshed_leaves_the_driver_s_error(wrapper: Wrapper, store: Held) -> None:
    connect(wrapper)
    wrapper.right, store.is_out = "second", True
    with pytest.raises(RefusedError):
        connect(wrapper)


def test_a_missing_secret_is_an_error_at_the_connect(store: Held) -> None:
    with pytest.raises(SecretNotFoundError):
        Wrapper(database("absent", NAME="shop")).get_connection_params()


def test_a_pool_of_djangos_is_refused(store: Held) -> None:
    with pytest.raises(ConfigurationError, match="pool"):
        Wrapper(database("db/shop", NAME="shop", OPTIONS={"pool": True})).get_connection_params()


def test_an_entry_without_a_secret_is_left_alone(store: Held) -> None:
    wrapper = Wrapper({"NAME": "shop", "OPTIONS": {"pool": True}})
    assert wrapper.get_connection_params() == {"dbname": "shop"}
    with pytest.raises(RefusedError):
        connect(wrapper)
    assert store.reads == []


def test_all_that_may_come_from_a_secret_does(store: Held) -> None:
    store.put("db/all", '{"u": "app", "p": "first", "h": "db.example.com", "port": 6432}')
    members = {"USER": "u", "PASSWORD": "p", "HOST": "h", "PORT": "port"}
    wrapper = Wrapper(database("db/all", members=members, NAME="shop"))
    assert wrapper.get_connection_params() == {
        "dbname": "shop",
        "user": "app",
        "password": "first",
        "host": "db.example.com",
        "port": "6432",
    }


def test_a_refresh_of_somebody_else_is_used_without_a_further_one(store: Held) -> None:
    clock = FakeClock()
    pace = Pace(5.0, clock)
    login = Login("db/shop", PARTS)
    refused = login.read()
    assert login.renewed(refused, pace) is None
    store.put("db/shop", LOGIN % "second")
    # Too soon after the last one.
    assert login.renewed(refused, pace) is None
    clock.advance(5.0)
    assert login.renewed(refused, pace) == {"USER": "app", "PASSWORD": "second"}
    # This reads what is in the cache by now.
    assert login.renewed(refused, pace) == {"USER": "app", "PASSWORD": "second"}
    assert len(store.reads) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('connection failed: FATAL:  password authentication failed for user "app"', True),
        ('FATAL:  role "app" does not exist', True),
        ('FATAL:  role "app" is not permitted to log in', True),
        ('FATAL:  database "shop" does not exist', False),
        ("connection refused", False),
    ],
)
def test_a_refusal_is_told_from_its_text(text: str, expected: bool) -> None:
    assert is_refused(Exception(text)) is expected
