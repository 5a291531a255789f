"""States are kept beside the secrets, as safe as those, and nothing shows them."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import shutil
import signal

import pytest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts import MAX_STATE_BYTES, BackupRequest, RekeyRequest
from strongroom.errors import SecretNotFoundError, StoreDamagedError, StrongroomError, TamperedError, ValueTooLargeError
from strongroom.testing import marker_value
from strongroom_local.header import parse_header

KEY = "anomaly/0-first-use"
KEYS = (KEY, "anomaly/1-rate")


def tables(store) -> list[str]:
    connection = store.database()
    found = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
    connection.close()
    return found


def rows(store) -> list[tuple[bytes, bytes]]:
    connection = store.database()
    found = connection.execute("SELECT lookup, sealed FROM state ORDER BY lookup").fetchall()
    connection.close()
    return found


def change(store, statement: str, *parameters: object) -> None:
    connection = store.database()
    connection.execute(statement, parameters)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.fixture
def kept(store):
    """Return a closed store with a secret and two states."""
    opened = store.open()
    opened.put("app/secret", "value")
    for key in KEYS:
        opened.save(key, f"state of {key}".encode())
    store.close()
    return store


def states_of(opened) -> list[bytes | None]:
    return [opened.load(key) for key in KEYS]


def test_a_state_outlives_the_process(kept):
    assert states_of(kept.open()) == [f"state of {key}".encode() for key in KEYS]


def test_a_store_without_states_is_read_as_it_is(store):
    """Stores of earlier releases have no table for them, and reading makes none."""
    opened = store.open()
    assert opened.load(KEY) is None
    assert opened.problems() == ()
    assert opened.counter() == 0
    store.close()
    assert tables(store) == ["head", "record", "store"]


def test_the_table_is_made_when_the_first_state_is_kept(store):
    """Others that have the store open go on, and find the state."""
    first, second = store.open(), store.open()
    second.put("app/secret", "value")
    assert second.load(KEY) is None
    first.save(KEY, b"state")
    assert second.load(KEY) == b"state"
    second.save(KEY, b"newer")
    assert first.load(KEY) == b"newer"
    assert first.get("app/secret") == "value"
    assert tables(store) == ["head", "record", "state", "store"]
    assert store.open().problems() == ()


def test_a_first_state_that_fails_leaves_no_table(store, monkeypatch):
    monkeypatch.setattr("strongroom_local.digest.REFUSE_AT", 0)
    with pytest.raises(StrongroomError):
        store.open().save(KEY, b"state")
    store.close()
    assert tables(store) == ["head", "record", "store"]


def test_no_list_read_or_count_of_secrets_shows_a_state(kept):
    opened = kept.open()
    assert opened.names() == ["app/secret"]
    with pytest.raises(SecretNotFoundError):
        opened.get(KEY)
    with pytest.raises(SecretNotFoundError):
        opened.versions(KEY)
    assert opened.problems() == ()


def test_nothing_of_a_state_shows_in_any_file(store):
    marker = marker_value().encode()
    opened = store.open()
    opened.save(KEY, marker * 300)
    opened.save(KEY, marker)
    opened.backend.backup(BackupRequest(path=str(store.folder / "backup.db")))
    for path in store.folder.iterdir():
        content = path.read_bytes()
        assert marker not in content, path.name
        assert KEY.encode() not in content, path.name


def test_each_save_is_a_counted_change_and_encryption(store):
    opened = store.open()
    opened.put("app/secret", "value")
    before, changes = dict(opened.backend.health().facts)["encryptions"], opened.counter()
    for number in range(5):
        opened.save(KEY, b"%d" % number)
    store.close()
    opened = store.open()
    assert int(dict(opened.backend.health().facts)["encryptions"]) == int(before) + 5
    assert opened.counter() == changes + 5


def test_no_nonce_is_used_twice(store):
    opened = store.open()
    seen = []
    for _ in range(20):
        opened.save(KEY, b"the same state")
        seen += [sealed[:12] for _, sealed in rows(store)]
    assert len(set(seen)) == 20


def test_a_state_over_the_limit_is_refused_and_nothing_is_written(kept):
    opened = kept.open()
    before = opened.counter()
    with pytest.raises(ValueTooLargeError):
        opened.save(KEY, bytes(MAX_STATE_BYTES + 1))
    assert opened.counter() == before
    opened.save(KEY, bytes(MAX_STATE_BYTES))
    assert opened.load(KEY) == bytes(MAX_STATE_BYTES)


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_change_of_keys_keeps_the_states(kept, reencrypt):
    """Also for somebody who has the store open meanwhile, for reading and for saving."""
    other, opened = kept.open(), kept.open()
    states = states_of(other)
    before = rows(kept)
    opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    assert states_of(opened) == states_of(other) == states
    after = rows(kept)
    assert (set(after) & set(before) == set()) is reencrypt
    assert len(after) == len(before)
    opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    other.save(KEY, b"newer")
    assert states_of(opened) == [b"newer", states[1]]
    assert opened.problems() == other.problems() == ()


def test_a_backup_has_the_states(kept):
    path = kept.folder / "backup.db"
    kept.open().backend.backup(BackupRequest(path=str(path)))
    kept.close()
    shutil.move(path, kept.path)
    opened = kept.open()
    assert states_of(opened) == [f"state of {key}".encode() for key in KEYS]
    assert opened.problems() == ()


def test_a_changed_state_is_refused_and_found(kept):
    lookup, sealed = rows(kept)[0]
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    change(kept, "UPDATE state SET sealed = ? WHERE lookup = ?", flipped, lookup)
    opened = kept.open()
    key = next(key for key in KEYS if opened.backend._session.keys.find_state(key) == lookup)
    with pytest.raises(TamperedError):
        opened.load(key)
    with pytest.raises(TamperedError):
        opened.save(key, b"another")
    assert "a state that the local store keeps is not authentic" in opened.problems()
    with pytest.raises(TamperedError):
        opened.backend.rekey(RekeyRequest(reencrypt=True))
    assert opened.get("app/secret") == "value"


@pytest.mark.parametrize("column", ["lookup", "sealed"])
def test_a_state_under_another_key_is_refused(kept, column):
    """Whichever way round it is put there."""
    (first, one), (second, other) = rows(kept)
    change(kept, "DELETE FROM state")
    swapped = [(second, one), (first, other)] if column == "sealed" else [(first, other), (second, one)]
    for row in swapped:
        change(kept, "INSERT INTO state VALUES (?, ?)", *row)
    opened = kept.open()
    for key in KEYS:
        with pytest.raises(TamperedError):
            opened.load(key)
    assert opened.problems()


def test_a_state_whose_place_was_changed_is_not_taken_for_absent(kept):
    """Nothing is found at its place then; but what is at another must be authentic there."""
    lookup, _ = rows(kept)[0]
    change(kept, "UPDATE state SET lookup = ? WHERE lookup = ?", bytes(32), lookup)
    opened = kept.open()
    key = next(key for key in KEYS if opened.backend._session.keys.find_state(key) == lookup)
    with pytest.raises(TamperedError):
        opened.load(key)
    with pytest.raises(TamperedError):
        opened.save(key, b"new")


@pytest.mark.parametrize("statement", ["DELETE FROM state", "DROP TABLE state"])
def test_verify_finds_that_states_were_removed(kept, statement):
    """A load does not: it has no proof that nothing was kept."""
    change(kept, statement)
    opened = kept.open()
    assert opened.load(KEY) is None
    assert any("not those that were written" in problem for problem in opened.problems())
    opened.save(KEY, b"new")
    assert opened.problems(), "a save must not cover it up"


def test_verify_finds_that_one_state_was_put_back(kept):
    """To whoever loads it, it is authentic, because it was."""
    before = dict(rows(kept))
    opened = kept.open()
    opened.save(KEY, b"newer")
    kept.close()
    lookup, _ = next(row for row in rows(kept) if before[row[0]] != row[1])
    change(kept, "UPDATE state SET sealed = ? WHERE lookup = ?", before[lookup], lookup)
    opened = kept.open()
    assert opened.load(KEY) == f"state of {KEY}".encode()
    assert opened.problems()
    opened.save(KEY, b"newest")
    assert opened.problems(), "a save must not cover it up"


def test_a_state_of_another_store_is_refused(kept, tmp_path):
    """The store's id is bound to it, even if one master key opens both."""
    place = tmp_path / "other"
    place.mkdir(mode=0o700)
    other = type(kept)(place)
    shutil.copy2(kept.key_path, other.key_path)
    other.create()
    opened = other.open()
    opened.save(KEY, b"of the other")
    theirs = rows(other)[0]
    mine = kept.open().backend._session.keys.find_state(KEY)
    kept.close()
    other.close()
    change(kept, "UPDATE state SET sealed = ? WHERE lookup = ?", theirs[1], mine)
    with pytest.raises(TamperedError):
        kept.open().load(KEY)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE state SET sealed = 'text'",
        "UPDATE state SET sealed = 5",
        "UPDATE state SET sealed = x''",
    ],
)
def test_a_value_of_another_type_or_size_is_an_error(kept, statement):
    change(kept, statement)
    opened = kept.open()
    with pytest.raises(StrongroomError):
        opened.load(KEY)
    assert opened.problems()


