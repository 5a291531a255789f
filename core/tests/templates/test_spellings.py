"""Whatever a value holds, each format's own reader gives it back."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import tomllib

from collections.abc import Callable
from urllib.parse import unquote, unquote_to_bytes

import pytest
import yaml

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom.dotenv import parse
from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue
from strongroom.templates.spellings import FILTERS, as_base64, as_dotenv, as_json, as_quoted, as_shell, as_url, printed

TEXTS = st.text(st.characters(exclude_categories=("Cs",))) | st.text(
    st.sampled_from("'\"\\$`{}%#:-!&*?|>@,[]= \r\n\t\0\x7f\x85\u2028\ufeff\U0001f511a"), max_size=12
)
HARD = [
    "()\"';@ \\ $HOME `id` %s %(x)s *",
    "two\nlines\n",
    "-n",
    "{{ 7 * 7 }}",
    "",
    " ",
    "yes",
    "~",
    "0x1F",
    "a: b #c",
    "\x85\u2028\ufeff\U0001f511",
]
SHELL = """printf '%s|' "$1"; {0}; printf '%s' "$X" """


def each_hard(test: Callable[..., None]) -> Callable[..., None]:
    for text in HARD:
        test = example(text)(test)
    return test


@each_hard
@given(TEXTS)
def test_json_comes_back(text: str) -> None:
    spelled = as_json(text)
    assert json.loads(spelled) == text
    assert "\n" not in spelled


@each_hard
@given(TEXTS)
def test_yaml_comes_back(text: str) -> None:
    assert yaml.safe_load(f"- key: {as_quoted(text)}\n  other: 1\n") == [{"key": text, "other": 1}]


@each_hard
@given(TEXTS)
def test_toml_comes_back(text: str) -> None:
    assert tomllib.loads(f"key = {as_quoted(text)}\nother = 1\n") == {"key": text, "other": 1}


@each_hard
@given(TEXTS)
def test_url_parts_come_back(text: str) -> None:
    spelled = as_url(text)
    assert unquote(spelled) == text
    assert not set(spelled) & set("/:@?#&=+ ")


@each_hard
@given(TEXTS)
def test_base64_comes_back(text: str) -> None:
    assert base64.b64decode(as_base64(text), validate=True).decode() == text


@given(st.binary())
def test_bytes_come_back(content: bytes) -> None:
    assert base64.b64decode(as_base64(content), validate=True) == content
    assert unquote_to_bytes(as_url(content)) == content


@each_hard
@given(TEXTS.filter(lambda text: "\0" not in text))
def test_a_word_for_a_shell_comes_back(text: str) -> None:
    assert shlex.split(f"x={as_shell(text)} y", posix=True) == [f"x={text}", "y"]


@pytest.mark.parametrize("text", [text for text in HARD if text])
def test_a_shell_takes_the_word_as_it_is(text: str) -> None:
    script = f'X={as_shell(text)}\nprintf %s "$X"\n'
    done = subprocess.run(["sh"], input=script.encode(), capture_output=True, check=True)
    assert (done.stdout.decode(), done.stderr) == (text, b"")


@each_hard
@given(TEXTS)
def test_what_has_a_dotenv_spelling_comes_back(text: str) -> None:
    try:
        line = f"X={as_dotenv(text)}\nY=1\n"
    except InvalidValueError:
        assert any(character in text for character in "\0\r\\$`'\"")
        return
    found = parse(SecretValue(line), "test")
    assert {name: value.reveal_text() for name, value in found.items()} == {"X": text, "Y": "1"}


@pytest.mark.parametrize("text", ["a'b$c", "\0", "a\r\nb"])
def test_a_text_without_a_dotenv_spelling_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidValueError, match="no spelling") as raised:
        as_dotenv(text)
    assert text not in str(raised.value)


def test_a_shell_has_no_nul() -> None:
    with pytest.raises(InvalidValueError, match="NUL"):
        as_shell("a\0b")


def test_json_takes_lists_and_numbers_too() -> None:
    assert json.loads(as_json({"a": [1, "x", None, True]})) == {"a": [1, "x", None, True]}
    for value in (float("nan"), {1, 2}, object()):
        with pytest.raises(InvalidValueError):
            as_json(value)


@pytest.mark.parametrize("name", sorted(FILTERS.keys() - {"json"}))
def test_what_is_no_text_is_refused(name: str) -> None:
    for value in ([1], {}, None):
        with pytest.raises(InvalidValueError, match=r"takes a text"):
            FILTERS[name](value)


def test_numbers_are_spelled_as_texts() -> None:
    assert (as_shell(5432), as_quoted(5432), as_url(1.5)) == ("'5432'", '"5432"', "1.5")


def test_texts_and_numbers_are_printed() -> None:
    assert [printed(value) for value in ("x", 1, 1.5)] == ["x", 1, 1.5]
