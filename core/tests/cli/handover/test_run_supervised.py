"""With `--on-change` the command stays, and whoever looks from outside sees the program."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terminals import LIMIT, Terminal

WATCHED = ("run", "--on-change", "restart", "--secret", "app/db-password")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these files and promises")

# Says when it is ready, names each signal as it comes, and ends on TERM as any program does.
LISTENER = """
import os, signal
def tell(number, frame=None):
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
for name in ("INT", "HUP", "USR1", "USR2", "QUIT", "WINCH", "CONT", "ALRM", "TSTP", "TTIN", "TTOU"):
    signal.signal(getattr(signal, "SIG" + name), tell)
os.write(1, b"ready %d\\n" % os.getpid())
while True:
    signal.pause()
"""


@pytest.fixture
def listening(shelf: Any) -> Iterator[subprocess.Popen[bytes]]:
    """The command, whose program names each signal that it gets."""
    with shelf.start(*WATCHED, "--", sys.executable, "-c", LISTENER) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("way", ["restart", "hup"])
@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_status_is_the_programs(shelf: Any, way: str, status: int) -> None:
    done = shelf("run", "--on-change", way, "--secret", "app/db-password", "--", "sh", "-c", f"exit {status}")
    assert done.returncode == status
    assert done.stderr == b""


@pytest.mark.parametrize("name", ["TERM", "KILL", "PIPE", "HUP", "SEGV"])
def test_a_program_that_a_signal_ends_gives_what_a_shell_would(shelf: Any, name: str) -> None:
    done = shelf(*WATCHED, "--", "sh", "-c", f"kill -{name} $$; echo lives on")
    assert (done.returncode, done.stdout) == (128 + getattr(signal, f"SIG{name}"), b"")


def test_each_signal_reaches_the_program_once(listening: subprocess.Popen[bytes]) -> None:
    assert listening.stdout is not None
    assert int(listening.stdout.readline().split()[1]) != listening.pid
    # Only Linux tells those two from what stops a job in the background.
    names = "INT HUP USR1 USR2 QUIT WINCH CONT ALRM TSTP" + (" TTIN TTOU" if sys.platform == "linux" else "")
    for name in names.split():
        listening.send_signal(getattr(signal, f"SIG{name}"))
        assert listening.stdout.readline().decode().strip() == f"SIG{name}"
    listening.terminate()
    assert listening.stdout.read() == b"", "none came twice"
    assert listening.wait(LIMIT) == 128 + signal.SIGTERM


@LINUX
def test_the_program_does_not_outlive_a_command_that_is_killed(listening: subprocess.Popen[bytes]) -> None:
    assert listening.stdout is not None
    assert listening.stdout.readline().startswith(b"ready")
    listening.kill()
    # The program has the pipe open, so this ends with it, and fails if that takes too long.
    assert listening.communicate(timeout=LIMIT)[0] == b""


@LINUX
def test_there_is_one_child_and_it_is_the_program_itself(listening: subprocess.Popen[bytes]) -> None:
    assert listening.stdout is not None
    program = listening.stdout.readline().split()[1].decode()
    children = Path(f"/proc/{listening.pid}/task/{listening.pid}/children").read_text().split()
    assert children == [program]
    assert Path(f"/proc/{program}/cmdline").read_bytes().split(b"\0")[1] == b"-c"


@pytest.fixture
def terminal(shelf: Any) -> Iterator[Callable[..., Terminal]]:
    """Starts a command at a terminal of its own."""
    opened: list[Terminal] = []

    def start(*command: str) -> Terminal:
        opened.append(Terminal(list(command), cwd=shelf.folder, env=shelf.variables | {"PS1": "", "TERM": "dumb"}))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def command() -> str:
    return str(Path(sys.executable).with_name("strongroom"))


def test_the_terminal_passes_through(terminal: Callable[..., Terminal]) -> None:
    program = 'test -t 0 && test -t 1 && test -t 2 && read line </dev/tty && echo "got $line"'
    one = terminal(command(), *WATCHED, "--", "sh", "-c", program)
    one.type(b"a line\n")
    one.wait_for(b"got a line")
    assert one.wait_for_end() == 0


@pytest.mark.parametrize(("keys", "name"), [(b"\x03", b"SIGINT"), (b"\x1c", b"SIGQUIT")])
def test_what_is_typed_at_a_terminal_comes_once_and_what_is_sent_as_well(
    terminal: Callable[..., Terminal], keys: bytes, name: bytes
) -> None:
    one = terminal(command(), *WATCHED, "--", sys.executable, "-c", LISTENER)
    one.wait_for(b"ready")
    one.type(keys)
    one.wait_for(name)
    # Once this has come, the command has seen the other one: two of a kind that wait would be one.
    one.process.send_signal(signal.SIGUSR1)
    one.wait_for(b"SIGUSR1")
    one.process.send_signal(getattr(signal, name.decode()))
    one.wait_for(name, 2)
    one.process.terminate()
    assert one.wait_for_end() == 128 + signal.SIGTERM
    assert one.seen.count(name) == 2
    assert one.seen.count(b"SIGUSR1") == 1


def test_ctrl_c_ends_a_program_that_does_not_mind_it(terminal: Callable[..., Terminal]) -> None:
    program = "import signal; signal.signal(2, signal.SIG_DFL); print('ready', flush=True); signal.pause()"
    one = terminal(command(), *WATCHED, "--", sys.executable, "-c", program)
    one.wait_for(b"ready")
    one.type(b"\x03")
    assert one.wait_for_end() == 128 + signal.SIGINT


def test_a_terminal_that_hangs_up_ends_a_program_that_does_not_mind_it(terminal: Callable[..., Terminal]) -> None:
    program = "import signal; print('ready', flush=True); signal.pause()"
    one = terminal(command(), *WATCHED, "--", sys.executable, "-c", program)
    one.wait_for(b"ready\r\n")
    one.hang_up()
    assert one.process.wait(LIMIT) == 128 + signal.SIGHUP


def bash() -> str:
    """Return the path of a shell with job control."""
    found = shutil.which("bash")
    if found is None:
        if os.environ.get("STRONGROOM_REQUIRE_ALL"):
            pytest.fail("bash is missing")
        # A shell with job control that says what it does in the same words everywhere.
        pytest.skip("needs bash: install the package bash")
    return found


def test_a_shell_can_stop_the_job_and_go_on_with_it(terminal: Callable[..., Terminal]) -> None:
    one = terminal(bash(), "--norc", "--noprofile", "-i")
    program = "import os; print('rea' + 'dy', flush=True); print('got', input(), flush=True); print('got', input())"
    one.type(f'{command()} {" ".join(WATCHED)} -- {sys.executable} -c "{program}"; echo status $((40 + $?))\n'.encode())
    one.wait_for(b"ready")
    one.type(b"first\n")
    one.wait_for(b"got first")
    one.type(b"\x1a")
    one.wait_for(b"Stopped")
    one.type(b"fg\n")
    one.type(b"second\n")
    one.wait_for(b"got second")
    one.type(b"exit\n")
    one.wait_for_end()


def test_a_pager_behind_a_pipe_keeps_the_terminal(terminal: Callable[..., Terminal]) -> None:
    one = terminal(bash(), "--norc", "--noprofile", "-i")
    one.type(f"{command()} {' '.join(WATCHED)} -- sh -c 'echo from it' | ".encode())
    one.type(b"sh -c 'cat; read line </dev/tty; echo \"got $line\"'\n")
    one.wait_for(b"\nfrom it")
    one.type(b"a line\n")
    one.wait_for(b"got a line")
    one.type(b"exit\n")
    assert one.wait_for_end() == 0


def test_input_and_output_pass_through_byte_for_byte(shelf: Any) -> None:
    content = bytes(range(256)) * 1000
    done = shelf(*WATCHED, "--", "sh", "-c", "cat; echo problem >&2", stdin=content)
    assert done.stdout == content
    assert done.stderr == b"problem\n"


@LINUX
@pytest.mark.parametrize("ignored", [True, False])
def test_the_program_has_the_signals_that_it_would_have_without(shelf: Any, ignored: bool) -> None:
    trap = "trap '' HUP; " if ignored else ""
    show = "grep -e SigBlk -e SigIgn /proc/self/status"
    line = f"{trap}exec {command()} {' '.join(WATCHED)} -- {show}"
    done = subprocess.run(["sh", "-c", line], cwd=shelf.folder, env=shelf.variables, capture_output=True, check=True)
    _, blocked, _, unheeded = done.stdout.decode().split()
    # The C library keeps signal 32 to itself, and ignores it in whatever it starts.
    assert (int(blocked, 16), int(unheeded, 16) & ~(1 << 31)) == (0, 1 if ignored else 0), "SIGHUP is the first bit"


@LINUX
def test_no_handle_of_ours_is_open_in_the_program_and_the_callers_are(shelf: Any) -> None:
    source = "import os; print(*[number for number in range(3, 256) if os.path.exists(f'/dev/fd/{number}')])"
    with (shelf.folder / "strongroom.toml").open() as file:
        process = shelf.start(*WATCHED, "--", sys.executable, "-c", source, pass_fds=[file.fileno()])
        # The last one is the listing's own.
        assert process.communicate(timeout=LIMIT)[0].decode().split() == [str(file.fileno())]


@pytest.mark.parametrize("way", ["", "--on-change restart"])
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_stays_closed_for_the_program(shelf: Any, way: str, closed: str) -> None:
    # What is left out is told on standard error, which must be nobody else's either.
    options = f"{way} --if-missing warn --secret app/db-password --secret app/missing"
    source = "import os, sys; open('seen', 'w').write(str([sys.stdin is None, sys.stdout is None, sys.stderr is None]))"
    line = f'exec {command()} run {options} -- {sys.executable} -c "{source}" {closed}'
    done = subprocess.run(["sh", "-c", line], cwd=shelf.folder, env=shelf.variables, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = ["<&-" in closed, " >&-" in f" {closed}", "2>&-" in closed]
    assert (shelf.folder / "seen").read_text() == str(expected)


def test_a_variable_without_a_name_is_left_out_as_it_is_without_the_option(shelf: Any) -> None:
    assert shelf(*WATCHED, "--", "sh", "-c", "exit 7", env={"": "nameless"}).returncode == 7


@LINUX
def test_the_program_cannot_leave_a_core_dump(shelf: Any) -> None:
    program = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE))"
    done = shelf(*WATCHED, "--", sys.executable, "-c", program)
    assert done.stdout.strip() in {b"(1, 1)", b"(0, 0)"}


def test_a_program_that_is_not_there_gives_127_and_one_that_is_none_126(shelf: Any) -> None:
    done = shelf(*WATCHED, "--", "no-such-program")
    assert (done.returncode, done.stderr.count(b"no-such-program")) == (127, 1)
    (shelf.folder / "plain.txt").write_text("echo from a shell\n")
    assert shelf(*WATCHED, "--", "./plain.txt").returncode == 126


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--on-change", "restart", "--secret", "app/missing"], b"app/missing"),
        (["--on-change", "restart"], b"no secret"),
        (["--on-change", "stop", "--secret", "app/db-password"], b"stop"),
        (["--on-change", "hup", "--secret", "app/db-password", "--every", "10"], b"--every takes a duration"),
        (["--on-change", "hup", "--secret", "app/db-password", "--every", "500ms"], b"below 1s"),
        (["--on-change", "hup", "--secret", "app/db-password", "--splay", "x"], b"--splay takes a duration"),
        (["--secret", "app/db-password", "--every", "10s", "--stop-timeout", "1s"], b"--every, --stop-timeout"),
        (["--on-change", "restart", "--env-file", "/dev/null"], b"/dev/null is no plain file"),
        (["--on-change", "restart", "--secret", "app/db-password", "--handover", "1:x"], b"own use"),
    ],
)
def test_the_commands_own_failures_give_125_and_are_told_once(shelf: Any, arguments: list[str], word: bytes) -> None:
    done = shelf("run", *arguments, "--", "/bin/echo", "started")
    assert (done.returncode, done.stdout) == (125, b"")
    assert done.stderr.count(word) == 1
    assert done.stderr.count(b"\n") == 1


def test_options_of_the_command_itself_and_of_the_program_stay_what_they_are(shelf: Any) -> None:
    (shelf.folder / "strongroom.toml").rename(shelf.folder / "other.toml")
    options = ("--config", "other.toml", "--as=-somebody", *WATCHED, "--")
    done = shelf(*options, "printf", "%s|", "--", "--config", "--handover", "")
    assert (done.returncode, done.stdout) == (0, b"--|--config|--handover||"), done.stderr


def test_nothing_is_imported_from_the_current_folder(shelf: Any) -> None:
    for name in ("strongroom.py", "json.py", "signal.py"):
        (shelf.folder / name).write_text("raise SystemExit(99)\n")
    assert shelf(*WATCHED, "--", "sh", "-c", "exit 7").returncode == 7


def test_references_go_the_same_way(shelf: Any) -> None:
    given = {"A": "x${strongroom://app/db-password}"}
    done = shelf("run", "--on-change", "hup", "--", "sh", "-c", 'printf %s "$A"', env=given)
    assert (done.returncode, done.stdout) == (0, b"xs3cret")