def test_verify_finds_a_state_stored_as_text(kept):
    """SQLite gives the same bytes for it, so a load cannot tell."""
    change(kept, "UPDATE state SET sealed = CAST(sealed AS TEXT)")
    opened = kept.open()
    assert "2 states have a value of another type" in opened.problems()


def test_a_table_of_states_in_other_words_is_refused(store):
    store.edit("CREATE TABLE state (lookup BLOB PRIMARY KEY, sealed BLOB) WITHOUT ROWID")
    with pytest.raises(StoreDamagedError):
        store.open()


def test_a_flipped_bit_gives_no_other_state_and_hides_none_from_verify(kept):
    """Anywhere in the file: the right answer, an error, or none where verification says that something is wrong."""
    intact = kept.path.read_bytes()
    expected = [f"state of {key}".encode() for key in KEYS]
    for position in random.sample(range(len(intact)), 1500):
        flipped = bytearray(intact)
        flipped[position] ^= 1 << random.randrange(8)
        kept.path.write_bytes(flipped)
        try:
            opened = kept.open()
            found = states_of(opened)
            assert found == expected or (None in found and opened.problems()), (position, found)
        except StrongroomError:
            pass
        kept.close()
        assert kept.path.read_bytes() == flipped, "reading changed the file"


def test_processes_that_save_states_and_secrets_at_once_lose_none(store):
    workers = [store.worker("save_states", f"worker{number}", "15") for number in range(3)]
    workers.append(store.worker("write_many", "names", "30"))
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
    opened = store.open()
    assert opened.load("common") in {b"worker%d" % number * 500 for number in range(3)}
    assert [opened.load(f"worker1/{number}") for number in range(3)] == [b"%06d" % n * 500 for n in (12, 13, 14)]
    assert len(opened.names()) == 30
    assert opened.problems() == ()


