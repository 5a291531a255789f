"""Copies on their way to the fallback store, by themselves."""

from __future__ import annotations

import threading

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from strongroom.background import Background
from strongroom.contracts.journal import Copy, Place
from strongroom.errors import BackendUnavailableError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom.outages.copies import AGAIN_SECONDS, MOST_KNOWN, MOST_WAITING, Copies
from strongroom.testing import FakeClock, in_forked_child


def place_of(name: str) -> Place:
    return Place(backend="main", target="memory:1", name=SecretName(name))


def copy_of(name: str, version: str = "1", *, ago: float = 0.0) -> Copy:
    taken = FakeClock().time() - ago
    return Copy(place=place_of(name), value=SecretValue("v" + version), version=version, created=None, taken=taken)


class Held(Background):
    """Runs what is submitted only when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[Any] = []

    def submit(self, key: Any, task: Any) -> bool:
        self.tasks.append(task)
        return True

    def run(self) -> None:
        tasks, self.tasks = self.tasks, []
        for task in tasks:
            task()


class Store:
    """What the copies are written to."""

    def __init__(self) -> None:
        self.kept: dict[Place, str] = {}
        self.writes: list[int] = []
        self.erased: list[tuple[Place, ...]] = []
        self.is_broken = False
        self.in_keep: Any = None

    def keep(self, copies: tuple[Copy, ...]) -> StrongroomError | None:
        self.writes.append(len(copies))
        if self.in_keep is not None:
            self.in_keep()
        if self.is_broken:
            return BackendUnavailableError("broken")
        self.kept.update((copy.place, copy.version) for copy in copies)
        return None

    def erase(self, places: tuple[Place, ...]) -> StrongroomError | None:
        self.erased.append(places)
        if self.is_broken:
            return BackendUnavailableError("broken")
        for place in places:
            self.kept.pop(place, None)
        return None


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def held() -> Iterator[Held]:
    background = Held()
    yield background
    background.close()


@pytest.fixture
def copies(store: Store, held: Held, clock: FakeClock) -> Copies:
    return Copies(store.keep, store.erase, held, warn=lambda *_: None, clock=clock, now=clock.time)


class TestWritingBehind:
    def test_what_fails_is_warned_of_only_where_nobody_waits(self, store: Store, held: Held, clock: FakeClock) -> None:
        warned: list[str] = []
        copies = Copies(
            store.keep, store.erase, held, warn=lambda what, _: warned.append(what), clock=clock, now=clock.time
        )
        store.is_broken = True
        assert copies.replace(copy_of("a")) is not None
        assert copies.forget(copy_of("b").place) is not None
        assert warned == []
        copies.add(copy_of("c"), copies.turn)
        held.run()
        assert warned == [
            "the copy of 2 names could not be dropped, and is not used until it is",
            "copies could not be kept",
        ]

    def test_all_that_waits_is_written_at_once(self, copies: Copies, store: Store, held: Held) -> None:
        for number in range(20):
            copies.add(copy_of(f"a/{number}"), copies.turn)
        assert store.writes == []
        assert len(held.tasks) == 1
        held.run()
        assert store.writes == [20]

    def test_what_comes_while_others_are_written_is_written_by_the_same_task(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        copies.add(copy_of("a"), copies.turn)
        more = iter([copy_of("b"), copy_of("c")])

        def add_another() -> None:
            if (one := next(more, None)) is not None:
                copies.add(one, copies.turn)

        store.in_keep = add_another
        held.run()
        assert (store.writes, held.tasks) == ([1, 1, 1], [])

    def test_after_a_task_the_next_copy_has_one_of_its_own(self, copies: Copies, store: Store, held: Held) -> None:
        for name in ("a", "b"):
            copies.add(copy_of(name), copies.turn)
            held.run()
        assert store.writes == [1, 1]

    def test_a_task_that_is_not_taken_is_tried_again(
        self, copies: Copies, store: Store, held: Held, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(held, "submit", lambda *_: False)
        copies.add(copy_of("a"), copies.turn)
        monkeypatch.undo()
        copies.add(copy_of("b"), copies.turn)
        held.run()
        assert store.writes == [2]

    def test_the_same_version_is_not_written_again_within_a_minute(
        self, copies: Copies, store: Store, held: Held, clock: FakeClock
    ) -> None:
        for seconds in (0, AGAIN_SECONDS - 1, 1):
            clock.advance(seconds)
            copies.add(copy_of("a"), copies.turn)
            held.run()
        assert store.writes == [1, 1]

    def test_another_version_is_written_at_once(self, copies: Copies, store: Store, held: Held) -> None:
        for version in ("1", "2"):
            copies.add(copy_of("a", version), copies.turn)
            held.run()
        assert store.kept == {place_of("a"): "2"}

    def test_what_could_not_be_written_is_written_the_next_time(self, copies: Copies, store: Store, held: Held) -> None:
        store.is_broken = True
        copies.add(copy_of("a"), copies.turn)
        held.run()
        store.is_broken = False
        copies.add(copy_of("a"), copies.turn)
        held.run()
        assert store.kept == {place_of("a"): "1"}

    def test_only_so_many_wait(self, copies: Copies, store: Store, held: Held) -> None:
        for number in range(MOST_WAITING + 5):
            copies.add(copy_of(f"a/{number}"), copies.turn)
        copies.add(copy_of("a/0", "2"), copies.turn)
        held.run()
        assert store.writes == [MOST_WAITING]
        assert store.kept[place_of("a/0")] == "2"

    def test_a_copy_is_there_before_it_is_written(self, copies: Copies, store: Store, held: Held) -> None:
        copies.add(copy_of("a"), copies.turn)
        assert copies.newest(place_of("a")) == copy_of("a")
        seen: list[Copy | None] = []
        store.in_keep = lambda: seen.append(copies.newest(place_of("a")))
        held.run()
        assert seen == [copy_of("a")]
        assert copies.newest(place_of("a")) is None


class TestRevoking:
    def test_what_is_gone_is_not_written_any_more(self, copies: Copies, store: Store, held: Held) -> None:
        copies.add(copy_of("a"), copies.turn)
        assert copies.forget(place_of("a")) is None
        held.run()
        assert store.kept == {}

    def test_what_was_asked_for_before_it_was_seen_gone_is_no_copy(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        turn = copies.turn
        copies.forget(place_of("a"))
        copies.add(copy_of("a"), turn)
        copies.add(copy_of("b"), turn)
        held.run()
        assert store.kept == {place_of("b"): "1"}

    def test_what_is_seen_gone_while_it_is_written_is_dropped_again(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        copies.add(copy_of("a"), copies.turn)
        store.in_keep = lambda: copies.forget(place_of("a"))
        held.run()
        assert store.kept == {}
        assert copies.is_usable(copy_of("a"))

    def test_what_could_not_be_dropped_is_not_used_until_it_is(self, copies: Copies, store: Store, held: Held) -> None:
        store.kept[place_of("a")] = "1"
        store.is_broken = True
        assert isinstance(copies.forget(place_of("a")), BackendUnavailableError)
        assert not copies.is_usable(copy_of("a"))
        copies.write_soon()
        held.run()
        assert not copies.is_usable(copy_of("a"))
        store.is_broken = False
        copies.write_soon()
        held.run()
        assert store.kept == {}
        assert copies.is_usable(copy_of("a"))

    def test_what_is_read_again_has_a_copy_again(self, copies: Copies, store: Store, held: Held) -> None:
        store.is_broken = True
        copies.forget(place_of("a"))
        copies.add(copy_of("a", "2"), copies.turn)
        assert copies.newest(place_of("a")) == copy_of("a", "2")
        store.is_broken = False
        held.run()
        assert store.kept == {place_of("a"): "2"}
        assert copies.is_usable(copy_of("a"))

    def test_what_was_changed_by_us_replaces_what_waits(self, copies: Copies, store: Store, held: Held) -> None:
        turn = copies.turn
        copies.add(copy_of("a"), turn)
        assert copies.replace(copy_of("a", "2")) is None
        copies.add(copy_of("a"), turn)
        held.run()
        assert store.kept == {place_of("a"): "2"}

    def test_a_copy_that_could_not_be_replaced_is_not_used(self, copies: Copies, store: Store, held: Held) -> None:
        store.kept[place_of("a")] = "1"
        store.is_broken = True
        assert copies.replace(copy_of("a", "2")) is not None
        assert not copies.is_usable(copy_of("a"))
        store.is_broken = False
        copies.flush()
        assert store.kept == {}

    def test_beyond_what_can_be_remembered_none_is_trusted(self, copies: Copies, store: Store) -> None:
        store.is_broken = True
        for number in range(MOST_KNOWN + 1):
            copies.forget(place_of(f"a/{number}"))
        store.is_broken = False
        copies.flush()
        assert not copies.is_usable(copy_of("never/seen"))

    def test_old_loads_bring_no_copies_once_changes_are_forgotten(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        turn = copies.turn
        copies.forget(place_of("a"))
        for number in range(MOST_KNOWN):
            copies.changed(place_of(f"b/{number}"), None)
        copies.add(copy_of("a"), turn)
        held.run()
        assert store.kept == {}

    def test_what_is_seen_gone_while_it_is_written_is_not_there_meanwhile(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        copies.add(copy_of("a"), copies.turn)
        seen: list[object] = []

        def go() -> None:
            copies.forget(place_of("a"))
            seen.extend([copies.newest(place_of("a")), copies.is_usable(copy_of("a"))])

        store.in_keep = go
        held.run()
        assert seen == [None, False]

    @pytest.mark.parametrize("made", [None, copy_of("a", "2")], ids=["deleted", "written"])
    def test_what_the_store_changes_while_an_older_copy_is_written_does_not_come_back(
        self, made: Copy | None, copies: Copies, store: Store, held: Held
    ) -> None:
        copies.add(copy_of("a", ago=5.0), copies.turn)
        store.in_keep = lambda: copies.changed(place_of("a"), made)
        held.run()
        assert store.kept == {}

    def test_a_copy_that_is_not_used_stays_so_until_a_newer_one_is_there(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        store.kept[place_of("a")] = "1"
        store.is_broken = True
        copies.forget(place_of("a"))
        copies.add(copy_of("a", "2"), copies.turn)
        held.run()
        assert store.kept == {place_of("a"): "1"}
        assert copies.newest(place_of("a")) is None
        assert not copies.is_usable(copy_of("a"))

    def test_a_copy_from_before_the_change_is_not_used_whoever_kept_it_then(
        self, copies: Copies, clock: FakeClock
    ) -> None:
        clock.advance(10)
        assert copies.forget(place_of("a")) is None
        assert not copies.is_usable(copy_of("a"))
        assert copies.is_usable(copy_of("a", "2", ago=-11.0))
        assert copies.is_usable(copy_of("b"))

    def test_a_clock_that_is_set_back_after_a_change_does_not_hold_up_the_next_copy(
        self, copies: Copies, held: Held, clock: FakeClock
    ) -> None:
        copies.forget(place_of("a"))
        clock.set_wall(clock.now() - timedelta(hours=1))
        newer = copy_of("a", "2", ago=3600.0)
        copies.add(newer, copies.turn)
        held.run()
        assert copies.is_usable(newer)

    def test_what_was_asked_for_before_the_clock_was_set_back_is_no_copy(
        self, copies: Copies, store: Store, held: Held, clock: FakeClock
    ) -> None:
        asked = copy_of("a")
        clock.set_wall(clock.now() - timedelta(hours=1))
        copies.add(asked, copies.turn)
        held.run()
        assert store.kept == {}


class TestFlushing:
    def test_it_writes_what_waits(self, copies: Copies, store: Store) -> None:
        copies.add(copy_of("a"), copies.turn)
        copies.flush()
        assert store.kept == {place_of("a"): "1"}

    def test_it_waits_for_who_is_writing(self, copies: Copies, store: Store, held: Held) -> None:
        begun, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            assert go_on.wait(10)

        store.in_keep = wait
        copies.add(copy_of("a"), copies.turn)
        writer = threading.Thread(target=held.run)
        flusher = threading.Thread(target=copies.flush)
        writer.start()
        assert begun.wait(10)
        flusher.start()
        flusher.join(0.05)
        waited = flusher.is_alive()
        go_on.set()
        for thread in (writer, flusher):
            thread.join(10)
        assert waited
        assert store.kept == {place_of("a"): "1"}

    def test_a_handler_that_flushes_in_the_midst_of_a_write_ends(
        self, copies: Copies, store: Store, held: Held
    ) -> None:
        copies.add(copy_of("a"), copies.turn)
        depth = iter(range(3))

        def interrupted() -> None:
            if next(depth, None) is not None:
                copies.add(copy_of("b", str(len(store.writes))), copies.turn)
                copies.flush()

        store.in_keep = interrupted
        held.run()
        assert store.kept.keys() == {place_of("a"), place_of("b")}

    def test_with_nothing_to_do_nothing_is_asked(self, copies: Copies, store: Store) -> None:
        copies.flush()
        assert (store.writes, store.erased) == ([], [])


class TestForking:
    def test_a_child_writes_nothing_of_its_parent_s(self, copies: Copies, store: Store) -> None:
        copies.add(copy_of("a"), copies.turn)

        def in_child() -> object:
            copies.after_fork()
            copies.flush()
            return store.writes, copies.newest(place_of("a"))

        assert in_forked_child(in_child) == "([], None)"

    def test_what_the_parent_has_seen_gone_is_gone_in_the_child(self, copies: Copies, store: Store) -> None:
        store.is_broken = True
        copies.forget(place_of("a"))

        def in_child() -> object:
            copies.after_fork()
            return copies.is_usable(copy_of("a"))

        assert in_forked_child(in_child) == "False"
