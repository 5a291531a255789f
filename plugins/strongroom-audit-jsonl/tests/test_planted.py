"""What somebody who may write the folder, but has no key, cannot make the writer certify."""

import hashlib
import json
import os
import shutil

from typing import Any

import pytest

SMALL = {"max_bytes": 1024, "keep_files": 2}


def aside(trail: Any) -> list[str]:
    return sorted(path.name for path in trail.folder.glob("audit.jsonl.from-*"))


def forged(before: dict[str, Any], count: int, **closing: Any) -> bytes:
    """Return lines that continue from another one, made without a key."""
    chain, lines = bytes.fromhex(before["chain"]), b""
    for seq in range(before["seq"] + 1, before["seq"] + 1 + count):
        is_last = seq == before["seq"] + count
        fields = {"seq": seq, "id": f"forged-{seq}", "timestamp": "2030-01-01T12:00:00+00:00", "event": "get"}
        body = json.dumps(fields | (closing if is_last else {}))[:-1].encode()
        chain = hashlib.sha256(chain + body).digest()
        seal = b',"seal":"' + b"0" * 64 + b'"' if is_last and "block" in closing else b""
        lines += body + b',"chain":"' + chain.hex().encode() + b'"' + seal + b"}\n"
    return lines


def plant_empty(trail: Any) -> None:
    for number in range(3):
        trail.beside(f".from-99999999999{number}").touch(0o600)


def plant_copies(trail: Any) -> None:
    for number in range(3):
        shutil.copy(trail.folder / aside(trail)[0], trail.beside(f".from-99999999999{number}"))


def plant_more_of_the_same(trail: Any) -> None:
    name = trail.folder / aside(trail)[0]
    for number in range(2, 5):
        shutil.copy(name, f"{name}-{number}")


def plant_genuine_ends(trail: Any) -> None:
    """The last line is the trail's, the first one is not."""
    content = trail.path.read_bytes() or (trail.folder / aside(trail)[0]).read_bytes()
    for number in (2, 3, 4):
        first = forged({"seq": number - 1, "chain": "0" * 64}, 1)
        trail.beside(f".from-{number:012d}").write_bytes(first + content.splitlines(keepends=True)[-1])


def plant_genuine_beginnings(trail: Any) -> None:
    """The first line is the trail's, but it lies in the future of the file that it claims to be."""
    content = (trail.folder / aside(trail)[0]).read_bytes()
    for number in (2, 3, 4):
        body = content.replace(b'{"seq":1,', b'{"seq":%d,' % number, 1)
        trail.beside(f".from-{number:012d}").write_bytes(body)


PLANTS = [plant_empty, plant_copies, plant_more_of_the_same, plant_genuine_ends, plant_genuine_beginnings]


@pytest.mark.parametrize("plant", PLANTS)
def test_planted_files_make_keep_files_remove_nothing(trail: Any, plant: Any) -> None:
    """Only files that the key sealed count, and each of them once; no line says that any was removed."""
    for _ in range(2):
        trail.write(trail.open(**SMALL), 4)
    genuine = {name: (trail.folder / name).read_bytes() for name in aside(trail)}
    assert len(genuine) == 1
    plant(trail)
    trail.write(trail.open(**SMALL), 4)
    assert all((trail.folder / name).read_bytes() == content for name, content in genuine.items())
    assert not any(line["event"] == "pruned" for line in trail.lines())


def test_what_is_removed_is_stated_as_the_files_say_it(trail: Any) -> None:
    """Up to the line before the first one that stays."""
    sink = trail.open(**SMALL)
    for _ in range(4):
        trail.write(sink, 4)
    (statement,) = [line for line in trail.lines() if line["event"] == "pruned"]
    first = trail.lines(trail.folder / aside(trail)[0])[0]
    assert statement["pruned"] == first["seq"] - 1
    assert sink.verify().state == "sealed"


def test_a_file_whose_end_was_never_sealed_is_removed_in_its_turn(trail: Any) -> None:
    """A crash does not keep it for ever."""
    trail.write(trail.open(**SMALL), 4)
    trail.kill_in_write(4, whole=2)
    for _ in range(4):
        trail.write(trail.open(**SMALL), 4)
    assert len(aside(trail)) == 2
    assert trail.verify().state == "sealed"


def test_a_line_without_a_seal_does_not_say_what_was_removed(trail: Any) -> None:
    """Anybody can write one."""
    trail.fill(blocks=1)
    os.rename(trail.path, trail.beside(".1"))
    trail.fill(blocks=1)
    last = trail.lines()[-1]
    with trail.path.open("ab") as file:
        file.write(forged(last, 1).replace(b'"event": "get"', b'"event": "pruned", "pruned": 2'))
    trail.beside(".1").unlink()
    assert trail.verify().state in {"gap", "broken"}
    trail.write(trail.open())
    assert any("the trail starts at line" in finding.detail for finding in trail.verify().findings)


@pytest.mark.parametrize("has_note", [True, False])
def test_lines_with_a_foreign_seal_are_never_passed_off_as_unsealed(trail: Any, has_note: bool) -> None:
    """The next writer looks at the seal that it continues from, and says under its own whose it is."""
    trail.fill(blocks=2, size=2)
    lines = trail.path.read_bytes().splitlines(keepends=True)
    made = forged(trail.lines()[1], 2, block=2, key_id="0123456789abcdef")
    trail.path.write_bytes(b"".join(lines[:2]) + made)
    if not has_note:
        trail.beside(".head").unlink()
    assert trail.verify().state == "broken"
    trail.write(trail.open())
    gap = trail.lines()[-2]
    assert (gap["event"], gap["foreign"]) == ("gap", "0123456789abcdef")
    report = trail.verify()
    assert report.state == "gap"
    assert any("sealed with another key" in finding.detail for finding in report.findings)


def test_a_foreign_seal_that_no_line_admits_is_broken(trail: Any) -> None:
    """Put between two genuine blocks in the right place, with everything after it chained anew, seals do not fit."""
    trail.fill(blocks=2, size=2)
    lines = trail.path.read_bytes().splitlines(keepends=True)
    made = forged(trail.lines()[1], 2, block=2, key_id="0123456789abcdef")
    trail.path.write_bytes(b"".join(lines[:2]) + made + b"".join(lines[2:]))
    assert trail.verify().state == "broken"


def test_a_forged_seal_with_the_right_key_id_stays_broken(trail: Any) -> None:
    """Whatever is written after it."""
    trail.fill(blocks=1)
    last = trail.lines()[-1]
    with trail.path.open("ab") as file:
        file.write(forged(last, 1, block=1, key_id=last["key_id"]))
    trail.write(trail.open())
    assert trail.verify().state == "broken"


def test_a_planted_file_does_not_lead_the_trail_astray(trail: Any) -> None:
    """A writer that finds no current file goes on after the genuine one, however far a forged one claims to be."""
    trail.fill()
    last = trail.lines()[-1]
    os.rename(trail.path, trail.beside(".1"))
    trail.beside(".2").write_bytes(forged({"seq": 10**9, "chain": last["chain"]}, 1, block=1, key_id="0" * 16))
    trail.beside(".head").unlink()
    trail.write(trail.open())
    first = trail.lines()[0]
    assert (first["seq"], first["prev"]) == (last["seq"] + 1, last["chain"])
