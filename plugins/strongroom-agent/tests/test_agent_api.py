"""The API for programs in any language, over real sockets."""

from __future__ import annotations

import base64
import json
import os

from pathlib import Path

import pytest

from agents import OTHER_TOKEN, Line, RunningAgent, running, settings
from strongroom.errors import (
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    SecretDeletedError,
    StrongroomError,
    TamperedError,
)
from strongroom.testing import FaultyBackend, MemorySink
from strongroom_agent.settings import CallerSettings


def test_a_text_comes_with_where_it_is_from(agent: RunningAgent) -> None:
    reply = agent.get("db/password")
    assert reply.status == 200
    assert reply.json() == {
        "name": "db/password",
        "value": "s3cret",
        "version": "1",
        "freshness": "fresh",
        "source": "held",
        "age": 0.0,
    }


def test_an_answer_may_be_kept_by_nobody(agent: RunningAgent) -> None:
    headers = agent.get("db/password").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


def test_bytes_come_in_base64(agent: RunningAgent) -> None:
    content = agent.get("key/raw").json()
    assert "value" not in content
    assert base64.b64decode(content["value_base64"]) == b"\x00\xff"


def test_an_empty_value_is_a_value(agent: RunningAgent) -> None:
    assert agent.get("empty").json()["value"] == ""


def test_the_second_read_is_answered_from_memory(agent: RunningAgent, backend: FaultyBackend) -> None:
    agent.get("db/password")
    assert agent.get("db/password").json()["freshness"] == "cached"
    assert backend.calls.count("read") == 1


def test_refresh_asks_the_backend_again(agent: RunningAgent, backend: FaultyBackend) -> None:
    agent.get("db/password")
    reply = agent.ask("/v1/get", {"name": "db/password", "refresh": True})
    assert reply.json()["freshness"] == "fresh"
    assert backend.calls.count("read") == 2


def test_one_member_of_an_object_can_be_asked_for(agent: RunningAgent) -> None:
    assert agent.ask("/v1/get", {"name": "db/user", "field": "name"}).json()["value"] == "app"
    assert agent.ask("/v1/get", {"name": "db/user", "field": "port", "refresh": True}).json()["value"] == "5432"


def test_a_member_that_is_not_there_is_told_apart(agent: RunningAgent) -> None:
    reply = agent.ask("/v1/get", {"name": "db/user", "field": "gone"})
    assert (reply.status, reply.error) == (404, "field_not_found")
    reply = agent.ask("/v1/get", {"name": "db/password", "field": "gone"})
    assert (reply.status, reply.error) == (422, "not_json")


def test_an_older_version_can_be_asked_for(agent: RunningAgent) -> None:
    agent.state.manager.set("db/password", "another")
    assert agent.ask("/v1/get", {"name": "db/password", "version": "1"}).json()["value"] == "s3cret"
    reply = agent.ask("/v1/get", {"name": "db/password", "version": "9"})
    assert (reply.status, reply.error) == (404, "version_not_found")


def test_what_is_missing_and_what_is_denied_are_told_apart(agent: RunningAgent) -> None:
    missing, denied = agent.get("gone"), agent.get("key/denied")
    assert (missing.status, missing.error) == (404, "not_found")
    assert (denied.status, denied.error) == (403, "denied")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (BackendUnavailableError("the server at 10.1.2.3 is away", code="timeout"), 503, "timeout"),
        (AuthenticationError("the token of 10.1.2.3 has run out"), 502, "authentication_failed"),
        (BackendError("10.1.2.3 said nonsense", code="tls_failed"), 502, "tls_failed"),
        (SecretDeletedError("it was there", code="destroyed"), 404, "destroyed"),
        (TamperedError("the file at 10.1.2.3 was changed"), 500, "tampered"),
    ],
)
def test_each_trouble_has_its_status_and_its_code(
    agent: RunningAgent, backend: FaultyBackend, error: StrongroomError, status: int, code: str
) -> None:
    backend.error = error
    reply = agent.get("db/password")
    assert (reply.status, reply.error) == (status, code)
    assert ("retry-after" in reply.headers) == (status == 503)
    assert b"10.1.2.3" not in reply.raw


