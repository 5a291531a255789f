"""The dashboard of the real agent over a real store: it shows what was done, and no value of it."""

import base64
import http.client
import json
import os
import re
import signal
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom

from browser import launched
from commandline import Cli, clean_environment
from dashboards import wait_until
from openbao import free_port
from strongroom.testing import leaks_in, marker_value

AGENT = """
[agent]
listen = ["127.0.0.1:{port}"]
dashboard = true
callers.operator = {{ principal = "operator", token = {{ file = "operator.token" }}, dashboard = true }}
callers.web = {{ principal = "web", token = {{ file = "web.token" }} }}
"""


EVENTS = 10_000
"""How many reads there have been before the agent starts."""


class Running:
    """An agent's process with what leads to it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.host = f"127.0.0.1:{port}"
        self.address = f"http://{self.host}"

    def token(self, caller: str) -> str:
        return (self.folder / f"{caller}.token").read_text().strip()

    def ask(self, caller: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.host, timeout=20)
        headers = {"Authorization": f"Bearer {self.token(caller)}", "X-Strongroom-Request": "true"}
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, headers | {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, json.loads(content)


@pytest.fixture
def value() -> str:
    return marker_value()


@pytest.fixture
def agent(tmp_path: Path, value: str) -> Iterator[Running]:
    folder, home, port = tmp_path / "store", tmp_path / "home", free_port()
    folder.mkdir()
    home.mkdir()
    cli = Cli(folder, home)
    assert cli("init").status == 0
    (folder / "strongroom.local.toml").write_text(AGENT.format(port=port))
    for caller in ("operator", "web"):
        made = cli("agent", "token", caller)
        assert made.status == 0, made.stderr
    assert cli("set", "db/password", stdin=value).status == 0
    with strongroom.open(str(folder / "strongroom.toml")) as manager:
        for _ in range(EVENTS):
            manager.get("db/password")
    running = Running(folder, port)
    process = subprocess.Popen(
        [sys.executable, "-m", "strongroom", "agent"],
        cwd=folder,
        env=clean_environment(home),
        stderr=subprocess.PIPE,
    )
    try:
        wait_until(lambda: process.poll() is not None or _answers(running))
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        yield running
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=30)


def _answers(running: Running) -> bool:
    connection = http.client.HTTPConnection(running.host, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def test_what_was_read_is_shown_and_its_value_is_not(agent: Running, value: str) -> None:
    from playwright.sync_api import expect

    for _ in range(5):
        status, answer = agent.ask("web", "POST", "/v1/get", {"name": "db/password"})
        assert status == 200
    assert value in (answer.get("value") or base64.b64decode(answer.get("value_base64", "")).decode())
    with launched(agent.address) as browser:
        page = browser.page()
        page.goto(f"{agent.address}/")
        page.get_by_label("Token").fill(agent.token("operator"))
        page.get_by_role("button", name="Log in").click()
        expect(page.locator("#verifications")).to_contain_text("sealed", timeout=40_000)
        page.get_by_label("Principal", exact=True).fill("web")
        expect(page.locator("#found")).not_to_have_text("Nothing has been searched for yet.")

        def has_found() -> bool:
            page.get_by_role("button", name="Search").click()
            page.wait_for_timeout(200)
            return "5 of 5 events" in page.locator("#found").inner_text()

        wait_until(has_found)
        events = page.get_by_role("table", name="Audit events that were found, newest first").inner_text()
        assert "db/password" in events
        assert "cache" in events
        assert "local" in page.locator("#parts").inner_text()
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#found")).to_contain_text(re.compile(r"1 to 50 of 10,0\d\d events"))
        shown = page.content()
        assert browser.complaints == []
        assert browser.strayed == []
    overview = agent.ask("operator", "GET", "/dashboard/overview?span=24h")[1]
    found = agent.ask("operator", "POST", "/dashboard/search", {"size": 200})[1]
    assert overview["figures"]["total"]["reads"] >= EVENTS + 5
    written = agent.ask("operator", "POST", "/dashboard/search", {"event": "set", "size": 200})[1]
    assert [row["result"] for row in written["rows"]] == ["ok", "attempt"]
    for text in (shown, json.dumps(overview), json.dumps(found), json.dumps(written)):
        assert leaks_in(text, value) == []
        assert agent.token("operator") not in text
        assert agent.token("web") not in text


def test_only_the_caller_who_may_see_it_does(agent: Running) -> None:
    assert agent.ask("operator", "GET", "/dashboard/overview")[0] == 200
    status, told = agent.ask("web", "GET", "/dashboard/overview")
    assert (status, told["error"]) == (403, "denied")


def test_looking_is_recorded_but_seldom(agent: Running) -> None:
    """That rotations are looked at is an event of the trail; the other figures are not."""
    for _ in range(20):
        agent.ask("operator", "GET", "/dashboard/overview")

    def schedules() -> int:
        status, found = agent.ask("operator", "POST", "/dashboard/search", {"event": "schedules"})
        assert status == 200
        return int(found["total"])

    wait_until(lambda: schedules() >= 1)
    assert schedules() <= 2


def test_a_trail_that_was_changed_is_shown_as_broken(agent: Running) -> None:
    path = next(agent.folder.glob("**/*.jsonl"))
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"db/password"', b'"db/passwort"', 1))

    def states() -> list[str]:
        trail = agent.ask("operator", "GET", "/dashboard/overview")[1]["trail"]
        return [one["state"] for one in trail["verifications"]]

    wait_until(lambda: states() == ["broken"])
