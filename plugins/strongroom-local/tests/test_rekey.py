"""A change of keys succeeds as a whole or leaves the store as it was."""

from __future__ import annotations

import base64
import os
import secrets
import sqlite3

from types import SimpleNamespace

import pytest

from strongroom.contracts import KeySource, RekeyRequest
from strongroom.errors import BackendError, ConfigurationError, MasterKeyError, TamperedError
from strongroom.model import SecretValue

CONTENT = {f"app/{number}": f"value {number}" for number in range(12)}


def new_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def filled(store):
    """Return a closed store with some secrets, one of two versions and one deleted."""
    store.fill(CONTENT | {"app/gone": "value", "app/0": "older value"})
    store.fill({"app/0": CONTENT["app/0"]})
    store.open().delete("app/gone")
    store.close()
    return store


def header_of(store) -> bytes:
    connection = store.database()
    header = connection.execute("SELECT header FROM store").fetchone()[0]
    connection.close()
    return header


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_new_key_opens_the_store_and_the_old_one_does_not(filled, passphrase_of, reencrypt):
    key = new_key()
    result = filled.open().backend.rekey(RekeyRequest(new_key=passphrase_of(key), reencrypt=reencrypt))
    assert (result.key_epoch, result.records) == (2, 13 if reencrypt else 0)
    filled.close()
    with pytest.raises(MasterKeyError) as caught:
        filled.open()
    assert caught.value.code == "master_key_wrong"
    filled.set_key(key)
    opened = filled.open()
    assert opened.everything() == CONTENT
    assert opened.get("app/0", "2") == "older value" or opened.versions("app/0") == ["1", "2"]
    assert opened.problems() == ()
    assert opened.put("app/gone", "value") == "2"


@pytest.mark.parametrize("reencrypt", [False, True])
def test_the_session_that_changed_the_key_goes_on(filled, passphrase_of, reencrypt):
    opened = filled.open()
    for _ in range(2):
        opened.backend.rekey(RekeyRequest(new_key=passphrase_of(new_key()), reencrypt=reencrypt))
        opened.put("app/after", "written after the change")
        assert opened.everything() == CONTENT | {"app/after": "written after the change"}


def test_a_key_gives_way_to_a_passphrase_and_back(filled, passphrase_of):
    phrase = passphrase_of("correct horse battery staple")
    filled.open().backend.rekey(RekeyRequest(new_key=phrase, passphrase=True))
    filled.close()
    assert int.from_bytes(header_of(filled)[44:48], "big") == 600_000
    opened = filled.open(master_key=None, passphrase=phrase)
    assert opened.everything() == CONTENT
    opened.backend.rekey(RekeyRequest(new_key=filled.settings().master_key))
    filled.close()
    assert filled.open().everything() == CONTENT


def test_a_number_of_iterations_of_ones_own_survives(home):
    home.create(iterations=123_456)
    home.open().backend.rekey(RekeyRequest())
    assert int.from_bytes(header_of(home)[44:48], "big") == 123_456


def test_wrapping_anew_changes_salt_and_nonce_and_no_record(filled):
    def bodies():
        connection = filled.database()
        found = connection.execute("SELECT id, body FROM record").fetchall()
        connection.close()
        return found

    before, records = header_of(filled), bodies()
    filled.open().backend.rekey(RekeyRequest())
    filled.close()
    after = header_of(filled)
    assert before[28:44] != after[28:44], "the salt was used twice"
    assert before[92:104] != after[92:104], "the nonce was used twice"
    assert bodies() == records
    assert filled.open().everything() == CONTENT


def test_reencryption_leaves_nothing_of_the_old_data_key(filled):
    """Neither a record nor an entry of the index, nor a look-up value, in any byte of the file."""
    connection = filled.database()
    old = [row[0] for row in connection.execute("SELECT body FROM record")]
    old += [part for row in connection.execute("SELECT lookup, sealed FROM head") for part in row if any(part)]
    connection.close()
    filled.open().backend.rekey(RekeyRequest(reencrypt=True))
    filled.close()
    content = filled.path.read_bytes()
    for part in old:
        assert part[-28:] not in content


