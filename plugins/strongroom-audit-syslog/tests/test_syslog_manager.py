"""What users see of a syslog server that is out of reach: in closed and in open mode."""

import contextlib
import socket
import threading
import time

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rfc5424
import strongroom

from certificates import Authority
from rsyslog import running, until
from strongroom.contracts import HealthState
from strongroom.errors import AuditError
from syslogserver import collecting, serving

TIMEOUT = 1.0
LATEST = TIMEOUT + 5.0
"""Generous, for a busy machine: that there is an end is what counts."""
NAME = "db/password"


@pytest.fixture
def open_manager() -> Iterator[Callable[..., strongroom.SecretManager]]:
    """Return a function that opens a manager with a backend in memory and a sink; each is closed in the end."""
    opened: list[strongroom.SecretManager] = []

    def opening(address: str, **sink: Any) -> strongroom.SecretManager:
        table = {"type": "syslog", "address": address, "timeout": f"{int(TIMEOUT * 1000)}ms"} | sink
        manager = strongroom.open(
            {"principal": "tester", "backend": "main", "backends": {"main": {"type": "memory"}}, "audit": [table]}
        )
        opened.append(manager)
        return manager

    yield opening
    for manager in opened:
        # Where its server is gone for good, it says so; the test has seen that.
        with contextlib.suppress(AuditError):
            manager.close()


def sink_of(manager: strongroom.SecretManager) -> Any:
    """Return the state of the audit sink."""
    (found,) = [part for part in manager.health().parts if part.kind == "audit"]
    return found.health


class Switch:
    """A server that takes nothing any more when told to.

    Attributes:
        stuck: Whether it has stopped reading, also from connections that it has.
        data: What each connection has brought, by number.
    """

    def __init__(self) -> None:
        self.stuck = threading.Event()
        self.data: dict[int, bytes] = {}

    def handle(self, made: socket.socket, number: int) -> None:
        self.data[number] = b""
        made.settimeout(0.02)
        while True:
            if self.stuck.is_set():
                time.sleep(0.02)
                continue
            try:
                found = made.recv(65536)
            except TimeoutError:
                continue
            if not found:
                return
            self.data[number] += found

    def events(self) -> list[Any]:
        """Return the events, by connection."""
        return [
            found for number in sorted(self.data) for found in rfc5424.events(rfc5424.counted(self.data[number])[0])
        ]


def fill(manager: strongroom.SecretManager) -> None:
    """Do so much that the buffers on the way are full; a failure ends it."""
    for _ in range(2000):
        manager.set("x" * 500, "value")


def test_closed_mode_fails_while_the_server_refuses(open_manager: Any, short: Path) -> None:
    """With a typed error, and at once; nothing was read or written."""
    with collecting(short, "tcp") as collector:
        manager = open_manager(collector.address)
        manager.set(NAME, "first")
        assert manager.get(NAME).value.reveal_text() == "first"
        collector.close()
        for act in (lambda: manager.set(NAME, "second"), lambda: manager.get("db/other")):
            started = time.monotonic()
            with pytest.raises(AuditError, match="nobody listens there") as caught:
                act()
            assert time.monotonic() - started < LATEST
            assert not caught.value.applied
        assert sink_of(manager).state is HealthState.DOWN
        assert "nobody listens there" in sink_of(manager).reason


def test_closed_mode_fails_while_the_server_hangs_and_goes_on_when_it_is_back(open_manager: Any) -> None:
    switch = Switch()
    with serving(switch.handle, buffer=4096) as port:
        manager = open_manager(f"tcp://127.0.0.1:{port}")
        manager.set(NAME, "first")
        switch.stuck.set()
        with pytest.raises(AuditError, match=r"has not taken the events within 1 s"):
            fill(manager)
        for act in (lambda: manager.set(NAME, "second"), lambda: manager.get("db/other")):
            started = time.monotonic()
            with pytest.raises(AuditError):
                act()
            assert time.monotonic() - started < LATEST
        assert sink_of(manager).state is HealthState.DOWN
        switch.stuck.clear()
        until(lambda: _works(manager), lambda: "it does not go on")
        assert sink_of(manager).state is HealthState.UP
        assert manager.get(NAME).value.reveal_text() == "third"
        manager.close()
        until(lambda: "closed" in {found.event for found in switch.events()}, lambda: "the end is missing")
    # Whatever had been half sent has spoilt nothing, and what was refused was not done.
    done = [found.result for found in switch.events() if found.event == "set" and found.phase == "outcome"]
    assert set(done) == {"ok"}


def _works(manager: strongroom.SecretManager) -> bool:
    try:
        manager.set(NAME, "third")
    except AuditError:
        return False
    return True


def test_open_mode_goes_on_and_tells_of_the_gap(
    open_manager: Any, short: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With one warning, a count, and a record with the number when the server is back."""
    with collecting(short, "stream") as collector:
        manager = open_manager(collector.address, required=False)
        manager.set(NAME, "first")
        assert len(collector.wait_for(3)) == 3
        collector.close()
        for number in range(5):
            manager.set(NAME, str(number))
            assert manager.get(NAME).value.reveal_text() == str(number)
        assert sink_of(manager).state is HealthState.DOWN
    assert len([each for each in caplog.records if "audit events lost so far" in each.message]) == 1
    (short / "again").mkdir()
    with collecting(short / "again", "stream") as collector:
        (short / "log").symlink_to(short / "again" / "log")
        manager.set(NAME, "last")
        manager.close()
        (gap,) = [found for found in collector.wait_for(4) if found.event == "gap"]
    assert gap.result == "events_lost"
    # An attempt and an outcome of each change, and one of each read.
    assert gap.count == 15


def test_open_mode_is_not_held_up_by_a_server_that_hangs(open_manager: Any) -> None:
    """One operation waits for it; those after it do not."""
    switch = Switch()
    with serving(switch.handle, buffer=4096) as port:
        manager = open_manager(f"tcp://127.0.0.1:{port}", required=False)
        switch.stuck.set()
        fill(manager)
        assert sink_of(manager).state is HealthState.DOWN
        switch.stuck.clear()
        until(lambda: _told_of_gap(manager, switch), lambda: "no gap was told of")


def _told_of_gap(manager: strongroom.SecretManager, switch: Switch) -> bool:
    manager.set(NAME, "value")
    return "gap" in {found.event for found in switch.events()}


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_what_closed_mode_has_let_pass_is_at_the_daemon(
    transport: str, open_manager: Any, short: Path, authority: Authority, trusting: dict[str, Any]
) -> None:
    """A real one, which is killed in between: what succeeded after it came back is there, with its attempt."""
    secured = transport == "tls"
    with running(short, transport, authority if secured else None) as daemon:
        manager = open_manager(daemon.address, **(trusting if secured else {}))
        manager.set("a/1", "value")
        until(lambda: len(daemon.events()) == 3, lambda: str(daemon.events()))
        daemon.kill()
        with pytest.raises(AuditError):
            manager.set("a/2", "value")
        assert sink_of(manager).state is HealthState.DOWN
        daemon.start()
        for number in range(3, 13):
            manager.set(f"a/{number}", "value")
        manager.close()
        until(lambda: "closed" in {found.event for found in daemon.events()}, lambda: "the end is missing")
        phases = {(found.key, found.phase) for found in daemon.events() if found.event == "set"}
    assert {(f"a/{number}", phase) for number in range(3, 13) for phase in ("attempt", "outcome")} <= phases
    assert ("a/2", "outcome") not in phases
