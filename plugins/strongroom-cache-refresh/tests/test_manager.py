"""The policy at work, in a manager that is configured as a user would."""

from __future__ import annotations

import time

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import strongroom

from strongroom.contracts import Backend, ReadRequest, ReadResult
from strongroom.errors import ConfigurationError
from strongroom.model import Freshness, SecretValue
from strongroom.testing import FakeClock


class Counting(Backend):
    """Holds secrets that a test changes, and notes each read."""

    address = "counting"

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, int]] = {}
        self.reads: list[str] = []

    def read(self, request: ReadRequest) -> ReadResult:
        self.reads.append(request.name)
        text, version = self._held[request.name]
        return ReadResult(value=SecretValue(text), version=str(version))

    def put(self, name: str, text: str) -> None:
        """Change a secret past the manager, as another program does."""
        self._held[name] = (text, self._held.get(name, ("", 0))[1] + 1)


@pytest.fixture
def backend() -> Counting:
    made = Counting()
    for name in ("db/a", "static/a", "otp/a", "a"):
        made.put(name, "old")
    return made


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def open_manager(backend: Counting, clock: FakeClock) -> Iterator[Callable[..., strongroom.SecretManager]]:
    opened = []

    def open_one(**cache: Any) -> strongroom.SecretManager:
        settings = {"audit": "none", "cache": {"policy": "refresh", "jitter": 0, **cache}}
        opened.append(strongroom.open(settings, clock=clock, backends={"counting": backend}))
        return opened[-1]

    yield open_one
    for manager in opened:
        manager.close()


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def test_times_follow_names(open_manager: Any, backend: Counting, clock: FakeClock) -> None:
    manager = open_manager(ttls={"db/**": "30s", "static/**": "1h"}, no_cache=["otp/**"], refresh_ahead=0)
    names = ("db/a", "static/a", "otp/a", "a")
    for _ in range(2):
        for name in names:
            manager.get(name)
    assert sorted(backend.reads) == sorted([*names, "otp/a"])
    clock.advance(300)
    assert [manager.get(name).freshness for name in names] == [
        Freshness.FRESH,
        Freshness.CACHED,
        Freshness.FRESH,
        Freshness.FRESH,
    ]


def test_a_name_in_use_never_waits_for_the_backend(open_manager: Any, backend: Counting, clock: FakeClock) -> None:
    manager = open_manager(ttl="100s")
    manager.get("a")
    for turn in range(1, 4):
        backend.put("a", f"new {turn}")
        clock.advance(85)
        assert manager.get("a").freshness is Freshness.CACHED
        eventually(lambda turn=turn: manager.get("a").reveal_text() == f"new {turn}")
    stats = manager.stats()
    assert (stats.misses, stats.refreshes) == (1, 3)


def test_a_name_read_less_than_once_in_a_life_is_not_fetched_ahead(
    open_manager: Any, backend: Counting, clock: FakeClock
) -> None:
    manager = open_manager(ttl="100s", max_stale="1d")
    for _ in range(3):
        manager.get("a")
        clock.advance(185)
    manager.get("a")
    clock.advance(90)
    manager.get("a")
    assert (len(backend.reads), manager.stats().refreshes) == (4, 0)


def test_a_late_read_is_stale_and_the_next_one_new(open_manager: Any, backend: Counting, clock: FakeClock) -> None:
    manager = open_manager(ttl="100s", stale_while_revalidate="1m")
    manager.get("a")
    backend.put("a", "new")
    clock.advance(130)
    secret = manager.get("a")
    assert (secret.reveal_text(), secret.freshness) == ("old", Freshness.STALE)
    eventually(lambda: manager.get("a").reveal_text() == "new")


def test_what_does_not_change_is_asked_for_less_and_less(
    open_manager: Any, backend: Counting, clock: FakeClock
) -> None:
    manager = open_manager(ttl="60s", min_ttl="10s", max_ttl="1h", adaptive=True, refresh_ahead=0)
    asked = []
    for _ in range(4):
        before = len(backend.reads)
        for _ in range(3600 // 30):
            manager.get("a")
            clock.advance(30)
        asked.append(len(backend.reads) - before)
    assert asked[0] <= 8
    assert asked[-1] <= 2


def test_a_setting_that_makes_no_sense_is_refused(open_manager: Any) -> None:
    with pytest.raises(ConfigurationError, match="refresh_ahead is not between 0 and 1"):
        open_manager(refresh_ahead=2)
    with pytest.raises(ConfigurationError, match="did you mean 'adaptive'"):
        open_manager(adaptiv=True)
