"""An agent in a thread of the test's process, and what speaks HTTP to it: byte for byte, as a test wants it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import strongroom

from strongroom.builtin.memory import MemoryBackend, MemorySettings
from strongroom.contracts import AuditSink, Backend, WriteRequest
from strongroom.model import SecretName, SecretValue
from strongroom_agent.notify import Notifier
from strongroom_agent.settings import AgentSettings, CallerSettings
from strongroom_agent.sockets import Listeners, listen
from strongroom_agent.state import AgentState, Loaded

TOKEN = "token-of-web-0123456789abcdefghijklmnopqrstuv"
OTHER_TOKEN = "token-of-job-0123456789abcdefghijklmnopqrstuv"
JSON = {"Content-Type": "application/json", "X-Strongroom-Request": "true"}

SECRETS = {"db/password": "s3cret", "db/user": '{"name": "app", "port": 5432}', "key/raw": b"\x00\xff", "empty": ""}


class Reply:
    """An answer, taken apart.

    Attributes:
        status: The status.
        headers: Each header by its name in small letters.
        body: The body.
        raw: All of it, as it came.
    """

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1]) if first else 0
        self.headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}

    def json(self) -> Any:
        """Return the body as what it is in JSON."""
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The code of the error that it is."""
        return str(self.json()["error"])


class Line:
    """One connection to an agent."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(20)
        self.socket.connect(address)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes; a peer that has hung up already is no error."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def reply(self) -> Reply:
        """Return the next answer that has a length."""
        data = self._rest
        while b"\r\n\r\n" not in data:
            data += self._more(data)
        head, _, body = data.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].split(b":")[1]) if lengths else 0
        while len(body) < length:
            body += self._more(body)
        self._rest = body[length:]
        return Reply(head + b"\r\n\r\n" + body[:length])

    def _more(self, before: bytes) -> bytes:
        data = self.socket.recv(65536)
        assert data, f"the connection ended after {before!r}"
        return data

    def rest(self) -> bytes:
        """Return all that still comes until the agent hangs up."""
        data = self._rest
        try:
            while part := self.socket.recv(65536):
                data += part
        except ConnectionResetError:
            pass
        return data


def settings(folder: Path, **changes: Any) -> AgentSettings:
    """Return settings with two callers with tokens, ``web`` and ``job``, on loopback and a socket in a folder."""
    return AgentSettings(
        **{
            "listen": ("127.0.0.1:0", f"unix:{folder}/agent.sock"),
            "callers": {
                "web": CallerSettings(principal="web", token=token(folder, "web", TOKEN), dashboard=True),
                "job": CallerSettings(principal="job", token=token(folder, "job", OTHER_TOKEN)),
            },
            **changes,
        }
    )


def token(folder: Path, name: str, content: str) -> Any:
    """Write a token into a file of its own, and return the source that is that file."""
    path = folder / f"{name}.token"
    path.touch(mode=0o600)
    path.write_text(content + "\n")
    return FileToken(str(path))


class FileToken:
    """A token in a file, as the configuration would make it."""

    variable = None

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> strongroom.SecretValue:
        return strongroom.SecretValue(Path(self.path).read_bytes())

    def describe(self) -> str:
        return f"the file {self.path}"


class RunningAgent:
    """An agent that serves in a thread until the block ends.

    Attributes:
        state: What it shares.
        port: Its port on loopback.
        path: The path of its socket.
    """

    def __init__(self, state: AgentState, listeners: Listeners, notifier: Notifier | None = None) -> None:
        from strongroom_agent import serving

        self.state = state
        self.listeners = listeners
        self.port = next(int(one.rpartition(":")[2]) for one in listeners.where if not one.startswith("unix:"))
        self.path = next(one.removeprefix("unix:") for one in listeners.where if one.startswith("unix:"))
        self.server = serving.make(state, listeners, notifier or Notifier({}))
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        serving = asyncio.create_task(self.server.serve(sockets=self.listeners.sockets))
        while not self.server.started and not serving.done():
            await asyncio.sleep(0.005)
        self._ready.set()
        await serving

    def start(self) -> None:
        """Begin, and wait until requests are answered."""
        self._thread.start()
        assert self._ready.wait(30)

    def stop(self) -> None:
        """End, and wait for that."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.server.stop)
        self._thread.join(30)
        assert not self._thread.is_alive()

    @property
    def here(self) -> tuple[str, int]:
        """Its address on loopback."""
        return "127.0.0.1", self.port

    def raw(self, data: bytes, *, unix: bool = False) -> bytes:
        """Send bytes and no more, and return all that comes until the agent hangs up."""
        with Line(self.path if unix else self.here) as line:
            line.send(data)
            line.socket.shutdown(socket.SHUT_WR) if not data else None
            return line.rest()

    def ask(
        self,
        path: str,
        content: object = None,
        *,
        unix: bool = False,
        method: str = "",
        token: str = TOKEN,
        **headers: str,
    ) -> Reply:
        """Make one request as a program would, and return its answer.

        Args:
            path: The path.
            content: What to send as JSON; nothing unless given.
            unix: Whether to come over the socket.
            method: ``POST`` where something is sent, unless given.
            token: Whose; none if empty.
            headers: Further ones, with ``_`` for ``-``; an empty one is left out.
        """
        sent = {"Host": f"127.0.0.1:{self.port}", "Connection": "close"} | (JSON if content is not None else {})
        sent |= {"Authorization": f"Bearer {token}"} if token else {}
        for name, value in headers.items():
            sent[name.replace("_", "-")] = value
        body = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        sent["Content-Length"] = str(len(body))
        lines = [f"{method or ('GET' if content is None else 'POST')} {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in sent.items() if value]
        return Reply(self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, unix=unix))

    def get(self, name: str, **more: Any) -> Reply:
        """Ask for a secret as ``web``."""
        return self.ask("/v1/get", {"name": name}, **more)


@contextmanager
def running(
    settings: AgentSettings,
    backend: Backend,
    *,
    sinks: tuple[AuditSink, ...] = (),
    config: dict[str, Any] | None = None,
    load: Callable[[], Loaded] | None = None,
    notifier: Notifier | None = None,
) -> Iterator[RunningAgent]:
    """Run an agent over a backend of the test's own, which is called ``held``.

    Args:
        settings: The agent's.
        backend: What keeps the secrets.
        sinks: What records.
        config: Further settings of strongroom.
        load: What reads the configuration, in place of all of these.
        notifier: What tells systemd.
    """

    def load_these() -> Loaded:
        whole = {"audit": "none", "backend": "held", "principal": "agent", **(config or {})}
        return Loaded(settings=settings, manager=strongroom.open(whole, backends={"held": backend}, sinks=sinks))

    state = AgentState(load or load_these)
    try:
        listeners = listen(settings, {})
        agent = RunningAgent(state, listeners, notifier)
        try:
            agent.start()
            yield agent
        finally:
            agent.stop()
            listeners.close()
    finally:
        state.close()


def filled() -> Backend:
    """Return a backend in memory that holds the secrets."""
    backend = MemoryBackend(MemorySettings())
    for name, content in SECRETS.items():
        backend.write(WriteRequest(name=SecretName(name), value=SecretValue(content)))
    return backend


def memory_of(pid: int) -> int:
    """Return how many bytes of memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