def test_the_old_header_is_gone_from_the_file(filled, passphrase_of):
    """Who has the old key and the new file must not find the old wrapping in a corner of it."""
    old = header_of(filled)[92:152]
    filled.open().backend.rekey(RekeyRequest(new_key=passphrase_of(new_key())))
    for path in filled.folder.iterdir():
        assert old not in path.read_bytes(), path


class BrokenKey(KeySource):
    """A source that gives what it has, one after the other, and then fails."""

    def __init__(self, *texts: str) -> None:
        self._texts = list(texts)

    def read(self) -> SecretValue:
        if not self._texts:
            raise ConfigurationError("the key is not there any more")
        return SecretValue(self._texts.pop(0))

    def describe(self) -> str:
        return "a broken source"


@pytest.mark.parametrize("reencrypt", [False, True])
@pytest.mark.parametrize(
    "texts", [(), ("",), ("short",), (new_key,), (new_key, new_key)], ids=["missing", "empty", "short", "once", "two"]
)
def test_a_new_key_that_cannot_be_used_leaves_the_file_as_it_is(filled, texts, reencrypt):
    """Also one that is gone, or another, when it is read again to see whether it opens the store."""
    before = filled.path.read_bytes()
    source = BrokenKey(*(text() if callable(text) else text for text in texts))
    opened = filled.open()
    with pytest.raises(MasterKeyError):
        opened.backend.rekey(RekeyRequest(new_key=source, reencrypt=reencrypt))
    assert opened.everything() == CONTENT
    filled.close()
    assert filled.path.read_bytes() == before
    assert filled.open().everything() == CONTENT


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_wrong_old_key_leaves_the_file_as_it_is(filled, passphrase_of, reencrypt):
    opened, right = filled.open(), filled.key_path.read_text().strip()
    before = filled.path.read_bytes()
    filled.set_key(new_key())
    with pytest.raises(MasterKeyError):
        opened.backend.rekey(RekeyRequest(new_key=passphrase_of(new_key()), reencrypt=reencrypt))
    filled.close()
    assert filled.path.read_bytes() == before
    filled.set_key(right)
    assert filled.open().everything() == CONTENT


@pytest.mark.parametrize("broken", range(0, 13, 3))
def test_an_error_at_the_nth_entry_leaves_the_store_as_it_was(filled, passphrase_of, monkeypatch, broken):
    from strongroom_local import reencryption

    seal, done = reencryption.seal_record, []

    def failing(*arguments):
        done.append(arguments)
        if len(done) > broken:
            raise OSError("the disk is gone")
        return seal(*arguments)

    monkeypatch.setattr(reencryption, "seal_record", failing)
    before = filled.path.read_bytes()
    opened = filled.open()
    with pytest.raises(OSError, match="gone"):
        opened.backend.rekey(RekeyRequest(new_key=passphrase_of(new_key()), reencrypt=True))
    assert opened.everything() == CONTENT
    filled.close()
    assert filled.path.read_bytes() == before
    assert filled.open().problems() == ()


def test_an_entry_that_would_not_open_with_the_new_key_stops_the_change(filled, monkeypatch):
    """Every entry is opened with the new keys before they become the store's."""
    from strongroom_local import reencryption

    seal = reencryption.seal_record
    monkeypatch.setattr(reencryption, "seal_record", lambda *arguments: seal(*arguments)[:-1] + b"x")
    before = filled.path.read_bytes()
    with pytest.raises(TamperedError):
        filled.open().backend.rekey(RekeyRequest(reencrypt=True))
    filled.close()
    assert filled.path.read_bytes() == before


