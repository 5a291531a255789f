"""The boundary to a backend: checks before, the documented family of errors after."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    Backend,
    Capability,
    DeleteRequest,
    Health,
    HealthState,
    ListRequest,
    LoadStateRequest,
    ReadManyRequest,
    ReadRequest,
    ReadResult,
    SaveStateRequest,
    VersionsRequest,
    WriteRequest,
)
from strongroom.errors import (
    BackendError,
    BackendUnavailableError,
    InvalidValueError,
    UnsupportedOperationError,
    ValueTooLargeError,
)
from strongroom.model import ABSENT, SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import Telemetry
from strongroom.testing import FaultyBackend
from strongroom.testing.spans import Spans

NAME = SecretName("db/password")
ALL = frozenset(Capability)


def guarded(backend: Backend, capabilities: frozenset[Capability] = ALL) -> GuardedBackend:
    return GuardedBackend(backend, name="main", type="memory", capabilities=capabilities)


def write(value: SecretValue, expected: Any = None) -> WriteRequest:
    return WriteRequest(name=NAME, value=value, expect_version=expected)


CALLS = {
    "read": lambda backend: backend.read(ReadRequest(name=NAME)),
    "read_many": lambda backend: backend.read_many(ReadManyRequest(names=(NAME,))),
    "write": lambda backend: backend.write(write(SecretValue("v"))),
    "delete": lambda backend: backend.delete(DeleteRequest(name=NAME)),
    "list": lambda backend: backend.list(ListRequest()),
    "versions": lambda backend: backend.versions(VersionsRequest(name=NAME)),
    "save_state": lambda backend: backend.save_state(SaveStateRequest(key="anomaly/0-rate", state=b"state")),
    "load_state": lambda backend: backend.load_state(LoadStateRequest(key="anomaly/0-rate")),
}


@pytest.mark.parametrize("operation", CALLS)
def test_a_foreign_exception_becomes_a_backend_error_with_its_cause(operation: str, backend: FaultyBackend) -> None:
    backend.error = ZeroDivisionError("s3cret")
    with pytest.raises(
        BackendError, match=rf"main \(type memory\) failed in {operation} with ZeroDivisionError"
    ) as caught:
        CALLS[operation](guarded(backend))
    assert caught.value.__cause__ is backend.error
    assert caught.value.backend == "main"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("operation", CALLS)
def test_one_of_our_errors_passes_and_learns_the_backend_s_name(operation: str, backend: FaultyBackend) -> None:
    backend.error = BackendUnavailableError("no answer", code="timeout")
    with pytest.raises(BackendUnavailableError) as caught:
        CALLS[operation](guarded(backend))
    assert caught.value is backend.error
    assert caught.value.backend == "main"


@pytest.mark.parametrize("operation", sorted(CALLS.keys() - {"save_state"}))
def test_an_answer_that_is_none_is_an_error_and_not_a_missing_secret(operation: str) -> None:
    class Silent(MemoryBackend):
        def __getattribute__(self, attribute: str) -> Any:
            return (lambda _: None) if attribute in CALLS else super().__getattribute__(attribute)

    with pytest.raises(BackendError, match=f"failed in {operation} with TypeError"):
        CALLS[operation](guarded(Silent()))


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        (Capability.WRITE, CALLS["write"]),
        (Capability.WRITE, CALLS["delete"]),
        (Capability.LIST, CALLS["list"]),
        (Capability.VERSIONS, CALLS["versions"]),
        (Capability.VERSIONS, lambda backend: backend.read(ReadRequest(name=NAME, version="1"))),
        (Capability.CHECK_AND_SET, lambda backend: backend.write(write(SecretValue("v"), "1"))),
        (Capability.CHECK_AND_SET, lambda backend: backend.write(write(SecretValue("v"), ABSENT))),
    ],
)
def test_what_is_not_declared_is_refused_before_the_call(
    missing: Capability, call: Any, backend: FaultyBackend
) -> None:
    with pytest.raises(UnsupportedOperationError, match=r"main \(type memory\) does not support"):
        call(guarded(backend, ALL - {missing}))
    assert backend.calls == []


def test_a_size_is_counted_in_bytes_and_refused_before_the_call(make_backend: Any) -> None:
    backend = make_backend(max_value_bytes=4)
    guarded(backend).write(write(SecretValue("\N{EURO SIGN}x")))
    with pytest.raises(ValueTooLargeError, match="has 5 bytes, and main takes at most 4") as caught:
        guarded(backend).write(write(SecretValue("\N{EURO SIGN}xy")))
    assert (caught.value.size, caught.value.limit) == (5, 4)
    assert backend.calls == ["write"]


def test_an_empty_value_is_refused_where_the_backend_cannot_hold_it(backend: FaultyBackend) -> None:
    guarded(backend).write(write(SecretValue("")))
    backend.accepts_empty = False
    with pytest.raises(InvalidValueError, match="main cannot hold an empty value"):
        guarded(backend).write(write(SecretValue(b"")))
    assert backend.calls == ["write"]


@pytest.mark.parametrize("error", [BackendUnavailableError("no answer"), ZeroDivisionError()])
def test_a_backend_that_cannot_say_how_it_is_is_down(error: Exception, backend: FaultyBackend) -> None:
    assert guarded(backend).health().state is HealthState.UP
    backend.error = error
    assert guarded(backend).health().state is HealthState.DOWN


def test_a_health_that_is_none_is_down() -> None:
    class Odd(MemoryBackend):
        def health(self) -> Health:
            return None  # type: ignore[return-value]  # what is tried

    assert guarded(Odd()).health().state is HealthState.DOWN


def test_an_answer_is_passed_on_as_it_is() -> None:
    backend = MemoryBackend(MemorySettings(seed={NAME: SecretValue("v")}))
    result = guarded(backend).read(ReadRequest(name=NAME))
    assert isinstance(result, ReadResult)
    assert (result.value, result.version) == (SecretValue("v"), "1")
    assert guarded(backend).address == backend.address


class TestStates:
    def test_a_state_comes_back(self, backend: FaultyBackend) -> None:
        guard = guarded(backend)
        CALLS["save_state"](guard)
        assert CALLS["load_state"](guard).state == b"state"
        assert backend.calls == ["save_state", "load_state"]

    @pytest.mark.parametrize("operation", ["save_state", "load_state"])
    def test_a_backend_that_keeps_none_says_so(self, operation: str) -> None:
        class Plain(Backend):
            address = "plain:"

            def read(self, request: ReadRequest) -> ReadResult:
                raise AssertionError("nobody asked")

        with pytest.raises(UnsupportedOperationError, match=r"main \(type memory\) keeps no states") as caught:
            CALLS[operation](guarded(Plain()))
        assert caught.value.backend == "main"

    def test_each_call_has_a_span_without_key_and_content(self, backend: FaultyBackend) -> None:
        spans = Spans()
        telemetry = Telemetry(tracer_provider=spans.provider)
        guard = GuardedBackend(backend, name="main", type="memory", capabilities=ALL, telemetry=telemetry)
        CALLS["save_state"](guard)
        CALLS["load_state"](guard)
        finished = spans.finished()
        assert [span.name for span in finished] == ["strongroom.save_state", "strongroom.load_state"]
        assert not any("anomaly" in span.to_json() or "secret.id" in span.to_json() for span in finished)
