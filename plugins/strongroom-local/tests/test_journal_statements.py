"""What copies and the journal cost, counted: statements, transactions, decryptions; and that nothing is scanned."""

from __future__ import annotations

import pytest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts.journal import Settlement
from strongroom_local import journal_schema as schema


class Counting:
    """A cipher that counts its uses."""

    def __init__(self, calls: list[str], key: bytes) -> None:
        self._calls = calls
        self._cipher = AESGCM(key)

    def encrypt(self, *arguments: bytes) -> bytes:
        self._calls.append("encrypt")
        return self._cipher.encrypt(*arguments)

    def decrypt(self, *arguments: bytes) -> bytes:
        self._calls.append("decrypt")
        return self._cipher.decrypt(*arguments)


@pytest.fixture
def counted(store, monkeypatch):
    """Return an open store with a copy and a few entries, and the lists that statements and cipher calls go to."""
    calls: list[str] = []
    statements: list[str] = []
    monkeypatch.setattr("strongroom_local.keys.AESGCM", lambda key: Counting(calls, key))
    opened = store.open(trace=statements.append)
    opened.kept.keep(opened.kept.copy("app/secret"))
    for number in range(5):
        opened.kept.queue("app/secret")
        opened.kept.queue(f"app/{number}")
    opened.kept.recall("app/secret")  # it knows now that there are both tables
    statements.clear()
    calls.clear()
    return opened, statements, calls


def words(statements: list[str]) -> list[str]:
    return [" ".join(statement.split()[:2]) for statement in statements]


def test_a_recall_is_one_statement_and_one_decryption_of_what_is_there(counted):
    opened, statements, calls = counted
    opened.kept.recall("app/secret")
    assert (len(statements), calls) == (1, ["decrypt", "decrypt"])
    opened.kept.recall("app/absent")
    assert (len(statements), calls) == (2, ["decrypt", "decrypt"])


def test_accepting_a_write_is_one_transaction_that_reads_the_epoch_first(counted):
    opened, statements, calls = counted
    opened.kept.append(opened.kept.entry("app/new"))
    assert words(statements)[:2] == ["BEGIN IMMEDIATE", "SELECT epoch,"]
    assert words(statements)[-3:] == ["INSERT INTO", "UPDATE store", "COMMIT"]
    assert len(statements) == 9
    assert calls == ["encrypt", "encrypt"]


def test_copies_are_kept_in_one_transaction(counted):
    opened, statements, calls = counted
    opened.kept.keep(*(opened.kept.copy(f"many/{number}") for number in range(50)))
    assert words(statements).count("COMMIT") == words(statements).count("BEGIN IMMEDIATE") == 1
    assert calls == ["encrypt"] * 51


def test_settling_is_one_transaction(counted):
    opened, statements, _ = counted
    entries = opened.kept.entries()
    statements.clear()
    opened.kept.settle(*(Settlement(entry=entry, done=True) for entry in entries))
    assert words(statements).count("COMMIT") == words(statements).count("BEGIN IMMEDIATE") == 1
    assert words(statements).count("UPDATE store") == 1


def test_a_part_of_the_journal_decrypts_no_more_than_that_part(counted):
    opened, _, calls = counted
    asked = {"backend": opened.kept.backend, "target": opened.kept.target, "waiting": True}
    assert len(opened.kept.entries(**asked, limit=3)) == 3
    assert calls == ["decrypt"] * 3


def test_counting_decrypts_the_oldest_entry_only(counted):
    opened, _, calls = counted
    for asked in ({}, {"backend": opened.kept.backend, "target": opened.kept.target}):
        assert opened.kept.status(**asked).waiting == 10
    assert calls == ["decrypt"] * 2


def plan_of(store, statement: str) -> list[str]:
    connection = store.database()
    values = {"after": 0, "entry": b"", "target": b""} if ":" in statement else (b"",) * statement.count("?")
    if "?2" in statement:
        values = (b"", b"")
    found = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    connection.close()
    return found


ONE_OF_MANY = (
    schema.NEWEST,
    schema.OLDEST,
    schema.OLDEST_OF,
    schema.ALL_OF,
    schema.ENTRY,
    schema.FOLLOWERS,
    schema.AT,
    schema.COPY,
    schema.recall(True, True),
    schema.entries(True, False, False),
    schema.entries(False, True, True),
    schema.entries(False, True, False),
)


@pytest.mark.parametrize("statement", ONE_OF_MANY)
def test_what_is_looked_up_is_never_searched_for(counted, store, statement):
    """It costs the same in a long journal; what comes in order comes so from an index, except where few are meant."""
    plan = plan_of(store, statement)
    assert not any("SCAN" in step and "CONSTANT" not in step for step in plan), plan
    if statement in {schema.OLDEST, schema.OLDEST_OF}:
        assert not any("TEMP B-TREE" in step for step in plan), plan
    if statement == schema.entries(False, True, True):
        assert any("journal_target (target=? AND waits=? AND position>?)" in step for step in plan), plan
        assert not any("TEMP B-TREE" in step for step in plan), plan


def test_the_totals_come_from_an_index_alone(counted, store):
    assert any("COVERING INDEX journal_target" in step for step in plan_of(store, schema.TOTALS))
