"""What a command is given is read to its end, or what hinders is told."""

from __future__ import annotations

import io
import os
import pty
import select
import sys
import threading
import traceback

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from strongroom import inputs
from strongroom.errors import ConfigurationError, ValueTooLargeError
from strongroom.inputs import content_of, ensure_repeatable, read_file, read_input, read_standard_input

MIB = 1 << 20


class Broken(io.BytesIO):
    """It fails when it is read for the second time."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(size)


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB])
def test_a_file_is_read_byte_for_byte(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    assert read_file(str(tmp_path / "a")).reveal() == content
    assert read_input(str(tmp_path / "a")).reveal() == content


def test_a_pipe_with_a_name_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    content = os.urandom(2 * MIB + 7)
    writer = threading.Thread(target=path.write_bytes, args=(content,))
    writer.start()
    assert read_file(str(path)).reveal() == content
    writer.join()


def test_what_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MOST_BYTES", 3 * MIB)
    with pytest.raises(ValueTooLargeError, match="/dev/zero has more than 3,145,728 bytes"):
        read_file("/dev/zero")


@pytest.mark.parametrize(("path", "told"), [("no", "No such file"), ("/", "Is a directory")])
def test_what_cannot_be_read_is_named_as_it_is_to_be_shown(path: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{path} cannot be read: {told}"):
        read_file(path)
    with pytest.raises(ConfigurationError, match=f"^shown cannot be read: {told}"):
        read_file(path, "shown")


def test_a_read_that_fails_half_way_shows_nothing_of_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Broken(b"s3cret" + bytes(2 * MIB))))
    with pytest.raises(ConfigurationError, match="standard input cannot be read: Input/output error") as caught:
        read_standard_input()
    found = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert found.__cause__ is not None
    shown = [value for frame in (*found.stack, *found.__cause__.stack) for value in (frame.locals or {}).values()]
    assert shown
    assert not any("s3cret" in value for value in shown)


def test_standard_input_that_does_not_wait_is_read_to_its_end_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that shares it can have made it so."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with open(reading, encoding="utf-8") as file, ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(sys, "stdin", file)
        os.write(writing, b"the first half ")
        answer = pool.submit(read_input, "-")
        # Until it has come to the end of what there is so far.
        while select.select([file], [], [], 0)[0]:
            pass
        os.write(writing, b"and the other")
        os.close(writing)
        assert answer.result().reveal() == b"the first half and the other"
        assert not os.get_blocking(reading), "whoever shares it finds it as it was"


@pytest.mark.parametrize("content", [b"", b"the first half"])
def test_standard_input_that_is_made_not_to_wait_meanwhile_is_refused_and_not_cut_short(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    # Whoever shares it sets it back at once.
    monkeypatch.setattr(os, "set_blocking", lambda *_: None)
    with open(reading, encoding="utf-8") as file, open(writing, "wb") as unfinished:
        monkeypatch.setattr(sys, "stdin", file)
        unfinished.write(content)
        unfinished.flush()
        with pytest.raises(ConfigurationError, match="standard input cannot be read: it is not ready"):
            read_standard_input()


def test_input_at_a_terminal_ends_when_it_is_ended_once() -> None:
    ours, theirs = pty.openpty()
    os.write(ours, b"typed\n\x04later\n\x04")
    assert read_file(os.ttyname(theirs)).reveal() == b"typed\n"
    os.close(theirs)
    os.close(ours)


def test_what_can_be_read_once_only_is_refused_where_it_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    ensure_repeatable(str(tmp_path / name) for name in ("a", "link", "missing"))
    with pytest.raises(ConfigurationError, match="pipe is no plain file, so it cannot be read again"):
        ensure_repeatable([str(tmp_path / "pipe")])


def test_only_a_plain_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    found = [content_of(str(tmp_path / name)) for name in ("a", "link", "pipe", "no", ".")]
    assert found == [b"a", None, None, None, None]
