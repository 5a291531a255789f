"""The kit's checks of a journal: a backend that keeps its promises passes, and each mistake is found."""

from __future__ import annotations

import textwrap

from collections.abc import Callable
from pathlib import Path

import pytest

import strongroom.testing  # noqa: F401  # here once, not in each inner run

from journals import FileJournal
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Backend, Capability
from strongroom.testing.backend_journal import CopyChecks
from strongroom.testing.backend_journal_life import JournalLifeChecks
from strongroom.testing.backend_journal_settling import SettlingChecks
from strongroom.testing.backend_journal_writes import AppendChecks

pytest_plugins = ["pytester"]

HEAD = """
    import fcntl
    import os
    import time

    import pytest

    from journals import FileJournal
    from strongroom.builtin.memory import MemoryBackend
    from strongroom.contracts import *
    from strongroom.errors import *
    from strongroom.model import SecretName, SecretValue, ValueType
    from strongroom.testing.backend_journal import CopyChecks
    from strongroom.testing.backend_journal_life import JournalLifeChecks
    from strongroom.testing.backend_journal_settling import SettlingChecks
    from strongroom.testing.backend_journal_writes import AppendChecks

    def of_type(value, type):
        return None if value is None else SecretValue.of_bytes(value.reveal(), type)

    def decoded(value):
        return SecretValue.of_bytes(value.reveal().decode(errors="replace").encode(), value.type)

    def size_of(entry):
        return 0 if entry.value is None else len(entry.value)

    # Keeps every place by another spelling.
    class Spelt(dict):
        def __init__(self, spelt):
            self.spelt = spelt

        def get(self, place):
            return super().get(self.spelt(place))

        def pop(self, place, default):
            return super().pop(self.spelt(place), default)

        def __setitem__(self, place, copy):
            super().__setitem__(self.spelt(place), copy)

    class Elsewhere(MemoryBackend):
        def __init__(self):
            super().__init__()
            self._copies = Spelt(self.spelt)

        def spelt(self, place):
            return place

        def _newest(self, place):
            where = self.spelt(place)
            mine = [one for one in self._entries.values() if self.spelt(one.place) == where and one.state.waits]
            return mine[-1] if mine else None

    class Broken(BASE):
"""
TAIL = """
    class TestBroken(CopyChecks, AppendChecks, SettlingChecks, JournalLifeChecks):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self):
            return Broken()
"""
SHARED = """
    class TestBroken(CopyChecks, AppendChecks, SettlingChecks, JournalLifeChecks):
        capabilities = frozenset(Capability)

        @pytest.fixture
        def backend(self, tmp_path):
            return Broken(tmp_path)

        @pytest.fixture
        def reopen(self, tmp_path):
            return lambda: Broken(tmp_path)
"""
Mistakes = dict[str, tuple[str, set[str]]]

