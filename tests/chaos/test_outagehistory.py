"""The checker of outages itself: one that accepts anything would prove nothing."""

from __future__ import annotations

import json
import random

from typing import Any

import pytest

from outagehistory import (
    DOUBLED,
    INVENTED,
    LOST,
    MISDIRECTED,
    OUTDATED,
    OVERTAKEN,
    REFUSED,
    SLOW,
    History,
    Operation,
    Problem,
    Recovery,
    read_log,
)

HERE = ("server", "a")


def wrote(value: str, begun: float, ended: float, result: str = "stored", **more: Any) -> Operation:
    place = dict(zip(("target", "name"), more.pop("at", HERE), strict=True))
    process = more.pop("process", "one")
    return Operation(process, "set", begun=begun, ended=ended, result=result, value=value, **place, **more)


def queued(value: str, begun: float, ended: float, **more: Any) -> Operation:
    return wrote(value, begun, ended, "queued", entry=f"entry-{value}", **more)


def deleted(value: str, begun: float, ended: float, result: str = "stored", **more: Any) -> Operation:
    return wrote(value, begun, ended, result, **more)._replace(kind="delete")


def read(value: str, begun: float, ended: float, freshness: str = "fresh", process: str = "one") -> Operation:
    return Operation(process, "get", *HERE, begun, ended, "read", value, freshness=freshness)


def kinds(history: History, *recoveries: Recovery) -> set[str]:
    return {problem.kind for problem in history.problems(recoveries)}


GOOD: dict[str, History] = {
    "nothing happened": History([], {}),
    "written, then read": History([wrote("x", 0, 1), read("x", 2, 3)], {HERE: ["x"]}),
    "queued, then made": History([queued("x", 0, 1), read("x", 2, 3, "fallback")], {HERE: ["x"]}),
    "queued, and still there": History([queued("x", 0, 1)], {}, {"entry-x": "waiting"}),
    "queued, and set aside": History([queued("x", 0, 1)], {HERE: ["foreign"]}, {"entry-x": "conflict"}),
    "queued, and dropped by a person": History([queued("x", 0, 1)], {}, {}, ["entry-x"]),
    "one of unknown outcome was made": History([wrote("x", 0, float("inf"), "")], {HERE: ["x"]}),
    "one of unknown outcome was not": History([wrote("x", 0, float("inf"), "")], {}),
    "one that failed was made all the same": History([wrote("x", 0, 1, "timeout")], {HERE: ["x"]}),
    "written, then deleted": History([wrote("x", 0, 1), deleted("x", 2, 3)], {HERE: ["x"]}, deleted=["x"]),
    "a delete that waits": History(
        [wrote("x", 0, 1), deleted("x", 2, 3, "queued", entry="e")], {HERE: ["x"]}, {"e": "waiting"}
    ),
    "a delete of what was never made": History(
        [queued("x", 0, 1), deleted("x", 2, 3, "queued", entry="e")], {}, {"entry-x": "conflict", "e": "conflict"}
    ),
    "two at once, either way": History([wrote("x", 0, 9), wrote("y", 1, 8)], {HERE: ["y", "x"]}),
    "two processes, either way": History([wrote("x", 0, 1), wrote("y", 2, 3, process="two")], {HERE: ["y", "x"]}),
    "an old value, marked": History([wrote("x", 0, 1), wrote("y", 2, 3), read("x", 4, 5, "stale")], {HERE: ["x", "y"]}),
    "what another process wrote before is not yet in the cache": History(
        [wrote("x", 0, 1), wrote("y", 2, 3, process="two"), read("x", 4, 5, "cached")], {HERE: ["x", "y"]}
    ),
    "a newer value of somebody else": History([wrote("x", 0, 1), read("foreign", 2, 3)], {HERE: ["x", "foreign"]}),
    "what the server has is asked for while a write waits": History(
        [wrote("x", 0, 1), queued("y", 2, 3), read("x", 4, 5)._replace(kind="refresh")],
        {HERE: ["x"]},
        {"entry-y": "waiting"},
    ),
    "the server's value after the own one was set aside": History(
        [queued("x", 0, 1), read("foreign", 2, 3)], {HERE: ["foreign"]}, {"entry-x": "conflict"}
    ),
}

