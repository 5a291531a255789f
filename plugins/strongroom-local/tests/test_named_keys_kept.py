"""Named keys are kept as safe as the secrets, beside them, and by several processes at once."""

from __future__ import annotations

import base64
import errno
import hashlib
import hmac
import os
import random
import shutil
import signal
import struct

import pytest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts import (
    BackupRequest,
    DataKeyRequest,
    RekeyRequest,
)
from strongroom.errors import (
    BackendError,
    ClosedError,
    SecretNotFoundError,
    StoreDamagedError,
    StrongroomError,
)
from strongroom.model import SecretName
from strongroom.testing import in_forked_child, in_threads, marker_value
from strongroom_local import keyrings, named_keys, schema

KEY = "app/orders"
OTHER = "app/letters"


def tables(store) -> list[str]:
    connection = store.database()
    found = [row[0] for row in connection.execute("SELECT name FROM sqlite_master ORDER BY name")]
    connection.close()
    return found


def test_ciphertext_and_signature_are_as_the_description_says(with_keys):
    """With the data key, and nothing of ours but that."""
    opened = with_keys.open()
    keys = opened.keys
    keys.rotate(KEY)
    ciphertext, signature = keys.encrypt(KEY, b"content", b"row 1"), keys.sign(KEY, b"message")
    connection = with_keys.database()
    content, counter, sealed_digest = connection.execute("SELECT header, counter, digest FROM store").fetchone()
    connection.close()
    header, data_key = opened.backend._session.unwrap(content)

    def hkdf(key: bytes, salt: bytes, label: bytes) -> bytes:
        info = b"strongroom local store 1: " + label + b"\x01"
        return hmac.digest(hmac.digest(salt, key, "sha256"), info, hashlib.sha256)

    def derived(label: bytes) -> bytes:
        return hkdf(data_key.reveal(), header.store_id, label)

    def listed(*items: bytes) -> bytes:
        return b"".join(len(item).to_bytes(2, "big") + item for item in items)

    def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
        return AESGCM(key).decrypt(sealed[:12], sealed[12:], associated)

    lookup = hmac.digest(derived(b"keyring look-up"), KEY.encode(), "sha256")
    associated = listed(b"\0\1", b"keyring", header.store_id, header.key_id.to_bytes(4, "big"), lookup)
    row = unseal(derived(b"keyring"), with_keys.keyrings()[lookup], associated)
    name, pairs = row[2 : 2 + len(KEY)], row[2 + len(KEY) :]
    assert (row[:2], name, len(pairs)) == (len(KEY).to_bytes(2, "big"), KEY.encode(), 2 * 64)
    encryption_key, seed = pairs[64:96], pairs[96:]
    kind, version, text = ciphertext.split(":")
    content = base64.b64decode(text)
    assert (kind, version) == ("local", "v2")
    associated = listed(b"\0\1", b"message", header.store_id, KEY.encode(), struct.pack(">I", 2)) + b"row 1"
    assert unseal(hkdf(encryption_key, content[:32], b"message"), content[32:], associated) == b"content"
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    public.verify(base64.b64decode(signature.split(":")[2]), b"message")
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature.split(":")[2]), b"another message")
    numbers = struct.pack(">I", header.key_id), struct.pack(">Q", header.epoch), struct.pack(">Q", counter)
    associated = listed(b"\0\1", b"digest", header.store_id, *numbers)
    digest = unseal(derived(b"digest"), sealed_digest, associated)
    assert len(digest) == 64
    assert digest[56:] == (3).to_bytes(8, "big"), "three versions: two of one key, one of the other"


def test_keys_outlive_the_process(with_keys):
    with_keys.check_made(with_keys.open())


def test_a_store_without_named_keys_stays_as_earlier_releases_write_it(store):
    """Neither a question for a key nor a write of a secret makes a table, or another digest."""
    opened = store.open()
    opened.put("app/secret", "value")
    keys = opened.keys
    for ask in (
        lambda: keys.rotate(KEY),
        lambda: keys.verify(KEY, b"message", "local:v1:AAAA"),
        lambda: keys.decrypt(KEY, f"local:v1:{base64.b64encode(bytes(60)).decode()}"),
    ):
        with pytest.raises(SecretNotFoundError) as caught:
            ask()
        assert caught.value.code == "not_found"
        assert caught.value.name == KEY
    assert opened.counter() == 1
    store.close()
    assert tables(store) == ["head", "record", "store"]
    connection = store.database()
    assert len(connection.execute("SELECT digest FROM store").fetchone()[0]) == 12 + 56 + 16
    connection.close()


