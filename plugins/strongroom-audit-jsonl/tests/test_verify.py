"""What verification finds, and that it finds everything."""

import base64
import hashlib
import hmac
import json
import os
import shutil

from pathlib import Path
from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.contracts import AuditWrite, TrailHead
from strongroom.errors import AuditError
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink

KEY_FILES = (".key", ".head", ".lock")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A sealed trail of three files with blocks of one to three lines."""
    from strongroom.model import AuditEvent

    folder = tmp_path_factory.mktemp("sealed")
    sink = JsonlSink(JsonlSettings(path=str(folder / "audit.jsonl")))
    for block in range(9):
        events = tuple(
            AuditEvent(id=f"{block}-{line}", timestamp="2030-01-01T12:00:00.000000+00:00", event="get")
            for line in range(block % 3 + 1)
        )
        sink.write(AuditWrite(events=events))
        if block in (2, 5):
            os.rename(folder / "audit.jsonl", folder / f"audit.jsonl.{9 - block}")
    sink.close()
    assert sink.verify().state == "sealed"
    return folder


def state_of(sealed: Path, tmp_path: Path, name: str, content: bytes, *, with_note: bool) -> str:
    """Return the state of a copy of the trail in which one file has other content."""
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(sealed, copy)
    (copy / name).write_bytes(content)
    if not with_note:
        (copy / "audit.jsonl.head").unlink()
    return JsonlSink(JsonlSettings(path=str(copy / "audit.jsonl"))).verify().state


files = st.sampled_from(["audit.jsonl.7", "audit.jsonl.4", "audit.jsonl"])


def without_nul(added: bytes) -> bool:
    """Tell apart what only somebody can have written: NUL bytes at the end may be left by a power failure."""
    return b"\0" not in added


many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@many
@given(name=files, place=st.integers(min_value=0), byte=st.integers(min_value=0, max_value=255))
def test_any_changed_byte_is_broken(sealed: Path, tmp_path: Path, name: str, place: int, byte: int) -> None:
    """Whatever byte becomes whatever other one."""
    content = bytearray((sealed / name).read_bytes())
    place %= len(content)
    if content[place] == byte:
        byte ^= 1
    content[place] = byte
    assert state_of(sealed, tmp_path, name, bytes(content), with_note=True) == "broken"


@many
@given(name=files, place=st.integers(min_value=0), length=st.integers(min_value=1, max_value=400))
def test_any_removed_bytes_are_found(sealed: Path, tmp_path: Path, name: str, place: int, length: int) -> None:
    """Anywhere in the trail, its end included as long as the head file is there."""
    content = (sealed / name).read_bytes()
    place %= len(content)
    shorter = content[:place] + content[place + length :]
    assert state_of(sealed, tmp_path, name, shorter, with_note=True) == "broken"


@many
@given(name=files, place=st.integers(min_value=0), added=st.binary(min_size=1, max_size=20).filter(without_nul))
def test_any_added_bytes_are_found(sealed: Path, tmp_path: Path, name: str, place: int, added: bytes) -> None:
    """A torn line at the very end may be a crash; anything else is broken."""
    content = (sealed / name).read_bytes()
    place %= len(content) + 1
    state = state_of(sealed, tmp_path, name, content[:place] + added + content[place:], with_note=True)
    torn = place == len(content) and b"\n" not in added
    assert state == ({"audit.jsonl": "unsealed"}.get(name, "gap") if torn else "broken")


@many
@given(name=files, first=st.integers(min_value=0), second=st.integers(min_value=0), data=st.data())
def test_any_removed_repeated_or_swapped_line_is_broken(
    sealed: Path, tmp_path: Path, name: str, first: int, second: int, data: st.DataObject
) -> None:
    """Also across the files' ends, and for the last line thanks to the head file."""
    lines = (sealed / name).read_bytes().splitlines(keepends=True)
    first, second = first % len(lines), second % len(lines)
    change = data.draw(st.sampled_from(["remove", "repeat", "swap"]))
    if change == "remove":
        del lines[first]
    elif change == "repeat":
        lines.insert(second, lines[first])
    else:
        if first == second:
            second = (first + 1) % len(lines)
        lines[first], lines[second] = lines[second], lines[first]
    assert state_of(sealed, tmp_path, name, b"".join(lines), with_note=True) == "broken"


