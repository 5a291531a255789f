"""The contract of an anomaly detector, as checks."""

from __future__ import annotations

import contextlib

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from strongroom.contracts import Access, AnomalyDetector, Decision, Outcome, Repeats, Verdict
from strongroom.model import Principal, PrincipalSource, SecretName
from strongroom.testing.processes import busy_threads, in_forked_child, in_threads

ACTIONS = ("read", "list", "create", "update", "rotate", "delete", "encrypt", "decrypt", "sign", "verify")
RESULTS = ("ok", "not_found", "denied", "suspicious", "unavailable", "a_code_of_another_version")
START = datetime(2026, 1, 1, 12, tzinfo=UTC)

MOST_BYTES_OF_STATE: Final = 1 << 20
GARBAGE = (b"", b"\0", b"{}", b"[]", b"null", b"not a state", b"\xff" * 100, b"[" * 100_000, b'{"format": 1}')


class AnomalyDetectorContract:
    """Everything that a detector promises; override the fixture ``detector``.

    A detector that keeps a state overrides ``another``, too.
    """

    @pytest.fixture
    def detector(self) -> AnomalyDetector:
        """Return the detector under test; every author overrides this."""
        # Not an abstract method, which would keep pytest from making the class: it tells an author what is missing.
        raise NotImplementedError(f"{type(self).__name__} must override the fixture `detector`")

    @pytest.fixture
    def another(self) -> AnomalyDetector | None:
        """Return a second, new detector with the same settings, to take up the first one's state."""
        return None

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

    def test_repetitions_are_judged_or_counted(self, detector: AnomalyDetector) -> None:
        """What is said about repetitions of an access holds: for a time to come, and with counts that go up."""
        request = access()
        _judge(detector, request)
        wish = detector.repeats(request)
        if wish is None:
            return
        assert isinstance(wish, Repeats), f"repeats() returned {wish!r}"
        assert wish.until > request.time.timestamp(), "repetitions would be judged each time: return None for that"
        for count, limit in wish.counters:
            assert isinstance(limit, int)
            first = count()
            assert count() == first + 1, "a counter does not count"
        _judge(detector, request.replace(time=request.time + timedelta(days=1)))

    def test_threads_may_count_repetitions(self, detector: AnomalyDetector) -> None:
        """Repetitions of four threads at once are all counted."""
        request = access()
        _judge(detector, request)
        wish = detector.repeats(request) or Repeats()
        before = [count() for count, _ in wish.counters]
        in_threads(4, lambda number: [count() for _ in range(1000) for count, _ in wish.counters] and number)
        assert [count() for count, _ in wish.counters] == [number + 4001 for number in before]

    @pytest.mark.parametrize("result", RESULTS)
    def test_every_outcome_is_taken(self, detector: AnomalyDetector, result: str) -> None:
        """However an access ended, known to the detector or not, there is a verdict."""
        for number in range(30):
            request = access(name=f"folder/{number}", allowed=result != "denied")
            _judge(detector, request)
            _check(detector.observe(Outcome(access=request, result=result)))

    def test_an_outcome_may_come_alone(self, detector: AnomalyDetector) -> None:
        """A detector may have forgotten the access, or have been started after it."""
        for result in RESULTS:
            _check(detector.observe(Outcome(access=access(principal=f"late-{result}"), result=result)))

    def test_the_state_stays_small(self, detector: AnomalyDetector) -> None:
        """After 100,000 accesses by 5,000 principals, it is a megabyte at most."""
        first = access()
        people = [first.principal.replace(name=f"principal-{number}") for number in range(5000)]
        names = [SecretName(f"folder/{number}") for number in range(2000)]
        for number in range(100_000):
            request = first.replace(
                principal=people[number % 5000],
                name=names[number * 7 % 2000],
                time=START + timedelta(seconds=number * 20),
                allowed=number % 11 != 0,
                host=f"host-{number % 6000}",
                process=f"program-{number % 17}",
            )
            detector.judge(request)
            if number % 3 == 0:
                detector.observe(Outcome(access=request, result="not_found" if number % 2 else "ok"))
        state = detector.dump()
        assert state is None or len(state) <= MOST_BYTES_OF_STATE

    def test_a_state_is_taken_up(self, detector: AnomalyDetector, another: AnomalyDetector | None) -> None:
        """Who takes up a state judges as the one that dumped it."""
        _work(detector)
        state = detector.dump()
        if state is None:
            return
        assert isinstance(state, bytes)
        assert another is not None, "override the fixture `another`: this detector keeps a state"
        another.restore(state)
        later = START + timedelta(days=31)
        # A process that has just started may be given a moment before anything about it is odd.
        for one in (detector, another):
            _judge(one, access(principal="principal-0", name="folder/0", time=later - timedelta(hours=12)))
        for number in range(200):
            request = access(
                principal=f"principal-{number % 4}",
                name=f"folder/{number * 3}",
                time=later + timedelta(minutes=number * 10),
                allowed=number % 7 != 0,
            )
            expected, answer = _judge(detector, request), _judge(another, request)
            assert answer.decision is expected.decision, f"{answer} instead of {expected}"

    def test_a_state_may_be_dumped_at_any_time(self, detector: AnomalyDetector) -> None:
        """Other threads go on while one dumps."""
        with busy_threads(2, lambda: _judge(detector, access())):
            for _ in range(20):
                state = detector.dump()
                assert state is None or isinstance(state, bytes)

    @pytest.mark.parametrize("state", GARBAGE, ids=lambda state: repr(state[:12]))
    def test_a_state_that_is_none_does_no_harm(self, detector: AnomalyDetector, state: bytes) -> None:
        """It is refused or ignored, and the detector goes on as new."""
        _hand_over(state, detector)
        for number in range(50):
            _judge(detector, access(principal=f"principal-{number % 3}", name=f"folder/{number}"))
        detector.dump()

    def test_a_cut_or_changed_state_does_no_harm(
        self, detector: AnomalyDetector, another: AnomalyDetector | None
    ) -> None:
        """What was damaged on its way is refused or ignored, too."""
        _work(detector)
        state = detector.dump()
        if state is None or another is None:
            return
        for place in range(1, len(state), max(len(state) // 40, 1)):
            for damaged in (state[:place], state[:place] + b"9" + state[place + 1 :]):
                _hand_over(damaged, another)
                _judge(another, access(time=START + timedelta(days=31)))

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


def _work(detector: AnomalyDetector) -> None:
    """Let a few principals work for a month, each hour of the working day."""
    for day in range(30):
        for number in range(40):
            request = access(
                principal=f"principal-{number % 4}",
                name=f"folder/{number}",
                time=START + timedelta(days=day, minutes=number * 10),
                allowed=number % 10 != 0,
            ).replace(host=f"host-{number % 4}", process="server")
            _judge(detector, request)
            _check(detector.observe(Outcome(access=request, result="ok" if request.allowed else "denied")))


def _hand_over(state: bytes, detector: AnomalyDetector) -> None:
    """Let a detector take up a state that may be damaged: as the core does, whatever it raises."""
    with contextlib.suppress(Exception):
        detector.restore(state)


def _judge(detector: AnomalyDetector, request: Access) -> Verdict:
    return _check(detector.judge(request))


def _check(verdict: Verdict) -> Verdict:
    assert isinstance(verdict, Verdict), f"the verdict is {verdict!r}"
    assert isinstance(verdict.decision, Decision)
    if verdict.decision is not Decision.ALLOW:
        assert verdict.reason.strip(), f"{verdict.decision.value} comes without a reason"
        assert "\n" not in verdict.reason, "the reason is not one line"
        assert not verdict.reason.endswith("."), "the reason ends with a stop, although it becomes part of a sentence"
        assert isinstance(verdict.evidence, tuple), "the evidence is no tuple of phrases"
        assert all(phrase.strip() and "\n" not in phrase for phrase in verdict.evidence), "evidence is no phrase"
        assert "\n" not in verdict.subject, "the subject is not one line"
    return verdict
