"""Values are exact: what is written is what is read, as text or as bytes, up to the service's limit."""

from __future__ import annotations

import hashlib
import secrets

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from awswriting import NAME, asked, opened, read, write
from fakeaws import FakeSecretsManager
from strongroom.errors import InvalidValueError, ValueTooLargeError
from strongroom.model import ABSENT, SecretValue, ValueType
from strongroom_aws.values import utc

LIMIT = 65_536
EVERY_BYTE = bytes(range(256))


@pytest.fixture(params=["emulator", "fake"])
def either(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("aws" if request.param == "fake" else "emulator")


@pytest.mark.parametrize("way", ["any", "absent", "version"])
@pytest.mark.parametrize(
    "content",
    [EVERY_BYTE, b"\x00", "text", "grün \u2028 \x00 \U0001f511", " ", "\r\n\t", '{"user": "a"}', b"text", "null"],
)
def test_a_value_comes_back_exactly(either: Any, content: str | bytes, way: str) -> None:
    """With its type, by each way of writing."""
    backend = opened(either, prefix=f"{secrets.token_hex(4)}/")
    expected = write(backend, "before").version if way == "version" else ABSENT if way == "absent" else None
    written = write(backend, content, expected)
    value = read(backend).value
    assert value.type is (ValueType.TEXT if isinstance(content, str) else ValueType.BINARY)
    whole = content.encode() if isinstance(content, str) else content
    assert hashlib.sha256(value.reveal()).digest() == hashlib.sha256(whole).digest()
    assert read(backend, version=written.version).value == SecretValue(content)


@profile(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.binary(min_size=1)))
def test_any_value_comes_back_exactly(aws: FakeSecretsManager, content: str | bytes) -> None:
    aws.store.regions.clear()
    backend = opened(aws)
    write(backend, content)
    assert read(backend).value == SecretValue(content)


def test_what_other_programs_wrote_is_read(either: Any) -> None:
    """As text or as bytes."""
    prefix = f"{secrets.token_hex(4)}/"
    client = either.client()
    client.create_secret(Name=f"{prefix}bytes", SecretBinary=EVERY_BYTE)
    client.create_secret(Name=f"{prefix}text", SecretString="grün")
    backend = opened(either, prefix=prefix)
    assert read(backend, "bytes").value == SecretValue(EVERY_BYTE)
    assert read(backend, "text").value == SecretValue("grün")


def test_bytes_that_are_no_text_are_not_made_into_one(either: Any) -> None:
    backend = opened(either, prefix=f"{secrets.token_hex(4)}/")
    write(backend, b"\xff\xfe")
    with pytest.raises(InvalidValueError) as caught:
        read(backend).value.reveal_text()
    assert caught.value.code == "not_text"


@pytest.mark.parametrize("content", ["", b""])
@pytest.mark.parametrize("expected", [None, ABSENT, "0" * 32])
def test_an_empty_value_is_refused_before_any_request(
    aws: FakeSecretsManager, content: str | bytes, expected: Any
) -> None:
    """The service cannot hold one, and nothing else is put in its place."""
    with pytest.raises(InvalidValueError, match="empty"):
        write(opened(aws), content, expected)
    assert asked(aws) == []


@pytest.mark.parametrize(
    "content", ["x" * LIMIT, b"\xff" * LIMIT, "x" * (LIMIT - 2) + "é", "\U0001f511" * (LIMIT // 4)]
)
def test_a_value_at_the_limit_is_kept(either: Any, content: str | bytes) -> None:
    """The limit counts bytes: text in UTF-8, and bytes before they are put into base64."""
    backend = opened(either, prefix=f"{secrets.token_hex(4)}/")
    write(backend, content)
    assert read(backend).value == SecretValue(content)


@pytest.mark.parametrize("content", ["x" * (LIMIT + 1), b"\xff" * (LIMIT + 1), "x" * (LIMIT - 1) + "é"])
@pytest.mark.parametrize("expected", [None, ABSENT, "0" * 32])
def test_a_value_over_the_limit_is_refused_before_any_request(
    aws: FakeSecretsManager, content: str | bytes, expected: Any
) -> None:
    """The emulator takes it."""
    with pytest.raises(ValueTooLargeError) as caught:
        write(opened(aws), content, expected)
    assert (caught.value.size, caught.value.limit, caught.value.name) == (LIMIT + 1, LIMIT, NAME)
    assert asked(aws) == []


@pytest.mark.parametrize(("year", "offset"), [(1, 14), (9999, -12)])
def test_a_date_that_has_no_year_in_utc_is_no_date(year: int, offset: int) -> None:
    month, day, hour = (1, 1, 0) if year == 1 else (12, 31, 23)
    when = datetime(year, month, day, hour, tzinfo=timezone(timedelta(hours=offset)))
    assert utc(when) is None
