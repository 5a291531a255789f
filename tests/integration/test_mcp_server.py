"""`strongroom mcp` as clients start it: with the SDK's client over standard input and output, over a real store."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from commandline import Cli, clean_environment
from mcpsites import is_running, text_of, wait_until

VALUE = "correct-horse/Battery+staple=42"
ACTIONS = """
principal = "desk"

[mcp.actions.show]
description = "Shows what it has."
command = ["/bin/sh", "-c", 'echo "$1 $TOKEN"; echo "err $TOKEN" >&2', "sh", "{word}"]
environment = {TOKEN = "strongroom://db/password"}

[mcp.actions.show.parameters.word]
description = "Any word."
pattern = "[a-z]+"

[mcp.actions.slow]
description = "Takes its time."
command = ["/bin/sh", "-c", "sleep 600 & echo $$ > running.new; mv running.new running; wait"]
environment = {TOKEN = "strongroom://db/password"}
folder = "."
timeout = "10m"
"""
POLICIES = """
[[policies]]
principal = "desk"
effect = "allow"
actions = ["impersonate"]
names = ["assistant/*"]

[[policies]]
principal = "assistant/show"
effect = "allow"
actions = ["read", "list"]
names = ["db/password"]
"""
DETECTOR = """
[[anomaly]]
type = "enumeration"
action = "block"
distinct = 5
block_at = 2
while_learning = 1
cool_down = "0s"
"""

Mode = pytest.mark.parametrize("mode", ["auto", "legacy"])


@pytest.fixture
def desk(store: Path, cli: Cli) -> Path:
    """The folder of a store with a secret and actions that use it."""
    assert cli("set", "db/password", stdin=VALUE).status == 0
    add(store, ACTIONS)
    return store


def add(store: Path, text: str) -> None:
    """Add to the configuration, at its beginning what belongs to no table."""
    path = store / "strongroom.toml"
    top, mark, rest = text.partition("[")
    path.write_text(f"{top}\n{path.read_text()}\n{mark}{rest}")


def server(cli: Cli, *arguments: str) -> StdioServerParameters:
    return StdioServerParameters(
        command=str(Path(sys.executable).with_name("strongroom")),
        args=[*arguments, "mcp"],
        cwd=cli.folder,
        env=clean_environment(cli.home),
    )


def session(
    cli: Cli, script: Callable[[Client], Awaitable[Any]], *, mode: str = "auto", person: Any = None
) -> tuple[Any, str]:
    """Return what a script returns that is given a connected client, and what the server has logged."""

    async def run() -> Any:
        with (cli.home / "log").open("w") as log:
            transport = stdio_client(server(cli), errlog=log)
            async with Client(transport, mode=mode, elicitation_callback=person) as client:
                return await script(client)

    answer = anyio.run(run)
    return answer, (cli.home / "log").read_text()


def trail(cli: Cli) -> list[dict[str, Any]]:
    """Return the events of the trail, once it has been verified."""
    assert cli("audit", "verify").status == 0
    done = cli("audit", "tail", "--json", "--last", "1000")
    assert done.status == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@Mode
def test_a_model_uses_a_secret_that_it_does_not_see(desk: Path, cli: Cli, mode: str) -> None:
    async def script(client: Client) -> list[Any]:
        told = await client.list_tools()
        names = await client.call_tool("list_secrets", {})
        shown = await client.call_tool("show", {"word": "hello"})
        return [[tool.name for tool in told.tools], names.structured_content, text_of(shown)]

    answers, log = session(cli, script, mode=mode)
    assert answers == [
        ["list_secrets", "show", "slow"],
        {"secrets": {"show": ["db/password"], "slow": ["db/password"]}},
        "exit status 0\nhello [masked]\n\nstandard error:\nerr [masked]\n",
    ]
    assert log == "strongroom mcp: show: exit status 0\n"
    events = trail(cli)
    read = [event for event in events if event["event"] == "get"]
    assert [(event["principal"], event["on_behalf_of"], event["key"]) for event in read] == [
        ("assistant/show", "desk", "db/password")
    ]
    run = [event for event in events if event["event"] == "action"]
    assert [(event["principal"], event["phase"], event["result"], event["detail"]) for event in run] == [
        ("assistant", "attempt", "ok", "mcp/list_secrets"),
        ("assistant", "outcome", "ok", "mcp/list_secrets"),
        ("assistant/show", "attempt", "ok", "mcp/show: approval: none"),
        ("assistant/show", "outcome", "ok", "mcp/show: approval: none"),
    ]
    assert VALUE not in "".join(path.read_text(errors="replace") for path in desk.rglob("*.jsonl"))


@Mode
def test_the_person_at_the_client_is_asked(desk: Path, cli: Cli, mode: str) -> None:
    add(desk, '\n[mcp.actions.asked]\ndescription = "Asks."\ncommand = ["/bin/echo", "done"]\napproval = "ask"\n')
    answers = iter([True, False])

    async def person(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        assert params.message.startswith("May the model run asked, once?")
        return types.ElicitResult(action="accept", content={"approve": next(answers)})

    async def script(client: Client) -> list[str]:
        return [text_of(await client.call_tool("asked", {})) for _ in range(2)]

    told = session(cli, script, mode=mode, person=person)[0]
    assert told == ["exit status 0\ndone\n", "the call is not approved"]


def test_policies_bound_what_each_action_gets(desk: Path, cli: Cli) -> None:
    add(desk, POLICIES)

    async def script(client: Client) -> list[Any]:
        names = await client.call_tool("list_secrets", {})
        return [names.structured_content, *[text_of(await client.call_tool(*call)) for call in calls]]

    calls: list[tuple[str, dict[str, Any]]] = [("show", {"word": "hello"}), ("slow", {})]
    answers, log = session(cli, script)
    assert answers == [
        {"secrets": {"show": ["db/password"], "slow": []}},
        "exit status 0\nhello [masked]\n\nstandard error:\nerr [masked]\n",
        "the action was stopped: a secret that it needs is not for this assistant",
    ]
    assert "slow: 'assistant/slow' may not read db/password" in log
    read = [(event["principal"], event["result"]) for event in trail(cli) if event["event"] == "get"]
    assert read == [("assistant/show", "ok"), ("assistant/slow", "denied")]


def test_a_detector_blocks_a_model_that_searches(desk: Path, cli: Cli) -> None:
    add(desk, DETECTOR)
    actions = [
        f'[mcp.actions.a{number}]\ndescription = "One."\ncommand = ["/bin/true"]\nprincipal = "searcher"\n'
        f'environment = {{TOKEN = "strongroom://guess/n{number}"}}\n'
        for number in range(30)
    ]
    add(desk, "\n".join(actions))

    async def script(client: Client) -> list[str]:
        return [text_of(await client.call_tool(f"a{number}", {})) for number in range(30)]

    answers, _ = session(cli, script)
    assert answers[0] == "the action was stopped: a secret that it needs cannot be read (not_found)"
    assert answers[-1] == "the action was stopped: a detector finds the access suspicious. Do not try again"
    results = {event["result"] for event in trail(cli) if event["event"] == "get"}
    assert results == {"not_found", "suspicious"}


def test_stop_ends_what_runs_and_holds_until_it_is_resumed(desk: Path, cli: Cli) -> None:
    stopped = "everything is stopped by the operator: do not try again"

    async def script(client: Client) -> list[str]:
        answers: list[str] = []

        async def call() -> None:
            answers.append(text_of(await client.call_tool("slow", {})))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not (desk / "running").exists():
                await anyio.sleep(0.01)
            done = await anyio.to_thread.run_sync(cli, "mcp", "stop")
            assert (done.status, done.stderr.split(":")[0]) == (0, "stopped")
        while is_running(int((desk / "running").read_text())):
            await anyio.sleep(0.01)
        await call()
        return answers

    async def again(client: Client) -> str:
        return text_of(await client.call_tool("show", {"word": "hello"}))

    assert session(cli, script)[0] == [stopped, stopped]
    answer, log = session(cli, again)  # another server: it outlives the one that was stopped
    assert answer == stopped
    assert "`strongroom mcp resume` lets actions run again" in log
    assert "everything is stopped" in cli("mcp", "check").stdout
    assert cli("mcp", "resume").status == 0
    assert session(cli, again)[0].startswith("exit status 0")


def test_stop_works_with_a_configuration_that_does_not(desk: Path, cli: Cli) -> None:
    add(desk, "\n[mcp.actions.bad]\ncommand = 1\n")
    done = cli("mcp", "stop")
    assert done.status != 0
    assert (cli.home / ".local/state/strongroom/mcp.stopped").exists()


def started(cli: Cli, log: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start a server without a client, with a descriptor to write its log to."""
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("strongroom")), "mcp"],
        cwd=cli.folder,
        env=clean_environment(cli.home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
    )


