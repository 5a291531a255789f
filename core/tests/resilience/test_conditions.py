"""Whether a backend is within reach: the states, what changes them, and what a call is told."""

from __future__ import annotations

import itertools
import threading

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.error import HTTPError
from urllib.request import urlopen

import hypothesis.strategies as st
import pytest

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from strongroom._spoken import spoken
from strongroom.contracts import Backend, ReadManyRequest, ReadManyResult, ReadRequest, ReadResult
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    TamperedError,
    VersionConflictError,
)
from strongroom.resilience.conditions import (
    SLOWEST,
    TRANSITIONS,
    TRIAL,
    Condition,
    ConditionChanged,
    ConditionState,
    Signal,
)
from strongroom.resilience.guarded import GuardedBackend
from strongroom.testing import FakeClock, FaultyBackend, in_forked_child, in_threads

EVERY = 4.0
ANSWERS = [
    None,
    SecretNotFoundError("no such secret"),
    SecretDeletedError("gone"),
    AccessDeniedError("not for you"),
    VersionConflictError("moved", expected="1", found="2"),
]
NEITHER = [
    AuthenticationError("who are you"),
    BackendError("odd", code="tls_failed"),
    InvalidValueError("not that"),
    TamperedError("not authentic"),
]


def refused(**marks: Any) -> BackendUnavailableError:
    error = BackendUnavailableError("it refuses", code="connection_refused")
    for name, value in marks.items():
        setattr(error, name, value)
    return error


class Watched:
    """A condition, its clock, and all that it has told."""

    def __init__(self, *, failures: int = 3, is_probed: bool = True) -> None:
        self.clock = FakeClock()
        self.changes: list[ConditionChanged] = []
        self.condition = Condition(
            "main",
            failures=failures,
            probe_every=EVERY,
            clock=self.clock,
            wall_clock=lambda: int(self.clock.time() * 1e9),
            on_change=self.changes.append,
            is_probed=is_probed,
        )

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.condition.note(refused())

    def come_back(self) -> None:
        self.condition.probed(None)
        self.condition.signal(Signal.CAUGHT_UP, "made")

    @property
    def state(self) -> ConditionState:
        return self.condition.state

    @property
    def states(self) -> list[ConditionState]:
        return [change.state for change in self.changes]


@pytest.fixture
def watched() -> Watched:
    return Watched()


class TestBreaker:
    def test_some_failures_in_a_row_open_it_and_not_fewer(self, watched: Watched) -> None:
        watched.fail(2)
        assert watched.state is ConditionState.HEALTHY
        watched.fail()
        assert watched.state is ConditionState.DEGRADED
        (change,) = watched.changes
        assert (change.before, change.state, change.reason) == (
            ConditionState.HEALTHY,
            ConditionState.DEGRADED,
            "it refuses",
        )
        assert change.code == "connection_refused"

    @pytest.mark.parametrize("answer", ANSWERS)
    def test_an_answer_ends_the_row(self, watched: Watched, answer: StrongroomError | None) -> None:
        watched.fail(2)
        watched.condition.note(answer)
        watched.fail(2)
        assert watched.state is ConditionState.HEALTHY

    @pytest.mark.parametrize("error", [*NEITHER, refused(own_limit=True)])
    def test_what_says_nothing_about_reach_neither_counts_nor_ends_the_row(
        self, watched: Watched, error: StrongroomError
    ) -> None:
        watched.fail(2)
        for _ in range(5):
            watched.condition.note(error)
        assert watched.state is ConditionState.HEALTHY
        watched.fail()
        assert watched.state is ConditionState.DEGRADED
        watched.condition.note(error)
        assert watched.state is ConditionState.DEGRADED

    def test_a_connection_that_is_refused_counts_although_nothing_was_sent(self, watched: Watched) -> None:
        for _ in range(3):
            watched.condition.note(refused(unsent=True))
        assert watched.condition.is_out

    def test_a_refused_call_is_told_for_how_long_and_why(self, watched: Watched) -> None:
        watched.fail()
        watched.clock.advance(1)
        watched.fail(2)
        watched.clock.advance(2)
        with pytest.raises(BackendUnavailableError, match="main has been out of reach for 3 s: it refuses") as caught:
            watched.condition.admit()
        assert caught.value.unsent
        assert caught.value.lasted == pytest.approx(3.0)
        assert caught.value.code == "connection_refused"

    def test_a_call_that_fails_is_told_for_how_long(self, watched: Watched) -> None:
        watched.fail()
        watched.clock.advance(70)
        error = refused()
        watched.condition.note(error)
        assert error.lasted == pytest.approx(70.0)
        assert str(error) == "the backend has been out of reach for 1 min 10 s: it refuses"
        # It is the reason of others, too, which are told for how long by themselves.
        assert error.what == "it refuses"

    def test_an_outage_that_has_only_begun_is_not_told_for_how_long(self, watched: Watched) -> None:
        error = refused()
        watched.condition.note(error)
        assert (error.lasted, str(error)) == (0.0, "it refuses")

    def test_of_many_threads_one_makes_the_probe_that_nobody_else_makes(self) -> None:
        watched = Watched(is_probed=False)
        watched.fail(3)
        watched.clock.advance(EVERY)

        def attempt(_: int) -> bool:
            try:
                watched.condition.admit()
            except BackendUnavailableError:
                return False
            return True

        assert in_threads(12, attempt).count(True) == 1

    def test_a_probe_that_somebody_makes_is_waited_for_a_while(self, watched: Watched) -> None:
        watched.fail(3)
        watched.clock.advance(EVERY - 0.01)
        with pytest.raises(BackendUnavailableError):
            watched.condition.admit()
        watched.clock.advance(EVERY + 0.01)
        watched.condition.admit()
        with pytest.raises(BackendUnavailableError):
            watched.condition.admit()

    def test_probes_have_jitter_and_are_never_later_than_configured(self) -> None:
        due = []
        for _ in range(40):
            watched = Watched()
            watched.fail(3)
            due.append(watched.condition.probe_at - watched.clock())
        assert all(EVERY / 2 <= seconds <= EVERY for seconds in due)
        assert len(set(due)) > 30


