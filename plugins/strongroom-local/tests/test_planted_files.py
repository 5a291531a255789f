"""Files beside the store, and tables and values in it, that somebody without the key put there."""

from __future__ import annotations

import os
import sqlite3
import struct
import subprocess
import sys

import pytest

from strongroom.contracts import BackupRequest, RekeyRequest, VerifyRequest
from strongroom.errors import BackendError, StoreDamagedError, StrongroomError, TamperedError

PAGE = 4096


@pytest.fixture
def filled(store):
    store.fill({"app/first": "value 1", "app/second": "value 2"})
    return store


def files(store) -> dict[str, bytes]:
    """Return what is in the store's folder, but for SQLite's shared memory."""
    return {path.name: path.read_bytes() for path in store.folder.iterdir() if not path.name.endswith("-shm")}


def journal_of(store, victim) -> bytes:
    """Return a rollback journal that writes the store's first page and, played back, deletes another file."""
    magic, nonce, page = bytes.fromhex("d9d505f920a163d7"), 1234, store.path.read_bytes()[:PAGE]
    head = (magic + struct.pack(">IIIII", 1, nonce, 4, 512, PAGE)).ljust(512, b"\0")
    checksum = nonce + sum(page[PAGE - 200 : 0 : -200])
    name = os.fsencode(victim)
    tail = struct.pack(">I", 2**30 // PAGE + 1) + name + struct.pack(">II", len(name), sum(name)) + magic
    return head + struct.pack(">I", 1) + page + struct.pack(">I", checksum) + tail


def test_a_journal_beside_the_store_is_not_played_back(filled):
    victim = filled.folder / "precious.txt"
    victim.write_text("the user's own")
    journal = filled.folder / "secrets.db-journal"
    journal.touch(0o600)
    journal.write_bytes(journal_of(filled, victim))
    before = files(filled)
    with pytest.raises(StoreDamagedError, match="-journal"):
        filled.open()
    assert files(filled) == before


def leave_a_log(store, *statements: str) -> None:
    """Run statements with plain SQLite in a process that ends without closing."""
    script = (
        "import os, sqlite3, sys; os.umask(0o077)\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: connection.execute(statement)\n"
        "os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(store.path), *statements], check=True)


def test_a_foreign_database_keeps_its_log(home):
    leave_a_log(
        home, "PRAGMA journal_mode = WAL", "CREATE TABLE recipes (title)", "INSERT INTO recipes VALUES ('soup')"
    )
    before = files(home)
    assert before["secrets.db-wal"]
    with pytest.raises(StoreDamagedError):
        home.open()
    assert files(home) == before


@pytest.mark.parametrize("edit", ["UPDATE store SET header = x'00'", "DELETE FROM store", "UPDATE store SET epoch = 7"])
def test_a_damaged_store_keeps_its_log(filled, edit):
    leave_a_log(filled, edit)
    before = files(filled)
    with pytest.raises(StoreDamagedError):
        filled.open()
    assert files(filled) == before


def test_a_store_that_is_refused_later_keeps_its_log(filled):
    opened = filled.open()
    leave_a_log(filled, "DELETE FROM store")
    before = files(filled)
    with pytest.raises(StoreDamagedError):
        opened.get("app/first")
    filled.close()
    assert files(filled) == before


def test_a_store_that_another_key_locked_keeps_its_log(filled):
    leave_a_log(filled, "INSERT INTO record VALUES (-1, x'00')")
    before = files(filled) | {"master.key": b""}
    filled.set_key("A" * 43 + "=")
    with pytest.raises(StrongroomError):
        filled.open()
    assert files(filled) | {"master.key": b""} == before


def test_triggers_named_like_tables_are_refused(filled):
    """Looked at by name alone, the tables would hide them."""
    connection = filled.database()
    connection.execute("CREATE TRIGGER store BEFORE UPDATE ON head BEGIN SELECT RAISE(IGNORE); END")
    connection.execute("PRAGMA writable_schema = ON")
    order = "name = 'head' DESC, type = 'trigger' DESC"  # the trigger after its table, and before its namesake
    rows = connection.execute(f"SELECT * FROM sqlite_master ORDER BY {order}").fetchall()
    connection.execute("DELETE FROM sqlite_master")
    connection.executemany("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", rows)
    connection.close()
    with pytest.raises(StoreDamagedError):
        filled.open()


@pytest.mark.parametrize(
    "event", ["BEFORE INSERT ON record", "BEFORE UPDATE ON head", "BEFORE UPDATE ON store", "AFTER INSERT ON record"]
)
def test_a_trigger_made_while_the_store_is_open_swallows_no_write(filled, event):
    opened = filled.open()
    opened.put("app/first", "warm")
    connection = filled.database()
    body = "DELETE FROM head" if event.startswith("AFTER") else "SELECT RAISE(IGNORE)"
    connection.execute(f"CREATE TRIGGER spy {event} BEGIN {body}; END")
    with pytest.raises(StoreDamagedError, match="trigger"):
        opened.put("app/first", "new")
    connection.execute("DROP TRIGGER spy")
    connection.close()
    again = filled.open()
    assert again.get("app/first") == "warm"
    assert again.problems() == ()


def test_a_view_in_place_of_a_table_is_not_obeyed(filled):
    opened = filled.open()
    opened.get("app/first")
    connection = filled.database()
    connection.execute("ALTER TABLE head RENAME TO hidden")
    connection.execute("CREATE VIEW head AS SELECT lookup, current, sealed FROM hidden WHERE current IS NULL")
    connection.close()
    with pytest.raises(StoreDamagedError, match="view"):
        opened.get("app/first")


ODD = {
    "origin as text": "UPDATE head SET lookup = CAST(lookup AS TEXT) WHERE lookup = zeroblob(32)",
    "sealed as text": "UPDATE head SET sealed = CAST(sealed AS TEXT)",
    "current as text": "UPDATE head SET current = 'abc' WHERE current NOTNULL",
    "current negative": "UPDATE head SET current = -5 WHERE current NOTNULL",
    "lookup as number": "INSERT INTO head VALUES (5, NULL, x'00')",
    "body as text": "UPDATE record SET body = CAST(body AS TEXT)",
    "body as number": "UPDATE record SET body = 5",
    "body as float": "UPDATE record SET body = 5.5",
    "record id negative": "UPDATE record SET id = -7 WHERE id = (SELECT min(id) FROM record)",
    "record added": "INSERT INTO record VALUES (-1, x'00')",
    "record id huge": "INSERT INTO record VALUES (9223372036854775807, x'00')",
    "counter as text": "UPDATE store SET counter = 'abc'",
    "counter as blob": "UPDATE store SET counter = x'00'",
    "counter as float": "UPDATE store SET counter = 1.5",
    "counter negative": "UPDATE store SET counter = -1",
    "digest as number": "UPDATE store SET digest = 5",
    "digest as text": "UPDATE store SET digest = CAST(digest AS TEXT)",
    "header as text": "UPDATE store SET header = CAST(header AS TEXT)",
    "second row": "INSERT INTO store SELECT 2, epoch, counter, digest, header FROM store",
}


@pytest.mark.parametrize("edit", ODD.values(), ids=ODD)
def test_verify_finds_a_value_that_no_store_holds(filled, edit):
    filled.edit(edit)
    opened = filled.open()
    assert opened.backend.verify(VerifyRequest(at_least=1)).problems
    with pytest.raises(TamperedError):
        opened.backend.backup(BackupRequest(path=str(filled.folder / "backup.db")))
    for reencrypt in (False, True):
        with pytest.raises(TamperedError):
            opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))


