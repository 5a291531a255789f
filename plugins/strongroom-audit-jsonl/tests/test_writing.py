"""What a write leaves in the folder, and what it refuses."""

import hashlib
import json
import os
import stat

from pathlib import Path
from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.contracts import AuditWrite, HealthState, KeySource, TrailQuery
from strongroom.errors import AuditError, ConfigurationError
from strongroom.model import SecretValue
from strongroom_audit_jsonl.plugin import JsonlSettings
from strongroom_audit_jsonl.sink import JsonlSink


class FixedKey(KeySource):
    """A key from the configuration."""

    def __init__(self, content: str | None) -> None:
        self._content = content

    def read(self) -> SecretValue:
        if self._content is None:
            raise ConfigurationError("the variable AUDIT_KEY is not set", hint="set it")
        return SecretValue(self._content)

    def describe(self) -> str:
        return "the variable AUDIT_KEY"


GOOD_KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_line_holds_the_facts_of_its_event_and_no_others(trail: Any) -> None:
    """What is None is left out; what the sink adds is documented in the format."""
    trail.write(trail.open(), version="7", backend="vault", result="ok")
    (line,) = trail.lines()
    added = {"seq", "format", "prev", "block", "key_id", "chain", "seal"}
    assert set(line) - added == {
        "id", "timestamp", "event", "phase", "key", "principal", "result", "cache_hit", "version", "backend",
    }  # fmt: skip
    assert (line["seq"], line["version"], line["backend"]) == (1, "7", "vault")


def test_each_line_is_chained_to_the_one_before(trail: Any) -> None:
    """The documented computation gives the documented values."""
    trail.fill(blocks=2, size=3)
    previous = bytes(32)
    for raw in trail.path.read_bytes().splitlines():
        body = raw[: raw.index(b',"chain":"')]
        previous = hashlib.sha256(previous + body).digest()
        assert json.loads(raw)["chain"] == previous.hex()


def test_only_the_last_line_of_a_block_is_sealed(trail: Any) -> None:
    """One seal covers the block, which says how long it is."""
    trail.fill(blocks=2, size=3)
    assert ["seal" in line for line in trail.lines()] == [False, False, True] * 2
    assert [line.get("block") for line in trail.lines()] == [None, None, 3] * 2


@pytest.mark.parametrize("text", ["a\nb", "\u202egnp", "nul\0", "\u0085", "\u200b", "\x7f", "\ud800", "é"])
def test_odd_characters_are_escaped(trail: Any, text: str) -> None:
    """One event stays one line of printable ASCII, and comes back as it was."""
    sink = trail.open()
    trail.write(sink, key=f"db/{text}", detail=text)
    raw = trail.path.read_bytes()
    assert raw.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in raw[:-1])
    assert [event.key for event in sink.read(TrailQuery())] == [f"db/{text}"]


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(st.text(), min_size=1, max_size=5))
def test_any_text_comes_back(trail: Any, texts: list[str]) -> None:
    """Whatever a name, a detail or a user may be."""
    sink = trail.open()
    sink.write(AuditWrite(events=tuple(trail.event(key=text, detail=text[::-1]) for text in texts)))
    assert [event.key for event in sink.read(TrailQuery(last=len(texts)))] == texts
    assert sink.verify().state == "sealed"


def test_an_event_that_json_cannot_express_takes_its_block_along(trail: Any) -> None:
    """All events of a request are recorded or none, and the sink goes on."""
    sink = trail.open()
    with pytest.raises(AuditError, match="JSON"):
        sink.write(AuditWrite(events=(trail.event(), trail.event(duration=float("nan")))))
    kept = trail.write(sink)
    assert [line["id"] for line in trail.lines()] == kept


def test_every_file_is_private_from_the_start_whatever_the_umask(tmp_path: Path, trail: Any) -> None:
    """Under umask 000 the folder is 0700 and each file 0600, rotated ones included."""
    trail.path = tmp_path / "new" / "audit.jsonl"
    before = os.umask(0)
    try:
        sink = trail.open(max_bytes=1024)
        for _ in range(6):
            trail.write(sink)
    finally:
        os.umask(before)
    assert mode(trail.path.parent) == 0o700
    names = {path.name.partition("from-")[0]: mode(path) for path in trail.path.parent.iterdir()}
    assert names == dict.fromkeys(
        ["audit.jsonl", "audit.jsonl.lock", "audit.jsonl.key", "audit.jsonl.head", "audit.jsonl."], 0o600
    )


