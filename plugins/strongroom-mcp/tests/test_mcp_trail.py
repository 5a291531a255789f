"""Every call stands in the trail with what came of it, without its parameters; what cannot stand there is not run."""

from __future__ import annotations

import threading

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import pytest

from mcp import Client

from mcpsites import Site, action, shell, site, text_of, wait_until, web, web_action
from strongroom.contracts import AuditWrite

OK = "approval: none"
PERSON = "approval: person at the client"
PROGRAM = "approval: program"
POLICIES = [
    {"principal": "server", "effect": "allow", "actions": ["impersonate"], "names": ["assistant/*"]},
    {"principal": "assistant/other", "effect": "allow", "actions": ["read"], "names": ["**"]},
]


async def yes(_: Any, __: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"approve": True})


async def no(_: Any, __: types.ElicitRequestParams) -> types.ElicitResult:
    return types.ElicitResult(action="decline")


async def never(_: Any, __: types.ElicitRequestParams) -> types.ElicitResult:
    await anyio.sleep_forever()
    raise AssertionError("nobody answers")


def program(folder: Path, script: str, **more: Any) -> dict[str, Any]:
    """Return settings with a program that approves."""
    path = folder / "approve"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return {"approve": (str(path),), **more}


class Stuck:
    """Holds up each write to the sink of a site that has an event of a phase in it, until it is let go.

    Args:
        one: The site.
        phase: ``attempt`` or ``outcome``.
        patch: Makes calls wait for two seconds only.
    """

    def __init__(self, one: Site, phase: str, patch: pytest.MonkeyPatch) -> None:
        patch.setattr("strongroom_mcp.trail.SECONDS", 2.0)
        patch.setattr(one.sink, "write", self._hold)
        self._write = type(one.sink).write.__get__(one.sink)
        self._phase = phase
        self.ended = threading.Event()

    def _hold(self, request: AuditWrite) -> None:
        if any((event.event, event.phase) == ("action", self._phase) for event in request.events):
            assert self.ended.wait(30)
        self._write(request)


def results(one: Site) -> list[str]:
    """Return the result of each action that has an outcome."""
    return [result for phase, result, _ in one.actions() if phase == "outcome"]


def test_an_action_is_recorded_around_what_is_read_for_it(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("echo hello")) as one:
        one.call("show")
        told = [(event.event, event.phase, event.result) for event in one.sink.events if event.event != "opened"]
        assert told == [("action", "attempt", "ok"), ("get", "outcome", "ok"), ("action", "outcome", "ok")]
        assert {detail for *_, detail in one.actions()} == {f"mcp/show: {OK}"}


def test_it_is_recorded_as_whom_it_is_run_and_for_whom_the_server_was_started(tmp_path: Path) -> None:
    config = {"principal": "server", "policies": POLICIES}
    with site(tmp_path, config=config, show=shell("true"), other=shell("true", principal="assistant/other")) as one:
        for name in ("show", "other", "list_secrets", "unknown"):
            one.call(name)
        found = [event for event in one.sink.events if event.event == "action" and event.phase == "outcome"]
    assert [(event.principal, event.on_behalf_of, event.detail, event.result) for event in found] == [
        ("assistant/show", "server", f"mcp/show: {OK}", "denied"),
        ("assistant/other", "server", f"mcp/other: {OK}", "ok"),
        ("assistant", "server", "mcp/list_secrets", "ok"),
        ("assistant", "server", "mcp-unknown", "unknown_action"),
    ]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_who_has_approved_stands_there(tmp_path: Path, mode: str) -> None:
    settings = program(tmp_path, "exit 0")
    actions = {"asked": shell("true", approval="ask"), "decided": shell("true", approval="command")}
    with site(tmp_path, settings=settings, **actions) as one:
        one.call("asked", mode=mode, person=yes)
        one.call("decided", mode=mode)
        outcomes = [(result, detail) for phase, result, detail in one.actions() if phase == "outcome"]
    asked = [("asked", f"mcp/asked: {PERSON}")] if mode == "auto" else []
    assert outcomes == [*asked, ("ok", f"mcp/asked: {PERSON}"), ("ok", f"mcp/decided: {PROGRAM}")]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(("person", "result"), [(no, "not_approved"), (None, "cannot_ask")])
def test_what_a_person_does_not_approve_is_an_outcome_without_an_attempt(
    tmp_path: Path, mode: str, person: Any, result: str
) -> None:
    with site(tmp_path, show=shell("true", approval="ask")) as one:
        one.call("show", mode=mode, person=person)
        told = [entry for entry in one.actions() if entry[1] != "asked"]
    assert told == [("outcome", result, f"mcp/show: {PERSON}")]


def test_a_person_who_does_not_answer_in_time_is_told_apart(tmp_path: Path) -> None:
    with site(tmp_path, settings={"approval_timeout": 0.1}, show=shell("true", approval="ask")) as one:
        one.call("show", mode="legacy", person=never)
        assert one.actions() == [("outcome", "approval_timeout", f"mcp/show: {PERSON}")]


@pytest.mark.parametrize(
    ("script", "seconds", "result"),
    [("exit 1", 20.0, "not_approved"), ("sleep 600", 0.2, "approval_timeout"), (None, 20.0, "cannot_ask")],
)
def test_a_program_that_does_not_approve_is_an_outcome_without_an_attempt(
    tmp_path: Path, script: str | None, seconds: float, result: str
) -> None:
    settings = program(tmp_path, script) if script is not None else {"approve": ("/no/such/program",)}
    settings["approval_timeout"] = seconds
    with site(tmp_path, settings=settings, show=shell("true", approval="command")) as one:
        one.call("show")
        assert one.actions() == [("outcome", result, f"mcp/show: {PROGRAM}")]


def test_what_the_model_chooses_does_not_stand_there(tmp_path: Path) -> None:
    word = "chosen-by-the-model"
    with site(tmp_path, show=shell("true", "word", approval="ask"), plain=shell("true", "word")) as one:
        one.call("show", {"word": word}, person=yes)
        one.call("show", {"word": word}, person=no)
        one.call("plain", {"word": word})
        one.call("plain", {"word": word, word: word})
        one.call(word)
        assert word not in "".join(map(repr, one.sink.events))
        assert results(one) == ["asked", "ok", "asked", "not_approved", "ok", "invalid_parameters", "unknown_action"]


ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "a status": ("failed", {"command": ("/bin/false",)}),
    "no program": ("not_started", {"command": ("/no/such/program",)}),
    "time": ("took_too_long", {"command": ("/bin/sleep", "600"), "timeout": 0.2}),
    "no form": ("unusable_answer", {"command": ("/bin/true",), "output": {"a": "string"}}),
    "no text": ("unusable_secret", {"command": ("/bin/true",), "environment": {"A": "strongroom://db/raw"}}),
    "no secret": ("not_found", {"command": ("/bin/true",), "environment": {"A": "strongroom://db/gone"}}),
    "no server": ("no_answer", {"url": "http://127.0.0.1:9/", "http_on_loopback": True}),
}


@pytest.mark.parametrize("what", ENDS)
def test_how_it_has_ended_is_told_apart(tmp_path: Path, what: str) -> None:
    result, settings = ENDS[what]
    with site(tmp_path, show=action(**settings)) as one:
        one.call("show")
        assert [entry[:2] for entry in one.actions()] == [("attempt", "ok"), ("outcome", result)]


@pytest.mark.parametrize(("status", "result"), [(200, "ok"), (500, "failed"), (302, "unusable_answer")])
def test_how_a_request_has_ended_is_told_apart(tmp_path: Path, status: int, result: str) -> None:
    with web() as seen, site(tmp_path, show=web_action(seen, "/")) as one:
        seen.status = status
        one.call("show")
        assert results(one) == [result]


def test_what_cannot_be_recorded_is_not_run(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    with site(tmp_path, show=shell(f"touch {ran}")) as one:
        one.sink.failing = True
        assert one.text("show") == "the action was stopped: it cannot be recorded"
        one.sink.failing = False
        assert not ran.exists()
        assert one.reads() == []


def test_an_end_that_cannot_be_recorded_is_told(tmp_path: Path) -> None:
    ran, go_on = tmp_path / "ran", tmp_path / "go on"

    async def script(client: Client) -> str:
        async def spoil() -> None:
            while not ran.exists():
                await anyio.sleep(0.01)
            one.sink.failing = True
            go_on.touch()

        async with anyio.create_task_group() as group:
            group.start_soon(spoil)
            return text_of(await client.call_tool("show", {}))

    waiting = shell(f'touch "{ran}"; until [ -e "{go_on}" ]; do sleep 0.01; done')
    with site(tmp_path, show=waiting) as one:
        assert one.session(script) == "the action was done, but its end could not be recorded"
        one.sink.failing = False


def test_a_call_does_not_wait_for_ever_for_its_attempt_to_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path / "ran"
    with site(tmp_path, show=shell(f"touch {ran}")) as one:
        stuck = Stuck(one, "attempt", monkeypatch)
        assert one.text("show") == "the action was stopped: it cannot be recorded"
        stuck.ended.set()
        wait_until(lambda: results(one) == ["interrupted"])
        assert one.text("show") == "exit status 0"
    assert ran.exists()
    assert results(one) == ["interrupted", "ok"]


@pytest.mark.parametrize(
    ("script", "timeout", "answer", "result"),
    [
        ("true", 30.0, "the action was done, but its end could not be recorded", "ok"),
        (
            "sleep 600",
            1.0,
            "the action took too long, and was ended; what it had done by then is done",
            "took_too_long",
        ),
    ],
)
def test_a_call_does_not_wait_for_ever_for_its_end_to_be_recorded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str,
    timeout: float,
    answer: str,
    result: str,
) -> None:
    with site(tmp_path, show=shell(script, timeout=timeout)) as one:
        stuck = Stuck(one, "outcome", monkeypatch)
        assert one.text("show") == answer
        assert "the audit trail has not answered in time" in caplog.text
        stuck.ended.set()
        wait_until(lambda: results(one) == [result])


def test_a_refusal_does_not_wait_for_ever_to_be_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with site(tmp_path, show=shell("true", "word")) as one:
        stuck = Stuck(one, "outcome", monkeypatch)
        assert one.text("show") == "word is missing"
        assert "that it was refused could not be recorded: the audit trail has not answered in time" in caplog.text
        stuck.ended.set()
        wait_until(lambda: results(one) == ["invalid_parameters"])


