"""Cache hits as rows, and several sequences of events as one: what sinks see of both are ordinary sequences."""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.contracts import Block, Hits, Reading
from strongroom.model import AuditEvent, Principal, PrincipalSource

OWN = Principal(name="app", source=PrincipalSource.CONFIGURATION)
TAKEN_ON = Principal(name="api", source=PrincipalSource.AS_PRINCIPAL)
ORIGIN = ("user", "host", 4711)
HIT = ("cache", "ok")

plain = Reading(OWN, None, "db/password", "local")
narrowed = Reading(TAKEN_ON, OWN, "db/user", "vault")


def hits(count: int, *, first: int = 1) -> Hits:
    """Return so many hits, a second apart from 2030 on."""
    rows = [(first + number, float(number), plain, "7", None, HIT) for number in range(count)]
    return Hits("run", 1893456000.0, ORIGIN, rows)


def events(count: int) -> tuple[AuditEvent, ...]:
    return tuple(
        AuditEvent(id=f"e{number}", timestamp="2030-01-01T00:00:00.000000+00:00", event="x") for number in range(count)
    )


def test_a_hit_has_all_the_facts_of_its_row() -> None:
    rows = [
        (1, 0.5, plain, "7", None, HIT),
        (0x1234567890, 1.25, narrowed, None, "4bf92f3577b34da6a3ce929d0e0e4736", ("stale", "ok")),
        (-1, 2.0, plain, None, None, ("cache", "not_found")),
    ]
    common = {"event": "get", "phase": "outcome", "user": "user", "host": "host", "pid": 4711, "cache_hit": True}
    own = {"key": "db/password", "principal": "app", "principal_source": "configuration", "backend": "local"}
    assert list(Hits("run", 1893456000.0, ORIGIN, rows)) == [
        AuditEvent(
            **common,
            **own,
            id="run00000001",
            timestamp="2030-01-01T00:00:00.500000+00:00",
            result="ok",
            source="cache",
            version="7",
        ),
        AuditEvent(
            **common,
            id="run1234567890",
            timestamp="2030-01-01T00:00:01.250000+00:00",
            key="db/user",
            principal="api",
            principal_source="as_principal",
            on_behalf_of="app",
            backend="vault",
            result="ok",
            source="stale",
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        AuditEvent(
            **common,
            **own,
            id="run-0000001",
            timestamp="2030-01-01T00:00:02.000000+00:00",
            result="not_found",
            source="cache",
        ),
    ]


@given(
    parts=st.lists(st.tuples(st.booleans(), st.integers(0, 4)), max_size=5),
    index=st.integers(-30, 30),
    bounds=st.tuples(*[st.none() | st.integers(-30, 30)] * 2, st.none() | st.integers(-3, 3).filter(bool)),
)
def test_both_are_sequences_like_a_tuple(
    parts: list[tuple[bool, int]], index: int, bounds: tuple[int | None, int | None, int | None]
) -> None:
    made: list[Any] = [
        hits(count, first=100 * place) if rows else events(count) for place, (rows, count) in enumerate(parts)
    ]
    whole = Block(tuple(made))
    for sequence in (*made, whole, Block((whole, events(1)))):
        same = tuple(sequence)
        assert len(sequence) == len(same)
        assert bool(sequence) is bool(same)
        assert tuple(sequence[slice(*bounds)]) == same[slice(*bounds)]
        assert list(reversed(sequence)) == list(reversed(same))
        assert all(event in sequence for event in same)
        if -len(same) <= index < len(same):
            assert sequence[index] == same[index]
            assert sequence.index(sequence[index]) == same.index(same[index])
        else:
            with pytest.raises(IndexError):
                sequence[index]
    assert tuple(whole) == tuple(event for part in made for event in part)


def test_a_hit_that_is_looked_at_twice_is_the_same_event() -> None:
    """Its id and its time are made of the row, not of the moment."""
    found = hits(3)
    assert list(found) == list(found) == [found[0], found[1], found[2]]


@given(when=st.floats(0, 4e9), offset=st.floats(0, 2e9))
def test_the_time_of_a_hit_is_the_row_s_to_the_microsecond(when: float, offset: float) -> None:
    from datetime import datetime

    [event] = Hits("run", offset, ORIGIN, [(1, when, plain, "7", None, HIT)])
    assert abs(datetime.fromisoformat(event.timestamp).timestamp() - (when + offset)) <= 2e-6


def test_no_sink_can_change_who_has_read_what() -> None:
    for change in (lambda: setattr(plain, "principal", TAKEN_ON), lambda: delattr(plain, "name")):
        with pytest.raises(AttributeError, match="cannot be changed"):
            change()
    assert (plain.principal, plain.name) == (OWN, "db/password")
