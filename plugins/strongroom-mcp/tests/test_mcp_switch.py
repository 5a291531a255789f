"""The kill switch, and the bounds of how often something runs."""

from __future__ import annotations

import os
import socket

from pathlib import Path

import anyio
import pytest

from mcp import Client

from mcpsites import action, is_running, shell, site, text_of
from strongroom_mcp.switch import Switch, default_path

STOPPED = "everything is stopped by the operator: do not try again"


def test_what_runs_is_ended_and_what_comes_is_refused_until_it_is_resumed(tmp_path: Path) -> None:
    async def script(client: Client) -> list[str]:
        answers: list[str] = []

        async def call(name: str) -> None:
            answers.append(text_of(await client.call_tool(name, {})))

        async with anyio.create_task_group() as group:
            for name in ("slow", "slow", "hanging"):
                group.start_soon(call, name)
            while len(numbers()) < 2 or not asked():
                await anyio.sleep(0.01)
            one.switch.stop()
        while any(is_running(number) for number in numbers()):
            await anyio.sleep(0.01)
        await call("slow")
        await call("list_secrets")
        one.switch.resume()
        await call("quick")
        return answers

    def numbers() -> list[int]:
        return [int(file.name) for file in (tmp_path / "running").iterdir()]

    def asked() -> bool:
        silent.settimeout(0)
        try:
            accepted.append(silent.accept()[0])
        except BlockingIOError:
            return bool(accepted)
        return True

    accepted: list[socket.socket] = []
    (tmp_path / "running").mkdir()
    slow = shell(f"sleep 600 & touch {tmp_path}/running/$$; wait", timeout=900)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = action(url=f"http://127.0.0.1:{silent.getsockname()[1]}/", http_on_loopback=True, timeout=900)
        with site(tmp_path, slow=slow, hanging=hanging, quick=shell("echo done")) as one:
            answers = one.session(script)
    assert answers == [STOPPED] * 5 + ["exit status 0\ndone\n"]
    for connection in accepted:
        connection.close()


def test_nothing_is_read_while_all_is_stopped(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("echo hello")) as one:
        one.switch.stop()
        assert one.text("show") == STOPPED
        assert one.reads() == []


def test_what_is_stopped_while_it_waits_for_approval_does_not_run(tmp_path: Path) -> None:
    program = tmp_path / "approve"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/mcp.stopped\nexit 0\n")
    program.chmod(0o700)
    kept = tmp_path / "kept"
    settings = {"approve": (str(program),)}
    with site(tmp_path, settings=settings, show=shell(f"touch {kept}", approval="command")) as one:
        assert one.text("show") == STOPPED
    assert not kept.exists()


def test_a_switch_that_cannot_be_looked_at_counts_as_stopped(tmp_path: Path) -> None:
    assert Switch(str(tmp_path / ("x" * 300))).stopped  # no file system has such a name
    assert not Switch(str(tmp_path / "missing" / "file")).stopped


def test_the_switch_is_made_with_its_folder_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    switch = Switch(default_path())
    # Clients start servers without this variable, and those have to be stopped, too.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert Switch(default_path()).path == switch.path
    switch.stop()
    switch.stop()
    assert switch.stopped
    assert os.stat(tmp_path / ".local/state/strongroom").st_mode & 0o777 == 0o700
    assert os.stat(switch.path).st_mode & 0o777 == 0o600
    switch.resume()
    switch.resume()
    assert not switch.stopped


def test_an_action_is_called_as_often_as_it_may_in_a_minute(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("echo hello", calls_per_minute=2), other=shell("true")) as one:
        assert [one.call("show").is_error for _ in range(3)] == [False, False, True]
        assert one.text("show") == "the action may be called 2 times in a minute: try again later"
        assert not one.call("other").is_error
        one.clock.advance(60)
        assert not one.call("show").is_error


def test_an_action_runs_as_often_as_it_may_at_a_time(tmp_path: Path) -> None:
    async def script(client: Client) -> list[str]:
        answers: list[str] = []

        async def call() -> None:
            answers.append(text_of(await client.call_tool("show", {})))

        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(call)
            while len(answers) < 2:
                await anyio.sleep(0.01)
            (tmp_path / "go").touch()
        await call()
        return answers

    with site(tmp_path, show=shell(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done", concurrency=2)) as one:
        answers = one.session(script)
    busy = "the action runs as often as it may at a time: try again when it has ended"
    assert answers == [busy, busy, "exit status 0", "exit status 0", "exit status 0"]
