"""Whatever stops a rotation, wherever it stops: secret and dependent agree once it is resumed or undone."""

from __future__ import annotations

import json
import threading

from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from traceback import walk_tb
from typing import Any

import pytest

from rotatingkit import Halt, Killed, lost_answer
from rotatingsite import MOST_POINTS, NAME, Site
from strongroom.audit.stage import AuditStage
from strongroom.contracts import ReadRequest, WriteRequest
from strongroom.contracts.names import rotation_record
from strongroom.errors import AuditError, RotationError, StrongroomError, TamperedError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import in_threads


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


@pytest.mark.parametrize("promoted", [False, True])
def test_killed_while_it_is_undone_it_is_undone_or_resumed(make_site: Callable[..., Site], promoted: bool) -> None:
    for at in range(MOST_POINTS):
        site = make_site()
        if promoted:
            site.opened(overlap="1h").rotate(NAME)
        else:
            assert site.stopped(8)
        site.trap.arm(at)
        with suppress(Killed), site.opened() as manager:
            manager.rotation.undo(NAME, force=True)
            break
        # Of one that is promoted the candidate may be gone before the former value is back.
        assert promoted or site.dependent.accepts(site.current)
        site.settle("undo" if promoted else "resume")
        assert site.dependent.accepted == [site.current]
        assert not promoted or site.current == "first"
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
    with site.opened() as manager:
        # What runs by itself does not decide that.
        run = manager.rotation.rotate_due()
        assert (run.rotated, run.resumed, site.current) == ((), (), "by hand")
        assert run.failed or run.running
    site.settle(how)
    assert site.current == ("value 1" if how == "resume" else "by hand")
    assert site.dependent.accepted == [site.current]


def test_an_undo_that_was_killed_leaves_the_dependent_with_what_was_written_by_hand(
    make_site: Callable[..., Site],
) -> None:
    for at in range(MOST_POINTS):
        site = make_site()
        assert site.stopped(8)
        with site.opened() as manager:
            manager.set(NAME, "by hand")
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
        site.settle("resume")
        assert site.dependent.accepted == [site.current], at
    assert at > 2


def test_a_value_that_was_taken_back_by_hand_is_not_taken_from_the_dependent(make_site: Callable[..., Site]) -> None:
    site = make_site()
    with site.opened(overlap="1h") as manager:
        assert not manager.rotate(NAME).is_complete
        manager.set(NAME, "first")
    with site.opened(overlap="0s") as manager:
        for again in (lambda: manager.rotate(NAME), lambda: manager.rotation.resume(NAME, force=True)):
            # Stages make it a rotation that is left, and lead the candidate once more.
            with suppress(RotationError):
                again()
            assert site.dependent.accepts(site.current)
        with suppress(RotationError):
            manager.rotation.undo(NAME, force=True)
        assert site.dependent.accepted == [site.current]


def test_one_that_is_about_to_finish_finishes_nothing_once_it_is_undone(make_site: Callable[..., Site]) -> None:
    site = make_site()
    halt = Halt("before finish")
    site.trap.on = halt
    codes: list[str] = []

    def lead() -> None:
        with site.opened() as manager, pytest.raises(RotationError) as caught:
            manager.rotate(NAME)
        codes.append(caught.value.code)

    thread = threading.Thread(target=lead)
    thread.start()
    assert halt.arrived.wait(20)

    def let_go(point: str) -> None:
        if point == "after undo":
            site.trap.on = lambda _: None
            halt.release()
            thread.join(20)

    site.trap.on = let_go
    with site.opened() as manager:
        manager.rotation.undo(NAME, force=True)
    assert codes == ["rotation_lost"]
    assert site.dependent.accepted == [site.current] == ["first"]


def test_a_step_that_cannot_be_recorded_tells_whether_readers_get_another_value(
    make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = AuditStage.record
    for step in ("record", "apply", "verify", "promote", "announce", "finish"):
        site = make_site()

        def record(self: AuditStage, *events: Any, durable: bool = False, step: str = step) -> None:
            if any(one.event == f"rotate_{step}" for one in events):
                raise AuditError("the sink is full")
            real(self, *events, durable=durable)

        monkeypatch.setattr(AuditStage, "record", record)
        with site.opened() as manager, pytest.raises(AuditError, match=f"the step {step} .* could not be") as caught:
            manager.rotate(NAME)
        monkeypatch.setattr(AuditStage, "record", real)
        assert caught.value.applied == (site.current != "first")
        site.settle("resume")
        assert site.dependent.accepted == [site.current]


def shown(error: BaseException | None) -> str:
    """Return what a traceback with the locals of our frames shows, and what an error carries."""
    texts: list[str] = []
    while error is not None:
        texts += [repr(vars(error)), repr(getattr(error, "doc", ""))]
        frames = [frame for frame, _ in walk_tb(error.__traceback__) if "strongroom/" in frame.f_code.co_filename]
        texts += [repr(value) for frame in frames for value in frame.f_locals.values()]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


VALUES = [spelled for value in (b"first", b"value 1") for spelled in (value.decode(), b64encode(value).decode())]


def test_no_traceback_shows_a_value_wherever_the_backend_fails(make_site: Callable[..., Site]) -> None:
    for at in range(MOST_POINTS):
        site = make_site()
        site.trap.arm(at, lambda: StrongroomError("it fails"))
        with site.opened() as manager:
            try:
                manager.rotate(NAME)
            except StrongroomError as error:
                assert not [value for value in VALUES if value in shown(error)]  # noqa: PT017  # the last one does not
            else:
                break
    assert at > 8


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"rotated": "yesterday"},
        {"rotated": 10**400},
        {"pending": ["db"]},
        {"began": "x"},
        {"began": float("nan")},
        {"promoted": "x", "step": "finish"},
        {"step": "announce"},
        {"step": "generate"},
        {"base": 5},
        {"id": ["x"]},
        {"candidate": 5},
        {"surplus": 1},
        "[" * 100_000,
        "no record",
    ],
    ids=str,
)
def test_a_record_that_is_none_is_refused_everywhere_and_shows_nothing(
    register: Callable[[Any], dict[str, Any]], change: Any
) -> None:
    site = Site("records", register)
    assert site.stopped(8)
    name = rotation_record(SecretName(NAME))
    content = json.loads(site.backend.read(ReadRequest(name=name)).value.reveal())
    if isinstance(change, str):
        text = change + json.dumps(content)
    else:
        (content if change.keys() <= content.keys() else content["pending"]).update(change)
        text = json.dumps(content)
    site.backend.write(WriteRequest(name=name, value=SecretValue(text)))
    with site.opened() as manager:
        (status,) = manager.rotation.status()
        assert status.state == "unknown"
        assert [type(one.error) for one in manager.rotation.rotate_due().failed] == [TamperedError]
        for act in (manager.rotate, manager.rotation.resume, manager.rotation.undo):
            with pytest.raises(TamperedError) as caught:
                act(NAME)
            assert not [value for value in VALUES if value in shown(caught.value)]
    assert site.current == "first"


def test_a_record_that_may_become_too_large_is_refused_before_anything_changes(
    register: Callable[[Any], dict[str, Any]],
) -> None:
    refused = 0
    for limit in range(400, 900, 10):
        site = Site("records", register)
        site.backend.max_value_bytes = limit
        with site.opened() as manager:
            try:
                assert manager.rotate(NAME).is_complete
            except ValueTooLargeError:
                refused += 1
                assert (site.current, site.dependent.changes) == ("first", 0)
    assert 0 < refused < 50


READ = ReadRequest(name=SecretName(NAME))