@pytest.mark.parametrize("reencrypt", [False, True])
def test_an_open_store_takes_up_a_key_that_another_process_set(filled, passphrase_of, reencrypt):
    reader, writer, other = filled.open(), filled.open(), filled.open()
    key = new_key()
    other.backend.rekey(RekeyRequest(new_key=passphrase_of(key), reencrypt=reencrypt))
    filled.set_key(key)
    assert reader.everything() == CONTENT
    writer.put("app/new", "written under the new key")
    assert reader.get("app/new") == "written under the new key"
    assert reader.problems() == ()


@pytest.mark.parametrize("reencrypt", [False, True])
def test_nothing_is_written_under_an_old_key(filled, passphrase_of, reencrypt):
    """Without the new key an open store cannot go on, neither reading nor writing."""
    stale, other = filled.open(), filled.open()
    key = new_key()
    other.backend.rekey(RekeyRequest(new_key=passphrase_of(key), reencrypt=reencrypt))
    before = _rows(filled)
    for ask in (lambda: stale.put("app/new", "value"), lambda: stale.get("app/1")):
        with pytest.raises(MasterKeyError):
            ask()
    assert _rows(filled) == before
    filled.set_key(key)
    assert stale.get("app/1") == CONTENT["app/1"]


class ChangingKey(KeySource):
    """A store's key as a process reads it while another one changes it, step by step, at moments of the test's choice.

    Args:
        store: The store.
        lock_at: With which time the key is read the store is locked with the new one; never unless given.
        rename_at: With which time the new key takes the old one's place.
        reencrypt: Whether everything is encrypted anew.
    """

    def __init__(self, store, *, lock_at: int = 0, rename_at: int = 0, reencrypt: bool = False) -> None:
        self._store = store
        self._lock_at, self._rename_at, self._reencrypt = lock_at, rename_at, reencrypt
        self._waiting = new_key()
        self.reads = 0

    def lock(self) -> None:
        """Lock the store with the new key, which is not in the old one's place yet."""
        other = self._store.open()
        other.backend.rekey(RekeyRequest(new_key=BrokenKey(*[self._waiting] * 3), reencrypt=self._reencrypt))
        other.close()

    def read(self) -> SecretValue:
        self.reads += 1
        if self.reads == self._lock_at:
            self.lock()
        if self.reads == self._rename_at:
            self._store.set_key(self._waiting)
            self._waiting = ""
        return SecretValue(self._store.key_path.read_text())

    def is_changing(self) -> bool:
        return bool(self._waiting) and bool(self._lock_at or self._rename_at)

    def describe(self) -> str:
        return "a key that is being changed"


@pytest.fixture
def waited(monkeypatch):
    """Return the seconds of each pause that a session has made; none of them takes any time."""
    from strongroom_local import session

    pauses: list[float] = []
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append))
    return pauses


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_store_opens_whose_keys_are_changed_between_its_header_and_its_key(filled, waited, reencrypt):
    """The header is the old one, and the key the new one."""
    key = ChangingKey(filled, lock_at=1, rename_at=1, reencrypt=reencrypt)
    assert filled.open(master_key=key).everything() == CONTENT
    assert waited == []


@pytest.mark.parametrize("reencrypt", [False, True])
@pytest.mark.parametrize("rename_at", [2, 3, 10])
def test_a_store_opens_whose_new_key_follows_its_header_in_a_moment(filled, waited, rename_at, reencrypt):
    key = ChangingKey(filled, rename_at=rename_at, reencrypt=reencrypt)
    key.lock()
    assert filled.open(master_key=key).everything() == CONTENT
    assert len(waited) == rename_at - 2


def test_a_key_that_never_follows_is_not_waited_for_long(filled, waited):
    """A change of keys that was cut off leaves the same behind."""
    key = ChangingKey(filled, rename_at=1_000_000)
    key.lock()
    with pytest.raises(MasterKeyError) as caught:
        filled.open(master_key=key)
    assert caught.value.code == "master_key_wrong"
    assert 0.5 < sum(waited) < 1


def test_a_wrong_key_is_refused_at_once(filled, waited):
    filled.set_key(new_key())
    key = ChangingKey(filled)
    with pytest.raises(MasterKeyError) as caught:
        filled.open(master_key=key)
    assert caught.value.code == "master_key_wrong"
    assert (key.reads, waited) == (2, [])


