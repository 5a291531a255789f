"""A rotation whose former value is of no use any more: it is not taken back, and can still be led to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rotatingkit import Killed, lost_answer
from rotatingsite import MOST_POINTS, NAME, Site
from strongroom.contracts import UndoRequest
from strongroom.errors import RotationError, StrongroomError, UndoRefusedError

Make = Callable[..., Site]


def killed(site: Site, at: str) -> None:
    """Have a process that rotates die at a point."""

    def die(point: str) -> None:
        if point == at:
            site.trap.on = lambda _: None
            raise Killed

    site.trap.on = die
    with site.opened() as manager, pytest.raises(Killed):
        manager.rotate(NAME)


def finished(make_site: Make) -> Site:
    """Return a site whose dependent has finished a rotation for good, of which the ledger knows nothing."""
    site = make_site(renews=False)
    killed(site, "after finish")
    assert site.dependent.accepted == ["value 1"]
    return site


def standing(site: Site) -> tuple[Any, ...]:
    """Return how the rotation stands."""
    with site.opened() as manager:
        (status,) = manager.rotation.status()
    return (status.state, status.step, status.id)


def refused(site: Site) -> UndoRefusedError:
    """Try to undo the rotation as another process, and return why that is refused."""
    with site.opened() as manager, pytest.raises(UndoRefusedError) as caught:
        manager.rotation.undo(NAME, force=True)
    return caught.value


def test_it_is_refused_and_all_stays_as_it_is_until_it_is_resumed(make_site: Make) -> None:
    site = finished(make_site)
    before, changes = standing(site), site.dependent.changes
    for _ in range(3):
        error = refused(site)
        assert (error.code, error.exit_status, error.step, error.hint) == ("undo_refused", 12, "undo", "resume it")
        assert standing(site) == before
        assert (site.current, site.dependent.accepted, site.dependent.changes) == ("value 1", ["value 1"], changes)
    site.settle("resume")
    assert standing(site)[:2] == ("idle", None)
    assert site.dependent.accepted == [site.current] == ["value 1"]
    with site.opened() as manager:
        assert manager.rotate(NAME).is_complete
    assert site.dependent.accepted == [site.current] == ["value 2"]


@pytest.mark.parametrize("how", ["undo", "resume"])
@pytest.mark.parametrize("error", [Killed, lost_answer])
def test_stopped_anywhere_before_it_is_refused_it_can_be_resumed_still(
    make_site: Make, error: Callable[[], BaseException], how: str
) -> None:
    for at in range(MOST_POINTS):
        site = finished(make_site)
        site.trap.arm(at, error)
        with site.opened() as manager, pytest.raises((Killed, StrongroomError)):
            manager.rotation.undo(NAME, force=True)
        is_last = site.trap.at is not None
        site.trap.arm(None)
        if how == "undo":
            refused(site)
        elif standing(site)[1] == "undo":
            # Who leads it to its end is told that somebody has tried something else.
            with site.opened() as manager, pytest.raises(UndoRefusedError):
                manager.rotation.resume(NAME, force=True)
        site.settle("resume")
        assert standing(site)[0] == "idle"
        assert site.dependent.accepted == [site.current] == ["value 1"]
        if is_last:
            break
    assert at > 3


def test_one_whose_overlap_is_not_over_waits_for_that_as_before(make_site: Make) -> None:
    site = finished(make_site)
    with site.opened(overlap="1h") as manager:
        (before,) = manager.rotation.status()
        with pytest.raises(UndoRefusedError):
            manager.rotation.undo(NAME, force=True)
        (after,) = manager.rotation.status()
        assert after.state == before.state == "overlap"
        assert after.step == before.step
        assert not manager.rotation.resume(NAME, force=True).is_complete
    site.settle("resume")
    assert standing(site)[0] == "idle"


def test_what_somebody_writes_by_hand_after_that_is_what_an_undo_gives_the_dependent(make_site: Make) -> None:
    site = finished(make_site)
    refused(site)
    with site.opened() as manager:
        manager.set(NAME, "by hand")
        manager.rotation.undo(NAME, force=True)
    assert standing(site)[0] == "idle"
    assert site.dependent.accepted == [site.current] == ["by hand"]


def test_one_that_is_not_promoted_is_undone_though_the_dependent_has_forgotten_the_current_value(
    make_site: Make,
) -> None:
    site = make_site(renews=False)
    killed(site, "after apply")
    site.dependent.accepted = []
    site.settle("undo")
    assert standing(site)[0] == "idle"
    assert site.current == "first"


def test_one_that_a_rotator_refuses_to_undo_before_its_promotion_is_resumed_from_where_it_was(
    make_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: UndoRequest) -> Any:
        raise UndoRefusedError("never")

    for point in ("before apply", "after apply", "before verify", "after verify"):
        site = make_site()
        monkeypatch.setattr(site.rotator, "undo", refuse)
        killed(site, point)
        before = standing(site)
        refused(site)
        assert standing(site)[:2] == before[:2], point
        site.settle("resume")
        assert site.dependent.accepted == [site.current] == ["value 1"]


def test_one_that_refuses_all_candidates_and_to_be_undone_is_left_to_be_resumed(
    make_site: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: UndoRequest) -> Any:
        raise UndoRefusedError("never")

    site = make_site()
    monkeypatch.setattr(site.rotator, "undo", refuse)
    site.dependent.refusals = 6
    with site.opened() as manager, pytest.raises(RotationError, match="never"):
        manager.rotate(NAME)
    assert standing(site)[0] != "idle"
    site.settle("resume")
    assert site.dependent.accepted == [site.current] == ["value 3"]
