"""What the core's own tests share: a manager on a fake clock, a sink that can be waited for, throw-away plugins."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    Access,
    AnomalyDetector,
    AuditWrite,
    Backend,
    Decision,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    Verdict,
)
from strongroom.contracts.journal import (
    DropCopiesRequest,
    JournalStatus,
    JournalStatusRequest,
    KeepCopiesRequest,
    RecallRequest,
    RecallResult,
)
from strongroom.errors import BackendUnavailableError
from strongroom.model import AuditEvent, SecretValue
from strongroom.testing import FakeClock, FaultyBackend, MemorySink
from watched import Server

TIME_LIMIT = 10.0


class WaitingSink(MemorySink):
    """A sink in memory whose next events a test can wait for."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.writes: list[AuditWrite] = []

    def write(self, request: AuditWrite) -> None:
        with self._changed:
            super().write(request)
            self.writes.append(request)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[list[AuditEvent]], object]) -> bool:
        """Wait until the recorded events are such; tell whether that came to be."""
        with self._changed:
            return bool(self._changed.wait_for(lambda: condition(self.events), TIME_LIMIT))

    def named(self, *kinds: str) -> list[AuditEvent]:
        """Return the events of some kinds, in their order."""
        return [event for event in list(self.events) if event.event in kinds]


class Watcher(AnomalyDetector):
    """Notes what it sees and answers as it is told."""

    def __init__(self) -> None:
        self.seen: list[Access] = []
        self.verdict: Any = Verdict(decision=Decision.ALLOW)

    def judge(self, access: Access) -> Verdict:
        self.seen.append(access)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


@pytest.fixture
def detecting(distributions: Any) -> Callable[..., list[dict[str, Any]]]:
    """A function that takes detectors, and options that apply to them, and returns their ``[[anomaly]]`` tables."""
    distributions.add(
        "own-detectors",
        {"strongroom.anomaly_detectors": {"own": "own_detectors"}},
        """
        from strongroom.contracts import DetectorSpec, Record
        from strongroom.hookspecs import hookimpl

        known = []

        class Settings(Record):
            number: int

        def find(settings):
            return known[settings.number]

        @hookimpl
        def strongroom_anomaly_detectors():
            yield DetectorSpec(name="own", summary="A test's own.", settings=Settings, open=find)
        """,
    )
    import own_detectors

    def tables(*detectors: AnomalyDetector, **options: Any) -> list[dict[str, Any]]:
        first = len(own_detectors.known)
        own_detectors.known.extend(detectors)
        return [{"type": "own", "number": first + place, **options} for place in range(len(detectors))]

    return tables


@pytest.fixture
def watched(distributions: Any) -> Watcher:
    """A detector that the configuration can name ``watch``."""
    distributions.add(
        "watch-plugin",
        {"strongroom.anomaly_detectors": {"watch": "watch_plugin"}},
        """
        from strongroom.contracts import DetectorSpec, Record
        from strongroom.hookspecs import hookimpl

        watchers = []

        class Settings(Record):
            pass

        @hookimpl
        def strongroom_anomaly_detectors():
            yield DetectorSpec(name="watch", summary="Watches.", settings=Settings, open=lambda _: watchers[0])
        """,
    )
    import watch_plugin

    watcher = Watcher()
    watch_plugin.watchers.append(watcher)
    return watcher


class HookedBackend(MemoryBackend):
    """A backend in memory that tells of each read before it answers.

    Attributes:
        reads: Every name that was asked for, also by ``read_many``.
        batches: How many calls of ``read_many`` there were.
        on_read: Called in the reader's thread; it may wait or raise.
    """

    def __init__(self, seed: dict[str, str] | None = None) -> None:
        super().__init__(seeded(seed))
        self.reads: list[str] = []
        self.batches = 0
        self.on_read: Callable[[ReadRequest], object] | None = None

    def read(self, request: ReadRequest) -> ReadResult:
        self.reads.append(request.name)
        # A copy each time, as from a server: else this backend would hold the only buffer.
        found = super().read(request)
        answer = found.replace(value=SecretValue.of_bytes(found.value.reveal(), found.value.type))
        if self.on_read is not None:
            self.on_read(request)
        return answer

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        self.batches += 1
        return Backend.read_many(self, request)  # one by one, so that each is noted


@pytest.fixture
def hooked() -> HookedBackend:
    """A backend that holds ``db/password`` and ``db/user``."""
    return HookedBackend({"db/password": "s3cret", "db/user": "app"})


@pytest.fixture
def make_hooked() -> type[HookedBackend]:
    return HookedBackend


class Gate:
    """Holds a thread up until it is told to go on, and tells when it has come."""

    def __init__(self) -> None:
        self._arrived, self._open = threading.Event(), threading.Event()

    def hold(self) -> None:
        """Wait here until the gate opens."""
        self._arrived.set()
        assert self._open.wait(TIME_LIMIT), "nobody opened the gate"

    def wait_for_arrival(self) -> None:
        assert self._arrived.wait(TIME_LIMIT), "nobody came to the gate"

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    held = Gate()
    yield held
    held.open()


def seeded(seed: dict[str, str] | None = None, **settings: Any) -> MemorySettings:
    """Return settings of a backend in memory that holds these from the start."""
    return MemorySettings(seed={name: SecretValue(text) for name, text in (seed or {}).items()}, **settings)


