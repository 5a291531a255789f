"""Several processes use one journal, are killed in the middle, and claim targets."""

from __future__ import annotations

import gc
import os
import random
import signal
import stat
import subprocess
import threading
import time

import pytest

from strongroom.contracts import RekeyRequest
from strongroom.contracts.journal import ClaimRequest
from strongroom.errors import BackendError, BackendUnavailableError, ClosedError
from strongroom.pacing import within
from strongroom.testing import in_forked_child
from strongroom_local.backend import LocalBackend

PAGE = 4096


def run(*workers) -> list[str]:
    answers = [worker.communicate(timeout=120) for worker in workers]
    for worker, (_, errors) in zip(workers, answers, strict=True):
        assert worker.returncode == 0, errors
    return [output for output, _ in answers]


def kill(worker) -> None:
    worker.send_signal(signal.SIGKILL)
    worker.communicate()


def test_processes_that_accept_writes_at_once_lose_none_and_give_each_a_place_of_its_own(store):
    workers = [store.worker("queue_many", f"worker{number}", "25") for number in range(4)]
    run(*workers, store.worker("write_many", "names", "25"))
    opened = store.open()
    entries = opened.kept.entries()
    assert [entry.position for entry in entries] == list(range(1, 101))
    for number in range(4):
        own = [entry for entry in entries if entry.place.name.startswith(f"worker{number}/")]
        assert [entry.value.reveal_text() for entry in own] == [f"{n:06d}" * 500 for n in range(25)]
    assert len(opened.names()) == 25
    assert opened.problems() == ()


def test_writes_of_one_name_by_several_processes_form_one_chain(store):
    """Each is accepted over the newest; whoever came too late is told so, and tries again."""
    workers = [store.worker("queue_in_turn", f"worker{number}", "30", "app/secret") for number in range(4)]
    moved = sum(map(int, run(*workers)))
    opened = store.open()
    entries = opened.kept.entries()
    assert len(entries) == 120
    assert [entry.follows for entry in entries] == [None, *(entry.id for entry in entries[:-1])]
    for number in range(4):
        own = [one for entry in entries if (one := entry.value.reveal_text()).startswith(f"worker{number} ")]
        assert own == [f"worker{number} {n}" for n in range(30)]
    assert moved > 0
    assert opened.kept.recall("app/secret").entry == entries[-1]
    assert opened.problems() == ()


def test_a_copy_that_gives_way_to_the_very_first_write_leaves_no_moment_at_which_neither_is_seen(store):
    """The table of the journal is made after a reader has looked for it, and before it reads the copy."""
    other = store.open()
    other.kept.keep(other.kept.copy("app/secret"))
    queued = []

    def overtake(statement):
        if "copy" in statement and "sqlite_master" not in statement and not queued:
            queued.append(other.kept.queue("app/secret"))
            other.kept.drop("app/secret")

    reader = store.open(overtake)
    found = reader.kept.recall("app/secret")
    assert (found.copy, found.entry) == (None, *queued)


def test_a_write_that_gives_way_to_the_very_first_copy_leaves_no_moment_at_which_neither_is_seen(store):
    """The same the other way round: what has been made is kept as a copy, and waits no longer."""
    other = store.open()
    entry, kept = other.kept.queue("app/secret"), []

    def overtake(statement):
        if "FROM journal" in statement and not kept:
            kept.append(other.kept.copy("app/secret", "written", taken=9.0))
            other.kept.keep(*kept)
            other.kept.done(entry)

    reader = store.open(overtake)
    found = reader.kept.recall("app/secret")
    assert (found.copy, found.entry) == (*kept, None)


@pytest.mark.parametrize("reencrypt", [False, True])
def test_writes_go_on_being_accepted_while_keys_are_changed(store, reencrypt):
    worker = store.worker("queue_many", "worker", "60")
    opened = store.open(busy_timeout=60.0)
    changes = 0
    while worker.poll() is None:
        opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
        changes += 1
        time.sleep(0.02)
    assert worker.returncode == 0, worker.communicate()[1]
    worker.communicate()
    assert changes > 1
    assert [entry.place.name for entry in opened.kept.entries()] == [f"worker/{number}" for number in range(60)]
    assert opened.problems() == ()


