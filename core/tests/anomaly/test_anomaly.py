"""Running detectors and turning their verdicts into allow, alert or block."""

from __future__ import annotations

import itertools

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from strongroom.anomaly.stage import COOLING, AnomalyStage, ConfiguredDetector, Watch
from strongroom.contracts import Access, AnomalyDetector, Decision, Outcome, Repeats, Verdict
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    BackendUnavailableError,
    SecretNotFoundError,
    SuspiciousActivityError,
)
from strongroom.model import Principal, PrincipalSource, SecretName
from strongroom.policy import Action
from strongroom.testing import FakeClock, in_threads

ALLOW = Verdict(decision=Decision.ALLOW)
INF = float("inf")


def access_to(stage: AnomalyStage, name: str, who: str = "ann") -> Access:
    """Return what the stage shows to its detectors."""
    access = stage.access(Principal(name=who, source=PrincipalSource.CONFIGURATION), Action.READ, SecretName(name))
    assert access is not None
    return access


class TestDetectors:
    """Detectors see every access before the cache does."""

    def test_every_access_is_shown_hits_and_denials_too(self, open_manager: Any, watched: Any, rule: Any) -> None:
        manager = open_manager(
            {"a": "1"}, anomaly=[{"type": "watch"}], policies=[rule("tester", "*", names="a"), rule("tester", "list")]
        )
        manager.get("a")
        manager.get("a")
        manager.get_many(["a", "b"])
        manager.list()
        manager.set("a", "2")
        assert [(access.action, access.name, access.allowed) for access in watched.seen] == [
            ("read", "a", True),
            ("read", "a", True),
            ("read", "a", True),
            ("read", "b", False),
            ("list", "**", True),
            ("update", "a", True),
        ]

    def test_an_access_shows_who_took_on_the_principal_and_when_it_was_by_the_manager_s_clock(
        self, open_manager: Any, watched: Any, rule: Any, clock: Any
    ) -> None:
        manager = open_manager(
            {"a": "1"}, anomaly=[{"type": "watch"}], policies=[rule("tester", "read"), rule("api", "read", names="a")]
        )
        view = manager.as_principal("api")
        manager.get("a")
        clock.advance(3600)
        view.as_principal("other").get_many(["a"])
        with pytest.raises(AccessDeniedError):
            view.get("b")
        start = clock.now()
        assert [(access.principal.name, access.base, access.time) for access in watched.seen] == [
            ("tester", None, start - timedelta(hours=1)),
            ("other", manager.principal, start),
            ("api", manager.principal, start),
        ]

    def test_a_blocked_read_gets_no_value_and_is_recorded(self, open_manager: Any, watched: Any, sink: Any) -> None:
        manager = open_manager({"a": "1"}, anomaly=[{"type": "watch", "action": "block"}])
        manager.get("a")
        watched.verdict = Verdict(decision=Decision.BLOCK, reason="too many")
        with pytest.raises(SuspiciousActivityError, match="'watch' blocked this access to a: too many"):
            manager.get("a")
        assert [(event.event, event.result, event.rule) for event in sink.events[-2:]] == [
            ("alert", "blocked", "watch"),
            ("get", "suspicious", "watch"),
        ]

    @pytest.mark.parametrize("decision", [Decision.ALERT, Decision.BLOCK])
    def test_without_the_action_block_a_verdict_only_alerts(
        self, decision: Decision, open_manager: Any, watched: Any, sink: Any
    ) -> None:
        manager = open_manager({"a": "1"}, anomaly=[{"type": "watch"}])
        watched.verdict = Verdict(decision=decision, reason="odd")
        assert manager.get("a").reveal_text() == "1"
        assert [(event.result, event.detail) for event in sink.named("alert")] == [("alert", "odd")]

    @pytest.mark.parametrize("answer", [RuntimeError("s3cret"), None, "allow"])
    def test_a_detector_that_fails_is_isolated_unless_it_is_required(
        self, answer: Any, open_manager: Any, watched: Any
    ) -> None:
        watched.verdict = answer
        assert open_manager({"a": "1"}, anomaly=[{"type": "watch"}]).get("a").reveal_text() == "1"
        required = open_manager({"a": "1"}, anomaly=[{"type": "watch", "required": True}])
        with pytest.raises(SuspiciousActivityError, match="it failed with") as caught:
            required.get("a")
        assert "s3cret" not in str(caught.value)


