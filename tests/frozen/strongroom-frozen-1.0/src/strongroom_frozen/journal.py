"""Copies and writes that wait, for other backends."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pickle

from strongroom.contracts import (
    Appended,
    AppendRequest,
    AppendResult,
    ClaimRequest,
    ClaimResult,
    Copy,
    DropCopiesRequest,
    EntriesRequest,
    EntriesResult,
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
from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName
from strongroom_frozen.document import Document, Json, moment, packed, unpacked


Row = tuple[str, bool, int, bytes]


class FrozenJournal(Journal):
    """The part of the backend that helps others through an outage."""

    _document: Document
    _path: str

    def __init__(self) -> None:
        self._claims: dict[tuple[str, str], int] = {}

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        """Keep copies, unless there is a newer one."""
        with self._document.changing() as content:
            for copy in request.copies:
                _keep(content, copy, request.now)

    def drop_copies(self, request: DropCopiesRequest) -> None:
        """Forget copies."""
        with self._document.changing() as content:
            for place in request.places:
                content.setdefault("copies", {}).pop(_key(place), None)

    def recall(self, request: RecallRequest) -> RecallResult:
        """Return the copy of a secret, and the newest write of it that waits."""
        content = self._document.read()
        found = content.get("copies", {}).get(_key(request.place))
        copy = None if found is None else _copy(found, request.place)
        return RecallResult(copy=copy, entry=None if request.copy_only else _newest(content, request.place))

    def append(self, request: AppendRequest) -> AppendResult:
        """Accept a write."""
        with self._document.changing() as content:
            entries = content.setdefault("entries", {})
            newest = _newest(content, request.entry.place)
            if (None if newest is None else newest.id) != request.entry.follows:
                return AppendResult(outcome=Appended.MOVED)
            size = sum(row[2] for row in entries.values())
            if len(entries) >= request.max_entries or size + _size(request.entry) > request.max_bytes:
                return AppendResult(outcome=Appended.FULL)
            content["positions"] = content.get("positions", 0) + 1
            position = content["positions"]
            entries[request.entry.id] = _packed_entry(request.entry.replace(position=position))
        return AppendResult(outcome=Appended.YES, position=position)

    def entries(self, request: EntriesRequest) -> EntriesResult:
        """Return entries in the order in which they were accepted."""
        found = [
            entry
            for entry in map(_entry, self._document.read().get("entries", {}).values())
            if request.backend in {None, entry.place.backend}
            and request.target in {None, entry.place.target}
            and request.id in {None, entry.id}
            and (entry.state.waits or not request.waiting)
            and entry.position > request.after
        ]
        return EntriesResult(entries=tuple(found[: request.limit]))

    def settle(self, request: SettleRequest) -> None:
        """Note what has become of entries."""
        with self._document.changing() as content:
            for settlement in request.settlements:
                if settlement.entry.id in content.get("entries", {}):
                    _settle(content, settlement, request.now)

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        """Count entries."""
        asked = self.entries(EntriesRequest(backend=request.backend, target=request.target)).entries
        waiting = [entry for entry in asked if entry.state.waits]
        return JournalStatus(
            waiting=len(waiting),
            set_aside=len(asked) - len(waiting),
            size=sum(map(_size, asked)),
            oldest=min((entry.queued for entry in waiting), default=None),
        )

    def claim(self, request: ClaimRequest) -> ClaimResult:
        """Become the one who makes the writes that wait for a target."""
        key = (request.backend, request.target)
        if key in self._claims:
            return ClaimResult(granted=False)
        digest = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
        handle = os.open(f"{self._path}.{digest}", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return ClaimResult(granted=False)
        # Of two threads that ask at once the other one has been refused by the file.
        self._claims[key] = handle
        return ClaimResult(granted=True)

    def release(self, request: ClaimRequest) -> None:
        """Give up a claim."""
        handle = self._claims.pop((request.backend, request.target), None)
        if handle is not None:
            os.close(handle)

    def leave_claims(self) -> None:
        """Leave, in a forked child or at the end, what is claimed."""
        for key in list(self._claims):
            os.close(self._claims.pop(key))


def _key(place: Place) -> str:
    return repr((place.backend, place.target, str(place.name)))


def _keep(content: Json, copy: Copy, now: float) -> None:
    copies = content.setdefault("copies", {})
    old = copies.get(_key(copy.place))
    if old is None or not copy.taken < old["taken"] <= now:
        copies[_key(copy.place)] = {
            "value": packed(copy.value),
            "version": copy.version,
            "created": None if copy.created is None else copy.created.isoformat(),
            "taken": copy.taken,
        }


def _copy(found: Json, place: Place) -> Copy:
    value = unpacked(found["value"])
    if value is None:
        raise SecretNotFoundError(f"there is no copy of {place.name}", name=place.name)
    return Copy(
        place=place, value=value, version=found["version"], created=moment(found["created"]), taken=found["taken"]
    )


def _packed_entry(entry: Entry) -> Row:
    """Return an entry as it stands in the document: its place, whether it waits, its size and all of it."""
    created = entry.found_created
    whole = entry.as_dict() | {
        "place": (entry.place.backend, entry.place.target, str(entry.place.name)),
        "value": packed(entry.value),
        "state": entry.state.value,
        "found_created": None if created is None else created.isoformat(),
    }
    return _key(entry.place), entry.state.waits, _size(entry), pickle.dumps(whole)


def _entry(row: Row) -> Entry:
    found = pickle.loads(row[3])
    backend, target, name = found["place"]
    return Entry(
        id=found["id"],
        place=Place(backend=backend, target=target, name=SecretName(name)),
        change=found["change"],
        value=unpacked(found["value"]),
        expected=found["expected"],
        follows=found["follows"],
        queued=found["queued"],
        principal=found["principal"],
        principal_source=found["principal_source"],
        on_behalf_of=found["on_behalf_of"],
        state=EntryState(found["state"]),
        reason=found["reason"],
        found=found["found"],
        found_created=moment(found["found_created"]),
        position=found["position"],
    )


def _newest(content: Json, place: Place) -> Entry | None:
    rows = reversed(content.get("entries", {}).values())
    return next((_entry(row) for row in rows if row[1] and row[0] == _key(place)), None)


def _settle(content: Json, settlement: Settlement, now: float) -> None:
    entries, entry = content["entries"], settlement.entry
    if not (settlement.done or settlement.dropped):
        entries[entry.id] = _packed_entry(entry)
        return
    del entries[entry.id]
    if not settlement.done:
        return
    if settlement.copy is not None:
        _keep(content, settlement.copy, now)
    elif settlement.drop_copy:
        content.setdefault("copies", {}).pop(_key(entry.place), None)
    for number, row in entries.items():
        if row[0] == _key(entry.place) and _entry(row).follows == entry.id:
            entries[number] = _packed_entry(_entry(row).replace(follows=None, expected=settlement.version))


def _size(entry: Entry) -> int:
    return 0 if entry.value is None else len(entry.value)
