"""Backends in memory that fail as they are told, and a record of all that was made in them.

They stand for servers: what has been written to one stays when the process that wrote it has died. A process
dies, in these tests, by a :class:`Crash` at a step that was chosen before. A step is a moment before or after
any call to a backend or to the fallback store.
"""

from __future__ import annotations

import contextlib
import threading

from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Backend, Capability, DeleteRequest, ReadRequest, WriteRequest
from strongroom.contracts.journal import Journal
from strongroom.errors import BackendError, BackendUnavailableError, StrongroomError
from strongroom.testing import FakeClock

TINY = 1e-3
"""Seconds: how exact an age has to be."""
WRITING = frozenset({"append", "keep_copies", "drop_copies", "settle"})
"""What a full disk makes impossible for a fallback store."""


class Crash(BaseException):
    """The process has died. Nothing catches it but the test."""


class Change(NamedTuple):
    """What was made in a backend."""

    target: str
    name: str
    value: str | None
    """``None`` for a delete."""
    moment: float
    """When, on the monotonic clock."""
    foreign: bool
    """Whether somebody else did it, whom the manager knows nothing of."""


class World:
    """What there is besides the process: clocks, the backends' contents, and when the process is to die.

    Attributes:
        clock: Both clocks.
        changes: All that was ever made, in order.
        countdown: After how many steps the process dies; ``None`` for never.
        disk_full: Whether the fallback store can write nothing.
        writer_is_foreign: Whether what is made now is somebody else's.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.changes: list[Change] = []
        self.countdown: int | None = None
        self.disk_full = False
        self.writer_is_foreign = False
        self.generation = 0
        self._dead = False
        self._burying = False
        self._lock = threading.RLock()
        self._shifts = [(float("-inf"), self.clock.time() - self.clock())]

    def wall_clock(self) -> int:
        """Return nanoseconds since 1970 UTC."""
        return round(self.clock.time() * 1e9)

    def shift_wall(self, seconds: float) -> None:
        """Set the wall clock, and that one alone, forward or back."""
        self.clock.set_wall(self.clock.now() + timedelta(seconds=seconds))
        self._shifts.append((self.clock(), self.clock.time() - self.clock()))

    def moments(self, age: float) -> list[float]:
        """Return when something happened that is so many seconds old now, by any of the wall clock's settings."""
        begins = [begin for begin, _ in self._shifts]
        ends = [*begins[1:], self.clock()]
        shifts = [shift for _, shift in self._shifts]
        return [
            moment
            for seen in shifts
            for begin, then, end in zip(begins, shifts, ends, strict=True)
            if begin - TINY <= (moment := self.clock() + seen - age - then) <= end + TINY
        ]

    @property
    def went_back(self) -> bool:
        """Whether the wall clock was ever set back: then an age by it can be too small."""
        shifts = [shift for _, shift in self._shifts]
        return any(later < earlier for earlier, later in pairwise(shifts))

    def begin_process(self) -> int:
        """Let a new process be there, and no other; return its number."""
        with self._lock:
            self.generation += 1
            self._dead = False
            self.countdown = None
            return self.generation

    @contextlib.contextmanager
    def burying(self) -> Iterator[None]:
        """Let what is left of a dead process be closed; what it still tries fails, and it does not die of that."""
        self._burying = True
        try:
            yield
        finally:
            self._burying = False

    def call(self, generation: int | None, act: Callable[[], Any]) -> Any:
        """Do something between two steps; ``None`` is somebody else, who has no steps."""
        with self._lock:
            if generation is None:
                return act()
            self._step(generation)
            result = act()
            self._step(generation)
            return result

    def _step(self, generation: int) -> None:
        if self._dead or generation != self.generation:
            raise BackendUnavailableError("the process is dead") if self._burying else Crash
        # What is written behind comes at a time of its own: if it counted, no run were like another.
        if self.countdown is None or threading.current_thread().name.startswith("strongroom-background"):
            return
        self.countdown -= 1
        if self.countdown <= 0:
            self._dead = True
            raise Crash

    def note(self, target: str, name: str, value: str | None) -> None:
        """Note what has been made."""
        self.changes.append(Change(target, name, value, self.clock(), self.writer_is_foreign))

    def of(self, target: str, name: str) -> list[Change]:
        """Return what was made of one secret."""
        return [one for one in self.changes if (one.target, one.name) == (target, name)]

    def current(self, target: str, name: str, begin: float, end: float) -> set[str | None]:
        """Return what the values of a secret were at any moment of a time; ``None`` for absent."""
        made = [(float("-inf"), None), *((one.moment, one.value) for one in self.of(target, name))]
        ends = [moment for moment, _ in made[1:]] + [float("inf")]
        return {value for (since, value), until in zip(made, ends, strict=True) if since <= end and until >= begin}


