"""Cache hits come as rows and are encoded without ever being events; the lines must not tell."""

import json

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.contracts import AuditWrite, Block, Hits, Reading, TrailQuery
from strongroom.errors import AuditError, InvalidNameError
from strongroom.model import AuditEvent, Principal, PrincipalSource, SecretName
from strongroom_audit_jsonl.encoding import Encoder
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head, Start, is_genuine, link, parse

KEY = SealKey(bytes(range(32)))
ORIGIN = ("user", "host", 4711)
HIT = ("cache", "ok")


def is_legal(name: str) -> bool:
    try:
        return bool(SecretName(name))
    except InvalidNameError:
        return False


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=30).filter(is_legal)
texts = st.text(max_size=20)
principals = st.builds(Principal, name=st.text(min_size=1, max_size=20), source=st.sampled_from(PrincipalSource))
readings = st.builds(
    Reading, principals, st.none() | principals, names.map(SecretName), st.text(min_size=1, max_size=10)
)
traces = st.none() | st.integers(1, 2**128 - 1).map("{:032x}".format)
outcomes = st.just(HIT) | st.tuples(
    st.sampled_from(["cache", "stale"]), st.sampled_from(["ok", "not_found", "deleted"])
)


@st.composite
def portions(draw: st.DrawFn) -> Hits:
    """Hits of a few readings, in which versions, outcomes and traces change and come back."""
    rows = st.tuples(
        st.integers(-(2**40), 2**40),
        st.floats(0, 1e7),
        st.sampled_from(draw(st.lists(readings, min_size=1, max_size=3))),
        st.sampled_from([draw(st.none() | texts), draw(texts)]),
        traces,
        outcomes,
    )
    return Hits(
        draw(st.text("0123456789abcdef", min_size=24, max_size=24)),
        draw(st.floats(0, 4e9)),
        draw(st.tuples(texts, texts, st.integers(0, 2**31))),
        draw(st.lists(rows, max_size=6)),
    )


single = st.builds(
    AuditEvent, id=texts, timestamp=st.just("2030-01-01T00:00:00.000000+00:00"), event=st.just("get"), detail=texts
)
parts = st.lists(portions() | st.lists(single, max_size=3).map(tuple), min_size=1, max_size=4)
starts = st.builds(
    Start,
    head=st.builds(Head, seq=st.integers(0, 2**60), digest=st.binary(min_size=32, max_size=32)),
    new_file=st.booleans(),
    marks=st.lists(st.just({"event": "gap", "skipped": 2}), max_size=2).map(tuple),
)


def check(block: bytes, start: Start, head: Head, events: list[AuditEvent]) -> None:
    """Check chain, numbers, seal and content of a block line by line."""
    lines = [parse(raw) for raw in block.removesuffix(b"\n").split(b"\n")]
    assert block.endswith(b"\n")
    assert len(lines) == len(start.marks) + len(events)
    digest, seq = start.head.digest, start.head.seq
    for place, line in enumerate(lines):
        assert line is not None
        digest, seq = link(digest, line.body), seq + 1 + line.fields.get("skipped", 0)
        assert (line.digest, line.seq) == (digest, seq)
        assert ("prev" in line.fields) is (place == 0 and start.new_file)
        assert (line.seal is not None) is (place == len(lines) - 1) is ("block" in line.fields)
    last = lines[-1]
    assert last is not None
    assert is_genuine(last, KEY)
    assert last.fields["block"] == len(lines)
    assert head == Head(seq=seq, digest=digest)
    added = {"seq", "format", "prev", "block", "key_id"}
    told = [
        {name: value for name, value in line.fields.items() if name not in added}
        for line in lines[len(start.marks) :]
        if line is not None
    ]
    assert told == [{name: value for name, value in event.as_dict().items() if value is not None} for event in events]


@given(start=starts, made=st.lists(parts, min_size=1, max_size=3))
def test_rows_are_encoded_as_the_events_that_they_stand_for(start: Start, made: list[Any]) -> None:
    """Field by field, whatever came before: one encoder has all the blocks, one after the other."""
    encoder = Encoder()
    for several in made:
        block = Block(tuple(several))
        events = [event for part in several for event in part]
        if not events:
            continue
        text, head = encoder.encode(start, block, KEY)
        check(text, start, head, events)
        assert encoder.encode(start, block, KEY) == (text, head)
        start = Start(head=head, new_file=False)


