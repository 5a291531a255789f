"""What leads to a value stays in the core."""

import asyncio

from typing import Any

import pytest

import strongroom

from strongroom.contracts import AuditSink, AuditWrite, Block, Hits, Reading


class Keeper(AuditSink):
    """Keeps the rows of hits as they come, as a sink that has to be quick does."""

    def __init__(self) -> None:
        self.rows: list[Any] = []

    def write(self, request: AuditWrite) -> None:
        parts = request.events.parts if isinstance(request.events, Block) else (request.events,)
        self.rows += [row for part in parts if isinstance(part, Hits) for row in part.rows]


def read_twice(make_backend: Any, keeper: Keeper) -> None:
    with strongroom.open({"audit": "none"}, backends={"memory": make_backend({"a": "v"})}, sinks=(keeper,)) as manager:
        for _ in range(3):
            manager.get("a")


def read_twice_on_a_loop(make_backend: Any, keeper: Keeper) -> None:
    async def read() -> None:
        backends = {"memory": make_backend({"a": "v"})}
        async with strongroom.open_async({"audit": "none"}, backends=backends, sinks=(keeper,)) as manager:
            for _ in range(3):
                await manager.get("a")

    asyncio.run(read())


@pytest.mark.parametrize("read", [read_twice, read_twice_on_a_loop])
def test_what_a_sink_gets_of_a_hit_leads_to_no_value_and_no_backend(read: Any, make_hooked: Any) -> None:
    keeper = Keeper()
    read(make_hooked, keeper)
    assert len(keeper.rows) == 2
    for _, _, reading, *rest in keeper.rows:
        assert type(reading) is Reading
        assert (reading.name, reading.origin) == ("a", "memory")
        assert [type(part) for part in rest if not isinstance(part, str | tuple | None)] == []


def test_hits_of_one_name_have_their_reading_in_common(make_hooked: Any) -> None:
    """A sink keeps what it has made of a reading, and finds it by that again."""
    keeper = Keeper()
    read_twice(make_hooked, keeper)
    assert len({id(reading) for _, _, reading, *_ in keeper.rows}) == 1
