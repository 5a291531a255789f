"""The fixtures that give tests a manager and a configuration."""

from __future__ import annotations

import os
import subprocess
import sys

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.errors import ClosedError, SecretNotFoundError
from strongroom.model import AuditEvent, SecretValue, ValueType

EVERY_KIND: Mapping[str, str | bytes | SecretValue] = {
    "db/password": "plain-text",
    "odd/text": "quotes \" ' \\ \x7f \x00\n\ud7ff😀 ${HOME} %(x)s\n",
    "a b/ü": "named-oddly",
    "binary": b"\xff\x00\r\n",
    "value": SecretValue("already-a-value"),
    "empty": "",
}


@pytest.mark.strongroom_secrets(EVERY_KIND)
@pytest.mark.parametrize("name", EVERY_KIND)
def test_secrets_of_the_marker_are_there(strongroom_manager: SecretManager, strongroom_config: Path, name: str) -> None:
    expected = EVERY_KIND[name] if isinstance(EVERY_KIND[name], SecretValue) else SecretValue(EVERY_KIND[name])
    with strongroom.open() as opened:
        for manager in (strongroom_manager, opened):
            value = manager.get(name).value
            assert value == expected
            assert value.type is (ValueType.BINARY if name == "binary" else ValueType.TEXT)


@pytest.mark.strongroom_secrets({"a": "from the module", "b": "from the module"})
class TestMarkers:
    @pytest.mark.strongroom_secrets({"a": "from the test"})
    def test_the_closer_marker_counts(self, strongroom_manager: SecretManager) -> None:
        assert strongroom_manager.get("a").value.reveal_text() == "from the test"
        assert strongroom_manager.get("b").value.reveal_text() == "from the module"


class TestOwnSecrets:
    @pytest.fixture
    def strongroom_secrets(self, strongroom_secrets: Mapping[str, str]) -> Mapping[str, str]:
        return {"common": "of all tests", **strongroom_secrets}

    @pytest.mark.strongroom_secrets({"own": "of this test"})
    def test_the_fixture_can_be_overridden(self, strongroom_manager: SecretManager) -> None:
        assert [str(name) for name in strongroom_manager.list()] == ["common", "own"]


def test_without_a_marker_there_is_no_secret(strongroom_manager: SecretManager) -> None:
    with pytest.raises(SecretNotFoundError):
        strongroom_manager.get("db/password")


@pytest.mark.strongroom_secrets({"shared": "as-it-was"})
@pytest.mark.parametrize("turn", range(2))
def test_no_test_sees_what_another_has_written(strongroom_manager: SecretManager, turn: int) -> None:
    assert strongroom_manager.get("shared").value.reveal_text() == "as-it-was"
    strongroom_manager.set("shared", "changed-by-a-test")


def test_the_manager_is_closed_when_its_test_has_ended(run: Callable[..., pytest.RunResult]) -> None:
    first = "kept = []\ndef test_first(strongroom_manager):\n    kept.append(strongroom_manager)\n"
    second = "def test_second():\n    from strongroom.errors import ClosedError\n"
    second += "    with pytest.raises(ClosedError):\n        kept[0].get('db/password')\n"
    run(first + second).assert_outcomes(passed=2)


def test_a_test_may_close_its_manager_itself(strongroom_manager: SecretManager) -> None:
    with strongroom_manager:
        strongroom_manager.set("db/password", "hunter2")
    with pytest.raises(ClosedError):
        strongroom_manager.get("db/password")


@pytest.mark.strongroom_secrets({"db/password": "plain-text"})
def test_events_are_those_of_the_test(strongroom_manager: SecretManager, strongroom_events: list[AuditEvent]) -> None:
    assert strongroom_events == []
    strongroom_manager.get("db/password")
    assert [(event.event, event.key) for event in strongroom_events] == [("get", "db/password")]


