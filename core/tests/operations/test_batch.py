"""Reading several secrets: so many at once as the backend takes, or a few single reads at the same time."""

from __future__ import annotations

import threading

from typing import Any

import pytest

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import Backend, ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom.errors import BackendError, BackendUnavailableError, SecretNotFoundError
from strongroom.model import Freshness, SecretValue
from strongroom.testing import in_threads

NAMES = [f"n/{number}" for number in range(25)]


class Single(MemoryBackend):
    """A backend that reads one by one, and notes how many reads it has had at the same time."""

    read_many = Backend.read_many

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.reads: list[str] = []
        self.most = 0
        self.meet: threading.Barrier | None = None
        self._now = 0
        self._count = threading.Lock()

    def read(self, request: ReadRequest) -> ReadResult:
        with self._count:
            self.reads.append(request.name)
            self._now += 1
            self.most = max(self.most, self._now)
        try:
            if self.meet is not None:
                self.meet.wait(10)
            return super().read(request)
        finally:
            with self._count:
                self._now -= 1


@pytest.fixture
def single() -> Single:
    return Single(MemorySettings(seed={name: SecretValue("v") for name in NAMES}))


@pytest.fixture
def batching(make_hooked: Any) -> Any:
    backend = make_hooked(dict.fromkeys(NAMES, "v"))
    backend.batch_size = 10
    return backend


def test_a_backend_with_batches_is_given_as_many_names_as_it_takes(open_manager: Any, batching: Any) -> None:
    manager = open_manager(backends={"memory": batching})
    assert list(manager.get_many(NAMES).found) == NAMES
    assert batching.batches == 3
    assert manager.stats().loads == 3


def test_other_backends_are_asked_for_several_names_at_the_same_time(open_manager: Any, single: Single) -> None:
    # Each read waits until four others are under way, too: with fewer threads it would never end.
    single.meet = threading.Barrier(5)
    manager = open_manager(backends={"memory": single})
    assert list(manager.get_many(NAMES, concurrency=5).found) == NAMES
    assert sorted(single.reads) == sorted(NAMES)
    assert single.most == 5


def test_one_at_a_time_is_one_at_a_time(open_manager: Any, single: Single) -> None:
    manager = open_manager(backends={"memory": single})
    manager.get_many(NAMES, concurrency=1)
    assert (single.most, single.reads) == (1, NAMES)


def test_prefetch_takes_the_same_limit(open_manager: Any, single: Single) -> None:
    single.meet = threading.Barrier(5)
    manager = open_manager(backends={"memory": single})
    assert len(manager.prefetch("n/**", concurrency=5).found) == 25
    assert single.most == 5
    assert {secret.freshness for secret in manager.get_many(NAMES).found.values()} == {Freshness.CACHED}


@pytest.mark.parametrize("kind", ["single", "batching"])
def test_progress_goes_from_what_is_cached_to_all(kind: str, open_manager: Any, request: Any) -> None:
    manager = open_manager(backends={"memory": request.getfixturevalue(kind)})
    manager.get(NAMES[0])
    seen: list[tuple[int, int]] = []
    manager.get_many([*NAMES, "missing"], progress=lambda done, total: seen.append((done, total)))
    assert (seen[0], seen[-1]) == ((1, 26), (26, 26))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_progress_of_nothing_is_told_once(open_manager: Any) -> None:
    seen: list[tuple[int, int]] = []
    open_manager().prefetch(progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 0)]


def test_progress_that_fails_ends_the_work(open_manager: Any, single: Single) -> None:
    def refuse(done: int, _: int) -> None:
        if done > 3:
            raise ZeroDivisionError

    manager = open_manager(backends={"memory": single})
    with pytest.raises(ZeroDivisionError):
        manager.get_many(NAMES, concurrency=1, progress=refuse)
    assert len(single.reads) == 4
    assert manager.get(NAMES[10]).reveal_text() == "v"


