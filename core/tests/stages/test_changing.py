"""What a change leaves in the trail and in the fallback store, where its backend may be out of reach."""

from __future__ import annotations

import threading

from collections.abc import Callable
from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.errors import (
    AuditError,
    BackendError,
    BackendUnavailableError,
)
from unreachable import NAME, RotatingServer, Server, Store, opener


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def opened(open_manager: Any, server: Server, store: Store) -> Callable[..., SecretManager]:
    """A function that opens a manager of that server and that store; it takes the table ``[resilience]``."""
    return opener(open_manager, server, store)


class TestCopies:
    """A change brings the copy in the fallback store up to date before it returns."""

    @pytest.mark.parametrize("change", ["set", "rotate", "delete"])
    def test_no_copy_of_before_is_read_after_it(self, change: str, opened: Any, server: Server) -> None:
        manager = opened({"keep_copy": True})
        manager.set(NAME, "1")
        getattr(manager, change)(NAME, *(["2"] if change == "set" else []))
        server.down = "refused"
        if change == "delete":
            with pytest.raises(BackendUnavailableError):
                manager.get(NAME)
        else:
            secret = manager.get(NAME)
            assert (secret.version, secret.freshness.value, secret.reveal() != b"1") == ("2", "fallback", True)

    @pytest.mark.parametrize("change", ["undelete", "destroy"])
    def test_nor_after_a_secret_is_brought_back_or_destroyed(self, change: str, opened: Any, server: Server) -> None:
        manager = opened({"keep_copy": True})
        manager.set(NAME, "1")
        assert getattr(manager, change)(NAME).copy_failed == ""
        server.down = "refused"
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_nor_after_a_rotation_by_the_service(self, opened: Any, store: Store) -> None:
        server = RotatingServer()
        server.put("1")
        manager = opened({"keep_copy": True}, backends={"main": server, "store": store})
        manager.set(NAME, "1")
        assert manager.rotate(NAME).copy_failed == ""
        server.down = "refused"
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    @pytest.mark.parametrize("change", ["set", "delete"])
    def test_that_it_failed_is_told_and_recorded(
        self, change: str, opened: Any, server: Server, store: Store, sink: Any
    ) -> None:
        manager = opened({"keep_copy": True})
        manager.set(NAME, "1")
        for method in ("keep_copies", "drop_copies"):
            store.failing[method] = BackendError("no space is left", code="storage_full")
        result = manager.set(NAME, "2") if change == "set" else manager.delete(NAME)
        assert "no space is left" in result.copy_failed
        outcome = sink.named(change)[-1]
        assert (outcome.result, "no space is left" in outcome.detail) == ("ok", True)


class TestTrail:
    def test_attempt_and_outcome_say_that_it_waits_and_as_what(self, opened: Any, server: Server, sink: Any) -> None:
        manager = opened()
        server.down = "refused"
        changes = [manager.set(NAME, "1"), manager.rotate(NAME), manager.delete(NAME)]
        for event, change in zip(("set", "rotate", "delete"), changes, strict=True):
            attempt, outcome = sink.named(event)
            assert (attempt.phase, outcome.id, outcome.result) == ("attempt", attempt.id, "queued")
            assert change.queued in outcome.detail

    def test_what_cannot_be_recorded_is_not_accepted(self, opened: Any, server: Server, sink: Any) -> None:
        manager = opened()
        server.down = "refused"
        sink.failing = True
        with pytest.raises(AuditError) as caught:
            manager.set(NAME, "1")
        assert not caught.value.applied
        assert server.calls == []
        sink.failing = False
        assert manager.journal.list() == ()

    def test_an_outcome_that_cannot_be_recorded_is_said_to_be_queued(
        self, opened: Any, server: Server, sink: Any
    ) -> None:
        manager = opened()
        server.down = "refused"

        def fail() -> None:
            sink.failing = True

        server.before = fail
        with pytest.raises(AuditError, match="was queued, but its outcome") as caught:
            manager.set(NAME, "1")
        assert caught.value.applied
        sink.failing = False
        assert len(manager.journal.list()) == 1

    def test_subscribers_hear_of_it_when_it_is_made(self, opened: Any, server: Server) -> None:
        manager = opened()
        heard: list[Any] = []
        told = threading.Event()

        def hear(event: Any) -> None:
            heard.append((event.change, event.version))
            told.set()

        manager.on_update("db/**", hear)
        server.down = "refused"
        manager.set(NAME, "1")
        assert heard == []
        server.down = ""
        manager.journal.replay()
        assert told.wait(10)
        assert heard == [("set", "1")]
