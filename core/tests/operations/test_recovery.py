"""Deleted versions and notes: brought back, destroyed and noted as the policy says, and recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Backend, Leasing, ReadRequest, ReadResult
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    BackendUnavailableError,
    InvalidNameError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    SuspiciousActivityError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName
from strongroom.testing import FaultyBackend

NAME = "db/password"

OPERATIONS: dict[str, Callable[[SecretManager, str], object]] = {
    "undelete": lambda manager, name: manager.undelete(name),
    "destroy": lambda manager, name: manager.destroy(name),
    "describe": lambda manager, name: manager.describe(name),
    "annotate": lambda manager, name: manager.annotate(name, {"owner": "shop"}),
}
RIGHTS = {"undelete": "update", "destroy": "delete", "describe": "read", "annotate": "update"}
each_operation = pytest.mark.parametrize("operation", OPERATIONS)
each_change = pytest.mark.parametrize("operation", ["undelete", "destroy", "annotate"])


class TestUndelete:
    """What was deleted comes back."""

    def test_the_newest_version_comes_back(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.delete(NAME)
        with pytest.raises(SecretDeletedError):
            manager.get(NAME)
        undeleted = manager.undelete(NAME)
        assert (undeleted.name, undeleted.version, undeleted.subscribers_failed) == (NAME, "1", ())
        assert manager.get(NAME).reveal_text() == "v"  # the cached answer that it was deleted is gone
        assert manager.list() == [NAME]

    def test_an_older_version_comes_back_by_its_number(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "one"})
        manager.delete(NAME)
        manager.set(NAME, "two")
        assert manager.undelete(NAME, version="1").version == "1"
        assert manager.get(NAME, version="1").reveal_text() == "one"
        assert manager.get(NAME).reveal_text() == "two"

    @pytest.mark.parametrize("version", [1, b"1", ["1"]], ids=repr)
    def test_a_version_is_text(self, version: Any, open_manager: Any, sink: Any) -> None:
        with pytest.raises(InvalidNameError, match="a version is text"):
            open_manager({NAME: "v"}).undelete(NAME, version=version)
        assert [(event.key, event.result) for event in sink.named("undelete")] == [(NAME, "invalid_name")]

    def test_what_was_never_there_is_not_found(self, open_manager: Any) -> None:
        manager = open_manager()
        with pytest.raises(SecretNotFoundError):
            manager.undelete(NAME)
        with pytest.raises(SecretNotFoundError):
            manager.get(NAME)


class TestDestroy:
    """What is destroyed stays destroyed."""

    def test_a_secret_as_a_whole_is_gone_at_once(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.get(NAME)
        destroyed = manager.destroy(NAME)
        assert (destroyed.name, destroyed.existed) == (NAME, True)
        with pytest.raises(SecretNotFoundError) as caught:
            manager.get(NAME)
        assert caught.value.code == "not_found"
        assert not manager.destroy(NAME).existed

    @pytest.mark.parametrize("kind", [list, tuple, dict.fromkeys, iter])
    def test_only_the_named_versions_are_destroyed(self, kind: Any, open_manager: Any) -> None:
        manager = open_manager({NAME: "one"})
        manager.set(NAME, "two")
        manager.set(NAME, "three")
        manager.get(NAME, version="1")
        assert manager.destroy(NAME, kind(["1", "2"])).existed
        assert [version.state for version in manager.versions(NAME)] == ["destroyed", "destroyed", "current"]
        with pytest.raises(SecretDeletedError) as caught:
            manager.get(NAME, version="1")  # which was cached
        assert caught.value.code == "destroyed"
        assert manager.get(NAME).reveal_text() == "three"

    @pytest.mark.parametrize("versions", [(), [], "12", b"12", 1, [1], [None]], ids=repr)
    def test_no_mistake_destroys_the_whole_or_something_else(
        self, versions: Any, open_manager: Any, backend: FaultyBackend
    ) -> None:
        """Least of all an empty list that a program has put together."""
        manager = open_manager(backends={"memory": backend})
        with pytest.raises(InvalidNameError):
            manager.destroy(NAME, versions)
        assert backend.calls == []
        assert manager.get(NAME).reveal_text() == "s3cret"

    def test_its_versions_are_recorded(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.destroy(NAME, ["1"])
        manager.destroy(NAME)
        manager.destroy(NAME)
        found = [(event.phase, event.result, event.detail) for event in sink.named("destroy")]
        assert found == [
            ("attempt", "ok", "versions 1"),
            ("outcome", "ok", "versions 1"),
            ("attempt", "ok", None),
            ("outcome", "ok", None),
            ("attempt", "ok", None),
            ("outcome", "not_found", None),
        ]

    def test_a_failure_says_of_which_versions(self, open_manager: Any, sink: Any, backend: FaultyBackend) -> None:
        manager = open_manager(backends={"memory": backend})
        backend.error = BackendUnavailableError("no answer")
        for change in (lambda: manager.destroy(NAME, ["1", "2"]), lambda: manager.undelete(NAME, version="3")):
            with pytest.raises(BackendUnavailableError):
                change()
        assert [(event.phase, event.detail) for event in sink.named("destroy")] == [
            ("attempt", "versions 1, 2"),
            ("outcome", "versions 1, 2"),
        ]
        assert [(event.phase, event.version) for event in sink.named("undelete")] == [
            ("attempt", "3"),
            ("outcome", "3"),
        ]


class TestNotes:
    """What is noted about a secret is shown, replaced, and in no event."""

    def test_a_description_holds_what_was_noted_and_no_value(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "s3cret"})
        manager.annotate(NAME, {"owner": "shop"})
        found = manager.describe(NAME)
        assert (found.name, found.metadata, found.version, found.backend) == (NAME, {"owner": "shop"}, "1", "memory")
        assert found.created is not None
        assert "s3cret" not in repr(found)

    def test_notes_are_replaced_as_a_whole(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.annotate(NAME, {"owner": "shop", "ticket": "7"})
        manager.annotate(NAME, MappingProxyType({"owner": "till"}))
        assert manager.describe(NAME).metadata == {"owner": "till"}
        manager.annotate(NAME, {})
        assert manager.describe(NAME).metadata == {}

    def test_a_description_is_a_copy(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.describe(NAME).metadata["owner"] = "nobody"
        assert manager.describe(NAME).metadata == {}

    @pytest.mark.parametrize("notes", [{"a": 1}, {1: "a"}, {"": "a"}, {"a": None}, [("a", "b")], "a=b", None], ids=repr)
    def test_notes_are_texts_by_name(self, notes: Any, open_manager: Any, backend: FaultyBackend, sink: Any) -> None:
        with pytest.raises(InvalidValueError):
            open_manager(backends={"memory": backend}).annotate(NAME, notes)
        assert backend.calls == []
        assert [(event.key, event.result) for event in sink.named("annotate")] == [(NAME, "invalid_value")]

    def test_what_is_noted_is_in_no_event(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.annotate(NAME, {"marked-name": "marked-text"})
        manager.describe(NAME)
        assert [event.count for event in sink.named("annotate")] == [None, 1]
        assert "marked" not in repr(sink.events)

    @pytest.mark.parametrize("operation", ["describe", "annotate"])
    def test_there_must_be_such_a_secret(self, operation: str, open_manager: Any) -> None:
        manager = open_manager()
        with pytest.raises(SecretNotFoundError):
            OPERATIONS[operation](manager, NAME)
        assert manager.list() == []


class TestRecords:
    """A change is recorded before and after, a look once."""

    @each_change
    def test_an_attempt_comes_first_and_the_outcome_under_the_same_id(
        self, operation: str, open_manager: Any, sink: Any, backend: FaultyBackend
    ) -> None:
        recorded: list[list[str]] = []
        backend.before = lambda _: recorded.append([event.phase for event in sink.named(operation)])
        OPERATIONS[operation](open_manager(backends={"memory": backend}), NAME)
        assert recorded == [["attempt"]]
        attempt, outcome = sink.named(operation)
        assert (attempt.id, attempt.phase, outcome.phase) == (outcome.id, "attempt", "outcome")
        assert (outcome.key, outcome.result, outcome.backend, outcome.principal) == (NAME, "ok", "memory", "tester")
        assert all(write.durable for write in sink.writes if write.events[0].event == operation)

    @each_change
    def test_what_cannot_be_recorded_does_not_happen(
        self, operation: str, open_manager: Any, sink: Any, backend: FaultyBackend
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        sink.failing = True
        with pytest.raises(AuditError):
            OPERATIONS[operation](manager, NAME)
        assert backend.calls == []

    @each_change
    def test_an_outcome_that_cannot_be_recorded_says_that_it_was_made(
        self, operation: str, open_manager: Any, sink: Any, backend: FaultyBackend
    ) -> None:
        backend.before = lambda _: setattr(sink, "failing", True)
        with pytest.raises(AuditError) as caught:
            OPERATIONS[operation](open_manager(backends={"memory": backend}), NAME)
        assert caught.value.applied

    @each_change
    def test_a_failure_is_recorded_and_no_copy_from_before_is_served(
        self, operation: str, open_manager: Any, sink: Any, backend: FaultyBackend
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        manager.get(NAME)
        backend.error = BackendUnavailableError("no answer")
        with pytest.raises(BackendUnavailableError):
            OPERATIONS[operation](manager, NAME)
        assert [event.result for event in sink.named(operation)] == ["ok", "unavailable"]
        backend.error = None
        assert manager.get(NAME).freshness.value == "fresh"

    def test_a_look_at_notes_is_recorded_whether_it_succeeds_or_not(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.describe(NAME)
        with pytest.raises(SecretNotFoundError):
            manager.describe("absent")
        found = [(event.key, event.result, event.version) for event in sink.named("describe")]
        assert found == [(NAME, "ok", "1"), ("absent", "not_found", None)]


class TestRights:
    """Each operation needs the right that its harm is like."""

    @each_operation
    def test_the_right_is_enough_and_every_other_is_not(self, operation: str, open_manager: Any, rule: Any) -> None:
        right = RIGHTS[operation]
        OPERATIONS[operation](open_manager({NAME: "v"}, policies=[rule("tester", right)]), NAME)
        others = sorted({"read", "list", "create", "update", "rotate", "delete"} - {right})
        with pytest.raises(AccessDeniedError):
            OPERATIONS[operation](open_manager({NAME: "v"}, policies=[rule("tester", *others)]), NAME)

    @each_operation
    def test_a_refusal_is_recorded_and_the_backend_not_asked(
        self, operation: str, open_manager: Any, rule: Any, sink: Any, backend: FaultyBackend
    ) -> None:
        manager = open_manager(backends={"memory": backend}, policies=[rule("nobody", "read")])
        with pytest.raises(AccessDeniedError):
            OPERATIONS[operation](manager, NAME)
        with pytest.raises(InvalidNameError):
            OPERATIONS[operation](manager, "/db")
        assert [event.result for event in sink.named(operation)] == ["denied", "invalid_name"]
        assert backend.calls == []

    @each_operation
    def test_a_detector_may_stop_it(self, operation: str, open_manager: Any, watched: Any) -> None:
        from strongroom.contracts import Decision, Verdict

        manager = open_manager({NAME: "v"}, anomaly=[{"type": "watch", "action": "block"}])
        watched.verdict = Verdict(decision=Decision.BLOCK, reason="not now")
        with pytest.raises(SuspiciousActivityError):
            OPERATIONS[operation](manager, NAME)
        assert [(access.action, access.name) for access in watched.seen] == [(RIGHTS[operation], NAME)]


class Plain(Backend):
    """A backend that implements neither interface."""

    address = "plain"

    def read(self, request: ReadRequest) -> ReadResult:
        raise SecretNotFoundError(f"there is no {request.name}")


class Lending(MemoryBackend, Leasing):
    """A backend whose names below ``creds/`` are leased."""

    def is_leased(self, name: SecretName) -> bool:
        return name.is_below("creds")

    def renew_lease(self, request: Any) -> Any:
        raise UnsupportedOperationError("nothing is renewed here")

    def revoke_lease(self, request: Any) -> Any:
        raise UnsupportedOperationError("nothing is revoked here")


@each_operation
def test_a_backend_without_it_refuses_before_anything_is_attempted(
    operation: str, open_manager: Any, sink: Any
) -> None:
    manager = open_manager(backends={"memory": Plain()})
    with pytest.raises(UnsupportedOperationError):
        OPERATIONS[operation](manager, NAME)
    assert [(event.phase, event.result) for event in sink.named(operation)] == [("outcome", "unsupported")]


@each_operation
def test_a_leased_name_is_refused(operation: str, open_manager: Any, sink: Any) -> None:
    manager = open_manager(backends={"memory": Lending()})
    with pytest.raises(UnsupportedOperationError, match="is a credential that memory makes when it is read"):
        OPERATIONS[operation](manager, "creds/app")
    assert [event.result for event in sink.named(operation)] == ["unsupported"]


def test_subscribers_hear_of_what_comes_back_and_of_what_is_destroyed(open_manager: Any) -> None:
    manager = open_manager({NAME: "v"})
    heard: list[tuple[str, str | None]] = []
    manager.on_update("db/*", lambda event: heard.append((event.change, event.version)))
    manager.delete(NAME)
    manager.undelete(NAME)
    manager.annotate(NAME, {"owner": "shop"})
    manager.destroy(NAME)
    assert heard == [("delete", None), ("undelete", "1"), ("destroy", None)]


def test_the_failure_of_a_subscriber_is_in_the_result(open_manager: Any) -> None:
    manager = open_manager({NAME: "v"})
    manager.on_update(NAME, lambda _: 1 / 0)
    for done in (manager.undelete(NAME), manager.destroy(NAME)):
        assert [sentence.endswith("raised ZeroDivisionError") for sentence in done.subscribers_failed] == [True]


def test_the_asyncio_manager_does_the_same(open_manager: Any) -> None:
    import asyncio

    from strongroom import AsyncSecretManager

    async def work(manager: AsyncSecretManager) -> tuple[str, Mapping[str, str], tuple[str, ...], bool]:
        await manager.delete(NAME)
        undeleted = await manager.undelete(NAME)
        await manager.annotate(NAME, {"owner": "shop"})
        described = await manager.describe(NAME)
        level = await manager.browse()
        destroyed = await manager.destroy(NAME, ["1"])
        await manager.aclose()
        return undeleted.version, described.metadata, level.folders, destroyed.existed

    assert asyncio.run(work(AsyncSecretManager(open_manager({NAME: "v"})))) == ("1", {"owner": "shop"}, ("db",), True)
