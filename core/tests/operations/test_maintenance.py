"""Maintenance of a backend's own file is recorded, and refused where that cannot be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.config.references import VariableSource
from strongroom.contracts import (
    BackupRequest,
    BackupResult,
    Maintenance,
    RekeyRequest,
    RekeyResult,
    VerifyRequest,
    VerifyResult,
)
from strongroom.errors import (
    AuditError,
    BackendError,
    ConfigurationError,
    MasterKeyError,
    UnsupportedOperationError,
)


class Cabinet(MemoryBackend, Maintenance):
    """A backend whose maintenance does what a test says."""

    def __init__(self) -> None:
        super().__init__(MemorySettings())
        self.act: Callable[[], object] = lambda: None
        self.problems: tuple[str, ...] = ()
        self.done: list[str] = []

    def verify(self, request: VerifyRequest) -> VerifyResult:
        self._do("verify")
        return VerifyResult(secrets=1, records=2, counter=3, problems=self.problems)

    def backup(self, request: BackupRequest) -> BackupResult:
        self._do("backup")
        return BackupResult(path=request.path, secrets=1, counter=3)

    def rekey(self, request: RekeyRequest) -> RekeyResult:
        self._do("rekey")
        return RekeyResult(key_epoch=4, records=2)

    def _do(self, what: str) -> None:
        self.act()
        self.done.append(what)


ACTS: dict[str, Callable[[Maintenance], object]] = {
    "verify": lambda store: store.verify(VerifyRequest()),
    "backup": lambda store: store.backup(BackupRequest(path="/backups/b.db")),
    "rekey": lambda store: store.rekey(RekeyRequest(new_key=VariableSource("NEW", "here"), reencrypt=True)),
}
each_act = pytest.mark.parametrize("what", ACTS)


@pytest.fixture
def cabinet() -> Cabinet:
    return Cabinet()


@pytest.fixture
def store(open_manager: Any, cabinet: Cabinet) -> Maintenance:
    return open_manager(backends={"main": cabinet}).maintenance()


@pytest.mark.parametrize("what", ["backup", "rekey"])
def test_a_change_is_recorded_before_and_after_under_one_id(store: Maintenance, sink: Any, what: str) -> None:
    ACTS[what](store)
    attempt, outcome = sink.named(what)
    assert (attempt.phase, outcome.phase) == ("attempt", "outcome")
    assert attempt.id == outcome.id
    assert outcome.result == "ok"
    assert (outcome.principal, outcome.backend) == ("tester", "main")


def test_the_details_tell_what_was_done(store: Maintenance, sink: Any) -> None:
    for act in ACTS.values():
        act(store)
    made = [event for event in sink.events if event.phase == "outcome" and event.event != "opened"]
    details = {event.event: event.detail for event in made if event.detail}
    assert details == {
        "verify": "counter 3",
        "backup": "/backups/b.db",
        "rekey": "new master key, reencrypted, key epoch 4",
    }


def test_a_store_that_does_not_verify_shows_in_the_trail(store: Maintenance, sink: Any, cabinet: Cabinet) -> None:
    cabinet.problems = ("one", "two")
    assert store.verify(VerifyRequest()).problems == ("one", "two")
    (event,) = sink.named("verify")
    assert (event.result, event.detail) == ("problems", "2 problems")


@each_act
def test_a_failure_is_recorded_with_its_code(store: Maintenance, sink: Any, cabinet: Cabinet, what: str) -> None:
    def fail() -> None:
        raise MasterKeyError("the key is wrong", code="master_key_wrong")

    cabinet.act = fail
    with pytest.raises(MasterKeyError):
        ACTS[what](store)
    assert sink.named(what)[-1].result == "master_key_wrong"


@each_act
def test_a_foreign_exception_becomes_ours(store: Maintenance, sink: Any, cabinet: Cabinet, what: str) -> None:
    cabinet.act = lambda: {}["missing"]
    with pytest.raises(BackendError) as caught:
        ACTS[what](store)
    assert isinstance(caught.value.__cause__, KeyError)
    assert sink.named(what)[-1].result == "backend_error"


@pytest.mark.parametrize("what", ["backup", "rekey"])
def test_nothing_happens_that_cannot_be_recorded(store: Maintenance, sink: Any, cabinet: Cabinet, what: str) -> None:
    sink.failing = True
    with pytest.raises(AuditError) as caught:
        ACTS[what](store)
    assert not caught.value.applied
    assert cabinet.done == []


@each_act
def test_an_outcome_that_cannot_be_recorded_says_that_it_was_done(
    store: Maintenance, sink: Any, cabinet: Cabinet, what: str
) -> None:
    cabinet.act = lambda: setattr(sink, "failing", True)
    with pytest.raises(AuditError) as caught:
        ACTS[what](store)
    assert caught.value.applied
    assert cabinet.done == [what]


def test_a_failure_wins_over_the_failure_to_record_it(store: Maintenance, sink: Any, cabinet: Cabinet) -> None:
    def fail() -> None:
        sink.failing = True
        raise MasterKeyError("the key is wrong")

    cabinet.act = fail
    with pytest.raises(MasterKeyError) as caught:
        ACTS["rekey"](store)
    assert "could not be recorded" in caught.value.__notes__[0]


@each_act
def test_a_backend_without_a_file_of_its_own_says_so(open_manager: Any, what: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=what):
        ACTS[what](open_manager().maintenance())


def test_a_backend_that_is_not_configured_is_named(open_manager: Any) -> None:
    with pytest.raises(ConfigurationError, match="elsewhere") as caught:
        open_manager().maintenance("elsewhere")
    assert "memory" in caught.value.hint


def test_another_backend_than_the_default_one_can_be_chosen(open_manager: Any, cabinet: Cabinet, sink: Any) -> None:
    backends = {"memory": MemoryBackend(MemorySettings()), "main": cabinet}
    open_manager(backends=backends, backend="memory").maintenance("main").verify(VerifyRequest())
    assert sink.named("verify")[0].backend == "main"
