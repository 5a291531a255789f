"""What the process of ``worker.py`` does with copies and with writes that wait."""

from __future__ import annotations

import os
import sys
import time
import uuid

from strongroom.contracts.journal import (
    Appended,
    AppendRequest,
    ClaimRequest,
    Copy,
    EntriesRequest,
    Entry,
    KeepCopiesRequest,
    Place,
    RecallRequest,
    Settlement,
    SettleRequest,
)
from strongroom.errors import StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom_local.backend import LocalBackend

BACKEND, TARGET = "vault", "https://vault.example secret/"


def _place(name: str) -> Place:
    return Place(backend=BACKEND, target=TARGET, name=SecretName(name))


def _append(backend: LocalBackend, name: str, content: str, follows: str | None = None) -> Appended:
    entry = Entry(
        id=str(uuid.uuid4()),
        place=_place(name),
        change="set",
        value=SecretValue(content),
        expected="1",
        follows=follows,
        queued=time.time(),
        principal="worker",
    )
    return backend.append(AppendRequest(entry=entry, max_entries=1 << 20, max_bytes=1 << 40)).outcome


def queue_many(backend: LocalBackend, prefix: str, count: str) -> None:
    """Have writes of names of one's own wait, and print each after it is durable."""
    for number in range(int(count)):
        assert _append(backend, f"{prefix}/{number}", f"{number:06d}" * 500) is Appended.YES
        print(number, flush=True)


def queue_in_turn(backend: LocalBackend, prefix: str, count: str, name: str) -> None:
    """Have writes of one name wait that others write, too: each over the newest. Print how often that had moved."""
    moved = 0
    for number in range(int(count)):
        while True:
            newest = backend.recall(RecallRequest(place=_place(name))).entry
            if _append(backend, name, f"{prefix} {number}", None if newest is None else newest.id) is Appended.YES:
                break
            moved += 1
    print(moved, flush=True)


def settle_in_rounds(backend: LocalBackend, size: str) -> None:
    """Settle entries in their order, so many in one step, each with its copy; print the last of each step."""
    request = EntriesRequest(waiting=True, limit=int(size))
    while found := backend.entries(request).entries:
        backend.settle(SettleRequest(settlements=tuple(_made(entry) for entry in found)))
        print(found[-1].position, flush=True)


def _made(entry: Entry) -> Settlement:
    assert entry.value is not None
    copy = Copy(place=entry.place, value=entry.value, version="2", created=None, taken=time.time())
    return Settlement(entry=entry, done=True, version="2", copy=copy)


def hold_claim(backend: LocalBackend, target: str) -> None:
    """Claim a target, print whether that went well, and hold it until somebody says something or kills us."""
    print(backend.claim(ClaimRequest(backend=BACKEND, target=target)).granted, flush=True)
    sys.stdin.readline()


def start_another(backend: LocalBackend, target: str) -> None:
    """Claim a target and become another program, which waits until somebody says something."""
    print(backend.claim(ClaimRequest(backend=BACKEND, target=target)).granted, flush=True)
    os.execv(sys.executable, [sys.executable, "-c", "import sys; print('other', flush=True); sys.stdin.readline()"])


def journal_limited(backend: LocalBackend, limit: str, act: str, size: str) -> None:
    """Keep a copy, have a write wait or settle one, while no file may grow over a limit; say what happened."""
    import resource

    sys.dont_write_bytecode = True  # or a module compiled from here on would be kept as far as the limit goes
    found = backend.entries(EntriesRequest()).entries
    value = SecretValue("n" * int(size))
    copy = Copy(place=_place("app/secret"), value=value, version="2", created=None, taken=time.time())
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        if act == "keep":
            backend.keep_copies(KeepCopiesRequest(copies=(copy,)))
        elif act == "append":
            _append(backend, "app/other", value.reveal_text())
        else:
            settled = Settlement(entry=found[0], done=True, version="2", copy=copy)
            others = tuple(Settlement(entry=entry.replace(reason="r" * 200)) for entry in found[1:])
            backend.settle(SettleRequest(settlements=(*others, settled)))
        print("written")
    except StrongroomError as error:
        print(error.code)


COMMANDS = (queue_many, queue_in_turn, settle_in_rounds, hold_claim, start_another, journal_limited)
