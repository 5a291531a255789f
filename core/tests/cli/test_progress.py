"""The progress bar: on a terminal only, late, seldom, and gone at the end."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import textwrap

from collections.abc import Iterator
from typing import TextIO

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.progress import Progress, bar
from strongroom.testing import FakeClock


class Terminal:
    """A pseudo-terminal of 60 columns: what is written to ``stream`` can be read back."""

    def __init__(self) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
        self.stream: TextIO = os.fdopen(theirs, "w", encoding="utf-8")

    def shown(self) -> str:
        os.set_blocking(self._ours, False)
        parts: list[bytes] = []
        try:
            # A terminal hands out less than it has.
            while part := os.read(self._ours, 65536):
                parts.append(part)
        except BlockingIOError:
            pass
        return b"".join(parts).decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self._ours)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", "xterm")
    made = Terminal()
    yield made
    made.close()


def test_what_is_done_at_once_shows_nothing(terminal: Terminal, clock: FakeClock) -> None:
    with Progress("reading", stream=terminal.stream, clock=clock) as progress:
        progress(0, 10)
        clock.advance(0.4)
        progress(10, 10)
    assert terminal.shown() == ""


def test_what_takes_longer_shows_a_bar_and_takes_it_away(terminal: Terminal, clock: FakeClock) -> None:
    with Progress("reading", stream=terminal.stream, clock=clock) as progress:
        clock.advance(1)
        progress(5, 10)
        assert terminal.shown() == "\r\x1b[Kreading [" + "#" * 20 + "-" * 20 + "]  5 of 10"
    assert terminal.shown() == "\r\x1b[K"


def test_an_error_finds_a_clean_line(terminal: Terminal, clock: FakeClock) -> None:
    def work() -> None:
        with Progress("reading", stream=terminal.stream, clock=clock) as progress:
            clock.advance(1)
            progress(5, 10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert terminal.shown().endswith("\r\x1b[K")


def test_it_is_not_drawn_more_often_than_anybody_can_see(terminal: Terminal, clock: FakeClock) -> None:
    with Progress("reading", stream=terminal.stream, clock=clock) as progress:
        clock.advance(1)
        for done in range(1000):
            progress(done, 1000)
            clock.advance(0.001)
        assert terminal.shown().count("reading") == 10


def test_a_file_gets_nothing(clock: FakeClock) -> None:
    stream = io.StringIO()
    with Progress("reading", stream=stream, clock=clock) as progress:
        clock.advance(1)
        progress(5, 10)
    assert stream.getvalue() == ""


def test_a_terminal_that_cannot_erase_gets_nothing(
    terminal: Terminal, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with Progress("reading", stream=terminal.stream, clock=clock) as progress:
        clock.advance(1)
        progress(5, 10)
    assert terminal.shown() == ""


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 300))
def test_a_bar_fits_its_terminal_and_is_full_at_the_end(one: int, other: int, columns: int) -> None:
    done, total = min(one, other), max(one, other)
    line = bar("reading", done, total, columns)
    assert len(line) < max(columns, 2)
    if columns > 60:
        assert f"{done:,} of {total:,}" in line
        assert ("-" in line) == (done < total)


def test_an_export_draws_on_the_terminal_and_exports_into_the_file(terminal: Terminal, tmp_path: object) -> None:
    """The whole command, with a backend in which each read takes time."""
    program = """
        import sys, time
        import strongroom.cli.progress as progress
        from strongroom.builtin.memory import MemoryBackend
        from strongroom.contracts import Backend
        from strongroom.cli.main import main

        def read_many(self, request):
            time.sleep(0.05)
            return Backend.read_many(self, request)

        progress.PATIENCE = 0.0
        MemoryBackend.read_many = read_many
        MemoryBackend.batch_size = 1
        seed = "{" + ", ".join(f'"app/N{number}" = {{ env = "VALUE" }}' for number in range(20)) + "}"
        open("strongroom.toml", "w").write(
            f'backend = "m"\\naudit = "none"\\n[backends.m]\\ntype = "memory"\\nseed = {seed}\\n'
        )
        sys.exit(main(["export", "--format", "dotenv", "--prefix", "app/"]))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=str(tmp_path),
        env={"PATH": os.environ["PATH"], "TERM": "xterm", "VALUE": "s3cret", "HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=terminal.stream,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, terminal.shown()
    assert len(done.stdout.splitlines()) == 20
    drawn = terminal.shown()
    assert "of 20" in drawn
    assert drawn.endswith("\r\x1b[K")
    assert "s3cret" not in drawn