class Fixed(AnomalyDetector):
    """Always answers the same, and may fail to close."""

    def __init__(self, decision: Decision, reason: str = "") -> None:
        self.verdict = Verdict(decision=decision, reason=reason)
        self.seen = 0

    def judge(self, access: Access) -> Verdict:
        self.seen += 1
        return self.verdict

    def close(self) -> None:
        raise OSError


class TestStage:
    """Several detectors, each asked."""

    def test_all_learn_from_each_access_and_the_first_that_blocks_decides(self) -> None:
        detectors = [Fixed(Decision.BLOCK, "first"), Fixed(Decision.BLOCK, "second"), Fixed(Decision.ALLOW)]
        alerts: list[Any] = []
        stage = AnomalyStage(
            tuple(
                ConfiguredDetector(name=f"d{number}", detector=detector, block=True)
                for number, detector in enumerate(detectors)
            ),
            alerts.append,
        )
        with pytest.raises(SuspiciousActivityError, match="'d0' blocked this access to a: first") as caught:
            stage.judge(access_to(stage, "a"))
        assert (caught.value.rule, caught.value.name) == ("d0", "a")
        assert [detector.seen for detector in detectors] == [1, 1, 1]
        assert [(alert.detector, alert.blocked) for alert in alerts] == [("d0", True), ("d1", True)]
        assert stage.verdicts == {Decision.ALLOW: 1, Decision.ALERT: 0, Decision.BLOCK: 2}

    def test_one_that_fails_to_close_does_not_keep_the_others_open(self) -> None:
        closed: list[str] = []

        class Closing(Fixed):
            def close(self) -> None:
                closed.append("yes")

        detectors = (Fixed(Decision.ALLOW), Closing(Decision.ALLOW))
        stage = AnomalyStage(
            tuple(ConfiguredDetector(name="d", detector=detector) for detector in detectors), lambda _: None
        )
        stage.close()
        assert closed == ["yes"]


def test_an_alert_that_cannot_be_recorded_refuses_the_access(open_manager: Any, watched: Any, sink: Any) -> None:
    manager = open_manager({"a": "1"}, anomaly=[{"type": "watch"}])
    manager.get("a")
    watched.verdict = Verdict(decision=Decision.ALERT, reason="odd")
    sink.failing = True
    with pytest.raises(AuditError):
        manager.get("a")


def test_what_is_denied_stays_denied_by_the_policy_even_if_a_detector_would_block_it(
    open_manager: Any, watched: Any, rule: Any
) -> None:
    manager = open_manager({"a": "1"}, anomaly=[{"type": "watch", "action": "block"}], policies=[rule("x", "read")])
    watched.verdict = Verdict(decision=Decision.BLOCK, reason="odd")
    with pytest.raises(AccessDeniedError) as caught:
        manager.get("a")
    assert caught.value.code == "denied"


class Repeating(AnomalyDetector):
    """Lets hits be counted instead of shown, as long as its wish says.

    Attributes:
        judged: How many accesses it was shown.
        count: Counts one more, and returns the new count.
        limit: The last count that passes.
        until: When it wants to be asked again.
        verdict: What it answers.
    """

    def __init__(self, limit: float = INF, until: Callable[[], float] = lambda: INF) -> None:
        self.shown = itertools.count().__next__
        self.count = itertools.count(1).__next__
        self.limit: Any = limit
        self.until = until
        self.verdict = ALLOW

    @property
    def judged(self) -> int:
        shown = self.shown()
        self.shown = itertools.count(shown).__next__
        return shown

    def judge(self, access: Access) -> Verdict:
        self.shown()
        return self.verdict

    def repeats(self, access: Access) -> Repeats | None:
        return Repeats(until=self.until(), counters=((self.count, self.limit),))


