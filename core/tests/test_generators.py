"""New random values."""

from __future__ import annotations

import base64

from typing import Any

import pytest

from strongroom.errors import ConfigurationError
from strongroom.generators import random_value
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
