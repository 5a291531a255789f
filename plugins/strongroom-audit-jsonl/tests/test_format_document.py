"""The verifier printed in the documentation is extracted and run, so text and code cannot drift apart."""

import re
import subprocess
import sys

from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "audit-format.md"


@pytest.fixture
def verifier(tmp_path: Path) -> Path:
    """The program as a reader would copy it."""
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    path = tmp_path / "verify.py"
    path.write_text(program)
    return path


def run(verifier: Path, trail: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, verifier, trail.path, trail.beside(".key")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_accepts_what_the_sink_writes(verifier: Path, trail: Any) -> None:
    """And comes to the same head."""
    trail.fill(blocks=5, size=3)
    done = run(verifier, trail)
    head = trail.open().head()
    assert (done.stdout, done.stderr) == (f"{head.position} {head.digest}\n", "")


def test_it_accepts_a_file_that_continues_another(verifier: Path, trail: Any) -> None:
    """From the head that its first line states."""
    trail.fill()
    trail.path.rename(trail.beside(".1"))
    trail.fill()
    assert run(verifier, trail).returncode == 0


def test_it_counts_only_what_a_sealed_block_admits(verifier: Path, trail: Any) -> None:
    """After one crash and after two."""
    trail.fill(blocks=1)
    for _ in range(2):
        trail.kill_in_write(5, whole=2, torn=10)
        assert "torn" in run(verifier, trail).stderr
    trail.write(trail.open(), 3)
    assert run(verifier, trail).stderr == ""
    content = trail.path.read_bytes()
    trail.path.write_bytes(content[: content.rindex(b'{"seq":')])
    assert "have no seal" in run(verifier, trail).stderr


@pytest.mark.parametrize("place", [20, 200, 700, -2, -40])
def test_it_refuses_a_changed_byte(verifier: Path, trail: Any, place: int) -> None:
    """As the real one does."""
    trail.fill(blocks=2, size=2)
    content = bytearray(trail.path.read_bytes())
    content[place] ^= 1
    trail.path.write_bytes(content)
    assert run(verifier, trail).returncode == 1
    assert trail.verify().state == "broken"


def test_it_refuses_a_removed_line(verifier: Path, trail: Any) -> None:
    """Wherever it was, but for the end, which only a head kept elsewhere can show."""
    trail.fill(blocks=3, size=2)
    lines = trail.path.read_bytes().splitlines(keepends=True)
    for place in range(1, len(lines) - 1):
        trail.path.write_bytes(b"".join(lines[:place] + lines[place + 1 :]))
        assert "AssertionError" in run(verifier, trail).stderr


def test_every_member_that_the_sink_adds_is_documented(trail: Any) -> None:
    """The table of members is complete."""
    from strongroom.model import AuditEvent

    sink = trail.open(max_bytes=1024, keep_files=1)
    for turn in range(9):
        trail.write(sink, 2)
        if turn == 6:
            trail.path.write_bytes(trail.path.read_bytes()[:-300])
    added = {name for path in trail.folder.glob("audit.jsonl*") for name in _members(path)} - set(AuditEvent._fields)
    assert {"skipped", "unsealed", "pruned", "prev"} <= added
    documented = set(re.findall(r"`(\w+)`", DOCUMENT.read_text()))
    assert added <= documented


def _members(path: Path) -> set[str]:
    import json

    if path.suffix in {".key", ".lock", ".head"}:
        return set()
    return {name for line in path.read_bytes().splitlines() for name in json.loads(line)}
