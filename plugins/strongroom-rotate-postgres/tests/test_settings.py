"""Settings that cannot work are refused when the configuration is loaded, with a sentence for each."""

from __future__ import annotations

import string

from typing import Any

import pytest

from strongroom_rotate_postgres.settings import AlternatingSettings, PostgresSettings

GOOD: dict[str, Any] = {"users": ("app_a", "app_b"), "host": "db.example.com", "admin_user": "admin"}
WITH_ONE_DIGIT = string.ascii_letters + string.punctuation + "0"
"""Passwords of ten have 64.1 bits without the digit that each has to have."""


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"users": ("a", "b", "c")},
        {"host": None, "dsn": "postgresql://db.example.com/postgres?sslmode=verify-full"},
        {"admin_user": None, "admin_secret": "db/admin"},
        {"host": "/run/postgresql"},
        {"length": 20, "alphabet": "abcdefghij"},
        {"users": ("ü" * 31, "b")},
    ],
)
def test_these_are_fine(changes: dict[str, Any]) -> None:
    assert AlternatingSettings(**GOOD | changes).problems() == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"users": ("app_a",)}, "one only"),
        ({"users": ("app_a", "app_a")}, "twice"),
        ({"users": ("app_a", "")}, "1 to 63 bytes"),
        ({"users": ("app_a", "ü" * 32)}, "1 to 63 bytes"),
        ({"users": ("app_a", "b\0")}, "1 to 63 bytes"),
        ({"users": ("app_a", "b\ud800")}, "1 to 63 bytes"),
        ({"users": ("app_a", "admin")}, "admin_user is among"),
        ({"host": None}, "host or dsn"),
        ({"dsn": "host=x"}, "dsn stands for"),
        ({"port": 0}, "port"),
        ({"sslmode": "on"}, "sslmode"),
        ({"admin_user": None}, "admin_user and admin_secret"),
        ({"admin_secret": "db/admin"}, "admin_user and admin_secret"),
        ({"length": 7}, "length is not one of"),
        ({"length": 257}, "length"),
        ({"length": 12, "alphabet": "0123456789"}, "64 bits"),
        ({"length": 10, "alphabet": WITH_ONE_DIGIT}, "64 bits"),
        ({"alphabet": ""}, "64 bits"),
        ({"alphabet": "abcabc"}, "alphabet"),
        ({"alphabet": "abc "}, "alphabet"),
        ({"alphabet": "äbcdefgh"}, "alphabet"),
        ({"connect_timeout": 0.0}, "connect_timeout"),
        ({"statement_timeout": -1.0}, "statement_timeout"),
        ({"statement_timeout": 1e9}, "statement_timeout is longer than a day"),
        ({"connect_timeout": float("inf")}, "connect_timeout is longer than a day"),
    ],
)
def test_these_are_refused(changes: dict[str, Any], problem: str) -> None:
    (found,) = AlternatingSettings(**GOOD | changes).problems()
    assert problem in found


def test_a_single_user_is_enough_for_the_single_rotator_only() -> None:
    assert PostgresSettings(**GOOD | {"users": ("app",)}).problems() == []
    (found,) = PostgresSettings(**GOOD | {"users": ()}).problems()
    assert "nobody" in found


@pytest.mark.parametrize("settings", [AlternatingSettings, PostgresSettings])
def test_a_password_in_the_connection_string_is_not_shown(settings: type[PostgresSettings]) -> None:
    made = settings(**GOOD | {"host": None, "dsn": "postgresql://a:canary-31@db.example.com"})
    assert "canary-31" not in repr(made)
