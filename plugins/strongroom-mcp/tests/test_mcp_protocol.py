"""What a client can ask for beyond calling a declared action: nothing."""

from __future__ import annotations

import json

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest

from mcp import Client
from mcp.shared.exceptions import MCPError

from mcpsites import SECRETS, VALUE, shell, site, text_of
from strongroom_mcp.tools import tools

POLICIES = [
    {"principal": "server", "effect": "allow", "actions": ["impersonate"], "names": ["assistant/*"]},
    {"principal": "assistant/show", "effect": "allow", "actions": ["read", "list"], "names": ["db/token"]},
    {"principal": "assistant/listed", "effect": "allow", "actions": ["list"], "names": ["db/**"]},
]

ASKED: dict[str, Callable[[Client], Awaitable[Any]]] = {
    "resources": lambda client: client.list_resources(),
    "templates of resources": lambda client: client.list_resource_templates(),
    "a resource": lambda client: client.read_resource("strongroom://db/token"),
    "prompts": lambda client: client.list_prompts(),
    "a prompt": lambda client: client.get_prompt("strongroom://db/token"),
    "completion": lambda client: client.complete(
        types.PromptReference(type="ref/prompt", name="show"), {"name": "word", "value": "Tr0ub"}
    ),
}


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("what", ASKED)
def test_there_is_nothing_but_tools(tmp_path: Path, what: str, mode: str) -> None:
    async def script(client: Client) -> str:
        with pytest.raises(MCPError) as refused:
            await ASKED[what](client)
        return str(refused.value)

    with site(tmp_path, show=shell("true")) as one:
        assert one.session(script, mode=mode) == "Method not found"
        assert one.reads() == []


def test_the_client_is_told_of_the_declared_tools_and_of_no_secret(tmp_path: Path) -> None:
    async def script(client: Client) -> Any:
        return await client.list_tools()

    with site(tmp_path, show=shell('echo "$1"', "word")) as one:
        told = one.session(script)
    assert [tool.name for tool in told.tools] == ["list_secrets", "show"]
    text = told.model_dump_json()
    assert "db/token" not in text
    assert VALUE not in text


@pytest.mark.parametrize("name", ["get", "set", "exec", "show ", "SHOW", "../show", "", "x" * 100_000, VALUE, "\0"])
def test_a_tool_that_is_not_declared_does_nothing(tmp_path: Path, name: str) -> None:
    with site(tmp_path, show=shell("true")) as one:
        result = one.call(name)
        assert (result.is_error, text_of(result)) == (True, "there is no tool of that name")
        assert one.reads() == []


def test_names_are_listed_as_far_as_policies_allow_and_values_never(tmp_path: Path) -> None:
    actions = {
        "show": shell("true"),
        "listed": shell("true", environment={"A": "strongroom://db/plain#x", "B": "strongroom://db/gone"}),
        "denied": shell("true"),
    }
    with site(tmp_path, config={"principal": "server", "policies": POLICIES}, **actions) as one:
        result = one.call("list_secrets")
    found = {"show": ["db/token"], "listed": ["db/plain"], "denied": []}
    assert json.loads(text_of(result)) == result.structured_content == {"secrets": found}


def test_a_policy_decides_for_each_action(tmp_path: Path) -> None:
    actions = {"show": shell("echo hello"), "denied": shell("echo hello"), "other": shell("true", principal="root")}
    with site(tmp_path, config={"principal": "server", "policies": POLICIES}, **actions) as one:
        assert one.text("show") == "exit status 0\nhello\n"
        for name in ("denied", "other"):
            assert one.text(name) == "the action was stopped: a secret that it needs is not for this assistant"
        events = [event for event in one.sink.events if event.event == "get"]
    assert [(event.principal, event.on_behalf_of, event.result) for event in events] == [
        ("assistant/show", "server", "ok"),
        ("assistant/denied", "server", "denied"),
        ("root", "server", "denied"),
    ]


def test_the_trail_holds_no_value(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("env")) as one:
        one.call("show")
        trail = "\n".join(map(repr, one.sink.events))
    assert "assistant/show" in trail
    assert [value for value in SECRETS.values() if str(value) in trail] == []


def test_a_fault_of_ours_tells_no_more_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fault(*_: Any) -> None:
        raise ValueError(VALUE)

    monkeypatch.setattr("strongroom_mcp.programs.run", fault)
    with site(tmp_path, show=shell("true")) as one:
        assert one.text("show") == "the action failed inside the server"


def test_calls_at_the_same_time_do_not_mix(tmp_path: Path) -> None:
    import anyio

    async def script(client: Client) -> dict[str, str]:
        answers = {}

        async def call(word: str) -> None:
            answers[word] = text_of(await client.call_tool("show", {"word": word}))

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(call, f"w{number}")
        return answers

    with site(tmp_path, show=shell('echo "$1 $TOKEN"', "word", concurrency=20)) as one:
        answers = one.session(script)
    assert answers == {f"w{number}": f"exit status 0\nw{number} [masked]\n" for number in range(20)}


def test_what_changes_nothing_is_told_to_the_client(tmp_path: Path) -> None:
    with site(tmp_path, look=shell("true", read_only=True), change=shell("true")) as one:
        told = {tool.name: tool.annotations.read_only_hint for tool in tools(one.settings) if tool.annotations}
    assert told == {"list_secrets": True, "look": True, "change": False}
