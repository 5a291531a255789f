"""What answered instead of a backend's usual place: told by every way of reading, kept with the copy, recorded."""

from __future__ import annotations

import asyncio
import threading

from typing import Any

import pytest

import strongroom

from strongroom.contracts import Capability, ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom.errors import BackendUnavailableError
from strongroom.model import Freshness, SecretName
from strongroom.testing import CredentialMaker, FakeClock, in_threads

REPLICA = "region eu-west-1"
NAME = "db/password"
TOLD = f"answered by {REPLICA}"


@pytest.fixture
def replica(make_hooked: Any) -> Any:
    """A backend that answers from a replica, until a test says that the usual place is there again."""

    class Replica(make_hooked):  # type: ignore[misc]  # a fixture gives the class
        place: str | None = REPLICA

        def read(self, request: ReadRequest) -> ReadResult:
            return super().read(request).replace(place=self.place)  # type: ignore[no-any-return]  # as above

        def read_many(self, request: ReadManyRequest) -> ReadManyResult:
            result: ReadManyResult = super().read_many(request)
            return result

    return Replica({NAME: '{"user": "app"}', "db/user": "app"})


@pytest.fixture
def manager(open_manager: Any, replica: Any) -> Any:
    return open_manager(backends={"memory": replica})


def test_a_read_tells_it(manager: Any, sink: Any) -> None:
    assert manager.get(NAME).place == REPLICA
    assert [(event.source, event.detail) for event in sink.named("get")] == [("backend", TOLD)]


def test_the_usual_place_is_not_told(manager: Any, replica: Any, sink: Any) -> None:
    replica.place = None
    assert manager.get(NAME).place is None
    assert [event.detail for event in sink.named("get")] == [None]


def test_the_cached_copy_keeps_it(manager: Any, replica: Any, sink: Any) -> None:
    manager.get(NAME)
    replica.place = None
    for _ in range(3):
        hit = manager.get(NAME)
        assert (hit.freshness, hit.place) == (Freshness.CACHED, REPLICA)
    manager.flush()
    hits = [event.detail for event in sink.named("get") if event.cache_hit]
    assert hits == [None] * len(hits)


def test_a_refresh_tells_anew(manager: Any, replica: Any) -> None:
    manager.get(NAME)
    replica.place = None
    assert manager.refresh(NAME).place is None
    assert manager.get(NAME).place is None


def test_a_field_and_a_stale_answer_keep_it(open_manager: Any, replica: Any, clock: FakeClock) -> None:
    manager = open_manager(
        backends={"memory": replica}, cache={"policy": "ttl", "ttl": "10s", "max_stale": "60s", "jitter": 0}
    )
    assert manager.get(NAME, field="user").place == REPLICA
    clock.advance(20)

    def fail(_: object) -> None:
        raise BackendUnavailableError("no answer")

    replica.on_read = fail
    stale = manager.get(NAME)
    assert (stale.freshness, stale.place) == (Freshness.STALE, REPLICA)


def test_all_who_wait_for_one_load_are_told(manager: Any, replica: Any, sink: Any) -> None:
    arrived = threading.Barrier(8)

    def read(_: int) -> str | None:
        arrived.wait(10)
        place: str | None = manager.get(NAME).place
        return place

    assert in_threads(8, read) == [REPLICA] * 8
    assert replica.reads == [NAME]
    assert [event.detail for event in sink.named("get") if event.source == "backend" and event.detail] == [TOLD]


@pytest.mark.parametrize("batching", [True, False])
def test_several_at_once_are_told(
    batching: bool, open_manager: Any, replica: Any, sink: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not batching:
        replica.capabilities = frozenset(Capability) - {Capability.BATCH}
    manager = open_manager(backends={"memory": replica})
    batch = manager.get_many([NAME, "db/user"])
    assert [secret.place for secret in batch.found.values()] == [REPLICA] * 2
    assert replica.batches == (1 if batching else 0)
    assert sorted((event.key, event.detail) for event in sink.named("get")) == [(NAME, TOLD), ("db/user", TOLD)]
    assert [secret.place for secret in manager.get_many([NAME, "db/user"]).found.values()] == [REPLICA] * 2


def test_on_a_loop_it_is_told_alike(manager: Any, sink: Any) -> None:
    async def main() -> list[Any]:
        async with strongroom.AsyncSecretManager(manager) as aio:
            first = await asyncio.gather(*(aio.get(NAME) for _ in range(5)))
            several = await aio.get_many([NAME, "db/user"])
            return [*first, await aio.get(NAME), *several.found.values()]

    assert {secret.place for secret in asyncio.run(main())} == {REPLICA}
    told = [event.key for event in sink.named("get") if event.detail == TOLD]
    assert told == [NAME, "db/user"]


def test_a_leased_credential_tells_it(open_manager: Any, clock: FakeClock, sink: Any) -> None:
    class Elsewhere(CredentialMaker):
        def read(self, request: ReadRequest) -> ReadResult:
            return super().read(request).replace(place=REPLICA)

    manager = open_manager(backends={"memory": Elsewhere(clock)})
    name = SecretName("creds/role")
    assert [manager.get(name).place for _ in range(2)] == [REPLICA] * 2
    assert TOLD in [event.detail for event in sink.named("get")]


def test_it_shows_in_the_repr_where_there_is_one(manager: Any, replica: Any) -> None:
    assert repr(manager.get(NAME)) == f"<Secret {NAME} version 1 from memory (region eu-west-1), fresh>"
    replica.place = None
    assert repr(manager.refresh(NAME)) == f"<Secret {NAME} version 1 from memory, fresh>"