def test_what_cannot_be_recorded_is_not_returned(agent: RunningAgent, sink: MemorySink) -> None:
    sink.failing = True
    reply = agent.get("db/password")
    assert (reply.status, reply.error) == (503, "audit_failed")
    assert b"s3cret" not in reply.raw
    sink.failing = False


def test_a_plugin_that_breaks_is_an_error_without_a_trace(agent: RunningAgent, backend: FaultyBackend) -> None:
    backend.error = RuntimeError("s3cret in a message")
    reply = agent.get("db/password")
    assert reply.status in {500, 502}
    assert b"s3cret" not in reply.raw
    assert b"Traceback" not in reply.raw


def test_several_come_at_once_with_an_error_for_each_that_has_none(agent: RunningAgent) -> None:
    reply = agent.ask("/v1/get-many", {"names": ["db/password", "gone", "key/denied", "key/raw"]})
    assert reply.status == 200
    content = reply.json()
    assert content["secrets"]["db/password"]["value"] == "s3cret"
    assert content["secrets"]["key/raw"]["value_base64"] == "AP8="
    assert {name: error["error"] for name, error in content["errors"].items()} == {
        "gone": "not_found",
        "key/denied": "denied",
    }


def test_names_come_in_pages(agent: RunningAgent) -> None:
    first = agent.ask("/v1/list", {"limit": 2}).json()
    assert first == {"names": ["db/password", "db/user"], "more": True}
    rest = agent.ask("/v1/list", {"after": "db/user"}).json()
    assert rest == {"names": ["empty", "key/raw"], "more": False}
    assert agent.ask("/v1/list", {"prefix": "db/"}).json()["names"] == ["db/password", "db/user"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"db/password"',
        b"{",
        b"\xff\xfe",
        b'{"name": 3}',
        b'{"name": "db/password", "other": 1}',
        b'{"field": "x"}',
        b'{"name": "db/password", "refresh": 1}',
        b'{"name": "db/password", "refresh": true, "version": "1"}',
        b'{"name": ' + b"[" * 30_000,
        b'{"name": ' + b"9" * 20_000 + b"}",
    ],
)
def test_a_body_that_asks_for_nothing_is_refused(agent: RunningAgent, body: bytes) -> None:
    reply = agent.ask("/v1/get", body)
    assert (reply.status, reply.error) == (400, "bad_request")


@pytest.mark.parametrize("names", [[], ["x"] * 257, [1], ["db/password", None]])
def test_a_list_of_names_is_bounded(agent: RunningAgent, names: list[object]) -> None:
    assert agent.ask("/v1/get-many", {"names": names}).status == 400


@pytest.mark.parametrize("limit", [0, -1, 10_001])
def test_a_page_is_bounded(agent: RunningAgent, limit: int) -> None:
    assert agent.ask("/v1/list", {"limit": limit}).status == 400


@pytest.mark.parametrize("name", ["", "../x", "a//b", "x\u202ey", "\ud800", "a" * 600])
def test_a_name_that_is_none_is_refused(agent: RunningAgent, name: str) -> None:
    reply = agent.get(name)
    assert (reply.status, reply.error) == (400, "invalid_name")


def test_the_policy_is_applied_to_the_caller(agent: RunningAgent) -> None:
    assert agent.get("db/password", token=OTHER_TOKEN).status == 403
    assert agent.get("db/user", token=OTHER_TOKEN).status == 200
    # What another caller has made the cache hold is no way around it.
    assert agent.get("db/password").status == 200
    assert agent.get("db/password", token=OTHER_TOKEN).status == 403
    assert agent.ask("/v1/list", {}, token=OTHER_TOKEN).json()["names"] == []


def test_the_trail_says_who_asked_and_that_the_agent_did_it_for_him(agent: RunningAgent, sink: MemorySink) -> None:
    agent.get("db/password")
    agent.get("db/password")
    agent.get("key/denied")
    agent.state.manager.flush()
    reads = [event for event in sink.events if event.event == "get"]
    assert [(event.principal, event.on_behalf_of, event.result) for event in reads] == [
        ("web", "agent", "ok"),
        ("web", "agent", "ok"),
        ("web", "agent", "denied"),
    ]


