"""Approval by a person or a program: nothing is read before it, and it is for one call."""

from __future__ import annotations

import json

from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest

from mcp import Client
from mcp.shared.exceptions import MCPError

from mcpsites import Person, shell, site, text_of

DENIED = "the call is not approved"
BOTH = pytest.mark.parametrize("mode", ["auto", "legacy"])


def saying(action: Any, **content: Any) -> Person:
    async def person(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action=action, content=content or None)

    asked: list[str] = []
    person.asked = asked  # type: ignore[attr-defined]  # for the test to look at
    return person


@BOTH
def test_what_a_person_approves_runs(tmp_path: Path, mode: str) -> None:
    with site(tmp_path, show=shell('echo "$1"', "word", approval="ask")) as one:
        result = one.call("show", {"word": "hello"}, mode=mode, person=saying("accept", approve=True))
        assert text_of(result) == "exit status 0\nhello\n"
        assert one.reads() == [("assistant/show", "db/token")]


@BOTH
@pytest.mark.parametrize(
    ("action", "content"),
    [("accept", {"approve": False}), ("accept", {}), ("accept", {"approve": "true"}), ("decline", {}), ("cancel", {})],
)
def test_what_a_person_does_not_approve_is_not_even_read_for(
    tmp_path: Path, mode: str, action: str, content: dict[str, Any]
) -> None:
    with site(tmp_path, show=shell("echo hello", approval="ask")) as one:
        result = one.call("show", mode=mode, person=saying(action, **content))
        assert (result.is_error, text_of(result)) == (True, DENIED)
        assert one.reads() == []


@BOTH
def test_a_client_that_can_ask_nobody_is_refused(tmp_path: Path, mode: str) -> None:
    with site(tmp_path, show=shell("echo hello", approval="ask")) as one:
        result = one.call("show", mode=mode)
        assert text_of(result) == "the action needs a person's approval, and this client cannot ask anybody"
        assert one.reads() == []


def test_the_person_reads_exactly_what_will_run(tmp_path: Path) -> None:
    person = saying("decline")
    with site(tmp_path, show=shell('echo "$1"', "word", approval="ask")) as one:
        one.call("show", {"word": "a\u202egpj.exe secrets: none"}, person=person)
    [message] = person.asked  # type: ignore[attr-defined]  # see above
    assert message.splitlines() == [
        "May the model run show, once? Does something.",
        'runs: ["/bin/sh", "-c", "echo \\"$1\\"", "sh", "a\\u202egpj.exe secrets: none"]',
        'word = "a\\u202egpj.exe secrets: none"',
        "secrets: strongroom://db/token",
    ]


async def put(client: Client, word: str) -> types.InputRequiredResult:
    asked = await client.session.call_tool("show", {"word": word}, allow_input_required=True)
    assert isinstance(asked, types.InputRequiredResult)
    return asked


async def answer(client: Client, word: str, state: str | None) -> str:
    yes = {"approval": types.ElicitResult(action="accept", content={"approve": True})}
    result = await client.session.call_tool("show", {"word": word}, input_responses=yes, request_state=state)
    return text_of(result)


def test_an_approval_is_for_the_call_that_was_asked_about_and_for_one(tmp_path: Path) -> None:
    async def script(client: Client) -> list[str]:
        first, second = await put(client, "harmless"), await put(client, "harmless")
        return [
            await answer(client, "other", first.request_state),
            await answer(client, "harmless", first.request_state),
            await answer(client, "harmless", second.request_state),
            await answer(client, "harmless", second.request_state),
            await answer(client, "harmless", "made up"),
        ]

    with site(tmp_path, show=shell('echo "$1"', "word", approval="ask")) as one:
        answers = one.session(script, person=saying("accept", approve=True))
        assert answers == [DENIED, DENIED, "exit status 0\nharmless\n", DENIED, DENIED]
        assert len(one.reads()) == 1


def test_an_approval_that_comes_too_late_is_none(tmp_path: Path) -> None:
    async def script(client: Client) -> str:
        asked = await put(client, "hello")
        one.clock.advance(121)
        return await answer(client, "hello", asked.request_state)

    with site(tmp_path, show=shell('echo "$1"', "word", approval="ask")) as one:
        assert one.session(script, person=saying("accept", approve=True)) == DENIED


async def asked_or_told(client: Client, name: str = "show") -> str:
    result = await client.session.call_tool(name, {"word": "hello"}, allow_input_required=True)
    return "asked" if isinstance(result, types.InputRequiredResult) else text_of(result)