def test_every_byte_of_a_small_trail_counts(trail: Any) -> None:
    """Not by chance: each byte, one bit flipped, without the help of a head file."""
    trail.fill(blocks=2, size=1)
    trail.note()
    content = trail.path.read_bytes()
    sink = trail.open()
    for place in range(len(content) - 1):
        trail.path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert sink.verify().state == "broken", place
    trail.path.write_bytes(content[:-1] + b"\x0b")
    assert sink.verify().state == "unsealed"


def test_a_seal_taken_off_is_broken(trail: Any) -> None:
    """A sealed line cannot be turned into one that never had a seal."""
    trail.fill(blocks=2)
    lines = trail.path.read_bytes().splitlines()
    lines[-1] = lines[-1][: lines[-1].index(b',"seal"')] + b"}"
    trail.path.write_bytes(b"\n".join(lines) + b"\n")
    assert trail.verify().state == "broken"


def test_a_trail_made_with_another_key_is_broken(trail: Any) -> None:
    """Whoever lacks the key cannot make one that passes; the finding tells the keys apart."""
    trail.fill()
    trail.beside(".key").unlink()
    trail.beside(".key").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    trail.beside(".key").chmod(0o600)
    report = trail.verify()
    assert report.state == "broken"
    assert "sealed with the key" in report.findings[0].detail


def test_a_change_of_key_is_told_and_is_not_broken(trail: Any) -> None:
    """What the old key sealed is admitted, and covered, by the first seal of the new one."""
    trail.fill()
    trail.beside(".key").write_text("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n")
    trail.write(trail.open())
    assert "foreign" in trail.lines()[-2]
    report = trail.verify()
    assert report.state == "gap"
    assert ["sealed with another key" in finding.detail for finding in report.findings] == [True, True]


def test_a_later_trail_contains_an_earlier_head(trail: Any) -> None:
    """Each head that was ever noted, over rotation, and the very first."""
    sink = trail.open()
    heads = [sink.head()]
    for number in range(5):
        trail.write(sink, number + 1)
        heads.append(sink.head())
        if number == 2:
            os.rename(trail.path, trail.beside(".1"))
    assert [sink.verify(head).state for head in heads] == ["sealed"] * 6
    assert heads[-1] == sink.verify().head
    assert heads[0] == TrailHead(position=0, digest="0" * 64)


def test_an_old_copy_of_everything_is_found_by_a_head_that_was_noted(trail: Any, tmp_path: Path) -> None:
    """Without it nothing in the folder can tell: the old head file fits the old files."""
    trail.fill()
    old = {path: path.read_bytes() for path in trail.folder.iterdir()}
    trail.fill()
    head = trail.open().head()
    for path, content in old.items():
        path.write_bytes(content)
    assert trail.verify().state == "sealed"
    assert trail.open().verify(head).state == "broken"


@pytest.mark.parametrize("digest", ["f" * 64, "", "no hexadecimal", "0" * 64])
def test_a_head_that_was_never_there_is_broken(trail: Any, digest: str) -> None:
    """Whatever was given."""
    trail.fill()
    report = trail.open().verify(TrailHead(position=4, digest=digest))
    assert report.state == "broken"
    assert "line 4" in report.findings[0].detail


def test_a_trail_that_was_emptied_is_broken(trail: Any) -> None:
    """The head file shows that there was one."""
    trail.fill()
    trail.path.write_bytes(b"")
    assert trail.verify().state == "broken"


def test_findings_name_file_and_line(trail: Any) -> None:
    """So that somebody can look."""
    trail.fill()
    lines = trail.path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"api"', b'"eve"')
    trail.path.write_bytes(b"".join(lines))
    report = trail.verify()
    assert [(finding.kind, finding.place) for finding in report.findings] == [("broken", f"{trail.path}:4")]


def test_a_gap_that_the_core_records_is_reported(trail: Any) -> None:
    """Events that never reached the sink are a loss, too."""
    trail.open().write(AuditWrite(events=(trail.event(event="gap", count=17),)))
    report = trail.verify()
    assert report.state == "gap"
    assert "17" in report.findings[0].detail


