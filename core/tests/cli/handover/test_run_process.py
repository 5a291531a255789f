"""The program takes the place of the command: its status, signals, streams and terminal are its own."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios

from typing import Any

import pytest

SECRET = ("--secret", "app/db-password")

# Says when it is ready, names each signal as it comes, and ends on TERM as any program does.
LISTENER = """
import os, signal
def tell(number, frame=None):
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
for name in ("INT", "HUP", "USR1"):
    signal.signal(getattr(signal, "SIG" + name), tell)
os.write(1, b"%d\\n" % os.getpid())
while True:
    signal.pause()
"""


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_status_is_the_programs(shelf: Any, status: int) -> None:
    assert shelf("run", *SECRET, "--", "sh", "-c", f"exit {status}").returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_program_that_a_signal_ends_ends_the_command_by_it(shelf: Any, number: signal.Signals) -> None:
    assert shelf("run", *SECRET, "--", "sh", "-c", f"kill -{number.value} $$").returncode == -number


def test_signals_reach_the_program_once_each(shelf: Any) -> None:
    process = shelf.start("run", *SECRET, "--", sys.executable, "-c", LISTENER)
    with process:
        assert int(process.stdout.readline()) == process.pid, "the program has the command's own place"
        for name in ("SIGINT", "SIGHUP", "SIGUSR1"):
            process.send_signal(getattr(signal, name))
            assert process.stdout.readline().decode().strip() == name
        process.terminate()
        assert process.stdout.read() == b"", "none came twice"
    assert process.returncode == -signal.SIGTERM


def at_a_terminal(shelf: Any, *program: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program at a terminal of its own; return it with the other end of the terminal."""
    ours, theirs = pty.openpty()
    process = shelf.start(
        "run",
        *SECRET,
        "--",
        *program,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    return process, ours


def read_until(terminal: int, wanted: bytes) -> bytes:
    """Read from a terminal until something has come, or nothing will come any more."""
    seen = b""
    while wanted not in seen:
        try:
            seen += os.read(terminal, 1024)
        except OSError:  # Linux says so when the other end is closed
            break
    return seen


def test_the_terminal_passes_through(shelf: Any) -> None:
    process, terminal = at_a_terminal(shelf, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && echo all three")
    assert b"all three" in read_until(terminal, b"all three")
    assert process.wait(30) == 0
    os.close(terminal)


def test_ctrl_c_at_a_terminal_comes_once(shelf: Any) -> None:
    process, terminal = at_a_terminal(shelf, sys.executable, "-c", LISTENER)
    read_until(terminal, b"\n")
    os.write(terminal, b"\x03")
    seen = read_until(terminal, b"SIGINT")
    process.terminate()
    seen += read_until(terminal, b"never")
    assert seen.count(b"SIGINT") == 1
    assert process.wait(30) == -signal.SIGTERM
    os.close(terminal)


def test_input_and_output_pass_through_byte_for_byte(shelf: Any) -> None:
    content = bytes(range(256)) * 100
    done = shelf("run", *SECRET, "--", "sh", "-c", "cat; echo problem >&2", stdin=content)
    assert done.stdout == content
    assert done.stderr == b"problem\n"


def test_the_program_runs_although_nobody_reads_what_is_told_before(shelf: Any) -> None:
    """It has its streams as they came, so what it tells itself is its own concern."""
    reading, writing = os.pipe()
    os.close(reading)
    program = "import os, stat; print(stat.S_ISFIFO(os.fstat(2).st_mode)); raise SystemExit(7)"
    with open(writing, "wb") as unread:
        done = shelf("run", *SECRET, "--", sys.executable, "-c", program, stderr=unread, env={"APP_DB_PASSWORD": "x"})
    assert (done.returncode, done.stdout) == (7, b"True\n")


def test_what_the_interpreter_ignores_is_not_ignored_in_the_program(shelf: Any) -> None:
    """Else a program whose reader has gone would not end: `strongroom run -- yes | head`."""
    done = shelf("run", *SECRET, "--", "sh", "-c", "kill -PIPE $$; echo lives on")
    assert done.returncode == -signal.SIGPIPE
    assert done.stdout == b""


def test_a_program_that_is_not_there_gives_127(shelf: Any) -> None:
    for program in ("no-such-program", "./no/such/program"):
        done = shelf("run", *SECRET, "--", program)
        assert done.returncode == 127
        assert program.encode() in done.stderr


def test_a_file_that_is_no_program_gives_126(shelf: Any) -> None:
    plain = shelf.folder / "plain.txt"
    plain.write_text("echo from a shell\n")
    for mode in (0o600, 0o700):
        plain.chmod(mode)
        done = shelf("run", *SECRET, "--", "./plain.txt")
        assert (done.returncode, done.stdout) == (126, b""), "no shell takes it up"
        assert b"./plain.txt cannot be executed" in done.stderr


def test_no_shell_reads_the_arguments(shelf: Any) -> None:
    arguments = ["$APP_DB_PASSWORD", "`id`", "*", "a b", "; echo x", "--", "-n"]
    done = shelf("run", *SECRET, "--", sys.executable, "-c", "import sys; print('|'.join(sys.argv[1:]))", *arguments)
    assert done.stdout.decode().rstrip("\n") == "|".join(arguments)


def test_options_after_the_program_are_the_programs(shelf: Any) -> None:
    done = shelf("run", *SECRET, "printf", "%s|", "--secret", "--prefix", "--help")
    assert done.stdout == b"--secret|--prefix|--help|"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--secret", "app/missing", "--", "true"], b"app/missing"),
        (["--prefix", "nothing/", "--", "true"], b"nothing/"),
        (["--secret", "../x", "--", "true"], b"../x"),
        (["--no-such-option", "--", "true"], b"--no-such-option"),
        (["--", "true"], b"no secret"),
        (["--secret", "app/db-password"], b"no program"),
        (["--secret", "app/db-password", "--"], b"no program"),
        (["--secret", "app/db-password", "--", ""], b"no program"),
    ],
)
def test_the_commands_own_failures_give_125(shelf: Any, arguments: list[str], word: bytes) -> None:
    done = shelf("run", *arguments)
    assert done.returncode == 125
    assert done.stderr.startswith(b"strongroom: ")
    assert word in done.stderr
    assert done.stdout == b""


def test_without_a_configuration_it_gives_125(shelf: Any) -> None:
    (shelf.folder / "strongroom.toml").unlink()
    done = shelf("run", *SECRET, "--", "true")
    assert done.returncode == 125
    assert b"strongroom init" in done.stderr


def test_what_the_policy_denies_gives_125_and_starts_nothing(shelf: Any) -> None:
    rule = '[[policies]]\nprincipal = "nobody"\neffect = "allow"\nactions = ["read"]\nnames = ["**"]'
    shelf.fill({"app/db-password": "s3cret"}, rule)
    done = shelf("run", *SECRET, "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, b"")


def test_every_secret_that_is_missing_is_named(shelf: Any) -> None:
    done = shelf("run", "--secret", "a", *SECRET, "--secret", "b/c", "--", "true")
    assert done.returncode == 125
    assert b" a" in done.stderr
    assert b"b/c" in done.stderr


def test_the_program_cannot_leave_a_core_dump(shelf: Any) -> None:
    """Whatever the limit was before; and it cannot raise it again."""
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = shelf("run", *SECRET, "--", sys.executable, "-c", program)
    assert done.stdout.strip() in {b"(1, 1)", b"(0, 0)"}  # less than a page, and so none
