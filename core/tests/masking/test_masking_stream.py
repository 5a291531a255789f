"""Masking chunk by chunk is masking the whole, and long data takes its time and no more."""

from __future__ import annotations

import base64
import json

from urllib.parse import quote

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.masking import Masker

VALUES = [
    b"hunter2",
    b"ter2hun",
    b"abababab",
    b"caf\xc3\xa9 \xf0\x9f\x98\x80",
    b"\x00\xff\xfe\x80",
    b"[masked]",
    b'a\\n"%41&amp;',
    b"line one 1\nline two 2\n",
]


def forms(value: bytes) -> st.SearchStrategy[bytes]:
    """A value in one of its forms, or a part of one that must not be taken for the whole."""
    text = value.decode("latin-1")
    made = [
        value,
        value.hex().encode(),
        value.hex(":").upper().encode(),
        quote(value).encode(),
        "".join(f"%{byte:02x}" for byte in value).encode(),
        json.dumps(text).encode(),
        json.dumps(json.dumps(value.decode(errors="ignore"))).encode(),
        *(base64.b64encode(b"x" * size + value + b"y" * size) for size in range(3)),
        base64.encodebytes(value * 9),
    ]
    whole = st.sampled_from(made)
    return whole | st.builds(lambda form, end: form[:end], whole, st.integers(1, 12))


pieces = st.one_of(
    st.sampled_from(VALUES).flatmap(forms),
    st.binary(max_size=9),
    st.text("ab2hu\\%&;u04nt\"' \n", max_size=9).map(str.encode),
    st.sampled_from([b"\\" * 17, b"\\ud83d", b"\\ude00", b"&amp;amp;", b"%2525", b"\n" * 90, b"ab" * 150]),
)


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    """Return the data in chunks, the sizes over and over."""
    chunks, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        chunks.append(data[at : at + size])
        at, turn = at + size, turn + 1
    return chunks


@given(
    data=st.lists(pieces, max_size=60).map(b"".join),
    values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
def test_chunks_come_out_as_the_whole_does(data: bytes, values: list[bytes], sizes: list[int]) -> None:
    masker = Masker(values)
    stream = masker.stream()
    out = [stream.feed(chunk) for chunk in cut(data, sizes)]
    assert b"".join([*out, stream.finish()]) == masker.mask(data)


@given(
    data=st.text("ab", min_size=200, max_size=700).map(str.encode)
    | st.text("ab", min_size=1, max_size=9).map(lambda one: one.encode() * 90),
    values=st.lists(st.text("ab", min_size=4, max_size=7).map(str.encode), min_size=1, max_size=3),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=3),
)
def test_exactly_the_bytes_of_all_occurrences_are_replaced(data: bytes, values: list[bytes], sizes: list[int]) -> None:
    """Occurrences that overlap are the hard part: here each place is tried one by one."""
    spans = [(at, at + len(value)) for at in range(len(data)) for value in values if data.startswith(value, at)]
    expected, end, count = b"", 0, 0
    for start, stop in sorted(spans):
        if start >= end:
            expected += data[end:start] + b"*"
            count += 1
        end = max(end, stop)
    stream = Masker(values, replacement="*").stream()
    out = [stream.feed(chunk) for chunk in cut(data, sizes)]
    assert b"".join([*out, stream.finish()]) == expected + data[end:]
    assert stream.masked == count


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_chunk_that_ends_within_escapes_changes_nothing(size: int) -> None:
    """Where a row of backslashes is cut decides what the next escape means."""
    masker = Masker([b"hunter2"], replacement="*")
    data = (b"\\" * 17 + b"u0068unter2 " + b"\\" * 18 + b"u0068unter2 ") * 50
    expected = (b"\\" * 16 + b"* " + b"\\" * 16 + b"* ") * 50
    stream = masker.stream()
    out = [stream.feed(chunk) for chunk in cut(data, [size])]
    assert b"".join([*out, stream.finish()]) == masker.mask(data) == expected


def test_a_form_may_be_twelve_times_as_long_as_its_value() -> None:
    """Beyond it (and 64 bytes more) it is left alone, whether it comes in one piece or in many."""
    masker = Masker([b"hunter"], replacement="*")
    found = []
    for gap in range(120, 150):
        data = b"<aHVu" + b"\n" * gap + b"dGVy>" + b"." * 500
        stream = masker.stream()
        out = [stream.feed(chunk) for chunk in cut(data, [11])]
        assert b"".join([*out, stream.finish()]) == masker.mask(data)
        found.append(masker.finds(data))
    longest = 12 * len(b"hunter") + 64 - len(b"aHVudGVy")
    assert found == [gap <= longest for gap in range(120, 150)]


@given(data=st.lists(pieces, max_size=30).map(b"".join), values=st.lists(st.sampled_from(VALUES[:3]), min_size=1))
def test_what_comes_out_holds_no_value_apart_from_what_replaced_it(data: bytes, values: list[bytes]) -> None:
    masker = Masker(values, replacement="\0|")
    assert not any(masker.finds(part) for part in masker.mask(data).split(b"\0|"))


def test_little_is_held_back() -> None:
    """No more than twice the longest form: data of any length passes in little memory."""
    stream = Masker([b"swordfish"]).stream()
    fed = passed = 0
    for _ in range(500):
        fed += 10
        passed += len(stream.feed(b"0123456789"))
        assert fed - passed <= 2 * (12 * len(b"swordfish") + 64 + 48)
    assert passed + len(stream.finish()) == fed


def test_a_value_is_found_across_chunks_of_one_byte() -> None:
    stream = Masker([b"swordfish"]).stream()
    data = b"the word is " + base64.b64encode(b"swordfish") + b" or %73wordfish"
    out = [stream.feed(bytes((byte,))) for byte in data]
    assert b"".join([*out, stream.finish()]) == b"the word is [masked] or [masked]"
    assert stream.masked == 2


def test_a_stream_can_be_used_again_after_its_end() -> None:
    stream = Masker([b"swordfish"]).stream()
    assert stream.feed(b"sword") + stream.finish() == b"sword"
    assert stream.feed(b"fish swordfish") + stream.finish() == b"fish [masked]"
    assert stream.masked == 1


LONG = 2 << 20
AWKWARD = {
    "one long row of matches": (b"a" * 65536, b"a" * LONG, b"*"),
    "a row of matches in escapes": (b"a" * 4096, b"%61" * (LONG // 3), b"*"),
    "a match but for its end": (b"ab" * 32768 + b"c", b"ab" * (LONG // 2), None),
    "nothing but backslashes": (b"hunter2", b"\\" * LONG, None),
    "the beginnings of escapes": (b"hunter2", b"\\u%4&#" * (LONG // 6), None),
    "base64 in short lines": (b"a" * 63, b"YWFh\n" * (LONG // 5), b"*\n"),
    "hexadecimal digits": (b"\x11" * 999, b"1" * LONG, b"*"),
    "ampersands": (b"&&&&&&&&", b"&amp;" * (LONG // 5), b"*"),
}


@pytest.mark.parametrize(("value", "data", "expected"), AWKWARD.values(), ids=AWKWARD.keys())
def test_awkward_data_comes_to_an_end(value: bytes, data: bytes, expected: bytes | None) -> None:
    """Each of these takes hours if a search begins anew at each place, and seconds if not."""
    assert Masker([value], replacement="*").mask(data) == (data if expected is None else expected)


def test_many_values_with_many_lines_are_found_in_long_data() -> None:
    values = [b"\n".join(b"%08d/%08d" % (key, line) for line in range(400)) for key in range(50)]
    stream = Masker(values).stream()
    filler = b"0123456789 abcdefghij\n" * 40_000
    out = stream.feed(filler) + stream.feed(values[7]) + stream.feed(filler) + stream.feed(b"<00000049/00000399>")
    assert out + stream.finish() == filler + b"[masked]" + filler + b"<[masked]>"