COPIES: Mistakes = {
    "forgets the type of a copy": (
        """
        def recall(self, request):
            found = super().recall(request)
            copy = found.copy
            return found.replace(copy=copy and copy.replace(value=of_type(copy.value, ValueType.TEXT)))
        """,
        {
            "test_a_copy_comes_back_exactly",
            "test_a_copy_replaces_the_one_before",
            "test_a_write_that_is_made_becomes_the_copy",
        },
    ),
    "decodes copies": (
        """
        def keep_copies(self, request):
            copies = tuple(one.replace(value=decoded(one.value)) for one in request.copies)
            super().keep_copies(request.replace(copies=copies))
        """,
        {"test_a_copy_comes_back_exactly"},
    ),
    "has no microseconds": (
        """
        def recall(self, request):
            found = super().recall(request)
            if found.copy is None or found.copy.created is None:
                return found
            return found.replace(copy=found.copy.replace(created=found.copy.created.replace(microsecond=0)))
        """,
        {"test_a_write_that_is_made_becomes_the_copy", "test_what_is_known_of_a_copy_comes_back_exactly"},
    ),
    "rounds the time of a copy": (
        """
        def _keep_copy(self, copy, now):
            super()._keep_copy(copy.replace(taken=round(copy.taken, 3)), now)
        """,
        {
            "test_a_write_that_is_made_becomes_the_copy",
            "test_an_older_copy_never_replaces_a_newer_one",
            "test_what_is_known_of_a_copy_comes_back_exactly",
        },
    ),
    "keeps the first copy": (
        """
        def _keep_copy(self, copy, now):
            self._copies.setdefault(copy.place, copy)
        """,
        {
            "test_a_copy_from_before_the_clock_was_set_back_is_replaced",
            "test_a_write_that_is_made_replaces_a_copy_from_before_the_clock_was_set_back",
            "test_a_copy_replaces_the_one_before",
            "test_a_write_that_is_made_becomes_the_copy",
        },
    ),
    "keeps the copy that comes last": (
        """
        def _keep_copy(self, copy, now):
            self._copies[copy.place] = copy
        """,
        {
            "test_a_copy_from_before_the_clock_was_set_back_is_replaced",
            "test_a_write_that_is_made_replaces_a_copy_from_before_the_clock_was_set_back",
            "test_an_older_copy_never_replaces_a_newer_one",
        },
    ),
    "keeps no copy of the same moment": (
        """
        def _keep_copy(self, copy, now):
            old = self._copies.get(copy.place)
            if old is None or old.taken < copy.taken or old.taken > now:
                self._copies[copy.place] = copy
        """,
        {"test_a_copy_replaces_the_one_before"},
    ),
    "drops the first copy only": (
        """
        def drop_copies(self, request):
            super().drop_copies(request.replace(places=request.places[:1]))
        """,
        {"test_copies_are_dropped_together"},
    ),
    "complains of dropping nothing": (
        """
        def drop_copies(self, request):
            for place in request.places:
                del self._copies[place]
        """,
        {"test_copies_are_dropped_together", "test_what_was_never_kept_is_not_known"},
    ),
    "waits for a clock that was set back": (
        """
        def _keep_copy(self, copy, now):
            super()._keep_copy(copy, float("inf"))
        """,
        {
            "test_a_copy_from_before_the_clock_was_set_back_is_replaced",
            "test_a_write_that_is_made_replaces_a_copy_from_before_the_clock_was_set_back",
        },
    ),
    "trusts no clock": (
        """
        def keep_copies(self, request):
            super().keep_copies(request.replace(now=0.0))
        """,
        {
            "test_an_older_copy_never_replaces_a_newer_one",
            "test_a_copy_from_before_the_clock_was_set_back_is_replaced",
        },
    ),
    "remembers when a dropped copy was taken": (
        """
        def keep_copies(self, request):
            self.times = getattr(self, "times", {})
            for copy in request.copies:
                if self.times.get(copy.place, 0.0) <= copy.taken:
                    self.times[copy.place] = copy.taken
                    super().keep_copies(request.replace(copies=(copy,)))
        """,
        {"test_a_copy_from_before_the_clock_was_set_back_is_replaced", "test_a_dropped_copy_can_be_kept_again"},
    ),
    "keeps copies among its secrets": (
        """
        def keep_copies(self, request):
            super().keep_copies(request)
            for copy in request.copies:
                self.write(WriteRequest(name=copy.place.name, value=copy.value))
        """,
        {"test_a_secret_a_copy_and_an_entry_of_one_name_are_apart", "test_copies_and_entries_are_no_secrets"},
    ),
    "shows its copies": (
        """
        def __repr__(self):
            return repr([copy.value.reveal() for copy in self._copies.values()])
        """,
        {"test_no_value_in_what_a_journal_shows"},
    ),
}
PLACES: Mistakes = {
    "mixes backends": (
        """
        def spelt(self, place):
            return place.replace(backend="the same")
        """,
        {"test_copies_of_places_that_look_alike_are_apart", "test_entries_of_places_that_look_alike_are_apart"},
    ),
    "mixes targets": (
        """
        def spelt(self, place):
            return place.replace(target="the same")
        """,
        {
            "test_a_copy_is_forgotten_with_the_delete_that_is_made",
            "test_copies_of_places_that_look_alike_are_apart",
            "test_entries_of_places_that_look_alike_are_apart",
        },
    ),
    "takes a path apart": (
        """
        def spelt(self, place):
            return Place(backend="", target="", name=f"{place.backend}/{place.target}/{place.name}")
        """,
        {"test_copies_of_places_that_look_alike_are_apart", "test_entries_of_places_that_look_alike_are_apart"},
    ),
    "folds the case of places": (
        """
        def spelt(self, place):
            return Place(backend=place.backend.lower(), target=place.target.lower(), name=place.name.lower())
        """,
        {
            "test_copies_of_places_that_look_alike_are_apart",
            "test_entries_of_places_that_look_alike_are_apart",
            "test_odd_and_long_names_have_copies_and_entries",
        },
    ),
    "cuts long places": (
        """
        def spelt(self, place):
            return place.replace(target=place.target[:100], name=place.name[:100])

        def recall(self, request):
            if len(request.place.name) > 200:
                raise InvalidNameError("too long")
            return super().recall(request)
        """,
        {"test_odd_and_long_names_have_copies_and_entries"},
    ),
}
APPENDING: Mistakes = {
    "recalls the write with each copy": (
        """
        def recall(self, request):
            return super().recall(request.replace(copy_only=False))
        """,
        {"test_a_write_that_waits_is_left_out_where_only_the_copy_is_asked_for"},
    ),
    "forgets the type of an entry": (
        """
        def append(self, request):
            entry = request.entry
            return super().append(request.replace(entry=entry.replace(value=of_type(entry.value, ValueType.TEXT))))
        """,
        {"test_a_journal_is_full_of_bytes", "test_an_entry_comes_back_exactly"},
    ),
    "takes an empty value for a delete": (
        """
        def append(self, request):
            entry = request.entry
            return super().append(request.replace(entry=entry.replace(value=entry.value if size_of(entry) else None)))
        """,
        {"test_an_entry_comes_back_exactly"},
    ),
    "forgets on whose behalf": (
        """
        def append(self, request):
            return super().append(request.replace(entry=request.entry.replace(on_behalf_of=None)))
        """,
        {"test_a_state_is_kept_with_its_reason", "test_what_is_known_of_an_entry_comes_back_exactly"},
    ),
    "takes what is unclear for waiting": (
        """
        def append(self, request):
            return super().append(request.replace(entry=request.entry.replace(state=EntryState.WAITING)))
        """,
        {"test_the_newest_write_that_waits_is_recalled", "test_what_is_known_of_an_entry_comes_back_exactly"},
    ),
    "gives a position again": (
        """
        def append(self, request):
            self._positions = max((one.position for one in self._entries.values()), default=0)
            return super().append(request)
        """,
        {"test_positions_tell_the_order"},
    ),
    "counts positions by name": (
        """
        def append(self, request):
            self._positions = len(self._ids.get(request.entry.place, ()))
            return super().append(request)
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_positions_tell_the_order",
            "test_writes_of_different_names_do_not_disturb_each_other",
        },
    ),
    "recalls the oldest": (
        """
        def recall(self, request):
            found = super().recall(request)
            mine = [one for one in self._entries.values() if one.place == request.place and one.state.waits]
            return found.replace(entry=mine[0] if mine and not request.copy_only else None)
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_a_forked_child_can_use_the_journal",
            "test_the_copy_stays_unless_it_is_said",
            "test_the_newest_write_that_waits_is_recalled",
            "test_what_follows_a_write_that_is_made_waits_over_its_version",
            "test_writes_of_one_name_make_a_chain",
        },
    ),
    "recalls what is set aside": (
        """
        def _newest(self, place):
            return next((self._entries[one] for one in reversed(self._ids.get(place, ()))), None)
        """,
        {"test_what_is_set_aside_is_not_recalled"},
    ),
    "does not recall what is unclear": (
        """
        def recall(self, request):
            found = super().recall(request)
            unclear = found.entry is not None and found.entry.state is EntryState.UNCLEAR
            return found.replace(entry=None) if unclear else found
        """,
        {"test_the_newest_write_that_waits_is_recalled", "test_what_is_known_of_an_entry_comes_back_exactly"},
    ),
    "takes the set aside for gone, with those before": (
        """
        def _newest(self, place):
            ids = self._ids.get(place)
            return self._entries[ids[-1]] if ids and self._entries[ids[-1]].state.waits else None
        """,
        {"test_what_is_set_aside_is_not_recalled"},
    ),
    "accepts whatever it follows": (
        """
        def append(self, request):
            newest = self._newest(request.entry.place)
            entry = request.entry.replace(follows=newest and newest.id)
            return super().append(request.replace(entry=entry))
        """,
        {"test_a_refused_write_is_not_counted", "test_a_write_that_follows_another_than_the_newest_is_not_accepted"},
    ),
    "accepts what follows nothing": (
        """
        def append(self, request):
            newest = self._newest(request.entry.place)
            if request.entry.follows is None:
                request = request.replace(entry=request.entry.replace(follows=newest and newest.id))
            return super().append(request)
        """,
        {"test_a_refused_write_is_not_counted", "test_a_write_that_follows_another_than_the_newest_is_not_accepted"},
    ),
    "has one chain for all places of a name": (
        """
        def _newest(self, place):
            mine = [one for one in self._entries.values() if one.place.name == place.name and one.state.waits]
            return mine[-1] if mine else None
        """,
        {"test_entries_of_places_that_look_alike_are_apart"},
    ),
    "keeps what it does not accept": (
        """
        def append(self, request):
            result = super().append(request)
            if result.outcome is not Appended.YES:
                self._positions += 1
                entry = request.entry.replace(position=self._positions, id=request.entry.id[::-1])
                self._entries[entry.id] = entry
                self._ids.setdefault(entry.place, []).append(entry.id)
            return result
        """,
        {
            "test_a_journal_is_full_of_bytes",
            "test_a_journal_is_full_of_entries",
            "test_a_refused_write_is_not_counted",
            "test_a_write_that_follows_another_than_the_newest_is_not_accepted",
            "test_what_is_settled_makes_room",
        },
    ),
    "has no limit of entries": (
        """
        def append(self, request):
            return super().append(request.replace(max_entries=10**9))
        """,
        {"test_a_journal_is_full_of_entries", "test_a_refused_write_is_not_counted"},
    ),
    "counts only what waits against the limits": (
        """
        def append(self, request):
            aside = [one for one in self._entries.values() if not one.state.waits]
            size = sum(size_of(one) for one in aside)
            return super().append(
                request.replace(max_entries=request.max_entries + len(aside), max_bytes=request.max_bytes + size)
            )
        """,
        {"test_a_journal_is_full_of_bytes", "test_a_journal_is_full_of_entries"},
    ),
    "has one entry too many": (
        """
        def append(self, request):
            return super().append(request.replace(max_entries=request.max_entries + 1))
        """,
        {"test_a_journal_is_full_of_entries"},
    ),
    "has limits of each backend": (
        """
        def append(self, request):
            others = [one for one in self._entries.values() if one.place.backend != request.entry.place.backend]
            size = sum(size_of(one) for one in others)
            return super().append(
                request.replace(max_entries=request.max_entries + len(others), max_bytes=request.max_bytes + size)
            )
        """,
        {"test_a_journal_is_full_of_bytes", "test_a_journal_is_full_of_entries"},
    ),
    "has no limit of bytes": (
        """
        def append(self, request):
            return super().append(request.replace(max_bytes=10**9))
        """,
        {"test_a_journal_is_full_of_bytes"},
    ),
    "counts letters": (
        """
        def append(self, request):
            spared = 0
            for entry in (request.entry, *self._entries.values()):
                if entry.value is not None and entry.value.type is ValueType.TEXT:
                    spared += len(entry.value) - len(entry.value.reveal_text())
            return super().append(request.replace(max_bytes=request.max_bytes + spared))
        """,
        {"test_a_journal_is_full_of_bytes"},
    ),
    "counts what is gone against the limits": (
        """
        def append(self, request):
            gone = self._positions - len(self._entries)
            return super().append(request.replace(max_entries=request.max_entries - gone))
        """,
        {"test_what_is_settled_makes_room"},
    ),
}
ENTRIES: Mistakes = {
    "has the newest entries first": (
        """
        def entries(self, request):
            return EntriesResult(entries=super().entries(request).entries[::-1])
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_a_journal_is_full_of_entries",
            "test_a_state_is_kept_with_its_reason",
            "test_a_write_that_follows_another_than_the_newest_is_not_accepted",
            "test_an_entry_that_is_set_aside_can_wait_again",
            "test_entries_are_found_by_what_is_asked",
            "test_many_entries_are_settled_at_once",
            "test_odd_and_long_names_have_copies_and_entries",
            "test_positions_tell_the_order",
            "test_what_follows_a_write_that_is_made_waits_over_its_version",
            "test_what_is_known_of_an_entry_comes_back_exactly",
            "test_writes_of_different_names_do_not_disturb_each_other",
            "test_writes_of_one_name_make_a_chain",
        },
    ),
    "has entries in the order of names": (
        """
        def entries(self, request):
            return EntriesResult(
                entries=tuple(sorted(super().entries(request).entries, key=lambda one: (one.place.name, one.position)))
            )
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_a_state_is_kept_with_its_reason",
            "test_a_write_that_follows_another_than_the_newest_is_not_accepted",
            "test_entries_are_found_by_what_is_asked",
            "test_many_entries_are_settled_at_once",
            "test_odd_and_long_names_have_copies_and_entries",
            "test_positions_tell_the_order",
            "test_what_follows_a_write_that_is_made_waits_over_its_version",
            "test_what_is_known_of_an_entry_comes_back_exactly",
            "test_writes_of_different_names_do_not_disturb_each_other",
        },
    ),
    "limits before it looks": (
        """
        def entries(self, request):
            few = super().entries(EntriesRequest(after=request.after, limit=request.limit)).entries
            found = super().entries(request.replace(limit=None)).entries
            return EntriesResult(entries=tuple(one for one in found if one in few))
        """,
        {"test_entries_are_found_by_what_is_asked"},
    ),
    "takes no limit for one of nothing": (
        """
        def entries(self, request):
            return super().entries(request.replace(limit=request.limit or None))
        """,
        {"test_entries_are_found_by_what_is_asked"},
    ),
    "looks at the beginning of a target": (
        """
        def entries(self, request):
            found = super().entries(request.replace(target=None, limit=None)).entries
            target = request.target or ""
            asked = [one for one in found if one.place.target.startswith(target)]
            return EntriesResult(entries=tuple(asked[: request.limit]))
        """,
        {"test_entries_are_found_by_what_is_asked"},
    ),
    "has entries from a position on": (
        """
        def entries(self, request):
            return super().entries(request.replace(after=request.after - 1))
        """,
        {"test_a_big_journal_stays_in_order", "test_entries_are_found_by_what_is_asked"},
    ),
    "finds an id and asks no further": (
        """
        def entries(self, request):
            return super().entries(EntriesRequest(id=request.id) if request.id is not None else request)
        """,
        {"test_an_entry_is_found_by_its_id"},
    ),
    "says that all entries wait": (
        """
        def entries(self, request):
            return super().entries(request.replace(waiting=False))
        """,
        {
            "test_an_entry_is_found_by_its_id",
            "test_each_state_that_does_not_wait_is_set_aside",
            "test_entries_are_found_by_what_is_asked",
        },
    ),
}
SETTLING: Mistakes = {
    "rebinds nothing": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement.replace(done=False, dropped=True) if settlement.done else settlement, now)
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_a_copy_and_what_waits_are_of_one_moment",
            "test_a_copy_is_forgotten_with_the_delete_that_is_made",
            "test_a_forked_child_can_use_the_journal",
            "test_a_write_that_is_made_becomes_the_copy",
            "test_a_write_that_is_made_replaces_a_copy_from_before_the_clock_was_set_back",
            "test_many_entries_are_settled_at_once",
            "test_what_follows_a_write_that_is_made_waits_over_its_version",
        },
    ),
    "rebinds all that is of the name": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement, now)
            if settlement.done:
                for one in self._ids.get(settlement.entry.place, ()):
                    self._entries[one] = self._entries[one].replace(follows=None, expected=settlement.version)
        """,
        {"test_what_follows_a_write_that_is_made_waits_over_its_version"},
    ),
    "rebinds over no version to what it was": (
        """
        def _settle(self, settlement, now):
            expected = {key: one.expected for key, one in self._entries.items()}
            super()._settle(settlement, now)
            if settlement.done and settlement.version is None:
                for key, one in self._entries.items():
                    self._entries[key] = one.replace(expected=expected[key])
        """,
        {"test_what_follows_a_write_that_is_made_waits_over_its_version"},
    ),
    "rebinds over what is dropped": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement.replace(done=True, copy=None) if settlement.dropped else settlement, now)
        """,
        {
            "test_an_entry_that_is_gone_is_passed_over",
            "test_many_entries_are_settled_at_once",
            "test_the_copy_stays_unless_it_is_said",
            "test_what_follows_a_write_that_is_dropped_stays_bound_to_it",
        },
    ),
    "keeps what is made": (
        """
        def _remove(self, entry):
            self._entries[entry.id] = self._entries[entry.id].replace(state=EntryState.REFUSED)
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_an_entry_is_found_by_its_id",
            "test_an_entry_that_is_gone_is_passed_over",
            "test_entries_are_counted",
            "test_many_entries_are_settled_at_once",
            "test_positions_tell_the_order",
            "test_the_last_write_that_is_made_leaves_nothing_behind",
            "test_what_follows_a_write_that_is_dropped_stays_bound_to_it",
            "test_what_follows_a_write_that_is_made_waits_over_its_version",
            "test_what_is_settled_makes_room",
            "test_writes_of_different_names_do_not_disturb_each_other",
        },
    ),
    "loses the reason": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement.replace(entry=settlement.entry.replace(reason="")), now)
        """,
        {
            "test_a_journal_is_full_of_bytes",
            "test_a_journal_is_full_of_entries",
            "test_a_state_is_kept_with_its_reason",
            "test_a_write_that_follows_another_than_the_newest_is_not_accepted",
            "test_entries_are_found_by_what_is_asked",
            "test_many_entries_are_settled_at_once",
        },
    ),
    "notes only that something is set aside": (
        """
        def _settle(self, settlement, now):
            if settlement.entry.state.waits and not (settlement.done or settlement.dropped):
                return
            super()._settle(settlement, now)
        """,
        {"test_a_state_is_kept_with_its_reason", "test_an_entry_that_is_set_aside_can_wait_again"},
    ),
    "puts what has changed last": (
        """
        def _settle(self, settlement, now):
            entry = settlement.entry
            super()._settle(settlement, now)
            if entry.id in self._entries:
                self._entries[entry.id] = self._entries.pop(entry.id)
        """,
        {
            "test_a_journal_is_full_of_entries",
            "test_a_state_is_kept_with_its_reason",
            "test_an_entry_that_is_set_aside_can_wait_again",
            "test_entries_are_found_by_what_is_asked",
            "test_many_entries_are_settled_at_once",
        },
    ),
    "settles the first only": (
        """
        def settle(self, request):
            super().settle(request.replace(settlements=request.settlements[:1]))
        """,
        {
            "test_a_big_journal_stays_in_order",
            "test_an_entry_that_is_gone_is_passed_over",
            "test_entries_are_counted",
            "test_many_entries_are_settled_at_once",
        },
    ),
    "must have something to settle": (
        """
        def settle(self, request):
            request.settlements[0]
            super().settle(request)
        """,
        {"test_nothing_to_settle_is_no_error"},
    ),
    "brings back what is gone": (
        """
        def settle(self, request):
            for settlement in request.settlements:
                entry = settlement.entry
                if entry.id not in self._entries:
                    self._entries[entry.id] = entry
                    self._ids.setdefault(entry.place, []).append(entry.id)
                super().settle(request.replace(settlements=(settlement,)))
        """,
        {"test_an_entry_that_is_gone_is_passed_over"},
    ),
    "stops at what is gone": (
        """
        def settle(self, request):
            if all(settlement.entry.id in self._entries for settlement in request.settlements):
                super().settle(request)
        """,
        {"test_an_entry_that_is_gone_is_passed_over"},
    ),
    "keeps no copy of what is made": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement.replace(copy=None), now)
        """,
        {
            "test_a_copy_and_what_waits_are_of_one_moment",
            "test_a_write_that_is_made_becomes_the_copy",
            "test_a_write_that_is_made_replaces_a_copy_from_before_the_clock_was_set_back",
        },
    ),
    "keeps a copy of another type": (
        """
        def _settle(self, settlement, now):
            copy = settlement.copy
            copy = copy and copy.replace(value=of_type(copy.value, ValueType.TEXT))
            super()._settle(settlement.replace(copy=copy), now)
        """,
        {"test_a_write_that_is_made_becomes_the_copy"},
    ),
    "keeps the copy of what is deleted": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement.replace(drop_copy=False), now)
        """,
        {"test_a_copy_is_forgotten_with_the_delete_that_is_made"},
    ),
    "drops the copies of all places of a name": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement, now)
            if settlement.drop_copy:
                for place in [place for place in self._copies if place.name == settlement.entry.place.name]:
                    del self._copies[place]
        """,
        {"test_a_copy_is_forgotten_with_the_delete_that_is_made", "test_the_copy_stays_unless_it_is_said"},
    ),
    "keeps the copy of what is dropped": (
        """
        def _settle(self, settlement, now):
            super()._settle(settlement, now)
            if settlement.copy is not None:
                self._keep_copy(settlement.copy, now)
        """,
        {"test_the_copy_stays_unless_it_is_said"},
    ),
    "counts bytes of what waits only": (
        """
        def journal_status(self, request):
            found = super().journal_status(request)
            asked = self.entries(EntriesRequest(backend=request.backend, target=request.target, waiting=True)).entries
            return found.replace(size=sum(size_of(one) for one in asked))
        """,
        {"test_entries_are_counted", "test_entries_are_counted_by_backend_and_target"},
    ),
    "takes the first for the oldest": (
        """
        def journal_status(self, request):
            found = super().journal_status(request)
            asked = self.entries(EntriesRequest(backend=request.backend, target=request.target, waiting=True)).entries
            return found.replace(oldest=asked[0].queued if asked else None)
        """,
        {"test_entries_are_counted"},
    ),
    "counts what is set aside as waiting": (
        """
        def journal_status(self, request):
            found = super().journal_status(request)
            return found.replace(waiting=found.waiting + found.set_aside)
        """,
        {
            "test_each_state_that_does_not_wait_is_set_aside",
            "test_entries_are_counted",
            "test_entries_are_counted_by_backend_and_target",
        },
    ),
    "takes only a conflict for set aside": (
        """
        def journal_status(self, request):
            found = super().journal_status(request)
            asked = self.entries(EntriesRequest(backend=request.backend, target=request.target)).entries
            other = sum(one.state in (EntryState.OVERDUE, EntryState.REFUSED) for one in asked)
            return found.replace(waiting=found.waiting + other, set_aside=found.set_aside - other)
        """,
        {"test_each_state_that_does_not_wait_is_set_aside"},
    ),
    "counts all targets of a backend": (
        """
        def journal_status(self, request):
            return super().journal_status(request.replace(target=None) if request.backend else request)
        """,
        {"test_entries_are_counted_by_backend_and_target"},
    ),
}
LIFE: Mistakes = {
    "grants every claim": (
        """
        def claim(self, request):
            return ClaimResult(granted=True)
        """,
        {
            "test_a_child_has_no_part_in_its_parents_claim",
            "test_a_claim_is_granted_once",
            "test_claims_that_look_alike_are_apart",
            "test_of_many_that_claim_at_once_one_is_granted",
        },
    ),
    "claims for a backend": (
        """
        def claim(self, request):
            return super().claim(request.replace(target=""))

        def release(self, request):
            super().release(request.replace(target=""))
        """,
        {"test_claims_that_look_alike_are_apart"},
    ),
    "releases all claims": (
        """
        def release(self, request):
            self._claims.clear()
        """,
        {"test_claims_that_look_alike_are_apart"},
    ),
    "must hold what it releases": (
        """
        def release(self, request):
            self._claims.remove((request.backend, request.target))
        """,
        {"test_a_child_has_no_part_in_its_parents_claim", "test_giving_up_what_is_not_held_is_no_error"},
    ),
    "looks, and claims a moment later": (
        """
        def claim(self, request):
            granted = (request.backend, request.target) not in self._claims
            time.sleep(0.02)  # the gap that a lock would close
            self._claims.add((request.backend, request.target))
            return ClaimResult(granted=granted)
        """,
        {"test_of_many_that_claim_at_once_one_is_granted"},
    ),
    "looks at the newest, and accepts a moment later": (
        """
        def append(self, request):
            newest = self._newest(request.entry.place)
            if request.entry.follows != (newest and newest.id):
                return AppendResult(outcome=Appended.MOVED)
            time.sleep(0.001)  # the gap that a lock would close
            newest = self._newest(request.entry.place)
            result = super().append(request.replace(entry=request.entry.replace(follows=newest and newest.id)))
            if result.outcome is Appended.YES:
                entry = self._entries[request.entry.id]
                self._entries[entry.id] = entry.replace(follows=request.entry.follows)
            return result
        """,
        {"test_writes_of_one_name_make_a_chain"},
    ),
    "counts positions without a lock": (
        """
        def append(self, request):
            position = self._positions
            time.sleep(0.001)  # the gap that a lock would close
            result = super().append(request)
            if result.outcome is Appended.YES:
                result = result.replace(position=position + 1)
                entry = self._entries[request.entry.id]
                self._entries[entry.id] = entry.replace(position=position + 1)
            return result
        """,
        {"test_writes_of_different_names_do_not_disturb_each_other"},
    ),
    "settles one after the other": (
        """
        def settle(self, request):
            for settlement in request.settlements:
                super().settle(request.replace(settlements=(settlement,)))
                time.sleep(0.001)
        """,
        {"test_settlements_are_seen_all_at_once"},
    ),
    "removes an entry before it keeps the copy": (
        """
        def settle(self, request):
            super().settle(
                request.replace(settlements=tuple(one.replace(copy=None) for one in request.settlements))
            )
            time.sleep(0.001)
            for one in request.settlements:
                if one.done and one.copy is not None:
                    self.keep_copies(KeepCopiesRequest(copies=(one.copy,), now=request.now))
        """,
        {"test_a_copy_and_what_waits_are_of_one_moment", "test_an_entry_that_is_gone_is_passed_over"},
    ),
    "looks at the first thousand": (
        """
        def entries(self, request):
            found = super().entries(request.replace(limit=1000)).entries
            return EntriesResult(entries=tuple(one for one in found if one.position <= 1000)[: request.limit])
        """,
        {"test_a_big_journal_stays_in_order"},
    ),
    "has no journal in a child": (
        """
        def start_in_child(self):
            super().start_in_child()
            self.forget()
        """,
        {"test_a_forked_child_can_use_the_journal"},
    ),
    "cannot be closed with a claim": (
        """
        def close(self):
            super().close()
            if self._claims:
                raise BackendError("a claim is held")
        """,
        {"test_a_journal_can_be_closed_twice"},
    ),
    "cannot be closed twice": (
        """
        def close(self):
            super().close()
            self.times = getattr(self, "times", 0) + 1
            if self.times > 1:
                raise BackendError("it is closed")
        """,
        {"test_a_journal_can_be_closed_twice"},
    ),
}
SHARING: Mistakes = {
    "has claims of its own": (
        """
        claim = MemoryBackend.claim
        release = MemoryBackend.release
        """,
        {"test_a_claim_holds_against_whoever_opens_the_same", "test_a_parents_claim_holds_against_its_child"},
    ),
    "gives up what others hold": (
        """
        def release(self, request):
            super().release(request)
            self.claim_path(request).unlink(missing_ok=True)
        """,
        {"test_a_claim_holds_against_whoever_opens_the_same", "test_a_parents_claim_holds_against_its_child"},
    ),
    "ends all claims when it closes": (
        """
        def close(self):
            super().close()
            for path in self.folder.glob("claim-*"):
                path.unlink()
        """,
        {"test_a_claim_holds_against_whoever_opens_the_same", "test_a_parents_claim_holds_against_its_child"},
    ),
    "unlocks in a child": (
        """
        def release(self, request):
            number = self.held.pop(request, None)
            if number is not None:
                fcntl.flock(number, fcntl.LOCK_UN)
                os.close(number)
        """,
        {"test_a_parents_claim_holds_against_its_child"},
    ),
    "leaves a mark of its claim": (
        """
        def claim(self, request):
            try:
                self.claim_path(request).touch(exist_ok=False)
            except FileExistsError:
                return ClaimResult(granted=False)
            return ClaimResult(granted=True)

        def release(self, request):
            self.claim_path(request).unlink(missing_ok=True)
        """,
        {
            "test_a_child_has_no_part_in_its_parents_claim",
            "test_a_childs_claim_ends_with_the_child",
            "test_a_claim_holds_against_whoever_opens_the_same",
            "test_a_parents_claim_holds_against_its_child",
        },
    ),
    "writes down what it has when it closes": (
        """
        def __init__(self, folder):
            super().__init__(folder)
            with super().stored(change=False) as self.mine:
                pass

        def stored(self, *, change=True):
            import contextlib
            return contextlib.nullcontext(self.mine)

        def close(self):
            with super().stored() as journal:
                journal.__dict__.update(self.mine.__dict__)
            super().close()
        """,
        {"test_whoever_opens_the_same_sees_the_same"},
    ),
    "keeps nothing": (
        """
        def __init__(self, folder):
            super().__init__(folder)
            (folder / "journal").unlink(missing_ok=True)
        """,
        {"test_everything_outlives_closing"},
    ),
    "begins to count anew": (
        """
        def __init__(self, folder):
            super().__init__(folder)
            with self.stored() as journal:
                journal._positions = 0
        """,
        {"test_everything_outlives_closing"},
    ),
}

IN_MEMORY = COPIES | APPENDING | ENTRIES | SETTLING | LIFE
ALL = IN_MEMORY | PLACES | SHARING


class TestMemoryBackend(CopyChecks, AppendChecks, SettlingChecks, JournalLifeChecks):
    """Whatever keeps the contract passes."""

    capabilities = frozenset(Capability)

    @pytest.fixture
    def backend(self) -> MemoryBackend:
        return MemoryBackend()


class TestFileJournal(CopyChecks, AppendChecks, SettlingChecks, JournalLifeChecks):
    """So does one that several objects and processes share."""

    capabilities = frozenset(Capability)
    # It reads and writes the whole file at each call.
    test_a_big_journal_stays_in_order = None

    @pytest.fixture
    def backend(self, tmp_path: Path) -> FileJournal:
        return FileJournal(tmp_path)

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], Backend]:
        return lambda: FileJournal(tmp_path)


def module(mistake: str, base: str = "MemoryBackend", tail: str = TAIL) -> str:
    head = textwrap.dedent(HEAD).replace("BASE", base)
    return head + textwrap.indent(textwrap.dedent(mistake), "    ") + textwrap.dedent(tail)


SLOW_OR_OF_A_MOMENT = ("big", "child", "of_one_moment", "seen_all", "chain")


def without(expected: set[str], *slow: str) -> tuple[str, str]:
    """Return the arguments that leave out checks that are slow or watch for a moment, unless they are to fail."""
    return ("-k", " and ".join(["test", *(f"not {word}" for word in slow if not any(word in one for one in expected))]))


@pytest.mark.parametrize(("mistake", "expected"), IN_MEMORY.values(), ids=IN_MEMORY)
def test_a_mistake_is_found(mistake: str, expected: set[str], failed_checks: Callable[..., set[str]]) -> None:
    assert failed_checks(module(mistake), *without(expected, *SLOW_OR_OF_A_MOMENT)) == expected


@pytest.mark.parametrize(("mistake", "expected"), PLACES.values(), ids=PLACES)
def test_places_that_are_mixed_up_are_found(
    mistake: str, expected: set[str], failed_checks: Callable[..., set[str]]
) -> None:
    assert failed_checks(module(mistake, "Elsewhere"), *without(expected, "big", "child")) == expected


@pytest.mark.parametrize(("mistake", "expected"), SHARING.values(), ids=SHARING)
def test_a_mistake_in_what_is_shared_is_found(
    mistake: str, expected: set[str], failed_checks: Callable[..., set[str]]
) -> None:
    assert failed_checks(module(mistake, "FileJournal", SHARED), *without(expected, "big")) == expected


def test_each_check_can_fail() -> None:
    kinds = (CopyChecks, AppendChecks, SettlingChecks, JournalLifeChecks)
    checks = {name for kind in kinds for name in dir(kind) if name.startswith("test_")}
    assert checks == set().union(*(expected for _, expected in ALL.values()))


def test_the_same_object_is_no_other_one(failed_checks: Callable[..., set[str]]) -> None:
    tail = """
        class TestBroken(JournalLifeChecks):
            @pytest.fixture
            def backend(self):
                return Broken()

            @pytest.fixture
            def reopen(self, backend):
                return lambda: backend
    """
    expected = {
        "test_a_claim_holds_against_whoever_opens_the_same",
        "test_a_parents_claim_holds_against_its_child",
        "test_everything_outlives_closing",
        "test_whoever_opens_the_same_sees_the_same",
    }
    assert failed_checks(module("pass", tail=tail), *without(expected, "big")) == expected


def test_a_backend_that_keeps_no_journal_is_not_checked(pytester: pytest.Pytester) -> None:
    tail = TAIL.replace("Broken()", "StagedBackend()")
    pytester.makepyfile(module("pass", tail=tail).replace("import time", "from staged import StagedBackend"))
    passed, skipped, failed = pytester.inline_run("-q", "-p", "no:cacheprovider").listoutcomes()
    assert (passed, failed) == ([], [])
    assert skipped