BAD: dict[str, tuple[str, History]] = {
    "a stored write is nowhere": (LOST, History([wrote("x", 0, 1)], {HERE: ["y"]})),
    "a queued write is nowhere": (LOST, History([queued("x", 0, 1)], {HERE: []}, {"entry-y": "waiting"})),
    "a stored write is only in a journal": (
        LOST,
        History([wrote("x", 0, 1, entry="entry-x")], {}, {"entry-x": "waiting"}),
    ),
    "a delete is lost": (LOST, History([wrote("x", 0, 1), deleted("x", 2, 3)], {HERE: ["x"]})),
    "a queued delete is lost": (
        LOST,
        History([wrote("x", 0, 1), deleted("x", 2, 3, "queued", entry="e")], {HERE: ["x"]}, {"other": "waiting"}),
    ),
    "another server": (MISDIRECTED, History([queued("x", 0, 1)], {HERE: ["x"], ("other", "a"): ["x"]})),
    "another name": (MISDIRECTED, History([queued("x", 0, 1)], {("server", "b"): ["x"]})),
    "twice in a row": (DOUBLED, History([queued("x", 0, 1)], {HERE: ["x", "x"]})),
    "twice, with another one between": (DOUBLED, History([queued("x", 0, 1)], {HERE: ["x", "foreign", "x"]})),
    "one of unknown outcome twice": (DOUBLED, History([wrote("x", 0, float("inf"), "")], {HERE: ["x", "x"]})),
    "the queued one after the later one": (
        OVERTAKEN,
        History([queued("x", 0, 1), wrote("y", 2, 3)], {HERE: ["y", "x"]}),
    ),
    "two queued ones the wrong way round": (
        OVERTAKEN,
        History([queued("x", 0, 1), queued("y", 2, 3)], {HERE: ["y", "x"]}),
    ),
    "overtaken by one that began long before": (
        OVERTAKEN,
        History([wrote("z", 0, 1), wrote("x", 0, 20), wrote("y", 2, 3)], {HERE: ["y", "z", "x"]}),
    ),
    "a conflict that was made": (REFUSED, History([wrote("x", 0, 1, "conflict")], {HERE: ["x"]})),
    "an old value called fresh": (
        OUTDATED,
        History([wrote("x", 0, 1), wrote("y", 2, 3), read("x", 4, 5)], {HERE: ["x", "y"]}),
    ),
    "an old value called cached": (
        OUTDATED,
        History([wrote("x", 0, 1), queued("y", 2, 3), read("x", 4, 5, "cached")], {HERE: ["x", "y"]}),
    ),
    "a value that is only in the journal called fresh": (
        OUTDATED,
        History([queued("x", 0, 1), read("x", 2, 3)], {HERE: []}, {"entry-x": "waiting"}),
    ),
    "what the server has is older than what it had": (
        OUTDATED,
        History([wrote("x", 0, 1), wrote("y", 2, 3), read("x", 4, 5)._replace(kind="refresh")], {HERE: ["x", "y"]}),
    ),
    "a value of nobody": (INVENTED, History([read("x", 0, 1, "fallback")], {HERE: ["y"]})),
    "a value of another name": (
        INVENTED,
        History([wrote("x", 0, 1, at=("server", "b")), read("x", 2, 3, "stale")], {("server", "b"): ["x"]}),
    ),
}


@pytest.mark.parametrize("history", GOOD.values(), ids=GOOD)
def test_what_may_happen_is_accepted(history: History) -> None:
    assert history.problems() == []


@pytest.mark.parametrize(("kind", "history"), BAD.values(), ids=BAD)
def test_each_kind_of_fault_is_found(kind: str, history: History) -> None:
    assert kind in kinds(history)


def test_a_recovery_may_take_two_probes_and_the_time_of_the_writes_themselves() -> None:
    good = Recovery(answers=10.0, begun=11.5, emptied=14.5, well=14.9, probe_every=1.0)
    assert kinds(History([], {}), good) == set()
    assert kinds(History([], {}), good._replace(well=15.1)) == {SLOW}
    assert kinds(History([], {}), good._replace(begun=14.4)) == {SLOW}


def happened(chance: random.Random) -> tuple[list[Operation], list[str]]:
    """Return what two processes did to a secret, one step after the other, and what it has in the end."""
    operations: list[Operation] = []
    made: list[str] = []
    for number in range(60):
        process, begun = chance.choice(["one", "two"]), number + chance.random() / 3
        ended = begun + chance.random() / 3
        if chance.random() < 0.5 and made:
            operations.append(read(made[-1], begun, ended, process=process))
        else:
            made.append(f"value {number}")
            operations.append(wrote(made[-1], begun, ended, chance.choice(["stored", "timeout"]), process=process))
    return operations, made


@pytest.mark.parametrize("seed", range(20))
def test_in_a_long_history_one_fault_is_found_and_no_other(seed: int) -> None:
    chance = random.Random(seed)
    operations, made = happened(chance)
    chance.shuffle(operations)
    assert History(operations, {HERE: made}).problems() == []
    stored = [one.value for one in operations if one.result == "stored"]
    gone = chance.choice(stored)
    without = [value for value in made if value != gone]
    lost = [problem for problem in History(operations, {HERE: without}).problems() if problem.kind == LOST]
    assert [f"value={gone!r}" in problem.text for problem in lost] == [True]
    assert DOUBLED in kinds(History(operations, {HERE: [*made, gone or ""]}))
    assert OVERTAKEN in kinds(History(operations, {HERE: [made[-1], *made[:-1]]})) or operations_are_few(
        operations, made
    )


def operations_are_few(operations: list[Operation], made: list[str]) -> bool:
    """Tell whether the last write may come first: nobody can rely on one that failed."""
    last = next(one for one in operations if one.value == made[-1] and one.kind == "set")
    return last.result != "stored"


def test_a_log_is_read_up_to_where_its_process_died() -> None:
    begun = {"phase": "begun", "process": "one", "kind": "set", "target": "server", "name": "a"}
    lines = [
        json.dumps(begun | {"id": "1", "value": "x", "begun": 1.0}),
        json.dumps({"phase": "condition", "state": "degraded", "at": 1.5}),
        json.dumps({"phase": "ended", "id": "1", "ended": 2.0, "result": "queued", "entry": "e"}),
        json.dumps(begun | {"id": "2", "value": "y", "begun": 3.0}),
        json.dumps({"phase": "ended", "id": "2", "ended": 4.0, "result": "stored"})[:20],
    ]
    operations, others = read_log(lines)
    assert operations == [
        queued(
            "x",
            1.0,
            2.0,
        )._replace(entry="e"),
        wrote("y", 3.0, float("inf"), ""),
    ]
    assert [line["state"] for line in others] == ["degraded"]
    assert History(operations, {HERE: ["x"]}).problems() == []
    assert History(operations, {HERE: []}).problems() == [Problem(LOST, str(operations[0]))]
