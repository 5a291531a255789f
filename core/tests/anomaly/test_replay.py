"""What detectors would have said to a recorded trail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from strongroom.anomaly.replay import Replay
from strongroom.anomaly.stage import AnomalyStage, ConfiguredDetector
from strongroom.contracts import Access, AnomalyDetector, Decision, Outcome, Verdict
from strongroom.model import AuditEvent, PrincipalSource

START = datetime(2030, 1, 1, tzinfo=UTC)


class Told(AnomalyDetector):
    """Notes what it is shown, and finds each name that begins with `odd` odd."""

    def __init__(self, decision: Decision = Decision.ALERT) -> None:
        self.accesses: list[Access] = []
        self.outcomes: list[str] = []
        self.decision = decision
        self.closed = False

    def judge(self, access: Access) -> Verdict:
        self.accesses.append(access)
        if access.name.startswith("odd"):
            return Verdict(decision=self.decision, reason="it is odd", evidence=(access.name,))
        return Verdict(decision=Decision.ALLOW)

    def observe(self, outcome: Outcome) -> Verdict:
        self.outcomes.append(outcome.result)
        odd = outcome.access.name == "found-odd"
        return Verdict(decision=Decision.ALERT if odd else Decision.ALLOW, reason="it ended oddly")

    def close(self) -> None:
        self.closed = True


class Failing(AnomalyDetector):
    def judge(self, access: Access) -> Verdict:
        raise RuntimeError


def configured(detector: AnomalyDetector, **keys: Any) -> ConfiguredDetector:
    return ConfiguredDetector(**({"name": "told", "detector": detector, "cool_down": 0.0} | keys))


class Script:
    """Makes events, a second apart unless told otherwise."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, event: str = "get", *, at: float | None = None, **fields: Any) -> AuditEvent:
        self.made += 1
        moment = START + timedelta(seconds=self.made if at is None else at)
        content = {"id": f"id{self.made}", "key": "db/a", "principal": "alice", "host": "here", "pid": 1} | fields
        return AuditEvent(event=event, timestamp=moment.isoformat(timespec="microseconds"), **content)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def told() -> Told:
    return Told()


def played(detector: AnomalyDetector, *events: AuditEvent, **keys: Any) -> Replay:
    replay = Replay((configured(detector, **keys),))
    for event in events:
        replay.feed(event)
    return replay


class TestAccesses:
    def test_an_event_is_shown_as_the_access_that_it_records(self, told: Told, script: Script) -> None:
        played(
            told,
            script("opened", key=None, principal=None, detail="worker.py"),
            script("get", principal_source="as_principal", on_behalf_of="bob"),
        )
        [access] = told.accesses
        assert (access.principal.name, access.principal.source) == ("alice", PrincipalSource.AS_PRINCIPAL)
        assert (access.base.name if access.base else None, access.host, access.process) == ("bob", "here", "worker.py")
        assert (access.action, access.name, access.allowed) == ("read", "db/a", True)
        assert access.time == START + timedelta(seconds=2)

    @pytest.mark.parametrize(
        ("event", "key", "shown"),
        [
            ("get", "a", ("read", "a")),
            ("versions", "a", ("read", "a")),
            ("set", "a", ("update", "a")),
            ("delete", "a", ("delete", "a")),
            ("rotate", "a", ("rotate", "a")),
            ("list", "db/", ("list", "db")),
            ("list", "", ("list", "**")),
        ],
    )
    def test_each_kind_of_operation_is_an_access(
        self, event: str, key: str, shown: tuple[str, str], told: Told, script: Script
    ) -> None:
        played(told, script(event, key=key))
        assert [(access.action, access.name) for access in told.accesses] == [shown]

    @pytest.mark.parametrize(
        "fields",
        [
            {"event": "alert", "rule": "rate"},
            {"event": "closed", "principal": None},
            {"result": "invalid_name", "key": "db//a"},
            {"result": "invalid_name", "key": "xyz"},
            {"key": None},
            {"principal": None},
        ],
    )
    def test_what_came_to_no_access_is_not_shown(self, fields: dict[str, Any], told: Told, script: Script) -> None:
        replay = played(told, script(**fields))
        assert (told.accesses, replay.events, replay.accesses) == ([], 1, 0)

    def test_an_event_without_a_readable_time_is_passed_over(self, told: Told, script: Script) -> None:
        replay = played(told, script().replace(timestamp="yesterday"), script())
        assert (replay.events, replay.accesses) == (2, 1)

    def test_an_operation_is_one_access_with_or_without_an_outcome(self, told: Told, script: Script) -> None:
        played(
            told,
            script("set", id="whole", phase="attempt", key="a"),
            script("set", id="cut", phase="attempt", key="b"),
            script("set", id="whole", key="a"),
            script("delete", id="alone", key="c", result="denied", rule="default deny"),
        )
        assert [access.name for access in told.accesses] == ["a", "b", "c"]

    def test_an_event_that_was_recorded_twice_is_one_access(self, told: Told, script: Script) -> None:
        event = script()
        played(told, event, script(), event)
        assert len(told.accesses) == 2

    def test_the_program_is_that_of_the_process_on_its_machine(self, told: Told, script: Script) -> None:
        opened = {"key": None, "principal": None}
        played(
            told,
            script("opened", detail="one", pid=1, **opened),
            script("opened", detail="two", pid=1, host="there", **opened),
            script(pid=1),
            script(pid=1, host="there"),
            script(pid=2),
        )
        assert [access.process for access in told.accesses] == ["one", "two", ""]


