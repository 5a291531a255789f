"""Plugins are called so that the exception being handled, another one's or the program's, does not reach them."""

from __future__ import annotations

import logging
import sys

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from strongroom._apart import apart
from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    AuditSink,
    AuditWrite,
    GenerateRequest,
    GenerateResult,
    ReadRequest,
    ReadResult,
    Rotator,
)
from strongroom.errors import AuditError, BackendError, BackendUnavailableError, StrongroomError
from strongroom.model import Freshness, SecretValue

CREDENTIAL = "the credential of a client"


class ClientError(Exception):
    """What a client library raises; it leads to what was sent."""

    def __init__(self) -> None:
        super().__init__("refused")
        self.headers = {"Authorization": CREDENTIAL}


class Refused(MemoryBackend):
    """A backend whose client fails, with the program's own request in the error."""

    def read(self, request: ReadRequest) -> ReadResult:
        if request.name.startswith("none/"):
            return super().read(request)
        raise ClientError


class CuriousBackend(MemoryBackend):
    eyes: Eyes

    def read(self, request: ReadRequest) -> ReadResult:
        self.eyes.look("backend")
        return super().read(request)


def all_of(error: BaseException | None) -> list[BaseException]:
    """Return an error and all that has led to it."""
    found: list[BaseException] = []
    todo = [error]
    while todo:
        one = todo.pop()
        if one is not None and one not in found:
            found.append(one)
            todo += [one.__cause__, one.__context__]
    return found


def kinds_of(error: BaseException) -> list[type[BaseException]]:
    """Return what an error is and what has led to it, one by one.

    Before 3.11.3 Python may go on handling what the trace function of another test has cut short: that is left out.
    """
    stuck = all_of(sys.exception())
    return [type(one) for one in all_of(error) if one not in stuck]


def while_handling_another(act: Callable[[], Any]) -> Any:
    """Do something while a program handles an exception of its own."""
    try:
        raise ClientError
    except ClientError:
        return act()


class Eyes:
    """What the parts of a plugin have seen of exceptions, by part."""

    def __init__(self) -> None:
        self.seen: dict[str, list[BaseException]] = {}

    def look(self, part: str) -> None:
        """Note which exception is being handled, and what has led to it."""
        self.seen.setdefault(part, []).extend(all_of(sys.exc_info()[1]))

    @property
    def client_errors(self) -> list[str]:
        return [part for part, seen in self.seen.items() if any(isinstance(one, ClientError) for one in seen)]


class CuriousSink(AuditSink):
    def __init__(self, eyes: Eyes) -> None:
        self.eyes = eyes
        self.failing: Exception | None = None

    def write(self, request: AuditWrite) -> None:
        self.eyes.look("sink")
        if self.failing is not None and any(event.result not in {None, "ok"} for event in request.events):
            raise self.failing


class CuriousProcessor(SpanProcessor):
    def __init__(self, eyes: Eyes) -> None:
        self.eyes = eyes

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.eyes.look("span")

    def on_end(self, span: Any) -> None:
        self.eyes.look("span")


class CuriousRotator(Rotator):
    """Asks for another secret, and keeps what it is told."""

    def __init__(self) -> None:
        self.errors: list[StrongroomError] = []

    def generate(self, request: GenerateRequest) -> GenerateResult:
        try:
            request.read_secret("admin/password")
        except StrongroomError as error:
            self.errors.append(error)
            raise
        return GenerateResult(value=SecretValue("never"))

    apply = verify = undo = None  # type: ignore[assignment]  # it never comes to that


@pytest.fixture
def eyes() -> Eyes:
    return Eyes()


@pytest.fixture
def curious(distributions: Any, eyes: Eyes) -> Any:
    """A distribution whose detector and cache policy look, too, and its rotator."""
    distributions.add(
        "curious-parts",
        {
            "strongroom.anomaly_detectors": {"curious": "curious_parts"},
            "strongroom.cache_policies": {"curious": "curious_parts"},
            "strongroom.rotators": {"curious": "curious_parts"},
        },
        """
        from strongroom.contracts import (
            AnomalyDetector, CachePolicy, CachePolicySpec, Decision, DetectorSpec, Lifetime, Record, RotatorSpec,
            Verdict,
        )
        from strongroom.hookspecs import hookimpl

        class Detector(AnomalyDetector):
            def __init__(self, settings):
                pass
            def judge(self, access):
                eyes.look("detector")
                return Verdict(decision=Decision.ALLOW)
            def observe(self, outcome):
                eyes.look("detector")
                return Verdict(decision=Decision.ALLOW)

        class Policy(CachePolicy):
            def __init__(self, settings):
                pass
            def lifetime(self, request):
                eyes.look("policy")
                return Lifetime(fresh_until=request.now + 1.0)

        @hookimpl
        def strongroom_anomaly_detectors():
            yield DetectorSpec(name="curious", summary="It looks.", settings=Record, open=Detector)

        @hookimpl
        def strongroom_cache_policies():
            yield CachePolicySpec(name="curious", summary="It looks.", settings=Record, open=Policy)

        @hookimpl
        def strongroom_rotators():
            yield RotatorSpec(name="curious", summary="It asks.", settings=Record, open=lambda settings: rotator)
        """,
    )
    import curious_parts

    curious_parts.eyes, curious_parts.rotator = eyes, CuriousRotator()
    return curious_parts