def test_a_trace_goes_on_in_the_trail(agent: RunningAgent, sink: MemorySink) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    agent.get("db/password", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    agent.get("db/user", traceparent="nonsense")
    assert {event.key: event.trace_id for event in sink.events if event.event == "get"} == {
        "db/password": trace,
        "db/user": None,
    }


def test_one_connection_carries_many_requests(agent: RunningAgent) -> None:
    body = json.dumps({"name": "db/password"}).encode()
    head = (
        f"POST /v1/get HTTP/1.1\r\nHost: localhost\r\nX-Strongroom-Token: {OTHER_TOKEN.replace('job', 'web')}\r\n"
        f"X-Strongroom-Request: true\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with Line(agent.path) as line:
        for _ in range(50):
            line.send(head + body)
            assert line.reply().json()["value"] == "s3cret"
        line.send((head + body) * 10)
        assert [line.reply().status for _ in range(10)] == [200] * 10


def test_the_user_at_the_other_end_of_a_socket_is_known(tmp_path: Path, backend: FaultyBackend) -> None:
    me = settings(tmp_path, callers={"me": CallerSettings(principal="me", uid=os.getuid())})
    with running(me, backend) as agent:
        assert agent.get("db/password", unix=True, token="").status == 200
        # On loopback nobody knows who it is, and a wrong token is wrong whoever presents it.
        assert agent.get("db/password", token="").status == 401
        assert agent.get("db/password", unix=True, token="x" * 43).status == 401


def test_another_user_of_the_machine_is_not_known(tmp_path: Path, backend: FaultyBackend) -> None:
    other = settings(tmp_path, callers={"other": CallerSettings(principal="other", uid=os.getuid() + 1)})
    with running(other, backend) as agent:
        assert agent.get("db/password", unix=True, token="").status == 401


def test_a_user_is_known_by_name(tmp_path: Path, backend: FaultyBackend) -> None:
    import pwd

    name = pwd.getpwuid(os.getuid()).pw_name
    me = settings(tmp_path, callers={"me": CallerSettings(principal="me", user=name)})
    with running(me, backend) as agent:
        assert agent.get("db/password", unix=True, token="").status == 200


@pytest.mark.parametrize("token", ["", "x", "x" * 43, "token-of-web-0123456789abcdefghijklmnopqrstuw"])
def test_who_is_not_known_is_told_nothing(agent: RunningAgent, token: str) -> None:
    reply = agent.get("db/password", token=token)
    assert reply.status == 401
    assert reply.json() == {"error": "unauthorized", "message": "unauthorized", "hint": ""}


def test_two_tokens_or_another_scheme_are_nobodys(agent: RunningAgent) -> None:
    assert agent.get("db/password", X_Strongroom_Token=OTHER_TOKEN).status == 401
    assert agent.get("db/password", Authorization="Basic d2ViOng=").status == 401


def test_a_caller_that_asks_too_often_is_told_when_to_come_back(tmp_path: Path, backend: FaultyBackend) -> None:
    few = settings(tmp_path, requests_per_second=0.01, burst=3)
    with running(few, backend) as agent:
        assert [agent.get("db/password").status for _ in range(4)] == [200, 200, 200, 429]
        reply = agent.get("db/password")
        assert reply.error == "too_many_requests"
        assert 1 <= int(reply.headers["retry-after"]) <= 100
        # Another caller is not kept waiting, and each name of several counts.
        assert agent.get("db/user", token=OTHER_TOKEN).status == 200
        assert agent.ask("/v1/get-many", {"names": ["db/user"] * 3}, token=OTHER_TOKEN).status == 429


def test_strangers_are_slowed_down_and_keep_no_caller_waiting(agent: RunningAgent) -> None:
    statuses = {agent.get("db/password", token="x" * 43).status for _ in range(160)}
    assert statuses == {401, 429}
    assert agent.get("db/password").status == 200
