"""Settings at the top of the file: where states are kept, and whether memory is locked."""

from __future__ import annotations

import re

from typing import Any

import pytest

from strongroom.config.load import load
from strongroom.errors import ConfigurationError

BASE = {"audit": "none", "backends": {"m": {"type": "memory"}}}


def test_unless_they_are_given_nothing_is_kept_or_locked() -> None:
    configuration = load(BASE)
    assert (configuration.state, configuration.state_every, configuration.lock_memory) == (None, 60.0, False)


def test_each_can_be_given() -> None:
    configuration = load({"state": "m", "state_every": "5m", "lock_memory": True} | BASE)
    assert (configuration.state, configuration.state_every, configuration.lock_memory) == ("m", 300.0, True)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"state": "mm"}, r"state in <open\(\)> names the backend 'mm', which has no table: did you mean 'm'\?"),
        ({"state": 5}, r"state in <open\(\)> is not usable: expected a text"),
        ({"state": True}, r"state in <open\(\)> is not usable: expected a text"),
        ({"state_every": "soon"}, r"state_every in <open\(\)> is not usable: expected a duration"),
        ({"state_every": "0s"}, r"state_every in <open\(\)> is not usable: expected more than 0s"),
        ({"lock_memory": "perhaps"}, r"lock_memory in <open\(\)> is not usable: expected true or false"),
        ({"lock_memory": 1}, r"lock_memory in <open\(\)> is not usable: expected true or false"),
        ({"lock_memroy": True}, r"lock_memroy in <open\(\)> is not a setting: did you mean 'lock_memory'\?"),
    ],
)
def test_what_is_not_usable_names_its_place(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(config | BASE)


def test_a_variable_wins_over_the_file_and_errors_name_their_own_place(
    folders: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folders.write("project", 'audit = "none"\nstate = "m"\nlock_memory = false\n[backends.m]\ntype = "memory"\n')
    monkeypatch.setenv("STRONGROOM_LOCK_MEMORY", "true")
    monkeypatch.setenv("STRONGROOM_STATE_EVERY", "90s")
    configuration = load()
    assert (configuration.state, configuration.state_every, configuration.lock_memory) == ("m", 90.0, True)
    monkeypatch.setenv("STRONGROOM_LOCK_MEMORY", "perhaps")
    with pytest.raises(ConfigurationError, match="lock_memory in <environment> is not usable"):
        load()
    monkeypatch.delenv("STRONGROOM_LOCK_MEMORY")
    path.write_text(path.read_text().replace("lock_memory = false", 'lock_memory = "no?"'))
    with pytest.raises(ConfigurationError, match=re.escape(f"lock_memory in {path} is not usable")):
        load()


def test_who_has_locked_them_keeps_them(folders: Any) -> None:
    folders.write("system", 'locked = ["lock_memory"]\nlock_memory = true\n')
    path = folders.write("project", 'audit = "none"\nlock_memory = false\n[backends.m]\ntype = "memory"\n')
    with pytest.raises(ConfigurationError, match=r"tries to set lock_memory, which .* has locked"):
        load()
    path.write_text(path.read_text().replace("lock_memory = false\n", ""))
    assert load().lock_memory is True