class Opener:
    """Opens managers on backends in memory, and closes them when the test is over."""

    def __init__(self, clock: FakeClock, sink: WaitingSink) -> None:
        self.clock = clock
        self.sink = sink
        self.opened: list[strongroom.SecretManager] = []

    def __call__(
        self,
        seed: dict[str, str] | None = None,
        *,
        backends: dict[str, Backend] | None = None,
        sinks: tuple[Any, ...] | None = None,
        tracer_provider: Any = None,
        **config: Any,
    ) -> strongroom.SecretManager:
        """Open a manager; ``seed`` is what its backend ``memory`` holds, ``config`` the configuration's tables."""
        manager = strongroom.open(
            {"audit": "none", "principal": "tester"} | config,
            clock=self.clock,
            wall_clock=lambda: int(self.clock.time() * 1e9),
            backends=backends or {"memory": MemoryBackend(seeded(seed))},
            sinks=(self.sink,) if sinks is None else sinks,
            tracer_provider=tracer_provider,
        )
        self.opened.append(manager)
        return manager


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sink() -> WaitingSink:
    return WaitingSink()


@pytest.fixture
def open_manager(clock: FakeClock, sink: WaitingSink) -> Iterator[Opener]:
    opener = Opener(clock, sink)
    yield opener
    sink.failing = False
    for manager in opener.opened:
        manager.close()


@pytest.fixture
def server() -> Server:
    """A backend that is watched for what others change."""
    return Server()


@pytest.fixture
def others(server: Server) -> Iterator[strongroom.SecretManager]:
    """A manager of another process, as far as the one that watches can tell."""
    with strongroom.open({"audit": "none"}, backends={"memory": server}) as manager:
        yield manager


@pytest.fixture
def manager(server: Server, others: strongroom.SecretManager, open_manager: Opener) -> strongroom.SecretManager:
    """A manager that watches, of a backend that holds ``db/password`` and ``db/user``."""
    others.set("db/password", "first")
    others.set("db/user", "app")
    return open_manager(backends={"memory": server}, watch={"every": "30s"}, cache={"ttl": "1h", "negative_ttl": "1h"})


@pytest.fixture
def make_backend() -> Callable[..., FaultyBackend]:
    """Return a function that makes a backend that counts its calls and fails when told to."""

    def make(seed: dict[str, str] | None = None, **settings: Any) -> FaultyBackend:
        return FaultyBackend(MemoryBackend(seeded(seed, **settings)))

    return make


class CountedStore(MemoryBackend):
    """A fallback store in memory.

    Attributes:
        calls: Which of its journal's operations were called, in order.
        broken: Operations that fail.
        before: Called with the operation's name before each call; a test can wait in it.
    """

    def __init__(self) -> None:
        super().__init__(seeded())
        self.calls: list[str] = []
        self.broken: set[str] = set()
        self.before: Callable[[str], object] | None = None

    def _called(self, operation: str) -> None:
        self.calls.append(operation)
        if self.before is not None:
            self.before(operation)
        if operation in self.broken:
            raise BackendUnavailableError(f"the store fails in {operation}", backend="store")

    def count(self, operation: str) -> int:
        return self.calls.count(operation)

    def close(self) -> None:
        """Keep everything, as a file does."""

    def keep_copies(self, request: KeepCopiesRequest) -> None:
        self._called("keep_copies")
        super().keep_copies(request)

    def drop_copies(self, request: DropCopiesRequest) -> None:
        self._called("drop_copies")
        super().drop_copies(request)

    def recall(self, request: RecallRequest) -> RecallResult:
        self._called("recall")
        return super().recall(request)

    def journal_status(self, request: JournalStatusRequest) -> JournalStatus:
        self._called("journal_status")
        return super().journal_status(request)


@pytest.fixture
def store() -> CountedStore:
    """A fallback store that counts its calls, and whose operations a test can break."""
    return CountedStore()


@pytest.fixture
def backend(make_backend: Callable[..., FaultyBackend]) -> FaultyBackend:
    """A backend that holds ``db/password``, and whose answers a test can break."""
    return make_backend({"db/password": "s3cret"})


def rule(principal: str, *actions: str, names: str | tuple[str, ...] = "**", effect: str = "allow") -> dict[str, Any]:
    """Return a table for ``[[policies]]``."""
    patterns = [names] if isinstance(names, str) else list(names)
    return {"principal": principal, "effect": effect, "actions": list(actions), "names": patterns}


@pytest.fixture(name="rule")
def rule_maker() -> Callable[..., dict[str, Any]]:
    return rule


class Distributions:
    """Throw-away distributions: metadata and one module each, in a folder on the path."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(
        self,
        name: str,
        entry_points: dict[str, dict[str, str]],
        source: str = "",
        *,
        version: str = "1.0",
        requires: str = "",
        description: str = "",
        folder: Path | None = None,
    ) -> Path:
        """Install one; its module is called after it."""
        place = folder or self.folder
        place.mkdir(exist_ok=True)
        module = name.replace("-", "_")
        (place / f"{module}.py").write_text(textwrap.dedent(source))
        info = place / f"{module}-{version}.dist-info"
        info.mkdir()
        requirement = f"Requires-Dist: {requires}\n" if requires else ""
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirement}\n{description}"
        )
        groups = (
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
            for group, points in entry_points.items()
        )
        (info / "entry_points.txt").write_text("\n".join(groups))
        return info


@pytest.fixture
def distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distributions]:
    folder = tmp_path / "installed"
    folder.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    yield Distributions(folder)
    for module in set(sys.modules) - before:
        if (getattr(sys.modules[module], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[module]


class Program:
    """Runs a program of its own with strongroom in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, source: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Python source and return its end; it may take ten seconds."""
        path = self.folder / "program.py"
        path.write_text(textwrap.dedent(source))
        return subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(path)],
            capture_output=True,
            text=True,
            timeout=2 * TIME_LIMIT,
            cwd=self.folder,
            env={key: value for key, value in os.environ.items() if not key.startswith("STRONGROOM")} | environment,
            check=False,
        )


@pytest.fixture
def run_program(tmp_path: Path) -> Program:
    return Program(tmp_path)
