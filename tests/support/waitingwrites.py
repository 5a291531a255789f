"""What tests of replaying need: servers of four kinds that fail at any step, a journal, and processes that die."""

from __future__ import annotations

import hashlib

from collections.abc import Callable
from typing import Any, NamedTuple

from strongroom.audit.stage import AuditStage, GuardedSink
from strongroom.background import Background
from strongroom.builtin.memory import MemoryBackend
from strongroom.config.resilience import Resilience, ResilienceKeys
from strongroom.contracts import (
    Backend,
    Capability,
    DeleteRequest,
    DeleteResult,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.journal import (
    AppendRequest,
    ClaimRequest,
    EntriesRequest,
    Entry,
    EntryState,
    Place,
    SettleRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    VersionConflictError,
)
from strongroom.events.updates import SecretUpdated
from strongroom.model import ABSENT, SecretName, SecretValue, SecretVersion
from strongroom.outages.draining import CaughtUp, Drain
from strongroom.outages.fallback import FallbackStore
from strongroom.outages.queueing import new_token
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import Telemetry
from strongroom.testing import FakeClock, MemorySink

CAS_AND_VERSIONS = frozenset({Capability.WRITE, Capability.CHECK_AND_SET, Capability.VERSIONS})
CAS_ONLY = CAS_AND_VERSIONS - {Capability.VERSIONS}
VERSIONS_ONLY = CAS_AND_VERSIONS - {Capability.CHECK_AND_SET}
NEITHER = frozenset({Capability.WRITE})
KINDS = {"both": CAS_AND_VERSIONS, "cas": CAS_ONLY, "versions": VERSIONS_ONLY, "neither": NEITHER}
FAILURES = ("denied", "foreign", "foreign, made", "logged out", "unsent", "timeout", "timeout, made")
"""How a call may fail: a change that is `made` was made all the same."""


class Crash(BaseException):
    """The process has died. Nothing catches it but the test."""


class Done(NamedTuple):
    """A change that was made in a server."""

    name: str
    value: str | None
    """``None`` for a delete."""
    over: str | None
    """The version that was there."""
    version: str | None
    foreign: bool
    token: str | None = None


class Server(Backend):
    """Keeps secrets, knows all that was ever done to them, and fails as it is told.

    Args:
        capabilities: Without ``VERSIONS`` only the current version is kept; with neither that nor
            ``CHECK_AND_SET`` a version says no more than which value it is, and what is deleted is forgotten.

    Attributes:
        step: Called before and after each call that reaches it.
        done: All that was done, in order.
    """

    keeps_deadlines = True

    def __init__(self, capabilities: frozenset[Capability]) -> None:
        self.address = "server:one"
        self.kind = capabilities
        self.step: Callable[[], object] = lambda: None
        self.done: list[Done] = []
        self.calls: list[str] = []
        self.fails: dict[tuple[str, str], str] = {}
        """How calls fail, by operation and name, or ``*`` for any: the next one, or each if that is ``lasting``."""
        self.lasting = False
        self.begun: Callable[[str], object] = lambda _: None
        """Called with the name of each operation that is sent."""
        self.key = b"key of one process"
        self._kept: dict[str, list[tuple[str, str | None]]] = {}

    def current(self, name: str) -> str | None:
        """Return the version that is there."""
        kept = self._kept.get(name)
        return kept[-1][0] if kept and kept[-1][1] is not None else None

    def value(self, name: str) -> str | None:
        """Return the value that is there."""
        kept = self._kept.get(name)
        return kept[-1][1] if kept else None

    def put(self, name: str, value: str | None, *, foreign: bool = True, token: str | None = None) -> str | None:
        """Change a secret, as somebody else does unless told otherwise; return its new version."""
        over, kept = self.current(name), self._kept.setdefault(name, [])
        if value is None and over is None:
            return None
        version = self._version(name, value)
        self.done.append(Done(name, value, over, version if value is not None else None, foreign, token))
        kept.append((version, value))
        return self.current(name)

    def call_values_otherwise(self, name: str) -> None:
        """Go on as in another process, which has versions of its own for the same values."""
        self.key = b"key of another process"
        self._kept[name] = [(self._version(name, value), value) for _, value in self._kept[name]]

    def _version(self, name: str, value: str | None) -> str:
        if self.kind == NEITHER and value is not None:
            return hashlib.sha256(self.key + value.encode()).hexdigest()[:12]
        return f"v{sum(1 for one in self.done if one.name == name) + 1}"

    def read(self, request: ReadRequest) -> ReadResult:
        return self._called("read", request.name, lambda: self._read(request))

    def _read(self, request: ReadRequest) -> ReadResult:
        kept = self._kept.get(request.name, [])
        wanted = [one for one in kept if request.version in {None, one[0]}]
        if not wanted:
            raise SecretNotFoundError(f"there is no {request.name}")
        version, value = wanted[-1]
        gone = value is None or (request.version is not None and self._deleted_since(request.name, version))
        if gone and self.kind == NEITHER:
            raise SecretNotFoundError(f"there is no {request.name}")
        if gone or value is None:
            raise SecretDeletedError(f"{request.name} is deleted")
        return ReadResult(value=SecretValue.wrap(value), version=version)

    def _deleted_since(self, name: str, version: str) -> bool:
        kept = self._kept[name]
        at = next(at for at, one in enumerate(kept) if one[0] == version)
        return any(value is None for _, value in kept[at:])

    def write(self, request: WriteRequest) -> WriteResult:
        return self._called("write", request.name, lambda: self._write(request))

    def _write(self, request: WriteRequest) -> WriteResult:
        current = self.current(request.name)
        wanted = None if request.expect_version is ABSENT else request.expect_version
        if request.expect_version is not None and wanted != current:
            raise VersionConflictError(
                f"{request.name} is at {current}", expected=wanted or "absent", found=current or "absent"
            )
        version = self.put(request.name, request.value.reveal_text(), foreign=False, token=request.token)
        assert version is not None
        return WriteResult(version=version)

    def delete(self, request: DeleteRequest) -> DeleteResult:
        def delete() -> DeleteResult:
            existed = self.current(request.name) is not None
            self.put(request.name, None, foreign=False)
            return DeleteResult(existed=existed)

        return self._called("delete", request.name, delete)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        def versions() -> VersionsResult:
            told = [
                SecretVersion(version=version, state="deleted")
                if value is None or self._deleted_since(request.name, version)
                else SecretVersion(version=version, state="superseded")
                for version, value in self._kept.get(request.name, [])
                if value is not None
            ]
            return VersionsResult(versions=tuple(told))

        return self._called("versions", request.name, versions)

    def _called(self, operation: str, name: str, act: Callable[[], Any]) -> Any:
        self.calls.append(operation)
        self.begun(operation)
        self.step()
        how = self.fails.get((operation, name)) or self.fails.get((operation, "*"))
        if how is not None and not self.lasting:
            self.fails.clear()
        if how is None or how.endswith("made"):
            answer = act()
        if how is not None:
            raise failure(how)
        self.step()
        return answer


def failure(how: str) -> Exception:
    """Return what a call raises that fails so."""
    if how == "denied":
        return AccessDeniedError("the server denies it")
    if how == "logged out":
        return AuthenticationError("the token has run out")
    if how.startswith("foreign"):
        return OSError("something of the client's")
    error = BackendUnavailableError("no answer", code="timeout")
    error.unsent = how == "unsent"
    return error


class Store(MemoryBackend):
    """A fallback store that counts its calls, where a process may die at each of its changes."""

    def __init__(self, step: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.step = step
        self.calls: list[str] = []

    def entries(self, request: EntriesRequest) -> Any:
        self.calls.append("entries")
        return super().entries(request)

    def settle(self, request: SettleRequest) -> None:
        self.calls.append("settle")
        self.step()
        super().settle(request)
        self.step()


class Replayer:
    """A server, a journal, and processes that replay one after the other."""

    def __init__(
        self,
        capabilities: frozenset[Capability],
        keys: ResilienceKeys | None = None,
        *,
        server: Server | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.sink = MemorySink()
        self.server = server or Server(capabilities)
        self.server.step = self.step
        self.journal = Store(self.step)
        self.keys = keys or ResilienceKeys()
        self.told: list[SecretUpdated] = []
        self.countdown: int | None = None
        self.at_step: Callable[[], object] | None = None
        self.die_when: Callable[[], bool] | None = None
        self._dead = False
        self.restart()

    def step(self) -> None:
        """Die here, or let something else happen, if it is time."""
        if self._dead:
            raise Crash
        if self.die_when is not None and self.die_when():
            self._dead = True
            raise Crash
        if self.countdown is None:
            return
        self.countdown -= 1
        if self.countdown > 0:
            return
        self.countdown = None
        if self.at_step is not None:
            self.at_step()
            return
        self._dead = True
        raise Crash

    def restart(self) -> None:
        """Begin a new process: what the server and the journal hold stays."""
        self._dead = False
        self.countdown = self.at_step = self.die_when = None
        self.journal.start_in_child()
        telemetry = Telemetry()
        guarded = GuardedBackend(self.journal, name="store", type="memory", capabilities=frozenset(Capability))
        self.backend = GuardedBackend(self.server, name="main", type="server", capabilities=self.server.kind)
        self.store = FallbackStore(
            Resilience(self.keys, "store"),
            lambda _: guarded,
            Background(),
            clock=self.clock,
            wall_clock=lambda: round(self.clock.time() * 1e9),
        )
        sink = GuardedSink(self.sink, type="memory", telemetry=telemetry)
        self.audit = AuditStage((sink,), telemetry=telemetry)

    def queue(self, name: str, value: str | None, expected: str | None = None, **others: Any) -> Entry:
        """Accept a write as the journal does: behind the newest one of its name that waits."""
        place = Place(backend="main", target=others.pop("target", self.server.address), name=SecretName(name))
        before = self.store.recall(place).entry
        entry = Entry(
            id=new_token(),
            place=place,
            change="delete" if value is None else "set",
            value=None if value is None else SecretValue.wrap(value),
            expected=None if before is not None else expected,
            follows=before.id if before is not None else None,
            queued=self.clock.time(),
            principal="alice",
        ).replace(**others)
        self.journal.append(AppendRequest(entry=entry, max_entries=100_000, max_bytes=1 << 30))
        return entry

    def drain(self, **options: Any) -> CaughtUp:
        """Make one pass, as one who holds the claim."""
        claim = ClaimRequest(backend="main", target=self.server.address)
        assert self.store.claim(claim)
        try:
            drain = Drain(self.store, self.audit, self.told.append, self.backend, self.server.address, **options)
            return drain.run()
        finally:
            self.journal.release(claim)

    def left(self) -> dict[str, Entry]:
        """Return what is in the journal, by id."""
        return {one.id: one for one in MemoryBackend.entries(self.journal, EntriesRequest()).entries}

    def state(self, entry: Entry) -> EntryState | None:
        """Return the state of an entry; ``None`` if it is not there any more."""
        found = self.left().get(entry.id)
        return None if found is None else found.state

    def waiting(self, name: str) -> Entry | None:
        """Return the newest write of a name that waits."""
        return self.store.recall(Place(backend="main", target=self.server.address, name=SecretName(name))).entry
