"""Names have one form, values do not show, secrets do not change."""

from __future__ import annotations

import copy
import enum
import gc
import json
import pickle
import unicodedata
import weakref

from datetime import UTC, datetime

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import InvalidNameError, InvalidValueError, SecretNotFoundError
from strongroom.model import (
    ABSENT,
    MAX_NAME_BYTES,
    AuditEvent,
    Freshness,
    Principal,
    PrincipalSource,
    Secret,
    SecretName,
    SecretValue,
    ValueType,
    current_user,
)
from strongroom.testing import assert_hidden, marker_value, report_of

FORBIDDEN = [
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
    *"\u2060\u2066\u2067\u2068\u2069\ufeff\ufe0f\ufdd0\uffff\U000e0041\U0010ffff",
]
BAD_NAMES = [
    "",
    "/",
    "/a",
    "//a",
    "a/",
    "a//b",
    "a///b",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/./b",
    "a/..",
    "./a",
    " a",
    "a ",
    "a/ b",
    "a /b",
    "\u00a0a",
    "a/\u3000b",
    "\ud800",
    "n" * (MAX_NAME_BYTES + 1),
    "\u00e9" * (MAX_NAME_BYTES // 2 + 1),
]
GOOD_NAMES = [
    "a",
    "db/password",
    "a b",
    "a=b'c#d?e&f",
    "100%2Fb",
    "%2e%2e/x",
    "...",
    ".hidden",
    "a..b",
    "caf\u00e9/\u65e5\u672c\u8a9e",
    "\U0001f511",
    "C:\\x",
    "n" * MAX_NAME_BYTES,
    "\u00e9" * (MAX_NAME_BYTES // 2),
]


def canonical(text: str) -> SecretName | None:
    try:
        return SecretName(text)
    except InvalidNameError:
        return None


texts = st.text(max_size=30)
segments = st.text("ab.\u00e9e\u0301 _-", min_size=1, max_size=6)
paths = st.lists(segments, min_size=1, max_size=4).map("/".join)
names = st.one_of(texts, paths).map(canonical).filter(lambda name: name is not None)


class TestSecretName:
    @pytest.mark.parametrize("text", GOOD_NAMES)
    def test_a_canonical_name_is_taken_as_it_is(self, text: str) -> None:
        assert SecretName(text) == text

    @pytest.mark.parametrize("text", BAD_NAMES)
    def test_any_other_spelling_is_refused(self, text: str) -> None:
        with pytest.raises(InvalidNameError):
            SecretName(text)

    @pytest.mark.parametrize("character", FORBIDDEN, ids=ascii)
    def test_control_bidi_and_invisible_characters_are_refused(self, character: str) -> None:
        with pytest.raises(InvalidNameError):
            SecretName(f"a{character}b")

    @pytest.mark.parametrize("other", [b"a", None, 1, ["a"]])
    def test_what_is_not_text_is_refused(self, other: object) -> None:
        with pytest.raises(InvalidNameError, match=type(other).__name__):
            SecretName(other)

    @pytest.mark.parametrize(
        "character",
        [
            "\u180b",
            "\u2065",
            "\ufff0",
            "\U0001bca0",
            "\U0001d173",
            "\ue000",
            "\u0378",
            "\u2800",
            "\U000e0101",
            "\U00016fe4",
        ],
        ids=ascii,
    )
    def test_what_shows_nothing_or_has_no_meaning_yet_is_refused(self, character: str) -> None:
        with pytest.raises(InvalidNameError):
            SecretName(f"db/a{character}b")

    def test_what_is_checked_is_what_is_kept(self) -> None:
        class Member(str, enum.Enum):  # noqa: UP042  # its str() is not its content, unlike that of a StrEnum
            TOKEN = "ops/token"

        class Liar(str):
            def __str__(self) -> str:
                return "../other"

        assert (SecretName(Member.TOKEN), SecretName(Liar("ops/token"))) == ("ops/token", "ops/token")
        with pytest.raises(InvalidNameError):
            SecretName(Liar("../ops"))

    def test_a_refused_name_is_shown_escaped_and_short(self) -> None:
        with pytest.raises(InvalidNameError) as caught:
            SecretName("a\u202e\n" + "b" * 1000)
        assert str(caught.value).isascii()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 250

    @given(text=st.one_of(texts, paths))
    def test_no_accepted_name_holds_anything_forbidden(self, text: str) -> None:
        name = canonical(text)
        if name is None:
            return
        assert not any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in name)
        assert not any(
            unicodedata.bidirectional(character) in {"RLO", "LRO", "RLE", "LRE", "PDF"} for character in name
        )
        assert not {"", ".", ".."} & set(name.split("/"))
        assert all(segment == segment.strip() for segment in name.split("/"))
        assert 1 <= len(name.encode()) <= MAX_NAME_BYTES

    @given(text=st.one_of(texts, paths))
    def test_both_normal_forms_are_one_name(self, text: str) -> None:
        assert canonical(unicodedata.normalize("NFD", text)) == canonical(unicodedata.normalize("NFC", text))

    @given(name=names)
    def test_a_name_stays_itself(self, name: SecretName) -> None:
        assert SecretName(name) is name
        assert SecretName(str.__str__(name)) == name
        assert unicodedata.is_normalized("NFC", name)
        assert pickle.loads(pickle.dumps(name)) == name

    @given(name=names)
    def test_segments_make_up_the_name(self, name: SecretName) -> None:
        assert "/".join(name.segments) == name

    @given(name=names, prefix=names)
    def test_below_means_whole_segments(self, name: SecretName, prefix: SecretName) -> None:
        deeper = name.segments[: len(prefix.segments)] == prefix.segments and len(name.segments) > len(prefix.segments)
        assert name.is_below(prefix) == deeper
        assert name.is_below(f"{prefix}/") == deeper

    @given(name=names)
    def test_every_name_is_below_the_root_and_none_below_itself(self, name: SecretName) -> None:
        assert name.is_below("")
        assert not name.is_below(name)

    def test_a_longer_sibling_is_not_below(self) -> None:
        assert SecretName("foo/a").is_below("foo")
        assert not SecretName("foo000/other").is_below("foo")
        assert not SecretName("foobar").is_below("foo")


class TestSecretValue:
    @given(text=st.text(st.characters(exclude_categories=("Cs",))))
    def test_text_comes_back(self, text: str) -> None:
        value = SecretValue(text)
        assert (value.reveal_text(), value.reveal(), value.type) == (text, text.encode(), ValueType.TEXT)
        assert len(value) == len(text.encode())

    @given(content=st.binary())
    def test_bytes_come_back(self, content: bytes) -> None:
        for form in (content, bytearray(content), memoryview(content)):
            value = SecretValue(form)
            assert (value.reveal(), value.type, len(value)) == (content, ValueType.BINARY, len(content))

    @given(content=st.binary(), value_type=st.sampled_from(ValueType))
    def test_stored_bytes_come_back_with_their_type(self, content: bytes, value_type: ValueType) -> None:
        value = SecretValue.of_bytes(content, value_type)
        assert (value.reveal(), value.type) == (content, value_type)

    @pytest.mark.parametrize("other", [None, 1, 1.5, ["a"], {"a": "b"}, object()])
    def test_other_types_are_refused(self, other: object) -> None:
        with pytest.raises(InvalidValueError, match=type(other).__name__):
            SecretValue(other)

    def test_it_shows_nothing(self) -> None:
        marker = marker_value()
        value = SecretValue(marker)
        shown = [repr(value), str(value), f"{value}", f"{value!r:>40}", "%s" % value, "{:x}".format(value)]  # noqa: UP031, UP032
        shown += [repr([value]), repr({"a": value}), ascii(value), str(dir(value))]
        for text in shown:
            assert_hidden(marker, text, "a representation")

    def test_it_cannot_be_pickled_or_serialised(self) -> None:
        marker = marker_value()
        for attempt in (pickle.dumps, json.dumps):
            with pytest.raises(TypeError) as caught:
                attempt(SecretValue(marker))
            assert_hidden(marker, report_of(caught.value), "the error")

    def test_it_has_no_instance_dictionary(self) -> None:
        """``vars`` and the like, which dumpers use, have nothing to show."""
        with pytest.raises(TypeError):
            vars(SecretValue("x"))

    def test_copies_are_the_value_itself(self) -> None:
        """No second buffer that nobody wipes."""
        value = SecretValue("x")
        assert copy.copy(value) is value
        assert copy.deepcopy({"a": [value]})["a"][0] is value

    def test_it_cannot_be_a_dictionary_key(self) -> None:
        with pytest.raises(TypeError, match="unhashable"):
            hash(SecretValue("x"))

    @pytest.mark.parametrize("content", ["", "x"])
    def test_it_cannot_be_a_condition(self, content: str) -> None:
        """``if value`` would take an empty value for a missing one."""
        with pytest.raises(TypeError):
            bool(SecretValue(content))

    @given(one=st.binary(max_size=5), other=st.binary(max_size=5))
    def test_equal_means_equal_content(self, one: bytes, other: bytes) -> None:
        assert (SecretValue(one) == SecretValue(other)) == (one == other)

    def test_text_and_bytes_are_never_equal(self) -> None:
        assert SecretValue("x") != SecretValue(b"x")
        assert SecretValue("x") != "x"

    def test_a_value_keeps_its_own_copy(self) -> None:
        buffer = bytearray(b"content")
        value = SecretValue(buffer)
        buffer[:] = b"CHANGED"
        assert value.reveal() == b"content"

    @given(content=st.binary(max_size=8))
    def test_text_of_bytes_is_exact_or_refused(self, content: bytes) -> None:
        value = SecretValue(content)
        try:
            text = content.decode()
        except UnicodeDecodeError:
            with pytest.raises(InvalidValueError) as caught:
                value.reveal_text()
            assert caught.value.code == "not_text"
        else:
            assert value.reveal_text() == text

    def test_the_error_for_bytes_that_are_no_text_does_not_hold_them(self) -> None:
        marker = marker_value()
        with pytest.raises(InvalidValueError) as caught:
            SecretValue(marker.encode() + b"\xff").reveal_text()
        assert_hidden(marker, report_of(caught.value), "the error")

    def test_text_that_is_no_unicode_is_refused_without_showing_it(self) -> None:
        marker = marker_value()
        with pytest.raises(InvalidValueError) as caught:
            SecretValue(f"{marker}\ud800")
        assert_hidden(marker, report_of(caught.value), "the error")

    def test_the_buffer_is_wiped_when_the_last_holder_lets_go(self) -> None:
        value = SecretValue("content")
        watched = value._buffer
        other_holder = [value]
        del value
        assert bytes(watched) == b"content"
        other_holder.clear()
        gc.collect()
        assert bytes(watched) == bytes(7)

    def test_it_can_be_watched_without_being_held(self) -> None:
        value = SecretValue("x")
        watcher = weakref.ref(value)
        del value
        gc.collect()
        assert watcher() is None


def secret(content: str | bytes = "s3cret") -> Secret:
    return Secret(
        SecretName("db/password"), SecretValue(content), "7", "vault", retrieved=datetime(2026, 1, 1, tzinfo=UTC)
    )


class TestSecret:
    def test_it_hands_out_its_value(self) -> None:
        assert (secret().reveal(), secret().reveal_text()) == (b"s3cret", "s3cret")

    def test_it_is_fresh_unless_said_otherwise(self) -> None:
        assert (secret().freshness, secret().age, secret().created) == (Freshness.FRESH, 0.0, None)

    def test_it_shows_where_it_is_from_but_not_its_value(self) -> None:
        marker = marker_value()
        shown = repr(secret(marker))
        assert "db/password" in shown
        assert "vault" in shown
        for text in (shown, str(secret(marker)), f"{secret(marker)}"):
            assert_hidden(marker, text, "the secret's repr")

    def test_it_never_changes(self) -> None:
        with pytest.raises(AttributeError):
            secret().version = "8"
        with pytest.raises(AttributeError):
            secret().note = "x"

    def test_a_changed_copy_leaves_it_alone(self) -> None:
        one = secret()
        other = one.with_changes(freshness=Freshness.STALE, age=3.0)
        assert (one.freshness, one.age) == (Freshness.FRESH, 0.0)
        assert (other.freshness, other.age, other.value, other.name) == (Freshness.STALE, 3.0, one.value, one.name)

    def test_it_cannot_be_pickled(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(secret())

    def test_copies_are_the_secret_itself(self) -> None:
        one = secret()
        assert copy.copy(one) is one
        assert copy.deepcopy(one) is one

    @pytest.mark.parametrize(
        ("document", "field", "expected"),
        [
            ('{"user": "me", "password": " x\\n"}', "password", " x\n"),
            ('{"empty": ""}', "empty", ""),
            ('{"port": 5432}', "port", "5432"),
            ('{"on": true}', "on", "true"),
            ('{"none": null}', "none", "null"),
            ('{"list": [1, "\u00e9"]}', "list", '[1, "\u00e9"]'),
            ('{"a.b": "dots are no path"}', "a.b", "dots are no path"),
        ],
    )
    def test_a_field_is_one_member(self, document: str, field: str, expected: str) -> None:
        member = secret(document).field(field)
        assert member.reveal_text() == expected
        assert (member.name, member.version, member.value.type) == ("db/password", "7", ValueType.TEXT)

    def test_a_missing_field_is_not_found(self) -> None:
        marker = marker_value()
        with pytest.raises(SecretNotFoundError) as caught:
            secret(json.dumps({"other": marker})).field("password")
        assert caught.value.code == "field_not_found"
        assert_hidden(marker, report_of(caught.value), "the error")

    @pytest.mark.parametrize("shape", ["{}", '"{}"', '["{}"]', '{{"a": "{}"', "1"])
    def test_a_value_that_is_no_object_has_no_fields(self, shape: str) -> None:
        marker = marker_value().replace('"', "").replace("\\", "")
        with pytest.raises(InvalidValueError) as caught:
            secret(shape.format(marker)).field("a")
        assert caught.value.code == "not_json"
        assert_hidden(marker, report_of(caught.value), "the error")

    @pytest.mark.parametrize(
        "document", ['{"a": "' + "SECRET" * 4 + '\\ud800"}', '{"a": ' + "[" * 100_000], ids=["half a pair", "too deep"]
    )
    def test_a_member_that_cannot_be_taken_out_is_refused_without_showing_it(self, document: str) -> None:
        with pytest.raises(InvalidValueError) as caught:
            secret(document).field("a")
        assert caught.value.code == "not_json"
        assert "SECRETSECRET" not in report_of(caught.value, "strongroom")

    def test_bytes_have_no_fields(self) -> None:
        with pytest.raises(InvalidValueError):
            secret(b"\xff\xfe").field("a")


def test_absent_is_one_thing_with_a_name() -> None:
    assert repr(ABSENT) == "ABSENT"
    assert pickle.loads(pickle.dumps(ABSENT)) is ABSENT


def test_an_audit_event_has_no_field_that_could_hold_a_value() -> None:
    """All its fields are facts about the access; a new one must be thought about here."""
    event = AuditEvent(id="1", timestamp="2026-01-01T00:00:00.000000+00:00", event="get")
    assert not {"value", "content", "data", "payload", "secret", "old", "new"} & set(event.as_dict())
    assert all(isinstance(fact, str | int | float | bool | None) for fact in event.as_dict().values())


def test_a_principal_says_how_it_is_known() -> None:
    principal = Principal(name="api-server", source=PrincipalSource.CONFIGURATION)
    assert (principal.name, principal.source.value) == ("api-server", "configuration")


def test_the_user_is_the_one_the_process_runs_as() -> None:
    assert current_user()
