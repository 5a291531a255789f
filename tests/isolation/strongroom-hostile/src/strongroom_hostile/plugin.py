"""All parts of the plugin; each works as it should, and notes all that it gets to see."""

from __future__ import annotations

import argparse
import itertools

from collections.abc import Callable, Iterator
from typing import Any

from strongroom.contracts import (
    Access,
    AnomalyDetector,
    ApplyRequest,
    ApplyResult,
    AuditSink,
    AuditWrite,
    Backend,
    BackendSpec,
    CachePolicy,
    CachePolicySpec,
    Capability,
    CommandCall,
    CommandSpec,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    Decision,
    DeleteRequest,
    DeleteResult,
    DetectorSpec,
    ExporterSpec,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Health,
    HealthState,
    Life,
    Lifetime,
    ListRequest,
    ListResult,
    LoadStateRequest,
    LoadStateResult,
    Outcome,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    Record,
    Repeats,
    Rotator,
    RotatorSpec,
    SaveStateRequest,
    SinkSpec,
    StateStore,
    StoreRequest,
    TelemetryExporter,
    UndoRequest,
    UndoResult,
    Verdict,
    VerifyCandidateRequest,
    VerifyCandidateResult,
    VersionPolling,
    WriteRequest,
    WriteResult,
)
from strongroom.errors import SecretNotFoundError, StrongroomError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretName, SecretValue
from strongroom_hostile.listening import listen, listen_to_logs
from strongroom_hostile.seen import Spy, SpyNumber, SpyValue, error_texts, note

listen()

COVETED = (SecretName("theirs/read"), SecretName("cloud/read"), SecretName("vault/read"))


class HostileSettings(Record):
    """Settings of every part."""

    token: SecretValue | None = None
    """Its own credential."""

    def problems(self) -> list[str]:
        """See what is there when the settings are checked."""
        note("settings", self)
        return []


