"""However a command fails, the user reads one clean line a problem, and no value."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, BinaryIO

import pytest

from strongroom.cli import main as cli
from strongroom.cli.command import Command, UsageError
from strongroom.errors import ConfigurationError
from strongroom.testing.leaks import leaks_in, marker_value


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a command that fails with the given error."""

    def run(error: Exception, failure_status: int | None = None) -> int:
        def fail(*_: object) -> int:
            raise error

        command = Command(summary="", configure=lambda _: None, run=fail, failure_status=failure_status)
        monkeypatch.setitem(cli.COMMANDS, "fail", ("fail", ""))
        monkeypatch.setitem(sys.modules, "strongroom.cli.fail", SimpleNamespace(COMMANDS={"fail": command}))
        return cli.main(["fail"])

    return run


@pytest.mark.parametrize("kind", [ValueError, RecursionError, AttributeError])
def test_what_nobody_expects_is_named_without_what_it_says(failing: Any, capsys: Any, kind: type[Exception]) -> None:
    marker = marker_value()
    assert failing(kind(marker)) == 1
    assert capsys.readouterr() == ("", f"strongroom: internal error: {kind.__name__}: report it\n")


def test_a_command_with_a_status_of_its_own_keeps_it(failing: Any, capsys: Any) -> None:
    assert failing(KeyError("x"), failure_status=125) == 125
    assert failing(ConfigurationError("x"), failure_status=125) == 125
    assert capsys.readouterr().err == "strongroom: internal error: KeyError: report it\nstrongroom: x\n"


def test_what_the_system_refuses_is_said_in_its_words(failing: Any, capsys: Any) -> None:
    marker = marker_value()
    assert failing(OSError(errno.ENOSPC, marker, marker)) == 1
    shown = capsys.readouterr().err
    assert "No space left on device" in shown
    assert len(shown.splitlines()) == 1
    assert leaks_in(shown, marker) == []


def test_a_traceback_is_shown_on_request_only(failing: Any, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for setting, wanted in (("", False), ("0", False), ("1", True)):
        monkeypatch.setenv("STRONGROOM_DEBUG", setting)
        assert failing(ValueError("why")) == 1
        shown = capsys.readouterr().err
        assert ("Traceback" in shown) is ("why" in shown) is wanted
        assert shown.endswith("strongroom: internal error: ValueError: report it\n")


def test_an_error_moves_no_cursor_and_starts_no_line(failing: Any, capsys: Any) -> None:
    error = ConfigurationError("a\x1b[2J\nstrongroom: fine\r\u202e", hint="C:\\secrets and \x07")
    error.add_note("\x1b]0;x\x07")
    assert failing(error) == 2
    lines = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert lines == [
        r"strongroom: a\x1b[2J\nstrongroom: fine\r\u202e: C:\secrets and \x07",
        r"strongroom: \x1b]0;x\x07",
    ]


def test_a_setting_that_a_project_made_up_is_shown_harmlessly(desk: Any) -> None:
    desk.configure('"\\u001b[2J\\u001b]0;x\\u0007\\n" = 1\n')
    done = desk("list")
    assert done.status == 2
    assert done.stderr.removesuffix("\n").isprintable()


def test_little_output_that_nobody_reads_is_no_error(desk: Any) -> None:
    """It is written when the process ends, which has its status by then."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as unread:
        assert ended(desk, unread) == (0, "")


def test_little_output_that_cannot_be_kept_is_an_error(desk: Any) -> None:
    if not os.path.exists("/dev/full"):
        # Nothing else is always full.
        pytest.skip("needs the device /dev/full")
    with open("/dev/full", "wb") as full:
        status, told = ended(desk, full)
    assert (status, told.count("\n")) == (1, 1)
    assert told.startswith("strongroom: the system has refused something: No space left on device")


def test_a_status_stays_what_it_is_where_nobody_reads_why(desk: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as unread:
        done = subprocess.run(
            desk.command("unheard"), env=desk.environment(), cwd=desk.folder, stderr=unread, timeout=60, check=False
        )
    assert done.returncode == UsageError.exit_status


def test_a_value_that_is_cut_short_is_an_error_although_output_is_not_buffered(desk: Any) -> None:
    """A container often sets the variable; Python then says nothing of what the system has not taken."""
    desk.configure(f'audit = "none"\nbackends.main = {{ type = "memory", seed = {{ large = "{"x" * 4096}" }} }}\n')
    # A limit at which the system takes a part, as at the end of a disk: 512 or 1024 bytes.
    limited = ["sh", "-c", 'ulimit -f 1; exec "$0" "$@"', *desk.command("get", "large")]
    with (desk.folder / "taken").open("wb") as taken:
        # Without bytecode: the limit would cut that short, too, wherever it is kept.
        status, told = ended(desk, taken, limited, PYTHONUNBUFFERED="1", PYTHONDONTWRITEBYTECODE="1")
    assert 0 < (desk.folder / "taken").stat().st_size < 4096
    assert (status, told) == (
        1,
        "strongroom: the system has refused something: File too large: check where the output goes\n",
    )


def test_an_interrupt_while_the_last_output_waits_for_its_reader_ends_it_without_a_traceback(desk: Any) -> None:
    source = """
        import io, sys

        from strongroom.cli.main import run_process

        class Waiting(io.TextIOWrapper):
            interrupts = [KeyboardInterrupt]

            def flush(self):
                if self.interrupts:
                    raise self.interrupts.pop()
                super().flush()

        sys.stdout = Waiting(sys.stdout.buffer)
        sys.exit(run_process(["--version"]))
    """
    with (desk.folder / "taken").open("wb") as taken:
        assert ended(desk, taken, [sys.executable, "-c", textwrap.dedent(source)]) == (130, "")
    assert (desk.folder / "taken").read_bytes() == b""


def ended(desk: Any, output: BinaryIO, command: Sequence[str] | None = None, **environment: str) -> tuple[int, str]:
    """Have a command, or what prints the version, write into a file; return its status and what it told elsewhere."""
    done = subprocess.run(
        desk.command("--version") if command is None else command,
        env=desk.environment(**environment),
        cwd=desk.folder,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr
