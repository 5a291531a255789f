"""The contract of an anomaly detector, as checks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from strongroom.contracts import Access, AnomalyDetector, Decision, Verdict
from strongroom.model import Principal, PrincipalSource, SecretName
from strongroom.testing.processes import busy_threads, in_forked_child, in_threads

ACTIONS = ("read", "list", "create", "update", "rotate", "delete")
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class AnomalyDetectorContract:
    """Everything that a detector promises; override the fixture ``detector``."""

    @pytest.fixture
    def detector(self) -> AnomalyDetector:
        """Return the detector under test; every author overrides this."""
        raise NotImplementedError(f"{type(self).__name__} must override the fixture `detector`")

    @pytest.mark.parametrize("action", ACTIONS)
    def test_every_action_is_judged(self, detector: AnomalyDetector, action: str) -> None:
        """Each action that the core knows gets a verdict, whatever it is."""
        _judge(detector, access(action=action))

    def test_a_refused_access_is_judged(self, detector: AnomalyDetector) -> None:
        """The core shows what the policy has refused, too."""
        _judge(detector, access(allowed=False))

    def test_an_access_on_somebody_else_s_behalf_is_judged(self, detector: AnomalyDetector) -> None:
        """One principal may act as another, and as any number of them."""
        base = Principal(name="base", source=PrincipalSource.CONFIGURATION)
        for number in range(100):
            _judge(detector, access(principal=f"taken-on-{number}").replace(base=base))

    @pytest.mark.parametrize("name", ["a", "caf\u00e9/\u65e5\u672c", "a%s/{}/*", "n" * 512])
    def test_names_do_not_upset_it(self, detector: AnomalyDetector, name: str) -> None:
        """Whatever name is accessed, there is a verdict."""
        _judge(detector, access(name=name))

    def test_a_busy_day_is_judged_to_the_end(self, detector: AnomalyDetector) -> None:
        """A thousand accesses by several principals to many names, some refused, each get a verdict."""
        for number in range(1000):
            _judge(
                detector,
                access(
                    principal=f"principal-{number % 7}",
                    action=ACTIONS[number % len(ACTIONS)],
                    name=f"folder/{number % 150}",
                    time=START + timedelta(seconds=number * 37),
                    allowed=number % 5 != 0,
                ),
            )

    def test_time_may_stand_still_or_go_back(self, detector: AnomalyDetector) -> None:
        """Threads hand in accesses out of order, and wall clocks are set back."""
        for seconds in (0, 0, 60, 59, -3600, 0):
            _judge(detector, access(time=START + timedelta(seconds=seconds)))

    def test_time_may_be_far_away(self, detector: AnomalyDetector) -> None:
        """A clock that was wrong once must not upset it for good."""
        for year in (1970, 2026, 2999, 2026):
            _judge(detector, access(time=datetime(year, 2, 28, tzinfo=UTC)))

    def test_threads_may_share_it(self, detector: AnomalyDetector) -> None:
        """Accesses of eight threads at once each get a verdict."""

        def work(number: int) -> int:
            for turn in range(50):
                _judge(detector, access(principal=f"principal-{number}", name=f"folder/{turn}"))
            return number

        assert in_threads(8, work) == list(range(8))

    def test_a_forked_child_can_judge(self, detector: AnomalyDetector) -> None:
        """A lock held at the moment of the fork must not hold the child for ever."""

        def child() -> str:
            detector.after_fork()
            _judge(detector, access())
            return "judged"

        with busy_threads(2, lambda: _judge(detector, access())):
            answer = in_forked_child(child)
        assert answer == "judged"
        _judge(detector, access())

    def test_closing_twice_is_no_error(self, detector: AnomalyDetector) -> None:
        """Whoever cleans up does not know whether somebody has."""
        _judge(detector, access())
        detector.close()
        detector.close()


def access(
    *,
    principal: str = "api-server",
    action: str = "read",
    name: str = "db/password",
    time: datetime = START,
    allowed: bool = True,
) -> Access:
    """Return an access with some of its facts changed."""
    return Access(
        principal=Principal(name=principal, source=PrincipalSource.CONFIGURATION),
        action=action,
        name=SecretName(name),
        time=time,
        allowed=allowed,
    )


def _judge(detector: AnomalyDetector, request: Access) -> Verdict:
    verdict = detector.judge(request)
    assert isinstance(verdict, Verdict), f"judge() returned {verdict!r}"
    assert isinstance(verdict.decision, Decision)
    if verdict.decision is not Decision.ALLOW:
        assert verdict.reason.strip(), f"{verdict.decision.value} comes without a reason"
        assert "\n" not in verdict.reason, "the reason is not one line"
        assert not verdict.reason.endswith("."), "the reason ends with a stop, although it becomes part of a sentence"
    return verdict
