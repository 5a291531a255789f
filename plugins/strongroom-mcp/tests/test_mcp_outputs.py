"""What is taken in of an output: whatever its chunks, its length and its form."""

from __future__ import annotations

import json

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.masking import Masker
from strongroom_mcp.collecting import CUT, Collected, harmless
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.outputs import pick

VALUE = b"S3CRETVALUE0123456789"
NOISE = st.binary(max_size=40).map(lambda noise: bytes(byte % 32 + 0x80 for byte in noise)) | st.text(
    "xyz\n", max_size=40
).map(str.encode)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
FORM = {"a": "string", "b.a": "integer", "c[].d": "boolean", "d[]": "number"}


@given(st.lists(NOISE, min_size=2, max_size=5), st.lists(st.integers(1, 7), min_size=1), st.integers(1, 120))
def test_no_part_of_a_value_is_left_by_chunks_or_by_the_cut(noise: list[bytes], sizes: list[int], limit: int) -> None:
    content, kept, at, number = VALUE.join(noise), Collected(Masker([VALUE]), limit), 0, 0
    while at < len(content):
        size = sizes[number % len(sizes)]
        kept.feed(content[at : at + size])
        at, number = at + size, number + 1
    text = kept.text()
    parts = [VALUE[start : start + 4].decode() for start in range(len(VALUE) - 3)]
    assert [part for part in parts if part in text] == []
    assert len(text.removesuffix(CUT).encode("utf-8", "replace")) <= 3 * limit + len("[masked]")


@pytest.mark.parametrize(
    "character",
    [
        "\x1b",
        "\r",
        "\x00",
        "\x7f",
        "\x9b",
        "\u202e",
        "\u2066",
        "\u200f",
        "\u2028",
        "\U000e0041",
        "\U000e0100",
        "\u200b",
        "\ud800",
    ],
)
def test_what_steers_or_hides_is_replaced_and_not_dropped(character: str) -> None:
    assert harmless(f"a{character}b\n\tc é") == "a\N{REPLACEMENT CHARACTER}b\n\tc é"


def conforms(content: Any) -> bool:
    """Tell whether what was picked holds nothing but what FORM declares."""
    kinds = {"a": lambda one: type(one) is str, "d": lambda one: all(type(part) in {int, float} for part in one)}
    kinds["b"] = lambda one: set(one) <= {"a"} and all(type(part) is int for part in one.values())
    kinds["c"] = lambda one: all(set(part) <= {"d"} and all(type(x) is bool for x in part.values()) for part in one)
    return all(key in kinds and kinds[key](value) for key, value in content.items())


@given(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "a": st.text(max_size=5),
            "b": st.dictionaries(st.sampled_from("ab"), st.integers()),
            "c": st.lists(st.dictionaries(st.sampled_from("de"), st.booleans()), max_size=3),
            "d": st.lists(st.integers() | st.floats(allow_nan=False), max_size=3),
            "e": JSON,
        },
    )
)
def test_nothing_but_what_is_declared_comes_through(content: Any) -> None:
    try:
        found = pick(FORM, json.dumps(content))
    except RefusedError:
        return
    assert conforms(found)


def test_numbers_that_json_does_not_have_and_long_lists_are_bounded() -> None:
    assert len(pick({"a[]": "integer"}, json.dumps({"a": [1] * 5000}))["a"]) == 1000
    for kind, number in (("integer", "9" * 10_000), ("number", "NaN"), ("integer", "Infinity"), ("integer", "1.5")):
        with pytest.raises(RefusedError):
            pick({"a": kind}, f'{{"a": {number}}}')
    with pytest.raises(RefusedError):
        pick({"a": "number"}, '{"a": 1e999}')
