"""User and password are taken from a JSON object and put into it; all the rest stays exactly as it is written."""

from __future__ import annotations

import json

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidValueError
from strongroom.model import SecretName, SecretValue
from strongroom_rotate_postgres.logins import Login, login_of, with_login

NAME = SecretName("db/orders")
CANARY = "canary-7d1f"

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
others = st.dictionaries(
    texts.filter(lambda text: text not in ("username", "password")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner) | st.dictionaries(texts, inner)
    ),
    max_size=4,
)


@st.composite
def objects(draw: st.DrawFn) -> str:
    members = [*draw(others).items(), ("username", draw(texts)), ("password", draw(texts))]
    content = dict(draw(st.permutations(members)))
    indent, ascii_only = draw(st.sampled_from([None, 0, 3])), draw(st.booleans())
    return draw(st.sampled_from(["", " ", "\n\t"])) + json.dumps(content, indent=indent, ensure_ascii=ascii_only)


@given(text=objects(), user=texts, password=texts)
def test_only_user_and_password_change(text: str, user: str, password: str) -> None:
    new = Login(user=user, password=SecretValue(password))
    made = with_login(SecretValue(text), new)
    before, after = json.loads(text), json.loads(made.reveal_text())
    assert list(after) == list(before)
    assert after == before | {"username": user, "password": password}
    assert login_of(made, NAME) == new


@given(text=objects())
def test_putting_in_what_is_there_leaves_all_other_bytes_alone(text: str) -> None:
    value = SecretValue(text)
    once = with_login(value, login_of(value, NAME))
    assert with_login(once, login_of(once, NAME)) == once


def test_numbers_and_blanks_keep_their_spelling() -> None:
    text = '{ "port" : 5432.10,\t"n": 1e400, "password":"a",\n "username" : "b", "deep": {"password": "x"} }'
    made = with_login(SecretValue(text), Login(user="c", password=SecretValue('d"')))
    assert made.reveal_text() == text.replace('"a"', '"d\\""').replace('"b"', '"c"')


def test_bytes_stay_bytes() -> None:
    value = SecretValue(b'{"username": "a", "password": "b"}')
    made = with_login(value, Login(user="a", password=SecretValue("c")))
    assert made == SecretValue(b'{"username": "a", "password": "c"}')


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f'["{CANARY}"]',
        f'{{"password": "{CANARY}"}}',
        f'{{"username": "a", "password": "{CANARY}", "password": "{CANARY}"}}',
        f'{{"username": "a", "password": "{CANARY}"',
        f'{{"username": "", "password": "{CANARY}"}}',
        f'{{"username": ["{CANARY}"], "password": "{CANARY}"}}',
        f'{{"username": "a", "password": "{CANARY}\\u0000"}}',
        f'{{"username": "a", "password": "{CANARY}\\ud800"}}',
        f'{{"username": "a\\ud800", "password": "{CANARY}"}}',
        '{"username": "' + CANARY + '", "password": ' + "[" * 100_000,
    ],
)
def test_a_value_without_a_usable_login_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        login_of(SecretValue(text), NAME)
    assert CANARY not in str(caught.value)
    assert caught.value.name == NAME
    error: BaseException | None = caught.value
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            if "/src/" in trace.tb_frame.f_code.co_filename:
                assert CANARY not in repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidValueError, match="not a JSON object"):
        login_of(SecretValue(b"\xff\xfe"), NAME)
