"""Which forms of a value are found in text, and which are not."""

from __future__ import annotations

import base64
import html
import json
import shlex

from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from strongroom import SecretValue
from strongroom.masking import Masker
from strongroom.testing import encodings_of, marker_value

VALUE = "pä\"ss\\w/o+r d'é😀&x\ty"
TEXT_FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": json.dumps,
    "json with unicode": lambda value: json.dumps(value, ensure_ascii=False),
    "json with escaped slashes": lambda value: json.dumps(value).replace("/", "\\/"),
    "json within json": lambda value: json.dumps(json.dumps({"a": value})),
    "repr": repr,
    "ascii": ascii,
    "repr of bytes": lambda value: repr(value.encode()),
    "percent-encoded": quote,
    "percent-encoded wholly": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "form field": quote_plus,
    "percent-encoded twice": lambda value: quote(quote(value)),
    "percent-encoded in json": lambda value: json.dumps(quote(value)).replace("/", "\\/"),
    "html": html.escape,
    "html, numbered": lambda value: "".join(f"&#{ord(one)};" for one in value),
    "html, in hexadecimal": lambda value: "".join(f"&#x{ord(one):X};" for one in value),
    "html within html": lambda value: html.escape(html.escape(value)),
    "shell word": shlex.quote,
    "shell word with backslashes": lambda value: "'" + value.replace("'", "'\\''") + "'",
    "shell word without quotes": lambda value: "".join(one if one.isalnum() else f"\\{one}" for one in value),
    "javascript": lambda value: "".join(f"\\u{{{ord(one):x}}}" for one in value),
    "c string": lambda value: "".join(f"\\{byte:03o}" for byte in value.encode()),
    "hexadecimal": lambda value: value.encode().hex(),
    "upper-case hexadecimal": lambda value: value.encode().hex().upper(),
    "hexadecimal with colons": lambda value: value.encode().hex(":"),
    "hexadecimal dump": lambda value: value.encode().hex(" ", 2),
}
ENCODERS = {"standard": base64.b64encode, "URL-safe": base64.urlsafe_b64encode}


@pytest.mark.parametrize("form", TEXT_FORMS.values(), ids=TEXT_FORMS.keys())
def test_a_form_is_replaced_and_the_text_around_it_stays(form: Callable[[str], str]) -> None:
    # What json.dumps and others put around the value stays too.
    bare = form("").strip()
    quoted = form(VALUE)
    masked = Masker([VALUE]).mask_text(f"before {quoted} after")
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert "[masked]" in masked
    assert len(masked) <= len("before [masked] after") + len(bare) + 4


@pytest.mark.parametrize("form", TEXT_FORMS.values(), ids=TEXT_FORMS.keys())
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\\%&\r\n"), min_size=4))
@example(value="one two")
def test_any_text_is_found_in_any_form(form: Callable[[str], str], value: str) -> None:
    assert Masker([value]).finds(f"before {form(value)} after")


def test_a_field_of_a_form_is_found_that_has_nothing_encoded_but_blanks() -> None:
    masker = Masker(["correct horse battery"])
    assert masker.mask_text("p=correct+horse+battery&q=1+2") == "p=[masked]&q=1+2"
    assert masker.mask_text("p=correct+horse battery") == "p=[masked]"


@given(value=st.text(st.characters(exclude_categories=["Cs"]), min_size=4), data=st.data())
@example(value="\\n\\u0041\\", data=None)
@example(value="%41%25%", data=None)
def test_any_choice_of_escaped_characters_is_found(value: str, data: st.DataObject | None) -> None:
    def mixed(escape: Callable[[str], str], always: str) -> str:
        chosen = st.lists(st.booleans(), min_size=len(value), max_size=len(value))
        picks = data.draw(chosen) if data else [False] * len(value)
        pairs = zip(value, picks, strict=True)
        return "".join(escape(one) if pick or one in always else one for one, pick in pairs)

    masker = Masker([value])
    assert masker.finds(mixed(lambda one: "".join(f"%{byte:02X}" for byte in one.encode()), "%"))
    assert masker.finds(mixed(lambda one: json.dumps(one)[1:-1], '"\\'))
    assert masker.finds(mixed(lambda one: f"&#{ord(one)};", "&"))


@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
@given(
    before=st.binary(max_size=7),
    # Line breaks around a value are not looked for.
    value=st.binary(min_size=4, max_size=40).filter(lambda value: value.strip(b"\r\n") == value),
    after=st.binary(max_size=7),
)
def test_base64_is_found_wherever_the_value_begins(
    encode: Callable[[bytes], bytes], before: bytes, value: bytes, after: bytes
) -> None:
    text = encode(before + value + after)
    for form in (text, text.rstrip(b"="), b"\n  ".join(text[at : at + 5] for at in range(0, len(text), 5))):
        masked = Masker([value], replacement="*").mask(b"<" + form + b">")
        # What is left at both ends is base64 of nothing but the bytes around: no bit of the value remains.
        left, *_, right = masked.replace(b"\n  ", b"").strip(b"<>=").split(b"*")
        assert len(left) <= len(before) * 8 // 6
        assert len(right) <= len(after) * 8 // 6 + 1


