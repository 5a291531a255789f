"""The contract of an anomaly detector, as checks."""

from __future__ import annotations

import contextlib

from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from strongroom.contracts import Access, AnomalyDetector, Decision, Outcome, Repeats, Verdict
from strongroom.model import Principal, PrincipalSource, SecretName
from strongroom.testing.processes import busy_threads, in_forked_child, in_threads
from strongroom.testing.promises import must_override, promised_by

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
        must_override(self, "the fixture `detector`", "it returns the detector under test, a new one for each check")

    @pytest.fixture
    def another(self) -> AnomalyDetector | None:
        """Return a second, new detector with the same settings, to take up the first one's state."""
        return None

    @pytest.mark.parametrize("action", ACTIONS)
    @promised_by(AnomalyDetector.judge)
    def test_every_action_is_judged(self, detector: AnomalyDetector, action: str) -> None:
        """Each action that the core knows gets a verdict.

        The core asks about every access, not only about reads; an error in place of a verdict is counted as a failure
        of the detector.
        """
        _judge(detector, access(action=action))

    @promised_by(Access)
    def test_a_refused_access_is_judged(self, detector: AnomalyDetector) -> None:
        """An access that the policy has refused gets a verdict, too.

        A burst of refused accesses is what many detectors look for, so the core shows those as well.
        """
        _judge(detector, access(allowed=False))

    @promised_by(Access)
    def test_an_access_on_somebody_else_s_behalf_is_judged(self, detector: AnomalyDetector) -> None:
        """An access of a principal that another one has taken on gets a verdict, however many there are.

        Names of principals cost nothing, so somebody may act as any number of them to get past a detector.
        """
        base = Principal(name="base", source=PrincipalSource.CONFIGURATION)
        for number in range(100):
            _judge(detector, access(principal=f"taken-on-{number}").replace(base=base))

    @pytest.mark.parametrize("name", ["a", "caf\u00e9/\u65e5\u672c", "a%s/{}/*", "n" * 512])
    @promised_by(AnomalyDetector.judge)
    def test_names_do_not_upset_it(self, detector: AnomalyDetector, name: str) -> None:
        """There is a verdict for every name, with odd letters and of the greatest length, too.

        Whoever could upset a detector by a name would be unwatched from then on.
        """
        _judge(detector, access(name=name))

    @promised_by(AnomalyDetector.judge)
    def test_a_busy_day_is_judged_to_the_end(self, detector: AnomalyDetector) -> None:
        """A thousand accesses by several principals to many names, some refused, each get a verdict.

        A detector that gives up once its tables are full does not see what comes after.
        """
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

    @promised_by(AnomalyDetector.judge)
    def test_time_may_stand_still_or_go_back(self, detector: AnomalyDetector) -> None:
        """An access gets a verdict although its time is not after that of the one before.

        Threads hand in accesses out of order, and clocks are set back.
        """
        for seconds in (0, 0, 60, 59, -3600, 0):
            _judge(detector, access(time=START + timedelta(seconds=seconds)))

    @promised_by(AnomalyDetector.judge)
    def test_time_may_be_far_away(self, detector: AnomalyDetector) -> None:
        """An access gets a verdict although its time is decades away from the others.

        A clock that was wrong once must not upset a detector for good.
        """
        for year in (1970, 2026, 2999, 2026):
            _judge(detector, access(time=datetime(year, 2, 28, tzinfo=UTC)))

    @promised_by(AnomalyDetector)
    def test_threads_may_share_it(self, detector: AnomalyDetector) -> None:
        """Accesses of eight threads at once each get a verdict.

        The core calls a detector from every thread that reads, and holds no lock for it.
        """

        def work(number: int) -> int:
            for turn in range(50):
                _judge(detector, access(principal=f"principal-{number}", name=f"folder/{turn}"))
            return number

        assert in_threads(8, work) == list(range(8))

    @promised_by(Repeats)
    def test_repetitions_are_judged_or_counted(self, detector: AnomalyDetector) -> None:
        """What is said about repetitions ends after the access, and each counter goes up by one a call.

        The core asks no more about repetitions until then: a wrong answer would let them pass uncounted.
        """
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

    @promised_by(Repeats)
    def test_threads_may_count_repetitions(self, detector: AnomalyDetector) -> None:
        """Repetitions that four threads count at once are all counted.

        A counter that loses some under load lets more accesses pass than its limit says.
        """
        request = access()
        _judge(detector, request)
        wish = detector.repeats(request) or Repeats()
        before = [count() for count, _ in wish.counters]
        in_threads(4, lambda number: [count() for _ in range(1000) for count, _ in wish.counters] and number)
        assert [count() for count, _ in wish.counters] == [number + 4001 for number in before]

    @pytest.mark.parametrize("result", RESULTS)
    @promised_by(AnomalyDetector.observe)
    def test_every_outcome_is_taken(self, detector: AnomalyDetector, result: str) -> None:
        """However an access has ended, the detector takes it and gives a verdict.

        Results are codes, and a later version of the core may know more of them than the detector does.
        """
        for number in range(30):
            request = access(name=f"folder/{number}", allowed=result != "denied")
            _judge(detector, request)
            _check(detector.observe(Outcome(access=request, result=result)))

    @promised_by(AnomalyDetector.observe)
    def test_an_outcome_may_come_alone(self, detector: AnomalyDetector) -> None:
        """An outcome gets a verdict although the detector knows nothing of its access.

        A detector may have forgotten the access, or have been started after it.
        """
        for result in RESULTS:
            _check(detector.observe(Outcome(access=access(principal=f"late-{result}"), result=result)))

    @promised_by(AnomalyDetector.dump)
    def test_the_state_stays_small(self, detector: AnomalyDetector) -> None:
        """After 100,000 accesses by 5,000 principals the state is a megabyte at most.

        It is kept in a store that takes no more; one that is too large is lost, and the detector begins anew.
        """
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

    @promised_by(AnomalyDetector.restore)
    def test_a_state_is_taken_up(self, detector: AnomalyDetector, another: AnomalyDetector | None) -> None:
        """A detector that has taken up a state decides as the one that dumped it.

        Otherwise each restart would be an opportunity to go unnoticed, or would raise false alarms.
        """
        _work(detector)
        state = detector.dump()
        if state is None:
            return
        assert isinstance(state, bytes)
        assert another is not None, "the class must override the fixture `another`, since this detector keeps a state"
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

    @promised_by(AnomalyDetector.dump)
    def test_a_state_may_be_dumped_at_any_time(self, detector: AnomalyDetector) -> None:
        """The state can be dumped while other threads have accesses judged.

        The core dumps it from time to time, from a thread of its own, and stops nobody for that.
        """
        with busy_threads(2, lambda: _judge(detector, access())):
            for _ in range(20):
                state = detector.dump()
                assert state is None or isinstance(state, bytes)

    @pytest.mark.parametrize("state", GARBAGE, ids=lambda state: repr(state[:12]))
    @promised_by(AnomalyDetector.restore)
    def test_a_state_that_is_none_does_no_harm(self, detector: AnomalyDetector, state: bytes) -> None:
        """Bytes that are no state are refused or ignored, and the detector goes on as new.

        What is stored may be of another version or damaged; that must not leave the accesses unwatched.
        """
        _hand_over(state, detector)
        for number in range(50):
            _judge(detector, access(principal=f"principal-{number % 3}", name=f"folder/{number}"))
        detector.dump()

    @promised_by(AnomalyDetector.restore)
    def test_a_cut_or_changed_state_does_no_harm(
        self, detector: AnomalyDetector, another: AnomalyDetector | None
    ) -> None:
        """A state that was cut or changed is refused or ignored, and accesses are judged after it.

        Half of a state must not leave a detector in a condition that no access could have brought about.
        """
        _work(detector)
        state = detector.dump()
        if state is None or another is None:
            return
        for place in range(1, len(state), max(len(state) // 40, 1)):
            for damaged in (state[:place], state[:place] + b"9" + state[place + 1 :]):
                _hand_over(damaged, another)
                _judge(another, access(time=START + timedelta(days=31)))

    @promised_by(AnomalyDetector.after_fork)
    def test_a_forked_child_can_judge(self, detector: AnomalyDetector) -> None:
        """A child that was forked in the middle of calls judges accesses, and so does its parent.

        A lock that another thread held at the moment of the fork would hold the child for ever.
        """

        def child() -> str:
            detector.after_fork()
            _judge(detector, access())
            return "judged"

        with busy_threads(2, lambda: _judge(detector, access())):
            answer = in_forked_child(child)
        assert answer == "judged"
        _judge(detector, access())

    @promised_by(AnomalyDetector.close)
    def test_closing_twice_is_no_error(self, detector: AnomalyDetector) -> None:
        """A detector that is closed a second time raises nothing.

        Whoever cleans up does not know whether somebody has done so before.
        """
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
