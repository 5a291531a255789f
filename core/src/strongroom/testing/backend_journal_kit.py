"""What the checks of a journal share: the fixture, and short calls."""

from __future__ import annotations

import math

from typing import Any, TypeGuard

import pytest

from strongroom.contracts import (
    Appended,
    AppendRequest,
    AppendResult,
    Backend,
    ClaimRequest,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    Entry,
    EntryState,
    Journal,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    Place,
    RecallRequest,
    RecallResult,
    Settlement,
    SettleRequest,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing.backend_kit import BackendKit, new_token

TARGET = "https://vault.example/secret"
PLENTY = 1 << 40
"""A limit that no check reaches."""


class JournalKit(BackendKit):
    """The fixture of the checks of a journal; they are left out for a backend that is no ``Journal``."""

    @pytest.fixture
    def journal(self, backend: Backend) -> Journal:
        """Return the backend under test as a keeper of copies and of writes that wait."""
        if not keeps_journal(backend):
            # The interface is optional.
            pytest.skip("the backend does not implement the optional interface Journal")
        return backend


def keeps_journal(backend: Backend) -> TypeGuard[Journal]:
    """Tell whether a backend keeps copies and a journal, too."""
    return isinstance(backend, Journal)


def place(folder: str, tail: str = "a", target: str = TARGET) -> Place:
    """Return a place of a backend that is configured under the folder's name: no other check has the same."""
    return Place(backend=folder, target=target, name=SecretName(f"{folder}/{tail}"))


def copy_of(where: Place, content: str | bytes = "content", **facts: Any) -> Copy:
    """Return a copy of a secret."""
    plain: dict[str, Any] = {"version": "1", "created": None, "taken": 1_750_000_000.0}
    return Copy(place=where, value=SecretValue(content), **(plain | facts))


def keep(journal: Journal, *copies: Copy, now: float = math.inf) -> None:
    """Keep copies, in one request."""
    journal.keep_copies(KeepCopiesRequest(copies=copies, now=now))


def drop(journal: Journal, *places: Place) -> None:
    """Forget copies, in one request."""
    journal.drop_copies(DropCopiesRequest(places=places))


def recall(journal: Journal, where: Place) -> RecallResult:
    """Return what is known of a secret."""
    return journal.recall(RecallRequest(place=where))


def kept(journal: Journal, where: Place) -> Copy | None:
    """Return the copy of a secret."""
    return journal.recall(RecallRequest(place=where, copy_only=True)).copy


def entry_of(where: Place, content: str | bytes | None = "content", **facts: Any) -> Entry:
    """Return a write that is to wait; a delete, if the content is ``None``."""
    value = None if content is None else SecretValue(content)
    plain: dict[str, Any] = {
        "id": new_token(),
        "change": "delete" if content is None else "set",
        "expected": None,
        "queued": 1_750_000_000.0,
        "principal": "shop",
    }
    return Entry(place=where, value=value, **(plain | facts))


def append(journal: Journal, entry: Entry, *, max_entries: int = PLENTY, max_bytes: int = PLENTY) -> AppendResult:
    """Ask for a write to be accepted, within limits that nothing reaches unless they are given."""
    return journal.append(AppendRequest(entry=entry, max_entries=max_entries, max_bytes=max_bytes))


def queue(journal: Journal, entry: Entry) -> Entry:
    """Have a write accepted, after the newest one of its name; return it as it is kept from then on."""
    newest = recall(journal, entry.place).entry
    asked = entry.replace(follows=None if newest is None else newest.id)
    added = append(journal, asked)
    assert added.outcome is Appended.YES, "a write that there is room for was not accepted"
    return asked.replace(position=added.position)


def queued(journal: Journal, folder: str, *tails: str, **facts: Any) -> list[Entry]:
    """Have a write accepted for each of these names, in turn; return them as they are kept."""
    return [queue(journal, entry_of(place(folder, tail), f"write {n}", **facts)) for n, tail in enumerate(tails)]


def entries(journal: Journal, folder: str | None, **asked: Any) -> list[Entry]:
    """Return the entries of a check, or of everybody, in the journal's order."""
    return list(journal.entries(EntriesRequest(backend=folder, **asked)).entries)


def settle(journal: Journal, *settlements: Settlement) -> None:
    """Note what has become of entries, in one request."""
    journal.settle(SettleRequest(settlements=settlements))


def done(entry: Entry, version: str | None = "2", **facts: Any) -> Settlement:
    """Return that a write has been made."""
    return Settlement(entry=entry, done=True, version=version, **facts)


def set_aside(journal: Journal, entry: Entry, state: EntryState = EntryState.CONFLICT) -> Entry:
    """Set an entry aside; return it as it is from then on."""
    aside = entry.replace(state=state, reason="the backend has 7", found="7")
    settle(journal, Settlement(entry=aside))
    return aside


def status(journal: Journal, folder: str | None, target: str | None = None) -> JournalStatus:
    """Count the entries of a check, or of everybody."""
    return journal.journal_status(JournalStatusRequest(backend=folder, target=target))


def claim(journal: Journal, folder: str, target: str = TARGET) -> bool:
    """Ask to become the one who makes the writes that wait; tell whether that was granted."""
    return journal.claim(ClaimRequest(backend=folder, target=target)).granted


def release(journal: Journal, folder: str, target: str = TARGET) -> None:
    """Give up a claim."""
    journal.release(ClaimRequest(backend=folder, target=target))
