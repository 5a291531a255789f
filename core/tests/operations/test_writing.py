"""The way of a write: refused early, conditional where asked, seen at once, told to subscribers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import strongroom

from staged import StagedBackend
from strongroom import ABSENT, SecretValue
from strongroom.contracts import WriteRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidValueError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom.testing import FaultyBackend, in_threads

NAME = "db/password"


@pytest.mark.parametrize(
    "value", ["", "text", "caf\u00e9\n", b"", bytes(range(256)), SecretValue("v"), SecretValue(b"\n")]
)
def test_a_value_comes_back_exactly_and_as_the_same_type(value: Any, open_manager: Any) -> None:
    manager = open_manager()
    manager.set(NAME, value)
    expected = value if isinstance(value, SecretValue) else SecretValue(value)
    assert manager.get(NAME).value == expected
    assert manager.get(NAME).value == expected  # from the cache


def test_what_ctrl_c_cuts_short_has_an_outcome_in_the_trail(
    open_manager: Any, sink: Any, backend: FaultyBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: WriteRequest) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(backend, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        open_manager(backends={"memory": backend}).set(NAME, "v")
    attempt, outcome = sink.named("set")
    assert (outcome.id, outcome.phase, outcome.result) == (attempt.id, "outcome", "interrupted")


@pytest.mark.parametrize("value", [7, None, ["s3cret"], {"a": 1}, "\ud800"])
def test_what_is_no_value_is_refused_and_recorded(
    value: Any, open_manager: Any, sink: Any, backend: FaultyBackend
) -> None:
    with pytest.raises(InvalidValueError) as caught:
        open_manager(backends={"memory": backend}).set(NAME, value)
    assert [(event.key, event.phase, event.result) for event in sink.named("set")] == [
        (NAME, "outcome", "invalid_value")
    ]
    assert backend.calls == []
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(sink.events)


def test_that_somebody_may_not_write_is_said_before_what_is_wrong_with_the_value(
    open_manager: Any, sink: Any, rule: Any
) -> None:
    manager = open_manager(policies=[rule("tester", "read")])
    with pytest.raises(AccessDeniedError):
        manager.set(NAME, 7)
    assert [event.result for event in sink.named("set")] == ["denied"]


def test_the_result_names_the_secret_and_its_new_version(open_manager: Any) -> None:
    manager = open_manager()
    written = manager.set(NAME, "v")
    assert (written.name, written.version, written.subscribers_failed) == (NAME, "1", ())
    assert manager.rotate(NAME).version == "2"
    deleted = manager.delete(NAME)
    assert (deleted.name, deleted.existed) == (NAME, True)


class TestConditions:
    """Writing only over what one has seen."""

    @pytest.mark.parametrize("action", ["update", "rotate"])
    def test_what_is_there_is_not_read_where_the_backend_says_its_version(
        self, action: str, open_manager: Any, rule: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever may only change a secret may not be able to read it at the service either."""
        staged = StagedBackend()
        manager = open_manager(backends={"memory": staged}, policies=[rule("tester", action)])
        change = manager.rotate if action == "rotate" else partial(manager.set, value="w")
        with pytest.raises(SecretNotFoundError):
            change(NAME)
        staged.write(WriteRequest(name=SecretName(NAME), value=SecretValue("v")))
        monkeypatch.setattr(staged, "read", None)
        assert change(NAME).version == "2"
        staged.kept[SecretName(NAME)].current = None
        with pytest.raises(SecretNotFoundError, match="has no value"):
            change(NAME)

    def test_only_over_the_expected_version(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        assert manager.set(NAME, "w", expect_version="1").version == "2"
        with pytest.raises(VersionConflictError) as caught:
            manager.set(NAME, "x", expect_version="1")
        assert (caught.value.name, caught.value.expected, caught.value.found) == (NAME, "1", "2")
        assert manager.get(NAME).reveal_text() == "w"

    def test_only_if_there_is_none(self, open_manager: Any) -> None:
        manager = open_manager()
        manager.set(NAME, "v", expect_version=ABSENT)
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "w", expect_version=ABSENT)
        manager.delete(NAME)
        manager.set(NAME, "x", expect_version=ABSENT)
        assert manager.get(NAME).reveal_text() == "x"

    def test_a_conflict_drops_the_cached_copy(self, open_manager: Any, backend: FaultyBackend) -> None:
        manager = open_manager(backends={"memory": backend})
        seen = manager.get(NAME).version
        other = open_manager(backends={"memory": backend.wrapped})
        other.set(NAME, "somebody else's")
        with pytest.raises(VersionConflictError):
            manager.set(NAME, "mine", expect_version=seen)
        assert manager.get(NAME).reveal_text() == "somebody else's"
        assert backend.calls.count("write") == 1

    def test_twenty_threads_that_read_change_and_write_lose_nothing(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "0"})

        def add(_: int) -> int:
            conflicts = 0
            while True:
                secret = manager.get(NAME)
                try:
                    manager.set(NAME, str(int(secret.reveal_text()) + 1), expect_version=secret.version)
                except VersionConflictError:
                    conflicts += 1
                else:
                    return conflicts

        in_threads(20, add)
        assert manager.get(NAME).reveal_text() == "20"
        assert manager.get(NAME).version == "21"

    def test_a_failed_write_may_have_been_applied_so_the_cached_copy_goes(
        self, open_manager: Any, backend: FaultyBackend
    ) -> None:
        manager = open_manager(backends={"memory": backend})
        manager.get(NAME)
        backend.error = BackendUnavailableError("no answer")
        with pytest.raises(BackendUnavailableError):
            manager.set(NAME, "w")
        backend.error = None
        assert manager.get(NAME).freshness.value == "fresh"