def test_states_secrets_and_keys_live_side_by_side(store):
    """One name may be each of them, and they do not meet."""
    first, second = store.open(), store.open()
    first.save(KEY, b"state")
    ciphertext = second.keys.encrypt(KEY, b"content")
    second.put(KEY, "secret")
    assert (first.load(KEY), first.get(KEY), first.keys.decrypt(KEY, ciphertext)) == (b"state", "secret", b"content")
    assert first.names() == [KEY]
    first.delete(KEY)
    assert second.keys.decrypt(KEY, ciphertext) == b"content"
    assert first.problems() == second.problems() == ()
    store.close()
    assert tables(store) == ["head", "keyring", "record", "state", "store"]
    keys = store.open().backend._session.keys
    assert len({keys.find(KEY), keys.find_state(KEY), keys.find_keyring(KEY)}) == 3


def test_nothing_of_a_key_and_no_name_shows_in_any_file(store):
    """And nothing of what is encrypted reaches the disk at all."""
    marker = marker_value()
    opened = store.open()
    keys = opened.keys
    name = "app/unmistakable"
    keys.encrypt(name, marker)
    keys.sign(name, marker.encode())
    pairs = keys.backend._keyrings.get(SecretName(name))._pairs
    secret = [part.reveal() for pair in pairs for part in pair]
    assert [len(part) for part in secret] == [32, 32]
    opened.backend.backup(BackupRequest(path=str(store.folder / "backup.db")))
    for path in store.folder.iterdir():
        content = path.read_bytes()
        for part in (marker.encode(), name.encode(), *secret):
            assert part not in content, path.name


def test_using_a_key_is_one_statement_and_writes_nothing(store):
    statements: list[str] = []
    opened = store.open(trace=statements.append)
    keys = opened.keys
    ciphertext, signature = keys.encrypt(KEY, b"content"), keys.sign(KEY, b"message")
    keys.decrypt(KEY, ciphertext)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in store.folder.iterdir()}
    for act in (
        lambda: keys.encrypt(KEY, b"content"),
        lambda: keys.decrypt(KEY, ciphertext),
        lambda: keys.rewrap(KEY, ciphertext),
        lambda: keys.sign(KEY, b"message"),
        lambda: keys.verify(KEY, b"message", signature),
        lambda: keys.backend.data_key(DataKeyRequest(key=SecretName(KEY))),
    ):
        statements.clear()
        act()
        assert len(statements) == 1
        assert statements[0].startswith("SELECT s.epoch, k.sealed")
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in store.folder.iterdir()} == before


def test_making_and_rotating_a_key_are_one_transaction_each(store):
    statements: list[str] = []
    opened = store.open(trace=statements.append)
    opened.put("app/secret", "value")
    keys = opened.keys
    for act in (lambda: keys.encrypt(KEY, b"content"), lambda: keys.rotate(KEY)):
        statements.clear()
        act()
        words = [statement.split()[0] for statement in statements]
        assert (words.count("BEGIN"), words.count("COMMIT"), words[-1]) == (1, 1, "COMMIT")
        begins = words.index("BEGIN")
        assert statements[begins] == "BEGIN IMMEDIATE"
        assert statements[begins + 1].startswith("SELECT epoch")
    assert dict(opened.backend.health().facts)["encryptions"] == "5"


def test_finding_a_key_never_scans(with_keys):
    connection = with_keys.database()
    plan = connection.execute(f"EXPLAIN QUERY PLAN {schema.READ_KEYRING}", (b"x",)).fetchall()
    assert not any("SCAN" in row[3] for row in plan), plan
    connection.close()


