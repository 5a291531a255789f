"""What is known of a rotation that is under way, and who holds it."""

from __future__ import annotations

import enum
import os

from typing import Any, Final

from strongroom._record import Record
from strongroom.model import SecretValue


class Step(enum.Enum):
    """A step of a rotation; of one that is pending, the one to be done next."""

    GENERATE = "generate"
    RECORD = "record"
    APPLY = "apply"
    VERIFY = "verify"
    PROMOTE = "promote"
    ANNOUNCE = "announce"
    FINISH = "finish"
    UNDO = "undo"
    """Not after ``finish``, but instead of what is left."""


class Owner(Record):
    """The process that leads a rotation."""

    host: str
    boot: str
    """What tells this start of the machine, and the name space of its processes, from any other."""
    pid: int
    started: str
    """When the process began, as the system counts that: its number may be given to another one."""

    @property
    def is_here(self) -> bool:
        """Whether it is a process of this machine, so that :attr:`is_gone` can be told."""
        return bool(self.boot) and self.boot == _boot()

    @property
    def is_gone(self) -> bool:
        """Whether it is certain that the process has ended."""
        return self.is_here and _started(self.pid) != self.started

    @property
    def is_this(self) -> bool:
        """Whether it is the process that asks."""
        return self == this_process()


class Pending(Record):
    """A rotation that is under way."""

    id: str
    """A UUID; of the rotation, whoever leads it."""
    step: Step
    """What is to be done next."""
    attempt: int
    """Which candidate it is, from 1."""
    candidate: SecretValue
    former: SecretValue
    """The value that is to be replaced, or has been."""
    base: str
    """The version that the candidate is promoted over."""
    version: str | None = None
    """The version that the candidate has become."""
    began: float
    """When it was begun, or taken over last, in seconds since 1970 UTC."""
    promoted: float | None = None
    """When it was promoted, in seconds since 1970 UTC."""
    owner: Owner | None = None
    """Who leads it; ``None`` where the backend does not keep that."""
    mark: str = ""
    """The ledger's own: what it holds the rotation by."""

    def __repr__(self) -> str:
        return f"Pending(id={self.id!r}, step={self.step}, attempt={self.attempt})"

    def is_over(self, now: float, limit: float) -> bool:
        """Tell whether nobody may lead it any more but who takes it over.

        Args:
            now: Seconds since 1970 UTC. A clock that was set back does not keep it for ever, since what is further
                in the future than the limit cannot have been written by a clock that agrees with this one.
            limit: How many seconds it may take.
        """
        return abs(now - self.began) > limit


class Standing(Record):
    """What is known of the rotations of one name."""

    pending: Pending | None
    rotated: float | None = None
    """When the last one was promoted, in seconds since 1970 UTC, as far as that is kept."""
    expires: float | None = None
    """When the current value ends by itself, in seconds since 1970 UTC, as far as that is kept."""


def this_process() -> Owner:
    """Return this process as an owner."""
    pid = os.getpid()
    return Owner(host=_host(), boot=_boot(), pid=pid, started=_started(pid))


def owner_of(content: Any) -> Owner | None:
    """Return an owner as it was written down; ``None`` if that is none."""
    if not isinstance(content, dict) or content.keys() != set(Owner._fields):
        return None
    if not all(isinstance(part, int if field == "pid" else str) for field, part in content.items()):
        return None
    return Owner(**content)


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")


def _boot() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot = file.read().strip()
        # A container has the machine's boot id, but sees other processes.
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


_STARTED: Final = 19
"""The place of the start time in /proc/PID/stat behind the command, see proc(5)."""


def _started(pid: int) -> str:
    """Return when a process began; empty if there is none, or if the system does not say."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[_STARTED]
    except (OSError, IndexError):
        return ""