def test_the_worst_finding_decides(trail: Any) -> None:
    """A gap and a change together are broken."""
    trail.write(trail.open(), event="gap")
    trail.fill()
    content = trail.path.read_bytes()
    trail.path.write_bytes(content.replace(b'"api"', b'"eve"', 1))
    assert trail.verify().state == "broken"


def test_verifying_needs_the_key_and_reading_does_not(trail: Any) -> None:
    """An auditor without it can read, and take a head."""
    from strongroom.contracts import TrailQuery

    written = trail.fill()
    trail.beside(".key").unlink()
    sink = trail.open()
    assert [event.id for event in sink.read(TrailQuery())] == written
    assert sink.head().position == len(written)
    with pytest.raises(AuditError, match="key"):
        sink.verify()


def test_a_copy_in_a_folder_without_a_lock_can_be_verified(trail: Any, tmp_path: Path) -> None:
    """The auditor's copy: files, head file and key."""
    trail.fill()
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", ".key", ".head"):
        shutil.copy(trail.beside(suffix), copy)
    sink = trail.open(path=str(copy / "audit.jsonl"))
    assert sink.verify().state == "sealed"
    assert not (copy / "audit.jsonl.lock").exists()


def write_by_hand(trail: Any, *records: dict[str, Any]) -> None:
    """Write a file as the documentation says, with the trail's own key; a record with a block gets a seal."""
    key = base64.b64decode(trail.beside(".key").read_text())
    chain, lines = bytes(32), b""
    for seq, record in enumerate(records, start=1):
        opening = {"seq": seq} | ({"format": 1, "prev": chain.hex()} if seq == 1 else {})
        closing = {"key_id": hmac.digest(key, b"strongroom audit key id 1\0", "sha256").hex()[:16]}
        fields = opening | {"id": str(seq), "timestamp": "2030-01-01T12:00:00+00:00", "event": "get"} | record
        body = json.dumps(fields | (closing if "block" in record else {}))[:-1].encode()
        chain = hashlib.sha256(chain + body).digest()
        seal = hmac.digest(key, b"strongroom audit seal 1\0" + chain, "sha256").hex()
        end = f',"chain":"{chain.hex()}"' + (f',"seal":"{seal}"' if "block" in record else "") + "}\n"
        lines += body + end.encode()
    trail.path.write_bytes(lines)
    trail.note()


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([{}, {"block": 2}, {"block": 1}], "sealed"),
        ([{}, {"block": 1}], "broken"),
        ([{}, {"block": 3}], "broken"),
        ([{}, {"block": 0}], "broken"),
        ([{}, {"block": "2"}], "broken"),
        ([{"block": 1}, {}, {"block": 1}], "broken"),
        ([{"block": 1}, {}, {"event": "gap", "unsealed": 1, "block": 1}], "gap"),
        ([{"block": 1}, {}, {"event": "gap", "unsealed": 2, "block": 1}], "broken"),
        ([{"block": 1}, {"format": 2, "block": 1}], "sealed"),
        ([{"format": 2, "block": 1}], "broken"),
        ([{"prev": "1" * 64, "block": 1}], "broken"),
        ([{"prev": "none", "block": 1}], "broken"),
        ([{"block": 1}, {"skipped": 3, "block": 1}], "broken"),
        ([{"block": 1}, {"prev": "1" * 64, "block": 1}], "broken"),
        ([{"block": 1}, {"event": "pruned", "pruned": 1, "block": 1}], "sealed"),
        ([{"block": 1}, {"event": "pruned", "pruned": 2, "block": 1}], "broken"),
        ([{"block": 1}, {"event": "pruned", "pruned": 99, "block": 1}], "broken"),
        ([{"block": 1}, {}, {"event": "gap", "unsealed": 1}, {"event": "gap", "unsealed": 2}, {"block": 2}], "gap"),
        ([{"block": 1}, {"event": "gap", "unsealed": 1}, {"block": 1}], "broken"),
    ],
)
def test_blocks_must_add_up_even_if_the_seals_are_genuine(trail: Any, records: list[Any], state: str) -> None:
    """A writer with a mistake in it, or one that was tricked, is not believed either."""
    trail.fill(blocks=1)
    write_by_hand(trail, *records)
    assert trail.verify().state == state
