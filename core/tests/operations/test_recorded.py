"""What a program does beyond reading: recorded before and after, or as refused, and nothing that is not recorded."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom import SecretManager, acting_as
from strongroom.errors import AccessDeniedError, AuditError, ClosedError, ConfigurationError
from strongroom.model import AuditEvent


def told(events: list[AuditEvent]) -> list[tuple[str, str, str | None]]:
    """Return what a trail says of each event: the phase, the result and the detail."""
    return [(event.phase, event.result, event.detail) for event in events]


def fail(sink: Any) -> None:
    """Fail, once nothing can be recorded any more."""
    sink.failing = True
    raise ValueError("no")


@pytest.fixture
def manager(open_manager: Any) -> SecretManager:
    manager: SecretManager = open_manager()
    return manager


def test_an_action_stands_in_the_trail_before_and_after_it(open_manager: Any, sink: Any, clock: Any) -> None:
    with open_manager().recorded("deploy/shop", detail="asked by the pipeline"):
        assert told(sink.named("action")) == [("attempt", "ok", "deploy/shop: asked by the pipeline")]
        clock.advance(3)
    attempt, outcome = sink.named("action")
    assert told([outcome]) == [("outcome", "ok", "deploy/shop: asked by the pipeline")]
    assert (outcome.id, outcome.duration, outcome.key) == (attempt.id, 3.0, None)


def test_an_action_is_not_done_a_second_time_with_the_same_record(manager: Any, sink: Any) -> None:
    action = manager.recorded("deploy")
    with action:
        with pytest.raises(ConfigurationError, match="done once"):
            action.__enter__()
        action.note(result="half")
    with pytest.raises(ConfigurationError, match="done once"):
        action.__enter__()
    assert told(sink.named("action")) == [("attempt", "ok", "deploy"), ("outcome", "half", "deploy")]


def test_an_action_that_could_not_be_recorded_may_be_tried_again(manager: Any, sink: Any) -> None:
    action = manager.recorded("deploy")
    sink.failing = True
    with pytest.raises(AuditError):
        action.__enter__()
    sink.failing = False
    with action:
        pass
    assert told(sink.named("action"))[-2:] == [("attempt", "ok", "deploy"), ("outcome", "ok", "deploy")]


def test_attempt_and_outcome_are_durable(manager: Any, sink: Any) -> None:
    with manager.recorded("deploy"):
        pass
    manager.record_refused("deploy", "not_approved")
    assert [write.durable for write in sink.writes] == [True, True, True]


def test_it_is_recorded_for_whom_it_is_done(manager: Any, sink: Any) -> None:
    with manager.as_principal("assistant/deploy").recorded("deploy"):
        pass
    with acting_as("request"):
        manager.record_refused("deploy", "not_approved")
    assert [(event.principal, event.on_behalf_of) for event in sink.named("action")] == [
        ("assistant/deploy", "tester"),
        ("assistant/deploy", "tester"),
        ("request", "tester"),
    ]


@pytest.mark.parametrize(
    ("error", "result"),
    [(AccessDeniedError("no"), "denied"), (ValueError("no"), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_what_ends_it_early_is_its_result(manager: Any, sink: Any, error: BaseException, result: str) -> None:
    with pytest.raises(type(error)) as caught, manager.recorded("deploy"):
        raise error
    assert caught.value is error
    assert told(sink.named("action"))[1:] == [("outcome", result, "deploy")]


def test_the_program_may_say_how_it_has_ended(manager: Any, sink: Any) -> None:
    with manager.recorded("deploy") as action:
        action.note(result="rolled_back", detail="3 of 4 hosts")
    assert told(sink.named("action"))[1:] == [("outcome", "rolled_back", "deploy: 3 of 4 hosts")]


def test_what_is_refused_has_an_outcome_only(manager: Any, sink: Any) -> None:
    manager.record_refused("deploy", "not_approved", detail="asked the operator")
    assert told(sink.named("action")) == [("outcome", "not_approved", "deploy: asked the operator")]


def test_what_cannot_be_recorded_does_not_happen(manager: Any, sink: Any) -> None:
    done = []
    sink.failing = True
    with pytest.raises(AuditError) as caught, manager.recorded("deploy"):
        done.append("it")
    assert (done, caught.value.applied) == ([], False)
    with pytest.raises(AuditError):
        manager.record_refused("deploy", "not_approved")


def test_an_outcome_that_cannot_be_recorded_says_that_it_was_done(manager: Any, sink: Any) -> None:
    with pytest.raises(AuditError, match="the action deploy was done") as caught, manager.recorded("deploy"):
        sink.failing = True
    assert caught.value.applied


def test_an_error_within_wins_over_the_failure_to_record_it(manager: Any, sink: Any) -> None:
    with pytest.raises(ValueError, match="no") as caught, manager.recorded("deploy"):
        fail(sink)
    assert "could not be recorded either" in caught.value.__notes__[0]


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "no name": ("", {}),
    "a capital": ("Deploy", {}),
    "two lines in the name": ("deploy\nx", {}),
    "a line end after the name": ("deploy\n", {}),
    "a long name": ("x" * 101, {}),
    "two lines": ("deploy", {"detail": "one\ntwo"}),
    "an escape": ("deploy", {"detail": "\x1b[2J"}),
    "another order of reading": ("deploy", {"detail": "a\u202eb"}),
    "half of a pair": ("deploy", {"detail": "\ud800"}),
    "a long detail": ("deploy", {"detail": "x" * 201}),
    "no text": ("deploy", {"detail": 7}),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_could_spoil_a_trail_is_refused(manager: Any, sink: Any, what: str) -> None:
    action, more = WRONG[what]
    with pytest.raises(ConfigurationError):
        manager.recorded(action, **more)
    with pytest.raises(ConfigurationError):
        manager.record_refused(action, "not_approved", **more)
    assert sink.named("action") == []


@pytest.mark.parametrize("result", ["", "Not approved", "not_approved\n", "x" * 41, 7])
def test_a_result_is_a_short_name(manager: Any, sink: Any, result: Any) -> None:
    with pytest.raises(ConfigurationError):
        manager.record_refused("deploy", result)
    with pytest.raises(ConfigurationError), manager.recorded("deploy") as action:
        action.note(result=result)
    assert told(sink.named("action"))[1:] == [("outcome", "configuration", "deploy")]


def test_what_is_refused_is_not_ok(manager: Any) -> None:
    with pytest.raises(ConfigurationError, match="not ok"):
        manager.record_refused("deploy", "ok")


def test_nothing_is_recorded_once_the_manager_is_closed(manager: Any) -> None:
    action = manager.recorded("deploy")
    manager.close()
    for refused in (action, manager.recorded("deploy")):
        with pytest.raises(ClosedError):
            refused.__enter__()
    with pytest.raises(ClosedError):
        manager.record_refused("deploy", "not_approved")