class TestRecovery:
    def test_an_answered_probe_leads_back_by_way_of_recovering(self, watched: Watched) -> None:
        watched.fail(3)
        watched.clock.advance(60)
        watched.condition.probed(None)
        watched.clock.advance(5)
        assert watched.condition.signal(Signal.CAUGHT_UP, "made")
        assert watched.states == [ConditionState.DEGRADED, ConditionState.RECOVERING, ConditionState.HEALTHY]
        assert [change.lasted for change in watched.changes] == pytest.approx([0.0, 60.0, 5.0])

    def test_a_call_that_was_let_through_leads_back_as_well(self, watched: Watched) -> None:
        watched.fail(3)
        watched.condition.note(SecretNotFoundError("no such secret"))
        assert watched.state is ConditionState.RECOVERING

    def test_a_single_failure_while_it_recovers_or_is_on_trial_opens_it_again(self, watched: Watched) -> None:
        watched.fail(3)
        watched.condition.probed(None)
        watched.fail()
        assert watched.state is ConditionState.DEGRADED
        watched.come_back()
        watched.fail()
        assert watched.state is ConditionState.DEGRADED

    def test_the_trial_ends_with_an_answer_or_with_time(self, watched: Watched) -> None:
        watched.fail(3)
        watched.come_back()
        watched.condition.note(None)
        watched.fail(2)
        assert watched.state is ConditionState.HEALTHY
        watched.fail()
        watched.come_back()
        watched.clock.advance(TRIAL * EVERY)
        watched.fail(2)
        assert watched.state is ConditionState.HEALTHY

    def test_calls_that_were_begun_before_it_came_back_do_not_open_it_again(self, watched: Watched) -> None:
        begun = watched.condition.admit()
        watched.fail(3)
        watched.condition.probed(None)
        for _ in range(5):
            watched.condition.note(refused(), begun)
        assert watched.state is ConditionState.RECOVERING
        watched.condition.signal(Signal.CAUGHT_UP, "made")
        watched.condition.note(refused(), begun)
        assert watched.state is ConditionState.HEALTHY

    def test_one_that_answers_probes_only_is_left_alone_for_longer_and_not_for_ever(self, watched: Watched) -> None:
        watched.fail(3)
        longest = []
        for _ in range(8):
            watched.come_back()
            watched.fail()
            longest.append(watched.condition.probe_at - watched.clock())
        assert longest[0] <= EVERY
        assert longest[-1] > EVERY
        assert max(longest) <= SLOWEST * EVERY
        watched.come_back()
        watched.condition.note(None)
        watched.fail(3)
        assert watched.condition.probe_at - watched.clock() <= EVERY

    def test_the_oldest_substitute_is_of_this_outage(self, watched: Watched) -> None:
        watched.condition.note_substitute(99.0)
        assert watched.condition.report().oldest_stale is None
        watched.fail(3)
        for age in (3.0, 8.0, 5.0):
            watched.condition.note_substitute(age)
        assert watched.condition.report().oldest_stale == 8.0
        watched.come_back()
        assert watched.condition.report().oldest_stale is None

    def test_the_report_says_since_when_and_why(self, watched: Watched) -> None:
        watched.clock.advance(10)
        watched.fail(3)
        at = watched.clock.time()
        watched.clock.advance(10)
        watched.condition.probed(BackendUnavailableError("it is sealed", code="sealed"))
        report = watched.condition.report()
        assert (report.state, report.since, report.reason) == (ConditionState.DEGRADED, at, "it is sealed")
        watched.condition.probed(None)
        watched.condition.waits_because("the journal is busy")
        assert watched.condition.report().reason == "the journal is busy"
        watched.condition.signal(Signal.CAUGHT_UP, "made")
        assert watched.condition.report().reason == ""


