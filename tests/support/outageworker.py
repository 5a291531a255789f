"""A process that reads and writes secrets until it is killed, and tells on its standard output what comes of it.

Each line has left the process before the operation begins, and again when it has ended: whoever reads the other
end of the pipe has it, however the process dies.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import os
import random
import signal
import sys
import threading
import time

from pathlib import Path
from typing import Any

import strongroom

from strongroom.errors import SecretDeletedError, SecretNotFoundError, StrongroomError
from strongroom.resilience.conditions import ConditionChanged

PAUSE = 0.05
"""Seconds between two operations of a thread, on average: the servers are to get their share of the machine."""
OWN = 0.8
"""How much of its work a thread does on a secret that no other thread writes."""
AGE = 20.0
"""For how many seconds a name is used: a secret with thousands of versions is slow to write."""
LOOK = 0.05
CLOCK = "clock"
QUIET = "quiet"
END = "end"
"""Files in the common folder: by how many seconds the wall clock is wrong; that nothing is to be done for now; and
that it is over."""


class Teller:
    """Writes lines whole, from several threads, into a pipe that no file's limit concerns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def tell(self, phase: str, **facts: Any) -> None:
        line = json.dumps({"phase": phase} | facts) + "\n"
        with self._lock:
            os.write(1, line.encode())