class Unwilling(Repeating):
    """Wants to see each hit, or fails when it is asked whether it does."""

    def __init__(self, wish: Exception | None) -> None:
        super().__init__()
        self.wish = wish

    def repeats(self, access: Access) -> Repeats | None:
        if self.wish is not None:
            raise self.wish
        return None


class TestRepetitions:
    """Hits that a detector wants to have counted only, and those that it wants to see."""

    def test_what_is_counted_is_not_shown(self, open_manager: Any, detecting: Any) -> None:
        detector = Repeating()
        manager = open_manager({"a": "1"}, anomaly=detecting(detector))
        for _ in range(100):
            manager.get("a")
        # The miss and the first hit are judged, and each later hit is counted.
        assert (detector.judged, detector.count() - 1) == (2, 98)

    def test_a_repetition_beyond_the_limit_is_judged_as_a_whole(
        self, open_manager: Any, detecting: Any, sink: Any
    ) -> None:
        detector = Repeating(limit=3)
        manager = open_manager({"a": "1"}, anomaly=detecting(detector, action="block"))
        for _ in range(2 + 3):
            manager.get("a")
        assert detector.judged == 2
        detector.verdict = Verdict(decision=Decision.BLOCK, reason="too many")
        for number in (3, 4):
            with pytest.raises(SuspiciousActivityError):
                manager.get("a")
            assert detector.judged == number
        manager.flush()
        assert [event.result for event in sink.named("get")] == ["ok"] * 5 + ["suspicious"] * 2

    def test_the_strictest_of_several_counters_decides(self, open_manager: Any, detecting: Any) -> None:
        lax, strict = Repeating(limit=50), Repeating(limit=2)
        manager = open_manager({"a": "1"}, anomaly=detecting(lax, strict))
        for _ in range(2 + 2):
            manager.get("a")
        assert (lax.judged, strict.judged) == (2, 2)
        manager.get("a")
        assert (lax.judged, strict.judged) == (3, 3)

    def test_when_its_time_has_come_a_detector_is_asked_again(
        self, open_manager: Any, detecting: Any, clock: FakeClock
    ) -> None:
        soon, never = Repeating(until=lambda: clock.time() + 6), Repeating()
        manager = open_manager({"a": "1"}, anomaly=detecting(soon, never), cache={"ttl": "1h", "jitter": 0})
        for _ in range(2):
            manager.get("a")
        for judged in (3, 4):
            clock.advance(5.5)
            manager.get("a")
            assert soon.judged == never.judged == judged - 1
            clock.advance(0.5)
            manager.get("a")
            assert soon.judged == never.judged == judged

    @pytest.mark.parametrize("wish", [None, RuntimeError()], ids=["wants", "fails"])
    def test_a_detector_that_does_not_say_what_to_count_is_asked_about_each_hit(
        self, wish: Exception | None, open_manager: Any, detecting: Any
    ) -> None:
        others, unwilling = (Repeating(), Repeating()), Unwilling(wish)
        manager = open_manager({"a": "1"}, anomaly=detecting(others[0], unwilling, others[1]))
        for number in range(1, 50):
            manager.get("a")
            assert unwilling.judged == number
        assert [other.judged for other in others] == [49, 49]

    def test_a_detector_may_want_to_see_what_it_had_counted_before(self, open_manager: Any, detecting: Any) -> None:
        detector = Repeating(limit=1)
        manager = open_manager({"a": "1"}, anomaly=detecting(detector))
        for _ in range(3):
            manager.get("a")
        assert detector.judged == 2
        detector.repeats = lambda access: None  # type: ignore[method-assign]  # it has found something out
        manager.get("a")
        detector.limit = INF
        for number in range(4, 10):
            manager.get("a")
            assert detector.judged == number

    def test_what_one_principal_repeats_says_nothing_of_another(self, open_manager: Any, detecting: Any) -> None:
        detector = Repeating()
        manager = open_manager({"a": "1", "b": "1"}, anomaly=detecting(detector))
        for _ in range(5):
            manager.get("a")
        manager.get("b")
        manager.as_principal("api").get("a")
        assert detector.judged == 4

    @pytest.mark.parametrize("detectors", [1, 3])
    def test_every_hit_of_every_thread_is_counted_or_judged_once(
        self, detectors: int, open_manager: Any, detecting: Any
    ) -> None:
        found = [Repeating() for _ in range(detectors)]
        manager = open_manager({f"n/{number}": "v" for number in range(3)}, anomaly=detecting(*found))

        def read(number: int) -> None:
            for turn in range(2000):
                manager.get(f"n/{(turn + number) % 3}")

        in_threads(8, read)
        assert manager.stats().reads == 8 * 2000
        assert [detector.judged + detector.count() - 1 for detector in found] == [8 * 2000] * detectors

    def test_beyond_the_limit_of_one_no_detector_counts_what_it_is_shown(
        self, open_manager: Any, detecting: Any
    ) -> None:
        """Or whoever counts both ways would count everything twice; only the one that went beyond is."""
        lax, strict = Repeating(), Repeating(limit=5)
        manager = open_manager({"a": "1"}, anomaly=detecting(lax, strict))
        for _ in range(100):
            manager.get("a")
        for detector in (lax, strict):
            assert (detector.judged, detector.count() - 1) == (100 - 5, 6)

    @pytest.mark.parametrize("change", ["limit", "count"])
    def test_another_limit_or_another_counter_is_counted_by_again(
        self, change: str, open_manager: Any, detecting: Any
    ) -> None:
        detector = Repeating(limit=5)
        manager = open_manager({"a": "1"}, anomaly=detecting(detector))
        for _ in range(20):
            manager.get("a")
        before = detector.judged
        if change == "limit":
            detector.limit = 1000
        else:
            detector.count = itertools.count(-100).__next__
        for _ in range(50):
            manager.get("a")
        assert detector.judged == before + 1

    def test_under_threads_exactly_as_many_pass_as_may(self) -> None:
        detector = Repeating(limit=5000)
        watch = Watch(INF, ((detector.count, detector.limit),))
        passed = in_threads(8, lambda _: sum(watch.lets_pass(0.0) for _ in range(1000)))
        assert sum(passed) == 5000


