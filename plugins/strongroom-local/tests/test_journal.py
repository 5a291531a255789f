"""Copies and writes that wait are kept beside the secrets, as safe as those, and nothing shows them."""

from __future__ import annotations

import hashlib
import hmac
import shutil
import struct

from datetime import UTC, datetime

import pytest

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from strongroom.contracts import BackupRequest, RekeyRequest
from strongroom.contracts.journal import Appended, EntryState, Settlement
from strongroom.errors import InvalidValueError, SecretNotFoundError, StoreDamagedError, StrongroomError
from strongroom.testing import marker_value

COUNTED = "encryptions"


def tables(store) -> list[str]:
    connection = store.database()
    found = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    connection.close()
    return found


def rows(store, statement: str) -> list[tuple]:
    connection = store.database()
    found = connection.execute(statement).fetchall()
    connection.close()
    return found


def count_of(opened) -> int:
    return int(dict(opened.backend.health().facts)[COUNTED])


@pytest.fixture
def kept(store):
    """Return a closed store with a secret, two copies, two writes that wait and one that is set aside."""
    opened = store.open()
    opened.put("app/secret", "value")
    opened.kept.keep(opened.kept.copy("app/secret"), opened.kept.copy("app/other", "another copy"))
    first = opened.kept.queue("app/secret", "first")
    opened.kept.queue("app/secret", "second")
    aside = opened.kept.queue("app/other", None)
    state = {"state": EntryState.CONFLICT, "reason": "it moved on", "found": "7"}
    opened.kept.settle(Settlement(entry=aside.replace(**state, found_created=datetime(2026, 1, 2, 3, 4, 5, 6, UTC))))
    assert first.position == 1
    store.close()
    return store


def everything(opened) -> tuple:
    """Return all that is kept, as it comes from the store."""
    copies = [opened.kept.recall(name).copy for name in ("app/secret", "app/other")]
    return copies, opened.kept.entries(), opened.kept.status()


def test_all_of_it_outlives_the_process(kept):
    opened = kept.open()
    copies, entries, status = everything(opened)
    assert [copy.value.reveal_text() for copy in copies] == ["copied", "another copy"]
    assert [entry.position for entry in entries] == [1, 2, 3]
    assert entries[1].follows == entries[0].id
    assert entries[2].found_created == datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
    assert (status.waiting, status.set_aside, status.size) == (2, 1, len("first") + len("second"))
    assert opened.problems() == ()


def test_a_store_that_keeps_none_is_read_as_it_is(store):
    """Stores of earlier releases have no tables for them, and reading makes none."""
    opened = store.open()
    assert opened.kept.recall("app/secret") == opened.kept.recall("app/other")
    assert opened.kept.entries() == []
    assert opened.kept.status().waiting == 0
    opened.kept.drop("app/secret")
    opened.kept.settle(Settlement(entry=opened.kept.entry("app/secret"), done=True))
    opened.kept.keep()
    assert opened.counter() == 0
    assert opened.problems() == ()
    store.close()
    assert tables(store) == ["head", "record", "store"]


def test_each_table_is_made_with_its_first_row(store):
    """Others that have the store open go on, and find what is kept."""
    first, second = store.open(), store.open()
    second.put("app/secret", "value")
    assert second.kept.recall("app/secret").copy is None
    first.kept.keep(first.kept.copy("app/secret"))
    assert tables(store) == ["copy", "head", "record", "store"]
    assert second.kept.recall("app/secret").copy.value.reveal_text() == "copied"
    entry = second.kept.queue("app/secret")
    assert tables(store) == ["copy", "head", "journal", "record", "store"]
    assert first.kept.recall("app/secret").entry == entry
    assert first.get("app/secret") == "value"
    first.save("state", b"state")
    first.keys.encrypt("app/key", "content")
    assert store.open().problems() == ()


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("key", [False, True])
@pytest.mark.parametrize("copy", [False, True])
@pytest.mark.parametrize("entry", [False, True])
def test_a_store_may_have_any_of_the_optional_tables(store, state, key, copy, entry):
    opened = store.open()
    if state:
        opened.save("state", b"state")
    if key:
        opened.keys.encrypt("app/key", "content")
    if copy:
        opened.kept.keep(opened.kept.copy("app/secret"))
    if entry:
        opened.kept.queue("app/secret")
    store.close()
    again = store.open()
    assert len(tables(store)) == 3 + state + key + copy + entry
    assert (again.kept.recall("app/secret").copy is not None, bool(again.kept.entries())) == (copy, entry)
    assert again.problems() == ()


