"""The tables ``[[announcements]]``."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.config.announcements import AnnouncementKeys
from strongroom.config.load import Configuration, load
from strongroom.config.targets import CommandSettings, WebhookSettings
from strongroom.errors import ConfigurationError

BASE = {"audit": "none", "backends": {"m": {"type": "memory"}}}
COMMAND = {"type": "command", "command": ["/bin/notify", "--now"]}
WEBHOOK = {"type": "webhook", "url": "https://example.com/hook", "secret": {"env": "HOOK"}}


def loaded(*tables: dict[str, Any]) -> Configuration:
    return load(BASE | {"announcements": list(tables)})


def test_without_tables_nobody_is_told() -> None:
    assert load(BASE).announcements == ()


def test_a_command_and_a_webhook_with_what_they_want(monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret is read before it is needed."""
    monkeypatch.delenv("HOOK", raising=False)
    wanted = {"timeout": "2s", "events": ["rotation_failed", "secret_updated"], "names": ["db/**", "api"]}
    command, webhook = loaded(COMMAND, WEBHOOK | wanted).announcements
    assert (command.label, webhook.label) == ("announcements[1] (command)", "announcements[2] (webhook)")
    assert command.settings == CommandSettings(type="command", command=["/bin/notify", "--now"])
    assert command.keys == AnnouncementKeys()
    assert isinstance(webhook.settings, WebhookSettings)
    assert (webhook.settings.url, webhook.settings.timeout) == ("https://example.com/hook", 2.0)
    assert webhook.keys == AnnouncementKeys(events=["rotation_failed", "secret_updated"], names=["db/**", "api"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"type": "mail"}, r'announcements\[1\]\.type in <open\(\)> is not usable: expected "command" or "webhook"'),
        ({"type": "command"}, r"announcements\[1\]\.command .* is missing"),
        (COMMAND | {"timeout": "1h"}, "at most 300s"),
        (COMMAND | {"event": ["expiring"]}, r"announcements\[1\]\.event .* is not a setting: did you mean 'events'\?"),
        (COMMAND | {"detectors": ["rate"]}, r"announcements\[1\]\.detectors .* is not a setting"),
        (COMMAND | {"events": ["rotation_fail"]}, r"names 'rotation_fail'.*did you mean 'rotation_failed'\?"),
        (COMMAND | {"events": "expiring"}, r"announcements\[1\]\.events .*expected a list"),
        (COMMAND | {"names": ["db*"]}, r"announcements\[1\]\.names .*wildcard"),
        (WEBHOOK | {"url": "http://example.com/s3cret"}, "url is not encrypted"),
    ],
)
def test_what_is_not_usable_is_refused_without_showing_it(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        loaded(table)
    assert "s3cret" not in str(caught.value)


def test_tables_of_further_files_are_added_also_where_they_are_locked(folders: Any) -> None:
    table = '[[announcements]]\ntype = "command"\ncommand = ["/bin/notify"]\n'
    folders.write("system", f'locked = ["announcements"]\n{table}')
    folders.write("project", f'audit = "none"\n[backends.m]\ntype = "memory"\n{table}')
    assert [one.settings for one in load().announcements] == [
        CommandSettings(type="command", command=["/bin/notify"])
    ] * 2