def test_the_right_key_is_read_once(filled, waited, monkeypatch):
    key = ChangingKey(filled)
    monkeypatch.setattr(key, "is_changing", lambda: pytest.fail("nobody had to ask"))
    assert filled.open(master_key=key).everything() == CONTENT
    assert (key.reads, waited) == (1, [])


def _rows(store) -> list[tuple]:
    connection: sqlite3.Connection = store.database()
    found = [row for table in ("store", "head", "record") for row in connection.execute(f"SELECT * FROM {table}")]
    connection.close()
    return found


@pytest.mark.parametrize("mode", ["wrap", "reencrypt"])
def test_writers_lose_nothing_while_the_key_is_changed(store, tmp_path, mode):
    """Eight processes write while the key is changed and its file replaced a moment later."""
    stop, fresh = tmp_path / "stop", store.folder / "fresh.key"
    writers = [store.worker("write_until", f"writer{number}", str(stop)) for number in range(8)]
    for writer in writers:
        assert writer.stdout.readline() == "started\n"
    for _ in range(2):
        fresh.touch(0o600)
        fresh.write_text(new_key())
        changer = store.worker("rekey", str(fresh), mode)
        assert changer.wait(60) == 0, changer.stderr.read()
    stop.touch()
    counts = []
    for writer in writers:
        output, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
        counts.append(int(output))
    opened = store.open()
    expected = {f"writer{w}/{n}": f"value writer{w} {n}" for w, count in enumerate(counts) for n in range(count)}
    assert min(counts) > 0
    assert opened.everything() == expected
    assert opened.problems() == ()
    assert not os.path.exists(fresh)


def test_a_change_of_keys_waits_for_no_reader_and_says_what_may_be_left(filled, passphrase_of, caplog):
    """The key's file is still to be exchanged, so the return must not be held up."""
    opened = filled.open(busy_timeout=3600.0)
    reader = filled.database()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM record").fetchall()
    opened.backend.rekey(RekeyRequest(new_key=passphrase_of(new_key())))
    assert "old header" in caplog.text
    reader.close()
    caplog.clear()
    opened.backend.rekey(RekeyRequest(new_key=passphrase_of(new_key())))
    assert not caplog.records


def keys_in_clear(error: BaseException | None, keys: set[bytes]) -> list[str]:
    """Return the local variables of an error's frames that hold one of the keys."""
    found = []
    while error is not None:
        trace = error.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if "strongroom_local" in frame.f_code.co_filename:
                found += [name for name, value in frame.f_locals.items() if type(value) is bytes and value in keys]
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return found


@pytest.fixture
def made(monkeypatch):
    """Return the keys that are drawn from now on."""
    from strongroom_local import creation, encoding, rekeying

    drawn: set[bytes] = set()

    def noting(size: int) -> bytes:
        value = encoding.random_bytes(size)
        drawn.add(value)
        return value

    for module in (creation, rekeying):
        monkeypatch.setattr(module, "random_bytes", noting)
    return drawn


def broken(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_no_data_key_stands_in_the_traceback_of_a_failed_creation(home, made, monkeypatch):
    monkeypatch.setattr("strongroom_local.creation._add_origin", broken)
    with pytest.raises(BackendError) as caught:
        home.create()
    assert keys_in_clear(caught.value, {value for value in made if len(value) == 32}) == []


@pytest.mark.parametrize("reencrypt", [False, True])
@pytest.mark.parametrize("step", ["Digest.open", "StoreKeys", "seal_header"])
def test_no_data_key_stands_in_the_traceback_of_a_failed_change(home, made, monkeypatch, reencrypt, step):
    home.create()
    opened = home.open()
    monkeypatch.setattr(f"strongroom_local.rekeying.{step}", broken)
    with pytest.raises(OSError, match="space") as caught:
        opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    assert keys_in_clear(caught.value, {value for value in made if len(value) == 32}) == []