def test_a_key_that_cannot_be_made_leaves_the_store_as_it_was(store, monkeypatch):
    opened = store.open()
    with monkeypatch.context() as patch:
        patch.setattr("strongroom_local.digest.REFUSE_AT", 0)
        with pytest.raises(BackendError, match="reencrypt"):
            opened.keys.encrypt(KEY, b"content")
    store.close()
    assert tables(store) == ["head", "record", "store"]
    opened = store.open()
    opened.keys.encrypt(KEY, b"content")
    assert opened.problems() == ()


def test_a_rotation_that_fails_leaves_the_key_as_it_was(with_keys, monkeypatch):
    opened = with_keys.open()
    keys = opened.keys
    before = with_keys.keyrings()
    with monkeypatch.context() as patch:
        patch.setattr("strongroom_local.digest.REFUSE_AT", 0)
        with pytest.raises(BackendError):
            keys.rotate(KEY)
    assert with_keys.keyrings() == before
    assert keys.encrypt(KEY, b"content").startswith("local:v1:")
    assert keys.rotate(KEY) == "2"
    assert opened.problems() == ()


def test_a_row_that_sqlite_does_not_write_is_no_key(with_keys):
    """Nothing is encrypted with a key that is not durable."""
    opened = with_keys.open()
    opened.get("app/secret")
    connection = with_keys.database()
    connection.execute("CREATE TRIGGER spy BEFORE UPDATE ON keyring BEGIN SELECT RAISE(IGNORE); END")
    with pytest.raises(StrongroomError):
        opened.keys.rotate(KEY)
    connection.execute("DROP TRIGGER spy")
    connection.close()
    assert opened.keys.encrypt(KEY, b"content").startswith("local:v1:")
    assert opened.problems() == ()


def test_there_are_so_many_names_and_versions_and_no_more(keys, monkeypatch):
    monkeypatch.setattr(keyrings, "MAX_KEYRINGS", 2)
    monkeypatch.setattr(keyrings, "MAX_KEY_VERSIONS", 3)
    keys.encrypt(KEY, b"content")
    keys.encrypt(OTHER, b"content")
    with pytest.raises(BackendError, match="named keys"):
        keys.encrypt("app/third", b"content")
    keys.rotate(KEY)
    keys.rotate(KEY)
    with pytest.raises(BackendError, match="versions"):
        keys.rotate(KEY)
    assert keys.encrypt(KEY, b"content").startswith("local:v3:")
    assert keys.problems() == ()


def test_more_keys_than_stay_opened_are_all_of_use(keys, monkeypatch):
    monkeypatch.setattr(named_keys, "_MAX_OPENED", 3)
    made = {f"app/{number}": keys.encrypt(f"app/{number}", b"%d" % number) for number in range(10)}
    assert [keys.decrypt(key, ciphertext) for key, ciphertext in made.items()] == [b"%d" % n for n in range(10)]
    assert len(keys.backend._keyrings._opened) <= 3


def test_closing_wipes_what_was_opened(keys):
    ciphertext = keys.encrypt(KEY, b"content")
    buffer = keys.backend._keyrings.get(SecretName(KEY)).encryption_key(1)._buffer
    assert any(buffer)
    keys.backend.close()
    assert not any(buffer)
    with pytest.raises(ClosedError):
        keys.decrypt(KEY, ciphertext)


def test_closing_wipes_what_another_thread_is_opening(with_keys):
    """It has read the key's row, and opens it when the store is closed already."""
    begun: list[object] = []

    def trace(statement: str) -> None:
        if statement.startswith("SELECT s.epoch, k.sealed"):
            begun.append(opened.backend.close())

    opened = with_keys.open(trace=trace)
    assert opened.keys.decrypt(KEY, with_keys.made[KEY][0]) == f"content of {KEY}".encode()
    assert begun
    assert not opened.backend._keyrings._opened


def uses_of_a_key(store, opened):
    """Return what makes something with a key that will be needed to read it again."""
    return (
        lambda: opened.keys.encrypt(KEY, b"content"),
        lambda: opened.keys.rewrap(KEY, store.made[KEY][0]),
        lambda: opened.keys.sign(KEY, b"message"),
        lambda: opened.keys.backend.data_key(DataKeyRequest(key=SecretName(KEY))),
    )


