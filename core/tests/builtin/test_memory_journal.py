"""What the journal in memory does beyond the contract, and that it does what the contract's model does."""

from __future__ import annotations

import time

from hypothesis import settings

from journalmodel import JournalMachine
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.memory_journal import MemoryJournal
from strongroom.contracts import (
    AppendRequest,
    Copy,
    Entry,
    Journal,
    JournalStatusRequest,
    KeepCopiesRequest,
    Place,
    RecallRequest,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import in_forked_child

PLACE = Place(backend="main", target="https://vault.example", name=SecretName("db/password"))
MANY = 20_000


def entry(number: int, follows: str | None = None) -> Entry:
    return Entry(
        id=f"{number:036d}",
        place=PLACE,
        change="set",
        value=SecretValue(f"content {number}"),
        expected=None,
        follows=follows,
        queued=float(number),
        principal="shop",
    )


def append(journal: Journal, one: Entry) -> None:
    journal.append(AppendRequest(entry=one, max_entries=MANY, max_bytes=10**9))


class MemoryMachine(JournalMachine):
    def open(self) -> Journal:
        return MemoryJournal()


TestMemoryJournal = MemoryMachine.TestCase
TestMemoryJournal.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_closing_lets_go_of_every_value() -> None:
    backend = MemoryBackend()
    values = [SecretValue("content"), SecretValue("content")]
    buffers = [value._buffer for value in values]
    copy = Copy(place=PLACE, value=values[0], version="1", created=None, taken=1.0)
    backend.keep_copies(KeepCopiesRequest(copies=(copy,)))
    append(backend, entry(1).replace(value=values[1]))
    del copy, values
    backend.close()
    assert [bytes(buffer) for buffer in buffers] == [bytes(7)] * 2
    assert backend.journal_status(JournalStatusRequest()).size == 0


def test_a_child_has_a_copy_of_its_own() -> None:
    journal = MemoryJournal()
    append(journal, entry(1))

    def child() -> None:
        journal.start_in_child()
        append(journal, entry(2, entry(1).id))

    assert in_forked_child(child) == "None"
    found = journal.recall(RecallRequest(place=PLACE)).entry
    assert found is not None
    assert found.id == entry(1).id


def test_a_full_journal_takes_no_longer_than_an_empty_one() -> None:
    journal = MemoryJournal()
    begun = time.process_time()
    follows = None
    for number in range(MANY):
        append(journal, entry(number, follows))
        follows = entry(number).id
    # Going through all of them for each one would take minutes.
    assert time.process_time() - begun < 10