def test_a_stricter_mode_is_kept(trail: Any) -> None:
    """Nothing is loosened."""
    trail.fill(blocks=1)
    trail.beside(".key").chmod(0o400)
    trail.write(trail.open())
    assert mode(trail.beside(".key")) == 0o400


@pytest.mark.parametrize("suffix", [".key", ".lock"])
@pytest.mark.parametrize("loose", [0o640, 0o604, 0o620])
def test_a_loosened_key_or_lock_is_refused_with_the_way_to_mend_it(trail: Any, suffix: str, loose: int) -> None:
    """Nothing is recorded, and the hint is a command."""
    trail.fill()
    before = trail.path.read_bytes()
    trail.beside(suffix).chmod(loose)
    with pytest.raises(AuditError, match=f"chmod 600 {trail.beside(suffix)}"):
        trail.write(trail.open())
    assert trail.path.read_bytes() == before
    trail.beside(suffix).chmod(0o600)
    trail.write(trail.open())


def test_an_audit_file_that_others_may_write_is_refused(trail: Any) -> None:
    """Whoever may write to it could add lines."""
    trail.fill()
    old = trail.open()
    trail.write(old)
    before = trail.path.read_bytes()
    trail.path.chmod(0o660)
    for sink in (old, trail.open()):
        for _ in range(2):
            with pytest.raises(AuditError, match="chmod 600"):
                trail.write(sink)
    assert trail.path.read_bytes() == before
    trail.path.chmod(0o600)
    trail.write(old)


