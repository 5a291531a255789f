"""What somebody with the file, but without the key, can do to named keys: never have one replaced unnoticed."""

from __future__ import annotations

import random
import shutil

import pytest

from strongroom.contracts import (
    BackupRequest,
    DataKeyRequest,
    RekeyRequest,
)
from strongroom.errors import (
    SecretNotFoundError,
    StoreDamagedError,
    StrongroomError,
    TamperedError,
)
from strongroom.model import SecretName

KEY = "app/orders"
OTHER = "app/letters"


def change(store, statement: str, *parameters: object) -> None:
    connection = store.database()
    connection.execute(statement, parameters)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def place_of(store, key: str) -> bytes:
    found = store.open().backend._session.keys.find_keyring(key)
    store.close()
    return found


@pytest.mark.parametrize(
    "statement", ["DELETE FROM keyring WHERE lookup = ?", "DELETE FROM keyring", "DROP TABLE keyring"]
)
def test_a_removed_key_is_never_replaced_and_never_taken_for_absent(with_keys, statement):
    """Otherwise what was encrypted with it would be lost without a word, and more with the next removal."""
    lookup = place_of(with_keys, KEY)
    change(with_keys, statement, *([lookup] if "?" in statement else []))
    opened = with_keys.open()
    keys = opened.keys
    ciphertext, signature = with_keys.made[KEY]
    for act in (
        lambda: keys.encrypt(KEY, b"content"),
        lambda: keys.sign(KEY, b"message"),
        lambda: keys.backend.data_key(DataKeyRequest(key=SecretName(KEY))),
        lambda: keys.decrypt(KEY, ciphertext),
        lambda: keys.rewrap(KEY, ciphertext),
        lambda: keys.verify(KEY, b"message", signature),
        lambda: keys.rotate(KEY),
        lambda: keys.encrypt("app/new", b"content"),
        lambda: keys.rotate("app/absent"),
        lambda: opened.backend.rekey(RekeyRequest(reencrypt=True)),
        lambda: opened.backend.rekey(RekeyRequest()),
        lambda: opened.backend.backup(BackupRequest(path=str(with_keys.folder / "backup.db"))),
    ):
        with pytest.raises(TamperedError):
            act()
    assert any("named keys" in problem for problem in opened.problems())
    opened.put("app/secret", "another value")
    assert any("named keys" in problem for problem in opened.problems()), "a write must not cover it up"
    assert opened.get("app/secret") == "another value"


def test_the_other_keys_are_of_use_when_one_was_removed(with_keys):
    change(with_keys, "DELETE FROM keyring WHERE lookup = ?", place_of(with_keys, KEY))
    keys = with_keys.open().keys
    assert keys.decrypt(OTHER, with_keys.made[OTHER][0]) == f"content of {OTHER}".encode()
    assert keys.decrypt(OTHER, keys.encrypt(OTHER, b"content")) == b"content"


def test_a_key_put_back_to_an_earlier_state_is_found(with_keys):
    """It is authentic, so it is used; but whatever would build on it notices."""
    lookup = place_of(with_keys, KEY)
    before = with_keys.keyrings()[lookup]
    opened = with_keys.open()
    opened.keys.rotate(KEY)
    newer, signature = opened.keys.encrypt(KEY, b"content"), opened.keys.sign(KEY, b"message")
    with_keys.close()
    change(with_keys, "UPDATE keyring SET sealed = ? WHERE lookup = ?", before, lookup)
    opened = with_keys.open()
    keys = opened.keys
    with_keys.check_made(opened)
    assert keys.encrypt(KEY, b"content").startswith("local:v1:")
    for act in (
        lambda: keys.rotate(KEY),
        lambda: keys.rotate(OTHER),
        lambda: keys.decrypt(KEY, newer),
        lambda: keys.verify(KEY, b"message", signature),
        lambda: keys.encrypt("app/new", b"content"),
    ):
        with pytest.raises(TamperedError):
            act()
    assert any("earlier state" in problem for problem in opened.problems())


def test_a_key_put_back_while_it_is_in_use_is_refused(with_keys):
    """Whoever has used the newer version does not go back to the older one, which may have been given away."""
    opened = with_keys.open()
    before = with_keys.keyrings()
    opened.keys.rotate(KEY)
    for lookup, sealed in before.items():
        change(with_keys, "UPDATE keyring SET sealed = ? WHERE lookup = ?", sealed, lookup)
    for act in (
        lambda: opened.keys.encrypt(KEY, b"content"),
        lambda: opened.keys.sign(KEY, b"message"),
        lambda: opened.keys.decrypt(KEY, with_keys.made[KEY][0]),
    ):
        with pytest.raises(TamperedError):
            act()


