"""A new configuration takes the old one's place between two requests, never within one."""

from __future__ import annotations

import threading
import time

from pathlib import Path

import pytest

import strongroom

from agents import TOKEN, Line, filled, running, settings
from dashboards import wait_until
from strongroom.errors import ConfigurationError
from strongroom.testing import FaultyBackend, MemorySink
from strongroom_agent.settings import AgentSettings, CallerSettings
from strongroom_agent.state import AgentState, Loaded


class Source:
    """Gives managers that a test can tell apart."""

    def __init__(self, current: AgentSettings, backend: FaultyBackend) -> None:
        self.settings = current
        self.backend = backend
        self.sinks: list[MemorySink] = []

    def __call__(self) -> Loaded:
        sink = MemorySink()
        self.sinks.append(sink)
        manager = strongroom.open(
            {"audit": "none", "backend": "held", "principal": "agent"}, backends={"held": self.backend}, sinks=(sink,)
        )
        return Loaded(settings=self.settings, manager=manager)


@pytest.fixture
def source(tmp_path: Path, backend: FaultyBackend) -> Source:
    return Source(settings(tmp_path), backend)


def test_a_request_under_way_ends_with_the_manager_it_began_with(source: Source, backend: FaultyBackend) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(operation: str) -> None:
        if operation == "read":
            begun.set()
            assert go_on.wait(20)

    replies = []
    with running(source.settings, backend, load=source) as agent:
        backend.before = wait
        asking = threading.Thread(target=lambda: replies.append(agent.get("db/password")))
        asking.start()
        assert begun.wait(20)
        source.backend = FaultyBackend(filled())  # one that the former manager does not close
        assert agent.state.reload() == ""
        wait_until(lambda: len(source.sinks) == 2)
        time.sleep(0.5)  # longer than an idle manager is kept
        assert not source.sinks[0].closed
        go_on.set()
        asking.join(20)
        wait_until(lambda: source.sinks[0].closed)
        assert not source.sinks[1].closed
        assert agent.get("db/password").status == 200
    assert replies[0].json()["value"] == "s3cret"
    assert source.sinks[1].closed


def test_new_callers_and_limits_are_in_force_at_once(source: Source, tmp_path: Path) -> None:
    with running(source.settings, filled(), load=source) as agent:
        source.settings = settings(tmp_path, callers={"nobody": CallerSettings(principal="x", uid=4711)})
        assert agent.state.reload() == ""
        assert agent.get("db/password").status == 401
        source.settings = settings(tmp_path, max_request_bytes=10)
        assert agent.state.reload() == ""
        assert agent.get("db/password").status == 413


def test_a_caller_that_is_not_usable_leaves_everything_as_it_was(source: Source, tmp_path: Path) -> None:
    with running(source.settings, filled(), load=source) as agent:
        same = CallerSettings(principal="x", uid=4711)
        source.settings = settings(tmp_path, callers={"one": same, "other": same})
        assert "the same user" in agent.state.reload()
        # The manager that was opened for it is closed, and the former one serves.
        assert source.sinks[1].closed
        assert agent.get("db/password").status == 200


def test_a_reload_that_fails_in_whatever_way_changes_nothing(source: Source) -> None:
    failing: list[Exception] = []

    def load() -> Loaded:
        if failing:
            raise failing[0]
        return source()

    with running(source.settings, filled(), load=load) as agent:
        failing.append(ValueError("db/password"))
        assert agent.state.reload() == "ValueError"
        assert agent.get("db/password").status == 200


def test_a_caller_that_is_removed_before_its_request_is_there_gets_nothing(source: Source, tmp_path: Path) -> None:
    body = b'{"name": "db/password"}'
    with running(source.settings, filled(), load=source) as agent, Line(agent.here) as line:
        line.send(
            f"POST /v1/get HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            "X-Strongroom-Request: true\r\nContent-Type: application/json\r\n"
            f"Expect: 100-continue\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        # The caller is known by now.
        assert line.socket.recv(100).startswith(b"HTTP/1.1 100 ")
        source.settings = settings(tmp_path, callers={"nobody": CallerSettings(principal="x", uid=4711)})
        assert agent.state.reload() == ""
        line.send(body)
        assert line.reply().status == 401


def test_a_start_that_fails_leaves_nothing_open(source: Source, tmp_path: Path) -> None:
    same = CallerSettings(principal="x", uid=4711)
    source.settings = settings(tmp_path, callers={"one": same, "other": same})
    with pytest.raises(ConfigurationError):
        AgentState(source)
    assert source.sinks[0].closed


def test_the_agent_itself_can_act_as_another_one(source: Source, tmp_path: Path) -> None:
    def load() -> Loaded:
        return source().replace(principal="somebody")

    with running(source.settings, filled(), load=load) as agent:
        assert agent.state.manager.principal.name == "somebody"
        assert agent.get("db/password").status == 200