def test_an_audit_file_that_others_may_read_is_reported(trail: Any) -> None:
    """It holds no value, and a rotator may be set up to make it so; health tells."""
    sink = trail.open()
    trail.write(sink)
    trail.path.chmod(0o640)
    trail.write(sink)
    assert sink.health().state is HealthState.DEGRADED
    assert "chmod 600" in sink.health().hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_key_is_refused(trail: Any, forked: Any) -> None:
    """Somebody who owns the key can read it, whatever its mode."""
    trail.fill()
    trail.folder.chmod(0o777)
    for suffix in ("", ".lock", ".head"):
        os.chown(trail.beside(suffix), 1234, 1234)
    os.chown(trail.beside(".key"), 4321, 4321)
    trail.beside(".key").chmod(0o600)

    def write_as_other() -> None:
        os.setuid(1234)
        with pytest.raises(AuditError, match=r"another user|Permission denied"):
            trail.write(trail.open())

    for parent in list(trail.folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    assert os.waitpid(forked(write_as_other), 0)[1] == 0


@pytest.mark.parametrize("suffix", ["", ".lock", ".key"])
def test_a_symbolic_link_is_not_followed(trail: Any, tmp_path: Path, suffix: str) -> None:
    """It could lead into a foreign folder."""
    target = tmp_path / "elsewhere"
    target.write_bytes(b"")
    target.chmod(0o600)
    trail.beside(suffix).symlink_to(target)
    with pytest.raises(AuditError):
        trail.write(trail.open())
    assert target.read_bytes() == b""


def test_a_fifo_in_place_of_the_file_is_refused_without_waiting(trail: Any) -> None:
    """Opening it for writing would wait for a reader."""
    os.mkfifo(trail.path, 0o600)
    with pytest.raises(AuditError):
        trail.write(trail.open())


def test_a_file_that_is_no_audit_file_is_left_alone(trail: Any) -> None:
    """A mistyped path costs nobody a file."""
    for content in (b"my notes\n", b"my notes", b'{"a": 1}\n', b"\n"):
        trail.path.write_bytes(content)
        trail.path.chmod(0o600)
        with pytest.raises(AuditError, match="not an audit file"):
            trail.write(trail.open(key=FixedKey(GOOD_KEY)))
        with pytest.raises(AuditError, match="not an audit file"):
            trail.write(trail.open())
        assert trail.path.read_bytes() == content
        assert not trail.beside(".key").exists()


def test_a_missing_folder_above_the_folder_is_an_error(trail: Any, tmp_path: Path) -> None:
    """Only the file's own folder is made."""
    with pytest.raises(AuditError, match="No such file"):
        trail.write(trail.open(path=str(tmp_path / "a" / "b" / "audit.jsonl")))


def test_a_configured_key_seals_and_no_key_file_is_made(trail: Any) -> None:
    """The file's key id belongs to it."""
    sink = trail.open(key=FixedKey(GOOD_KEY))
    trail.write(sink)
    assert sink.verify().state == "sealed"
    assert not trail.beside(".key").exists()


@pytest.mark.parametrize("content", ["", "c2hvcnQ=", "not base64 at all, but long enough to be one", GOOD_KEY[:-4]])
def test_a_malformed_key_is_refused_without_being_shown(trail: Any, content: str) -> None:
    """The error says what a key looks like."""
    with pytest.raises(AuditError, match="base64 of at least 32 bytes") as caught:
        trail.write(trail.open(key=FixedKey(content)))
    assert not content or content not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_key_that_cannot_be_read_is_an_audit_error(trail: Any) -> None:
    """The reason and the hint of the configuration are passed on."""
    with pytest.raises(AuditError, match="AUDIT_KEY is not set: set it") as caught:
        trail.write(trail.open(key=FixedKey(None)))
    assert isinstance(caught.value.__cause__, ConfigurationError)


def test_no_new_key_is_made_for_an_old_trail(trail: Any) -> None:
    """A lost key is an error, not the silent beginning of another one."""
    trail.fill()
    trail.beside(".key").unlink()
    with pytest.raises(AuditError, match=r"audit\.jsonl\.key is missing"):
        trail.write(trail.open())
    with pytest.raises(AuditError, match=r"audit\.jsonl\.key is missing"):
        trail.verify()
    assert not trail.beside(".key").exists()


def test_what_is_left_of_a_key_that_was_being_made_is_replaced(trail: Any) -> None:
    """A crash at that moment costs nothing."""
    trail.beside(".key.new").write_bytes(b"half")
    trail.write(trail.open())
    assert trail.verify().state == "sealed"
    assert not trail.beside(".key.new").exists()


def test_the_key_is_shown_nowhere(trail: Any) -> None:
    """Neither by the sink nor by what it holds."""
    sink = trail.open(key=FixedKey(GOOD_KEY))
    trail.write(sink)
    shown = repr(vars(sink)) + repr(sink) + trail.path.read_text() + trail.beside(".head").read_text()
    secret = bytes(range(32))
    assert all(form not in shown for form in (GOOD_KEY, secret.hex(), repr(secret)))


def test_health_tells_of_the_last_failure_until_a_write_succeeds(trail: Any) -> None:
    """Down with the reason, then up again."""
    sink = trail.open()
    trail.path.mkdir()
    with pytest.raises(AuditError):
        trail.write(sink)
    assert sink.health().state is HealthState.DOWN
    assert str(trail.path) in sink.health().reason
    trail.path.rmdir()
    trail.write(sink)
    assert sink.health().state is HealthState.UP


def test_each_broken_rule_of_the_settings_is_named() -> None:
    """One sentence a rule; none for good settings."""
    bad = JsonlSettings(path="audit.jsonl", max_bytes=10, keep_files=0, lock_timeout=0.0)
    assert [problem.split()[0] for problem in bad.problems()] == ["path", "max_bytes", "keep_files", "lock_timeout"]
    assert JsonlSettings(path="/var/log/audit.jsonl", max_bytes=None).problems() == []


def test_nothing_is_made_before_the_first_write(trail: Any) -> None:
    """Opening, reading and asking leave the folder as it is."""
    sink = trail.open()
    assert (list(sink.read(TrailQuery())), sink.head().position, sink.verify().events) == ([], 0, 0)
    sink.health()
    JsonlSink(trail.settings()).close()
    assert list(trail.folder.iterdir()) == []
