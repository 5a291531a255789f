"""The rotators that the core itself offers."""

from __future__ import annotations

import json
import re
import uuid

from typing import Any

import pytest

import strongroom

from strongroom.builtin.rotator_settings import PasswordSettings, RandomSettings, UuidSettings
from strongroom.builtin.rotators import password_rotator, random_rotator, uuid_rotator
from strongroom.contracts import GenerateRequest, Rotator
from strongroom.errors import ConfigurationError, InvalidValueError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom.testing import RotatorContract, report_of


class ValueContract(RotatorContract):
    """What rotators without a dependent promise."""

    dependent = False

    @pytest.fixture
    def current(self) -> SecretValue:
        return SecretValue(json.dumps({"user": "app", "password": "the one before"}))


class TestRandom(ValueContract):
    @pytest.fixture
    def rotator(self) -> Rotator:
        return random_rotator(RandomSettings())


class TestPassword(ValueContract):
    @pytest.fixture
    def rotator(self) -> Rotator:
        return password_rotator(PasswordSettings(length=20, upper=1, digits=1))


class TestUuid(ValueContract):
    @pytest.fixture
    def rotator(self) -> Rotator:
        return uuid_rotator(UuidSettings())


class TestMember(ValueContract):
    @pytest.fixture
    def rotator(self) -> Rotator:
        return password_rotator(PasswordSettings(field="password"))


def opened(**rule: Any) -> strongroom.SecretManager:
    """Return a manager with one rule."""
    return strongroom.open(
        {"audit": "none", "backends": {"m": {"type": "memory"}}, "rotation": {"db/*": rule}},
    )


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"rotator": "random", "size": 20, "encoding": "hex"}, lambda value: len(bytes.fromhex(value)) == 20),
        ({"rotator": "password", "length": 24, "digits": 2}, lambda value: len(value) == 24),
        ({"rotator": "uuid"}, lambda value: uuid.UUID(value).version == 4),
    ],
)
def test_a_rule_says_what_is_made(rule: Any, fits: Any) -> None:
    with opened(**rule) as manager:
        manager.set("db/app", "first")
        assert manager.rotate("db/app").version == "2"
        assert fits(manager.get("db/app").reveal_text())


def test_one_member_is_replaced_and_the_others_stay() -> None:
    with opened(rotator="uuid", field="id") as manager:
        manager.set("db/app", '{"user": "ünal", "id": "x", "port": 5432}')
        manager.rotate("db/app")
        content = json.loads(manager.get("db/app").reveal())
        assert (content["user"], content["port"], list(content)) == ("ünal", 5432, ["user", "id", "port"])
        assert uuid.UUID(content["id"]).version == 4


@pytest.mark.parametrize("value", ["no JSON at all", "[1]", '{"other": "x"}'])
def test_without_that_member_nothing_is_changed_and_nothing_shown(value: str) -> None:
    with opened(rotator="password", field="id") as manager:
        manager.set("db/app", value)
        with pytest.raises(InvalidValueError, match="no JSON object with the member 'id'") as caught:
            manager.rotate("db/app")
        assert value not in report_of(caught.value, "strongroom")
        assert manager.get("db/app").reveal_text() == value
        assert [one.state for one in manager.rotation.status()] == ["idle"]


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"rotator": "password", "length": 4}, "bits of entropy"),
        ({"rotator": "random", "size": 8}, "too few for a secret"),
        ({"rotator": "random", "encoding": "base1"}, "is not an encoding"),
        ({"rotator": "random", "field": "password"}, "field needs an encoding"),
        ({"rotator": "uuid", "size": 3}, "is not a setting"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_changed(rule: Any, problem: str) -> None:
    with opened(**rule) as manager:
        manager.set("db/app", "first")
        with pytest.raises(ConfigurationError, match=problem):
            manager.rotate("db/app")
        assert manager.get("db/app").reveal_text() == "first"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"n": 1.10, "id":"x", "big": 1e400}', '{"n": 1.10, "id":"NEW", "big": 1e400}'),
        ('{"a": 1, "a": 2, "id": [1, {}] }\n', '{"a": 1, "a": 2, "id": "NEW" }\n'),
        ('{"id": null, "half": "\\ud800"}', '{"id": "NEW", "half": "\\ud800"}'),
    ],
)
@pytest.mark.parametrize("type", [str, bytes])
def test_the_rest_of_an_object_stays_as_it_is_written(before: str, after: str, type: type) -> None:
    with opened(rotator="uuid", field="id") as manager:
        manager.set("db/app", before if type is str else before.encode())
        manager.rotate("db/app")
        value = manager.get("db/app").value
        content = value.reveal().decode()
        assert value.type is (ValueType.TEXT if type is str else ValueType.BINARY)
        assert re.sub(r"[0-9a-f]{8}-[-0-9a-f]{27}", "NEW", content) == after


@pytest.mark.parametrize(
    "text", ['{"id": "kept-hidden", "id": 2}', '{"id": "kept-hidden", "deep": ' + "[" * 99999 + "]" * 99999 + "}"]
)
def test_an_object_that_cannot_be_told_is_refused_and_not_shown(text: str) -> None:
    rotator = uuid_rotator(UuidSettings(field="id"))
    request = GenerateRequest(
        name=SecretName("db/app"), current=SecretValue(text), attempt=1, read_secret=lambda _: SecretValue("")
    )
    with pytest.raises(InvalidValueError, match="with the member 'id' once") as caught:
        rotator.generate(request)
    assert "kept-hidden" not in report_of(caught.value, "strongroom")
