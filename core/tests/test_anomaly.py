"""Running detectors and turning their verdicts into allow, alert or block."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from strongroom.anomaly import AnomalyStage, ConfiguredDetector
from strongroom.contracts import Access, AnomalyDetector, Decision, Verdict
from strongroom.errors import AccessDeniedError, AuditError, SuspiciousActivityError
from strongroom.model import Principal, PrincipalSource, SecretName
from strongroom.policy import Action


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

    ANN = Principal(name="ann", source=PrincipalSource.CONFIGURATION)

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
            stage.judge(self.ANN, Action.READ, SecretName("a"))
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
