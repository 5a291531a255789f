"""What the dashboard finds out in threads of its own: whether trails verify, and what is due."""

import threading

from collections.abc import Iterator
from typing import Any

import pytest

from dashboards import FakeTrail, wait_until
from strongroom.contracts import TrailFinding, TrailHead, TrailReport
from strongroom.contracts.service_rotation import Schedule
from strongroom.errors import AuditError, BackendUnavailableError
from strongroom.model import SecretName
from strongroom_agent.looks import MOST_FINDINGS, RotationLooker, Verifier

HEAD = TrailHead(position=1, digest="00")


class Manager:
    """What is needed of a manager."""

    def __init__(self, *trails: FakeTrail) -> None:
        self.opened = trails
        self.found: Any = ()
        self.looks = 0
        self.looked = threading.Event()

    def trails(self) -> tuple[FakeTrail, ...]:
        return self.opened

    @property
    def rotation(self) -> "Manager":
        return self

    def schedule(self) -> Any:
        self.looks += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def verifier_of(manager: Manager, **options: Any) -> Verifier:
    return Verifier(lambda: manager, wall_clock=lambda: 1000.0, **options)


@pytest.fixture
def looker() -> Iterator[tuple[Manager, RotationLooker]]:
    manager = Manager()
    made = RotationLooker(lambda: manager, every=3600, wall_clock=lambda: 1000.0)
    made.start()
    yield manager, made
    made.close()


def test_each_trail_is_verified() -> None:
    good, bad = FakeTrail(type="jsonl"), FakeTrail(type="other")
    good.report = TrailReport(state="sealed", events=7, files=("a",), head=HEAD)
    findings = tuple(TrailFinding(kind="broken", place=f"a:{line}", detail="changed") for line in range(30))
    bad.report = TrailReport(state="broken", events=8, files=("a",), head=HEAD, findings=findings)
    verifier = verifier_of(Manager(good, bad))
    verifier.start()
    wait_until(lambda: len(verifier.latest()) == 2)
    verifier.close()
    first, second = verifier.latest()
    assert (first.sink, first.state, first.events, first.at) == ("jsonl", "sealed", 7, 1000.0)
    assert (second.state, len(second.findings), second.found) == ("broken", MOST_FINDINGS, 30)
    assert (good.closed, bad.closed) == (1, 1)


@pytest.mark.parametrize(
    ("error", "told"),
    [(AuditError("the key is gone"), "the key is gone"), (OSError("x"), "it cannot be verified: OSError")],
)
def test_a_trail_that_cannot_be_verified_is_told_beside_the_others(error: Exception, told: str) -> None:
    broken, good = FakeTrail(), FakeTrail()
    broken.report, good.report = error, TrailReport(state="sealed", events=1, files=(), head=HEAD)
    verifier = verifier_of(Manager(broken, good))
    verifier.start()
    wait_until(lambda: len(verifier.latest()) == 2)
    verifier.close()
    assert [(one.state, one.problem) for one in verifier.latest()] == [("unknown", told), ("sealed", "")]


def test_trails_are_verified_again_and_again() -> None:
    trail = FakeTrail()
    trail.report = TrailReport(state="sealed", events=1, files=(), head=HEAD)
    verifier = verifier_of(Manager(trail), every=0.01)
    verifier.start()
    wait_until(lambda: bool(verifier.latest()))
    trail.report = TrailReport(state="broken", events=1, files=(), head=HEAD)
    wait_until(lambda: verifier.latest()[0].state == "broken")
    verifier.close()


def test_sinks_that_cannot_be_opened_are_told() -> None:
    class Broken(Manager):
        def trails(self) -> tuple[FakeTrail, ...]:
            raise AuditError("the sink cannot be opened")

    verifier = verifier_of(Broken())
    verifier.start()
    wait_until(lambda: bool(verifier.latest()))
    verifier.close()
    assert verifier.latest()[0].problem == "the sink cannot be opened"


def test_nobody_looks_at_rotations_until_somebody_asks(looker: tuple[Manager, RotationLooker]) -> None:
    """Each look is an event in the audit trail."""
    manager, made = looker
    manager.found = (Schedule(name=SecretName("db/password"), rule="every 30 days", by="random"),)
    assert manager.looks == 0
    assert made.latest() is None
    wait_until(lambda: made.latest() is not None)
    look = made.latest()
    assert look is not None
    assert (look.at, [one.name for one in look.schedules]) == (1000.0, ["db/password"])


def test_however_often_somebody_asks_the_looks_are_apart(looker: tuple[Manager, RotationLooker]) -> None:
    manager, made = looker
    wait_until(lambda: made.latest() is not None)
    for _ in range(1000):
        made.latest()
    assert manager.looks == 1


def test_who_asks_again_later_gets_another_look() -> None:
    manager = Manager()
    made = RotationLooker(lambda: manager, every=0.01)
    made.start()
    wait_until(lambda: made.latest() is not None and manager.looks >= 3)
    made.close()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (BackendUnavailableError("the service does not answer"), "the service does not answer"),
        (KeyError("hunter2"), "it cannot be found out: KeyError"),
    ],
)
def test_what_cannot_be_found_out_is_told(looker: tuple[Manager, RotationLooker], error: Exception, told: str) -> None:
    manager, made = looker
    manager.found = error
    wait_until(lambda: made.latest() is not None)
    look = made.latest()
    assert look is not None
    assert (look.problem, look.schedules) == (told, ())


def test_a_looker_that_was_closed_ends() -> None:
    made = RotationLooker(lambda: Manager(), every=3600)
    made.start()
    thread = made._thread
    assert thread is not None
    made.close()
    thread.join(10)
    assert not thread.is_alive()
    made.start()
    assert not thread.is_alive()