def test_a_process_killed_while_it_accepts_writes_leaves_each_whole_or_none(store):
    accepted = 0
    for attempt in range(8):
        worker = store.worker("queue_many", f"attempt{attempt}", "500")
        for line in worker.stdout:
            last = int(line)
            if random.random() < 0.1:
                break
        time.sleep(random.random() * 0.003)  # not right after one, but anywhere in the next
        kill(worker)
        opened = store.open()
        entries = opened.kept.entries()
        own = [entry for entry in entries if entry.place.name.startswith(f"attempt{attempt}/")]
        assert len(own) > last
        assert [entry.value.reveal_text() for entry in own] == [f"{n:06d}" * 500 for n in range(len(own))]
        accepted += len(own)
        assert [entry.position for entry in entries] == list(range(1, accepted + 1))
        assert opened.problems() == ()
        store.close()


def test_a_process_killed_while_it_settles_has_settled_whole_steps(store):
    opened = store.open()
    for number in range(200):
        opened.kept.queue(f"app/{number}", f"value {number}")
    store.close()
    done = 0
    while done < 200:
        worker = store.worker("settle_in_rounds", "5")
        for line in worker.stdout:
            done = int(line)
            if random.random() < 0.15:
                break
        time.sleep(random.random() * 0.003)
        kill(worker)
        opened = store.open()
        left = [entry.position for entry in opened.kept.entries()]
        assert len(left) % 5 == 0, "a step was settled in part"
        assert left == list(range(200 - len(left) + 1, 201))
        assert len(left) <= 200 - done
        done = 200 - len(left)
        copies = [opened.kept.recall(f"app/{number}").copy for number in range(200)]
        assert [copy is not None for copy in copies] == [number < done for number in range(200)]
        assert opened.problems() == ()
        store.close()


@pytest.mark.parametrize("act", ["keep", "append", "settle"])
def test_a_full_disk_changes_nothing(store, act):
    """The limit moves from nothing to enough in small steps; some lie within a page, some between two."""
    opened = store.open()
    opened.kept.keep(opened.kept.copy("app/secret", "old"))
    for number in range(6):
        opened.kept.queue("app/secret", f"value {number}")
    expected = opened.kept.recall("app/secret"), opened.kept.entries(), opened.kept.status()
    store.close()
    said = []
    for limit in range(0, 40 * PAGE, PAGE + 1500):
        said += run(store.worker("journal_limited", str(limit), act, "20000"))
        opened = store.open()
        assert opened.problems() == ()
        found = opened.kept.recall("app/secret"), opened.kept.entries(), opened.kept.status()
        store.close()
        if said[-1].strip() == "written":
            assert found != expected or act == "append"
            break
        assert found == expected
    assert said[-1].strip() == "written"
    assert {one.strip() for one in said[:-1]} == {"storage_full"}
    assert len(said) > 3


def test_a_claim_is_refused_to_everybody_else_until_it_is_given_up(store):
    first, second = store.open(), store.open()
    assert first.kept.claim()
    assert not first.kept.claim()
    assert not second.kept.claim()
    assert run(store.worker("hold_claim", first.kept.target, stdin=subprocess.DEVNULL)) == ["False\n"]
    second.kept.release()
    assert not second.kept.claim(), "somebody else's was given up"
    assert second.kept.claim("https://other.example")
    assert second.kept.claim(backend="other")
    first.kept.release()
    first.kept.release()
    assert second.kept.claim()


def test_a_claim_ends_when_the_store_is_closed(store):
    first, second = store.open(), store.open()
    assert first.kept.claim()
    first.close()
    assert second.kept.claim()
    with pytest.raises(ClosedError):
        first.kept.claim()
    first.kept.release()
    assert not store.open().kept.claim()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_claim_ends_with_a_store_that_nobody_has_any_more(store):
    """Or nobody would ever give it up; and a forked child would keep it for longer than its parent lives."""
    opened = store.open()
    request = ClaimRequest(backend=opened.kept.backend, target=opened.kept.target)
    forgotten = LocalBackend.open(store.settings())
    assert forgotten.claim(request).granted
    assert not opened.kept.claim()
    del forgotten
    gc.collect()
    assert opened.kept.claim()