class WrongClock:
    """A wall clock that is set forward and back from outside."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CLOCK
        self._look()

    def __call__(self) -> int:
        return time.time_ns() + self._wrong

    def _look(self) -> None:
        try:
            self._wrong = int(float(self._file.read_text()) * 1e9)
        except (OSError, ValueError):
            self._wrong = 0

    def follow(self) -> None:
        while True:
            self._look()
            time.sleep(LOOK)


class Worker:
    """One thread's work.

    Args:
        plan: Who it is, and what it works on.
        manager: What it reads and writes with.
        teller: Takes note.
        number: Its number in the process.
    """

    def __init__(self, plan: dict[str, Any], manager: strongroom.SecretManager, teller: Teller, number: int) -> None:
        self._plan = plan
        self._manager = manager
        self._teller = teller
        self._chance = random.Random(f"{plan['seed']}-{plan['life']}-{number}")
        self._me = f"{plan['process']}-{plan['life']}-{number}"
        self._count = itertools.count()
        self._number = number

    def work(self, folder: Path) -> None:
        while not (folder / END).exists():
            if (folder / QUIET).exists():
                time.sleep(LOOK)
                continue
            kind = self._chance.choice(["get", "get", "get", "get_many", "refresh", "set", "set", "over"])
            if self._plan["deletes"] and self._chance.random() < 0.1:
                kind = "delete"
            self._act(kind)
            time.sleep(self._chance.uniform(0, 2 * PAUSE))

    def _act(self, kind: str) -> None:
        epoch = int(time.monotonic() / AGE)
        folder = f"{self._plan['folder']}/{self._plan['process']}/{epoch}"
        # Most of the time its own name, sometimes one that all threads of the process write.
        name = f"{folder}/{self._number if self._chance.random() < OWN else 'all'}"
        match kind:
            case "get_many":
                self._read_several([f"{folder}/{self._number}", f"{folder}/all"])
            case "get" | "refresh":
                self._do(kind, name, lambda _: getattr(self._manager, kind)(name))
            case "delete":
                self._set_and_delete(f"{folder}/of-{self._me}")
            case "set":
                self._do("set", name, lambda value: self._manager.set(name, value), self._value())
            case "over":
                self._write_over(name)

    def _value(self) -> str:
        return f"{self._me}-{next(self._count)}"

    def _write_over(self, name: str) -> None:
        """Write over what is there, and over nothing else."""
        try:
            version: Any = self._manager.get(name).version
        except SecretDeletedError:
            return
        except SecretNotFoundError:
            version = strongroom.ABSENT
        except StrongroomError:
            return
        self._do("set", name, lambda value: self._manager.set(name, value, expect_version=version), self._value())

    def _set_and_delete(self, name: str) -> None:
        """Nobody else writes this name, so it is known what a delete deletes."""
        value = self._value()
        if self._do("set", name, lambda value: self._manager.set(name, value), value):
            self._do("delete", name, lambda _: self._manager.delete(name), value)

    def _read_several(self, names: list[str]) -> None:
        begun = time.monotonic()
        try:
            batch = self._manager.get_many(names)
        except StrongroomError:
            return
        for name, secret in batch.found.items():
            known = f"{self._me}-read-{next(self._count)}"
            self._begin(known, "get", str(name), None, begun)
            self._teller.tell("ended", id=known, ended=time.monotonic(), **_read(secret))

    def _begin(self, id: str, kind: str, name: str, value: str | None, begun: float) -> None:
        facts = {"process": self._plan["process"], "kind": kind, "target": self._plan["target"], "name": name}
        self._teller.tell("begun", id=id, value=value, begun=begun, **facts)

    def _do(self, kind: str, name: str, act: Any, value: str | None = None) -> bool:
        """Do something, and note what came of it; tell whether it went well."""
        known = f"{self._me}-{next(self._count)}"
        self._begin(known, kind, name, value, time.monotonic())
        try:
            done = act(value)
        except StrongroomError as error:
            self._teller.tell("ended", id=known, ended=time.monotonic(), result=error.code, text=str(error)[:300])
            return False
        facts = _read(done) if kind in {"get", "refresh"} else _changed(done)
        self._teller.tell("ended", id=known, ended=time.monotonic(), **facts)
        return True


def _read(secret: Any) -> dict[str, Any]:
    value = secret.reveal_text()
    return {"result": "read", "value": value, "freshness": secret.freshness.value, "age": secret.age}


def _changed(done: Any) -> dict[str, Any]:
    return {"result": "stored" if done.queued is None else "queued", "entry": done.queued}


def main() -> None:
    """Work until there is a file that says that it is over, and tell how things are all the time."""
    faulthandler.register(signal.SIGUSR1)  # what each thread is at goes to the log
    plan = json.loads(sys.argv[1])
    folder = Path(plan["common"])
    teller, clock = Teller(), WrongClock(folder)
    threading.Thread(target=clock.follow, daemon=True).start()

    def changed(change: ConditionChanged) -> None:
        teller.tell(
            "condition", process=plan["process"], state=change.state.value, at=time.monotonic(), why=change.reason
        )

    with strongroom.open(plan["manager"], wall_clock=clock) as manager:
        manager.on_condition(changed)
        workers = [Worker(plan, manager, teller, number) for number in range(plan["threads"])]
        threads = [threading.Thread(target=worker.work, args=(folder,)) for worker in workers]
        for thread in threads:
            thread.start()
        for count in itertools.count(1):
            if (folder / END).exists():
                break
            look(manager, teller, plan["process"])
            if (folder / QUIET).exists() and count % 100 == 0:
                # It has been quiet for long: whoever looks into this wants to know why.
                teller.tell("health", process=plan["process"], at=time.monotonic(), health=str(manager.health()))
            time.sleep(5 * LOOK if not (folder / QUIET).exists() else LOOK)
        for thread in threads:
            thread.join()
        left = {one.id: f"{one.state.value}: {one.reason}" for one in manager.journal.list()}
        teller.tell("left", process=plan["process"], entries=left)


def look(manager: strongroom.SecretManager, teller: Teller, process: str) -> None:
    """Tell how many writes wait."""
    try:
        waiting = sum(1 for one in manager.journal.list() if one.state.waits)
    except StrongroomError as error:
        teller.tell("trouble", process=process, at=time.monotonic(), why=str(error))
    else:
        teller.tell("journal", process=process, at=time.monotonic(), waiting=waiting)


if __name__ == "__main__":
    main()