@pytest.mark.parametrize("edit", ODD.values(), ids=ODD)
def test_a_value_that_no_store_holds_gives_an_answer_or_an_error_of_ours(filled, edit):
    filled.edit(edit)
    opened = filled.open(keep_versions=1)
    asks = (
        lambda: opened.put("app/first", "new"),
        lambda: opened.put("app/third", "new"),
        lambda: opened.get("app/first"),
        lambda: opened.get("app/absent"),
        lambda: opened.versions("app/second"),
        lambda: opened.delete("app/second"),
        opened.names,
        opened.backend.health,
    )
    for ask in asks:
        try:
            ask()
        except StrongroomError:
            continue
    assert type(opened.problems()) is tuple


def test_a_write_whose_row_is_not_found_again_is_refused(store):
    """To SQLite a text is no blob, so that the update of the origin would change nothing."""
    store.edit(ODD["origin as text"])
    opened = store.open()
    with pytest.raises(StoreDamagedError):
        opened.put("app/new", "value")
    assert opened.names() == []


def test_a_second_name_of_the_file_is_refused(filled):
    """SQLite would keep one log for each name."""
    other = filled.folder / "other.db"
    os.link(filled.path, other)
    for path in (filled.path, other):
        with pytest.raises(BackendError, match="hard link") as caught:
            filled.open(path=str(path))
        assert caught.value.code == "insecure_permissions"
    other.unlink()
    assert filled.open().get("app/first") == "value 1"


def test_a_maker_that_was_killed_before_it_took_the_first_name_away_left_a_good_store(filled):
    os.link(filled.path, filled.folder / ".secrets.db.0011223344556677.new")
    assert filled.open().get("app/first") == "value 1"
    os.link(filled.path, filled.folder / "other.db")
    with pytest.raises(BackendError):
        filled.open()


@pytest.mark.parametrize("act", ["replaced", "removed"])
def test_a_file_that_is_replaced_under_an_open_store_takes_no_write(filled, act):
    """The write would go to the file that has no name any more."""
    opened = filled.open()
    opened.backend.backup(BackupRequest(path=str(filled.folder / "backup.db")))
    opened.put("app/first", "later")
    if act == "replaced":
        os.replace(filled.folder / "backup.db", filled.path)
    else:
        filled.path.unlink()
    for name in ("app/first", "app/new"):
        with pytest.raises(StoreDamagedError, match="replaced"):
            opened.put(name, "lost")
    with pytest.raises(StoreDamagedError, match="replaced"):
        opened.delete("app/first")
    with pytest.raises(StoreDamagedError, match="replaced"):
        opened.backend.rekey(RekeyRequest())


def test_verify_and_backup_name_the_store(filled, tmp_path):
    other = type(filled)(tmp_path / "other")
    other.folder.mkdir(mode=0o700)
    other.set_key(filled.key_path.read_text().strip())
    other.create()
    opened = filled.open()
    identity = opened.backend.verify(VerifyRequest()).store_id
    assert len(identity) == 32
    assert opened.backend.backup(BackupRequest(path=str(filled.folder / "backup.db"))).store_id == identity
    assert other.open().backend.verify(VerifyRequest()).store_id != identity
    other.close()


def test_the_log_of_a_crash_still_moves_into_a_good_store(filled):
    leave_a_log(filled, "INSERT INTO record VALUES (-1, x'00')")
    filled.open().get("app/first")
    filled.close()
    assert sorted(os.listdir(filled.folder)) == ["master.key", "secrets.db"]
    assert sqlite3.connect(filled.path).execute("SELECT count(*) FROM record").fetchone() == (3,)