class TestRefusals:
    """What the backend cannot take is refused before it is sent, and the refusal is recorded."""

    @pytest.mark.parametrize(
        ("settings", "value", "error"),
        [({"max_value_bytes": 3}, "1234", ValueTooLargeError), ({}, "", InvalidValueError)],
    )
    def test_a_value_that_cannot_be_held(
        self, settings: Any, value: str, error: type[Exception], open_manager: Any, make_backend: Any, sink: Any
    ) -> None:
        backend = make_backend({NAME: "old"}, **settings)
        backend.accepts_empty = False
        manager, told = open_manager(backends={"memory": backend}), []
        manager.on_update("**", told.append)
        for refused in (manager.set, lambda name, value: manager.check_set(name, SecretValue(value))):
            with pytest.raises(error):
                refused(NAME, value)
        assert (backend.calls, told) == ([], [])
        assert [(event.phase, event.result) for event in sink.named("set")] == [("outcome", error.codes[0])] * 2
        assert manager.get(NAME).reveal_text() == "old"

    @pytest.mark.parametrize(("size", "encoding"), [(1, "raw"), ("32", "raw"), (32, "base32"), (32, ["hex"])])
    def test_a_rotation_that_cannot_be_made_is_recorded(
        self, size: Any, encoding: Any, open_manager: Any, backend: FaultyBackend, sink: Any
    ) -> None:
        with pytest.raises(ConfigurationError):
            open_manager(backends={"memory": backend}).rotate(NAME, size=size, encoding=encoding)
        assert backend.calls == []
        assert [(event.key, event.result) for event in sink.named("rotate")] == [(NAME, "configuration")]

    def test_what_a_backend_does_not_offer_is_recorded(self, distributions: Any, sink: Any) -> None:
        distributions.add("fixed-plugin", {"strongroom.backends": {"fixed": "fixed_plugin"}}, FIXED)
        with strongroom.open({"audit": "none", "backends": {"b": {"type": "fixed"}}}, sinks=(sink,)) as manager:
            for change in (lambda: manager.set(NAME, "v"), lambda: manager.delete(NAME)):
                with pytest.raises(UnsupportedOperationError):
                    change()
        assert [(event.event, event.result) for event in sink.named("set", "delete")] == [
            ("set", "unsupported"),
            ("delete", "unsupported"),
        ]

    def test_a_backend_without_conditions_still_rotates_but_promises_nothing(self, distributions: Any) -> None:
        distributions.add("plain-plugin", {"strongroom.backends": {"plain": "plain_plugin"}}, PLAIN)
        manager = strongroom.open({"audit": "none", "backends": {"b": {"type": "plain"}}})
        manager.set(NAME, "v")
        assert manager.rotate(NAME).version == "2"
        for conditional in (
            lambda: manager.set(NAME, "w", expect_version="2"),
            lambda: manager.set(NAME, "w", expect_version=ABSENT),
            lambda: manager.rotate(NAME, expect_version="2"),
        ):
            with pytest.raises(UnsupportedOperationError):
                conditional()
        assert manager.get(NAME).version == "2"
        manager.close()


PLAIN = """
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import BackendSpec, Capability, Record
from strongroom.hookspecs import hookimpl

class Settings(Record):
    pass

@hookimpl
def strongroom_backends():
    yield BackendSpec(
        name="plain", summary="Only writes.", settings=Settings, open=lambda _: MemoryBackend(),
        capabilities=frozenset({Capability.WRITE}),
    )
"""


FIXED = PLAIN.replace("plain", "fixed").replace("Capability.WRITE", "")


class TestRotating:
    """Replacing a value by a random one."""

    def test_the_new_value_is_random_and_of_the_size_and_encoding_asked_for(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        manager.rotate(NAME)
        assert len(manager.get(NAME).reveal()) == 32
        manager.rotate(NAME, size=16, encoding="hex")
        assert len(bytes.fromhex(manager.get(NAME).reveal_text())) == 16

    def test_what_is_not_there_cannot_be_rotated(self, open_manager: Any, backend: FaultyBackend) -> None:
        manager = open_manager(backends={"memory": backend})
        with pytest.raises(SecretNotFoundError):
            manager.rotate("absent")
        assert "write" not in backend.calls

    def test_a_change_in_between_is_a_conflict_and_not_lost(self, open_manager: Any, backend: FaultyBackend) -> None:
        manager = open_manager(backends={"memory": backend})
        other = open_manager(backends={"memory": backend.wrapped})
        backend.before = lambda operation: other.set(NAME, "somebody else's") if operation == "write" else None
        with pytest.raises(VersionConflictError):
            manager.rotate(NAME)
        assert manager.get(NAME).reveal_text() == "somebody else's"

    def test_only_the_expected_version_is_rotated(self, open_manager: Any) -> None:
        manager = open_manager({NAME: "v"})
        assert manager.rotate(NAME, expect_version="1").version == "2"
        with pytest.raises(VersionConflictError):
            manager.rotate(NAME, expect_version="1")
