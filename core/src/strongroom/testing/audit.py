"""The contract of an audit sink, as checks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import pytest

from strongroom.audit.stage import GuardedSink
from strongroom.contracts import (
    AuditSink,
    AuditWrite,
    Block,
    Health,
    HealthState,
    Hits,
    Reading,
    Trail,
    TrailQuery,
)
from strongroom.errors import AuditError
from strongroom.model import AuditEvent, Principal, PrincipalSource
from strongroom.telemetry import ATTRIBUTES, Telemetry
from strongroom.testing.processes import in_forked_child
from strongroom.testing.promises import must_override, promised_by
from strongroom.testing.spans import Spans

Recorded = Callable[[], Sequence[AuditEvent]]
"""Returns what has been recorded so far, oldest first."""

ODD_TEXTS = {
    "line feed": "two\nlines",
    "quotes": 'it\'s "quoted"',
    "backslash": "back\\slash \\n",
    "brackets": '] [x@1 y="z"] {} %s',
    "unicode": "caf\u00e9 \u65e5\u672c \U0001f511",
    "line separator": "two\u2028lines\u0085more",
    "blank": " ",
}


class AuditSinkContract:
    """Everything that an audit sink promises.

    Override the fixture ``sink``, and ``recorded`` unless the sink is a ``Trail``.
    Also to override: ``failing``, a sink that cannot record (its disk is full, its
    far end gone), and the attributes below.

    Attributes:
        shared: Whether what a forked child records shows in ``recorded``, too.
        added: Events of these kinds are the sink's own and are left out when what
            it recorded is compared.
    """

    shared: ClassVar[bool] = True
    added: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture
    def sink(self) -> AuditSink:
        """Return the sink under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        must_override(self, "the fixture `sink`", "it returns the sink under test, a new one for each check")

    @pytest.fixture
    def recorded(self, sink: AuditSink) -> Recorded:
        """Return a function that reads back what was recorded; override it unless the sink is a trail."""
        if not isinstance(sink, Trail):
            # As above: only the author knows how to read back from a sink that keeps no trail.
            must_override(
                self,
                "the fixture `recorded`, since the sink is no Trail",
                "it returns a function without arguments that returns the recorded events, oldest first",
            )
        return lambda: list(sink.read(TrailQuery()))

    @pytest.fixture
    def failing(self) -> AuditSink:
        """Return a sink that cannot record; override it to have that checked."""
        # Not every author can make the sink fail; the other checks need no such sink.
        pytest.skip("the test class does not override the fixture `failing`, a sink that cannot record")

    @promised_by(AuditSink.write)
    def test_an_event_is_recorded_as_it_is(self, sink: AuditSink, recorded: Recorded) -> None:
        """Every field of an event comes back as it was written.

        A field that a sink leaves out is missing when somebody has to find out what has happened.
        """
        written = full_event()
        record(sink, written)
        assert self._of(recorded) == [written]

    @promised_by(AuditSink.write)
    def test_an_event_with_few_facts_is_recorded(self, sink: AuditSink, recorded: Recorded) -> None:
        """An event with few facts comes back with these, and with no others.

        Most fields are optional, and an invented fact is worse in a trail than a missing one.
        """
        written = AuditEvent(id="1", timestamp="2026-01-01T12:00:00.000000+00:00", event="opened")
        record(sink, written)
        assert self._of(recorded) == [written]

    @promised_by(AuditWrite)
    def test_events_keep_their_order(self, sink: AuditSink, recorded: Recorded) -> None:
        """Events come back in the order of the request, and of the requests.

        The trail tells what came first: an attempt and its outcome, say.
        """
        written = [event(id=str(number)) for number in range(12)]
        for start in (0, 1, 5):
            record(sink, *written[start : {0: 1, 1: 5, 5: 12}[start]])
        assert self._of(recorded) == written

    @promised_by(AuditSink.write)
    def test_a_large_batch_is_recorded_as_a_whole(self, sink: AuditSink, recorded: Recorded) -> None:
        """A thousand events in one request are all recorded.

        That many cache hits may come at once; a sink that cuts a batch loses events without a word.
        """
        written = [event(id=str(number)) for number in range(1000)]
        record(sink, *written)
        assert self._of(recorded) == written

    @promised_by(AuditWrite)
    def test_events_that_need_not_be_durable_are_recorded(self, sink: AuditSink, recorded: Recorded) -> None:
        """Events of a request with ``durable=False`` are recorded, too.

        That allows a sink to leave out waiting for the disk, and not to leave out the event.
        """
        sink.write(AuditWrite(events=(event(),), durable=False))
        assert self._of(recorded) == [event()]

    @promised_by(Hits)
    def test_cache_hits_are_recorded_like_other_events(self, sink: AuditSink, recorded: Recorded) -> None:
        """Cache hits, alone or among events, are each recorded as the event that they stand for.

        They come as rows, to be quick; a sink that formats rows by itself must not tell anything else than the event
        does.
        """
        blocks = [
            Block((hits("first"),)),
            Block(((event(id="1"),), hits("second"), hits("third", pid=2), (event(id="2"), event(id="3")))),
            Block((hits("fourth"), (event(id="4"),), Block((hits("fifth"),)))),
        ]
        for block in blocks:
            sink.write(AuditWrite(events=block, durable=False))
        assert self._of(recorded) == [found for block in blocks for found in block]

    @promised_by(AuditWrite)
    def test_no_events_are_no_error(self, sink: AuditSink, recorded: Recorded) -> None:
        """A request without events records nothing and raises nothing.

        The core sends one to have what was written before made durable.
        """
        record(sink)
        assert self._of(recorded) == []

    @promised_by(AuditWrite)
    def test_what_was_written_before_can_be_made_durable(self, sink: AuditSink, recorded: Recorded) -> None:
        """Durable requests without events, at any time, add nothing to what is recorded.

        The core sends them on its own account; they must neither write an event twice nor an empty one.
        """
        sink.write(AuditWrite(events=()))
        sink.write(AuditWrite(events=(event(id="1"),), durable=False))
        sink.write(AuditWrite(events=()))
        sink.write(AuditWrite(events=()))
        record(sink, event(id="2"))
        assert [found.id for found in self._of(recorded)] == ["1", "2"]

    @pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS.keys())
    @promised_by(AuditSink.write)
    def test_odd_characters_stay_within_their_event(self, sink: AuditSink, recorded: Recorded, text: str) -> None:
        """A line feed, a quote or another odd character in a field stays within its event.

        Else whoever chooses a name could end an event in the trail and forge another.
        """
        written = [event(id="1", detail=text, principal=f"p{text}"), event(id="2")]
        record(sink, *written)
        assert self._of(recorded) == written

    @promised_by(AuditSink.write)
    def test_a_failure_is_an_audit_error(self, failing: AuditSink) -> None:
        """A sink that cannot record raises ``AuditError`` with a text that says why.

        The core denies the read where the sink is required; it can do so only if it is told.
        """
        with pytest.raises(AuditError) as caught:
            record(failing, event())
        assert str(caught.value).strip()

    @promised_by(AuditSink.write)
    def test_a_failure_says_so_each_time(self, failing: AuditSink) -> None:
        """As long as a sink cannot record, each write raises ``AuditError``.

        An event is not to be swallowed because the failure before it has been reported.
        """
        for _ in range(2):
            with pytest.raises(AuditError):
                record(failing, event())

    @promised_by(AuditSink.health)
    def test_a_failing_sink_is_not_up(self, failing: AuditSink) -> None:
        """A sink that has failed returns a ``Health``, and raises nothing when it is asked for it.

        Those who look at the health want to see which part is down, and not to fail with it.
        """
        with pytest.raises(AuditError):
            record(failing, event())
        assert isinstance(failing.health(), Health)

    @promised_by(AuditSink.write)
    def test_a_foreign_exception_is_kept_as_the_cause(self) -> None:
        """An exception of another library becomes an ``AuditError`` whose cause it is.

        Without the cause nobody could find out what has really happened.
        """
        surprise = RuntimeError("a surprise")
        with pytest.raises(AuditError) as caught:
            record(GuardedSink(_Exploding(surprise), type="test"), event())
        assert caught.value.__cause__ is surprise

    @promised_by(AuditSink.write)
    def test_one_span_around_each_write(self, sink: AuditSink) -> None:
        """A write has one span, of the core, which shows neither names nor principals.

        Spans go to other systems, where a second one without a parent only confuses, and names are not to be known.
        """
        spans = Spans()
        guarded = GuardedSink(sink, type="test", telemetry=Telemetry(tracer_provider=spans.provider))
        record(guarded, full_event())
        roots = [span for span in spans.finished() if span.parent is None]
        assert [span.name for span in roots] == ["strongroom.audit_write"]
        assert set(roots[0].attributes or {}) <= ATTRIBUTES
        for clear in (full_event().key, full_event().principal):
            assert str(clear) not in spans.text(), "a span shows a name or a principal"

    @promised_by(AuditSink.after_fork)
    def test_a_forked_child_can_record(self, sink: AuditSink, recorded: Recorded) -> None:
        """After ``after_fork`` the child records on its own, the parent goes on, and no event is lost.

        Servers fork; two processes on one handle would mix up what they write.
        """
        before, child, after = event(id="before"), event(id="child"), event(id="after")
        record(sink, before)
        assert in_forked_child(lambda: _record_in_child(sink, child)) == "recorded"
        record(sink, after)
        expected = ["before", "child", "after"] if self.shared else ["before", "after"]
        assert [found.id for found in self._of(recorded)] == expected

    @promised_by(AuditSink.health)
    def test_health_says_that_it_is_up(self, sink: AuditSink) -> None:
        """The health of a sink that works is up, before a write as after it.

        Health checks and ``strongroom doctor`` believe it; a false alarm takes a host out of service.
        """
        assert sink.health().state is HealthState.UP, sink.health().reason
        record(sink, event())
        assert sink.health().state is HealthState.UP, sink.health().reason

    @promised_by(AuditSink.close)
    def test_what_was_recorded_survives_closing(self, sink: AuditSink, recorded: Recorded) -> None:
        """What was recorded is still there once the sink is closed.

        The last events before an end are those that are asked for most.
        """
        sink.write(AuditWrite(events=(event(),), durable=False))
        sink.close()
        assert self._of(recorded) == [event()]

    @promised_by(AuditSink.close)
    def test_closing_twice_is_no_error(self, sink: AuditSink) -> None:
        """A sink that is closed a second time raises nothing.

        Whoever cleans up does not know whether somebody has done so before.
        """
        record(sink, event())
        sink.close()
        sink.close()

    @promised_by(AuditSink.close)
    def test_closing_without_use_is_no_error(self, sink: AuditSink) -> None:
        """A sink that never had an event can be closed.

        A program may end before it has read anything, and is not to fail for it.
        """
        sink.close()

    def _of(self, recorded: Recorded) -> list[AuditEvent]:
        return [found for found in recorded() if found.event not in self.added]


