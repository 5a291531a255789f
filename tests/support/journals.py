"""A backend whose journal is kept in a file, so that several objects and processes share it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import pickle

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.memory_journal import MemoryJournal
from strongroom.contracts import (
    AppendRequest,
    AppendResult,
    ClaimRequest,
    ClaimResult,
    DropCopiesRequest,
    EntriesRequest,
    EntriesResult,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    RecallRequest,
    RecallResult,
    SettleRequest,
)
from strongroom.model import SecretValue


class FileJournal(MemoryBackend):
    """Reads the whole file for each call, and writes it anew for each change, under a lock.

    Args:
        folder: Where the file is kept, and one for each claim.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.held: dict[ClaimRequest, int] = {}

    @contextlib.contextmanager
    def stored(self, *, change: bool = True) -> Iterator[MemoryJournal]:
        """Lend what the file holds; write it back, if it is to be changed."""
        with (self.folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            journal = MemoryJournal()
            path = self.folder / "journal"
            if path.exists():
                journal.__dict__.update(pickle.loads(path.read_bytes()))  # noqa: S301  # the test's own file
            yield journal
            if change:
                path.write_bytes(_pickled({k: v for k, v in journal.__dict__.items() if k != "_guard"}))

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        with self.stored() as journal:
            journal.keep_copies(request)

    def drop_copies(self, request: DropCopiesRequest) -> None:
        with self.stored() as journal:
            journal.drop_copies(request)

    def recall(self, request: RecallRequest) -> RecallResult:
        with self.stored(change=False) as journal:
            return journal.recall(request)

    def append(self, request: AppendRequest) -> AppendResult:
        with self.stored() as journal:
            return journal.append(request)

    def entries(self, request: EntriesRequest) -> EntriesResult:
        with self.stored(change=False) as journal:
            return journal.entries(request)

    def settle(self, request: SettleRequest) -> None:
        with self.stored() as journal:
            journal.settle(request)

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        with self.stored(change=False) as journal:
            return journal.journal_status(request)

    def claim(self, request: ClaimRequest) -> ClaimResult:
        with self._lock:
            if request in self.held:
                return ClaimResult(granted=False)
            number = os.open(self.claim_path(request), os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(number)
                return ClaimResult(granted=False)
            self.held[request] = number
            return ClaimResult(granted=True)

    def claim_path(self, request: ClaimRequest) -> Path:
        name = f"{len(request.backend)}:{request.backend}{request.target}"
        return self.folder / f"claim-{hashlib.sha256(name.encode()).hexdigest()}"

    def release(self, request: ClaimRequest) -> None:
        # Closed rather than unlocked: a forked child that does so ends nothing of its parent's.
        number = self.held.pop(request, None)
        if number is not None:
            os.close(number)

    def start_in_child(self) -> None:
        super().start_in_child()
        self.let_go()

    def let_go(self) -> None:
        """Hold no claim any more."""
        for request in list(self.held):
            self.release(request)

    def close(self) -> None:
        super().close()
        self.let_go()


def _pickled(content: dict[str, Any]) -> bytes:
    """Return what can be read back; a value, which nobody is to pickle by accident, among it."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer)
    pickler.dispatch_table = {SecretValue: lambda value: (SecretValue.of_bytes, (value.reveal(), value.type))}
    pickler.dump(content)
    return buffer.getvalue()
