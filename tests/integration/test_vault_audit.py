"""The manager's own trail and the server's audit file tell one story."""

from __future__ import annotations

import json

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from openbao import Server, development_server
from strongroom.errors import SecretNotFoundError, VersionConflictError
from vaults import open_manager

MARKER = "zq9-marker-51c0d7e2f4a8-Kw3xP8nV6bT1"

AUDIT_DEVICE = """
audit "file" "to-file" {
  options { file_path = "audit.log" }
}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's folder, with its audit file ``audit.log``."""
    folder = tmp_path_factory.mktemp("audited")
    (folder / "audit.hcl").write_text(AUDIT_DEVICE)
    return folder


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    with development_server(home, "-config=audit.hcl") as server:
        yield server


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def requests(home: Path) -> dict[str, dict[str, Any]]:
    """Return the requests that the server has recorded, by their ids."""
    found = [line["request"] for line in lines(home / "audit.log")]
    return {request["id"]: request for request in found if "id" in request}


def worked(server: Server, trail: Path, prefix: str) -> list[dict[str, Any]]:
    """Use a manager as programs do; return the events that it recorded of secrets."""
    audit = [{"type": "jsonl", "path": str(trail)}]
    with open_manager(server.address, server.token, audit=audit, cache={"policy": "ttl"}) as manager:
        for number in range(20):
            name = f"{prefix}/app {number}/pässword"
            written = manager.set(name, f"{MARKER} {number}")
            assert manager.get(name).reveal_text() == f"{MARKER} {number}"
            assert manager.get(name).version == written.version
        manager.set(f"{prefix}/app 0/pässword", f"{MARKER} again", expect_version="1")
        manager.delete(f"{prefix}/app 1/pässword")
        with pytest.raises(VersionConflictError):
            manager.set(f"{prefix}/app 2/pässword", MARKER, expect_version="7")
        with pytest.raises(SecretNotFoundError):
            manager.get(f"{prefix}/nothing")
    return [event for event in lines(trail) if (event.get("key") or "").startswith(prefix)]


def test_each_request_in_our_trail_is_found_in_the_servers(server: Server, home: Path, tmp_path: Path) -> None:
    events = worked(server, tmp_path / "audit.jsonl", "joined")
    theirs = requests(home)
    asked = [
        event
        for event in events
        if event["phase"] == "outcome" and event.get("result", "ok") == "ok" and not event.get("cache_hit")
    ]
    kinds = [event["event"] for event in asked]
    assert (kinds.count("set"), kinds.count("get"), kinds.count("delete")) == (21, 20, 1)
    for event in asked:
        request = theirs[event["request_id"]]
        assert request["path"] in {f"secret/data/{event['key']}", f"secret/metadata/{event['key']}"}
    assert len({event["request_id"] for event in asked}) == len(asked)


def test_a_write_and_its_request_are_of_one_kind(server: Server, home: Path, tmp_path: Path) -> None:
    events = worked(server, tmp_path / "audit.jsonl", "kinds")
    theirs = requests(home)
    operations = {"set": {"create", "update"}, "get": {"read"}}
    for event in events:
        if event["event"] in operations and event.get("request_id"):
            assert theirs[event["request_id"]]["operation"] in operations[event["event"]]


def test_what_the_server_did_for_us_is_all_in_our_trail(server: Server, home: Path, tmp_path: Path) -> None:
    events = worked(server, tmp_path / "audit.jsonl", "complete")
    ours = {event.get("request_id") for event in events}
    changes = [
        line["request"]
        for line in lines(home / "audit.log")
        if line["type"] == "response"
        and line["request"]["path"].startswith("secret/data/complete/")
        and line["request"]["operation"] in {"create", "update"}
        and "error" not in line
    ]
    assert len(changes) == 21
    assert {change["id"] for change in changes} <= ours


def test_a_hit_names_no_request(server: Server, tmp_path: Path) -> None:
    hits = [event for event in worked(server, tmp_path / "audit.jsonl", "hits") if event.get("cache_hit")]
    assert len(hits) == 20
    assert {event.get("request_id") for event in hits} == {None}


def test_neither_trail_holds_a_value(server: Server, home: Path, tmp_path: Path) -> None:
    worked(server, tmp_path / "audit.jsonl", "values")
    for file in (home / "audit.log", home / "server.log", tmp_path / "audit.jsonl"):
        assert MARKER not in file.read_text()
