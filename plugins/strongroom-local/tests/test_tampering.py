"""What somebody with write access to the file, but without the key, can do and cannot do."""

from __future__ import annotations

import shutil

import pytest

from strongroom.errors import StoreDamagedError, StrongroomError, TamperedError

NAMES = ("app/first", "app/second", "app/third")


@pytest.fixture
def filled(store):
    """Return a closed store with three secrets of two versions each."""
    store.fill({name: f"old {name}" for name in NAMES})
    store.fill({name: f"new {name}" for name in NAMES})
    return store


def rows(store, statement: str) -> list[tuple]:
    connection = store.database()
    found = connection.execute(statement).fetchall()
    connection.close()
    return found


def change(store, statement: str, *parameters: object) -> None:
    connection = store.database()
    connection.execute(statement, parameters)
    connection.close()


def current_of(store, name: str) -> tuple[bytes, int, bytes]:
    """Return the index row of a name; the test has the key, so it can look it up."""
    opened = store.open()
    lookup = opened.backend._session.keys.find(name)
    store.close()
    return next(row for row in rows(store, "SELECT * FROM head") if row[0] == lookup)


def test_a_record_under_another_name_is_refused(filled):
    """The name is bound into the ciphertext, so a swap opens neither."""
    first, second = (current_of(filled, name)[1] for name in NAMES[:2])
    body = dict(rows(filled, "SELECT id, body FROM record"))
    change(filled, "UPDATE record SET body = ? WHERE id = ?", body[second], first)
    change(filled, "UPDATE record SET body = ? WHERE id = ?", body[first], second)
    opened = filled.open()
    for name in NAMES[:2]:
        with pytest.raises(TamperedError) as caught:
            opened.get(name)
        assert caught.value.name == name
    assert opened.get(NAMES[2]) == f"new {NAMES[2]}"
    assert len(opened.problems()) >= 2


def test_an_older_version_in_place_of_the_current_is_refused(filled):
    """The version is bound into the ciphertext as well."""
    current = current_of(filled, NAMES[0])[1]
    change(filled, "UPDATE record SET body = (SELECT body FROM record WHERE id = ?) WHERE id = ?", current - 1, current)
    with pytest.raises(TamperedError):
        filled.open().get(NAMES[0])


def test_an_index_entry_in_another_place_is_refused(filled):
    """An entry is bound to its look-up value."""
    first, second = (current_of(filled, name) for name in NAMES[:2])
    change(filled, "UPDATE head SET current = ?, sealed = ? WHERE lookup = ?", *second[1:], first[0])
    with pytest.raises(TamperedError):
        filled.open().get(NAMES[0])


def test_an_index_entry_that_leads_to_another_version_is_refused(filled):
    """The entry's clear column only helps to find the record; what it must be is sealed."""
    current = current_of(filled, NAMES[0])[1]
    change(filled, "UPDATE head SET current = ? WHERE current = ?", current - 1, current)
    with pytest.raises(TamperedError):
        filled.open().get(NAMES[0])


@pytest.mark.parametrize("name", NAMES)
def test_a_removed_index_entry_is_not_taken_for_an_absent_secret(filled, name):
    """The entry before it proves that there was one, whichever was removed."""
    change(filled, "DELETE FROM head WHERE lookup = ?", current_of(filled, name)[0])
    opened = filled.open()
    with pytest.raises((StoreDamagedError, TamperedError)):
        opened.get(name)
    with pytest.raises((StoreDamagedError, TamperedError)):
        opened.put(name, "another", None)
    with pytest.raises(TamperedError):
        opened.names()
    assert opened.problems()


def test_a_removed_record_is_not_taken_for_an_absent_secret(filled):
    current = current_of(filled, NAMES[0])[1]
    change(filled, "DELETE FROM record WHERE id = ?", current)
    opened = filled.open()
    with pytest.raises(TamperedError):
        opened.get(NAMES[0])
    assert any(NAMES[0] in problem for problem in opened.problems())


def test_a_removed_older_version_is_found(filled):
    current = current_of(filled, NAMES[0])[1]
    change(filled, "DELETE FROM record WHERE id = ?", current - 1)
    opened = filled.open()
    assert opened.get(NAMES[0]) == f"new {NAMES[0]}"
    for ask in (lambda: opened.get(NAMES[0], "1"), lambda: opened.versions(NAMES[0])):
        with pytest.raises(TamperedError):
            ask()
    assert any(NAMES[0] in problem for problem in opened.problems())


def test_verify_finds_an_added_record(filled):
    change(filled, "INSERT INTO record (id, body) VALUES (77, x'00')")
    assert any("77" in problem for problem in filled.open().problems())