class TestOutcomes:
    def test_a_detector_is_told_what_a_running_program_would_tell_it(self, told: Told, script: Script) -> None:
        played(
            told,
            script(source="backend"),
            script(source="cache", cache_hit=True),
            script(source="cache", cache_hit=True, result="not_found"),
            script(result="timeout", source="backend"),
            script(result="denied", source="backend"),
            script("set"),
            script(result="suspicious", rule="rate"),
        )
        assert told.outcomes == ["ok", "not_found", "timeout", "denied"]
        assert all(access.allowed for access in told.accesses)

    def test_what_the_policy_denied_is_shown_as_denied(self, told: Told, script: Script) -> None:
        played(told, script("delete", result="denied", rule="policies[1] of strongroom.toml"))
        assert [access.allowed for access in told.accesses] == [False]
        assert told.outcomes == ["denied"]

    def test_what_would_have_been_blocked_has_no_outcome(self, script: Script) -> None:
        blocking, other = Told(Decision.BLOCK), Told()
        replay = Replay((configured(blocking, block=True), configured(other)))
        replay.feed(script(key="odd"))
        assert len(other.accesses) == 1
        assert blocking.outcomes == other.outcomes == []

    def test_an_outcome_may_lead_to_an_alert(self, told: Told, script: Script) -> None:
        replay = Replay((configured(told),))
        [alert] = replay.feed(script(key="found-odd", result="not_found"))
        assert (alert.reason, alert.blocked) == ("it ended oddly", False)


