"""Hits that are odd in one way or another must still become the lines that their events would."""

import json

from typing import Any

import pytest

from strongroom.contracts import Hits, Reading
from strongroom.model import Principal, PrincipalSource
from strongroom_audit_jsonl.encoding import Encoder
from strongroom_audit_jsonl.keys import SealKey
from strongroom_audit_jsonl.lines import Head, Start

KEY = SealKey(bytes(range(32)))
READING = Reading(Principal(name="ann", source=PrincipalSource.CONTEXT), None, "db/password", "memory")


def lines_of(hits: Hits) -> list[dict[str, Any]]:
    text, _ = Encoder().encode(Start(head=Head(), new_file=False), hits, KEY)
    return [json.loads(line) for line in text.splitlines()]


def hits_at(*times: float, offset: float = 0.0, traces: tuple[str | None, ...] = (None,)) -> Hits:
    rows = [
        (number, time, READING, "1", traces[number % len(traces)], ("cache", "ok")) for number, time in enumerate(times)
    ]
    return Hits("ab" * 12, offset, ("user", "host", 1), rows)


@pytest.mark.parametrize(
    ("time", "shown"),
    [
        (-1.75, "1969-12-31T23:59:58.250000+00:00"),
        (-0.25, "1969-12-31T23:59:59.750000+00:00"),
        (-0.0, "1970-01-01T00:00:00.000000+00:00"),
        (0.5, "1970-01-01T00:00:00.500000+00:00"),
        (-86400.0, "1969-12-31T00:00:00.000000+00:00"),
    ],
)
def test_a_clock_before_1970_is_no_hindrance(time: float, shown: str) -> None:
    """As of a machine whose battery is flat: the hits have been served, so they must be recorded."""
    hits = hits_at(time, time, time, offset=0.0)
    assert [line["timestamp"] for line in lines_of(hits)] == [shown] * 3
    assert [event.timestamp for event in hits] == [shown] * 3


def test_what_is_told_as_the_trace_cannot_be_taken_for_anything_else() -> None:
    traces = ('","principal":"root', "line\nbreak", "é\ud800", "f" * 32, None)
    hits = hits_at(*(float(number) for number in range(11)), traces=traces)
    lines = lines_of(hits)
    assert [line.get("trace_id") for line in lines] == [event.trace_id for event in hits]
    assert {line["principal"] for line in lines} == {"ann"}
