"""Which variables open strongroom's own stores; the tests of `run` go into the details."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.config.load import load
from strongroom.credentials import own_credentials
from strongroom.errors import PluginError


def configuration(**tables: Any) -> Any:
    return load({"audit": "none", "backend": "m", "backends": {"m": {"type": "memory"}}} | tables)


def test_what_alerts_refer_to_is_among_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", "https://example.com/token")
    monkeypatch.setenv("strongroom_alerts__secret", "meant as a setting")
    webhook = {"type": "webhook", "url": {"env": "HOOK_URL"}, "secret": {"env": "HOOK_SECRET"}}
    found = own_credentials(configuration(alerts=[webhook]))
    assert {"HOOK_URL", "HOOK_SECRET", "STRONGROOM_MASTER_KEY", "strongroom_alerts__secret"} <= found


def test_so_is_what_announcements_refer_to_and_what_rotators_get_from_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STRONGROOM_ROTATION__DB__PASSWORD", "a rotator's own")
    webhook = {"type": "webhook", "url": "https://example.com/", "secret": {"env": "HOOK_SECRET"}}
    found = own_credentials(configuration(announcements=[webhook]))
    assert {"HOOK_SECRET", "STRONGROOM_ROTATION__DB__PASSWORD"} <= found


def test_a_backend_whose_plugin_is_missing_is_an_error_unless_it_may_be_passed_over() -> None:
    broken = configuration(backends={"m": {"type": "memory"}, "other": {"type": "not-installed", "key": {"env": "K"}}})
    with pytest.raises(PluginError, match="so it is not known which variables open it"):
        own_credentials(broken)
    assert {"K", "STRONGROOM_MASTER_KEY"} <= own_credentials(broken, tolerant=True)