@pytest.fixture
def ear(eyes: Eyes) -> Iterator[list[logging.LogRecord]]:
    """What is logged; who hears it looks, too."""
    heard: list[logging.LogRecord] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            eyes.look("log")
            heard.append(record)

    handler, logger = Ear(), logging.getLogger("strongroom")
    logger.addHandler(handler)
    yield heard
    logger.removeHandler(handler)


def test_no_part_sees_what_anothers_client_has_raised(open_manager: Any, eyes: Eyes, curious: Any) -> None:
    provider = TracerProvider()
    provider.add_span_processor(CuriousProcessor(eyes))
    manager = open_manager(
        backends={"memory": Refused(MemorySettings())},
        sinks=(CuriousSink(eyes),),
        tracer_provider=provider,
        anomaly=[{"type": "curious"}],
        cache={"policy": "curious"},
    )
    for act in (manager.get, manager.refresh):
        with pytest.raises(BackendError) as caught:
            act("db/password")
        # Whoever asked is told all of it, and nothing that stood in between.
        assert kinds_of(caught.value) == [BackendError, ClientError]
    with pytest.raises(StrongroomError):
        manager.get("none/here")
    assert eyes.seen.keys() == {"sink", "span", "detector", "policy"}
    assert eyes.client_errors == []


def test_the_fallback_does_not_see_why_it_is_asked(
    open_manager: Any, eyes: Eyes, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = MemoryBackend(MemorySettings(seed={"db/password": SecretValue("first")}))
    manager = open_manager(
        backends={"memory": backend, "store": store},
        backend="memory",
        fallback="store",
        resilience={"keep_copy": True},
        cache={"policy": "none"},
    )
    manager.get("db/password")
    manager.flush()

    def away(request: ReadRequest) -> ReadResult:
        try:
            raise ClientError
        except ClientError as error:
            raise BackendUnavailableError("nobody answers") from error

    monkeypatch.setattr(backend, "read", away)
    store.before = eyes.look
    assert manager.get("db/password").freshness is Freshness.FALLBACK
    assert "recall" in eyes.seen
    assert eyes.client_errors == []


def test_no_part_sees_an_exception_of_the_program(open_manager: Any, eyes: Eyes) -> None:
    backend = CuriousBackend(MemorySettings(seed={"db/password": SecretValue("first")}))
    backend.eyes = eyes
    manager = open_manager(backends={"memory": backend}, sinks=(CuriousSink(eyes),))
    while_handling_another(lambda: manager.get("db/password"))
    assert eyes.seen.keys() == {"backend", "sink"}
    assert eyes.client_errors == []


def test_a_rotator_is_told_of_anothers_failure_without_what_led_to_it(open_manager: Any, curious: Any) -> None:
    manager = open_manager(
        backends={"memory": MemoryBackend(MemorySettings()), "other": Refused(MemorySettings())},
        backend="memory",
        routes={"admin/": "other"},
        rotation={"db/*": {"rotator": "curious"}},
    )
    manager.set("db/password", "first")
    with pytest.raises(BackendError, match="failed in read with ClientError"):
        manager.rotate("db/password")
    (told,) = curious.rotator.errors
    assert "failed in read with ClientError" in str(told)
    assert kinds_of(told) == [type(told)]


def test_a_log_gets_the_text_of_a_sinks_failure_and_not_what_led_to_it(
    open_manager: Any, eyes: Eyes, ear: list[logging.LogRecord], distributions: Any
) -> None:
    sink = CuriousSink(eyes)
    sink.failing = ClientError()
    distributions.add(
        "lossy-sink",
        {"strongroom.audit_sinks": {"lossy": "lossy_sink"}},
        """
        from strongroom.contracts import Record, SinkSpec
        from strongroom.hookspecs import hookimpl

        @hookimpl
        def strongroom_audit_sinks():
            yield SinkSpec(name="lossy", summary="It loses.", settings=Record, open=lambda settings: sink)
        """,
    )
    import lossy_sink

    lossy_sink.sink = sink
    manager = open_manager({}, sinks=(), audit=[{"type": "lossy", "required": False}])
    with pytest.raises(StrongroomError):
        manager.get("none/here")
    (record,) = ear
    assert "events lost so far: 1: the audit sink 'lossy' could not record: ClientError" in record.getMessage()
    assert not record.args
    assert "ClientError" not in {type(one).__name__ for one in eyes.seen["log"]}


def test_what_is_called_raises_what_it_raises_with_its_own_causes_only() -> None:
    def fail() -> None:
        try:
            dict[str, str]()["nothing"]
        except KeyError as error:
            raise AuditError("no") from error

    with pytest.raises(AuditError) as caught:
        while_handling_another(lambda: apart(fail))
    assert kinds_of(caught.value) == [AuditError, KeyError]


def test_what_is_called_gets_its_arguments_and_its_result_is_returned() -> None:
    assert apart(sorted, [1, 3, 2], reverse=True) == [3, 2, 1]
    assert while_handling_another(lambda: apart(sorted, [1, 3, 2], reverse=True)) == [3, 2, 1]


def test_afterwards_the_exception_is_handled_as_before() -> None:
    def act() -> BaseException | None:
        apart(int)
        return sys.exc_info()[1]

    assert isinstance(while_handling_another(act), ClientError)
