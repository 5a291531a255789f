"""Fork, exec and exit: nothing is lost, nothing doubled, nobody stuck. Real processes throughout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from strongroom import lifecycle
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import AuditWrite
from strongroom.errors import ClosedError, StrongroomError
from strongroom.testing import FakeClock, FaultyBackend, MemorySink, in_forked_child, in_threads
from strongroom.testing.processes import busy_threads

PRELUDE = """
import json, os, sys, threading, time
import strongroom
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import AuditSink

class FileSink(AuditSink):
    def write(self, request):
        lines = "".join(json.dumps(event.as_dict()) + "\\n" for event in request.events)
        file = os.open("audit.log", os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(file, lines.encode())
        os.close(file)

def open_manager():
    manager = strongroom.open({"audit": "none"}, backends={"memory": MemoryBackend()}, sinks=(FileSink(),))
    manager.set("a", "v")
    manager.get("a")
    return manager
"""


def trail(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]


def hits(folder: Path) -> Counter[int]:
    """Return how many hits each process recorded."""
    return Counter(event["pid"] for event in trail(folder) if event["cache_hit"])


def ids_of_hits(folder: Path) -> list[str]:
    return [event["id"] for event in trail(folder) if event["cache_hit"]]


def last_events(folder: Path) -> dict[int, str]:
    return {event["pid"]: event["event"] for event in trail(folder)}


@pytest.mark.parametrize(
    "end",
    [
        "pass",
        "sys.exit(3)",
        "raise ZeroDivisionError",
        "manager.close()",
        "import gc; del manager; gc.collect()",
        "manager.close(); manager.close()",
    ],
)
def test_however_a_program_ends_no_hit_is_lost(end: str, run_program: Any, tmp_path: Path) -> None:
    run_program(PRELUDE + f"manager = open_manager()\nfor _ in range(100): manager.get('a')\n{end}\n")
    assert list(hits(tmp_path).values()) == [100]
    assert trail(tmp_path)[-1]["event"] == "closed"


def test_ending_threads_lose_no_hit(run_program: Any, tmp_path: Path) -> None:
    done = run_program(
        PRELUDE
        + """
manager = open_manager()
def work():
    for _ in range(100): manager.get("a")
    sys.exit()
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(hits(tmp_path).values()) == [400]


def test_replacing_the_program_loses_no_hit(run_program: Any, tmp_path: Path) -> None:
    done = run_program(
        PRELUDE
        + """
manager = open_manager()
for _ in range(100): manager.get("a")
os.execv(sys.executable, [sys.executable, "-c", "print('replaced')"])
"""
    )
    assert done.stdout == "replaced\n"
    assert list(hits(tmp_path).values()) == [100]


def test_replacing_the_program_loses_no_hit_of_other_threads(run_program: Any, tmp_path: Path) -> None:
    """Every hit that was returned is recorded, and the end stands at the end."""
    done = run_program(
        PRELUDE
        + """
manager = open_manager()
def work():
    while True:
        manager.get("a")
        os.write(1, b"x")
for _ in range(2): threading.Thread(target=work, daemon=True).start()
while len(manager._parts.audit.buffer.items) < 5: time.sleep(0.001)
os.execv("/bin/true", ["true"])
"""
    )
    assert done.stderr == ""
    assert sum(hits(tmp_path).values()) >= len(done.stdout) > 5
    assert len(set(ids_of_hits(tmp_path))) == len(ids_of_hits(tmp_path))
    assert trail(tmp_path)[-1]["event"] == "closed"


def test_a_program_that_could_not_be_replaced_goes_on_as_before(run_program: Any, tmp_path: Path) -> None:
    done = run_program(
        PRELUDE
        + """
manager = open_manager()
for name in ("/nowhere/at-all", "no-such-program-on-the-path"):
    try: os.execvp(name, [name])
    except FileNotFoundError: pass
manager.get("a"); manager.get("a")
print(len(manager._parts.audit.buffer.items))
"""
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
    events = [event["event"] for event in trail(tmp_path)]
    assert events == ["opened", "set", "set", "get", "closed", "opened", "get", "get", "closed"]


def test_a_program_is_not_replaced_while_something_cannot_be_recorded(run_program: Any, tmp_path: Path) -> None:
    """Once closing has told the program so, it may go its way."""
    done = run_program(
        PRELUDE
        + """
from strongroom.errors import AuditError

class Broken(FileSink):
    def write(self, request): raise OSError("full")

manager, other = open_manager(), open_manager()
manager.get("a"); other.get("a")
manager._parts.audit.sinks[0].wrapped = Broken()
for attempt in (lambda: os.execv("/bin/true", ["true"]), manager.close):
    try: attempt()
    except AuditError: print("refused", flush=True)
other.get("a")
os.execv(sys.executable, [sys.executable, "-c", "print('replaced')"])
"""
    )
    assert done.stdout == "refused\nrefused\nreplaced\n"
    assert sum(hits(tmp_path).values()) == 2
    assert trail(tmp_path)[-1]["event"] == "closed"


def test_what_closing_could_not_record_is_recorded_at_the_exit(run_program: Any, tmp_path: Path) -> None:
    done = run_program(
        PRELUDE
        + """
from strongroom.errors import AuditError

class Broken(FileSink):
    def write(self, request): raise OSError("full")

manager = open_manager()
for _ in range(3): manager.get("a")
sink = manager._parts.audit.sinks[0]
whole, sink.wrapped = sink.wrapped, Broken()
try: manager.close()
except AuditError: print("refused")
sink.wrapped = whole
"""
    )
    assert (done.stdout, done.stderr) == ("refused\n", "")
    assert list(hits(tmp_path).values()) == [3]
    assert trail(tmp_path)[-1]["event"] == "closed"


def test_one_manager_that_cannot_record_does_not_cost_another_its_hits(run_program: Any, tmp_path: Path) -> None:
    done = run_program(
        PRELUDE
        + """
class Broken(FileSink):
    def write(self, request): raise OSError("full")

managers = [open_manager() for _ in range(3)]
for manager in managers: manager.get("a")
managers[1]._parts.audit.sinks[0].wrapped = Broken()
"""
    )
    assert "could not record" in done.stderr
    assert sum(hits(tmp_path).values()) == 2


def test_a_fork_splits_the_trail_in_two(run_program: Any, tmp_path: Path) -> None:
    """What waited is recorded once, by the parent; the child starts with an empty cache and its own process id."""
    done = run_program(
        PRELUDE
        + """
manager = open_manager()
for _ in range(100): manager.get("a")
child = os.fork()
if child == 0:
    first, second = manager.get("a").freshness.value, manager.get("a").freshness.value
    stats = manager.stats()
    print(first, second, stats.hits, stats.misses, flush=True)
    sys.exit()
os.waitpid(child, 0)
manager.get("a")
print(os.getpid(), child)
"""
    )
    seen, pids = done.stdout.splitlines()
    parent, child = map(int, pids.split())
    assert seen == "fresh cached 1 1"
    assert hits(tmp_path) == {parent: 101, child: 1}
    assert last_events(tmp_path) == {parent: "closed", child: "closed"}
    assert Counter(event["pid"] for event in trail(tmp_path) if event["event"] == "opened") == {parent: 1, child: 1}


def test_forks_beside_busy_threads_lose_no_hit_and_write_no_id_twice(run_program: Any, tmp_path: Path) -> None:
    """Whatever waited, or was being written by another thread, when the process was forked is the parent's alone."""
    done = run_program(
        PRELUDE
        + """
manager = open_manager()
stop, counts, children = threading.Event(), [0, 0], []
def work(number):
    while not stop.is_set():
        for _ in range(10): manager.get("a")
        counts[number] += 10
        time.sleep(0.001)
threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
for thread in threads: thread.start()
for _ in range(15):
    manager.get("a")
    child = os.fork()
    if child == 0:
        for _ in range(4): manager.get("a")
        manager.close()
        os._exit(0)
    children.append(child)
    os.waitpid(child, 0)
stop.set()
for thread in threads: thread.join()
manager.close()
print(os.getpid(), sum(counts) + 15, *children)
"""
    )
    assert done.stderr == ""
    parent, count, *children = map(int, done.stdout.split())
    assert hits(tmp_path) == {parent: count, **dict.fromkeys(children, 3)}
    assert len(set(ids_of_hits(tmp_path))) == count + 3 * 15
    assert last_events(tmp_path) == dict.fromkeys([parent, *children], "closed")


SIGNALS = """
import random, signal

manager = open_manager()
for name in ("b", "c"): manager.set(name, "v"); manager.get(name)
returned = refused = 0
def read(name):
    global returned, refused
    from strongroom.errors import AuditError
    try: manager.get(name)
    except AuditError: refused += 1
    else: returned += 1
def ring_soon(): signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, 4e-4))
"""


def test_a_signal_s_handler_that_reads_at_any_moment_loses_and_doubles_nothing(
    run_program: Any, tmp_path: Path
) -> None:
    """Also beside another thread, and while a block is being written."""
    done = run_program(
        PRELUDE
        + SIGNALS
        + """
signals = 0
def handle(*_):
    global signals
    signals += 1
    read("b")
    ring_soon()
signal.signal(signal.SIGALRM, handle)
stop, others = threading.Event(), 0
def work():
    global others
    while not stop.is_set():
        manager.get("c")
        others += 1
        time.sleep(0.0002)
thread = threading.Thread(target=work)
thread.start()
ring_soon()
end = time.monotonic() + 1.5
while time.monotonic() < end or signals < 500: read("a")
# Not only the timer: a handler that runs just now would set it again.
signal.signal(signal.SIGALRM, signal.SIG_IGN)
signal.setitimer(signal.ITIMER_REAL, 0)
stop.set()
thread.join()
print(returned + others, refused, manager.stats().hits)
"""
    )
    assert done.stderr == ""
    returned, refused, counted = map(int, done.stdout.split())
    ids = ids_of_hits(tmp_path)
    assert len(ids) == len(set(ids)) == returned == counted
    assert refused < returned
    assert trail(tmp_path)[-1]["event"] == "closed"


def test_interrupts_at_any_moment_lose_nothing_and_what_comes_twice_has_the_same_id(
    run_program: Any, tmp_path: Path
) -> None:
    done = run_program(
        PRELUDE
        + SIGNALS
        + """
def handle(*_): raise KeyboardInterrupt
signal.signal(signal.SIGALRM, handle)
interrupts, end = 0, time.monotonic() + 1.5
while time.monotonic() < end or interrupts < 500:
    try:
        ring_soon()
        while True: read("a")
    except KeyboardInterrupt: interrupts += 1
read("a")
print(returned, interrupts)
"""
    )
    assert done.stderr == ""
    returned, interrupts = map(int, done.stdout.split())
    events: dict[str, Any] = {}
    for event in trail(tmp_path):
        if event["cache_hit"]:
            assert events.setdefault(event["id"], event) == event
    assert returned <= len(events) <= returned + interrupts
    assert trail(tmp_path)[-1]["event"] == "closed"


@pytest.mark.parametrize("where", ["before the fork", "in the worker"])
def test_a_worker_of_multiprocessing_loses_no_hit(where: str, run_program: Any, tmp_path: Path) -> None:
    """Such a worker ends without running the interpreter's exit handlers."""
    opening = "manager = open_manager()" if where == "before the fork" else "manager = None"
    done = run_program(
        PRELUDE
        + f"""
import multiprocessing

{opening}
def work():
    global manager
    manager = manager or open_manager()
    manager.get("a")
    for _ in range(50): manager.get("a")

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=work) for _ in range(2)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    print(*(worker.pid for worker in workers))
"""
    )
    assert done.stderr == ""
    workers = [int(pid) for pid in done.stdout.split()]
    counts = hits(tmp_path)
    assert [counts[pid] for pid in workers] == ([50, 50] if where == "before the fork" else [51, 51])
    assert {last_events(tmp_path)[pid] for pid in workers} == {"closed"}


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_worker_that_opens_its_manager_when_its_module_is_imported_loses_no_hit(
    method: str, run_program: Any, tmp_path: Path
) -> None:
    """When such a worker begins, multiprocessing forgets what is to be done at its end."""
    done = run_program(
        PRELUDE
        + f"""
import multiprocessing

manager = open_manager() if __name__ != "__main__" else None
def work():
    for _ in range(10): manager.get("a")

if __name__ == "__main__":
    worker = multiprocessing.get_context("{method}").Process(target=work)
    worker.start()
    worker.join()
    print(worker.pid)
"""
    )
    assert done.stderr == ""
    worker = int(done.stdout)
    assert hits(tmp_path)[worker] == 10
    assert last_events(tmp_path)[worker] == "closed"


class TestForking:
    """Forks of this process, beside busy threads."""

    def test_locks_held_by_other_threads_do_not_block_a_child(self, open_manager: Any) -> None:
        manager = open_manager({f"n/{number}": "v" for number in range(5)}, cache={"ttl": "1ms"})

        def read() -> None:
            for number in range(5):
                manager.get(f"n/{number}")
            manager.set("own", "v")
            manager.stats()

        with busy_threads(3, read):
            answers = [in_forked_child(lambda: manager.get("n/1").reveal_text()) for _ in range(10)]
        assert answers == ["v"] * 10

    def test_a_sink_that_hangs_does_not_block_a_fork(self, open_manager: Any, gate: Any) -> None:
        class Hanging(MemorySink):
            hangs = waits = False

            def write(self, request: AuditWrite) -> None:
                if self.hangs:
                    self.waits = True
                    try:
                        gate.hold()
                    finally:
                        self.waits = False
                super().write(request)

            def after_fork(self) -> None:
                self.hangs = False

        sink = Hanging()
        manager = open_manager({"a": "v"}, sinks=(sink,))
        manager.get("a")
        sink.hangs = True
        hanging = threading.Thread(target=manager.list)
        hanging.start()
        gate.wait_for_arrival()
        assert in_forked_child(lambda: manager.get("a").version) == "1"
        assert sink.waits, "the fork waited until the sink had answered"
        gate.open()
        hanging.join()
        assert manager.get("a").version == "1"

    def test_a_load_under_way_in_another_thread_does_not_block_the_child(
        self, open_manager: Any, hooked: Any, gate: Any
    ) -> None:
        manager = open_manager(backends={"memory": hooked})
        hooked.on_read = lambda _: gate.hold()
        reading = threading.Thread(target=lambda: manager.get("db/password"))
        reading.start()
        gate.wait_for_arrival()

        def child() -> str:
            hooked.on_read = None
            return manager.get("db/password").reveal_text()

        assert in_forked_child(child) == "s3cret"
        gate.open()
        reading.join()

    def test_a_manager_that_is_opened_while_a_fork_is_under_way_is_not_disturbed(self, open_manager: Any) -> None:
        """It hears of the fork's end without having heard of its beginning."""
        manager = open_manager({"a": "v"})
        for part in (manager._parts, manager._parts.audit):
            part.after_fork_in_parent()
            part.before_fork()
            part.after_fork_in_parent()
            part.after_fork_in_parent()
        assert manager.get("a").reveal_text() == "v"

    def test_a_manager_that_another_thread_closes_while_a_fork_begins_is_closed(
        self, open_manager: Any, sink: Any
    ) -> None:
        manager = open_manager({"a": "v"})
        manager.get("a")
        stage = manager._parts.audit
        closing = threading.Thread(target=stage.close)

        class Late:
            """Told after the manager has taken its locks."""

            def before_fork(self) -> None:
                closing.start()
                while not stage._closed:
                    time.sleep(0.001)
                lifecycle.forget(stage)

            def __getattr__(self, name: str) -> Any:
                return lambda: None

        late = Late()
        lifecycle.watch(late)
        try:
            assert in_forked_child(lambda: "done") == "done"
        finally:
            lifecycle.forget(late)
        closing.join(10)
        assert not closing.is_alive()
        assert sink.closed
        assert sink.events[-1].event == "closed"

    def test_a_fork_that_was_interrupted_before_it_took_a_lock_releases_nobody_else_s(
        self, open_manager: Any, gate: Any
    ) -> None:
        class Held(MemorySink):
            holds = False

            def write(self, request: AuditWrite) -> None:
                if self.holds:
                    gate.hold()
                super().write(request)

        sink = Held()
        manager = open_manager({"a": "v"}, sinks=(sink,))
        stage = manager._parts.audit
        stage.before_fork()
        stage.after_fork_in_parent()
        sink.holds = True
        writing = threading.Thread(target=manager.list)
        writing.start()
        gate.wait_for_arrival()

        def interrupt() -> None:
            raise KeyboardInterrupt

        stage.flush, flush = interrupt, stage.flush
        with pytest.raises(KeyboardInterrupt):
            stage.before_fork()
        stage.flush = flush
        stage.after_fork_in_parent()
        assert not stage.sinks[0].lock.acquire(timeout=0)
        gate.open()
        writing.join()
        stage.flush()

    def test_managers_that_others_open_and_close_meanwhile_disturb_no_fork(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures: list[str] = []
        monkeypatch.setattr("sys.unraisablehook", lambda failure: failures.append(repr(failure.exc_value)))

        class Thing:
            def __getattr__(self, name: str) -> Any:
                return lambda: None

        def churn() -> None:
            things = [Thing() for _ in range(20)]
            for thing in things:
                lifecycle.watch(thing)
            for thing in things[::2]:
                lifecycle.forget(thing)

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with busy_threads(2, churn):
                for _ in range(30):
                    if (child := os.fork()) == 0:
                        os._exit(0)
                    os.waitpid(child, 0)
        finally:
            sys.setswitchinterval(interval)
        assert failures == []

    def test_one_backend_that_fails_after_a_fork_does_not_keep_the_child_from_the_others(
        self, open_manager: Any, make_backend: Any
    ) -> None:
        class Failing(MemoryBackend):
            def after_fork(self) -> None:
                raise OSError

        told = make_backend({"b/x": "v"})
        told.after_fork = lambda: told.calls.append("after_fork")
        manager = open_manager(backends={"bad": Failing(), "good": told}, backend="bad", routes={"b": "good"})
        manager.get_many(["a", "b/x"])
        assert in_forked_child(lambda: told.calls[-1]) == "after_fork"

    def test_a_closed_manager_stays_closed_in_the_child(self, open_manager: Any) -> None:
        manager = open_manager({"a": "v"})
        manager.close()
        assert in_forked_child(lambda: manager.get("a")).startswith("ClosedError")


class TestClosing:
    """After the end nothing works any more, and nothing crashes."""

    @pytest.mark.parametrize(
        "use",
        [
            lambda manager: manager.get("a"),
            lambda manager: manager.get("new"),
            lambda manager: manager.get_many(["a", "new"]),
            lambda manager: manager.prefetch("**"),
            lambda manager: manager.list(),
            lambda manager: manager.versions("a"),
            lambda manager: manager.refresh("a"),
            lambda manager: manager.refresh_all(),
            lambda manager: manager.set("a", "w"),
            lambda manager: manager.delete("a"),
            lambda manager: manager.rotate("a"),
            lambda manager: manager.on_update("a", print),
            lambda manager: manager.as_principal("p").get("a"),
        ],
    )
    def test_use_after_close_is_refused(self, use: Any, open_manager: Any, sink: Any) -> None:
        manager = open_manager({"a": "v"})
        manager.get("a")
        manager.close()
        manager.close()
        recorded = len(sink.events)
        with pytest.raises(ClosedError):
            use(manager)
        assert len(sink.events) == recorded

    @pytest.mark.parametrize("with_sink", [True, False])
    def test_a_load_that_outlives_the_manager_gives_no_answer(
        self, with_sink: bool, open_manager: Any, backend: FaultyBackend, sink: Any, gate: Any
    ) -> None:
        """What a closed backend says, such as that there is no such secret, must not be taken for the truth."""
        manager = open_manager(backends={"memory": backend}, sinks=(sink,) if with_sink else ())
        backend.before = lambda operation: gate.hold() if operation == "read" else None
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(manager.get, "db/password")
            gate.wait_for_arrival()
            manager.close()
            gate.open()
            assert isinstance(reading.exception(), ClosedError)

    def test_leaving_the_block_closes(self, open_manager: Any, sink: Any) -> None:
        with open_manager({"a": "v"}) as manager:
            manager.get("a")
        assert sink.closed
        with pytest.raises(ClosedError):
            manager.get("a")

    @pytest.mark.parametrize("with_sink", [True, False])
    def test_threads_that_read_while_another_closes_end_with_a_value_or_are_told(
        self, with_sink: bool, open_manager: Any, sink: Any, clock: FakeClock
    ) -> None:
        manager = open_manager(
            {f"n/{number}": "v" for number in range(50)}, cache={"ttl": "1ms"}, sinks=(sink,) if with_sink else ()
        )
        closing = threading.Barrier(9)

        def work(number: int) -> tuple[int, str]:
            returned = 0
            if number == 8:
                closing.wait()
                manager.close()
                return 0, "closed"
            for turn in range(1_000_000):
                if turn == 20:
                    closing.wait()
                clock.advance(0.0001)
                try:
                    returned += len(manager.get(f"n/{turn % 50}").reveal_text())
                except StrongroomError as error:
                    return returned, error.code
            return returned, "never told"

        outcomes = in_threads(9, work)
        assert {code for _, code in outcomes} == {"closed"}
        if with_sink:
            # Every value that was returned is in the trail, and nothing comes after its end.
            assert len([event for event in sink.named("get") if event.result == "ok"]) >= sum(n for n, _ in outcomes)
            assert sink.events[-1].event == "closed"


class TestAllOf:
    """Doing each of several things although others fail."""

    def test_every_action_runs_and_the_first_failure_is_raised(self) -> None:
        done: list[int] = []

        def fail(number: int) -> None:
            done.append(number)
            raise ValueError(number)

        with pytest.raises(ValueError, match="1"):
            lifecycle.all_of([lambda: done.append(0), lambda: fail(1), lambda: fail(2), lambda: done.append(3)])
        assert done == [0, 1, 2, 3]


def test_a_thing_is_told_until_it_is_forgotten_or_gone() -> None:
    class Thing:
        def __init__(self) -> None:
            self.told: list[str] = []

        def __getattr__(self, name: str) -> Any:
            return lambda: self.told.append(name)

    kept, forgotten = Thing(), Thing()
    lifecycle.watch(kept)
    lifecycle.watch(forgotten)
    lifecycle.forget(forgotten)
    child = os.fork()
    if child == 0:
        os._exit(0 if kept.told == ["before_fork", "after_fork_in_child"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert kept.told == ["before_fork", "after_fork_in_parent"]
    assert forgotten.told == []
    lifecycle.forget(kept)


def test_the_end_of_a_fork_is_told_to_exactly_those_who_were_told_of_its_beginning() -> None:
    """Others may be opened and closed meanwhile. In the child all begin anew."""

    class Thing:
        def __init__(self, action: Any = None) -> None:
            self.told: list[str] = []
            self.action = action

        def __getattr__(self, name: str) -> Any:
            return lambda: self.told.append(name)

        def before_fork(self) -> None:
            self.told.append("before_fork")
            if self.action is not None:
                self.action()

    def change() -> None:
        lifecycle.forget(closed)
        lifecycle.watch(opened)

    closed, opened = Thing(), Thing()
    changing = Thing(change)
    lifecycle.watch(closed)
    lifecycle.watch(changing)
    child = os.fork()
    if child == 0:
        right = opened.told == ["after_fork_in_child"] and closed.told == ["before_fork", "after_fork_in_child"]
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert changing.told == closed.told == ["before_fork", "after_fork_in_parent"]
    assert opened.told == []
    for thing in (opened, changing):
        lifecycle.forget(thing)


def test_what_fails_at_the_end_of_the_process_is_told_in_one_line() -> None:
    program = (
        "import strongroom\n"
        "from strongroom.contracts import AuditSink\n"
        "from strongroom.errors import AuditError\n"
        "class Sore(AuditSink):\n"
        "    sore = False\n"
        "    def write(self, request):\n"
        "        if self.sore:\n"
        "            raise AuditError('the disk is full', hint='free some space')\n"
        "sink = Sore()\n"
        "manager = strongroom.open({'backends': {'m': {'type': 'memory'}}, 'audit': 'none'}, sinks=(sink,))\n"
        "manager.set('a', '1')\n"
        "sink.sore = True\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "at the end of the process: the disk is full: free some space\n"
