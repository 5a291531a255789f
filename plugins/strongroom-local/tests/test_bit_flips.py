"""One flipped bit anywhere in a checkpointed store is without effect or an error.

It never gives another value, and never 'not found' for a secret that is there;
and reading leaves the file as it is, whatever is found in it.
"""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from strongroom.errors import MasterKeyError, SecretDeletedError, SecretNotFoundError, StrongroomError

CONTENT = {"app/first": "the first value", "app/second": "the second value"}
CHUNKS = 8


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory where there is one: the store is opened tens of thousands of times."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def small(store):
    """Return a closed store with two secrets, an older version and a deleted name."""
    store.fill({"app/first": "an older value", "app/gone": "a deleted value"})
    opened = store.open()
    opened.delete("app/gone")
    store.fill(CONTENT)
    store.close()
    return store


@pytest.fixture
def tiny(small):
    """Return the same with pages of 1,024 bytes, so that the whole of it can be tried."""
    small.edit("PRAGMA journal_mode = DELETE", "PRAGMA page_size = 1024", "VACUUM", "PRAGMA journal_mode = WAL")
    return small


def answers(store) -> dict[str, object]:
    """Return what the store answers to each question, an error as its class."""
    try:
        opened = store.open()
    except StrongroomError as error:
        return {"open": type(error)}
    questions = {
        "first": lambda: opened.get("app/first"),
        "second": lambda: opened.get("app/second"),
        "older": lambda: opened.get("app/first", "1"),
        "gone": lambda: opened.get("app/gone"),
        "absent": lambda: opened.get("app/absent"),
        "names": lambda: opened.names(),
        "versions": lambda: opened.versions("app/first"),
    }
    given = {question: _answer(ask) for question, ask in questions.items()}
    store.close()
    return given


def _answer(ask) -> object:
    try:
        return ask()
    except StrongroomError as error:
        return type(error)


def wrong_answers(expected: dict[str, object], given: dict[str, object]) -> dict[str, object]:
    """Return the answers that are neither right nor an error that says that something is wrong."""
    harmless = (SecretNotFoundError, SecretDeletedError)
    if isinstance(given.get("open"), type):
        return {} if given["open"] not in harmless else given
    return {
        question: answer
        for question, answer in given.items()
        if answer != expected[question] and (not isinstance(answer, type) or answer in harmless)
    }


def check_flips(store, flips: Iterable[tuple[int, int]]) -> None:
    """Flip one bit after the other and compare the answers with those of the intact store."""
    expected = answers(store)
    assert expected["first"] == CONTENT["app/first"]
    assert expected["gone"] is SecretDeletedError
    assert expected["absent"] is SecretNotFoundError
    intact = store.path.read_bytes()
    for position, bit in flips:
        flipped = bytearray(intact)
        flipped[position] ^= 1 << bit
        _write_byte(store.path, position, flipped[position])
        wrong = wrong_answers(expected, answers(store))
        assert not wrong, f"bit {bit} of byte {position} gives {wrong}"
        assert store.path.read_bytes() == flipped, f"bit {bit} of byte {position}: reading changed the file"
        _write_byte(store.path, position, intact[position])
    assert answers(store) == expected


def _write_byte(path: os.PathLike[str], position: int, byte: int) -> None:
    handle = os.open(path, os.O_WRONLY)
    os.pwrite(handle, bytes([byte]), position)
    os.close(handle)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_bit_of_a_small_store(tiny, chunk):
    """Every single bit is tried, an eighth of the file in each test."""
    size = tiny.path.stat().st_size
    check_flips(tiny, ((position, bit) for position in range(chunk, size, CHUNKS) for bit in range(8)))


def test_bits_all_over_a_store_as_it_is_made(small):
    """With the usual page size, one bit of every fourth byte is tried, others in each run."""
    size = small.path.stat().st_size
    check_flips(small, ((position + random.randrange(4), random.randrange(8)) for position in range(0, size, 4)))


def test_a_flipped_bit_in_the_header_is_not_taken_for_a_wrong_key(small):
    """The header has a checksum, so that nobody looks for a key that is not lost."""
    connection = small.database()
    header = connection.execute("SELECT header FROM store").fetchone()[0]
    connection.close()
    for position in range(len(header)):
        flipped = bytearray(header)
        flipped[position] ^= 1
        _set_header(small, bytes(flipped))
        with pytest.raises(StrongroomError) as caught:
            small.open()
        assert not isinstance(caught.value, MasterKeyError), position


def _set_header(store, header: bytes) -> None:
    connection: sqlite3.Connection = store.database()
    connection.execute("UPDATE store SET header = ?", (header,))
    connection.close()


def test_a_flipped_bit_in_a_log_that_a_crash_left_gives_no_invented_state(small, tmp_path):
    """SQLite drops a damaged end of its log, so an earlier committed state may come back, but nothing else."""
    opened = small.open()
    opened.put("app/first", "the newest value")
    log = small.folder / "secrets.db-wal"
    crashed = small.path.read_bytes(), log.read_bytes()
    small.close()
    allowed = {"first": {CONTENT["app/first"], "the newest value"}, "second": {CONTENT["app/second"]}}
    size = len(crashed[1])
    positions = [*range(56), *(random.randrange(size) for _ in range(1200))]
    for position in positions:
        flipped = bytearray(crashed[1])
        flipped[position] ^= 1 << random.randrange(8)
        small.path.write_bytes(crashed[0])
        log.write_bytes(flipped)
        log.chmod(0o600)
        given = answers(small)
        for question, values in allowed.items():
            answer = given.get(question, given.get("open"))
            assert answer in values or _is_alarm(answer), (position, given)


def test_a_write_to_a_store_with_a_flipped_bit_harms_no_other_secret(small):
    """It succeeds or is refused; the other secret keeps its value, or the damage to it shows."""
    intact = small.path.read_bytes()
    positions = [*range(100), *(random.randrange(len(intact)) for _ in range(900))]
    for position in positions:
        flipped = bytearray(intact)
        flipped[position] ^= 1 << random.randrange(8)
        small.path.write_bytes(flipped)
        written = _answer(lambda: small.open().put("app/first", "a new value"))
        small.close()
        given = answers(small)
        first, second = (given.get(question, given.get("open")) for question in ("first", "second"))
        assert first == ("a new value" if written == "3" else CONTENT["app/first"]) or _is_alarm(first), (
            position,
            given,
        )
        assert second == CONTENT["app/second"] or _is_alarm(second), (position, given)


def _is_alarm(answer: object) -> bool:
    return isinstance(answer, type) and answer not in {SecretNotFoundError, SecretDeletedError}
