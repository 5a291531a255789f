"""How a manager is: what its health tells of outages and of the journal."""

from __future__ import annotations

from typing import Any

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import HealthState
from strongroom.errors import BackendUnavailableError
from strongroom.resilience.conditions import ConditionState
from strongroom.testing import FakeClock, FaultyBackend

OUT = BackendUnavailableError("it refuses", code="connection_refused")


class Store(MemoryBackend):
    """A fallback store that can be out of reach as well."""

    error: Exception | None = None

    def journal_status(self, request: Any) -> Any:
        if self.error is not None:
            raise self.error
        return super().journal_status(request)

    def health(self) -> Any:
        if self.error is not None:
            raise self.error
        return super().health()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def manager(open_manager: Any, backend: FaultyBackend, store: Store) -> SecretManager:
    made: SecretManager = open_manager(
        backends={"main": backend, "store": store}, backend="main", fallback="store", cache={"max_stale": "1h"}
    )
    made.get("db/password")
    return made


def fail(manager: SecretManager, backend: FaultyBackend) -> None:
    backend.error = OUT
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            manager.get("absent")


def test_all_is_well_with_an_empty_journal(manager: SecretManager) -> None:
    health = manager.health()
    assert health.state is HealthState.UP
    assert health.journal is not None
    assert (health.journal.waiting, health.journal.set_aside, health.journal.size) == (0, 0, 0)
    assert (health.journal.oldest, health.journal.problem) == (None, "")


def test_without_a_fallback_store_there_is_no_journal_and_a_backend_that_is_down_is_all(
    open_manager: Any, backend: FaultyBackend
) -> None:
    manager = open_manager(backends={"main": backend}, backend="main")
    backend.error = OUT
    health = manager.health()
    assert (health.state, health.journal) == (HealthState.DOWN, None)


def test_an_outage_says_since_when_why_and_how_old_the_oldest_answer_was(
    manager: SecretManager, backend: FaultyBackend, clock: FakeClock
) -> None:
    fail(manager, backend)
    since = clock.time()
    clock.advance(400)
    assert manager.get("db/password").age == pytest.approx(400, abs=1)
    health = manager.health()
    assert health.state is HealthState.DEGRADED
    (main, store, _sink) = health.parts
    assert main.health.state is HealthState.DOWN
    assert main.condition is not None
    assert main.condition.state is ConditionState.DEGRADED
    assert main.condition.since == pytest.approx(since)
    assert main.condition.reason == "it refuses"
    assert main.condition.oldest_stale == pytest.approx(400, abs=1)
    assert store.condition is not None
    assert store.condition.state is ConditionState.HEALTHY


def test_the_journal_says_what_waits_and_for_how_long(
    manager: SecretManager, backend: FaultyBackend, clock: FakeClock
) -> None:
    backend.error = OUT
    manager.set("a", "four")
    clock.advance(90)
    manager.set("b", "seven77")
    journal = manager.health().journal
    assert journal is not None
    assert (journal.waiting, journal.set_aside) == (2, 0)
    assert journal.size >= 11
    assert journal.oldest == pytest.approx(90, abs=1)


def test_a_journal_that_cannot_be_used_is_told_of(manager: SecretManager, store: Store) -> None:
    store.error = BackendUnavailableError("the disk is gone")
    health = manager.health()
    assert health.journal is not None
    assert health.journal.problem == "the disk is gone"
    assert health.state is not HealthState.UP


def test_a_fallback_store_that_is_down_by_itself_stops_nothing(manager: SecretManager, store: Store) -> None:
    store.error = OUT
    assert manager.health().state is HealthState.DEGRADED


def test_if_the_fallback_store_is_down_as_well_so_is_the_manager(
    manager: SecretManager, backend: FaultyBackend, store: Store
) -> None:
    backend.error = OUT
    store.error = OUT
    assert manager.health().state is HealthState.DOWN


def test_asking_does_not_begin_an_outage(manager: SecretManager, backend: FaultyBackend) -> None:
    backend.error = OUT
    for _ in range(10):
        assert manager.health().parts[0].condition.state is ConditionState.HEALTHY  # type: ignore[union-attr]  # it has got one


def test_an_answer_ends_one(manager: SecretManager, backend: FaultyBackend) -> None:
    fail(manager, backend)
    backend.error = None
    health = manager.health()
    assert health.parts[0].condition.state is ConditionState.RECOVERING  # type: ignore[union-attr]  # it has got one
    assert health.state is HealthState.DEGRADED
    manager._parts.continuity.attendant.run_due()
    assert manager.health().state is HealthState.UP


def test_without_a_journal_an_answer_ends_one_at_once(open_manager: Any, backend: FaultyBackend) -> None:
    manager = open_manager(backends={"main": backend}, backend="main")
    fail(manager, backend)
    backend.error = None
    health = manager.health()
    assert (health.state, health.parts[0].condition.state) == (HealthState.UP, ConditionState.HEALTHY)


def test_a_backend_that_cannot_be_opened_has_no_condition() -> None:
    config = {"audit": "none", "backend": "a", "backends": {"a": {"type": "no-such"}, "b": {"type": "memory"}}}
    with strongroom.open(config) as manager:
        conditions = {part.name: part.condition for part in manager.health().parts}
    assert conditions["a"] is None
    assert conditions["b"] is not None
