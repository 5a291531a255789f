"""How values are kept in the fields of an engine: what is written is what is read."""

from __future__ import annotations

import json

from decimal import Decimal
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from engines import new_mount, opened, read, text_of, write
from openbao import Server
from strongroom.errors import InvalidValueError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom_vault.backend import VaultBackend
from strongroom_vault.values import Codec

NAME = SecretName("app/db")
FIELDS = SecretName("fields/db")
CODEC = Codec("value", ("fields/**",))

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.one_of(
    st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.integers(-(10**30), 10**30)
)
objects = st.dictionaries(
    texts,
    st.recursive(
        st.one_of(st.none(), st.booleans(), numbers, texts),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
        max_leaves=8,
    ),
    max_size=4,
)


@given(content=st.one_of(texts, st.binary()), key=st.sampled_from(["value", "password", "é"]))
def test_a_text_and_bytes_come_back_exactly(content: str | bytes, key: str) -> None:
    codec = Codec(key)
    fields = codec.encode(NAME, SecretValue(content))
    assert isinstance(fields, dict)
    assert codec.decode(json.loads(json.dumps(fields))) == SecretValue(content)


@given(members=objects)
def test_an_object_comes_back_equal_or_is_refused(members: dict[str, Any]) -> None:
    text = json.dumps(members)
    fields = CODEC.encode(FIELDS, SecretValue(text))
    if isinstance(fields, InvalidValueError):
        assert fields.code == "not_json"
        return
    back = CODEC.decode(_as_the_server_keeps(fields))
    assert isinstance(back, SecretValue)
    assert back.type is ValueType.TEXT
    assert _exactly(back.reveal_text()) == _exactly(text)


@given(members=objects)
def test_any_fields_that_another_program_wrote_can_be_read(members: dict[str, Any]) -> None:
    value = CODEC.decode(members)
    assert isinstance(value, SecretValue)
    content = value.reveal_text() if value.type is ValueType.TEXT else None
    single = len(members) == 1 and isinstance(members.get("value"), str)
    assert content == members["value"] if single else content is None or json.loads(content) == members


def test_one_text_is_kept_in_the_field_that_is_configured() -> None:
    assert Codec("password").encode(NAME, SecretValue("s3cret")) == {"password": "s3cret"}
    assert Codec("password").encode(NAME, SecretValue(b"\xff")) == {"password_base64": "/w=="}


def test_an_object_whose_only_field_has_another_name_is_an_object() -> None:
    assert CODEC.decode({"password": "s3cret"}) == SecretValue('{"password": "s3cret"}')


@pytest.mark.parametrize(
    "fields",
    [
        {"value": 7},
        {"value": None},
        {"value_base64": "no base64!"},
        {"value_base64": "/x=="},
        {"value_base64": "/w==\n"},
        {"value_base64": 7},
        {"value": "a", "value_base64": "YQ=="},
        {},
    ],
)
def test_what_we_would_not_have_written_is_an_object(fields: dict[str, Any]) -> None:
    value = CODEC.decode(fields)
    assert isinstance(value, SecretValue)
    assert json.loads(value.reveal_text()) == fields