class TestAlerts:
    def test_an_alert_says_what_one_of_a_running_program_says(self, told: Told, script: Script) -> None:
        replay = Replay((configured(told),))
        assert replay.feed(script()) == []
        [alert] = replay.feed(script(key="odd/b"))
        assert (alert.detector, alert.reason, alert.evidence) == ("told", "it is odd", ("odd/b",))
        assert (alert.access.name, alert.blocked) == ("odd/b", False)

    def test_a_verdict_to_block_blocks_only_where_the_configuration_lets_it(self, script: Script) -> None:
        for block in (True, False):
            replay = Replay((configured(Told(Decision.BLOCK), block=block),))
            [alert] = replay.feed(script(key="odd"))
            assert alert.blocked is block
            assert [summary.blocks for summary in replay.summaries()] == [int(block)]

    def test_the_cool_down_runs_on_the_clock_of_the_trail(self, script: Script) -> None:
        replay = Replay((configured(Told(Decision.BLOCK), block=True, cool_down=60.0),))
        sent = [len(replay.feed(script(key="odd", at=at))) for at in (0, 59, 61, 62, 122)]
        assert sent == [1, 0, 1, 0, 1]
        [summary] = replay.summaries()
        assert (summary.alerts, summary.suppressed, summary.blocks) == (3, 2, 5)

    def test_a_denied_access_is_not_blocked_once_more(self, script: Script) -> None:
        replay = Replay((configured(Told(Decision.BLOCK), block=True),))
        replay.feed(script(key="odd", result="denied", rule="default deny"))
        assert [(summary.alerts, summary.blocks) for summary in replay.summaries()] == [(1, 0)]

    def test_detectors_do_not_share_a_cool_down(self, script: Script) -> None:
        entries = tuple(configured(Told(), cool_down=60.0) for _ in range(2))
        assert len(Replay(entries).feed(script(key="odd"))) == 2

    def test_one_that_fails_is_counted_and_the_others_go_on(self, told: Told, script: Script) -> None:
        replay = Replay((configured(Failing()), configured(Failing(), required=True), configured(told)))
        assert len(replay.feed(script(key="odd"))) == 1
        assert [(one.failures, one.blocks) for one in replay.summaries()] == [(1, 0), (1, 1), (0, 0)]

    def test_it_agrees_with_the_stage_of_a_running_program(self, script: Script) -> None:
        times = [0.0, 10.0, 400.0, 599.0, 601.0, 5000.0]
        alerts: list[Any] = []
        now = [0.0]
        entry = configured(Told(Decision.BLOCK), block=False, cool_down=600.0)
        stage = AnomalyStage((entry,), alerts.append, clock=lambda: now[0], wall_clock=lambda: int(now[0] * 1e9))
        replay = Replay((configured(Told(Decision.BLOCK), block=False, cool_down=600.0),))
        replayed: list[Any] = []
        for time in times:
            event = script(key="odd", at=time)
            replayed += replay.feed(event)
            now[0] = time
            shown = Told()
            played(shown, event)
            stage.judge(shown.accesses[0])
        assert [(one.access.time, one.suppressed) for one in replayed] == [
            (one.access.time, one.suppressed) for one in alerts
        ]
        assert len(replayed) == 3


class TestLearning:
    def test_what_is_said_while_learning_is_not_counted(self, told: Told, script: Script) -> None:
        replay = Replay((configured(told),), learn_until=START + timedelta(seconds=100))
        assert replay.feed(script(key="odd", at=99)) == []
        assert len(replay.feed(script(key="odd", at=100))) == 1
        assert [summary.alerts for summary in replay.summaries()] == [1]
        assert len(told.accesses) == 2

    def test_neither_are_blocks_and_what_was_kept_back(self, script: Script) -> None:
        entry = configured(Told(Decision.BLOCK), block=True, cool_down=60.0)
        replay = Replay((entry,), learn_until=START + timedelta(seconds=100))
        for at in (1, 2, 3, 200):
            replay.feed(script(key="odd", at=at))
        assert [(one.blocks, one.suppressed) for one in replay.summaries()] == [(1, 0)]

    def test_alerts_a_day_are_counted_from_then_on(self, told: Told, script: Script) -> None:
        day = 86_400.0
        replay = Replay((configured(told),), learn_until=START + timedelta(days=6))
        for at in (0.0, 6.5 * day, 7 * day, 10 * day):
            replay.feed(script(key="odd", at=at))
        assert replay.days == pytest.approx(4.0)
        assert [one.alerts_per_day for one in replay.summaries()] == [pytest.approx(3 / 4)]

    def test_a_short_trail_counts_as_a_day(self, told: Told, script: Script) -> None:
        replay = played(told, script(key="odd", at=0), script(key="odd", at=60))
        assert (replay.days, [one.alerts_per_day for one in replay.summaries()]) == (pytest.approx(1 / 1440), [2.0])


def test_without_an_access_there_is_nothing_to_tell(told: Told) -> None:
    replay = played(told)
    assert (replay.days, replay.first, replay.last) == (0.0, None, None)
    assert [(one.alerts, one.alerts_per_day) for one in replay.summaries()] == [(0, 0.0)]


def test_events_that_are_a_little_out_of_order_are_taken_as_they_come(told: Told, script: Script) -> None:
    replay = played(told, script(at=10), script(at=9.96), script(at=11))
    assert (replay.first, replay.last) == (START + timedelta(seconds=9.96), START + timedelta(seconds=11))
    assert len(told.accesses) == 3


def test_closing_closes_the_detectors(told: Told) -> None:
    played(told).close()
    assert told.closed
