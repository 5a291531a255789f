"""Parameters: only what is declared is let through, whatever the model says."""

from __future__ import annotations

import re

from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from hypothesis import given
from hypothesis import strategies as st

from mcpsites import action
from strongroom_mcp.errors import RefusedError
from strongroom_mcp.parameters import accept, schema
from strongroom_mcp.settings import ParameterSettings
from strongroom_mcp.targets import address, arguments

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
PARAMETERS = {
    "word": ParameterSettings(pattern="[a-z]+", max_length=5),
    "choice": ParameterSettings(choices=("one", "two"), default="one"),
    "number": ParameterSettings(type="integer", minimum=-3, maximum=3, default=0),
    "switch": ParameterSettings(type="boolean", default=False),
}


@given(st.dictionaries(st.sampled_from([*PARAMETERS, "other"]), ANYTHING | st.sampled_from(["abc", "two", "-x"])))
def test_nothing_else_is_let_through(said: dict[str, Any]) -> None:
    try:
        values = accept(PARAMETERS, said)
    except RefusedError:
        return
    assert set(values) == set(PARAMETERS)
    assert re.fullmatch("[a-z]{1,5}", str(values["word"]))
    assert values["choice"] in {"one", "two"}
    assert type(values["number"]) is int
    assert -3 <= values["number"] <= 3
    assert type(values["switch"]) is bool


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "word is missing"),
        ({"word": None}, "word is missing"),
        ({"word": "abcdef"}, "word is longer than 5 characters"),
        ({"word": "abc\n"}, "word has a character in it that it may not have"),
        ({"word": "ABC"}, "word does not match its pattern"),
        ({"word": 1}, "word is not of the type string"),
        ({"word": "abc", "choice": "three"}, "choice is not one of its choices"),
        ({"word": "abc", "number": 4}, "number is not between -3 and 3"),
        ({"word": "abc", "number": True}, "number is not of the type integer"),
        ({"word": "abc", "switch": 1}, "switch is not of the type boolean"),
        ({"word": "abc", "x": 1}, "there is an argument that is not one of: word, choice, number, switch"),
    ],
)
def test_the_model_is_told_what_is_wrong_without_its_own_words(said: dict[str, Any], told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        accept(PARAMETERS, said)
    assert str(refused.value) == told


def test_lines_are_let_through_where_the_operator_says_so() -> None:
    assert accept({"text": ParameterSettings(lines=True)}, {"text": "a\n\tb"}) == {"text": "a\n\tb"}


def test_a_pattern_that_would_take_years_matches_nothing() -> None:
    nested = {"word": ParameterSettings(pattern="(a+)+b")}
    assert accept(nested, {"word": "a" * 60 + "b"}) == {"word": "a" * 60 + "b"}
    with pytest.raises(RefusedError, match="does not match"):
        accept(nested, {"word": "a" * 60})


def test_the_schema_says_what_is_let_through() -> None:
    assert schema(PARAMETERS) == {
        "type": "object",
        "properties": {
            "word": {"type": "string", "maxLength": 5, "pattern": "^(?:[a-z]+)$"},
            "choice": {"type": "string", "maxLength": 200, "enum": ["one", "two"], "default": "one"},
            "number": {"type": "integer", "minimum": -3, "maximum": 3, "default": 0},
            "switch": {"type": "boolean", "default": False},
        },
        "required": ["word"],
        "additionalProperties": False,
    }


COMMAND = action(
    command=("/bin/echo", "--", "{word}", "{number}", "{switch}"),
    parameters={
        "word": ParameterSettings(),
        "number": ParameterSettings(type="integer"),
        "switch": ParameterSettings(type="boolean", flag="--switch"),
    },
)


@given(st.text(max_size=50), st.integers(), st.booleans())
def test_no_argument_of_the_model_s_is_an_option_and_none_is_two(word: str, number: int, switch: bool) -> None:
    try:
        made = arguments(COMMAND, accept(COMMAND.parameters, {"word": word, "number": number, "switch": switch}))
    except RefusedError:
        return
    assert made == ["/bin/echo", "--", word, str(number), *(["--switch"] if switch else [])]
    assert not made[2].startswith("-")
    assert not made[3].startswith("-")


CALL = action(url="https://api.example.com:8443/a/{word}/z", parameters={"word": ParameterSettings()})


@given(
    st.text(max_size=30)
    | st.lists(st.sampled_from(["..", ".", "/", "%2e", "%2F", "%25", "\\", ";", "@", "?", "#", "a", ":"])).map("".join)
)
def test_a_parameter_changes_neither_host_nor_the_rest_of_the_path(word: str) -> None:
    try:
        made = urlsplit(address(CALL, accept(CALL.parameters, {"word": word})))
    except RefusedError:
        return
    assert (made.scheme, made.netloc, made.query, made.fragment) == ("https", "api.example.com:8443", "", "")
    first, start, part, end = made.path.split("/")
    assert (first, start, unquote(part), end) == ("", "a", word, "z")
    while part != (part := unquote(part)):
        assert not {".", ".."} & set(part.replace("\\", "/").split("/"))
