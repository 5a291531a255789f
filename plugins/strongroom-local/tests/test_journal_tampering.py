"""What somebody can do to copies and to the journal who can write the file and has no key."""

from __future__ import annotations

import random

import pytest

from strongroom.contracts import RekeyRequest
from strongroom.contracts.journal import Appended, EntryState, Settlement
from strongroom.errors import StoreDamagedError, StrongroomError, TamperedError

NAMES = ("app/first", "app/second")


def rows(store, table: str) -> list[tuple]:
    connection = store.database()
    found = connection.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
    connection.close()
    return found


def change(store, statement: str, *parameters: object) -> None:
    connection = store.database()
    connection.execute(statement, parameters)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def put_back(store, table: str, *replaced: tuple) -> None:
    connection = store.database()
    for row in replaced:
        connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


@pytest.fixture
def kept(store):
    """Return a closed store with a secret, and two names with a copy and two entries each."""
    opened = store.open()
    opened.put("app/secret", "value")
    for name in NAMES:
        opened.kept.keep(opened.kept.copy(name, f"copy of {name}"))
        opened.kept.queue(name, f"first of {name}")
        opened.kept.queue(name, f"last of {name}")
    store.close()
    return store


def refused(ask) -> bool:
    try:
        ask()
    except TamperedError:
        return True
    return False


COLUMNS = ("position", "entry", "follows", "place", "target", "waits", "size", "queued", "sealed")


def changed(column: str, row: tuple) -> object:
    value = row[COLUMNS.index(column)]
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    return {"position": 9, "waits": 0, "size": 4, "queued": 1.5, "follows": bytes(32)}[column]


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", [0, 1])
def test_a_column_that_was_changed_is_refused_where_the_row_is_used_and_found(kept, column, row):
    found = rows(kept, "journal")[row]
    change(kept, f"UPDATE journal SET {column} = ? WHERE position = ?", changed(column, found), found[0])
    opened = kept.open()
    with pytest.raises(TamperedError):
        opened.kept.entries()
    assert "an entry of the journal that the local store keeps is not authentic" in opened.problems()
    for reencrypt in (False, True):
        with pytest.raises(TamperedError):
            opened.backend.rekey(RekeyRequest(reencrypt=reencrypt))
    assert opened.get("app/secret") == "value"
    assert opened.kept.recall(NAMES[1]).entry.value.reveal_text() == f"last of {NAMES[1]}"


@pytest.mark.parametrize("column", ["size", "queued", "sealed", "follows"])
def test_the_newest_write_is_refused_if_anything_of_it_was_changed(kept, column):
    newest = rows(kept, "journal")[1]
    change(kept, f"UPDATE journal SET {column} = ? WHERE position = 2", changed(column, newest))
    opened = kept.open()
    entry = opened.kept.entry(NAMES[0])
    for ask in (lambda: opened.kept.recall(NAMES[0]), lambda: opened.kept.append(entry)):
        assert refused(ask)
    assert opened.kept.queue(NAMES[1]).position == 5


@pytest.mark.parametrize(("column", "value"), [("waits", 0), ("waits", 2), ("size", 4), ("size", b"x"), ("size", 1.5)])
def test_a_count_that_was_made_wrong_is_not_believed(kept, column, value):
    """The number of all entries comes from the digest, and that of one target is compared with it."""
    change(kept, f"UPDATE journal SET {column} = ? WHERE position = 3", value)
    opened = kept.open()
    assert opened.kept.status().waiting == 4
    assert refused(lambda: opened.kept.status(backend=opened.kept.backend, target=opened.kept.target))
    assert opened.problems()


def test_swapped_rows_are_refused_and_found(kept):
    first, second = rows(kept, "journal")[:2]
    change(kept, "DELETE FROM journal WHERE position < 3")
    put_back(kept, "journal", (1, *second[1:]), (2, *first[1:]))
    opened = kept.open()
    assert refused(opened.kept.entries)
    assert refused(lambda: opened.kept.recall(NAMES[0]))
    assert len([problem for problem in opened.problems() if "not authentic" in problem]) == 2