def test_a_row_from_a_time_that_a_backup_took_back_is_found_by_verify(with_keys):
    """It is authentic, and has as many versions as the one in its place."""
    lookup = place_of(with_keys, KEY)
    shutil.copy2(with_keys.path, with_keys.folder / "backup.db")
    with_keys.open().keys.rotate(KEY)
    with_keys.close()
    given_up = with_keys.keyrings()[lookup]
    shutil.move(with_keys.folder / "backup.db", with_keys.path)
    opened = with_keys.open()
    opened.keys.rotate(KEY)
    ciphertext = opened.keys.encrypt(KEY, b"content")
    with_keys.close()
    change(with_keys, "UPDATE keyring SET sealed = ? WHERE lookup = ?", given_up, lookup)
    opened = with_keys.open()
    with pytest.raises(TamperedError):
        opened.keys.decrypt(KEY, ciphertext)
    with_keys.check_made(opened)
    assert opened.problems()
    opened.keys.rotate(KEY)
    assert opened.problems(), "a new version must not cover it up"


@pytest.mark.parametrize("position", [0, 20, -1])
def test_a_changed_key_is_refused_and_found(with_keys, position):
    lookup = place_of(with_keys, KEY)
    flipped = bytearray(with_keys.keyrings()[lookup])
    flipped[position] ^= 1
    change(with_keys, "UPDATE keyring SET sealed = ? WHERE lookup = ?", bytes(flipped), lookup)
    keys = with_keys.open().keys
    for act in (
        lambda: keys.encrypt(KEY, b"content"),
        lambda: keys.decrypt(KEY, with_keys.made[KEY][0]),
        lambda: keys.sign(KEY, b"message"),
        lambda: keys.verify(KEY, b"message", with_keys.made[KEY][1]),
        lambda: keys.rotate(KEY),
        lambda: keys.rotate("app/absent"),
    ):
        with pytest.raises(TamperedError):
            act()
    assert "a named key of the local store is not authentic" in keys.problems()
    with_keys.close()


def test_a_key_that_was_used_is_refused_once_its_row_is_changed(with_keys):
    """What is opened is not used any more."""
    opened = with_keys.open()
    with_keys.check_made(opened)
    change(with_keys, "UPDATE keyring SET sealed = zeroblob(200)")
    with pytest.raises(TamperedError):
        opened.keys.encrypt(KEY, b"content")


def test_keys_that_were_swapped_are_refused(with_keys):
    (first, one), (second, other) = with_keys.keyrings().items()
    change(with_keys, "DELETE FROM keyring")
    change(with_keys, "INSERT INTO keyring VALUES (?, ?), (?, ?)", first, other, second, one)
    keys = with_keys.open().keys
    for key in (KEY, OTHER):
        with pytest.raises(TamperedError):
            keys.encrypt(key, b"content")
    assert keys.problems()


def test_a_key_whose_place_was_changed_is_not_taken_for_absent(with_keys):
    change(with_keys, "UPDATE keyring SET lookup = ? WHERE lookup = ?", bytes(32), place_of(with_keys, KEY))
    keys = with_keys.open().keys
    for act in (lambda: keys.encrypt(KEY, b"content"), lambda: keys.decrypt(KEY, with_keys.made[KEY][0])):
        with pytest.raises(TamperedError):
            act()


def test_a_key_of_another_store_is_refused(with_keys, tmp_path):
    """The store's id is bound to it, even if one master key opens both."""
    place = tmp_path / "other"
    place.mkdir(mode=0o700)
    other = type(with_keys)(place)
    shutil.copy2(with_keys.key_path, other.key_path)
    other.create()
    other.open().keys.encrypt(KEY, b"content")
    theirs = next(iter(other.keyrings().values()))
    other.close()
    change(with_keys, "UPDATE keyring SET sealed = ? WHERE lookup = ?", theirs, place_of(with_keys, KEY))
    with pytest.raises(TamperedError):
        with_keys.open().keys.encrypt(KEY, b"content")


@pytest.mark.parametrize("value", ["'text'", "5", "x''"])
def test_a_value_of_another_type_or_size_is_an_error(with_keys, value):
    change(with_keys, f"UPDATE keyring SET sealed = {value}")
    keys = with_keys.open().keys
    with pytest.raises(TamperedError):
        keys.encrypt(KEY, b"content")
    assert keys.problems()


