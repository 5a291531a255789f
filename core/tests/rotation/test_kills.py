"""Whatever stops a rotation, wherever it stops: secret and dependent agree once it is resumed or undone."""

from __future__ import annotations

import threading

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import strongroom

from rotatingkit import (
    Dependent,
    DependentRotator,
    Halt,
    Killed,
    Trap,
    TrappedMemory,
    TrappedStages,
    lost_answer,
)
from strongroom.contracts import ReadRequest
from strongroom.errors import RotationError, StrongroomError
from strongroom.model import SecretName
from strongroom.testing import in_threads

NAME = "db/app"
KINDS = {"records": TrappedMemory, "stages": TrappedStages}
MOST_POINTS = 60


class Site:
    """A backend, a dependent, and managers that come and go."""

    def __init__(self, kind: str, register: Callable[[Any], dict[str, Any]], *, keeps: int = 2) -> None:
        self.trap = Trap()
        self.backend = KINDS[kind](self.trap)
        self.dependent = Dependent("first", keeps=keeps)
        self.rotator = DependentRotator(self.dependent, self.trap)
        self.rule = register(self.rotator)
        self.managers: list[strongroom.SecretManager] = []
        with self.opened() as manager:
            manager.set(NAME, "first")

    def opened(self, **rule: Any) -> strongroom.SecretManager:
        """Return another manager, as another process would have."""
        manager = strongroom.open(
            {
                "audit": "none",
                "backend": "main",
                "cache": {"policy": "none"},
                "rotation": {NAME: {**self.rule, **rule}},
            },
            backends={"main": self.backend},
            sleep=lambda _: None,
        )
        self.managers.append(manager)
        return manager

    @property
    def current(self) -> str:
        """What readers get."""
        with self.opened() as manager:
            return manager.get(NAME).reveal_text()

    def stopped(self, at: int, error: Callable[[], BaseException] = Killed) -> bool:
        """Rotate, stopped at a point; tell whether there is that point."""
        self.trap.arm(at, error)
        manager = self.opened()
        try:
            manager.rotate(NAME)
        except (Killed, StrongroomError):
            return True
        finally:
            reached = self.trap.at is None
            self.trap.arm(None)
        return reached

    def settle(self, how: str) -> None:
        """Resume or undo what is pending, if anything is, as another process."""
        with self.opened() as manager:
            (status,) = manager.rotation.status()
            if status.state == "idle":
                return
            # Stages do not tell whether whoever began it is still there.
            if how == "undo":
                manager.rotation.undo(NAME, force=True)
            elif status.step == "undo":
                with pytest.raises(RotationError, match="was being undone, and that is done now"):
                    manager.rotation.resume(NAME, force=True)
            else:
                manager.rotation.resume(NAME, force=True)


@pytest.fixture
def register(distributions: Any) -> Callable[[Any], dict[str, Any]]:
    """A function that takes a rotator and returns the settings that lead to it."""
    distributions.add(
        "own-rotators",
        {"strongroom.rotators": {"own": "own_rotators"}},
        """
        from strongroom.contracts import Record, RotatorSpec
        from strongroom.hookspecs import hookimpl

        known = []

        class Settings(Record):
            number: int

        def find(settings):
            return known[settings.number]

        @hookimpl
        def strongroom_rotators():
            yield RotatorSpec(name="own", summary="A test's own.", settings=Settings, open=find)
        """,
    )
    import own_rotators

    def rule(rotator: Any) -> dict[str, Any]:
        own_rotators.known.append(rotator)
        return {"rotator": "own", "number": len(own_rotators.known) - 1}

    return rule


@pytest.fixture(params=KINDS)
def make_site(request: Any, register: Callable[[Any], dict[str, Any]]) -> Iterator[Callable[..., Site]]:
    """A function that makes a new site; all its managers are closed at the end."""
    made: list[Site] = []

    def make(**options: Any) -> Site:
        made.append(Site(request.param, register, **options))
        return made[-1]

    yield make
    for site in made:
        for manager in site.managers:
            manager.close()


@pytest.mark.parametrize("keeps", [1, 2])
@pytest.mark.parametrize("how", ["resume", "undo"])
def test_killed_at_any_point_secret_and_dependent_agree_in_the_end(
    make_site: Callable[..., Site], how: str, keeps: int
) -> None:
    for at in range(MOST_POINTS):
        site = make_site(keeps=keeps)
        if not site.stopped(at):
            break
        # Readers get a value that was current before, or one that the dependent has accepted when it was tried.
        assert site.current == "first" or site.dependent.accepts(site.current)
        if keeps == 2:
            assert site.dependent.accepts(site.current)
        site.settle(how)
        assert site.dependent.accepted == [site.current], f"{site.rotator.made} at point {at}"
        with site.opened() as manager:
            assert [one.state for one in manager.rotation.status()] == ["idle"]
            # And the name can be rotated again.
            assert manager.rotate(NAME).is_complete
        assert site.dependent.accepted == [site.current] == [site.rotator.made[-1]]
    else:
        raise AssertionError("there is no end to the points")
    assert at > 10