@pytest.mark.parametrize("position", [1, 2, 3, 4])
def test_a_removed_entry_is_missed(kept, position):
    change(kept, "DELETE FROM journal WHERE position = ?", position)
    opened = kept.open()
    assert refused(opened.kept.entries)
    assert refused(lambda: opened.kept.status(backend=opened.kept.backend, target=opened.kept.target))
    assert any("digest has 4" in problem for problem in opened.problems())


@pytest.mark.parametrize("statement", ["DELETE FROM journal", "DROP TABLE journal"])
def test_a_removed_journal_is_missed(kept, statement):
    change(kept, statement)
    opened = kept.open()
    assert refused(opened.kept.entries)
    assert refused(opened.kept.status)
    assert opened.problems()
    if "DROP" in statement:
        assert refused(lambda: opened.kept.recall(NAMES[0]))
        assert refused(lambda: opened.kept.append(opened.kept.entry("app/new")))
        assert refused(lambda: opened.kept.settle(Settlement(entry=opened.kept.entry("app/new"), done=True)))


def test_a_journal_that_is_dropped_under_ones_feet_is_damage(kept):
    opened = kept.open()
    assert opened.kept.recall(NAMES[0]).entry is not None
    change(kept, "DROP TABLE journal")
    with pytest.raises(StoreDamagedError):
        opened.kept.recall(NAMES[0])


def test_an_entry_that_was_made_and_is_put_back_is_not_made_again(kept):
    before = rows(kept, "journal")[0]
    opened = kept.open()
    opened.kept.done(opened.kept.entries()[0])
    kept.close()
    put_back(kept, "journal", before)
    opened = kept.open()
    assert refused(opened.kept.entries)
    assert opened.problems()


def test_an_entry_that_was_set_aside_and_is_put_back_does_not_wait_again(kept):
    before = rows(kept, "journal")[1]
    opened = kept.open()
    opened.kept.settle(Settlement(entry=opened.kept.entries()[1].replace(state=EntryState.CONFLICT, reason="why")))
    kept.close()
    put_back(kept, "journal", before)
    opened = kept.open()
    assert refused(lambda: opened.kept.entries(waiting=True))
    assert opened.problems()


def test_an_earlier_content_of_an_entry_that_counts_the_same_is_found_by_the_sum(kept):
    """It is authentic to whoever reads it, as an earlier state of a secret is."""
    before = rows(kept, "journal")[1]
    opened = kept.open()
    opened.kept.settle(Settlement(entry=opened.kept.entries()[1].replace(state=EntryState.UNCLEAR)))
    kept.close()
    put_back(kept, "journal", before)
    opened = kept.open()
    assert opened.kept.entries()[1].state is EntryState.WAITING
    assert any("rows are not those" in problem for problem in opened.problems())


def test_a_position_that_was_never_given_is_found(kept):
    change(kept, "UPDATE journal SET position = 9 WHERE position = 4")
    assert kept.open().problems()


def test_the_counts_of_an_earlier_digest_are_refused(kept):
    counter, digest = rows(kept, "store")[0][2:4]
    kept.open().kept.queue("app/new")
    kept.close()
    change(kept, "UPDATE store SET digest = ?", digest)
    opened = kept.open()
    assert refused(opened.kept.status)
    change(kept, "UPDATE store SET counter = ?", counter)
    assert refused(opened.kept.entries)
    assert opened.problems()


def test_a_copy_in_another_place_is_refused_and_found(kept):
    (first, one), (second, other) = rows(kept, "copy")
    change(kept, "DELETE FROM copy")
    put_back(kept, "copy", (second, one), (first, other))
    opened = kept.open()
    assert [opened.kept.recall(name).copy for name in NAMES] == [None, None]
    assert len([problem for problem in opened.problems() if "not authentic" in problem]) == 2
    for entry in opened.kept.entries():
        opened.kept.settle(Settlement(entry=entry, dropped=True))
    for name in NAMES:
        assert refused(lambda name=name: opened.kept.recall(name))


