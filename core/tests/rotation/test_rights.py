"""Who may rotate, resume and undo, also when rights change between a rotation's halves; and who is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, Final

import pytest

from dues import DatedBackend, opened
from strongroom import SecretManager, acting
from strongroom.acting import acting_as
from strongroom.contracts import ReadRequest
from strongroom.contracts.names import rotation_record
from strongroom.errors import AccessDeniedError, RotationError
from strongroom.model import SecretName
from strongroom.rotation.records import RecordLedger
from strongroom.testing import FakeClock, MemorySink

NAME: Final = "db/app"
RECORD: Final = rotation_record(SecretName(NAME))
WAYS: Final[dict[str, Callable[[SecretManager], object]]] = {
    "rotate": lambda manager: manager.rotate(NAME),
    "resume": lambda manager: manager.rotation.resume(NAME, force=True),
    "undo": lambda manager: manager.rotation.undo(NAME, force=True),
}


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    acting.in_use = False
    yield
    acting.in_use = False


@pytest.fixture
def backend(clock: FakeClock) -> DatedBackend:
    return DatedBackend(clock, NAME)


@pytest.fixture
def trail() -> MemorySink:
    return MemorySink()


@pytest.fixture
def open_as(clock: FakeClock, backend: DatedBackend, trail: MemorySink, rule: Any) -> Callable[..., SecretManager]:
    """A function that opens a manager as a principal: ``ops`` rotates unless told otherwise, ``app`` only uses."""

    def make(principal: str = "ops", *, rotates: bool = True, **more: Any) -> SecretManager:
        rights = ["read", "list", "impersonate", *(["rotate"] if rotates else [])]
        policies = [rule("ops", *rights), rule("second", *rights), rule("app", "read", "list", "write", "delete")]
        rotation = {NAME: {"rotator": "random", **more}}
        return opened(clock, backend, rotation, sink=trail, policies=policies, principal=principal)

    return make


def kept(backend: DatedBackend, name: str) -> tuple[str, bytes]:
    found = backend.read(ReadRequest(name=SecretName(name)))
    return found.version, found.value.reveal()


def leave(manager: SecretManager) -> None:
    """Have a rotation stop before its promotion."""

    def stops(*_: object) -> object:
        raise RotationError("it is stopped here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordLedger, "promote", stops)
        with pytest.raises(RotationError, match="it is stopped here"):
            manager.rotate(NAME)


@pytest.mark.parametrize("how", ["as_principal", "acting_as", "own"])
@pytest.mark.parametrize("way", WAYS)
def test_who_may_not_rotate_changes_nothing(
    way: str, how: str, open_as: Any, backend: DatedBackend, trail: MemorySink
) -> None:
    with open_as() as manager:
        leave(manager)
    before = kept(backend, NAME), kept(backend, RECORD)
    with open_as("app" if how == "own" else "ops") as manager:
        backend.asked.clear()
        acts = manager.as_principal("app") if how == "as_principal" else manager
        with acting_as("app") if how == "acting_as" else nullcontext(), pytest.raises(AccessDeniedError):
            WAYS[way](acts)
        assert backend.asked == []
    assert (kept(backend, NAME), kept(backend, RECORD)) == before
    last = [event for event in trail.events if event.key == NAME][-1]
    assert (last.event, last.principal, last.result) == ("rotate", "app", "denied")


@pytest.mark.parametrize("way", ["resume", "rotate"])
def test_a_right_taken_away_in_the_overlap_refuses_the_end_and_nothing_is_lost(
    way: str, open_as: Any, backend: DatedBackend, clock: FakeClock
) -> None:
    with open_as(overlap="1h") as manager:
        assert not manager.rotate(NAME).is_complete
        value = manager.get(NAME).reveal()
    before = kept(backend, NAME), kept(backend, RECORD)
    clock.advance(7200)
    with open_as(rotates=False, overlap="1h") as manager:
        with pytest.raises(AccessDeniedError, match="ops"):
            WAYS[way](manager)
        assert manager.rotation.rotate_due().failed == ()
        assert manager.get(NAME).reveal() == value
        (status,) = manager.rotation.status()
        assert (status.state, status.step) == ("left", "finish")
    assert (kept(backend, NAME), kept(backend, RECORD)) == before
    with open_as(overlap="1h") as manager:
        assert manager.rotation.resume(NAME).is_complete
        assert manager.get(NAME).reveal() == value
        assert manager.rotation.status()[0].state == "idle"


@pytest.mark.parametrize(("way", "detail"), [("resume", "resumed"), ("undo", "undone")])
@pytest.mark.parametrize("how", ["own", "as_principal"])
def test_the_trail_names_who_has_led_it_to_its_end(
    how: str, way: str, detail: str, open_as: Any, trail: MemorySink
) -> None:
    with open_as() as manager:
        leave(manager)
        began = len(trail.events)
    with open_as("second" if how == "own" else "ops") as manager:
        WAYS[way](manager if how == "own" else manager.as_principal("second"))
    after = [event for event in trail.events[began:] if event.key == NAME]
    assert {event.principal for event in after} == {"second"}
    assert {event.on_behalf_of for event in after} == {None if how == "own" else "ops"}
    assert detail in {event.detail for event in after}
    assert {event.principal for event in trail.events[:began] if event.key == NAME} == {"ops"}
