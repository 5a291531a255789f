"""A thousand programs at a time; ``STRONGROOM_LOAD_SECONDS=60`` for as long as one wants to know."""

from __future__ import annotations

import json
import os
import selectors
import socket
import time

from pathlib import Path

from agentprocess import AgentProcess, write_config
from agents import TOKEN, memory_of

CLIENTS = 1000
SECONDS = float(os.environ.get("STRONGROOM_LOAD_SECONDS", "5"))
MOST_GROWTH = 100_000_000
BODY = b'{"name":"db/password"}'
REQUEST = (
    f"POST /v1/get HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nX-Strongroom-Request: true\r\n"
    f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n"
).encode() + BODY


class Client:
    """One program that asks again as soon as it has an answer."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=60)
        self.answers = 0
        self._begun = b""
        self.ask()

    def ask(self) -> None:
        self._begun = b""
        self.socket.sendall(REQUEST)

    def take(self) -> bool:
        """Take what has come, and tell whether it is an answer that is right."""
        data = self.socket.recv(65536)
        assert data, "the agent hung up"
        self._begun += data
        if not self._begun.endswith(b"}"):
            return False
        assert self._begun.startswith(b"HTTP/1.1 200 "), self._begun
        assert json.loads(self._begun.partition(b"\r\n\r\n")[2])["value"] == "s3cret"
        self.answers += 1
        return True


def test_a_thousand_programs_are_served_and_memory_stays_bounded(tmp_path: Path, record_property) -> None:
    write_config(tmp_path, more="requests_per_second = 1000000\nburst = 1000000\nmax_connections = 1100")
    with AgentProcess(tmp_path) as process, selectors.DefaultSelector() as waiting:
        process.get("db/password")
        before = memory_of(process.pid)
        clients = [Client(process.here) for _ in range(CLIENTS)]
        for client in clients:
            waiting.register(client.socket, selectors.EVENT_READ, client)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or any(client.answers == 0 for client in clients):
            for key, _ in waiting.select(1):
                if key.data.take():
                    key.data.ask()
        full = memory_of(process.pid)
        for client in clients:
            client.socket.close()
        answers = sum(client.answers for client in clients)
        text = process.ask("/metrics").body.decode()
        after = memory_of(process.pid)
    for name, figure in (("answers", answers), ("before", before), ("full", full), ("after", after)):
        record_property(name, figure)
    print(
        f"{answers} answers in {SECONDS:g} s; memory {before >> 20} MiB, then {full >> 20} MiB, then {after >> 20} MiB"
    )
    assert 'code="5' not in text
    assert 'code="4' not in text
    assert full - before < MOST_GROWTH