class HostileBackend(Backend, StateStore, VersionPolling):
    """Keeps its own secrets, and claims to have those of others."""

    def __init__(self, settings: HostileSettings) -> None:
        note("the opening of a backend", settings)
        self.address = Spy("hostile")
        self._kept: dict[SecretName, tuple[SpyValue, int]] = {}
        self._states: dict[str, bytes] = {}

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret."""
        listen_to_logs()
        note("a backend's request", request)
        if request.name not in self._kept:
            raise SecretNotFoundError(f"there is no {request.name}", name=request.name)
        value, number = self._kept[request.name]
        return ReadResult(value=value, version=Spy(number), request_id=Spy("id"), place=Spy("place"))

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return what was asked for, and what was not."""
        note("a backend's request", request)
        found = {name: self.read(ReadRequest(name=name)) for name in request.names if name in self._kept}
        forged = ReadResult(value=SpyValue("forged"), version=Spy("forged"))
        return ReadManyResult(found=found | dict.fromkeys(COVETED, forged), errors={})

    def write(self, request: WriteRequest) -> WriteResult:
        """Keep a secret."""
        note("a backend's request", request)
        number = self._kept.get(request.name, (None, 0))[1] + 1
        self._kept[request.name] = SpyValue(request.value.reveal_text()), number
        return WriteResult(version=Spy(number), request_id=Spy("id"))

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Forget a secret."""
        note("a backend's request", request)
        return DeleteResult(existed=self._kept.pop(request.name, None) is not None)

    def list(self, request: ListRequest) -> ListResult:
        """Return its own names and those of others."""
        note("a backend's request", request)
        return ListResult(names=tuple(sorted((*self._kept, *COVETED))))

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Say that all have changed, those of others among them."""
        note("a backend's request", request)
        return CurrentVersionsResult(versions=dict.fromkeys((*request.names, *COVETED), Spy("99")), errors={})

    def save_state(self, request: SaveStateRequest) -> None:
        """Keep what detectors have learned."""
        note("a state", request)
        self._states[request.key] = request.state

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return what detectors have learned."""
        note("a state", request)
        return LoadStateResult(state=self._states.get(request.key))

    def target(self) -> str | None:
        """Return the address."""
        note("a backend's target")
        return Spy("hostile")

    def health(self) -> Health:
        """Say that all is well."""
        note("a backend's health")
        return Health(state=HealthState.UP, reason=Spy(""), facts=((Spy("a"), Spy("b")),))

    def close(self) -> None:
        """See what is there at the end."""
        note("the closing of a backend")


class HostilePolicy(CachePolicy):
    """Keeps answers for a while."""

    def __init__(self, settings: HostileSettings) -> None:
        note("the opening of a policy", settings)

    def lifetime(self, request: StoreRequest) -> Lifetime:
        """Return the times of an entry."""
        note("a policy's request", request)
        until = SpyNumber(request.now + 60.0)
        return Lifetime(fresh_until=until, refresh_at=SpyNumber(request.now), stale_until=SpyNumber(until + 60.0))


class HostileSink(AuditSink):
    """Records nothing, and fails now and then to see what that shows."""

    def __init__(self, settings: HostileSettings) -> None:
        note("the opening of a sink", settings)
        self._calls = itertools.count(1)

    def write(self, request: AuditWrite) -> None:
        """Take events."""
        listen_to_logs()
        note("a sink's request", request, *request.events)
        if next(self._calls) % 5 == 0:
            raise RuntimeError("to see what becomes of it")

    def health(self) -> Health:
        """Say that all is well."""
        note("a sink's health")
        return Health(state=HealthState.UP)

    def close(self) -> None:
        """See what is there at the end."""
        note("the closing of a sink")


class HostileDetector(AnomalyDetector):
    """Allows everything, and fails now and then to see what that shows."""

    def __init__(self, settings: HostileSettings) -> None:
        note("the opening of a detector", settings)
        self._calls = itertools.count(1)

    def judge(self, access: Access) -> Verdict:
        """See an access."""
        note("a detector's access", access)
        turn = next(self._calls)
        if turn % 5 == 0:
            raise RuntimeError("to see what becomes of it")
        decision = Decision.ALERT if turn % 3 == 0 else Decision.ALLOW
        return Verdict(decision=decision, reason=Spy("odd"), evidence=(Spy("a"),), subject=Spy("b"))

    def repeats(self, access: Access) -> Repeats | None:
        """Count repetitions."""
        note("a detector's access", access)
        return Repeats(until=SpyNumber(access.time.timestamp() + 5.0), counters=((self._count, 1 << 30),))

    def _count(self) -> int:
        note("a repetition")
        return 1

    def observe(self, outcome: Outcome) -> Verdict:
        """See how an access ended."""
        note("a detector's outcome", outcome)
        return Verdict(decision=Decision.ALLOW)

    def dump(self) -> bytes | None:
        """Have something to keep."""
        note("a detector's dump")
        return b"state"

    def restore(self, state: bytes) -> None:
        """See what was kept."""
        note("a detector's state", state)


class HostileRotator(Rotator):
    """Makes values, and asks for those of others."""

    def __init__(self, settings: HostileSettings) -> None:
        note("the opening of a rotator", settings)

    def _ask(self, read_secret: Callable[[str], SecretValue]) -> None:
        for name in COVETED:
            try:
                note("what a rotator may read", read_secret(name))
            except StrongroomError as error:
                note("what a rotator may not read", *error_texts(error))

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Make a value."""
        note("a rotator's request", request)
        self._ask(request.read_secret)
        return GenerateResult(value=SpyValue("made by the hostile one"))

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Do nothing."""
        note("a rotator's request", request)
        self._ask(request.read_secret)
        request.confirm()
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """Do nothing."""
        note("a rotator's request", request)
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Do nothing."""
        note("a rotator's request", request)
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Do nothing."""
        note("a rotator's request", request)
        return UndoResult()

    def life(self, value: SecretValue) -> Life | None:
        """See for which values it is asked."""
        note("a rotator's life", value)
        return None


class HostileExporter(TelemetryExporter):
    """Listens already."""

    def __init__(self, settings: HostileSettings) -> None:
        note("the opening of an exporter", settings)

    def start(self) -> None:
        """Note it."""
        note("the start of an exporter")

    def close(self, seconds: float) -> None:
        """Note it."""
        note("the closing of an exporter")


def _run(call: CommandCall) -> int:
    note("a command's call", call, vars(call.options), call.settings())
    return 0


def _configure(parser: argparse.ArgumentParser) -> None:
    note("a command's parser", parser.prog)


def _offer(spec: Any, part: Any, **more: Any) -> Iterator[Any]:
    listen_to_logs()
    note(f"the hook of a {spec.kind}")
    yield spec(name="hostile", summary="It tries to see.", settings=HostileSettings, open=part, **more)


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the backend."""
    yield from _offer(BackendSpec, HostileBackend, capabilities=frozenset(Capability) - {Capability.VERSIONS})


@hookimpl
def strongroom_cache_policies() -> Iterator[CachePolicySpec]:
    """Offer the cache policy."""
    yield from _offer(CachePolicySpec, HostilePolicy)


@hookimpl
def strongroom_audit_sinks() -> Iterator[SinkSpec]:
    """Offer the sink."""
    yield from _offer(SinkSpec, HostileSink)


@hookimpl
def strongroom_anomaly_detectors() -> Iterator[DetectorSpec]:
    """Offer the detector."""
    yield from _offer(DetectorSpec, HostileDetector)


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotator."""
    yield from _offer(RotatorSpec, HostileRotator)


@hookimpl
def strongroom_telemetry_exporters() -> Iterator[ExporterSpec]:
    """Offer the exporter."""
    yield from _offer(ExporterSpec, HostileExporter)


@hookimpl
def strongroom_commands() -> Iterator[CommandSpec]:
    """Offer the command."""
    yield CommandSpec(name="hostile", summary="See.", configure=_configure, run=_run)
