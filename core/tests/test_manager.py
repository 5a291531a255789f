"""The class that users meet, as a whole: opening, reading, health, fields, versions."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom import Freshness
from strongroom.contracts import Health, HealthState
from strongroom.errors import (
    BackendUnavailableError,
    ConfigurationError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.testing import FakeClock, FaultyBackend, MemorySink, assert_hidden, marker_value, report_of

NAME = "db/password"


def test_a_configuration_file_is_opened_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "strongroom.toml"
    path.write_text('audit = "none"\n[backends.b]\ntype = "memory"\n[backends.b.seed]\n"a/b" = "v"\n')
    with strongroom.open(str(path)) as manager:
        assert manager.get("a/b").reveal_text() == "v"


def test_a_configuration_without_an_audit_sink_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r'has no audit sink: .*audit = "none"'):
        strongroom.open({"backends": {"b": {"type": "memory"}}})


def test_a_secret_tells_where_it_comes_from_and_not_what_it_is(open_manager: Any, clock: FakeClock) -> None:
    manager = open_manager({NAME: "s3cret"})
    secret = manager.get(NAME)
    assert (secret.name, secret.version, secret.backend) == (NAME, "1", "memory")
    assert (secret.freshness, secret.age, secret.retrieved) == (Freshness.FRESH, 0.0, clock.now())
    first = clock.now()
    clock.advance(60)
    assert manager.get(NAME).retrieved - first < timedelta(seconds=1)
    assert "s3cret" not in repr(secret) + str(secret) + f"{secret}"


def test_a_field_of_a_json_object_is_read_by_its_name(open_manager: Any) -> None:
    manager = open_manager({"db": '{"user": "app", "port": 5432, "": "empty"}', "plain": "x"})
    assert manager.get("db", field="user").reveal_text() == "app"
    assert manager.get("db", field="port").reveal_text() == "5432"
    assert manager.get("db", field="").reveal_text() == "empty"
    with pytest.raises(SecretNotFoundError) as caught:
        manager.get("db", field="User")
    assert caught.value.code == "field_not_found"
    with pytest.raises(InvalidValueError):
        manager.get("plain", field="user")
    assert manager.get("db").freshness is Freshness.CACHED


def test_versions_are_listed_oldest_first_and_read_by_number(open_manager: Any) -> None:
    manager = open_manager({NAME: "one"})
    manager.set(NAME, "two")
    assert [(version.version, version.state) for version in manager.versions(NAME)] == [
        ("1", "superseded"),
        ("2", "current"),
    ]
    assert [manager.get(NAME, version=number).reveal_text() for number in "12"] == ["one", "two"]
    with pytest.raises(SecretNotFoundError) as caught:
        manager.get(NAME, version="3")
    assert caught.value.code == "version_not_found"


def test_deleted_is_told_apart_from_never_there(open_manager: Any) -> None:
    manager = open_manager({NAME: "v"})
    manager.delete(NAME)
    with pytest.raises(SecretDeletedError) as caught:
        manager.get(NAME)
    assert caught.value.when is not None
    with pytest.raises(SecretNotFoundError) as missing:
        manager.get("absent")
    assert not isinstance(missing.value, SecretDeletedError)
    assert manager.list() == []


def test_a_folder_is_listed_without_the_name_that_is_called_like_it(open_manager: Any) -> None:
    manager = open_manager({"db": "1", "db/a": "2", "db/b/c": "3", "dbx": "4"})
    assert manager.list("db") == manager.list("db/") == ["db/a", "db/b/c"]
    assert manager.list() == ["db", "db/a", "db/b/c", "dbx"]


def test_prefetching_takes_names_and_patterns(open_manager: Any, backend: FaultyBackend) -> None:
    manager = open_manager({"a": "1", "b/x": "2", "b/y/z": "3", "c": "4"})
    assert set(manager.prefetch("a", "b/*").found) == {"a", "b/x"}
    assert set(manager.prefetch("b/**").found) == {"b/x", "b/y/z"}
    assert set(manager.prefetch("**").found) == {"a", "b/x", "b/y/z", "c"}
    assert set(manager.prefetch("*/x").found) == {"b/x"}
    assert manager.prefetch().found == {}
    assert manager.get("c").freshness is Freshness.CACHED


class TestHealth:
    """The state of the whole is the worst of its parts."""

    def test_backends_and_sinks_are_asked(self, open_manager: Any, sink: Any) -> None:
        health = open_manager({"a": "v"}).health()
        assert health.state is HealthState.UP
        assert [(part.kind, part.name, part.health.state) for part in health.parts] == [
            ("backend", "memory", HealthState.UP),
            ("audit", "WaitingSink", HealthState.UP),
        ]

    def test_a_backend_that_is_out_of_reach_is_down(self, open_manager: Any, backend: FaultyBackend) -> None:
        backend.error = BackendUnavailableError("no answer", hint="start it")
        health = open_manager(backends={"memory": backend}).health()
        assert health.state is HealthState.DOWN
        assert (health.parts[0].health.reason, health.parts[0].health.hint) == ("no answer", "start it")

    def test_one_that_cannot_be_opened_is_down_and_the_others_are_asked(self, open_manager: Any) -> None:
        manager = strongroom.open(
            {"audit": "none", "backend": "a", "backends": {"a": {"type": "no-such"}, "b": {"type": "memory"}}}
        )
        states = {part.name: part.health.state for part in manager.health().parts}
        assert states == {"a": HealthState.DOWN, "b": HealthState.UP}
        manager.close()

    @pytest.mark.parametrize("state", HealthState)
    def test_a_sink_s_own_answer_counts(self, state: HealthState, open_manager: Any) -> None:
        class Answering(MemorySink):
            def health(self) -> Health:
                return Health(state=state, reason="because")

        assert open_manager(sinks=(Answering(),)).health().state is state

    def test_a_sink_that_fails_to_answer_is_down(self, open_manager: Any) -> None:
        class Failing(MemorySink):
            def health(self) -> Health:
                raise OSError("s3cret")

        [_, part] = open_manager(sinks=(Failing(),)).health().parts
        assert (part.health.state, part.health.reason) == (HealthState.DOWN, "Failing failed with OSError")


@pytest.mark.parametrize(
    "provoke",
    [
        lambda manager, backend: manager.get(NAME, field="x"),
        lambda manager, backend: manager.get(NAME, version="99"),
        lambda manager, backend: manager.set(NAME, manager.get(NAME).reveal(), expect_version="99"),
        lambda manager, backend: manager.set(NAME, [manager.get(NAME).reveal_text()]),
        lambda manager, backend: manager.set("bad//name", manager.get(NAME).value),
        lambda manager, backend: _break(backend) or manager.refresh(NAME),
        lambda manager, backend: _break(backend) or manager.set(NAME, manager.get(NAME).value),
        lambda manager, backend: _break(backend) or manager.rotate(NAME),
    ],
)
def test_no_error_shows_a_value(provoke: Any, open_manager: Any, make_backend: Any, sink: Any) -> None:
    marker = marker_value()
    backend = make_backend({NAME: marker})
    manager = open_manager(backends={"memory": backend})
    manager.get(NAME)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # each of them
        provoke(manager, backend)
    assert_hidden(marker, report_of(caught.value, "strongroom"), "the error")
    assert_hidden(marker, repr(sink.events), "the trail")


def _break(backend: FaultyBackend) -> None:
    backend.error = ZeroDivisionError()


def test_a_backend_s_missing_answer_in_a_batch_is_an_error_of_that_name(open_manager: Any, make_hooked: Any) -> None:
    class Forgetful(make_hooked):  # type: ignore[misc]  # the class comes from a fixture
        def read_many(self, request: Any) -> Any:
            return super().read_many(request.replace(names=request.names[1:]))

    batch = open_manager(backends={"memory": Forgetful({"a": "1", "b": "2"})}).get_many(["a", "b"])
    assert (set(batch.found), str(batch.errors["a"])) == ({"b"}, "memory gave no answer for a in a batch")


def test_an_operation_that_a_backend_lacks_is_refused(open_manager: Any, backend: FaultyBackend) -> None:
    manager = open_manager(backends={"memory": backend})
    backend.capabilities = frozenset()
    for operation in (manager.list, lambda: manager.versions(NAME), lambda: manager.set(NAME, "v")):
        with pytest.raises(UnsupportedOperationError):
            operation()
    assert manager.get(NAME).reveal_text() == "s3cret"
