"""`render`: templates in, private files out, and a status that tells."""

from __future__ import annotations

import json
import os
import pwd
import signal
import socket
import stat
import subprocess
import sys
import time

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = """
[backends.memory]
type = "memory"
seed = { "db/password" = "wh1sper $HOME", "db/config" = '{"user": "shop"}' }

[[audit]]
type = "notebook"
path = "trail.txt"
"""
TIME_LIMIT = 30.0


@pytest.fixture
def place(desk: Any) -> Any:
    """The command in a folder with two secrets and a template."""
    desk.configure(CONFIGURATION)
    (desk.folder / "page.j2").write_text("password = {{ secret('db/password') | json }}\n")
    return desk


def piped(desk: Any, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with a template at its standard input."""
    return subprocess.run(
        desk.command("render", *arguments),
        cwd=desk.folder,
        env=desk.environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_template_becomes_a_private_file(place: Any) -> None:
    done = place("render", "page.j2", "page.conf")
    path = place.folder / "page.conf"
    assert (done.status, done.stdout, done.stderr) == (0, "", f"wrote {path}\n")
    assert (path.read_text(), mode_of(path)) == ('password = "wh1sper $HOME"\n', 0o600)


def test_several_are_rendered_from_the_same_secrets(place: Any) -> None:
    (place.folder / "user.j2").write_text("{{ reference('strongroom://db/config#user') }} {{ secret('db/password') }}")
    assert place("render", "page.j2", "a", "user.j2", "b").status == 0
    assert (place.folder / "b").read_text() == "shop wh1sper $HOME"
    reads = [json.loads(line)["key"] for line in place.trail.read_text().splitlines() if '"get"' in line]
    assert sorted(reads) == ["db/config", "db/password"]


def test_one_that_fails_leaves_all_files_as_they_are(place: Any) -> None:
    (place.folder / "bad.j2").write_text("{{ secret('db/nothing') }}")
    (place.folder / "b").write_text("old")
    done = place("render", "page.j2", "a", "bad.j2", "b")
    assert done.status == 3
    assert done.stderr.splitlines()[-1] == "strongroom: see bad.j2, line 1"
    assert (place.folder / "b").read_text() == "old"
    assert not (place.folder / "a").exists()


def test_standard_input_and_output(place: Any) -> None:
    for arguments in ((), ("-",)):
        done = piped(place, "{{ secret('db/password') | shell }}\n", "-", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "'wh1sper $HOME'\n", "")
    assert piped(place, "{{ 1 }}", "-", "out").returncode == 0
    assert (place.folder / "out").read_text() == "1"


def test_a_file_that_is_the_same_is_left_alone(place: Any) -> None:
    place("render", "page.j2", "a")
    path = place.folder / "a"
    before = path.stat().st_ino
    done = place("render", "page.j2", "a")
    assert (done.status, done.stderr, path.stat().st_ino) == (0, f"unchanged {path}\n", before)


def test_a_check_writes_nothing_and_its_status_tells(place: Any) -> None:
    done = place("render", "--check", "page.j2", "a")
    assert (done.status, done.stdout, done.stderr) == (1, "", f"would write {place.folder / 'a'}\n")
    assert not (place.folder / "a").exists()
    place("render", "page.j2", "a")
    assert place("render", "--check", "page.j2", "a").status == 0
    assert place("render", "--check", "--mode", "0640", "page.j2", "a").status == 1


def test_the_mode_and_the_owner_are_those_that_are_named(place: Any) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    group = str(os.getegid())
    done = place("render", "--mode", "640", "--owner", me, "--group", group, "page.j2", "a")
    assert (done.status, mode_of(place.folder / "a")) == (0, 0o640)


def test_a_file_that_everybody_may_read_is_noted(place: Any) -> None:
    (place.folder / "a").touch(mode=0o644)
    (place.folder / "a").chmod(0o644)
    done = place("render", "page.j2", "a")
    assert "note: everybody may read" in done.stderr
    assert mode_of(place.folder / "a") == 0o644


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required"),
        (["page.j2", "a", "page.j2"], "page.j2 has no output"),
        (["page.j2", "a", "page.j2", "./a"], "is the output of two templates"),
        (["page.j2", "page.j2"], "is a template itself"),
        (["-", "a", "-", "b"], "standard input is one template only"),
        (["--mode", "4750", "page.j2", "a"], "would let the file run as somebody else"),
        (["--mode", "rw", "page.j2", "a"], "is no mode"),
        (["--mode", "0888", "page.j2", "a"], "is no mode"),
        (["--owner", "no-such-user", "page.j2", "a"], "there is no user 'no-such-user'"),
        (["--owner", "4294967295", "page.j2", "a"], "there is no user with such a number"),
        (["--group", "no-such-group", "page.j2", "a"], "there is no group 'no-such-group'"),
        (["--watch", "page.j2"], "--watch goes from files to files"),
        (["--watch", "-", "a"], "--watch goes from files to files"),
        (["--watch", "--check", "page.j2", "a"], "--check compares once"),
        (["--check", "page.j2"], "--check compares once"),
        (["--check", "--on-change", "true", "page.j2", "a"], "--check changes nothing"),
        (["--every", "5s", "page.j2", "a"], "--every is for --watch"),
        (["--watch", "--every", "0.5s", "page.j2", "a"], "--every is below 1s"),
        (["--watch", "--every", "99999999999d", "page.j2", "a"], "--every is above a hundred years"),
        (["--watch", "--every", "soon", "page.j2", "a"], "--every takes a duration such as"),
        (["--on-change", "'", "page.j2", "a"], "has a quote without its end"),
        (["--on-change", " ", "page.j2", "a"], "names no command"),
        (["no.j2", "a"], "no.j2 cannot be read"),
        (["page.j2", "no/a"], "cannot be written: No such file"),
        (["page.j2", "."], "is no regular file"),
        (["page.j2", "new/"], "new/ is a folder"),
        (["--watch", "/dev/zero", "a"], "/dev/zero is no plain file"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(place: Any, arguments: list[str], told: str) -> None:
    before = sorted(os.listdir(place.folder))
    done = place("render", *arguments)
    assert done.status == 2
    assert told in done.stderr
    assert set(os.listdir(place.folder)) - {"home", "trail.txt"} == set(before) - {"home"}


def test_no_link_makes_it_write_over_a_template_or_twice(place: Any) -> None:
    (place.folder / "link.j2").symlink_to("page.j2")
    (place.folder / "here").symlink_to(".")
    assert "is a template itself" in place("render", "link.j2", "page.j2").stderr
    assert "is the output of two templates" in place("render", "page.j2", "a", "page.j2", "here/a").stderr
    assert "secret(" in (place.folder / "page.j2").read_text()


class TestOnChange:
    def test_it_runs_after_a_change_and_only_then(self, place: Any) -> None:
        command = f'{sys.executable} -c \'print(open("a").read(), end="")\''
        assert place("render", "--on-change", command, "page.j2", "a").stdout == 'password = "wh1sper $HOME"\n'
        assert place("render", "--on-change", command, "page.j2", "a").stdout == ""

    def test_no_shell_is_started(self, place: Any) -> None:
        assert place("render", "--on-change", "echo $HOME '*' ;", "page.j2", "a").stdout == "$HOME * ;\n"

    @pytest.mark.parametrize(
        ("command", "told"), [("false", "false has ended with the status 1"), ("no-such", "no-such cannot be executed")]
    )
    def test_its_failure_is_the_status(self, place: Any, command: str, told: str) -> None:
        done = place("render", "--on-change", command, "page.j2", "a")
        assert done.status == 1
        assert told in done.stderr
        assert (place.folder / "a").exists()

    def test_it_runs_although_nobody_reads_what_is_told(self, place: Any) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        command = place.command("render", "--on-change", "touch ran", "page.j2", "a")
        with open(writing, "wb") as unread:
            done = subprocess.run(
                command, cwd=place.folder, env=place.environment(), stderr=unread, timeout=60, check=False
            )
        assert (done.returncode, (place.folder / "ran").exists()) == (0, True)

    def test_it_gets_nothing_that_opens_the_stores(self, place: Any) -> None:
        done = place(
            "render", "--on-change", "env", "page.j2", "a", STRONGROOM_MASTER_KEY="k", NOTIFY_SOCKET="/x", OTHER="yes"
        )
        assert "OTHER=yes\n" in done.stdout
        assert "STRONGROOM_MASTER_KEY" not in done.stdout
        assert "NOTIFY_SOCKET" not in done.stdout


class TestWatch:
    def test_it_tells_systemd_follows_the_template_and_ends_at_a_signal(self, place: Any) -> None:
        path = place.folder / "a"
        with listening(place.folder) as channel, watching(place, NOTIFY_SOCKET=str(place.folder / "notify")) as process:
            assert channel.recv(200).startswith(b"READY=1\n")
            assert path.read_text() == 'password = "wh1sper $HOME"\n'
            (place.folder / "page.j2").write_text("{{ secret('db/config') }}")
            wait_until(lambda: path.read_text() == '{"user": "shop"}')
            (place.folder / "page.j2").write_text("{% if %}")
            assert "no sound template" in line_with(process, "page.j2")
            (place.folder / "page.j2").write_text("whole")
            process.send_signal(signal.SIGHUP)
            wait_until(lambda: path.read_text() == "whole")
            process.terminate()
            assert process.wait(TIME_LIMIT) == 0
            assert channel.recv(200) == b"STOPPING=1"

    def test_ctrl_c_ends_it_and_the_file_stays(self, place: Any) -> None:
        with watching(place) as process:
            line_with(process, "wrote")
            process.send_signal(signal.SIGINT)
            assert process.wait(TIME_LIMIT) == 0
        assert (place.folder / "a").exists()

    def test_what_is_wrong_at_the_start_ends_it(self, place: Any) -> None:
        (place.folder / "page.j2").write_text("{{ secret('db/nothing') }}")
        done = place("render", "--watch", "page.j2", "a")
        assert (done.status, (place.folder / "a").exists()) == (3, False)


@contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """Listen as systemd does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(folder / "notify"))
        channel.settimeout(TIME_LIMIT)
        yield channel


@contextmanager
def watching(desk: Any, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command until the block ends."""
    command = desk.command("render", "--watch", "--every", "1s", "page.j2", "a")
    process = subprocess.Popen(
        command, cwd=desk.folder, env=desk.environment(**variables), stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_with(process: subprocess.Popen[str], word: str) -> str:
    """Return the next line on standard error with a word in it."""
    assert process.stderr is not None
    for line in process.stderr:
        if word in line:
            return line
    raise AssertionError(f"it has ended without {word}")


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + TIME_LIMIT
    while not holds():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.01)
