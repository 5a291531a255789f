"""Settings that cannot be used are refused, with a sentence."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.errors import ConfigurationError
from strongroom_sqlalchemy import LoginOptions, create_engine


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"members": {"password": "pw", "passwort": "pw"}}, "no part passwort"),
        ({"members": {"username": "user"}}, "no member of the secret is the password"),
        ({"username": "app", "members": {"username": "user", "password": "pw"}}, "the user is fixed"),
        ({"cool_down": 0}, "cool_down"),
        ({"cool_down": float("nan")}, "cool_down"),
        ({"cool_down": 20, "max_cool_down": 10}, "cool_down"),
    ],
)
def test_these_are_refused(manager: SecretManager, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        create_engine("postgresql+psycopg://", manager=manager, secret="db/app", settings=LoginOptions(**settings))
