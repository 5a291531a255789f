"""The agent as a process: signals, reloads, and what systemd is told."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time

from collections.abc import Iterator
from pathlib import Path

import pytest

from agentprocess import AgentProcess, write_config
from agents import TOKEN, Line
from commandline import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_config(tmp_path)
    return tmp_path


@pytest.fixture
def process(folder: Path) -> Iterator[AgentProcess]:
    with AgentProcess(folder) as started:
        yield started


def test_it_serves_until_it_is_told_to_stop(process: AgentProcess) -> None:
    assert process.get("db/password").json()["value"] == "s3cret"
    process.signal(signal.SIGTERM)
    assert process.end() == 0
    assert not os.path.exists(process.path)


def test_signals_that_come_while_it_ends_do_not_cut_it_off(process: AgentProcess) -> None:
    process.signal(signal.SIGTERM)
    while process.is_running:
        process.signal(signal.SIGHUP)
        time.sleep(0.002)
    assert process.end() == 0


def test_its_socket_is_for_its_user_only(process: AgentProcess) -> None:
    assert stat.S_IMODE(os.stat(process.path).st_mode) == 0o600


def test_its_socket_can_be_for_a_group(folder: Path) -> None:
    import grp

    group = grp.getgrgid(os.getgid()).gr_name
    write_config(folder, more=f'socket_mode = "0660"\nsocket_group = "{group}"')
    with AgentProcess(folder) as process:
        found = os.stat(process.path)
    assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, os.getgid())


def test_a_request_that_has_begun_is_answered_before_it_stops(process: AgentProcess) -> None:
    body = b'{"name": "db/password"}'
    head = (
        f"POST /v1/get HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nX-Strongroom-Request: true\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with Line(process.here) as line, Line(process.here) as idle:
        line.send(head + body[:5])
        idle.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        idle.reply()
        process.signal(signal.SIGTERM)
        process.wait_for("stopping")
        # An idle connection is not waited for.
        assert idle.rest() == b""
        line.send(body[5:])
        assert line.reply().json()["value"] == "s3cret"
    assert process.end() == 0


def test_what_never_ends_is_not_waited_for_long(folder: Path) -> None:
    write_config(folder, more='body_timeout = "60s"')
    with AgentProcess(folder) as process, Line(process.here) as line:
        line.send(b"POST /v1/get HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n")
        line.send(b"x")
        process.signal(signal.SIGTERM)
        assert process.end(40) == 0


def test_a_reload_takes_the_new_configuration(process: AgentProcess, folder: Path) -> None:
    assert process.get("db/password").json()["value"] == "s3cret"
    with Line(process.here) as line:
        line.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        line.reply()
        write_config(folder, value="changed")
        process.signal(signal.SIGHUP)
        process.wait_for("read anew")
        # The connection is still there, and the answer is the new one.
        line.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert line.reply().status == 200
    assert process.get("db/password").json()["value"] == "changed"


def test_a_reload_loses_no_request(process: AgentProcess, folder: Path) -> None:
    seen = []
    for number in range(4):
        write_config(folder, value=f"value {number}")
        process.signal(signal.SIGHUP)
        while True:
            reply = process.get("db/password")
            assert reply.status == 200
            seen.append(reply.json()["value"])
            if seen[-1] == f"value {number}":
                break
    assert seen[-1] == "value 3"


@pytest.mark.parametrize(
    "broken",
    ["not toml [", 'backend = "gone"', '[agent]\nlisten = ["0.0.0.0:1"]', "[agent]\nmax_connections = 0"],
)
def test_a_broken_configuration_changes_nothing_and_is_told(process: AgentProcess, folder: Path, broken: str) -> None:
    (folder / "strongroom.toml").write_text(broken)
    process.signal(signal.SIGHUP)
    process.wait_for("the former one stays in force")
    assert process.get("db/password").json()["value"] == "s3cret"
    text = process.ask("/metrics").body.decode()
    assert 'strongroom_agent_reloads_total{outcome="failed"} 1.0' in text
    write_config(folder, value="mended")
    process.signal(signal.SIGHUP)
    process.wait_for("read anew")
    assert process.get("db/password").json()["value"] == "mended"


def test_a_reload_that_hangs_does_not_keep_the_agent_from_ending(process: AgentProcess, folder: Path) -> None:
    (folder / "web.token").unlink()
    # Nobody ever writes into it.
    os.mkfifo(folder / "web.token", 0o600)
    process.signal(signal.SIGHUP)
    time.sleep(0.5)
    assert process.get("db/password").json()["value"] == "s3cret"
    process.signal(signal.SIGTERM)
    # 1 would mean that the manager could not be closed.
    assert process.end() == 0


def test_a_token_that_is_replaced_is_the_old_ones_end(process: AgentProcess, folder: Path) -> None:
    done = Cli(folder, folder)("agent", "token", "web", "--replace")
    assert done.status == 0, done.stderr
    process.signal(signal.SIGHUP)
    process.wait_for("read anew")
    assert process.get("db/password").status == 401
    assert process.get("db/password", token=(folder / "web.token").read_text().strip()).status == 200


def test_a_second_agent_does_not_take_the_first_ones_place(process: AgentProcess, folder: Path) -> None:
    done = Cli(folder, folder)("agent")
    assert done.status == 2
    assert "another agent listens at" in done.stderr
    assert process.get("db/password", unix=True).status == 200


def test_what_a_killed_agent_left_is_no_hindrance(folder: Path) -> None:
    with AgentProcess(folder) as process:
        process.signal(signal.SIGKILL)
        process.end()
    assert stat.S_ISSOCK(os.stat(folder / "agent.sock").st_mode)
    with AgentProcess(folder) as process:
        assert process.get("db/password", unix=True).status == 200


def test_a_file_in_the_sockets_place_is_left_alone(folder: Path) -> None:
    (folder / "agent.sock").write_text("mine")
    done = Cli(folder, folder)("agent")
    assert done.status == 2
    assert "no socket" in done.stderr
    assert (folder / "agent.sock").read_text() == "mine"


def test_the_log_says_neither_who_asked_nor_for_what(process: AgentProcess) -> None:
    for name in ("db/password", "no/such-name"):
        process.get(name)
    process.ask("/some/path")
    process.raw(b"nonsense\r\n\r\n")
    process.signal(signal.SIGTERM)
    process.end()
    text = "\n".join(process.log)
    for word in ("db/password", "no/such-name", "/some/path", "nonsense", "s3cret", TOKEN, "Traceback", "uvicorn"):
        assert word not in text


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """What systemd listens at."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(60)
        yield channel