@pytest.mark.parametrize("act", ["copy", "entry"])
def test_a_first_row_that_fails_leaves_no_table(store, monkeypatch, act):
    monkeypatch.setattr("strongroom_local.digest.REFUSE_AT", 0)
    opened = store.open()
    with pytest.raises(StrongroomError):
        opened.kept.keep(opened.kept.copy("a")) if act == "copy" else opened.kept.append(opened.kept.entry("a"))
    store.close()
    assert tables(store) == ["head", "record", "store"]


def test_no_read_list_or_count_of_secrets_shows_what_is_kept(store):
    opened = store.open()
    opened.kept.keep(opened.kept.copy("app/secret"))
    opened.kept.queue("app/secret")
    assert opened.names() == []
    for ask in (opened.get, opened.versions):
        with pytest.raises(SecretNotFoundError):
            ask("app/secret")
    assert opened.problems() == ()


def test_nothing_of_it_shows_in_any_file(store):
    marker = marker_value()
    opened = store.open()
    place = opened.kept.place(f"app/{marker}", backend=f"b-{marker}", target=f"t-{marker}")
    for size in (300, 1):
        opened.kept.keep(opened.kept.copy("app/secret", marker * size, place=place, version=marker))
    facts = {"place": place, "principal": marker, "on_behalf_of": marker, "expected": marker}
    entry = opened.kept.queue("app/secret", marker, **facts)
    opened.kept.settle(Settlement(entry=entry.replace(reason=marker, found=marker)))
    assert opened.kept.claim(place.target, place.backend)
    opened.backend.backup(BackupRequest(path=str(store.folder / "backup.db")))
    opened.backend.rekey(RekeyRequest(reencrypt=True))
    for path in store.folder.iterdir():
        assert marker.encode() not in path.read_bytes(), path.name
        assert entry.id.encode() not in path.read_bytes(), path.name
        assert marker not in path.name


def test_no_place_has_the_same_look_up_value_in_two_columns(kept):
    """Nobody can tell which copy and which entries belong to one secret."""
    values = [row[0] for row in rows(kept, "SELECT lookup FROM copy UNION ALL SELECT DISTINCT place FROM journal")]
    values += [row[0] for row in rows(kept, "SELECT DISTINCT target FROM journal UNION ALL SELECT entry FROM journal")]
    assert len(set(values)) == len(values) == 2 + 2 + 1 + 3


def test_positions_are_never_given_again(store):
    """Not after the newest entry was removed, nor after all were, nor after the store was opened again."""
    opened = store.open()
    given = []
    for number in range(6):
        entry = opened.kept.queue("app/secret")
        given.append(entry.position)
        opened.kept.settle(Settlement(entry=entry, done=number % 2 == 0, dropped=number % 2 == 1))
        if number == 3:
            opened.backend.rekey(RekeyRequest(reencrypt=True))
        store.close()
        opened = store.open()
    assert given == [1, 2, 3, 4, 5, 6]
    assert opened.problems() == ()


def test_an_entry_that_is_refused_takes_no_position_and_changes_nothing(kept):
    opened = kept.open()
    before = opened.counter()
    assert opened.kept.append(opened.kept.entry("app/secret")).outcome is Appended.MOVED
    assert opened.kept.append(opened.kept.entry("app/new"), max_entries=3).outcome is Appended.FULL
    assert opened.kept.append(opened.kept.entry("app/new", "x"), max_bytes=11).outcome is Appended.FULL
    assert opened.counter() == before
    assert opened.kept.append(opened.kept.entry("app/new", "x"), 4, 12).position == 4


def test_an_id_that_is_there_already_is_refused(kept):
    opened = kept.open()
    there = opened.kept.entries()[2]
    with pytest.raises(InvalidValueError):
        opened.kept.append(opened.kept.entry("app/new").replace(id=there.id))
    assert len(opened.kept.entries()) == 3


