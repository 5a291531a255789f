"""A trail that was written once must verify for ever."""

import shutil

from pathlib import Path

import pytest

from strongroom.contracts import TrailHead, TrailQuery
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink

VECTORS = Path(__file__).parent / "vectors" / "format-1"
HEAD = TrailHead(position=11, digest="54e556e2a761b1c57ba53a36b8500bb3816e4b96557f50fceefc9b1d0e5c668c")


@pytest.fixture
def sink(tmp_path: Path) -> JsonlSink:
    """The trail, copied to where its key may have the mode that it needs."""
    for name, copy in (
        ("audit.jsonl", ""),
        ("audit.jsonl.1", ".1"),
        ("audit.jsonl.head", ".head"),
        ("test-key.txt", ".key"),
    ):
        target = tmp_path / f"audit.jsonl{copy}"
        shutil.copyfile(VECTORS / name, target)
        target.chmod(0o600)
    return JsonlSink(JsonlSettings(path=str(tmp_path / "audit.jsonl")))


def test_the_trail_verifies(sink: JsonlSink) -> None:
    """With the findings that it had when it was written."""
    report = sink.verify(HEAD)
    assert (report.state, report.events, report.head) == ("gap", 11, HEAD)
    assert [(finding.kind, finding.place.rpartition("/")[2]) for finding in report.findings] == [
        ("gap", "audit.jsonl:3"),
        ("gap", "audit.jsonl:4"),
    ]


def test_the_head_can_be_read(sink: JsonlSink) -> None:
    """It is the last line."""
    assert sink.head() == HEAD


def test_the_events_come_back(sink: JsonlSink) -> None:
    """Every kind of field and character among them."""
    events = list(sink.read(TrailQuery()))
    assert [event.event for event in events] == [
        "opened", "get", "set", "set", "get", "get", "continued", "get", "gap", "gap", "closed",
    ]  # fmt: skip
    assert events[1].duration == 0.012
    assert events[2].key == 'db/\u00e9\u202e\x7f\n"'
    assert events[5].detail == "\U0001f511"


def test_one_other_byte_is_broken(sink: JsonlSink, tmp_path: Path) -> None:
    """Otherwise the tests above would prove little."""
    path = tmp_path / "audit.jsonl.1"
    path.write_bytes(path.read_bytes().replace(b'"result":"denied"', b'"result":"denieD"'))
    assert sink.verify().state == "broken"


def test_the_trail_can_be_continued(sink: JsonlSink, tmp_path: Path) -> None:
    """A later version appends to it without a gap of its own."""
    from strongroom.contracts import AuditWrite
    from strongroom.model import AuditEvent

    sink.write(AuditWrite(events=(AuditEvent(id="12", timestamp="2030-01-02T12:00:00.000000+00:00", event="get"),)))
    report = sink.verify(HEAD)
    assert (report.state, report.head.position, len(report.findings)) == ("gap", 12, 2)
    sink.close()