@pytest.mark.parametrize("column", ["sealed", "lookup"])
def test_verify_finds_a_key_stored_as_text(with_keys, column):
    change(with_keys, f"UPDATE keyring SET {column} = CAST({column} AS TEXT)")
    keys = with_keys.open().keys
    assert "2 named keys have a value of another type" in keys.problems()
    if column == "lookup":
        with pytest.raises((TamperedError, StoreDamagedError)):
            keys.encrypt(KEY, b"content")


@pytest.mark.parametrize("removed", [KEY, OTHER])
def test_a_key_that_stands_twice_covers_up_for_no_removed_one(with_keys, removed):
    """To SQLite a text is another place than a blob of the same bytes, and both come back as the same bytes."""
    change(with_keys, "DELETE FROM keyring WHERE lookup = ?", place_of(with_keys, removed))
    change(with_keys, "INSERT INTO keyring SELECT CAST(lookup AS TEXT), sealed FROM keyring")
    keys = with_keys.open().keys
    for act in (
        lambda: keys.encrypt(removed, b"content"),
        lambda: keys.decrypt(removed, with_keys.made[removed][0]),
        lambda: keys.rotate(removed),
        lambda: keys.encrypt("app/new", b"content"),
    ):
        with pytest.raises(TamperedError):
            act()


def test_a_table_of_keys_in_other_words_is_refused(store):
    store.edit("CREATE TABLE keyring (lookup BLOB PRIMARY KEY, sealed BLOB) WITHOUT ROWID")
    with pytest.raises(StoreDamagedError):
        store.open()


def test_an_earlier_digest_is_found_by_verify(with_keys):
    """With the rows put back as well it is an old copy of the whole store, which its counter tells."""
    connection = with_keys.database()
    counter, digest = connection.execute("SELECT counter, digest FROM store").fetchone()
    connection.close()
    opened = with_keys.open()
    noted = opened.counter()
    lookup, before = place_of(with_keys, KEY), with_keys.keyrings()
    with_keys.open().keys.rotate(KEY)
    with_keys.close()
    change(with_keys, "UPDATE store SET counter = ?, digest = ?", counter, digest)
    assert with_keys.open().problems()
    with_keys.close()
    change(with_keys, "UPDATE keyring SET sealed = ? WHERE lookup = ?", before[lookup], lookup)
    opened = with_keys.open()
    assert opened.problems() == ()
    assert opened.problems(at_least=noted + 1)


def test_a_removed_key_and_an_earlier_digest_are_found_by_whatever_else_has_changed(store):
    """Together they look like a store that never had the key, so it may be made anew; verification tells."""
    opened = store.open()
    opened.put("app/secret", "value")
    store.close()
    connection = store.database()
    counter, digest = connection.execute("SELECT counter, digest FROM store").fetchone()
    connection.close()
    opened = store.open()
    opened.keys.encrypt(KEY, b"content")
    opened.put("app/secret", "another value")
    store.close()
    change(store, "DROP TABLE keyring")
    change(store, "UPDATE store SET counter = ?, digest = ?", counter, digest)
    opened = store.open()
    assert opened.problems()
    opened.keys.encrypt(KEY, b"content")
    assert opened.problems(), "a new key must not cover it up"


def test_a_flipped_bit_gives_no_other_content_and_no_other_key(with_keys):
    """The right answer or an error; never 'not found', and never a new key in an old one's place."""
    intact = with_keys.path.read_bytes()
    ciphertext, signature = with_keys.made[KEY]
    encrypted: list[str] = []
    for position in random.sample(range(len(intact)), 1000):
        flipped = bytearray(intact)
        flipped[position] ^= 1 << random.randrange(8)
        with_keys.path.write_bytes(flipped)
        try:
            keys = with_keys.open().keys
            assert keys.decrypt(KEY, ciphertext) == f"content of {KEY}".encode()
            assert keys.verify(KEY, b"message", signature), position
        except SecretNotFoundError:
            pytest.fail(f"a flipped bit in byte {position} hides the key")
        except StrongroomError:
            pass
        with_keys.close()
        assert with_keys.path.read_bytes() == flipped, "reading changed the file"
        try:
            encrypted.append(with_keys.open().keys.encrypt(KEY, b"%d" % position))
        except StrongroomError:
            pass
        with_keys.close()
        for leftover in with_keys.folder.glob("secrets.db-*"):
            leftover.unlink()
    with_keys.path.write_bytes(intact)
    keys = with_keys.open().keys
    assert len(encrypted) > 100
    assert all(keys.decrypt(KEY, text).isdigit() for text in encrypted)
