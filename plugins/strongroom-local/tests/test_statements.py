"""What a read and a write cost, counted: statements, transactions and decryptions."""

from __future__ import annotations

from typing import ClassVar

import pytest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts import CurrentVersionsRequest, ReadManyRequest
from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName
from strongroom_local.backend import LocalBackend


class CountingCipher:
    """Counts what it passes on to a real cipher."""

    calls: ClassVar[list[str]] = []

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def encrypt(self, *arguments: bytes) -> bytes:
        self.calls.append("encrypt")
        return self._cipher.encrypt(*arguments)

    def decrypt(self, *arguments: bytes) -> bytes:
        self.calls.append("decrypt")
        return self._cipher.decrypt(*arguments)


@pytest.fixture
def counted(store, monkeypatch):
    """Return an open store with two secrets, and the lists that its statements and cipher calls go to."""
    store.fill({"app/secret": "value", "app/other": "value"})
    monkeypatch.setattr("strongroom_local.keys.AESGCM", CountingCipher)
    statements: list[str] = []
    opened = store.open(trace=statements.append)
    opened.get("app/other")  # the connection is there now, as in any process that has read before
    statements.clear()
    CountingCipher.calls.clear()
    return opened, statements, CountingCipher.calls


def words(statements: list[str]) -> list[str]:
    return [" ".join(statement.split()[:2]) for statement in statements]


def test_a_read_is_one_statement_and_two_decryptions(counted):
    opened, statements, calls = counted
    assert opened.get("app/secret") == "value"
    assert len(statements) == 1
    assert statements[0].startswith("SELECT s.epoch")
    assert calls == ["decrypt", "decrypt"]


def test_an_older_version_costs_the_same(counted):
    opened, statements, calls = counted
    assert opened.get("app/secret", "1") == "value"
    assert len(statements) == 1
    assert calls == ["decrypt", "decrypt"]


def read_many(opened, *names):
    return opened.backend.read_many(ReadManyRequest(names=tuple(map(SecretName, names))))


def test_several_reads_are_one_statement_and_two_decryptions_each(counted):
    opened, statements, calls = counted
    answer = read_many(opened, "app/secret", "app/other")
    assert {name: result.value.reveal_text() for name, result in answer.found.items()} == {
        "app/secret": "value",
        "app/other": "value",
    }
    assert len(statements) == 1
    assert calls == ["decrypt"] * 4


def test_absent_names_among_several_are_proved_absent_one_by_one(counted):
    opened, statements, _ = counted
    answer = read_many(opened, "app/secret", "app/absent")
    assert (list(answer.found), list(answer.errors)) == (["app/secret"], ["app/absent"])
    assert len(statements) == 3


def test_as_many_names_as_a_batch_takes_are_one_statement(store):
    names = [f"many/{number}" for number in range(LocalBackend.batch_size)]
    store.fill(dict.fromkeys(names, "value"))
    statements = []
    opened = store.open(trace=statements.append)
    opened.get("many/0")
    statements.clear()
    assert len(read_many(opened, *names).found) == len(names)
    assert len(statements) == 1


def versions(opened, *names):
    request = CurrentVersionsRequest(names=tuple(map(SecretName, names)))
    return opened.backend.current_versions(request).versions


def test_the_versions_of_a_thousand_names_are_one_statement_and_no_value(store, monkeypatch):
    names = [f"many/{number}" for number in range(1000)]
    store.fill(dict.fromkeys(names, "value"))
    monkeypatch.setattr("strongroom_local.keys.AESGCM", CountingCipher)
    statements = []
    opened = store.open(trace=statements.append)
    opened.get("many/0")
    statements.clear()
    CountingCipher.calls.clear()
    assert versions(opened, *names) == dict.fromkeys(names, "1")
    assert words(statements) == ["SELECT s.epoch,"]
    assert "body" not in statements[0]
    assert CountingCipher.calls == ["decrypt"] * 1000


def test_versions_are_not_read_again_while_nothing_changes(counted):
    opened, statements, calls = counted
    versions(opened, "app/secret", "app/other", "app/absent")
    statements.clear()
    calls.clear()
    assert versions(opened, "app/secret", "app/absent") == {"app/secret": "1", "app/absent": None}
    assert words(statements) == ["SELECT epoch,"]
    assert calls == []


def test_versions_are_read_again_after_a_change_by_another_process(counted, store):
    opened, statements, _ = counted
    assert versions(opened, "app/secret", "app/new") == {"app/secret": "1", "app/new": None}
    other = store.open()
    other.put("app/secret", "second")
    other.put("app/new", "first")
    statements.clear()
    assert versions(opened, "app/secret", "app/new") == {"app/secret": "2", "app/new": "1"}
    assert words(statements) == ["SELECT epoch,", "SELECT s.epoch,"]


def test_a_name_that_was_not_asked_for_before_is_read(counted):
    opened, statements, _ = counted
    versions(opened, "app/secret")
    statements.clear()
    assert versions(opened, "app/secret", "app/other") == {"app/secret": "1", "app/other": "1"}
    assert words(statements) == ["SELECT s.epoch,"]


def test_an_absent_name_costs_one_statement_more_for_the_proof(counted):
    opened, statements, calls = counted
    with pytest.raises(SecretNotFoundError):
        opened.get("app/absent")
    assert len(statements) == 2
    assert calls == ["decrypt"]


def test_an_update_is_one_transaction_that_reads_the_epoch_first(counted):
    opened, statements, calls = counted
    opened.put("app/secret", "value 2")
    assert words(statements) == [
        "BEGIN IMMEDIATE",
        "SELECT s.epoch,",
        "INSERT INTO",
        "UPDATE head",
        "UPDATE store",
        "COMMIT",
    ]
    assert sorted(calls) == ["decrypt", "decrypt", "encrypt", "encrypt", "encrypt"]


def test_a_new_name_is_one_transaction(counted):
    opened, statements, _ = counted
    opened.put("app/new", "value")
    assert words(statements)[0] == "BEGIN IMMEDIATE"
    assert words(statements)[1] == "SELECT s.epoch,"
    assert words(statements)[-1] == "COMMIT"
    assert words(statements).count("COMMIT") == 1
    assert len(statements) == 8


@pytest.mark.parametrize("act", ["names", "problems", "versions"])
def test_every_other_read_starts_with_the_epoch(counted, act):
    opened, statements, _ = counted
    if act == "versions":
        opened.versions("app/secret")
    else:
        getattr(opened, act)()
    first = next(statement for statement in statements if statement != "BEGIN")
    assert first.startswith(("SELECT s.epoch", "SELECT epoch"))


def test_an_index_lookup_never_scans(store):
    """Each statement of a read or write finds its rows by a key, so it costs the same in a large store."""
    from strongroom_local import schema

    connection = store.database()
    many = schema.read_many(3)
    for statement in (schema.READ, schema.READ_VERSION, schema.VERSIONS, schema.BEFORE, schema.TARGET, many):
        values = (b"x",) * (3 if statement is many else 1 + ("?2" in statement))
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
        assert not any("SCAN" in row[3] and "CONSTANT" not in row[3] for row in plan), plan
    connection.close()