@pytest.mark.strongroom_secrets({"db/password": "plain-text"})
def test_events_of_the_configuration_are_those_of_all_that_use_it(
    strongroom_config: Path, strongroom_config_events: Sequence[AuditEvent]
) -> None:
    assert list(strongroom_config_events) == []
    read = "import strongroom\nwith strongroom.open() as manager:\n    manager.get('db/password')\n"
    with strongroom.open() as manager:
        manager.get("db/password")
        manager.get("db/password")
        seen = [(event.event, event.cache_hit) for event in strongroom_config_events if event.key == "db/password"]
        assert seen == [("get", False), ("get", True)]
        subprocess.run([sys.executable, "-c", read], check=True)
    assert {event.pid for event in strongroom_config_events} > {os.getpid()}
    kinds = [event.event for event in strongroom_config_events]
    assert kinds == ["opened", "get", "get", "opened", "get", "closed", "closed"]
    assert strongroom_config_events[-1].event == "closed"
    assert len(strongroom_config_events) == 7
    assert "plain-text" not in repr(strongroom_config_events)


def test_without_the_fixture_for_events_the_configuration_needs_no_sink(strongroom_config: Path) -> None:
    """A program that the test starts may have another environment, without the sink."""
    assert "pytest" not in strongroom_config.read_text()


def test_a_fixture_may_open_the_configuration_before_events_are_asked_for(run: Callable[..., pytest.RunResult]) -> None:
    source = """
import strongroom

@pytest.fixture
def shop(strongroom_config):
    with strongroom.open() as manager:
        manager.list()
        yield

def test_it(shop, strongroom_config_events):
    assert [event.event for event in strongroom_config_events] == ["opened", "list"]
"""
    run(source).assert_outcomes(passed=1)


def test_events_that_are_asked_for_too_late_are_refused(run: Callable[..., pytest.RunResult]) -> None:
    body = "    request.getfixturevalue('strongroom_config_events')\n"
    result = run(f"def test_it(strongroom_config, request):\n{body}")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*name strongroom_config_events among the arguments of the test*"])


class TestClock:
    class Clock:
        """As ``strongroom.testing.FakeClock``, which needs more than this distribution installs."""

        def __init__(self) -> None:
            self.seconds = 1000.0

        def monotonic(self) -> float:
            return self.seconds

        def time(self) -> float:
            return self.seconds

        def sleep(self, seconds: float) -> None:
            self.seconds += seconds

    @pytest.fixture
    def strongroom_clock(self) -> Clock:
        return self.Clock()

    @pytest.mark.strongroom_secrets({"db/password": "plain-text"})
    def test_the_clock_can_be_replaced(
        self, strongroom_manager: SecretManager, strongroom_clock: Clock, strongroom_events: list[AuditEvent]
    ) -> None:
        strongroom_manager.get("db/password")
        strongroom_clock.sleep(3600)
        strongroom_manager.get("db/password")
        times = [event.timestamp for event in strongroom_events if event.phase == "outcome"]
        assert [time[:16] for time in times] == ["1970-01-01T00:16", "1970-01-01T01:16"]


def test_the_manager_reads_no_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("STRONGROOM_CONFIG", str(tmp_path / "none.toml"))
    (tmp_path / "strongroom.toml").write_text("not [ TOML")
    monkeypatch.chdir(tmp_path)
    manager = request.getfixturevalue("strongroom_manager")
    assert manager.list() == []
    assert [path.name for path in tmp_path.iterdir()] == ["strongroom.toml"]


def test_the_configuration_is_private_and_all_that_is_seen(strongroom_config: Path, tmp_path: Path) -> None:
    assert strongroom_config.is_relative_to(tmp_path)
    assert strongroom_config.stat().st_mode & 0o777 == 0o600
    assert os.environ["STRONGROOM_CONFIG"] == str(strongroom_config)
    assert Path.home().is_relative_to(tmp_path)
    assert [name for name in os.environ if name.startswith("STRONGROOM_")] == ["STRONGROOM_CONFIG"]


@pytest.mark.parametrize("arguments", ["", "'db/password'", "{'a': 'b'}, {}", "values={'a': 'b'}"])
def test_a_marker_with_other_arguments_is_refused(run: Callable[..., pytest.RunResult], arguments: str) -> None:
    marker = f"@pytest.mark.strongroom_secrets({arguments})\n"
    result = run(f"{marker}def test_it(strongroom_manager):\n    pass\n")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*@pytest.mark.strongroom_secrets takes one mapping of names to values*"])
