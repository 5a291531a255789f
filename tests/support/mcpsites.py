"""A server for language models in the test's own process, with the SDK's real client, and a server for it to call."""

from __future__ import annotations

import json
import sys
import threading
import time

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types

from mcp import Client

import strongroom

from strongroom.builtin.memory import MemoryBackend, MemorySettings
from strongroom.contracts import WriteRequest
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock, MemorySink
from strongroom_mcp.calls import Calls
from strongroom_mcp.held import Held
from strongroom_mcp.settings import ActionSettings, McpSettings, ParameterSettings
from strongroom_mcp.switch import Switch
from strongroom_mcp.tools import serve
from strongroom_mcp.trail import Trail

VALUE = "Tr0ub4dor&3 <correct> horse/é"
SECRETS = {
    "db/token": VALUE,
    "db/plain": "plain-Token-0123456789",
    "db/json": '{"keys": ["key-0123456789"], "port": 5432, "user": "app"}',
    "db/raw": b"\xff\x00\x01\x02",
    "db/pin": "12345678",
    "db/many": json.dumps([f"member-{number:05}" for number in range(2000)]),
}
TOKEN = "strongroom://db/token"
PLAIN = "strongroom://db/plain"

Person = Callable[[Any, types.ElicitRequestParams], Awaitable[types.ElicitResult]]


def shell(script: str, *names: str, **more: Any) -> ActionSettings:
    """Return an action that runs a script of sh, whose arguments are parameters of these names."""
    parameters = more.pop("parameters", {name: ParameterSettings() for name in names})
    environment = more.pop("environment", {"TOKEN": TOKEN})
    places = (f"{{{name}}}" for name in names)
    return action(
        command=("/bin/sh", "-c", script, "sh", *places), parameters=parameters, environment=environment, **more
    )


def python(script: str, **more: Any) -> ActionSettings:
    """Return an action that runs a script of Python."""
    return action(command=(sys.executable, "-I", "-c", script), **{"environment": {"TOKEN": TOKEN}, **more})


def action(**settings: Any) -> ActionSettings:
    """Return an action, once its settings have passed their own check."""
    made = ActionSettings(**{"description": "Does something.", **settings})
    assert made.problems() == []
    return made


def text_of(result: types.CallToolResult) -> str:
    """Return the text of a result."""
    [content] = result.content
    assert isinstance(content, types.TextContent)
    return content.text


def is_running(number: int) -> bool:
    """Tell whether there is a process of that number that has not ended."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def wait_until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another process brings about."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it has not come about"
        time.sleep(0.01)


class Site:
    """A server and all that belongs to it.

    Attributes:
        sink: What was recorded.
        clock: By which calls are counted and approvals expire.
        switch: The kill switch.
        trail: What records calls.
        calls: What runs calls.
    """

    def __init__(
        self, folder: Path, settings: McpSettings, manager: strongroom.SecretManager, sink: MemorySink
    ) -> None:
        self.settings = settings
        self.sink = sink
        self.clock = FakeClock()
        self.switch = Switch(str(folder / "mcp.stopped"))
        self.trail = Trail(manager, settings.principal)
        self.calls = Calls(settings, Held(manager), self.trail, self.switch, self.clock)

    def session(
        self, script: Callable[[Client], Awaitable[Any]], *, mode: str = "auto", person: Person | None = None
    ) -> Any:
        """Return what a script returns that is given a connected client.

        Args:
            script: What the client does.
            mode: ``legacy`` for the protocol before 2026.
            person: Who answers questions.
        """

        async def run() -> Any:
            server = serve(self.settings, self.calls)
            async with anyio.create_task_group() as group:
                group.start_soon(self.switch.watch, self.calls.end, self.trail.switched)
                async with Client(server, mode=mode, elicitation_callback=person) as client:
                    answer = await script(client)
                group.cancel_scope.cancel()
            return answer

        with anyio.from_thread.start_blocking_portal() as portal:
            return portal.call(run)

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        mode: str = "auto",
        person: Person | None = None,
    ) -> types.CallToolResult:
        """Return the result of one call."""

        async def script(client: Client) -> Any:
            return await client.call_tool(name, dict(arguments or {}))

        result = self.session(script, mode=mode, person=person)
        assert isinstance(result, types.CallToolResult)
        return result

    def text(self, name: str, arguments: Mapping[str, Any] | None = None) -> str:
        """Return the text of the result of one call."""
        return text_of(self.call(name, arguments))

    def reads(self) -> list[tuple[str | None, str | None]]:
        """Return who has read what."""
        return [(event.principal, event.key) for event in self.sink.events if event.event == "get"]

    def actions(self) -> list[tuple[str, str, str | None]]:
        """Return what the trail says of each action: the phase, the result and the detail."""
        return [(event.phase, event.result, event.detail) for event in self.sink.events if event.event == "action"]


@contextmanager
def site(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    **actions: ActionSettings,
) -> Iterator[Site]:
    """Yield a site.

    Args:
        folder: Where its kill switch is.
        config: More of the configuration, such as policies.
        settings: More settings of the server.
        actions: What is declared.
    """
    backend = MemoryBackend(MemorySettings())
    for name, value in SECRETS.items():
        backend.write(WriteRequest(name=SecretName(name), value=SecretValue(value)))
    sink = MemorySink()
    table = {"audit": "none", "backend": "memory", "backends": {"memory": {"type": "memory"}}, **(config or {})}
    made = McpSettings(actions=actions, **(settings or {}))
    assert made.problems() == []
    with strongroom.open(table, backends={"memory": backend}, sinks=(sink,)) as manager:
        yield Site(folder, made, manager, sink)


class Seen:
    """What a server on loopback has been sent, and what it answers.

    Attributes:
        requests: Method, path, headers and body of each.
        status: The status that it answers with.
        headers: Headers that it answers with.
        body: What it answers; called with the request's headers and body if it is a function.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body: bytes | Callable[[dict[str, str], bytes], bytes] = b"{}"

    def answers(self, content: Any) -> None:
        """Have it answer JSON."""
        self.body = json.dumps(content).encode()


@contextmanager
def web() -> Iterator[Seen]:
    """Yield a server on loopback."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = dict(self.headers.items())
            seen.requests.append((self.command, self.path, headers, content))
            body = seen.body(headers, content) if callable(seen.body) else seen.body
            self.send_response(seen.status)
            for name, text in seen.headers.items():
                self.send_header(name, text)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer  # noqa: N815  # as the library calls them

        def log_message(self, *_: Any) -> None:
            """Tell nobody."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen = Seen(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def web_action(seen: Seen, path: str, **more: Any) -> ActionSettings:
    """Return an action that calls a server on loopback with a token."""
    headers = more.pop("headers", {"Authorization": f"Bearer ${{{PLAIN}}}"})
    return action(url=seen.address + path, headers=headers, http_on_loopback=True, **more)