def test_what_an_entry_is_can_not_be_changed_by_settling_it(kept):
    opened = kept.open()
    entry = opened.kept.entries()[0]
    elsewhere = entry.replace(place=opened.kept.place("app/elsewhere"), position=77, change="rotate", reason="why")
    opened.kept.settle(Settlement(entry=elsewhere))
    assert opened.kept.entries()[0] == entry.replace(reason="why")
    assert opened.problems() == ()


def test_the_same_name_elsewhere_is_another_secret(store):
    opened = store.open()
    kept = opened.kept
    places = [
        kept.place("a/b"),
        kept.place("a/b", backend="other"),
        kept.place("a/b", target="other"),
        kept.place("b", target=f"{kept.target}a/"),
        kept.place("a/b", backend=f"{kept.backend}{kept.target}", target=""),
    ]
    kept.keep(*(kept.copy("a/b", str(number), place=place) for number, place in enumerate(places)))
    entries = [kept.append(kept.entry("a/b", str(number), place=place)) for number, place in enumerate(places)]
    assert [entry.outcome for entry in entries] == [Appended.YES] * 5
    assert len(rows(store, "SELECT lookup FROM copy")) == len(rows(store, "SELECT DISTINCT place FROM journal")) == 5
    assert [entry.place for entry in kept.entries(backend=kept.backend, target=kept.target)] == places[:1]
    assert [entry.place for entry in kept.entries(backend=kept.backend)] == [places[0], places[2], places[3]]
    assert kept.status(target=kept.target).waiting == 2


def test_each_change_is_one_counted_encryption_of_each_row_that_it_writes(store):
    opened = store.open()
    opened.put("app/secret", "value")
    start, changes = count_of(opened), opened.counter()
    opened.kept.keep(opened.kept.copy("a"), opened.kept.copy("b"))
    entry = opened.kept.queue("a")
    follower = opened.kept.queue("a")
    opened.kept.settle(Settlement(entry=follower.replace(state=EntryState.UNCLEAR)))
    opened.kept.done(entry, copy=opened.kept.copy("a", taken=2.0))
    opened.kept.drop("b")
    store.close()
    opened = store.open()
    assert count_of(opened) == start + 2 + 1 + 1 + 1 + 2 + 1
    assert opened.counter() == changes + 6


def test_no_nonce_is_used_twice(store):
    opened = store.open()
    seen = []
    entry = opened.kept.queue("a")
    for number in range(20):
        opened.kept.keep(opened.kept.copy("a", taken=float(number)))
        opened.kept.settle(Settlement(entry=entry))
        sealed = "SELECT sealed FROM copy UNION ALL SELECT sealed FROM journal UNION ALL SELECT digest FROM store"
        seen += [row[0][:12] for row in rows(store, sealed)]
    assert len(set(seen)) == 60


def test_an_older_copy_is_no_change_at_all(kept):
    opened = kept.open()
    before = opened.counter()
    opened.kept.keep(opened.kept.copy("app/secret", "older", taken=0.5))
    assert opened.kept.recall("app/secret").copy.value.reveal_text() == "copied"
    assert opened.counter() == before


@pytest.mark.parametrize("reencrypt", [False, True])
def test_a_change_of_keys_keeps_everything(kept, reencrypt):
    """Also for somebody who has the store open meanwhile, for reading and for writing."""
    other, opened = kept.open(), kept.open()
    before = everything(other)
    sealed = "SELECT sealed FROM copy UNION ALL SELECT sealed FROM journal"
    stored = rows(kept, sealed)
    opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    assert everything(opened) == everything(other) == before
    assert (set(stored) & set(rows(kept, sealed)) == set()) is reencrypt
    opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    assert other.kept.queue("app/new").position == 4
    assert len(opened.kept.entries()) == 4
    assert opened.problems() == other.problems() == ()


def test_a_backup_has_everything(kept):
    path = kept.folder / "backup.db"
    opened = kept.open()
    before = everything(opened)
    opened.backend.backup(BackupRequest(path=str(path)))
    opened.kept.queue("app/new")
    kept.close()
    shutil.move(path, kept.path)
    opened = kept.open()
    assert everything(opened) == before
    assert opened.problems() == ()