class TestTelling:
    def test_whoever_is_told_may_cause_another_change_and_order_is_kept(self) -> None:
        watched = Watched()

        def told(change: ConditionChanged) -> None:
            watched.changes.append(change)
            if change.state is ConditionState.DEGRADED:
                watched.condition.probed(None)

        watched.condition._on_change = told
        watched.fail(3)
        assert watched.states == [ConditionState.DEGRADED, ConditionState.RECOVERING]

    def test_one_that_raises_does_not_silence_later_changes(self) -> None:
        watched = Watched()

        def told(change: ConditionChanged) -> None:
            watched.changes.append(change)
            if len(watched.changes) == 1:
                raise KeyboardInterrupt

        watched.condition._on_change = told
        with pytest.raises(KeyboardInterrupt):
            watched.fail(3)
        watched.come_back()
        assert watched.states == [ConditionState.DEGRADED, ConditionState.RECOVERING, ConditionState.HEALTHY]

    def test_threads_change_it_by_the_table_only(self) -> None:
        watched = Watched(failures=1)
        acts: list[Callable[[], object]] = [
            watched.fail,
            lambda: watched.condition.note(None),
            lambda: watched.condition.probed(None),
            lambda: watched.condition.signal(Signal.CAUGHT_UP, "made"),
            lambda: watched.condition.probed(refused()),
        ]
        in_threads(5, lambda number: [acts[(number + turn) % 5]() for turn in range(400)])
        assert_chained(watched)

    @pytest.mark.parametrize("moment", range(1, 12))
    def test_a_signal_s_handler_in_the_middle_of_a_change_leaves_no_gap(self, moment: int) -> None:
        """It is called where the interrupted thread is in one of our own calls."""
        watched = Watched(failures=1)
        real, calls = watched.condition._clock, itertools.count(1)

        def interrupted() -> float:
            if next(calls) == moment:
                watched.fail()
                watched.condition.probed(None)
            return real()

        watched.condition._clock = interrupted
        watched.fail()
        watched.come_back()
        watched.fail()
        assert_chained(watched)


def assert_chained(watched: Watched) -> None:
    """Check that each change leads from where the one before has led, by the table."""
    states = [ConditionState.HEALTHY, *watched.states]
    assert [change.before for change in watched.changes] == states[:-1]
    assert all((change.before, change.state) in ALLOWED for change in watched.changes)
    assert watched.state is states[-1]


ALLOWED = {(before, after) for (before, _), after in TRANSITIONS.items()}


def test_a_change_tells_when_the_backend_has_answered_last(watched: Watched) -> None:
    watched.fail(3)
    assert watched.changes[-1].answered is None
    watched.clock.advance(10)
    watched.come_back()
    back = watched.clock.time()
    watched.clock.advance(10)
    watched.fail(3)
    assert watched.changes[-1].answered == pytest.approx(back)
    watched.come_back()
    watched.clock.advance(7)
    watched.condition.note(SecretNotFoundError("no such secret"))
    answered = watched.clock.time()
    watched.clock.advance(7)
    watched.fail(3)
    assert watched.changes[-1].answered == pytest.approx(answered)


