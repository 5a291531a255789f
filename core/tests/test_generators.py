"""New random values."""

from __future__ import annotations

import base64
import math

from typing import Any

import pytest

from strongroom.errors import ConfigurationError
from strongroom.generators import PasswordRules, random_password, random_value
from strongroom.model import ValueType


def test_by_default_there_are_32_random_bytes() -> None:
    values = {random_value().reveal() for _ in range(50)}
    assert len(values) == 50
    assert {len(value) for value in values} == {32}
    assert random_value().type is ValueType.BINARY


def test_text_encodings_stand_for_as_many_bytes() -> None:
    in_hex, in_base64 = random_value(24, "hex"), random_value(24, "base64url")
    assert len(bytes.fromhex(in_hex.reveal_text())) == 24
    assert len(base64.urlsafe_b64decode(in_base64.reveal_text())) == 24
    assert in_hex.type is in_base64.type is ValueType.TEXT


@pytest.mark.parametrize("size", [15, 0, -1, None, "32", 16.5])
def test_fewer_than_128_bits_are_refused(size: int) -> None:
    with pytest.raises(ConfigurationError, match="too few for a secret"):
        random_value(size)


def test_an_unknown_encoding_says_which_there_are() -> None:
    unknown: Any = "base32"
    with pytest.raises(ConfigurationError, match="'base32' is not an encoding: use one of raw, hex, base64url"):
        random_value(32, unknown)


def test_a_first_letter_has_the_entropy_of_a_letter() -> None:
    rules = PasswordRules(length=19, alphabet="0123456789a", begins_with_letter=True)
    assert rules.entropy() == pytest.approx(18 * math.log2(11))
    assert "under 64" in rules.problems()[0]


def test_rules_that_leave_no_room_for_the_first_letter_are_refused() -> None:
    assert PasswordRules(length=32, digits=32, begins_with_letter=True).problems() == [
        "begins_with_letter, and length leaves no room for a letter"
    ]


@pytest.mark.parametrize("more", [{"digits": 99}, {"digits": 98, "lower": 1}, {"digits": 99, "upper": 1}])
def test_rules_that_hardly_anything_drawn_meets_are_met(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("strongroom.generators._DRAWS", 1)
    rules = PasswordRules(length=100, begins_with_letter=True, **more)
    assert rules.problems() == []
    made = random_password(rules)
    assert len(made) == 100
    assert made[0].isalpha()
    assert sum(one.isdigit() for one in made) >= more["digits"]
    assert sum(one.islower() for one in made) >= more.get("lower", 0)
    assert sum(one.isupper() for one in made) >= more.get("upper", 0)