def test_health_counts_the_entries(kept):
    opened = kept.open()
    assert dict(opened.backend.health().facts)["journal"] == "3"


def test_a_long_journal_is_read_in_parts_through_its_index(store):
    """Nothing but what is returned is opened, however much is set aside or waits for others."""
    opened = store.open()
    kept = opened.kept
    kept.settle(*(Settlement(entry=kept.queue(f"aside/{n}").replace(state=EntryState.OVERDUE)) for n in range(5)))
    for number in range(20):
        kept.queue(f"app/{number}", place=kept.place(f"app/{number}", target=str(number % 2)))
    found = kept.entries(backend=kept.backend, target="1", waiting=True, limit=3)
    assert [entry.place.name for entry in found] == ["app/1", "app/3", "app/5"]
    more = kept.entries(backend=kept.backend, target="1", waiting=True, limit=3, after=found[-1].position)
    assert [entry.place.name for entry in more] == ["app/7", "app/9", "app/11"]


def test_an_entry_and_a_copy_open_as_the_description_says(kept):
    """With the data key, and nothing of ours but that."""
    opened = kept.open()
    content = rows(kept, "SELECT header FROM store")[0][0]
    header, data_key = opened.backend._session.unwrap(content)

    def derived(label: bytes) -> bytes:
        extracted = hmac.digest(header.store_id, data_key.reveal(), "sha256")
        return hmac.digest(extracted, b"strongroom local store 1: " + label + b"\x01", hashlib.sha256)

    def listed(*items: bytes) -> bytes:
        return b"".join(len(item).to_bytes(2, "big") + item for item in items)

    def fields(*items: bytes | None) -> bytes:
        return b"".join(bytes(4) if item is None else (len(item) + 1).to_bytes(4, "big") + item for item in items)

    def looked_up(label: bytes, content: bytes) -> bytes:
        return hmac.digest(derived(label), content, "sha256")

    def opens(label: bytes, start: bytes, sealed: bytes, *bound: bytes) -> bytes:
        associated = listed(b"\0\1", start, header.store_id, header.key_id.to_bytes(4, "big"), *bound)
        return AESGCM(derived(label)).decrypt(sealed[:12], sealed[12:], associated)

    target = [opened.kept.backend.encode(), opened.kept.target.encode()]
    place = [*target, b"app/secret"]
    lookup = looked_up(b"copy look-up", fields(*place))
    sealed = dict(rows(kept, "SELECT lookup, sealed FROM copy"))[lookup]
    taken = struct.pack(">d", 1.0)
    assert opens(b"copy", b"copy", sealed, lookup) == fields(*place, b"1", None, taken, b"\1copied")

    first, second = opened.kept.entries()[:2]
    row = rows(kept, "SELECT * FROM journal WHERE position = 2")[0]
    queued = struct.pack(">d", 2.0)
    bound = [
        looked_up(b"journal entry look-up", second.id.encode()),
        looked_up(b"journal entry look-up", first.id.encode()),
        looked_up(b"journal place look-up", fields(*place)),
        looked_up(b"journal target look-up", fields(*target)),
    ]
    assert row[:8] == (2, *bound, 1, len("second"), 2.0)
    numbers = [(1).to_bytes(8, "big"), len("second").to_bytes(8, "big"), queued]
    texts = [second.id.encode(), *place, b"set", b"1", first.id.encode(), queued, b"me", b"", None, b"waiting", b""]
    plain = fields(*texts, None, None, b"\1second")
    assert opens(b"journal", b"journal", row[8], (2).to_bytes(8, "big"), *bound, *numbers) == plain


def test_a_journal_in_other_words_is_refused(store):
    store.edit("CREATE TABLE journal (position INTEGER PRIMARY KEY, sealed BLOB NOT NULL)")
    with pytest.raises(StoreDamagedError):
        store.open()


def test_a_journal_without_one_of_its_indices_is_refused(kept):
    kept.edit("DROP INDEX journal_place")
    with pytest.raises(StoreDamagedError):
        kept.open()