@pytest.mark.parametrize("act", ["DELETE FROM copy", "DROP TABLE copy", "put back"])
def test_a_copy_that_is_removed_or_put_back_is_found_by_the_sum(kept, act):
    """To whoever asks for it, there is none, or the earlier one."""
    before = rows(kept, "copy")
    if act == "put back":
        opened = kept.open()
        opened.kept.keep(*(opened.kept.copy(name, "newer", taken=5.0) for name in NAMES))
        kept.close()
        put_back(kept, "copy", *before)
    else:
        change(kept, act)
    opened = kept.open()
    copy = opened.kept.recall(NAMES[0]).copy
    assert (None if copy is None else copy.taken) == (1.0 if act == "put back" else None)
    assert any("rows are not those" in problem for problem in opened.problems())


def test_values_of_another_type_are_found(kept):
    """Also an equal text, which Python cannot tell from bytes."""
    change(kept, "UPDATE copy SET sealed = CAST(sealed AS TEXT)")
    change(kept, "UPDATE journal SET place = CAST(place AS TEXT)")
    problems = kept.open().problems()
    assert "2 copies have a value of another type" in problems
    assert "4 entries of the journal have a value of another type" in problems


def test_rows_of_another_store_are_refused(kept, tmp_path):
    other = type(kept)(tmp_path / "other")
    other.folder.mkdir(mode=0o700)
    other.set_key(kept.key_path.read_text().strip())
    other.create()
    opened = other.open()
    for name in NAMES:
        opened.kept.keep(opened.kept.copy(name))
    opened.kept.queue(NAMES[0])
    other.close()
    put_back(kept, "copy", *((here[0], there[1]) for here, there in zip(*map(_copies, (kept, other)), strict=True)))
    change(kept, "DELETE FROM journal WHERE position = 1")
    put_back(kept, "journal", rows(other, "journal")[0])
    opened = kept.open()
    assert [opened.kept.recall(name).copy for name in NAMES] == [None, None]
    assert refused(opened.kept.entries)
    assert len([problem for problem in opened.problems() if "not authentic" in problem]) == 3


def _copies(store) -> list[tuple]:
    return rows(store, "copy")


def test_a_flipped_bit_gives_nothing_that_was_not_kept_and_hides_nothing_from_verify(kept):
    """Anywhere in the file: the right answer, an error, or less than there is where verification says so."""
    intact = kept.path.read_bytes()
    expected = answers(kept.open())
    earlier = [entry for entry in expected[-1] if entry.follows is None]
    kept.close()
    for position in random.sample(range(len(intact)), 1200):
        flipped = bytearray(intact)
        flipped[position] ^= 1 << random.randrange(8)
        kept.path.write_bytes(flipped)
        try:
            opened = kept.open()
            found = answers(opened)
            wrong = [one for one, right in zip(found, expected, strict=True) if one not in (right, None, "error")]
            # An index that leads past the newest write of a name leads to the one before it, if to any.
            assert all(one in earlier for one in wrong), (position, wrong)
            assert found == expected or opened.problems(), (position, found)
        except StrongroomError:
            pass
        kept.close()
        assert kept.path.read_bytes() == flipped, "reading changed the file"


def answers(opened) -> list[object]:
    """Return each thing that is kept: ``None`` if there is none, or that it gives an error."""
    found: list[object] = []
    for name in NAMES:
        found += [
            _answer(lambda name=name: opened.kept.recall(name).copy),
            _answer(lambda name=name: opened.kept.recall(name).entry),
        ]
    entries = _answer(opened.kept.entries)
    return [*found, entries or None]


def _answer(ask) -> object:
    try:
        return ask()
    except StrongroomError:
        return "error"


def test_a_write_to_a_journal_with_a_flipped_bit_loses_no_entry_unnoticed(kept):
    """It is accepted or refused; what was accepted before is there, or verification says that something is wrong."""
    intact = kept.path.read_bytes()
    expected = kept.open().kept.entries()
    kept.close()
    for position in random.sample(range(len(intact)), 500):
        flipped = bytearray(intact)
        flipped[position] ^= 1 << random.randrange(8)
        kept.path.write_bytes(flipped)
        try:
            opened = kept.open()
            accepted = opened.kept.append(opened.kept.entry("app/new")).outcome is Appended.YES
            found = opened.kept.entries()
            assert (found[:4] == expected and accepted) or opened.problems(), position
        except StrongroomError:
            pass
        kept.close()