def test_a_claim_ends_when_its_holder_is_killed(store):
    opened = store.open()
    worker = store.worker("hold_claim", opened.kept.target, stdin=subprocess.PIPE)
    assert worker.stdout.readline() == "True\n"
    assert not opened.kept.claim()
    kill(worker)
    assert opened.kept.claim()


def test_a_program_that_is_started_instead_holds_no_claim(store):
    opened = store.open()
    worker = store.worker("start_another", opened.kept.target, stdin=subprocess.PIPE)
    assert [worker.stdout.readline() for _ in range(2)] == ["True\n", "other\n"]
    assert opened.kept.claim()
    kill(worker)


def test_a_claim_holds_while_keys_are_changed(store):
    """Also for whoever opens the store after the data key was replaced."""
    first = store.open()
    assert first.kept.claim()
    first.backend.rekey(RekeyRequest(reencrypt=True))
    second = store.open()
    assert not second.kept.claim()
    second.backend.rekey(RekeyRequest())
    first.kept.release()
    assert second.kept.claim()


def test_a_forked_child_neither_holds_nor_gives_up_its_parents_claim(store):
    opened = store.open()
    assert opened.kept.claim()

    def child() -> str:
        opened.kept.release()
        own = opened.kept.claim()
        another = store.open().kept.claim()
        opened.close()
        return f"{own} {another}"

    assert in_forked_child(child) == "False False"
    assert not store.open().kept.claim()


def test_a_claim_ends_with_its_holder_although_a_child_of_it_lives_on(store):
    opened = store.open()
    assert opened.kept.claim()
    go = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.read(go[0], 1)
        finally:
            os._exit(0)
    opened.close()
    assert store.open().kept.claim()
    os.write(go[1], b"x")
    os.waitpid(child, 0)


def test_forks_meanwhile_leave_no_claim_behind(store):
    """A child that is forked just while a file is being locked knows of it, and closes it."""
    opened = store.open()
    opened.kept.claim()
    opened.kept.release()
    stop = threading.Event()

    def claim() -> None:
        while not stop.is_set():
            assert opened.kept.claim()
            opened.kept.release()

    thread = threading.Thread(target=claim)
    thread.start()
    children = []
    hold = os.pipe()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os.close(hold[1])
                os.read(hold[0], 1)
                os._exit(0)
            children.append(child)
    finally:
        stop.set()
        thread.join()
        os.close(hold[1])
    assert opened.kept.claim()
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


def test_the_file_of_a_claim_is_private_and_one_that_is_open_to_others_is_refused(store):
    opened = store.open()
    assert opened.kept.claim()
    opened.kept.release()
    (path,) = [one for one in store.folder.iterdir() if "claim" in one.name]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(BackendError) as caught:
        opened.kept.claim()
    assert caught.value.code == "insecure_permissions"
    path.unlink()
    path.symlink_to("/dev/null")
    with pytest.raises(BackendError):
        opened.kept.claim()


def test_a_write_waits_for_another_writer_no_longer_than_its_operation_may_take(store):
    opened = store.open(busy_timeout=30.0)
    opened.put("app/secret", "value")
    holder = store.database()
    holder.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with within(0.2), pytest.raises(BackendUnavailableError) as caught:
        opened.kept.queue("app/secret")
    assert caught.value.code == "busy"
    assert time.monotonic() - begun < 5.0
    assert opened.backend.keeps_deadlines
    holder.execute("ROLLBACK")
    holder.close()
    opened.kept.queue("app/secret")
    cursor = opened.backend._session.pool.take()
    assert cursor.execute("PRAGMA busy_timeout").fetchone() == (30_000,)
    opened.backend._session.pool.give(cursor)
