"""The boundary to what a backend may offer besides: staging, and rotations that its service makes."""

from __future__ import annotations

from typing import Any

import pytest

from serviced import ServicedBackend
from staged import StagedBackend
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    Backend,
    Capability,
    DiscardRequest,
    Leasing,
    PromoteRequest,
    ReadRequest,
    RotationStatusRequest,
    SchedulesRequest,
    ServiceRotation,
    StageRequest,
    StagesRequest,
    Staging,
    TriggerRotationRequest,
    WriteRequest,
)
from strongroom.errors import (
    BackendError,
    BackendUnavailableError,
    InvalidValueError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import Telemetry
from strongroom.testing import FakeClock
from strongroom.testing.spans import Spans

NAME = SecretName("managed/password")
ALL = frozenset(Capability)
STAGING = {
    "stage": lambda backend: backend.stage(StageRequest(name=NAME, value=SecretValue("new"), token="t-1")),
    "stages": lambda backend: backend.stages(StagesRequest(name=NAME)),
    "promote": lambda backend: backend.promote(PromoteRequest(name=NAME, version="1", expect_current="1")),
    "discard": lambda backend: backend.discard(DiscardRequest(name=NAME, version="1")),
}
SERVICE = {
    "rotates": lambda backend: backend.rotates(NAME),
    "trigger_rotation": lambda backend: backend.trigger_rotation(TriggerRotationRequest(name=NAME, token="t-1")),
    "rotation_status": lambda backend: backend.rotation_status(RotationStatusRequest(name=NAME, version="1")),
    "schedules": lambda backend: backend.schedules(SchedulesRequest()),
}
CALLS = STAGING | SERVICE
each_call = pytest.mark.parametrize("operation", CALLS)


class Both(ServicedBackend):
    """A backend whose answers a test can break; staging, too."""

    def __init__(self, error: Exception | None = None, answer: Any = None) -> None:
        super().__init__(MemorySettings(seed={NAME: SecretValue("old")}), clock=FakeClock())
        self.error = error
        self.answer = answer

    def __getattribute__(self, attribute: str) -> Any:
        return self._fail if attribute in CALLS else super().__getattribute__(attribute)

    def _fail(self, _: object) -> Any:
        if self.error is not None:
            raise self.error
        return self.answer


Staging.register(Both)


def guarded(backend: Backend, capabilities: frozenset[Capability] = ALL, **more: Any) -> GuardedBackend:
    return GuardedBackend(backend, name="main", type="double", capabilities=capabilities, **more)


@pytest.fixture
def staged() -> StagedBackend:
    backend = StagedBackend()
    backend.write(WriteRequest(name=NAME, value=SecretValue("old")))
    return backend


@each_call
def test_a_foreign_exception_becomes_a_backend_error_with_its_cause(operation: str) -> None:
    error = ZeroDivisionError("s3cret")
    with pytest.raises(BackendError, match=rf"main \(type double\) failed in {operation} with ZeroDivisionE") as caught:
        CALLS[operation](guarded(Both(error)))
    assert caught.value.__cause__ is error
    assert "s3cret" not in str(caught.value)


@each_call
def test_one_of_our_errors_passes_and_learns_the_backend_s_name(operation: str) -> None:
    error = BackendUnavailableError("no answer", code="timeout")
    with pytest.raises(BackendUnavailableError) as caught:
        CALLS[operation](guarded(Both(error)))
    assert caught.value is error
    assert error.backend == "main"


@each_call
def test_an_answer_of_another_kind_is_an_error(operation: str) -> None:
    with pytest.raises(BackendError, match=f"failed in {operation} with TypeError"):
        CALLS[operation](guarded(Both(answer="yes")))


@each_call
def test_each_call_has_one_span(operation: str) -> None:
    spans = Spans()
    backend = guarded(Both(BackendError("no")), telemetry=Telemetry(tracer_provider=spans.provider))
    with pytest.raises(BackendError):
        CALLS[operation](backend)
    assert [span.name for span in spans.finished()] == [f"strongroom.{operation}"]
    assert NAME not in spans.text()


@pytest.mark.parametrize("operation", sorted(CALLS.keys() - {"rotates"}))
def test_a_backend_that_does_not_offer_it_is_not_asked(operation: str) -> None:
    with pytest.raises(UnsupportedOperationError, match=r"main \(type double\) keeps no ") as caught:
        CALLS[operation](guarded(MemoryBackend()))
    assert caught.value.hint


def test_what_is_offered_is_told(staged: StagedBackend) -> None:
    backend = guarded(staged)
    assert (backend.offers(Staging), backend.offers(ServiceRotation)) == (True, False)


def test_a_service_that_there_is_not_rotates_nothing() -> None:
    assert guarded(MemoryBackend()).rotates(NAME) is False


@pytest.mark.parametrize("operation", sorted(CALLS.keys() - {"rotates", "schedules"}))
def test_a_leased_name_is_refused_before_the_call(operation: str) -> None:
    class Leased(Both, Leasing):
        def is_leased(self, name: SecretName) -> bool:
            return True

        def renew_lease(self, request: Any) -> Any:
            raise AssertionError("nothing was leased")

        revoke_lease = release_lease = renew_lease

    with pytest.raises(UnsupportedOperationError, match="is a credential that main makes"):
        CALLS[operation](guarded(Leased(AssertionError("it was called"))))


class TestStaging:
    """What passes through."""

    def test_the_whole_way_of_a_rotation(self, staged: StagedBackend) -> None:
        backend = guarded(staged)
        old = backend.read(ReadRequest(name=NAME)).version
        new = STAGING["stage"](backend).version
        assert backend.stages(StagesRequest(name=NAME)).pending == new
        backend.promote(PromoteRequest(name=NAME, version=new, expect_current=old))
        assert backend.read(ReadRequest(name=NAME)).value.reveal_text() == "new"
        assert not backend.discard(DiscardRequest(name=NAME, version=new)).existed

    def test_a_conflict_passes(self, staged: StagedBackend) -> None:
        backend = guarded(staged)
        new = STAGING["stage"](backend).version
        with pytest.raises(VersionConflictError) as caught:
            backend.promote(PromoteRequest(name=NAME, version=new, expect_current="7"))
        assert caught.value.backend == "main"

    @pytest.mark.parametrize(
        ("limit", "empty", "value", "error"),
        [(3, True, "1234", ValueTooLargeError), (None, False, "", InvalidValueError)],
    )
    def test_a_value_that_cannot_be_held_is_refused_before_the_call(
        self, limit: int | None, empty: bool, value: str, error: type[Exception], staged: StagedBackend
    ) -> None:
        staged.max_value_bytes, staged.accepts_empty = limit, empty
        request = StageRequest(name=NAME, value=SecretValue(value), token="t-1")
        for refused in (guarded(staged).check_stage, guarded(staged).stage):
            with pytest.raises(error):
                refused(request)
        assert staged.stages(StagesRequest(name=NAME)).pending is None

    @pytest.mark.parametrize("operation", STAGING)
    def test_without_versions_there_is_no_staging(self, operation: str, staged: StagedBackend) -> None:
        with pytest.raises(UnsupportedOperationError, match="does not support keeping a pending value"):
            STAGING[operation](guarded(staged, ALL - {Capability.VERSIONS}))

    def test_what_cannot_be_written_cannot_be_staged(self, staged: StagedBackend) -> None:
        with pytest.raises(UnsupportedOperationError, match="does not support writing"):
            STAGING["stage"](guarded(staged, ALL - {Capability.WRITE}))
        assert staged.stages(StagesRequest(name=NAME)).pending is None