def test_more_levels_than_python_can_write_are_refused() -> None:
    fields: dict[str, Any] = {}
    for _ in range(200_000):
        fields = {"a": fields}
    assert isinstance(CODEC.decode(fields), InvalidValueError)


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("", "is not JSON"),
        ("s3cret", "is not JSON"),
        ("7", "is not a JSON object"),
        ("[]", "is not a JSON object"),
        ('"a"', "is not a JSON object"),
        ('{"a": 1, "a": 1}', "has a member twice"),
        ('{"a": {"b": 1, "b": 2}}', "has a member twice"),
        ('{"a": 9007199254740993}', "has a number that the server cannot keep exactly"),
        ('{"a": 0.12345678901234567890}', "has a number that the server cannot keep exactly"),
        ('{"a": 1e400}', "has a number that the server cannot keep exactly"),
        ('{"a": 1e-400}', "has a number that the server cannot keep exactly"),
        ('{"a": 1e-99999999999999999999}', "has a number that the server cannot keep exactly"),
        ('{"a": NaN}', "has a number that JSON does not know"),
        ('{"a": -Infinity}', "has a number that JSON does not know"),
        ('{"a": "\\ud800"}', "holds half of a surrogate pair"),
        ('{"value": "s3cret"}', "would come back as the one value that it holds"),
        ('{"value_base64": "/w=="}', "would come back as the one value that it holds"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_text_that_cannot_be_kept_as_fields_is_refused(text: str, trouble: str) -> None:
    error = CODEC.encode(FIELDS, SecretValue(text))
    assert isinstance(error, InvalidValueError)
    assert error.what == f"the value of {FIELDS} cannot be kept as fields: it {trouble}"


def test_bytes_cannot_be_kept_as_fields() -> None:
    assert isinstance(CODEC.encode(FIELDS, SecretValue(b'{"a": 1}')), InvalidValueError)


@pytest.mark.parametrize(
    "members",
    [
        {"user": "admin", "password": "s3cret", "port": 5432, "on": True, "none": None, "list": [1, 2.5, {"a": []}]},
        {
            "empty": "",
            "nul": "\0",
            "line": "a\nb\r\n",
            "marks": "<&>\u2028",
            "letters": "äöü 日本 🔑",
            "quote": "\"'\\",
        },
        {"whole": 1e21, "large": 9007199254740992, "small": 1e-7, "one": 1.0, "zero": -0.0, "tiny": 5e-324},
        {"whole": 41828195527344970},
        {"": "a field without a name"},
        {},
    ],
)
def test_fields_come_back_from_a_real_server(server: Server, members: dict[str, Any]) -> None:
    mount = new_mount(server, 2)
    backend = opened(server, mount, fields=("**",))
    write(backend, "app/db", json.dumps(members))
    assert server.ok("GET", f"{mount}/data/app/db")["data"]["data"] == members
    assert json.loads(text_of(backend, "app/db")) == members


def test_fields_come_back_in_the_order_of_their_names(server: Server) -> None:
    backend = opened(server, new_mount(server, 2), fields=("**",))
    write(backend, "app/db", '{"user": "admin",   "password":"s3cret", "port": 5432.0}')
    assert text_of(backend, "app/db") == '{"password": "s3cret", "port": 5432, "user": "admin"}'


def test_names_without_a_pattern_keep_an_object_as_the_text_that_it_is(server: Server) -> None:
    mount = new_mount(server, 2)
    backend = opened(server, mount, fields=("db/*",))
    text = '{"user": "admin",   "user": 1e400}'
    write(backend, "app/db", text)
    assert text_of(backend, "app/db") == text
    assert server.ok("GET", f"{mount}/data/app/db")["data"]["data"] == {"value": text}


@pytest.mark.parametrize("version", [1, 2])
def test_what_cannot_be_kept_as_fields_shows_in_no_error_and_changes_nothing(server: Server, version: int) -> None:
    backend = opened(server, new_mount(server, version), fields=("**",), kv_version=version)
    write(backend, "app/db", '{"user": "admin"}')
    marker = marker_value()
    with pytest.raises(InvalidValueError) as caught:
        write(backend, "app/db", marker)
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")
    assert text_of(backend, "app/db") == '{"user": "admin"}'


@pytest.mark.parametrize("version", [1, 2])
def test_more_fields_than_the_server_takes_are_told_as_that(server: Server, version: int) -> None:
    backend = opened(server, new_mount(server, version), fields=("**",), kv_version=version)
    with pytest.raises(InvalidValueError, match="fields"):
        write(backend, "app/db", json.dumps({f"field {number}": "" for number in range(5000)}))


def test_version_1_takes_no_object_without_fields(server: Server) -> None:
    backend = opened(server, new_mount(server, 1), fields=("**",), kv_version=1)
    with pytest.raises(InvalidValueError):
        write(backend, "app/db", "{}")


@pytest.fixture(scope="module")
def backend(server: Server) -> VaultBackend:
    return opened(server, new_mount(server, 2))


@given(content=st.one_of(texts, st.binary(max_size=2000)))
def test_a_real_server_gives_back_each_value_exactly(backend: VaultBackend, content: str | bytes) -> None:
    write(backend, "app/db", content)
    assert read(backend, "app/db").value == SecretValue(content)


def _exactly(text: str) -> Any:
    return json.loads(text, parse_int=Decimal, parse_float=Decimal)


def _as_the_server_keeps(fields: dict[str, Any]) -> dict[str, Any]:
    """Return fields as a server gives them back that takes each number for a float."""

    def number(text: str) -> int | float:
        kept = float(text)
        return int(Decimal(repr(kept))) if kept.is_integer() and abs(kept) < 1e21 else kept

    found = json.loads(json.dumps(fields), parse_int=number, parse_float=number)
    assert isinstance(found, dict)
    return found