def test_killed_while_it_is_undone_it_is_undone_or_resumed(make_site: Callable[..., Site]) -> None:
    for at in range(MOST_POINTS):
        site = make_site()
        site.trap.arm(None)
        assert site.stopped(8)
        site.trap.arm(at)
        try:
            with site.opened() as manager:
                manager.rotation.undo(NAME, force=True)
        except Killed:
            pass
        else:
            break
        finally:
            site.trap.arm(None)
        assert site.dependent.accepts(site.current)
        site.settle("resume")
        assert site.dependent.accepted == [site.current]
    assert at > 2


def test_each_answer_may_get_lost(make_site: Callable[..., Site]) -> None:
    for at in range(MOST_POINTS):
        site = make_site()
        if not site.stopped(at, lost_answer):
            break
        site.settle("resume")
        assert site.dependent.accepts(site.current)
        with site.opened() as manager:
            assert manager.rotate(NAME).is_complete
        assert site.dependent.accepted == [site.current]
    assert at > 10


def test_the_previous_value_is_what_readers_get_until_the_candidate_has_been_tried(
    make_site: Callable[..., Site],
) -> None:
    site = make_site()
    seen: list[tuple[str, str]] = []
    site.trap.on = lambda point: seen.append((point, site.backend.read(READ).value.reveal_text()))
    with site.opened() as manager:
        manager.rotate(NAME)
    tried = [point for point, _ in seen].index("after verify")
    assert {value for _, value in seen[: tried + 1]} == {"first"}
    assert seen[-1][1] == "value 1"


def test_a_candidate_refused_twice_is_replaced_by_another_one(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.dependent.refusals = 2
    with site.opened() as manager:
        assert manager.rotate(NAME).is_complete
    assert (site.current, site.dependent.accepted) == ("value 2", ["value 2"])


def test_one_that_refuses_them_all_leaves_everything_as_it_was(make_site: Callable[..., Site]) -> None:
    site = make_site()
    site.dependent.refusals = 100
    with site.opened() as manager:
        with pytest.raises(RotationError, match="has refused 3 candidates, so its rotation was undone") as caught:
            manager.rotate(NAME)
        assert caught.value.code == "rotation_failed"
        assert [one.state for one in manager.rotation.status()] == ["idle"]
    assert (site.current, site.dependent.accepted) == ("first", ["first"])


def test_of_many_that_rotate_at_once_one_does(make_site: Callable[..., Site]) -> None:
    site = make_site()
    managers = [site.opened() for _ in range(6)]

    def work(number: int) -> str:
        try:
            managers[number].rotate(NAME)
        except StrongroomError as error:
            return error.code
        return "ok"

    for _ in range(5):
        results = in_threads(6, work)
        assert "ok" in results
        assert set(results) <= {"ok", "rotation_in_progress", "rotation_left_over", "rotation_lost", "conflict"}
        site.settle("resume")
        assert site.dependent.accepted == [site.current]


@pytest.mark.parametrize("after", ["resumed", "undone", "rotated"])
@pytest.mark.parametrize("point", ["before apply", "before verify", "after verify"])
def test_one_that_was_paused_changes_nothing_once_another_has_taken_over(
    make_site: Callable[..., Site], point: str, after: str
) -> None:
    site = make_site()
    halt = Halt(point)
    site.trap.on = halt
    outcome: list[str] = []

    def zombie() -> None:
        try:
            site.opened().rotate(NAME)
        except StrongroomError as error:
            outcome.append(error.code)
        else:
            outcome.append("ok")

    thread = threading.Thread(target=zombie)
    thread.start()
    assert halt.arrived.wait(20)
    with site.opened() as manager:
        (manager.rotation.resume if after == "resumed" else manager.rotation.undo)(NAME, force=True)
        if after == "rotated":
            manager.rotate(NAME)
    left = (site.current, list(site.dependent.accepted))
    halt.release()
    thread.join(20)
    assert outcome == ["rotation_lost"]
    assert (site.current, site.dependent.accepted) == left
    assert left[1] == [left[0]]


@pytest.mark.parametrize("how", ["resume", "undo"])
def test_what_somebody_writes_by_hand_meanwhile_is_not_overwritten_unasked(
    make_site: Callable[..., Site], how: str
) -> None:
    site = make_site()

    def write(point: str) -> None:
        if point == "after verify":
            site.trap.on = lambda _: None
            with site.opened() as other:
                other.set(NAME, "by hand")

    site.trap.on = write
    with site.opened() as manager, pytest.raises(RotationError, match="has stopped at promote") as caught:
        manager.rotate(NAME)
    assert caught.value.code == "rotation_incomplete"
    assert site.current == "by hand"
    site.settle(how)
    assert site.current == ("value 1" if how == "resume" else "by hand")
    assert site.dependent.accepted == [site.current]


READ = ReadRequest(name=SecretName(NAME))