@pytest.mark.parametrize("escape", [quote_plus, json.dumps, lambda text: json.dumps(json.dumps(text))])
def test_base64_is_found_that_was_escaped_afterwards(escape: Callable[[str], str]) -> None:
    value = b"\xff\xfe\xfb\xef" * 30
    text = base64.encodebytes(b"x" + value).decode().replace("/", "\\/" if escape is json.dumps else "/")
    assert base64.b64encode(value[:57]).decode()[:8] not in Masker([value]).mask_text(escape(text))
    assert Masker([value]).finds(escape(text))


def test_every_form_of_the_leak_detectors_is_found() -> None:
    """What the kit for plugin authors knows whole forms of, the masker knows too."""
    marker = marker_value()
    missed = [form for form, text in encodings_of(marker).items() if not Masker([marker]).finds(text)]
    assert missed == ["its beginning", "its middle"]


@given(value=st.binary(min_size=4), text=st.binary())
def test_any_bytes_are_found_as_they_are(value: bytes, text: bytes) -> None:
    masker = Masker([SecretValue(value)])
    assert masker.finds(text + value)
    assert masker.finds(value + text)


@given(st.text(st.characters(exclude_categories=[])))
def test_text_that_holds_no_value_comes_back_as_it_is(text: str) -> None:
    assert Masker(["!not in any text!"]).mask_text(text) == text


def test_halves_of_surrogate_pairs_do_not_hide_a_value() -> None:
    assert Masker(["hunter2"]).mask_text("\udcff hunter2") == "\udcff [masked]"
    assert "hunter2" not in Masker(["hunter2"]).mask_text("\ud800 hunter2")
    assert Masker(["\udcff\udcfe\udcfd\udcfc"]).finds(b"\xff\xfe\xfd\xfc")


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be", "utf-16", "latin-1"])
def test_a_value_is_found_in_other_character_sets(charset: str) -> None:
    for value in ("pass-w\xf6rd", "hunter2"):
        masked = Masker([value]).mask(f"before {value} after".encode(charset))
        left, right = masked.split(b"[masked]")
        # Of a blank beside it, half may belong to the other byte order.
        assert "before ".encode(charset).startswith(left)
        assert " after".encode(charset).removeprefix(b"\xff\xfe").endswith(right)
        assert len(left + right) >= len("before  after".encode(charset)) - 1
    assert Masker(["pass-w\xf6rd"]).finds(repr("pass-w\xf6rd".encode(charset)))


def test_lines_of_a_long_value_are_found_one_by_one() -> None:
    body = ["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcw", "ggSjAgEAAoIBAQC7VJTUt9Us8cKj"]
    value = "\n".join(["-----BEGIN PRIVATE KEY-----", *body, "-----END PRIVATE KEY-----", ""])
    masked = Masker([value]).mask_text(f"1: {body[0]}\n2: {body[1]}\n-----BEGIN PRIVATE KEY-----")
    assert masked == "1: [masked]\n2: [masked]\n-----BEGIN PRIVATE KEY-----"


def test_line_breaks_may_be_written_in_another_way() -> None:
    masker = Masker(["ab\ncd\nef\n"])
    assert masker.mask_text("<ab\r\ncd\r\nef>") == "<[masked]>"
    assert Masker(["ab\r\ncd\r\nef"]).mask_text("<ab\ncd\nef>") == "<[masked]>"


def test_values_side_by_side_are_replaced_one_by_one() -> None:
    assert Masker(["hunter2", "swordfish"]).mask_text("hunter2swordfishhunter2") == "[masked]" * 3


def test_values_that_overlap_are_replaced_as_one() -> None:
    assert Masker(["hunter2", "ter2", "r2d2c3"]).mask_text("a hunter2d2c3 b") == "a [masked] b"


def test_the_replacement_is_free_to_choose() -> None:
    assert Masker(["masked", "hunter2"], replacement="").mask_text("hunter2 masked") == " "
    # A value that the replacement itself contains is replaced once, not again and again.
    assert Masker(["masked"]).mask_text("masked hunter2") == "[masked] hunter2"


def test_short_values_are_left_alone_and_counted() -> None:
    masker = Masker(["", "abc", b"\0", "abcd"])
    assert masker.unmaskable == 3
    assert masker.mask_text("abc abcd") == "abc [masked]"


def test_without_values_nothing_is_masked() -> None:
    assert Masker([]).mask(b"hunter2") == b"hunter2"
    assert not Masker([]).finds("hunter2")


def test_the_masker_and_its_stream_show_no_value() -> None:
    masker = Masker(["hunter2", b"swordfish"])
    stream = masker.stream()
    stream.feed(b"hunter2")
    shown = f"{masker!r} {masker} {stream!r} {stream}"
    assert not masker.finds(shown)
    assert shown == "<Masker> <Masker> <MaskingStream: 0 masked> <MaskingStream: 0 masked>"


@pytest.mark.parametrize(
    "text",
    ["hunter", "2retnuh", "h-u-n-t-e-r-2", base64.b32encode(b"hunter2").decode(), "h u n t e r 2"],
    ids=["a part", "reversed", "spelled", "base32", "spaced out"],
)
def test_what_is_no_form_is_left_alone(text: str) -> None:
    assert Masker(["hunter2"]).mask_text(text) == text