def test_verify_finds_an_earlier_state_of_one_secret(filled):
    """A read cannot: everything about that secret is authentic, only old. The digest tells."""
    row = current_of(filled, NAMES[0])
    record = rows(filled, f"SELECT id, body FROM record WHERE id = {row[1]}")[0]
    filled.fill({NAMES[0]: "the newest value"})
    change(filled, "UPDATE head SET current = ?, sealed = ? WHERE lookup = ?", row[1], row[2], row[0])
    change(filled, "DELETE FROM record WHERE id = ?", record[0] + 1)
    opened = filled.open()
    assert opened.get(NAMES[0]) == f"new {NAMES[0]}"
    assert any("rows are not those" in problem for problem in opened.problems())


def test_verify_finds_an_earlier_digest(filled):
    counter, digest = rows(filled, "SELECT counter, digest FROM store")[0]
    filled.fill({NAMES[0]: "the newest value"})
    change(filled, "UPDATE store SET counter = ?, digest = ?", counter, digest)
    assert filled.open().problems()


def test_a_digest_of_another_counter_is_refused(filled):
    """The counter is bound to the digest, so nobody can count it up or down."""
    change(filled, "UPDATE store SET counter = counter + 1")
    opened = filled.open()
    assert any("digest" in problem for problem in opened.problems())
    with pytest.raises(TamperedError):
        opened.put(NAMES[0], "another")
    assert opened.backend.health().state.value == "down"


def test_an_old_copy_of_the_file_is_found_by_its_counter(filled, tmp_path):
    shutil.copy(filled.path, tmp_path / "old")
    filled.fill({NAMES[0]: "the newest value"})
    noted = filled.open().counter()
    filled.close()
    shutil.copy(tmp_path / "old", filled.path)
    opened = filled.open()
    assert opened.problems() == ()
    assert opened.problems(at_least=noted - 1) == ()
    assert any("old copy" in problem for problem in opened.problems(at_least=noted))


def test_a_secret_of_another_store_is_refused(filled, tmp_path):
    """Even under the same master key each store has its own id and data key."""
    from_here = current_of(filled, NAMES[0])
    other = type(filled)(tmp_path / "other")
    other.folder.mkdir(mode=0o700)
    other.set_key(filled.key_path.read_text().strip())
    other.create()
    other.fill({NAMES[0]: "value of the other store"})
    body = rows(other, "SELECT body FROM record")[0][0]
    change(filled, "UPDATE record SET body = ? WHERE id = ?", body, from_here[1])
    with pytest.raises(TamperedError):
        filled.open().get(NAMES[0])


@pytest.mark.parametrize("column", ["salt", "iterations", "epoch", "key id", "kind"])
def test_a_changed_header_is_refused(filled, column):
    """Also with a checksum that fits: everything in it is bound to the wrapped key."""
    import hashlib

    position = {"kind": 26, "salt": 28, "iterations": 47, "epoch": 55, "key id": 59}[column]
    header = bytearray(rows(filled, "SELECT header FROM store")[0][0])
    header[position] ^= 3
    header[-32:] = hashlib.sha256(header[:-32]).digest()
    change(filled, "UPDATE store SET header = ?", bytes(header))
    with pytest.raises(StrongroomError) as caught:
        filled.open()
    assert caught.value.code in {"tampered", "master_key_wrong", "store_damaged"}


def test_a_foreign_table_or_trigger_is_refused(filled):
    """SQLite would run it; the store has three tables and nothing else."""
    change(filled, "CREATE TRIGGER spy AFTER INSERT ON record BEGIN DELETE FROM head; END")
    with pytest.raises(StoreDamagedError):
        filled.open()


def test_opening_with_verify_on_open_refuses_what_verify_finds(filled):
    filled.open(verify_on_open=True).close()
    change(filled, "INSERT INTO record (id, body) VALUES (77, x'00')")
    filled.open().close()
    with pytest.raises(TamperedError):
        filled.open(verify_on_open=True)


def test_backup_and_rekey_refuse_a_store_that_does_not_verify(filled):
    from strongroom.contracts import BackupRequest, RekeyRequest

    change(filled, "INSERT INTO record (id, body) VALUES (77, x'00')")
    before = filled.path.read_bytes()
    opened = filled.open()
    target = filled.folder / "backup.db"
    with pytest.raises(TamperedError):
        opened.backend.backup(BackupRequest(path=str(target)))
    for reencrypt in (False, True):
        with pytest.raises(TamperedError):
            opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    filled.close()
    assert not target.exists()
    assert filled.path.read_bytes() == before
