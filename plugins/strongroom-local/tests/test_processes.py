"""Several processes and threads use one store at the same time."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import sqlite3
import threading
import time

import pytest

from strongroom.errors import BackendUnavailableError, ClosedError, VersionConflictError
from strongroom.testing import in_forked_child, in_threads


def test_eight_processes_with_fifty_names_each_lose_none(store):
    workers = [store.worker("write_many", f"worker{number}", "50") for number in range(8)]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    opened = store.open()
    assert opened.everything() == {f"worker{w}/{n}": f"value worker{w} {n}" for w in range(8) for n in range(50)}
    assert opened.problems() == ()


def test_a_killed_writer_leaves_a_complete_old_or_new_state(store):
    """Killed at a random moment of 200 writes, again and again, with everything that was acknowledged there."""
    store.fill({"app/secret": "000000" * 500})
    for _ in range(12):
        worker = store.worker("alternate", "app/secret", "200")
        acknowledged = 0
        for line in worker.stdout:
            acknowledged = int(line)
            if random.random() < 0.05:
                break
        time.sleep(random.random() * 0.003)  # not right after a write, but anywhere in the next
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        opened = store.open()
        value = opened.get("app/secret")
        assert value in {f"{number:06d}" * 500 for number in range(acknowledged, 200)}
        assert opened.problems() == ()
        store.close()
        assert sorted(os.listdir(store.folder)) == ["master.key", "secrets.db"]


def test_a_lock_is_released_when_its_holder_is_killed(store):
    worker = store.worker("alternate", "app/secret", "100000")
    worker.stdout.readline()
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    store.open(busy_timeout=5.0).put("app/other", "value")


def test_waiting_for_another_writer_ends_with_a_clear_error(store):
    opened = store.open(busy_timeout=0.1)
    opened.put("app/secret", "value")
    holder = store.database()
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BackendUnavailableError) as caught:
        opened.put("app/secret", "another")
    assert caught.value.code == "busy"
    assert opened.get("app/secret") == "value", "a reader need not wait for a writer"
    holder.execute("ROLLBACK")
    holder.close()
    opened.put("app/secret", "another")


def test_twenty_threads_that_read_and_write_back_lose_no_increment(opened):
    """Each either counts up by one or is told that somebody else was first."""
    opened.put("app/counter", "0")

    def increment(_: int) -> int:
        from strongroom.contracts import ReadRequest
        from strongroom.model import SecretName

        done = 0
        for _ in range(3):
            found = opened.backend.read(ReadRequest(name=SecretName("app/counter")))
            try:
                opened.put("app/counter", str(int(found.value.reveal_text()) + 1), found.version)
                done += 1
            except VersionConflictError:
                continue
        return done

    increments = sum(in_threads(20, increment))
    assert increments > 0
    assert opened.get("app/counter") == str(increments)


def test_a_reader_sees_whole_states_while_another_process_writes(store):
    opened = store.open()
    opened.put("app/secret", "000000" * 500)
    worker = store.worker("alternate", "app/secret", "150")
    while worker.poll() is None:
        value = opened.get("app/secret")
        assert value == value[:6] * 500
    assert worker.wait() == 0
    assert opened.get("app/secret") == "000149" * 500


def test_an_absent_name_stays_absent_while_others_write(store):
    """The proof of absence must not stumble over a neighbour that comes into being meanwhile."""
    from strongroom.errors import SecretNotFoundError

    opened = store.open()
    worker = store.worker("write_many", "worker", "150")
    while worker.poll() is None:
        for number in range(20):
            with pytest.raises(SecretNotFoundError):
                opened.get(f"absent/{number}")
    assert worker.wait() == 0


def test_parent_and_forked_child_both_go_on(store):
    opened = store.open()
    opened.put("app/secret", "value")

    def child() -> str:
        opened.put("app/child", "by the child")
        seen = opened.get("app/secret")
        opened.close()
        return seen

    assert in_forked_child(child) == "value"
    assert opened.get("app/child") == "by the child"
    opened.put("app/secret", "by the parent")
    assert opened.problems() == ()


def test_a_child_keeps_its_place_when_the_parent_closes(store):
    """SQLite knows its locks by process: a child that shared the parent's would lose the log under its feet."""
    opened = store.open()
    opened.put("app/secret", "value")
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            opened.put("app/child", "first")
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            opened.put("app/child", "second")
            os._exit(0 if opened.get("app/child") == "second" else 1)
        finally:
            os._exit(2)
    os.read(ready[0], 1)
    store.close()
    assert (store.folder / "secrets.db-wal").exists(), "the parent took the log away from the child"
    os.write(go[1], b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    again = store.open()
    assert again.get("app/child") == "second"
    assert again.problems() == ()


def test_a_fork_waits_for_a_write_that_is_under_way(store):
    """No connection is inherited, whatever other threads were doing at that moment."""
    opened = store.open()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            opened.put(f"thread/{number % 5}", f"value {number}")
            number += 1

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(10):
            assert in_forked_child(lambda: opened.put("app/child", "value")) == str(number + 1)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert opened.problems() == ()


def test_an_inherited_connection_is_neither_used_nor_closed(store):
    """A fork outside of Python runs no hooks before it, and so leaves connections behind."""
    from strongroom_local import connection

    opened = store.open()
    opened.put("app/secret", "value")
    pool = opened.backend._session.pool
    before = list(pool._all)
    child = ctypes.PyDLL(None).fork()
    if child == 0:
        try:
            opened.backend.after_fork()
            kept = all(handle in connection._inherited for handle in before)
            alive = all(handle.execute("SELECT 1").fetchone() == (1,) for handle in before)
            works = opened.get("app/secret") == "value"
            fresh = not set(map(id, before)) & set(map(id, pool._all))
            os._exit(0 if kept and alive and works and fresh else 1)
        finally:
            os._exit(2)
    assert before
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list(pool._all) == before, "the parent goes on with its own"
    assert opened.get("app/secret") == "value"


def test_a_closed_store_says_so(store):
    opened = store.open()
    opened.close()
    opened.close()
    for ask in (lambda: opened.get("app/secret"), lambda: opened.put("app/secret", "value"), opened.names):
        with pytest.raises(ClosedError):
            ask()


def test_closing_moves_everything_into_the_file(store):
    """Also while another process has the store open, so that a copy of the one file is complete."""
    reader = store.open()
    reader.names()
    writer = store.open()
    writer.put("app/secret", "value")
    writer.close()
    assert (store.folder / "secrets.db-wal").stat().st_size == 0
    copy = sqlite3.connect(f"file:{store.path}?immutable=1", uri=True)
    assert copy.execute("SELECT count(*) FROM record").fetchone() == (1,)
    copy.close()


def test_closing_waits_for_no_reader(store):
    """The reader holds the log back; waiting for it would take the timeout of a writer."""
    store.fill({"app/secret": "value"})
    opened = store.open(busy_timeout=3600.0)
    opened.put("app/secret", "value 1")
    reader = store.database()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM record").fetchall()
    opened.put("app/secret", "value 2")
    opened.close()
    reader.close()
    assert store.open().get("app/secret") == "value 2"


def test_an_interrupt_right_after_a_connection_was_taken_does_not_hold_up_forks(store, monkeypatch):
    """Between two steps of the interpreter, no ``finally`` gives it back."""
    from strongroom_local import connection

    monkeypatch.setattr(connection, "_FORK_WAIT", 3600.0)
    opened = store.open()
    opened.put("app/secret", "value")
    pool = opened.backend._session.pool
    pool.take()  # and nobody holds it any more
    assert in_forked_child(lambda: opened.get("app/secret")) == "value"
    assert opened.get("app/secret") == "value"


def test_threads_may_open_stores_while_others_fork(store):
    """The walk of those who watch forks must not meet a change of their number."""
    from strongroom_local import forking

    class Watcher:
        def before_fork(self) -> None:
            if not started.is_set():
                started.set()
                thread.join(0.05)  # the other thread must wait, or it adds to what is being walked

        def after_fork_in_parent(self) -> None:
            pass

        forget = after_fork_in_parent

    started, added = threading.Event(), threading.Event()
    first, second = Watcher(), Watcher()

    def add() -> None:
        started.wait(30)
        forking.watch_forks(second)
        added.set()

    forking.watch_forks(first)
    thread = threading.Thread(target=add)
    thread.start()
    seen = in_forked_child(added.is_set)
    thread.join()
    assert seen == "False"
    assert added.is_set()
