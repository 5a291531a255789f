"""The tables ``[[alerts]]``."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.config.alerts import AlertKeys
from strongroom.config.load import Configuration, load
from strongroom.config.targets import CommandSettings, WebhookSettings
from strongroom.errors import ConfigurationError

BASE = {
    "audit": "none",
    "backends": {"m": {"type": "memory"}},
    "anomaly": [{"type": "rate"}, {"type": "first-use"}],
}
COMMAND = {"type": "command", "command": ["/bin/notify", "--now"]}
WEBHOOK = {"type": "webhook", "url": "https://example.com/hook", "secret": {"env": "HOOK"}}


def loaded(*tables: dict[str, Any]) -> Configuration:
    return load(BASE | {"alerts": list(tables)})


def test_without_tables_nobody_is_told() -> None:
    assert load(BASE).alerts == ()


def test_a_command_and_a_webhook_with_what_they_want() -> None:
    wanted = {"timeout": "2s", "detectors": ["rate"], "only_blocked": True}
    command, webhook = loaded(COMMAND, WEBHOOK | wanted).alerts
    assert (command.label, webhook.label) == ("alerts[1] (command)", "alerts[2] (webhook)")
    assert command.settings == CommandSettings(type="command", command=["/bin/notify", "--now"])
    assert isinstance(webhook.settings, WebhookSettings)
    settings = webhook.settings
    assert (settings.url, settings.secret.variable) == ("https://example.com/hook", "HOOK")
    assert (settings.timeout, webhook.keys) == (2.0, AlertKeys(detectors=["rate"], only_blocked=True))
    assert (command.settings.timeout, command.keys) == (5.0, AlertKeys())


def test_no_secret_is_read_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a command which alerts nobody works without it."""
    monkeypatch.delenv("HOOK", raising=False)
    assert len(loaded(WEBHOOK).alerts) == 1


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, r'alerts\[1\]\.type in <open\(\)> is not usable: expected "command" or "webhook"'),
        ({"type": "mail"}, r"alerts\[1\]\.type .* is not usable"),
        ({"type": ["command"]}, r"alerts\[1\]\.type .* is not usable"),
        ({"type": "command"}, r"alerts\[1\]\.command .* is missing"),
        (COMMAND | {"command": []}, "command names no program"),
        (COMMAND | {"command": [""]}, "command names no program"),
        (COMMAND | {"command": ["a", "b\0s3cret"]}, "command holds a NUL"),
        (COMMAND | {"command": "notify --now"}, r"alerts\[1\]\.command .*expected a list"),
        (COMMAND | {"url": "https://x/"}, r"alerts\[1\]\.url .* is not a setting"),
        (COMMAND | {"timeout": "0s"}, "timeout must be above 0"),
        (COMMAND | {"timeout": "1h"}, "at most 300s"),
        (COMMAND | {"detectors": ["rat"]}, r"names 'rat', which is no configured detector: did you mean 'rate'\?"),
        (COMMAND | {"only_blocked": "yes"}, "expected true or false"),
        ({"type": "webhook", "url": "https://x/"}, r"alerts\[1\]\.secret .* is missing"),
        (WEBHOOK | {"url": "ftp://x/"}, "url must begin with https://"),
        (WEBHOOK | {"url": "https:///s3cret"}, "url must begin with https:// and a host"),
        (WEBHOOK | {"url": "//x/"}, "url must begin with https://"),
        (WEBHOOK | {"url": "https://x:port/"}, "url is no address"),
        (WEBHOOK | {"url": "https://[x/"}, "url is no address"),
        (WEBHOOK | {"url": "https://x/s3cret here"}, "no blank"),
        (WEBHOOK | {"url": "https://x/\r\nHost: y"}, "ASCII characters only|url is no"),
        (WEBHOOK | {"url": "https://exämple.com/"}, "ASCII characters only"),
        (WEBHOOK | {"url": "https://me:s3cret@x/"}, "no user and no password"),
        (WEBHOOK | {"url": "http://example.com/"}, "url is not encrypted"),
        (WEBHOOK | {"url": "http://localhost.example.com/"}, "url is not encrypted"),
        (WEBHOOK | {"url": "http://127.0.0.1.example.com/"}, "url is not encrypted"),
        (WEBHOOK | {"url": "http://10.0.0.1/"}, "url is not encrypted"),
    ],
)
def test_what_is_not_usable_is_refused_without_showing_it(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        loaded(table)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3:8080", "[::1]:8080"])
def test_an_address_of_this_machine_need_not_be_encrypted(host: str) -> None:
    assert len(loaded(WEBHOOK | {"url": f"http://{host}/hook"}).alerts) == 1


def test_any_other_need_not_either_if_that_is_said() -> None:
    assert len(loaded(WEBHOOK | {"url": "http://intranet/hook", "allow_http": True}).alerts) == 1


def test_an_address_may_be_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", "https://example.com/token")
    [table] = loaded(WEBHOOK | {"url": {"env": "HOOK_URL"}}).alerts
    assert isinstance(table.settings, WebhookSettings)
    assert table.settings.url == "https://example.com/token"


def test_tables_of_further_files_are_added_also_where_they_are_locked(folders: Any) -> None:
    table = '[[alerts]]\ntype = "command"\ncommand = ["/bin/notify"]\n'
    folders.write("system", f'locked = ["alerts"]\n{table}')
    folders.write("project", f'audit = "none"\n[backends.m]\ntype = "memory"\n{table}')
    configuration = load()
    assert [alert.settings for alert in configuration.alerts] == [
        CommandSettings(type="command", command=["/bin/notify"])
    ] * 2