def test_a_client_is_given_as_many_questions_as_calls_may_run_at_a_time(tmp_path: Path) -> None:
    async def script(client: Client) -> list[str]:
        first = await put(client, "hello")
        told = [await asked_or_told(client) for _ in range(3)]
        told += [await answer(client, "hello", first.request_state)]
        told += [await asked_or_told(client) for _ in range(2)]
        one.clock.advance(121)
        return [*told, await asked_or_told(client), await asked_or_told(client, "other")]

    show = shell('echo "$1"', "word", approval="ask", concurrency=2)
    with site(tmp_path, show=show, other=show) as one:
        told = one.session(script, person=saying("accept", approve=True))
    full = "as many calls of the action wait for approval as may: try again when one is answered"
    assert told == ["asked", full, full, "exit status 0\nhello\n", "asked", full, "asked", "asked"]


def test_a_question_can_be_answered_however_many_come_after_it(tmp_path: Path) -> None:
    async def script(client: Client) -> str:
        first = await put(client, "hello")
        for _ in range(80):
            await put(client, "another")
        return await answer(client, "hello", first.request_state)

    with site(tmp_path, show=shell('echo "$1"', "word", approval="ask", concurrency=100, calls_per_minute=100)) as one:
        assert one.session(script, person=saying("accept", approve=True)) == "exit status 0\nhello\n"


def test_state_that_a_client_makes_up_is_no_approval_of_another_kind(tmp_path: Path) -> None:
    async def script(client: Client) -> str:
        return await answer(client, "hello", "made up")

    with site(tmp_path, settings={"approve": ("/bin/false",)}, show=shell("echo", "word", approval="command")) as one:
        assert one.session(script) == DENIED
        assert one.reads() == []


def test_a_person_who_does_not_answer_has_not_approved(tmp_path: Path) -> None:
    async def person(*_: Any) -> types.ElicitResult:
        raise MCPError(code=-1, message="nobody is there")

    with site(tmp_path, show=shell("echo hello", approval="ask")) as one:
        assert text_of(one.call("show", mode="legacy", person=person)) == DENIED


def approving(folder: Path, script: str) -> dict[str, Any]:
    program = folder / "approve"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return {"approve": (str(program),), "approval_timeout": 20.0}


def test_a_program_that_succeeds_approves_and_reads_the_call(tmp_path: Path) -> None:
    settings = approving(tmp_path, f"cat > {tmp_path}/asked")
    with site(tmp_path, settings=settings, show=shell('echo "$1"', "word", approval="command")) as one:
        assert one.text("show", {"word": "hello"}) == "exit status 0\nhello\n"
    asked = json.loads((tmp_path / "asked").read_text())
    assert asked.pop("text").startswith("May the model run show, once?")
    assert asked == {
        "action": "show",
        "principal": "assistant/show",
        "parameters": {"word": "hello"},
        "target": ["/bin/sh", "-c", 'echo "$1"', "sh", "hello"],
        "secrets": ["strongroom://db/token"],
    }


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$"])
def test_a_program_that_fails_does_not_approve(tmp_path: Path, script: str) -> None:
    with site(tmp_path, settings=approving(tmp_path, script), show=shell("echo hello", approval="command")) as one:
        assert one.text("show") == DENIED
        assert one.reads() == []


def test_a_program_that_is_missing_or_hangs_does_not_approve(tmp_path: Path) -> None:
    hanging = approving(tmp_path, "sleep 600") | {"approval_timeout": 0.2}
    for settings in (hanging, {"approve": ("/no/such/program",)}):
        with site(tmp_path, settings=settings, show=shell("echo hello", approval="command")) as one:
            assert one.text("show") == DENIED
            assert one.reads() == []


def test_nobody_is_asked_about_more_calls_than_may_run_at_a_time(tmp_path: Path) -> None:
    async def script(client: Client) -> list[str]:
        answers: list[str] = []

        async def call() -> None:
            answers.append(text_of(await client.call_tool("show", {})))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(call)
            while len(answers) < 3:
                await anyio.sleep(0.01)
            (tmp_path / "go").touch()
        return answers

    settings = approving(tmp_path, f"echo >> {tmp_path}/asked; until [ -e {tmp_path}/go ]; do sleep 0.01; done")
    with site(tmp_path, settings=settings, show=shell("true", approval="command", concurrency=2)) as one:
        answers = one.session(script)
    busy = "the action runs as often as it may at a time: try again when it has ended"
    assert answers == [busy, busy, busy, "exit status 0", "exit status 0"]
    assert (tmp_path / "asked").read_text() == "\n\n"