@pytest.mark.parametrize("use", range(4))
def test_a_key_that_somebody_else_made_is_on_the_disk_before_it_is_used(with_keys, monkeypatch, use):
    """A process that was killed may have written it and not synced it, and it is found in the log all the same."""
    other = with_keys.open()
    other.keys.rotate(KEY)
    log = os.stat(f"{with_keys.path}-wal").st_ino
    synced: list[int] = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino) or sync(handle))
    opened = with_keys.open()
    act = uses_of_a_key(with_keys, opened)[use]
    act()
    assert log in synced
    synced.clear()
    act()
    assert not synced, "once is enough"
    other.keys.rotate(KEY)
    act()
    assert log in synced


def test_nothing_is_made_with_a_key_that_cannot_be_synced(with_keys, monkeypatch):
    other, opened = with_keys.open(), with_keys.open()
    other.keys.rotate(KEY)

    def broken(_handle: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", broken)
    for act in uses_of_a_key(with_keys, opened):
        with pytest.raises(BackendError):
            act()
    with_keys.check_made(opened)


def test_nothing_is_made_with_a_key_whose_file_was_moved_away(with_keys):
    """Whoever has the file open can read it, and soon nobody else."""
    opened = with_keys.open()
    with_keys.check_made(opened)
    with_keys.path.rename(with_keys.folder / "away.db")
    for act in uses_of_a_key(with_keys, opened):
        with pytest.raises(StoreDamagedError, match="replaced or removed"):
            act()
    (with_keys.folder / "away.db").rename(with_keys.path)
    for act in uses_of_a_key(with_keys, opened):
        act()


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_change_of_keys_keeps_the_named_keys(with_keys, reencrypt):
    """Also for somebody who has the store open meanwhile, whether it has used them or not."""
    used, unused, opened = with_keys.open(), with_keys.open(), with_keys.open()
    with_keys.check_made(used)
    before = with_keys.keyrings()
    for _ in range(2):
        opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    after = with_keys.keyrings()
    assert (set(after.items()) & set(before.items()) == set()) is reencrypt
    assert len(after) == len(before) == 2
    for one in (used, unused, opened):
        with_keys.check_made(one)
        assert one.problems() == ()
    assert unused.keys.rotate(KEY) == "2"
    assert used.keys.encrypt(KEY, b"content").startswith("local:v2:")
    with_keys.close()
    with_keys.check_made(with_keys.open())


def test_reencryption_leaves_no_old_row(with_keys):
    old = [part for row in with_keys.keyrings().items() for part in row]
    with_keys.open().backend.rekey(RekeyRequest(reencrypt=True))
    with_keys.close()
    content = with_keys.path.read_bytes()
    assert not any(part[-28:] in content for part in old)


def test_a_backup_has_the_keys(with_keys):
    path = with_keys.folder / "backup.db"
    opened = with_keys.open()
    opened.backend.backup(BackupRequest(path=str(path)))
    opened.keys.rotate(KEY)
    later = opened.keys.encrypt(KEY, b"later")
    with_keys.close()
    shutil.move(path, with_keys.path)
    opened = with_keys.open()
    with_keys.check_made(opened)
    assert opened.problems() == ()
    with pytest.raises(SecretNotFoundError) as caught:
        opened.keys.decrypt(KEY, later)
    assert caught.value.code == "version_not_found"


# Several at once.


def test_threads_that_use_a_new_key_at_once_make_one(store):
    backends = [store.open().keys for _ in range(4)]
    texts = in_threads(12, lambda number: backends[number % 4].encrypt(KEY, b"%d" % number))
    fresh = store.open().keys
    assert [fresh.decrypt(KEY, text) for text in texts] == [b"%d" % number for number in range(12)]
    assert len(store.keyrings()) == 1
    assert fresh.problems() == ()


def meanwhile(store, act):
    """Return a store, opened, before whose first transaction that writes something else happens."""
    pending = [act]

    def trace(statement: str) -> None:
        if statement == "BEGIN IMMEDIATE" and pending:
            pending.pop()()

    return store.open(trace=trace)


def test_a_key_that_somebody_else_makes_at_the_last_moment_is_used(store):
    """Nothing is written then, and what a failure before has used the store's keys for is still counted."""
    other = store.open()
    texts = []
    opened = meanwhile(store, lambda: texts.append(other.keys.encrypt(KEY, b"content")))
    keys = opened.backend._session.keys
    keys.unsettled = 7  # of transactions that failed
    mine = opened.keys.encrypt(KEY, b"mine")
    assert (other.keys.decrypt(KEY, mine), opened.keys.decrypt(KEY, texts[0])) == (b"mine", b"content")
    assert opened.counter() == 1
    assert keys.unsettled == 7


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_key_is_never_made_under_keys_of_the_store_that_were_changed_at_the_last_moment(store, reencrypt):
    other = store.open()
    opened = meanwhile(store, lambda: other.backend.rekey(RekeyRequest(reencrypt=reencrypt)))
    ciphertext = opened.keys.encrypt(KEY, b"content")
    assert other.keys.decrypt(KEY, ciphertext) == b"content"
    assert opened.problems() == other.problems() == ()


def test_processes_that_use_new_keys_at_once_make_each_once(store):
    gate = store.folder / "gate"
    workers = [store.worker("use_keys", "app", "8", str(gate)) for _ in range(4)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    gate.touch()
    texts = []
    for worker in workers:
        output, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors
        texts.append(output.split())
    keys = store.open().keys
    for answer in texts:
        assert [keys.decrypt(f"app/{n}", text) for n, text in enumerate(answer)] == [
            b"content %d" % n for n in range(8)
        ]
    assert len(store.keyrings()) == 8
    assert keys.problems() == ()


def test_a_rotation_elsewhere_is_used_from_the_next_call_on(with_keys):
    first, second = with_keys.open().keys, with_keys.open().keys
    first.encrypt(KEY, b"content")
    for version in range(2, 6):
        assert second.rotate(KEY) == str(version)
        assert first.encrypt(KEY, b"content").startswith(f"local:v{version}:")
    assert first.decrypt(KEY, second.encrypt(KEY, b"content")) == b"content"


def test_a_rotation_by_another_thread_after_a_key_was_read_is_nothing_to_refuse(with_keys, monkeypatch):
    opened = with_keys.open()
    session = opened.backend._session
    fetch, pending = session.fetch, [opened.keys.rotate]

    def fetched(statement: str, *rest: object, **options: object) -> object:
        found = fetch(statement, *rest, **options)
        if statement == schema.READ_KEYRING and pending:
            pending.pop()(KEY)
        return found

    monkeypatch.setattr(session, "fetch", fetched)
    assert opened.keys.encrypt(KEY, b"content").startswith("local:v1:")
    assert opened.keys.encrypt(KEY, b"content").startswith("local:v2:")


def test_rotations_at_once_lose_no_version(store):
    backends = [store.open().keys for _ in range(3)]
    backends[0].encrypt(KEY, b"content")
    made = [
        version
        for versions in in_threads(3, lambda n: [backends[n].rotate(KEY) for _ in range(8)])
        for version in versions
    ]
    assert sorted(made, key=int) == [str(version) for version in range(2, 26)]
    assert backends[0].problems() == ()


def test_a_forked_child_opens_the_keys_anew(with_keys):
    opened = with_keys.open()
    with_keys.check_made(opened)

    def child() -> str:
        opened.backend.after_fork()
        assert not opened.backend._keyrings._opened
        with_keys.check_made(opened)
        return opened.keys.encrypt(KEY, b"by the child")

    assert opened.keys.decrypt(KEY, in_forked_child(child)) == b"by the child"


def test_a_killed_process_loses_no_key_that_it_used(store):
    """Killed again and again in between: every ciphertext that somebody had is of use, and the store is whole."""
    texts: list[tuple[str, str]] = []
    for turn in range(6):
        key = f"app/{turn % 2}"
        worker = store.worker("rotate_keys", key, "500")
        for line in worker.stdout:
            texts.append((key, line.strip()))
            if random.random() < 0.1:
                break
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        opened = store.open()
        keys = opened.keys
        assert all(keys.decrypt(key, text).startswith(b"content ") for key, text in texts)
        assert opened.problems() == ()
        store.close()
        assert sorted(os.listdir(store.folder)) == ["master.key", "secrets.db"]
