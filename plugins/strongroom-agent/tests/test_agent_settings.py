"""Settings that would open the agent to others are refused, with the reason."""

from __future__ import annotations

import pytest

from strongroom.errors import ConfigurationError
from strongroom_agent.addresses import default, parse
from strongroom_agent.settings import AgentSettings, CallerSettings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("127.0.0.1:8743", "127.0.0.1:8743"),
        ("localhost:1", "127.0.0.1:1"),
        ("127.3.2.1:0", "127.3.2.1:0"),
        ("[::1]:8743", "[::1]:8743"),
        ("unix:/run/x.sock", "unix:/run/x.sock"),
        ("unix:/run//y/../x.sock", "unix:/run/x.sock"),
    ],
)
def test_loopback_and_sockets_can_be_listened_at(text: str, shown: str) -> None:
    assert str(parse(text)) == shown


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0:8743",
        "[::]:8743",
        "10.0.0.1:80",
        "192.168.1.1:80",
        "example.com:80",
        ":80",
        "[fe80::1%lo]:80",
        "[::ffff:10.0.0.1]:80",
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "0x7f000001:80",
        "unix:relative.sock",
        "unix:",
        "unix:/" + "x" * 103,
        "unix:/" + "x" * 92 + "/s",
    ],
)
def test_what_other_machines_could_reach_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(text)
    assert AgentSettings(listen=(text,)).problems() != []


def test_the_runtime_folder_is_used_unless_something_else_is_said(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert default().path == f"{tmp_path}/strongroom/agent.sock"
    assert (tmp_path / "strongroom").stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/strongroom:/run/other")
    assert default().path == "/run/strongroom/agent.sock"
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    with pytest.raises(ConfigurationError, match="no runtime folder"):
        default()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "exactly one"),
        ({"uid": 1, "user": "x"}, "exactly one"),
        ({"uid": -1}, "not the number"),
        ({"uid": 65534}, "not the number"),
        ({"uid": 2**32 - 1}, "not the number"),
        ({"uid": 1, "principal": ""}, "principal is empty"),
    ],
)
def test_a_caller_is_known_by_one_thing(fields: dict[str, object], reason: str) -> None:
    problems = CallerSettings(**{"principal": "x", **fields}).problems()
    assert [problem for problem in problems if reason in problem]


@pytest.mark.parametrize("name", ["requests_per_second", "burst", "max_connections", "header_timeout", "health_every"])
def test_nothing_is_unlimited(name: str) -> None:
    assert AgentSettings(**{name: 0}).problems() == [f"{name} must be more than 0"]


def test_the_settings_are_fine_as_they_are() -> None:
    assert AgentSettings().problems() == []
