"""What is not authentic stops nothing that does not depend on it, and verification goes on finding it."""

from __future__ import annotations

import pytest

from strongroom.contracts.journal import Settlement

NAMES = ("app/first", "app/second", "app/third")


@pytest.fixture
def kept(store):
    """Return a closed store with a copy of each name and two writes of each that wait, at positions 1 to 6."""
    opened = store.open()
    for number, name in enumerate(NAMES):
        opened.kept.keep(opened.kept.copy(name, f"copy of {name}"))
        opened.kept.queue(name, "first", queued=10.0 + number)
        opened.kept.queue(name, "last", queued=20.0 + number)
    store.close()
    return store


def spoil_entry(store, position: int) -> None:
    store.edit(f"UPDATE journal SET sealed = zeroblob(length(sealed)) WHERE position = {position}")


def spoil_copy(store, name: str) -> None:
    keys = store.open()
    lookup = keys.backend._session.keys.journal.find_copy(keys.kept.place(name)).hex()
    store.close()
    store.edit(f"UPDATE copy SET sealed = zeroblob(length(sealed)) WHERE lookup = x'{lookup}'")


def is_found(opened) -> bool:
    return any("rows are not those" in problem for problem in opened.problems())


@pytest.mark.parametrize("position", [1, 2, 3, 6])
def test_an_entry_that_is_not_authentic_is_counted(kept, position):
    """Whoever looks whether anything waits is told so, and how long it has: by what can be read."""
    spoil_entry(kept, position)
    opened = kept.open()
    backend, target = opened.kept.backend, opened.kept.target
    for asked in ({}, {"backend": backend}, {"target": target}, {"backend": backend, "target": target}):
        status = opened.kept.status(**asked)
        assert (status.waiting, status.oldest) == (6, 11.0 if position == 1 else 10.0)


def test_writes_of_which_none_is_authentic_are_counted_and_may_be_anybodys(kept):
    kept.edit("UPDATE journal SET sealed = zeroblob(length(sealed))")
    opened = kept.open()
    for asked in ({}, {"backend": opened.kept.backend}, {"target": opened.kept.target}, {"backend": "other"}):
        status = opened.kept.status(**asked)
        assert (status.waiting, status.oldest) == (6, None)


@pytest.mark.parametrize("other", ["CAST(target AS TEXT)", "randomblob(32)"])
def test_an_entry_under_another_target_is_counted_all_the_same(kept, other):
    """It waits for whoever asks without a target or for the backend; its own target's list does not have it."""
    kept.edit(f"UPDATE journal SET target = {other} WHERE position = 3")
    opened = kept.open()
    backend, target = opened.kept.backend, opened.kept.target
    assert opened.kept.status().waiting == opened.kept.status(backend=backend).waiting == 6
    assert 3 not in [entry.position for entry in opened.kept.entries(backend=backend, target=target)]
    assert opened.problems()


@pytest.mark.parametrize("position", [1, 2])
def test_an_entry_that_is_not_authentic_stops_no_other_name(kept, position):
    spoil_entry(kept, position)
    opened = kept.open()
    for name in NAMES[1:]:
        found = opened.kept.recall(name)
        assert found.copy.value.reveal_text() == f"copy of {name}"
        assert found.entry.value.reveal_text() == "last"
        assert opened.kept.queue(name, "more").follows == found.entry.id
        opened.kept.keep(opened.kept.copy(name, "newer", taken=2.0))
        opened.kept.settle(Settlement(entry=found.entry, dropped=True))
    assert opened.kept.queue("app/new").position == 9


def test_what_was_made_is_noted_although_the_write_behind_it_is_not_authentic(kept):
    first = kept.open().kept.entries(limit=1)[0]
    kept.close()
    spoil_entry(kept, 2)
    opened = kept.open()
    opened.kept.done(first)
    assert opened.kept.entries(id=first.id) == []
    assert opened.kept.status().waiting == 5


def test_a_copy_that_is_not_authentic_hides_no_write_that_waits(kept):
    spoil_copy(kept, NAMES[0])
    opened = kept.open()
    found = opened.kept.recall(NAMES[0])
    assert (found.copy, found.entry.value.reveal_text()) == (None, "last")
    assert opened.kept.queue(NAMES[0], "more").follows == found.entry.id


@pytest.mark.parametrize("act", ["keep", "drop", "made", "deleted"])
def test_a_copy_that_is_not_authentic_is_replaced_or_dropped_with_others_and_still_found(kept, act):
    spoil_copy(kept, NAMES[0])
    opened = kept.open()
    new = opened.kept.copy(NAMES[0], "new", taken=3.0)
    other = opened.kept.copy(NAMES[1], "new", taken=3.0)
    if act == "keep":
        opened.kept.keep(new, other)
    elif act == "drop":
        opened.kept.drop(*NAMES[:2])
    else:
        facts = {"done": True, "version": "2"}
        first, second = (entry for entry in opened.kept.entries() if entry.follows is None and entry.position < 4)
        copies = (new, other) if act == "made" else (None, None)
        opened.kept.settle(
            *(
                Settlement(entry=entry, copy=copy, drop_copy=copy is None, **facts)
                for entry, copy in zip((first, second), copies, strict=True)
            )
        )
    for name in NAMES[:2]:
        copy = opened.kept.recall(name).copy
        assert (None if copy is None else copy.value.reveal_text()) == ("new" if act in {"keep", "made"} else None)
    assert is_found(opened)
    opened.kept.drop(*NAMES)
    assert is_found(opened)