def test_a_process_killed_while_it_saves_leaves_a_whole_state(store):
    for _ in range(5):
        worker = store.worker("save_states", "worker", "500")
        acknowledged = 0
        for line in worker.stdout:
            acknowledged = int(line)
            if random.random() < 0.1:
                break
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        opened = store.open()
        state = opened.load(f"worker/{acknowledged % 3}")
        assert state in {b"%06d" % number * 500 for number in range(acknowledged, 500)}
        assert opened.problems() == ()
        store.close()
        assert sorted(os.listdir(store.folder)) == ["master.key", "secrets.db"]


def test_a_state_opens_as_the_description_says(kept):
    """With the data key, and nothing of ours but that."""
    opened = kept.open()
    connection = kept.database()
    content = connection.execute("SELECT header FROM store").fetchone()[0]
    connection.close()
    header, data_key = opened.backend._session.unwrap(content)
    assert parse_header(content, "").store_id == header.store_id

    def derived(label: bytes) -> bytes:
        extracted = hmac.digest(header.store_id, data_key.reveal(), "sha256")
        return hmac.digest(extracted, b"strongroom local store 1: " + label + b"\x01", hashlib.sha256)

    def listed(*items: bytes) -> bytes:
        return b"".join(len(item).to_bytes(2, "big") + item for item in items)

    for key in KEYS:
        lookup = hmac.digest(derived(b"state look-up"), key.encode(), "sha256")
        sealed = dict(rows(kept))[lookup]
        associated = listed(b"\0\1", b"state", header.store_id, header.key_id.to_bytes(4, "big"), lookup)
        plain = AESGCM(derived(b"state")).decrypt(sealed[:12], sealed[12:], associated)
        assert plain == listed(key.encode()) + f"state of {key}".encode()