class Primary(MemoryBackend):
    """A server that many processes use. What it holds outlives them.

    Attributes:
        mode: ``up``; ``refused`` before anything was sent; ``silent``, nothing is done and nobody says so; ``lost``,
            it is done and nobody says so.
    """

    def __init__(self, world: World, address: str, *, plain: bool = False) -> None:
        super().__init__()
        self.address = address
        self.mode = "up"
        self._world = world
        # As the simplest service has it: no check-and-set, and no versions.
        lacking = {Capability.CHECK_AND_SET, Capability.VERSIONS} if plain else set()
        self.capabilities = frozenset(Capability) - lacking

    def of_process(self, generation: int) -> Remote:
        """Return it as one process sees it."""
        return Remote(self, self._world, generation)

    def write(self, request: WriteRequest) -> Any:
        result = super().write(request)
        self._world.note(self.address, str(request.name), text(request.value))
        return result

    def delete(self, request: DeleteRequest) -> Any:
        result = super().delete(request)
        if result.existed:
            self._world.note(self.address, str(request.name), None)
        return result

    def present(self, name: str) -> str | None:
        """Return the value that a secret has now; ``None`` if there is none."""
        found = self._world.of(self.address, name)
        return found[-1].value if found else None


class Remote(Backend):
    """A server across a network that fails as the server's ``mode`` says."""

    keeps_deadlines = True

    def __init__(self, primary: Primary, world: World, generation: int) -> None:
        self.address = primary.address
        self.capabilities = primary.capabilities
        self._primary = primary
        self._world = world
        self._generation = generation

    def read(self, request: ReadRequest) -> Any:
        return self._ask(lambda: self._primary.read(request))

    def read_many(self, request: Any) -> Any:
        return self._ask(lambda: self._primary.read_many(request))

    def write(self, request: WriteRequest) -> Any:
        return self._ask(lambda: self._primary.write(request))

    def delete(self, request: DeleteRequest) -> Any:
        return self._ask(lambda: self._primary.delete(request))

    def list(self, request: Any) -> Any:
        return self._ask(lambda: self._primary.list(request))

    def versions(self, request: Any) -> Any:
        return self._ask(lambda: self._primary.versions(request))

    def health(self) -> Any:
        return self._ask(self._primary.health)

    def _ask(self, act: Callable[[], Any]) -> Any:
        return self._world.call(self._generation, lambda: self._answer(act))

    def _answer(self, act: Callable[[], Any]) -> Any:
        mode = self._primary.mode
        if mode == "refused":
            error = BackendUnavailableError("connection refused", code="connection_refused")
            error.unsent = True
            raise error
        if mode == "lost":
            try:
                act()
            except StrongroomError:
                pass  # nobody gets to know that either
        if mode != "up":
            raise BackendUnavailableError("no answer in time", code="timeout")
        return act()


class FallbackDouble(Backend, Journal):
    """A fallback store between the steps at which its process may die.

    Args:
        inner: What does the work.
    """

    keeps_deadlines = True

    def __init__(self, inner: Any, world: World, generation: int) -> None:
        self.address = inner.address
        self._inner = inner
        self._world = world
        self._generation = generation

    def _pass(self, operation: str, request: Any) -> Any:
        def act() -> Any:
            if self._world.disk_full and operation in WRITING:
                raise BackendError("there is no space left", code="storage_full")
            return getattr(self._inner, operation)(request)

        return self._world.call(self._generation, act)

    def read(self, request: Any) -> Any:
        return self._pass("read", request)

    def keep_copies(self, request: Any) -> Any:
        return self._pass("keep_copies", request)

    def drop_copies(self, request: Any) -> Any:
        return self._pass("drop_copies", request)

    def recall(self, request: Any) -> Any:
        return self._pass("recall", request)

    def append(self, request: Any) -> Any:
        return self._pass("append", request)

    def entries(self, request: Any) -> Any:
        return self._pass("entries", request)

    def settle(self, request: Any) -> Any:
        return self._pass("settle", request)

    def journal_status(self, request: Any) -> Any:
        return self._pass("journal_status", request)

    def claim(self, request: Any) -> Any:
        return self._pass("claim", request)

    def release(self, request: Any) -> Any:
        return self._pass("release", request)


def text(value: Any) -> str:
    """Return a value as text."""
    return str(value.reveal().decode("latin-1"))


class Accepted(NamedTuple):
    """A write that the caller was told is queued."""

    target: str
    name: str
    value: str | None
    since: int
    """How many changes had been made when it was accepted."""
