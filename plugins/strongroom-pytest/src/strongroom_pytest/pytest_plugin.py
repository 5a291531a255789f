"""What pytest loads: the fixtures, the markers and the setting.

Nothing of strongroom is imported before a test asks for one of the fixtures.
"""

from __future__ import annotations

import os

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from strongroom_pytest.checking import ALLOW, CHECKER, Checker
from strongroom_pytest.leaks import LeakWatch
from strongroom_pytest.listening import CAPTURING, listen_to_readings

if TYPE_CHECKING:
    from strongroom import SecretManager
    from strongroom.model import AuditEvent, SecretValue

_SEEDS: Final = "strongroom_secrets"
_SETTING: Final = "strongroom_leaks"
_CONFIG_EVENTS: Final = "strongroom_config_events"
_EVENTS_FILE: Final = "events.jsonl"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting that switches the check off."""
    parser.addini(
        _SETTING, "fail tests whose output holds the value of a secret (default: true)", type="bool", default=True
    )


def pytest_configure(config: pytest.Config) -> None:
    """Add the markers, and the check unless it is switched off."""
    config.addinivalue_line("markers", f"{_SEEDS}(values): secrets of the throw-away manager, by their names")
    config.addinivalue_line("markers", f"{ALLOW}: the output of this test may hold values of secrets")
    if config.getini(_SETTING):
        checker = config.stash[CHECKER] = Checker(config)
        config.pluginmanager.register(checker, "strongroom-leaks")


@pytest.fixture
def strongroom_secrets(request: pytest.FixtureRequest) -> Mapping[str, str | bytes | SecretValue]:
    """The secrets that the throw-away manager and configuration begin with, by their names.

    They come from the markers ``strongroom_secrets``; of two that name one secret, the one closer to the test counts.
    Override the fixture to have the same secrets in a whole module or folder.
    """
    secrets: dict[str, str | bytes | SecretValue] = {}
    for marker in reversed(list(request.node.iter_markers(_SEEDS))):
        if marker.kwargs or len(marker.args) != 1 or not isinstance(marker.args[0], Mapping):
            raise pytest.UsageError(f"@pytest.mark.{_SEEDS} takes one mapping of names to values")
        secrets.update(marker.args[0])
    return secrets


@pytest.fixture
def strongroom_leaks(request: pytest.FixtureRequest) -> LeakWatch:
    """What knows the values that this test's output must not hold; tell it of others with ``watch``."""
    leaks = LeakWatch()
    checker = request.config.stash.get(CHECKER, None)
    if checker is not None:
        checker.start(request.node, leaks)
        for name in CAPTURING:
            if name in request.fixturenames:
                listen_to_readings(request.getfixturevalue(name), leaks)
    return leaks


@pytest.fixture
def strongroom_clock() -> Any:
    """The throw-away manager's clock; ``None`` for real time.

    Override it to return a ``strongroom.testing.FakeClock``, which needs ``pip install strongroom[testing]``.
    """
    return None


@pytest.fixture
def strongroom_events() -> list[AuditEvent]:
    """The audit events of the throw-away manager, oldest first; what made its first secrets is not among them."""
    return []


@pytest.fixture
def strongroom_manager(
    strongroom_secrets: Mapping[str, str | bytes | SecretValue],
    strongroom_leaks: LeakWatch,
    strongroom_clock: Any,
    strongroom_events: list[AuditEvent],
) -> Iterator[SecretManager]:
    """A manager on a memory of its own, with the secrets of the test; it is closed when the test ends.

    It reads no configuration, writes no file, and each value that it holds is looked for in the test's output.
    """
    from strongroom_pytest.site import Site

    for name, value in strongroom_secrets.items():
        strongroom_leaks.watch(value, name)
    site = Site(strongroom_secrets, strongroom_events, strongroom_clock)
    strongroom_leaks.follow(site.values)
    with site.manager:
        yield site.manager
        strongroom_leaks.forget(site.values)


@pytest.fixture
def strongroom_config(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strongroom_secrets: Mapping[str, str | bytes | SecretValue],
    strongroom_leaks: LeakWatch,
) -> Path:
    """A ``strongroom.toml`` with the secrets of the test, for code that calls ``strongroom.open()`` by itself.

    ``STRONGROOM_CONFIG`` leads to it, all other variables ``STRONGROOM_*`` are unset, and ``HOME`` and the folders of
    the XDG specification are empty ones below ``tmp_path``, also for programs that the test starts. Each opening
    begins with the same secrets, in a memory of its own.
    """
    from strongroom_pytest.site import write_configuration

    for name, value in strongroom_secrets.items():
        strongroom_leaks.watch(value, name)
    # Only for who asks: the sink has to be installed wherever the test starts a program.
    events = _EVENTS_FILE if _CONFIG_EVENTS in request.fixturenames else None
    path = write_configuration(tmp_path / "strongroom", strongroom_secrets, events)
    for variable in [known for known in os.environ if known.startswith("STRONGROOM_")]:
        monkeypatch.delenv(variable)
    home = tmp_path / "strongroom-home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for kind in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(home / f".{kind.lower()}"))
    monkeypatch.setenv("STRONGROOM_CONFIG", str(path))
    return path


@pytest.fixture
def strongroom_config_events(strongroom_config: Path) -> Sequence[AuditEvent]:
    """The audit events of all that uses ``strongroom_config``, also of programs that the test starts, oldest first.

    It is up to date whenever it is looked at. ``opened`` and ``closed`` of each opening are among them.
    """
    from strongroom_pytest.events import EventLog

    path = strongroom_config.with_name(_EVENTS_FILE)
    if not path.exists():
        raise pytest.UsageError(f"name {_CONFIG_EVENTS} among the arguments of the test, or of one of its fixtures")
    return EventLog(path)