def test_a_forked_child_starts_healthy_with_a_lock_of_its_own(watched: Watched) -> None:
    watched.fail(3)
    held = threading.Thread(target=watched.condition._lock.acquire)
    held.start()
    held.join()

    def child() -> str:
        watched.condition.after_fork()
        watched.condition.admit()
        watched.fail(3)
        return watched.condition.state.value

    assert in_forked_child(child) == "degraded"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.9, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3 * 3600 + 300, "3 h 5 min"), (90000, "1 d 1 h")],
)
def test_a_time_in_words(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


class ConditionInAnyOrder(RuleBasedStateMachine):
    """Whatever happens, the state is what a plain model says, and each change is told with the right times."""

    @initialize(failures=st.integers(1, 4))
    def begin(self, failures: int) -> None:
        self.watched = Watched(failures=failures)
        self.failures = failures
        self.state = ConditionState.HEALTHY
        self.row = 0
        self.trial_until = 0.0
        self.since = self.watched.clock()
        self.failing_since: float | None = None
        self.told: list[tuple[ConditionState, ConditionState, float]] = []

    def _go(self, signal: Signal) -> None:
        after = TRANSITIONS.get((self.state, signal))
        if after is None:
            return
        now = self.watched.clock()
        self.told.append((self.state, after, now - self.since))
        self.state, self.since, self.row = after, now, 0
        if after is ConditionState.HEALTHY:
            self.failing_since = None
            self.trial_until = now + TRIAL * EVERY

    @rule(answer=st.sampled_from(ANSWERS))
    def answered(self, answer: StrongroomError | None) -> None:
        if self.state is ConditionState.DEGRADED:
            self._go(Signal.ANSWERED)
        else:
            self.row, self.failing_since, self.trial_until = 0, None, 0.0
        self.watched.condition.note(answer)

    @rule()
    def failed(self) -> None:
        now = self.watched.clock()
        self.row += 1
        if self.failing_since is None:
            self.failing_since = now
        if self.state is ConditionState.RECOVERING or now < self.trial_until or self.row >= self.failures:
            self._go(Signal.FAILED)
        error = refused()
        self.watched.condition.note(error)
        assert error.lasted == pytest.approx(now - self.failing_since)

    @rule(error=st.sampled_from([*NEITHER, refused(own_limit=True)]))
    def neither(self, error: StrongroomError) -> None:
        self.watched.condition.note(error)

    @rule()
    def failed_late(self) -> None:
        self.watched.condition.note(refused(), self.watched.condition.epoch - 1)

    @rule(well=st.booleans())
    def probed(self, well: bool) -> None:
        if well:
            self._go(Signal.ANSWERED)
        self.watched.condition.probed(None if well else refused())

    @rule()
    def caught_up(self) -> None:
        self._go(Signal.CAUGHT_UP)
        self.watched.condition.signal(Signal.CAUGHT_UP, "made")

    @rule(seconds=st.sampled_from([0.5, EVERY, 2 * EVERY, TRIAL * EVERY]))
    def time_passes(self, seconds: float) -> None:
        self.watched.clock.advance(seconds)

    @invariant()
    def it_is_as_the_model_says(self) -> None:
        condition = self.watched.condition
        assert condition.state is self.state
        assert condition.is_out == (self.state is ConditionState.DEGRADED)
        seen: list[tuple[ConditionState, ConditionState, Any]] = [
            (change.before, change.state, change.lasted) for change in self.watched.changes
        ]
        assert seen == [(before, after, pytest.approx(lasted)) for before, after, lasted in self.told]
        lasted = None if self.failing_since is None else self.watched.clock() - self.failing_since
        assert condition.lasted() == (None if lasted is None else pytest.approx(lasted))
        report = condition.report()
        assert self.watched.clock.time() - report.since == pytest.approx(self.watched.clock() - self.since, abs=1e-3)
        assert bool(report.reason) == (self.state is not ConditionState.HEALTHY)
        if self.state is ConditionState.DEGRADED:
            assert condition.probe_at <= self.watched.clock() + SLOWEST * EVERY


TestConditionInAnyOrder = ConditionInAnyOrder.TestCase
TestConditionInAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


class TestGuard:
    """What the guard around a backend tells the condition."""

    def guarded(self, backend: Backend, watched: Watched) -> GuardedBackend:
        return GuardedBackend(backend, name="main", type="test", capabilities=frozenset(), condition=watched.condition)

    def test_a_backend_that_is_out_is_not_called(self, watched: Watched, backend: FaultyBackend) -> None:
        guarded = self.guarded(backend, watched)
        backend.error = refused()
        for _ in range(10):
            with pytest.raises(BackendUnavailableError):
                guarded.read(ReadRequest(name="db/password"))  # type: ignore[arg-type]  # a name as text
        assert backend.calls == ["read"] * 3

    def test_an_error_of_foreign_code_is_no_outage(self, watched: Watched, backend: FaultyBackend) -> None:
        guarded = self.guarded(backend, watched)
        backend.error = OSError("foreign")
        for _ in range(10):
            with pytest.raises(BackendError):
                guarded.read(ReadRequest(name="db/password"))  # type: ignore[arg-type]  # a name as text
        assert watched.state is ConditionState.HEALTHY

    def test_several_reads_at_once_that_all_fail_are_one_failure(self, watched: Watched) -> None:
        class Loop(Backend):
            address = "loop"

            def read(self, request: ReadRequest) -> ReadResult:
                raise refused()

        guarded = self.guarded(Loop(), watched)
        names: Any = ("a", "b", "c", "d")
        for _ in range(2):
            assert len(guarded.read_many(ReadManyRequest(names=names)).errors) == 4
        assert watched.state is ConditionState.HEALTHY
        guarded.read_many(ReadManyRequest(names=names))
        assert watched.state is ConditionState.DEGRADED

    def test_each_of_several_reads_that_fail_is_told_for_how_long(self, watched: Watched) -> None:
        class Paced(Backend):
            address = "paced"

            def read(self, request: ReadRequest) -> ReadResult:
                raise refused(own_limit=request.name == "a")

        guarded = self.guarded(Paced(), watched)
        names: Any = ("a", "b", "c")
        guarded.read_many(ReadManyRequest(names=names))
        watched.clock.advance(5)
        errors = guarded.read_many(ReadManyRequest(names=names)).errors
        assert {str(error) for error in errors.values()} == {"main has been out of reach for 5 s: it refuses"}

    def test_several_reads_of_which_one_is_answered_are_an_answer(self, watched: Watched) -> None:
        class Half(Backend):
            address = "half"

            def read(self, request: ReadRequest) -> ReadResult:
                raise refused() if request.name == "a" else SecretNotFoundError("no such secret")

            def read_many(self, request: ReadManyRequest) -> ReadManyResult:
                return super().read_many(request)

        watched.fail(2)
        names: Any = ("a", "b")
        self.guarded(Half(), watched).read_many(ReadManyRequest(names=names))
        watched.fail(2)
        assert watched.state is ConditionState.HEALTHY


class Unwell(BaseHTTPRequestHandler):
    """Answers each request with status 503, and counts it."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        return


class Persistent(Backend):
    """Asks a server, and so often again as it was told."""

    def __init__(self, port: int, attempts: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self._attempts = attempts

    def read(self, request: ReadRequest) -> ReadResult:
        for _ in range(self._attempts):
            try:
                urlopen(f"{self.address}/{request.name}", timeout=5.0)  # noqa: S310  # a server of the test's own
            except HTTPError as error:
                last = error
        raise BackendUnavailableError("it answers with status 503", code="server_error") from last


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("fallback", [False, True])
def test_one_read_makes_exactly_the_backend_s_own_number_of_requests(
    open_manager: Any, make_backend: Any, attempts: int, fallback: bool
) -> None:
    """Nothing above the backend sends anything again."""
    handler: Any = type("Handler", (Unwell,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        backends = {"main": Persistent(server.server_port, attempts), "store": make_backend().wrapped}
        options: dict[str, Any] = {"fallback": "store", "resilience": {"keep_copy": True}} if fallback else {}
        manager = open_manager(backends=backends, backend="main", **options)
        with pytest.raises(BackendUnavailableError):
            manager.get("a/b")
        assert handler.asked == ["/a/b"] * attempts
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
