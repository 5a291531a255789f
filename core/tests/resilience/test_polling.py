"""Asking a backend through its guard which versions are current."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from strongroom.contracts import (
    Backend,
    Capability,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    VersionPolling,
)
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.resilience.guarded import GuardedBackend

ONE, TWO, THREE = map(SecretName, ("db/one", "db/two", "db/three"))
OUTAGE = BackendUnavailableError("it refuses", code="connection_refused")


class Reading(Backend):
    """A backend that can only be read, and answers as it is told."""

    address = "reading:"

    def __init__(self, answers: dict[SecretName, str | StrongroomError]) -> None:
        self.answers = answers

    def read(self, request: ReadRequest) -> ReadResult:
        raise AssertionError("it is asked for several at once")

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        found = {name: answer for name, answer in self.answers.items() if isinstance(answer, str)}
        return ReadManyResult(
            found={name: ReadResult(value=SecretValue("value"), version=version) for name, version in found.items()},
            errors={name: answer for name, answer in self.answers.items() if isinstance(answer, StrongroomError)},
        )


class Saying(Reading, VersionPolling):
    """A backend that says versions."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__({})
        self.answer = answer

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        result: CurrentVersionsResult = self.answer()
        return result


def ask(backend: Backend) -> CurrentVersionsResult:
    guarded = GuardedBackend(backend, name="main", type="test", capabilities=frozenset(Capability))
    return guarded.current_versions(CurrentVersionsRequest(names=(ONE, TWO, THREE)))


def test_a_backend_that_cannot_say_versions_is_read_and_the_result_says_so() -> None:
    gone = SecretDeletedError("deleted", when=None)
    result = ask(Reading({ONE: "7", TWO: SecretNotFoundError("none"), THREE: gone}))
    assert result.versions == {ONE: "7", TWO: None, THREE: None}
    assert (result.errors, result.values_fetched) == ({}, True)


def test_what_a_read_is_denied_is_an_error_of_that_name() -> None:
    result = ask(Reading({ONE: "7", TWO: AccessDeniedError("no"), THREE: OUTAGE}))
    assert result.versions == {ONE: "7"}
    assert {name: error.code for name, error in result.errors.items()} == {
        TWO: "denied",
        THREE: "connection_refused",
    }


@pytest.mark.parametrize(
    "backend",
    [
        Reading({ONE: OUTAGE, TWO: OUTAGE}),
        Saying(lambda: CurrentVersionsResult(versions={}, errors={ONE: OUTAGE, TWO: OUTAGE})),
    ],
    ids=["read", "said"],
)
def test_an_outage_for_each_name_is_one_of_the_backend(backend: Backend) -> None:
    with pytest.raises(BackendUnavailableError):
        ask(backend)


def test_something_else_than_an_answer_is_a_fault_of_the_backend() -> None:
    with pytest.raises(BackendError) as caught:
        ask(Saying(lambda: {ONE: "7"}))
    assert isinstance(caught.value.__cause__, TypeError)


def test_how_many_names_one_call_takes_is_the_backends_to_say() -> None:
    class Wide(Saying):
        versions_at_once = 7

    for backend, size in ((Wide(lambda: None), 7), (Reading({}), Reading.batch_size)):
        assert GuardedBackend(backend, name="m", type="t", capabilities=frozenset()).versions_at_once == size
