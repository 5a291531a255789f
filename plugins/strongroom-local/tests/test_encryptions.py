"""Nonces that never repeat, and the durable count of encryptions with its two limits."""

from __future__ import annotations

import pytest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts import HealthState, RekeyRequest
from strongroom.errors import BackendError, StrongroomError
from strongroom_local import schema
from strongroom_local.digest import REFUSE_AT, WARN_AT, Digest
from strongroom_local.sealing import seal


def test_a_hundred_thousand_encryptions_have_distinct_nonces():
    cipher = AESGCM(bytes(32))
    assert len({seal(cipher, b"same", b"same")[:12] for _ in range(100_000)}) == 100_000


def nonces(store) -> list[bytes]:
    connection = store.database()
    found = [row[0][32:44] for row in connection.execute("SELECT body FROM record")]
    found += [row[0][:12] for row in connection.execute("SELECT sealed FROM head UNION ALL SELECT digest FROM store")]
    connection.close()
    return found


def test_no_nonce_in_a_store_is_used_twice(store):
    """Also when the same value is written again, or the keys change."""
    seen: list[bytes] = []
    opened = store.open(keep_versions=100)
    for number in range(30):
        opened.put(f"app/{number % 3}", "the same value")
    seen += nonces(store)
    opened.backend.rekey(RekeyRequest(reencrypt=True))
    seen += nonces(store)
    assert len(set(seen)) == len(seen)


def count_of(opened) -> int:
    return int(dict(opened.backend.health().facts)["encryptions"])


def test_every_change_is_counted(store):
    """The count is an upper bound for every single key: making a name seals two entries of the index."""
    opened = store.open()
    start = count_of(opened)
    opened.put("app/secret", "value 1")
    assert count_of(opened) == start + 2
    opened.put("app/secret", "value 2")
    opened.delete("app/secret")
    assert count_of(opened) == start + 4
    store.close()
    assert count_of(store.open()) == start + 4


def set_count(store, encryptions: int) -> None:
    """Seal the digest anew with another count, as only the owner of the key can."""
    opened = store.open()
    keys, pool = opened.backend._session.keys, opened.backend._session.pool

    def change(cursor) -> None:
        _, counter, sealed = cursor.execute(schema.STORE).fetchone()
        digest = Digest.open(keys, counter, sealed)
        digest.encryptions = encryptions - 1
        cursor.execute(schema.SET_STORE, (counter, digest.sealed(counter, 1)))

    pool.change(change)
    store.close()


def test_a_warning_comes_at_half_of_what_is_safe(store, caplog):
    store.fill({"app/secret": "value"})
    set_count(store, WARN_AT - 2)
    opened = store.open()
    opened.put("app/secret", "value")
    assert not caplog.records
    assert opened.backend.health().state is HealthState.UP
    opened.put("app/secret", "value")
    assert "--reencrypt" in caplog.text
    assert opened.backend.health().state is HealthState.DEGRADED
    assert "--reencrypt" in opened.backend.health().hint
    opened.put("app/secret", "value")
    assert len(caplog.records) == 1, "one warning a process is enough"


def test_the_keys_are_refused_when_they_are_used_up(store):
    store.fill({"app/secret": "value"})
    set_count(store, REFUSE_AT - 2)
    opened = store.open()
    opened.put("app/secret", "value")
    opened.put("app/secret", "the last one")
    counter = opened.counter()
    for act in (lambda: opened.put("app/secret", "one too many"), lambda: opened.delete("app/secret")):
        with pytest.raises(BackendError, match="reencrypt"):
            act()
    assert opened.get("app/secret") == "the last one"
    assert opened.counter() == counter
    opened.backend.rekey(RekeyRequest(reencrypt=True))
    opened.put("app/secret", "with new keys")
    assert count_of(opened) < 100


def test_wrapping_anew_does_not_set_the_count_back(store):
    store.fill({"app/secret": "value"})
    set_count(store, 1000)
    opened = store.open()
    opened.backend.rekey(RekeyRequest())
    assert count_of(opened) == 1001


@pytest.mark.parametrize("fails", ["before the record", "at the commit"])
def test_what_a_failed_write_encrypted_is_counted_with_the_next(store, fails):
    """Its ciphertexts may have reached the disk."""
    opened = store.open()
    opened.put("app/secret", "value")
    start = count_of(opened)
    connection = store.database()
    if fails == "at the commit":
        store.path.rename(store.folder / "away.db")
    else:
        connection.execute("CREATE TRIGGER spy BEFORE INSERT ON record BEGIN SELECT RAISE(IGNORE); END")
    for _ in range(3):
        with pytest.raises(StrongroomError):
            opened.put("app/secret", "not written")
    if fails == "at the commit":
        (store.folder / "away.db").rename(store.path)
    else:
        connection.execute("DROP TRIGGER spy")
    connection.close()
    opened.put("app/secret", "value 2")
    assert count_of(opened) == start + 4
    opened.put("app/secret", "value 3")
    assert count_of(opened) == start + 5
    opened.backend.rekey(RekeyRequest())
    assert count_of(opened) == start + 6


def test_deleting_what_is_not_there_loses_no_count_of_a_failed_write(store):
    """Such a transaction ends well, and writes no count."""
    opened = store.open()
    opened.put("app/secret", "value")
    start = count_of(opened)
    connection = store.database()
    connection.execute("CREATE TRIGGER spy BEFORE INSERT ON record BEGIN SELECT RAISE(IGNORE); END")
    for _ in range(3):
        with pytest.raises(StrongroomError):
            opened.put("app/secret", "not written")
    connection.execute("DROP TRIGGER spy")
    connection.close()
    assert not opened.delete("app/absent")
    opened.put("app/secret", "value 2")
    assert count_of(opened) == start + 4
    assert not opened.delete("app/absent")
    opened.put("app/secret", "value 3")
    assert count_of(opened) == start + 5