def told(manager: socket.socket, word: str) -> str:
    """Return what systemd is told with a word in it."""
    while True:
        text = manager.recv(4096).decode()
        if word in text:
            return text


def test_systemd_is_told_how_it_goes(folder: Path, manager: socket.socket) -> None:
    variables = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "300000"}
    with AgentProcess(folder, **variables) as process:
        assert "listening at 127.0.0.1:" in told(manager, "READY=1")
        # As long as requests are answered, and again and again.
        for _ in range(3):
            told(manager, "WATCHDOG=1")
        process.signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in told(manager, "RELOADING=1")
        told(manager, "READY=1")
        process.signal(signal.SIGSTOP)
        manager.settimeout(1)
        with pytest.raises(TimeoutError):
            told(manager, "never said")
        manager.settimeout(60)
        process.signal(signal.SIGCONT)
        process.signal(signal.SIGTERM)
        told(manager, "STOPPING=1")
        assert process.end() == 0


def test_a_socket_that_systemd_has_opened_is_used(folder: Path) -> None:
    """The program sets the variables as systemd does, for the process that the agent will be."""
    path = folder / "handed.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(16)
        program = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
        )
        command = [str(Path(sys.executable).with_name("strongroom")), "agent"]
        handle = listening.fileno()
        with subprocess.Popen(
            [sys.executable, "-c", program, str(handle), *command],
            cwd=folder,
            pass_fds=[handle],
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            assert f"listening at unix:{path}" in process.stderr.readline()
            with Line(str(path)) as line:
                line.send(b"GET /healthz HTTP/1.1\r\n\r\n")
                assert line.reply().status == 200
            process.terminate()
            assert process.wait(30) == 0


def test_a_running_agent_can_be_asked_how_it_is(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = write_config(folder).read_text()
    (folder / "strongroom.toml").write_text(text.replace("127.0.0.1:0", f"127.0.0.1:{port}"))
    ask = Cli(folder, folder)
    assert ask("agent", "check").status == 6
    with AgentProcess(folder):
        ready, live = ask("agent", "check"), ask("agent", "check", "--live")
    assert (ready.status, ready.stdout) == (0, '{"state":"ready"}\n')
    assert (live.status, live.stdout) == (0, "ok\n")


def test_a_token_is_made_for_its_user_only_and_never_shown(tmp_path: Path) -> None:
    done = Cli(tmp_path, tmp_path)("agent", "token", "web")
    path = tmp_path / "web.token"
    assert done.status == 0, done.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_text().strip()
    assert len(content) == 43
    assert content not in done.stdout + done.stderr
    assert "[agent.callers.web]" in done.stderr
    again = Cli(tmp_path, tmp_path)("agent", "token", "web")
    assert again.status == 2
    assert path.read_text().strip() == content
    assert Cli(tmp_path, tmp_path)("agent", "token", "web", "--replace").status == 0
    assert path.read_text().strip() != content
    assert sorted(tmp_path.glob("web.token*")) == [path]


@pytest.mark.parametrize("replace", [(), ("--replace",)])
def test_a_token_that_cannot_be_put_in_place_is_left_nowhere(tmp_path: Path, replace: tuple[str, ...]) -> None:
    (tmp_path / "web.token").mkdir()
    assert Cli(tmp_path, tmp_path)("agent", "token", "web", *replace).status == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "web.token"]


@pytest.mark.parametrize("name", ["../web", "a/b", "", "-x", "x" * 65])
def test_a_callers_name_is_a_short_word(tmp_path: Path, name: str) -> None:
    assert Cli(tmp_path, tmp_path)("agent", "token", "--", name).status == 2
    assert list(tmp_path.iterdir()) == []


def test_units_are_printed_and_written(folder: Path) -> None:
    ask = Cli(folder, folder)
    printed = ask("agent", "units").stdout
    for line in (
        "Type=notify-reload",
        "DynamicUser=yes",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "WatchdogSec=",
    ):
        assert line in printed
    assert ask("agent", "units", "units", "--user", "strongroom").status == 0
    service = (folder / "units/strongroom-agent.service").read_text()
    assert f"--config {folder}/strongroom.toml agent" in service
    assert "User=strongroom\n" in service
    assert ask("agent", "units", "units").status == 2


@pytest.mark.parametrize("there", ["strongroom-agent.service", "strongroom-agent.socket"])
def test_all_units_are_written_or_none(folder: Path, there: str) -> None:
    (folder / "units").mkdir()
    (folder / "units" / there).write_text("mine")
    done = Cli(folder, folder)("agent", "units", "units")
    assert done.status == 2
    assert f"there is a file at units/{there}, and nothing was written" in done.stderr
    assert [(path.name, path.read_text()) for path in (folder / "units").iterdir()] == [(there, "mine")]


def test_a_unit_has_no_line_that_an_argument_has_brought_in(folder: Path) -> None:
    done = Cli(folder, folder)("agent", "units", "units", "--user", "strongroom\nExecStartPre=/bin/true")
    assert done.status == 2
    assert "cannot stand in a unit" in done.stderr
    assert not (folder / "units").exists()


def test_a_unit_holds_a_path_with_a_space_that_does_not_break(folder: Path) -> None:
    path = folder / "its\u00a0own.toml"
    path.write_text((folder / "strongroom.toml").read_text())
    done = Cli(folder, folder)("--config", str(path), "agent", "units")
    assert done.status == 0
    assert f'--config "{path}" agent' in done.stdout


def test_without_a_configuration_there_are_no_units(tmp_path: Path) -> None:
    assert Cli(tmp_path, tmp_path)("agent", "units").status == 2


def test_help_shows_the_actions(folder: Path) -> None:
    done = Cli(folder, folder)("agent", "--help")
    assert done.status == 0
    for word in ("serve", "token", "check", "units"):
        assert word in done.stdout
