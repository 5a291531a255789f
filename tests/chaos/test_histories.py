"""The checker of histories itself: one that accepts anything would prove nothing."""

from __future__ import annotations

import random

from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from histories import ABSENT, Operation, State, is_linearizable


def wrote(start: float, end: float, version: int | None, value: str, **more: Any) -> Operation:
    return Operation("write", start, end, version, value, **more)


def tried(start: float, value: str, **more: Any) -> Operation:
    return Operation("write", start, value=value, **more)


def read(start: float, end: float, version: int, value: str | None) -> Operation:
    return Operation("read", start, end, version, value)


def refused(start: float, end: float, value: str, expected: int) -> Operation:
    return Operation("conflict", start, end, value=value, expected=expected)


GOOD = {
    "nothing happened": [],
    "one after another": [read(0, 1, 0, None), wrote(2, 3, 1, "a"), read(4, 5, 1, "a")],
    "a read during a write sees the old value": [wrote(0, 9, 1, "a"), read(1, 2, 0, None)],
    "a read during a write sees the new value": [wrote(0, 9, 1, "a"), read(1, 2, 1, "a"), read(3, 4, 1, "a")],
    "two writes at once, in the order of their versions": [
        wrote(0, 9, 2, "a"),
        wrote(0, 9, 1, "b"),
        read(10, 11, 2, "a"),
    ],
    "a write of unknown outcome never happened": [
        tried(0, "x"),
        read(1, 2, 0, None),
        wrote(3, 4, 1, "a"),
    ],
    "a write of unknown outcome happened late": [
        tried(0, "x"),
        wrote(1, 2, 1, "a"),
        read(3, 4, 1, "a"),
        read(5, 6, 2, "x"),
    ],
    "a write of unknown outcome left only its version": [tried(0, "x"), wrote(1, 2, 2, "a"), read(3, 4, 2, "a")],
    "a conditional write met its version": [wrote(0, 1, 1, "a"), wrote(2, 3, 2, "b", expected=1)],
    "a conditional write lost against another one": [
        wrote(0, 1, 1, "a"),
        wrote(2, 9, 2, "b", expected=1),
        refused(2, 9, "c", expected=1),
    ],
    "a conflict with a write of unknown outcome": [
        wrote(0, 1, 1, "a"),
        tried(2, "x", expected=1),
        refused(3, 4, "c", expected=1),
        read(5, 6, 2, "x"),
    ],
}

BAD = {
    "a read after a write sees the state before": [wrote(0, 1, 1, "a"), read(2, 3, 0, None)],
    "an acknowledged write is lost": [wrote(0, 1, 1, "a"), wrote(2, 3, 1, "b")],
    "an acknowledged write is lost, and nobody reads it": [
        wrote(0, 1, 1, "a"),
        wrote(2, 3, 2, "b"),
        read(4, 5, 1, "a"),
    ],
    "a value that nobody wrote": [wrote(0, 1, 1, "a"), read(2, 3, 1, "b")],
    "time runs backwards between two reads": [wrote(0, 9, 1, "a"), read(1, 2, 1, "a"), read(3, 4, 0, None)],
    "a write of unknown outcome happened before it began": [read(0, 1, 1, "x"), tried(2, "x")],
    "a write of unknown outcome happened twice": [
        tried(0, "x"),
        read(1, 2, 1, "x"),
        wrote(3, 4, 2, "a"),
        read(5, 6, 3, "x"),
    ],
    "a version is missing, and no write could have made it": [wrote(0, 1, 1, "a"), wrote(2, 3, 3, "b")],
    "two conditional writes over one version": [
        wrote(0, 1, 1, "a"),
        wrote(2, 9, 2, "b", expected=1),
        wrote(2, 9, 2, "c", expected=1),
    ],
    "a conflict where nothing had changed": [wrote(0, 1, 1, "a"), refused(2, 3, "b", expected=1)],
    "a conditional write of unknown outcome over another version": [
        wrote(0, 1, 1, "a"),
        wrote(2, 3, 2, "b"),
        tried(4, "x", expected=1),
        read(5, 6, 3, "x"),
    ],
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_a_possible_history_is_accepted(history: list[Operation]) -> None:
    assert is_linearizable(history)


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_an_impossible_history_is_refused(history: list[Operation]) -> None:
    assert not is_linearizable(history)


def happened(seed: int, threads: int, length: int) -> tuple[list[Operation], State]:
    """Return what threads did to one secret, each operation somewhere between its start and its end, and the result."""
    chance = random.Random(seed)
    free = [0.0] * threads
    state: State = ABSENT
    made: list[Operation] = []
    for number, moment in enumerate(sorted(chance.sample(range(1_000_000), length))):
        thread = chance.randrange(threads)
        start = max(free[thread], moment - chance.uniform(0, 20_000))
        if start > moment:
            continue
        end = free[thread] = moment + chance.uniform(0, 20_000)
        value, version = f"value {number}", state[0]
        match chance.choice(["read", "write", "conditional", "refused", "unknown", "lost"]):
            case "read":
                made.append(read(start, end, *state))
                continue
            case "refused":
                made.append(refused(start, end, value, version + 1))
                continue
            case "lost":
                made.append(tried(start, value))
                continue
            case "unknown":
                made.append(tried(start, value))
            case kind:
                expected = version if kind == "conditional" else None
                made.append(wrote(start, end, version + 1, value, expected=expected))
        state = version + 1, value
    return made, state


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_whatever_happened_is_accepted(seed: int, threads: int) -> None:
    history, _ = happened(seed, threads, 200)
    assert is_linearizable(history)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_read_of_what_has_been_overwritten_is_refused(seed: int, threads: int) -> None:
    history, state = happened(seed, threads, 60)
    newest = wrote(2_000_000, 2_000_001, state[0] + 1, "new")
    assert is_linearizable([*history, newest, read(2_000_002, 2_000_003, state[0] + 1, "new")])
    assert not is_linearizable([*history, newest, read(2_000_002, 2_000_003, *state)])
