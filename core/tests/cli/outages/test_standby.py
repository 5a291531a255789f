"""``health`` and ``doctor`` where there is a fallback store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

PLUGIN = '''
"""A store in memory in whose journal there is what its settings say."""

import time

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import BackendSpec, Record
from strongroom.contracts.journal import AppendRequest, Entry, EntryState, Place
from strongroom.errors import BackendUnavailableError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretName, SecretValue


class KeptSettings(Record):
    waiting: int = 0
    set_aside: int = 0
    age: float = 60.0
    bound_to: str = "main"
    target: str = "moody"
    mood: str = "up"


class Kept(MemoryBackend):
    mood = "up"

    def journal_status(self, request):
        if self.mood == "sore":
            raise BackendUnavailableError("the journal is locked")
        return super().journal_status(request)


def opened(settings):
    backend = Kept()
    backend.mood = settings.mood
    states = [EntryState.WAITING] * settings.waiting + [EntryState.CONFLICT] * settings.set_aside
    for number, state in enumerate(states):
        name = SecretName(f"db/{number}")
        entry = Entry(
            id=f"{number:08}-0000-4000-8000-000000000000",
            place=Place(backend=settings.bound_to, target=settings.target, name=name),
            change="set",
            value=SecretValue(b"zq7-marker-3f9d41c2b8e6"),
            expected="1",
            queued=time.time() - settings.age,
            principal="tester",
            state=state,
        )
        backend.append(AppendRequest(entry=entry, max_entries=1000, max_bytes=1 << 20))
    return backend


class Unknown(MemoryBackend):
    """Whose secrets it leads to, nobody knows."""

    def target(self):
        return None


@hookimpl
def strongroom_backends():
    yield BackendSpec(name="kept", summary="Full of entries.", settings=KeptSettings, open=opened)
    yield BackendSpec(name="unknown", summary="Nobody's.", settings=KeptSettings, open=lambda settings: Unknown())
'''


@pytest.fixture
def configure(desk: Any, tmp_path: Path) -> Any:
    """Write a configuration with a backend `main`, and `store` as the fallback store."""
    info = tmp_path / "site" / "kept-1.0.dist-info"
    info.mkdir()
    (tmp_path / "site" / "kept.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kept\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[strongroom.backends]\nkept = kept\nunknown = kept\n")

    def write(main: str = 'type = "moody"', store: str = 'type = "kept"', resilience: str = "keep_copy = true") -> Any:
        desk.configure(
            'backend = "main"\nfallback = "store"\naudit = "none"\n'
            f"[backends.main]\n{main}\n[backends.store]\n{store}\n[resilience]\n{resilience}\n"
        )
        return desk

    return write


def found(desk: Any, state: str) -> list[str]:
    """Return what the doctor says of the fallback store, as far as it has a state."""
    checks = desk("doctor", "--json").json["checks"]
    return [each["what"] for each in checks if each["check"] == "fallback" and each["state"] == state]


DOWN = 'type = "moody"\nmood = "down"'


class TestHealth:
    def test_a_backend_for_which_the_store_stands_in_only_degrades(self, configure: Any) -> None:
        desk = configure(DOWN)
        done = desk("health", "--json")
        assert (done.status, done.json["verdict"]) == (0, "degraded")
        assert done.json["parts"][0]["condition"] == "degraded"

    @pytest.mark.parametrize(
        ("main", "store", "resilience", "verdict"),
        [
            (DOWN, 'type = "kept"', "queue_writes = false", "unhealthy: main"),
            (DOWN, 'type = "moody"', "keep_copy = true", "unhealthy: main"),
            (DOWN, DOWN, "keep_copy = true", "unhealthy: main, store"),
            ('type = "moody"\nmood = "away"', 'type = "kept"', "keep_copy = true", "unhealthy: main"),
        ],
        ids=["nothing is kept", "it keeps no journal", "both are down", "it cannot be opened"],
    )
    def test_a_backend_for_which_nothing_stands_in_is_an_outage(
        self, configure: Any, main: str, store: str, resilience: str, verdict: str
    ) -> None:
        done = configure(main, store, resilience)("health", "--json")
        assert (done.status, done.json["verdict"]) == (6, verdict)

    def test_a_store_that_is_down_by_itself_only_degrades(self, configure: Any) -> None:
        done = configure('type = "moody"', DOWN, "keep_copy = true")("health", "--json")
        assert (done.status, done.json["verdict"]) == (0, "degraded")

    def test_what_waits_is_shown_with_the_age_of_the_oldest(self, configure: Any) -> None:
        desk = configure(store='type = "kept"\nwaiting = 3\nset_aside = 1\nage = 3700')
        done = desk("health")
        assert done.status == 0
        line = "journal of store: 3 waiting, the oldest for 1 h 1 min; 1 set aside: see `strongroom journal list`"
        assert line in done.lines
        assert "3 writes wait for it" in done.lines[1]
        told = desk("health", "--json").json
        assert {key: told["journal"][key] for key in ("waiting", "set_aside", "size", "problem")} == {
            "waiting": 3,
            "set_aside": 1,
            "size": 4 * 23,
            "problem": "",
        }
        assert 3690 < told["journal"]["oldest"] < 3800
        assert (told["parts"][0]["condition"], told["parts"][0]["waiting"]) == ("recovering", 3)

    def test_an_empty_journal_is_healthy(self, configure: Any) -> None:
        done = configure()("health")
        assert done.lines[-2:] == ["journal of store: empty", "healthy"]
        told = configure()("health", "--json").json
        assert (told["journal"]["oldest"], told["parts"][0]["condition"]) == (None, "healthy")

    def test_a_journal_that_cannot_be_read_degrades(self, configure: Any) -> None:
        done = configure(store='type = "kept"\nmood = "sore"')("health")
        assert (done.status, done.lines[-2:]) == (0, ["journal of store: the journal is locked", "degraded"])

    def test_without_a_fallback_store_there_is_no_journal(self, desk: Any) -> None:
        assert desk("health", "--json").json["journal"] is None
        assert "journal" not in desk("health").stdout


class TestDoctor:
    def test_a_store_that_keeps_a_journal_is_well(self, configure: Any) -> None:
        desk = configure(store='type = "kept"\nwaiting = 2')
        assert found(desk, "ok") == ["the journal of store has 2 entries that wait, and none set aside"]
        assert found(desk, "warning") + found(desk, "problem") == []

    def test_one_that_keeps_none_is_a_mistake_in_the_configuration(self, configure: Any) -> None:
        desk = configure(store='type = "moody"')
        assert found(desk, "problem") == [
            "fallback names store (type moody), which keeps no copies and no journal",
        ]
        assert desk("doctor").status == 2

    @pytest.mark.parametrize(
        ("main", "store", "resilience", "words"),
        [
            ('type = "moody"', 'type = "kept"\nset_aside = 2', "", "has 2 entries that are set aside"),
            ('type = "moody"', 'type = "kept"\nwaiting = 1', 'journal_max_age = "90s"', "has waited for 1 min"),
            ('type = "moody"', 'type = "kept"\nwaiting = 10', "journal_entries = 11", "nearly full: 10 entries"),
            ('type = "moody"', 'type = "kept"\nwaiting = 2', "journal_bytes = 50", "nearly full: 2 entries, 46 bytes"),
            ('type = "moody"', 'type = "kept"\nwaiting = 2\ntarget = "gone"', "", "2 entries of the journal of store"),
            (
                'type = "moody"',
                'type = "kept"\nwaiting = 2\nbound_to = "gone"',
                "",
                "2 entries of the journal of store",
            ),
            ('type = "moody"', 'type = "kept"', "queue_writes = false", "the fallback store is never used"),
            ('type = "unknown"', 'type = "kept"', "", "whose secrets main leads to is not known"),
            ('type = "moody"', 'type = "memory"', "", "is lost when the process ends"),
        ],
        ids=[
            "set aside",
            "old",
            "many",
            "large",
            "another address",
            "another backend",
            "no use",
            "no account",
            "in memory",
        ],
    )
    def test_what_may_fail_later_is_warned_of(
        self, configure: Any, main: str, store: str, resilience: str, words: str
    ) -> None:
        desk = configure(main, store, resilience)
        (told,) = found(desk, "warning")
        assert words in told

    @pytest.mark.parametrize("setting", ["keep_copy = true", '[resilience.names."db/**"]\nkeep_copy = true'])
    def test_settings_without_effect_are_warned_of(self, desk: Any, setting: str) -> None:
        desk.configure('audit = "none"\n[backends.main]\ntype = "moody"\n[resilience]\n' + setting)
        (told,) = found(desk, "warning")
        assert "keep_copy has no effect without a fallback store" in told

    def test_without_any_of_it_nothing_is_warned_of(self, desk: Any) -> None:
        assert found(desk, "warning") == []
        assert len(found(desk, "ok")) == 1