class _Exploding(AuditSink):
    """A sink with a mistake in it."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def write(self, _: AuditWrite) -> None:
        raise self._error


def event(*, id: str = "1", detail: str | None = None, principal: str = "api-server") -> AuditEvent:
    """Return an everyday event with some of its facts changed."""
    return AuditEvent(
        id=id,
        timestamp="2026-01-01T12:00:00.000000+00:00",
        event="get",
        key="db/password",
        principal=principal,
        detail=detail,
    )


def hits(run_id: str, *, pid: int = 1) -> Hits:
    """Return cache hits of several kinds."""
    own = Principal(name="api-server", source=PrincipalSource.CONFIGURATION)
    taken_on = Principal(name='caf\u00e9 "\\ \U0001f511', source=PrincipalSource.AS_PRINCIPAL)
    usual, odd = Reading(own, None, "db/password", "vault"), Reading(taken_on, own, "\u65e5\u672c/'\"\\]", "aws")
    trace, served = "4bf92f3577b34da6a3ce929d0e0e4736", ("cache", "ok")
    rows = [
        (1, 10.0, usual, "7", None, served),
        (2, 10.0, usual, "7", trace, served),
        (4, 10.999999, odd, None, None, served),
        (-1, 11.0, usual, None, None, ("cache", "not_found")),
        (5, 11.5, usual, "8", None, ("stale", "ok")),
        (0x1FFFFFFFF, 12.25, odd, "caf\u00e9", trace, served),
    ]
    return Hits(run_id, 1767268800.0, ("app", "host-1", pid), rows)


def full_event() -> AuditEvent:
    """Return an event with every field filled in."""
    return AuditEvent(
        id="0123456789abcdef",
        timestamp="2026-01-01T12:00:00.123456+00:00",
        event="get",
        phase="attempt",
        key="db/password",
        principal="api-server",
        principal_source="as_principal",
        on_behalf_of="deployer",
        user="app",
        host="host-1",
        pid=4711,
        result="denied",
        cache_hit=True,
        source="cache",
        backend="vault",
        version="7",
        duration=0.25,
        rule="policies[3]",
        trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
        request_id="req-1",
        count=3,
        detail="a fact",
    )


def record(sink: AuditSink, *events: AuditEvent) -> None:
    """Have a sink record events durably."""
    sink.write(AuditWrite(events=events))


def _record_in_child(sink: AuditSink, written: AuditEvent) -> str:
    sink.after_fork()
    record(sink, written)
    return "recorded"