def test_a_session_goes_on_where_there_can_be_no_thread_to_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_can_be_started(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    async def script(client: Client) -> list[str]:
        with monkeypatch.context() as patch:
            patch.setattr(ThreadPoolExecutor, "submit", none_can_be_started)
            one.switch.stop()
            with anyio.fail_after(30):
                while "mcp-stopped: it could not be recorded" not in caplog.text:
                    await anyio.sleep(0.01)
            told = [text_of(await client.call_tool("show", {}))]
        one.switch.resume()
        return [*told, text_of(await client.call_tool("show", {}))]

    with site(tmp_path, show=shell("true")) as one:
        assert one.session(script) == ["everything is stopped by the operator: do not try again", "exit status 0"]
    assert "mcp/show: that it was refused could not be recorded: can't start new thread" in caplog.text


def test_a_fault_before_an_action_runs_is_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No file can be made by which the program would be told what to approve.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with site(tmp_path, settings=program(tmp_path, "exit 0"), show=shell("true", approval="command")) as one:
        assert one.text("show") == "the action failed inside the server"
        assert one.actions() == [("outcome", "failed", f"mcp/show: {PROGRAM}")]


def test_what_is_refused_is_refused_also_if_that_cannot_be_recorded(tmp_path: Path) -> None:
    with site(tmp_path, show=shell("true", "word")) as one:
        one.sink.failing = True
        assert one.text("show") == "word is missing"
        one.sink.failing = False


FLOODS: dict[str, tuple[str, dict[str, Any]]] = {
    "a tool that is not declared": ("unknown", {}),
    "parameters that are not declared": ("show", {"other": "x"}),
    "parameters of a listing": ("list_secrets", {"other": "x"}),
}


@pytest.mark.parametrize("what", FLOODS)
def test_calls_without_end_do_not_fill_the_trail(tmp_path: Path, what: str) -> None:
    async def script(client: Client) -> None:
        for _ in range(100):
            await client.call_tool(*FLOODS[what])

    with site(tmp_path, show=shell("true")) as one:
        one.session(script)
        found = results(one)
        assert found[-1] == "too_many_calls"
        assert len(found) == 31
        one.clock.advance(60)
        one.session(script)
        assert len(results(one)) == 62


def test_approvals_that_are_made_up_count_as_calls(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        for number in range(100):
            answers = {"approval": types.ElicitResult(action="accept", content={"approve": True})}
            await client.session.call_tool("show", {}, input_responses=answers, request_state=f"made up {number}")

    with site(tmp_path, show=shell("true", approval="ask")) as one:
        one.session(script)
        assert results(one) == ["not_approved"] * 30 + ["too_many_calls"]


def test_answers_that_cannot_be_used_count_as_calls(tmp_path: Path) -> None:
    async def script(client: Client) -> None:
        asked = await client.session.call_tool("show", {}, allow_input_required=True)
        assert isinstance(asked, types.InputRequiredResult)
        for _ in range(100):
            await client.session.call_tool("show", {"other": "x"}, request_state=asked.request_state)

    with site(tmp_path, show=shell("true", approval="ask")) as one:
        one.session(script, person=yes)
        # The question counts as a call, and the first answer to it does not.
        assert results(one) == ["asked", *["invalid_parameters"] * 30, "too_many_calls"]


def test_what_runs_already_is_told_apart(tmp_path: Path) -> None:
    go_on = tmp_path / "go on"

    async def script(client: Client) -> None:
        async def call() -> None:
            await client.call_tool("show", {})
            go_on.touch()

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            group.start_soon(call)

    with site(tmp_path, show=shell(f'until [ -e "{go_on}" ]; do sleep 0.01; done', concurrency=1)) as one:
        one.session(script)
        assert results(one) == ["too_many_running", "ok"]


def test_the_kill_switch_stands_there_with_what_it_has_ended_and_refused(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    async def script(client: Client) -> None:
        async def call() -> None:
            await client.call_tool("show", {})

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not ran.exists():
                await anyio.sleep(0.01)
            one.switch.stop()
        await call()
        one.switch.resume()
        with anyio.fail_after(30):
            while ("outcome", "ok", "mcp-resumed") not in one.actions():
                await anyio.sleep(0.01)

    with site(tmp_path, show=shell(f'touch "{ran}"; sleep 600')) as one:
        one.session(script)
        found = one.actions()
    assert sorted(entry for entry in found if entry[0] == "outcome") == [
        ("outcome", "ok", "mcp-resumed"),
        ("outcome", "ok", "mcp-stopped"),
        ("outcome", "stopped", f"mcp/show: {OK}"),
        ("outcome", "stopped", f"mcp/show: {OK}"),
    ]


def test_a_call_that_the_client_calls_off_has_an_outcome(tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    async def script(client: Client) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "show", {})
            while not ran.exists():
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    with site(tmp_path, show=shell(f'touch "{ran}"; sleep 600', timeout=900)) as one:
        one.session(script)
        wait_until(lambda: results(one) == ["interrupted"])


def test_a_call_that_is_called_off_while_it_waits_for_approval_has_an_outcome(tmp_path: Path) -> None:
    asked = threading.Event()

    async def person(_: Any, __: types.ElicitRequestParams) -> types.ElicitResult:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError("nobody answers")

    async def script(client: Client) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "show", {})
            while not asked.is_set():
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()

    with site(tmp_path, show=shell("true", approval="ask")) as one:
        one.session(script, mode="legacy", person=person)
        wait_until(lambda: results(one) == ["interrupted"])
