"""SIEVE by itself: who leaves, who stays, and that the queue does not grow."""

from __future__ import annotations

from collections.abc import Hashable

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cache.eviction import Candidate, Sieve


class Small:
    """A cache of few entries and nothing but eviction."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.entries: dict[Hashable, Candidate] = {}
        self.sieve = Sieve(self.entries, most)

    def put(self, key: str, *, spared: int = 0) -> str | None:
        """Store an entry; return who left for it."""
        left = None
        if key not in self.entries and len(self.entries) >= self.most:
            left = self.sieve.choose()
            assert left is not None
            del self.entries[left]
        self.sieve.insert(key, Candidate(spared))
        return str(left) if left else None

    def read(self, key: str) -> None:
        self.entries[key].visited = True


def filled(keys: str) -> Small:
    small = Small(len(keys))
    for key in keys:
        small.put(key)
    return small


class Model:
    """SIEVE as its authors describe it, slow and plain: one list and the hand's index, newest first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.queue: list[str] = []
        self.visited: set[str] = set()
        self.hand: str | None = None

    def put(self, key: str) -> str | None:
        left = self.evict() if len(self.queue) >= self.most else None
        self.queue.insert(0, key)
        return left

    def evict(self) -> str:
        at = self.queue.index(self.hand) if self.hand is not None else len(self.queue) - 1
        while self.queue[at] in self.visited:
            self.visited.discard(self.queue[at])
            at = at - 1 if at > 0 else len(self.queue) - 1
        self.hand = self.queue[at - 1] if at > 0 else None
        return self.queue.pop(at)


@given(st.integers(1, 6), st.lists(st.sampled_from("abcdefghij"), max_size=300))
def test_it_evicts_what_the_published_algorithm_evicts(most: int, accesses: list[str]) -> None:
    small, model = Small(most), Model(most)
    for key in accesses:
        if key in small.entries:
            small.read(key)
            model.visited.add(key)
        else:
            assert small.put(key) == model.put(key)
    assert set(small.entries) == set(model.queue)


def test_what_was_not_read_leaves_first_and_what_was_read_keeps_its_place() -> None:
    small = filled("abc")
    small.read("a")
    assert [small.put("d"), small.put("e")] == ["b", "c"]
    assert set(small.entries) == {"a", "d", "e"}


def test_names_that_are_read_once_do_not_drive_out_those_in_use() -> None:
    small = filled("abcdefgh")
    for number in range(1000):
        for key in "abcd":
            small.read(key)
        small.put(f"scan{number}")
    assert set("abcd") <= small.entries.keys()


def test_a_refreshed_entry_in_use_is_not_the_next_to_leave() -> None:
    small = filled("abc")
    small.read("a")
    small.put("a")
    assert small.put("d") == "b"


def test_a_refreshed_entry_that_nobody_used_keeps_its_place() -> None:
    small = filled("abc")
    small.put("a")
    assert small.put("d") == "a"


def test_spared_entries_are_passed_over_so_many_times_and_no_more() -> None:
    small = filled("abc")
    small.put("a", spared=2)
    small.put("b", spared=2)
    small.put("c", spared=2)
    # The hand goes round twice in vain; the third time the oldest is not spared any more.
    assert small.put("d") == "a"


def test_whoever_asks_to_be_spared_for_ever_still_leaves() -> None:
    small = filled("abc")
    for key in "abc":
        small.put(key, spared=10**9)
    assert small.put("d") == "a"


def test_an_entry_knows_whether_it_was_read_even_after_the_hand_has_passed() -> None:
    small = filled("abc")
    small.read("a")
    small.put("d")
    assert (small.entries["a"].visited, small.entries["a"].was_read()) == (False, True)
    assert not small.entries["d"].was_read()


def test_nothing_to_choose_from_is_no_error() -> None:
    assert Small(1).sieve.choose() is None


def test_after_clearing_nobody_is_known() -> None:
    small = filled("abc")
    small.entries.clear()
    small.sieve.clear()
    assert small.sieve.choose() is None


@given(st.lists(st.tuples(st.sampled_from(["put", "read", "remove"]), st.integers(0, 9)), max_size=400))
def test_places_of_removed_entries_do_not_pile_up(steps: list[tuple[str, int]]) -> None:
    small = Small(4)
    for step, number in steps:
        key = f"n{number}"
        if step == "put":
            small.put(key)
        elif step == "read" and key in small.entries:
            small.read(key)
        elif step == "remove":
            small.entries.pop(key, None)
        assert len(small.entries) <= 4
        assert sum(map(len, small.sieve._queues)) <= 2 * 4 + 17


class Popular(Candidate):
    """An entry that is read again as soon as the hand has passed it."""

    visited = property(lambda _: True, lambda *_: None)  # type: ignore[assignment]  # it replaces a slot


def test_readers_cannot_keep_the_hand_going_for_ever() -> None:
    small = Small(3)
    for key in "abc":
        small.sieve.insert(key, Popular())
    assert small.sieve.choose() is None
    small.sieve.insert("d", Candidate())
    assert small.sieve.choose() == "d"
