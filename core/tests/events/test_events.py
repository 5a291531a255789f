"""Telling subscribers that a secret changed."""

from __future__ import annotations

import threading

from functools import partial
from typing import Any

import pytest

from strongroom.errors import InvalidNameError
from strongroom.events.updates import SecretUpdated, Subscriptions
from strongroom.model import SecretName
from strongroom.testing import in_threads


def updated(name: str = "db/password") -> SecretUpdated:
    return SecretUpdated(name=SecretName(name), change="set", version="2")


def test_every_subscriber_of_a_matching_pattern_is_told() -> None:
    subscriptions, told = Subscriptions(), []
    for pattern in ("db/password", "db/*", "**", "db", "other/**"):
        subscriptions.add(pattern, lambda event, pattern=pattern: told.append((pattern, event)))
    assert subscriptions.notify(updated()).failed == ()
    assert sorted(told) == sorted((pattern, updated()) for pattern in ("db/password", "db/*", "**"))


def test_one_that_raises_does_not_stop_the_others_and_is_named_without_its_text() -> None:
    subscriptions, told = Subscriptions(), []

    def fails(_: SecretUpdated) -> None:
        raise RuntimeError("s3cret")

    def exits(_: SecretUpdated) -> None:
        raise SystemExit("s3cret")

    for callback in (fails, told.append, exits):
        subscriptions.add("**", callback)
    failed = subscriptions.notify(updated()).failed
    assert [problem.rpartition(".")[2] for problem in failed] == [
        "fails raised RuntimeError",
        "exits raised SystemExit",
    ]
    assert told == [updated()]


def test_one_that_no_thread_can_be_started_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The change has been made: it must not look as if it had failed."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    subscriptions = Subscriptions()
    subscriptions.add("**", print)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    [failed] = subscriptions.notify(updated()).failed
    assert failed == "print could not be called: no thread could be started"


def test_those_that_hang_cost_the_limit_once_and_are_named(gate: Any) -> None:
    subscriptions, told = Subscriptions(limit=0.1), []

    def hangs(_: SecretUpdated) -> None:
        gate.hold()

    for _ in range(30):
        subscriptions.add("**", hangs)
    subscriptions.add("**", told.append)
    started = threading.Event()
    threading.Timer(1.5, started.set).start()
    failed = subscriptions.notify(updated()).failed
    assert not started.is_set(), "the limit held for each one after the other"
    assert len(failed) == 30
    assert all(problem.endswith("hangs did not return in time") for problem in failed)
    assert told == [updated()]


def test_unsubscribing_ends_it_for_that_one_alone_and_twice_is_no_error() -> None:
    subscriptions, told = Subscriptions(), []
    end = subscriptions.add("**", told.append)
    subscriptions.add("**", told.append)
    end()
    end()
    subscriptions.notify(updated())
    assert told == [updated()]


def test_subscribing_from_many_threads_loses_nobody() -> None:
    subscriptions, told = Subscriptions(), []
    ends = in_threads(8, lambda _: [subscriptions.add("**", told.append) for _ in range(25)])
    assert len(subscriptions._entries) == 200
    for end in ends[0]:
        end()
    assert len(subscriptions._entries) == 175


def test_a_malformed_pattern_is_refused() -> None:
    with pytest.raises(InvalidNameError):
        Subscriptions().add("db/pass*", print)


def test_a_callable_without_a_name_is_called_by_its_type() -> None:
    subscriptions = Subscriptions()
    subscriptions.add("**", partial(int, "x"))
    assert subscriptions.notify(updated()).failed == ("partial raised TypeError",)


class TestThroughTheManager:
    """What is told, and to whom."""

    def test_each_change_is_told_with_its_version_and_no_value(self, open_manager: Any) -> None:
        manager, told = open_manager(), []
        manager.on_update("db/**", told.append)
        manager.set("db/password", "s3cret")
        manager.rotate("db/password")
        manager.delete("db/password")
        assert [(event.name, event.change, event.version) for event in told] == [
            ("db/password", "set", "1"),
            ("db/password", "rotate", "2"),
            ("db/password", "delete", None),
        ]
        assert "s3cret" not in repr(told)

    def test_a_subscriber_reads_the_new_value(self, open_manager: Any) -> None:
        manager, read = open_manager({"a": "old"}), []
        manager.get("a")
        manager.on_update("a", lambda event: read.append(manager.get(event.name).reveal_text()))
        manager.set("a", "new")
        assert read == ["new"]

    def test_the_result_names_who_failed(self, open_manager: Any) -> None:
        manager = open_manager()

        def reconnect(_: object) -> None:
            raise ConnectionError

        manager.on_update("a", reconnect)
        for result in (manager.set("a", "v"), manager.rotate("a"), manager.delete("a")):
            [problem] = result.subscribers_failed
            assert problem.endswith("reconnect raised ConnectionError")

    def test_who_may_not_read_a_secret_is_not_told_of_it_and_nobody_takes_offence(
        self, open_manager: Any, rule: Any, sink: Any
    ) -> None:
        manager, told = (
            open_manager(policies=[rule("tester", "*", "impersonate"), rule("api", "read", names="mine")]),
            [],
        )
        manager.as_principal("api").on_update("**", told.append)
        manager.set("mine", "v")
        manager.set("other", "v")
        assert [event.name for event in told] == ["mine"]
        assert {event.result for event in sink.events} == {"ok"}

    def test_a_failed_change_is_not_told(self, open_manager: Any) -> None:
        manager, told = open_manager({"a": "v"}), []
        manager.on_update("a", told.append)
        with pytest.raises(Exception, match="version"):
            manager.set("a", "w", expect_version="7")
        assert told == []