class Learning(Repeating):
    """Notes how accesses ended."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[tuple[str, bool, str]] = []
        self.answer: Any = ALLOW

    def observe(self, outcome: Outcome) -> Verdict:
        self.outcomes.append((outcome.access.name, outcome.access.allowed, outcome.result))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class TestOutcomes:
    """Detectors hear how those accesses ended that the cache did not answer with a value."""

    def test_each_way_to_end_is_told(self, open_manager: Any, detecting: Any, rule: Any, backend: Any) -> None:
        detector = Learning()
        manager = open_manager(
            backends={"memory": backend},
            anomaly=detecting(detector),
            policies=[rule("tester", "read", names=("db/**", "absent"))],
        )

        def read(name: str, error: Exception | None = None) -> None:
            backend.error = error
            try:
                manager.get(name)
            except (AccessDeniedError, BackendUnavailableError, SecretNotFoundError):
                return

        for _ in range(3):
            read("db/password")
        for _ in range(2):
            read("absent")
        read("not/allowed")
        read("db/refused", AccessDeniedError("not for you"))
        read("db/away", BackendUnavailableError("no answer", code="timeout"))
        assert detector.outcomes == [
            ("db/password", True, "ok"),
            ("absent", True, "not_found"),
            ("absent", True, "not_found"),
            ("not/allowed", False, "denied"),
            ("db/refused", True, "denied"),
            ("db/away", True, "timeout"),
        ]

    def test_each_name_of_a_batch_is_told(self, open_manager: Any, detecting: Any) -> None:
        detector = Learning()
        manager = open_manager({"a": "1", "b": "1"}, anomaly=detecting(detector))
        manager.get_many(["a", "b", "absent"])
        assert detector.outcomes == [("a", True, "ok"), ("b", True, "ok"), ("absent", True, "not_found")]

    def test_it_is_too_late_to_block_but_not_to_tell(self, open_manager: Any, detecting: Any, sink: Any) -> None:
        detector = Learning()
        detector.answer = Verdict(decision=Decision.BLOCK, reason="odd")
        manager = open_manager({"a": "1"}, anomaly=detecting(detector, action="block"))
        assert manager.get("a").reveal_text() == "1"
        assert [(event.result, event.detail) for event in sink.named("alert")] == [("alert", "odd")]

    @pytest.mark.parametrize("answer", [RuntimeError(), None])
    def test_one_that_fails_to_learn_stops_neither_the_read_nor_the_others(
        self, answer: Any, open_manager: Any, detecting: Any
    ) -> None:
        failing, other = Learning(), Learning()
        failing.answer = answer
        manager = open_manager({"a": "1"}, anomaly=detecting(failing, other, required=True))
        assert manager.get("a").reveal_text() == "1"
        assert other.outcomes == [("a", True, "ok")]
        assert manager._parts.anomaly.failures == 1


class TestCoolDown:
    """After an alert none about the same is sent for a while."""

    @pytest.fixture
    def odd(self, clock: FakeClock) -> tuple[AnomalyStage, Fixed, list[Any]]:
        detector, alerts = Fixed(Decision.BLOCK, "odd"), []
        configured = ConfiguredDetector(name="d", detector=detector, block=True, cool_down=60.0)
        return AnomalyStage((configured,), alerts.append, clock=clock), detector, alerts

    def judge(self, stage: AnomalyStage, who: str = "ann") -> None:
        with pytest.raises(SuspiciousActivityError):
            stage.judge(access_to(stage, "a", who))

    def test_what_is_not_sent_is_counted_and_told_with_the_next_and_stays_blocked(
        self, odd: Any, clock: FakeClock
    ) -> None:
        stage, _, alerts = odd
        for _ in range(4):
            self.judge(stage)
        clock.advance(59)
        self.judge(stage)
        assert ([alert.suppressed for alert in alerts], stage.suppressed) == ([0], 4)
        clock.advance(1)
        self.judge(stage)
        self.judge(stage)
        assert ([alert.suppressed for alert in alerts], stage.suppressed) == ([0, 4], 5)
        assert stage.verdicts[Decision.BLOCK] == 7

    def test_each_principal_and_each_subject_has_its_own(self, odd: Any) -> None:
        stage, detector, alerts = odd
        for who in ("ann", "bob", "ann", "bob"):
            self.judge(stage, who)
        detector.verdict = detector.verdict.replace(subject="ann a")
        for _ in range(2):
            self.judge(stage)
        assert [alert.access.principal.name for alert in alerts] == ["ann", "bob", "ann"]

    def test_without_one_each_alert_is_sent(self, clock: FakeClock) -> None:
        alerts: list[Any] = []
        configured = ConfiguredDetector(name="d", detector=Fixed(Decision.ALERT), cool_down=0.0)
        stage = AnomalyStage((configured,), alerts.append, clock=clock)
        for _ in range(3):
            stage.judge(access_to(stage, "a"))
        assert len(alerts) == 3

    def test_what_is_remembered_is_bounded(self, odd: Any) -> None:
        stage, _, alerts = odd
        for number in range(2 * COOLING):
            self.judge(stage, f"p{number}")
        self.judge(stage, f"p{2 * COOLING - 1}")
        assert len(alerts) == 2 * COOLING
        assert len(stage._cooling) <= COOLING

    def test_the_trail_says_how_many_were_not_sent(
        self, open_manager: Any, watched: Any, sink: Any, clock: FakeClock
    ) -> None:
        manager = open_manager({"a": "1"}, anomaly=[{"type": "watch", "cool_down": "10s"}])
        watched.verdict = Verdict(decision=Decision.ALERT, reason="odd", evidence=("9 of 3",))
        for _ in range(3):
            manager.get("a")
        clock.advance(10)
        manager.get("a")
        assert [event.detail for event in sink.named("alert")] == [
            "odd; 9 of 3",
            "odd; 9 of 3; 2 more alerts about this were not sent",
        ]