@pytest.mark.parametrize("kind", ["single", "batching"])
def test_one_failure_is_one_name_s_answer(kind: str, open_manager: Any, request: Any) -> None:
    manager = open_manager(backends={"memory": request.getfixturevalue(kind)})
    batch = manager.get_many([*NAMES, "missing/a", "missing/b"])
    assert (len(batch.found), list(batch.errors)) == (25, ["missing/a", "missing/b"])


def test_a_batch_that_fails_is_the_answer_of_its_own_names_only(open_manager: Any, batching: Any) -> None:
    def fail_later(_: object) -> None:
        if batching.batches == 2:
            raise BackendUnavailableError("no answer")

    batching.on_read = fail_later
    manager = open_manager(backends={"memory": batching})
    batch = manager.get_many(NAMES, concurrency=1)
    assert len(batch.found) == 15
    assert list(batch.errors) == NAMES[10:20]


def test_two_spellings_are_one_call_in_a_batch(open_manager: Any, make_hooked: Any) -> None:
    backend = make_hooked({"caf\u00e9": "v"})
    manager = open_manager(backends={"memory": backend})
    assert len(manager.get_many(["caf\u00e9", "cafe\u0301"]).found) == 2
    assert backend.reads == ["caf\u00e9"]


@pytest.mark.parametrize("kind", ["single", "batching"])
def test_many_who_ask_for_the_same_cause_one_call_a_name(kind: str, open_manager: Any, request: Any) -> None:
    backend = request.getfixturevalue(kind)
    manager = open_manager(backends={"memory": backend})
    answers = in_threads(8, lambda number: manager.get_many(NAMES[number:] + NAMES[:number]))
    assert all(len(batch.found) == 25 for batch in answers)
    assert sorted(backend.reads) == sorted(NAMES)
    stats = manager.stats()
    assert stats.reads == 8 * 25


def test_helping_threads_act_as_who_asks(open_manager: Any, single: Single, sink: Any, rule: Any) -> None:
    manager = open_manager(
        backends={"memory": single}, policies=[rule("tester", "*"), rule("app", "read", names=("n/1", "n/2"))]
    )
    batch = manager.as_principal("app").get_many(NAMES, concurrency=5)
    assert list(batch.found) == ["n/1", "n/2"]
    assert {error.code for error in batch.errors.values()} == {"denied"}
    assert {event.principal for event in sink.named("get")} == {"app"}


class Answering(MemoryBackend):
    """A backend that answers for several names with what a test has prepared."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.found: Any = {}
        self.errors: Any = {}

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        return ReadManyResult(found=self.found, errors=self.errors)


@pytest.fixture
def answering() -> Answering:
    return Answering(MemorySettings(seed={"n/1": SecretValue("v"), "n/2": SecretValue("w")}))


@pytest.mark.parametrize("found", [{}, None, 3, {"n/1": None, "n/2": "text"}, {"n/3": None}])
def test_what_is_no_answer_is_an_error_of_each_name(found: Any, open_manager: Any, answering: Answering) -> None:
    answering.found = found
    manager = open_manager(backends={"memory": answering})
    batch = manager.get_many(["n/1", "n/2"])
    assert {name: type(error) for name, error in batch.errors.items()} == {"n/1": BackendError, "n/2": BackendError}
    assert manager.get("n/1").reveal_text() == "v"


def test_answers_that_nobody_asked_for_are_not_kept(open_manager: Any, answering: Answering) -> None:
    answering.found = {name: ReadResult(value=SecretValue("x"), version="1") for name in ("n/1", "n/2", "n/3")}
    manager = open_manager(backends={"memory": answering})
    assert list(manager.get_many(["n/1"]).found) == ["n/1"]
    assert manager.get("n/2").reveal_text() == "w"


def test_one_error_for_several_names_is_one_of_each(open_manager: Any, answering: Answering) -> None:
    answering.errors = dict.fromkeys(("n/1", "n/2"), SecretNotFoundError("it is gone"))
    batch = open_manager(backends={"memory": answering}).get_many(["n/1", "n/2"])
    assert {name: error.name for name, error in batch.errors.items()} == {"n/1": "n/1", "n/2": "n/2"}