@given(start=starts, portion=portions().filter(len))
def test_a_block_of_rows_alone_is_encoded_too(start: Start, portion: Hits) -> None:
    """Its first row may be the first line of a file, and its last one is the end of the block; they may be one."""
    text, head = Encoder().encode(start, portion, KEY)
    check(text, start, head, list(portion))


def reading(name: str = "a") -> Reading:
    return Reading(Principal(name="app", source=PrincipalSource.CONFIGURATION), None, SecretName(name), "local")


def hits(*rows: tuple[Reading, str | None, tuple[str, str]], origin: tuple[str, str, int] = ORIGIN) -> Hits:
    return Hits(
        "0" * 24,
        1893456000.0,
        origin,
        [(number, float(number), who, version, None, outcome) for number, (who, version, outcome) in enumerate(rows)],
    )


def lines(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


START = Start(head=Head(), new_file=False)


def test_another_process_s_rows_are_told_as_its_own() -> None:
    """What is remembered of a reading says which process it was."""
    encoder, who = Encoder(), reading()
    for pid in (1, 2, 1):
        text, _ = encoder.encode(START, hits(*[(who, "7", HIT)] * 3, origin=("user", "host", pid)), KEY)
        assert [line["pid"] for line in lines(text)] == [pid] * 3
    both = Block(tuple(hits(*[(who, "7", HIT)] * 2, origin=("user", "host", pid)) for pid in (1, 2)))
    assert [line["pid"] for line in lines(encoder.encode(START, both, KEY)[0])] == [1, 1, 2, 2]


def test_a_new_version_of_a_secret_is_told_at_once() -> None:
    encoder, who = Encoder(), reading()
    rows = [(who, version, outcome) for version in ("7", "8", None, "7") for outcome in (HIT, ("stale", "ok"))]
    told = lines(encoder.encode(START, hits(*rows, *rows), KEY)[0])
    assert [(line.get("version"), line["source"]) for line in told] == [(row[1], row[2][0]) for row in rows] * 2


def test_what_is_remembered_is_bounded() -> None:
    encoder = Encoder()
    for start in range(0, 5000, 500):
        text, _ = encoder.encode(
            START, hits(*[(reading(f"n/{number}"), "7", HIT) for number in range(start, start + 500)]), KEY
        )
        assert [line["key"] for line in lines(text)] == [f"n/{number}" for number in range(start, start + 500)]
        assert len(encoder._common) <= 1024


def test_a_row_that_is_too_long_is_refused_and_leaves_nothing_behind(trail: Any) -> None:
    sink = trail.open()
    sink.write(AuditWrite(events=Block((hits((reading(), "7", HIT)),))))
    long = Block(
        (hits(*[(reading(), "7", HIT)] * 2, (reading(), "7" * 17_000_000, HIT), *[(reading(), "7", HIT)] * 2),)
    )
    with pytest.raises(AuditError, match=r"takes \d+ bytes"):
        sink.write(AuditWrite(events=long))
    sink.write(AuditWrite(events=Block((hits((reading(), "8", HIT)),))))
    assert [line["version"] for line in trail.lines()] == ["7", "8"]
    assert sink.verify().state == "sealed"


@pytest.mark.parametrize("max_bytes", [1024, None])
def test_blocks_with_rows_make_a_sealed_trail_that_reads_back(trail: Any, max_bytes: int | None) -> None:
    """Also where nearly each block begins a file, so that its first line may be a row."""
    sink = trail.open(max_bytes=max_bytes)
    who, other, written = reading("a"), reading("b"), []
    for number in range(1, 20):
        portion = hits(*[(who, str(number), HIT), (other, None, ("cache", "not_found"))] * (number % 4))
        events = (trail.event(),) * (number % 3)
        block = Block((events, portion, Block((portion,)), events) if number % 2 else (portion, events, portion))
        if len(block):
            sink.write(AuditWrite(events=block, durable=False))
            written += list(block)
    assert [event for event in sink.read(TrailQuery()) if event.event != "continued"] == written
    report = sink.verify()
    assert (report.state, report.findings) == ("sealed", ())