def send(process: subprocess.Popen[bytes], *tools: str) -> None:
    """Open a session with a server, and call tools."""
    assert process.stdin is not None
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    messages = [
        {"id": 1, "method": "initialize", "params": hello},
        {"method": "notifications/initialized"},
        *({"id": name, "method": "tools/call", "params": {"name": name, "arguments": {}}} for name in tools),
    ]
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    process.stdin.flush()


def end(process: subprocess.Popen[bytes], status: int = 0) -> None:
    """Leave a server alone, and wait until it has ended with a status."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    assert process.wait(timeout=30) == status


@pytest.mark.parametrize("how", ["the client goes", "nobody reads", "a signal", "it is killed"])
def test_nothing_is_left_running_when_the_server_ends(desk: Path, cli: Cli, how: str) -> None:
    process = started(cli)
    send(process, "slow")
    assert process.stdin is not None
    wait_until((desk / "running").exists)
    number = int((desk / "running").read_text())
    if how == "the client goes":
        process.stdin.close()
    elif how == "nobody reads":
        assert process.stdout is not None
        process.stdout.close()
        process.stdin.write(b'{"jsonrpc": "2.0", "id": 3, "method": "ping"}\n')
        process.stdin.flush()
    else:
        os.kill(process.pid, signal.SIGKILL if how == "it is killed" else signal.SIGTERM)
    wait_until(lambda: not is_running(number))
    end(process, -signal.SIGKILL if how == "it is killed" else 0)
    left = [attempt["detail"] for attempt in json.loads(cli("audit", "report", "--json").stdout)["open_attempts"]]
    tail = cli("audit", "tail", "--json", "--result", "interrupted").stdout
    outcomes = [json.loads(line) for line in tail.splitlines()]
    if how == "it is killed":
        assert (left, outcomes) == (["mcp/slow: approval: none"], [])
    else:
        assert (left, [event["detail"] for event in outcomes]) == ([], ["mcp/slow: approval: none"])


def test_a_client_that_does_not_read_the_log_holds_up_nothing(desk: Path, cli: Cli) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    process = started(cli, writer)
    os.close(writer)
    send(process, "unknown", "slow")  # the first is refused, which is logged
    wait_until((desk / "running").exists)
    assert cli("mcp", "stop").status == 0
    number = int((desk / "running").read_text())
    wait_until(lambda: not is_running(number))
    end(process)
    os.close(reader)


def test_malformed_messages_end_nothing_and_standard_output_holds_the_protocol_alone(desk: Path, cli: Cli) -> None:
    lines = [
        "no JSON",
        "\x00\x1b[2J",
        json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "show"}}),
        json.dumps({"jsonrpc": "2.0", "id": "a" * 100_000, "method": "ping"}),
        json.dumps({"jsonrpc": "2.0", "id": 2, "method": "ping"}),
    ]
    process = started(cli)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n".join(lines).encode() + b"\n")
    process.stdin.flush()
    answers = []
    while not answers or answers[-1].get("id") != 2:
        answers.append(json.loads(process.stdout.readline()))
    assert answers[-1] == {"jsonrpc": "2.0", "id": 2, "result": {}}
    end(process)


def test_check_shows_the_actions_as_the_model_will_see_them(desk: Path, cli: Cli) -> None:
    async def script(client: Client) -> Any:
        told = await client.list_tools()
        return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in told.tools]

    assert json.loads(cli("mcp", "check", "--json").stdout) == session(cli, script)[0]
    shown = cli("mcp", "check").stdout
    assert "reads     db/password, as assistant/show" in shown
    assert VALUE not in shown


def test_a_folder_of_somebody_else_s_adds_no_action_where_the_user_has_locked_them(desk: Path, cli: Cli) -> None:
    own = cli.home / ".config/strongroom"
    own.mkdir(parents=True)
    (own / "strongroom.toml").write_text('locked = ["mcp"]\n')
    done = cli("mcp", "check")
    assert done.status == 2
    assert "has locked" in done.stderr
    (own / "strongroom.toml").write_text(
        'locked = ["mcp"]\n\n[mcp.actions.own]\ndescription = "Mine."\ncommand = ["/bin/true"]\n'
    )
    assert cli("mcp", "check").status == 2
    done = cli("mcp", "check", env={"STRONGROOM_MCP__KILL_SWITCH": "/other"})
    assert done.status == 2


def test_an_action_that_could_do_harm_is_named(desk: Path, cli: Cli) -> None:
    add(desk, '\n[mcp.actions.leak]\ndescription = "x"\ncommand = ["/bin/echo", "strongroom://db/password"]\n')
    done = cli("mcp", "check")
    assert done.status == 2
    assert "mcp.actions.leak in " in done.stderr
    assert "command holds a secret" in done.stderr
