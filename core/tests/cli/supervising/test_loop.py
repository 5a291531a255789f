"""What a parent does about changes while its program is about to end; who sends which signal is played here."""

from __future__ import annotations

import signal
import threading

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from strongroom.cli.supervising import loop
from strongroom.cli.supervising.arrivals import Arrival
from strongroom.cli.supervising.handover import Report
from strongroom.cli.supervising.loop import Rules, Supervisor
from strongroom.cli.supervising.timetable import Timetable
from strongroom.testing import FakeClock

TERM, HUP, INT, KILL = signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL
STOP_TIMEOUT = 10.0


class Process:
    """A child that has read everything at once, and ends only when the test says so, or when it is killed."""

    def __init__(self, number: int, report: Report) -> None:
        self.pid = 1000 + number
        self.report = report
        self.status: int | None = None
        self.is_stopped = False
        self.sent: list[int] = []
        self.began = False

    def look(self) -> bool:
        stopped, self.is_stopped = self.is_stopped, False
        return stopped

    def go(self) -> None:
        self.began = True

    def send(self, number: int) -> None:
        self.sent.append(number)
        if number == KILL:
            self.status = -KILL

    def give_up(self) -> None:
        if self.status is None:
            self.status = -KILL


class Play:
    """Acts in turn what happens; each act is at its second."""

    def __init__(self, clock: FakeClock, *acts: tuple[float, Callable[[], Arrival | None]]) -> None:
        self.clock = clock
        self.acts = list(acts)
        self.waited = 0

    def wait(self, timeout: float | None) -> Arrival | None:
        self.waited += 1
        assert timeout is None or timeout < threading.TIMEOUT_MAX, "no system waits as long as that"
        at, act = self.acts[0]
        left = at - self.clock()
        if timeout is not None and timeout < left:
            self.clock.advance(timeout)
            return None
        self.clock.advance(max(0.0, left))
        del self.acts[0]
        return act()


class Stage:
    """A program under a supervisor whose signals and changes are a play."""

    def __init__(self, *, restart: bool = True) -> None:
        self.clock = FakeClock(monotonic=0.0)
        self.processes: list[Process] = []
        self.changed: list[str] = []
        self.report: Report | None = None
        """What each process says that it has read; a version of its own unless given."""
        self.rules = Rules(restart=restart, stop_timeout=STOP_TIMEOUT)

    def start(self) -> Any:
        number = len(self.processes)
        self.processes.append(Process(number, self.report or Report(names=("a",), known={"a": str(number)})))
        # It says at once that it has read everything.
        self.play.acts.insert(0, (self.clock(), lambda: Arrival(number=signal.SIGCHLD, alone=True)))
        return self.processes[-1]

    def know(self, report: Report) -> None:
        """Take what a program has got."""

    def take(self) -> Iterable[str]:
        names, self.changed = self.changed, []
        return names

    def change(self) -> None:
        self.changed = ["a"]

    def end(self, status: int = 0) -> None:
        """End the first program."""
        self.processes[0].status = status

    def run(self, *acts: tuple[float, Callable[[], Arrival | None]]) -> int:
        self.play: Any = Play(self.clock, *acts)
        timetable = Timetable(30.0, 0.0, lambda most: 0.0)
        whole: Any = self
        return Supervisor(self.start, self.play, self.rules, timetable, self.clock).run(whole)


def sent(number: int, *, hung_up: bool = False) -> Callable[[], Arrival]:
    return lambda: Arrival(number=number, alone=True, hung_up=hung_up)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_change_gives_the_place_of_the_program_to_the_next_one(stage: Stage) -> None:
    status = stage.run((5.0, stage.change), (7.0, stage.end), (8.0, lambda: stage.processes[1].give_up()))
    assert status == 128 + KILL
    assert stage.processes[0].sent == [TERM]
    assert [process.began for process in stage.processes] == [True, True]


def test_what_has_been_changed_back_is_no_reason_to_start_another_program(stage: Stage) -> None:
    stage.report = Report(names=("a",), known={"a": "1"})
    assert stage.run((5.0, stage.change), (50.0, lambda: stage.end(3))) == 3
    assert stage.processes[0].sent == []


def test_where_versions_are_a_processes_own_it_is_the_change_that_counts(stage: Stage) -> None:
    stage.report = Report(names=("a",), known={}, passing=("a",))
    stage.run((5.0, stage.change), (7.0, stage.end), (8.0, lambda: stage.processes[1].give_up()))
    assert stage.processes[0].sent == [TERM]
    assert stage.processes[1].began


@pytest.mark.parametrize("way", [sent(TERM), sent(HUP, hung_up=True)])
@pytest.mark.parametrize("restart", [True, False])
def test_a_program_that_is_to_end_is_left_in_peace_whatever_changes_and_however_long_it_takes(
    way: Callable[[], Arrival], restart: bool
) -> None:
    stage = Stage(restart=restart)
    status = stage.run((5.0, way), (6.0, stage.change), (5000.0, lambda: stage.end(3)))
    assert status == 3
    assert len(stage.processes) == 1
    assert stage.processes[0].sent == [way().number], "it came once"
    assert stage.play.waited < 10, "nobody was busy with waiting"


def test_a_change_that_had_been_noticed_before_is_not_taken_up_either(stage: Stage) -> None:
    assert stage.run((5.0, stage.change), (5.5, sent(TERM)), (5000.0, lambda: stage.end(3))) == 3
    assert len(stage.processes) == 1


def test_a_program_that_goes_on_after_ctrl_c_is_started_anew_later(stage: Stage) -> None:
    def check() -> None:
        assert len(stage.processes) == 1, "it has had no time to end yet"
        assert stage.processes[0].sent == [INT]

    stage.run(
        (5.0, sent(INT)),
        (6.0, stage.change),
        (4.9 + STOP_TIMEOUT, check),
        (5.1 + STOP_TIMEOUT, stage.end),
        (20.0, lambda: stage.processes[1].give_up()),
    )
    assert stage.processes[0].sent == [INT, TERM]
    assert stage.processes[1].began


def test_any_signal_to_end_is_final_once_the_program_has_been_asked_to_make_way(stage: Stage) -> None:
    assert stage.run((5.0, stage.change), (7.0, sent(INT)), (8.0, lambda: stage.end(4))) == 4
    assert stage.processes[0].sent == [TERM, INT]
    assert not stage.processes[1].began


def test_a_hangup_that_somebody_has_sent_is_no_reason_to_start_no_other(stage: Stage) -> None:
    stage.run((5.0, sent(HUP)), (6.0, stage.change), (8.0, stage.end), (9.0, lambda: stage.processes[1].give_up()))
    assert stage.processes[0].sent == [HUP, TERM]
    assert stage.processes[1].began


def leased(number: int) -> Report:
    """Return what a process has read that was given a credential for a minute."""
    return Report(names=("a", "b"), known={"a": "1"}, leased=(("b", 60.0 - number),))


def test_a_program_is_started_anew_before_its_credential_ends_although_nothing_has_changed(stage: Stage) -> None:
    stage.report = leased(0)
    stage.run((41.0, stage.end), (45.0, lambda: stage.processes[1].give_up()))
    assert stage.processes[0].sent == [TERM]
    assert stage.processes[1].began


def test_a_program_that_is_asked_to_end_gets_no_credential_any_more(stage: Stage) -> None:
    stage.report = leased(0)
    assert stage.run((5.0, sent(TERM)), (500.0, lambda: stage.end(3))) == 3
    assert len(stage.processes) == 1


def test_what_has_been_changed_back_is_no_reason_although_there_is_another_credential(stage: Stage) -> None:
    stage.report = leased(0)

    def change() -> None:
        stage.report = leased(1)
        stage.change()

    assert stage.run((5.0, change), (30.0, lambda: stage.end(3))) == 3
    assert len(stage.processes) == 2, "another one has looked"
    assert stage.processes[0].sent == []


def test_the_credential_of_the_next_program_counts_from_when_that_has_read_it(stage: Stage) -> None:
    stage.report = leased(0)

    def check() -> None:
        assert len(stage.processes) == 2, "its own credential has 20 s to live"

    stage.run(
        (41.0, stage.end),
        (79.0, check),
        (82.0, lambda: setattr(stage.processes[1], "status", 0)),
        (83.0, lambda: stage.processes[2].give_up()),
    )
    assert [process.began for process in stage.processes] == [True, True, True]


class SharedCredential(Stage):
    """A backend gives everybody the same credential up to its end, and says how long that is off."""

    def __init__(self, passing: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.ends = 60.0
        self.passing = passing

    def start(self) -> Any:
        left = max(0.0, self.ends - self.clock())
        self.report = Report(names=("b", *self.passing), known={}, leased=(("b", left),), passing=self.passing)
        return super().start()


@pytest.mark.parametrize("passing", [(), ("c",)], ids=["alone", "beside versions of its own"])
def test_a_credential_that_ends_with_the_one_before_is_no_reason_for_a_new_start_and_a_later_one_is(
    passing: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    stage = SharedCredential(passing)

    def offer_another() -> None:
        assert stage.processes[0].sent == []
        assert 5 < len(stage.processes) < 40, "it is looked for, and not all the time"
        stage.ends = 1000.0

    stage.run(
        (300.0, offer_another),
        (400.0, stage.end),
        (401.0, lambda: stage.processes[-1].give_up()),
    )
    assert stage.processes[0].sent[0] == TERM
    assert [process.began for process in stage.processes].count(True) == 2
    assert "b is to end, and there is none yet that ends later: the program goes on" in capsys.readouterr().err


def test_a_change_that_no_report_shows_is_a_reason_for_a_new_start_whatever_ends_with_it() -> None:
    stage = SharedCredential(passing=("a",))
    stage.run((45.0, stage.change), (47.0, stage.end), (48.0, lambda: stage.processes[-1].give_up()))
    assert stage.processes[0].sent == [TERM]
    assert stage.processes[-1].began


def test_a_program_may_have_as_long_to_end_as_it_likes(stage: Stage) -> None:
    stage.rules = Rules(restart=True, stop_timeout=1e13)
    stage.run((5.0, stage.change), (8000.0, stage.end), (8001.0, lambda: stage.processes[1].give_up()))
    assert stage.processes[0].sent == [TERM]
    assert stage.processes[1].began


def test_a_job_that_goes_on_does_so_with_the_program_that_waits_to_begin(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspended: list[float] = []
    monkeypatch.setattr(loop, "suspend", lambda: suspended.append(stage.clock()))

    def stop() -> None:
        # The terminal has stopped all three.
        stage.processes[0].is_stopped = True

    stage.run(
        (5.0, stage.change),
        (7.0, stop),
        (8.0, sent(signal.SIGCONT)),
        (9.0, stage.end),
        (10.0, lambda: stage.processes[1].give_up()),
    )
    assert suspended == [7.0]
    assert stage.processes[1].sent == [signal.SIGCONT]
    assert stage.processes[1].began


def test_a_program_that_was_ended_while_it_waited_to_begin_is_made_up_for(stage: Stage) -> None:
    stage.run(
        (5.0, stage.change),
        (7.0, lambda: stage.processes[1].give_up()),
        (8.0, stage.end),
        (9.0, lambda: stage.processes[2].give_up()),
    )
    assert [process.began for process in stage.processes] == [True, False, True]


def test_what_makes_up_for_it_has_its_credentials_replaced_by_their_own_end() -> None:
    stage = SharedCredential(passing=("a",))
    stage.ends = 3600.0

    def shorten() -> None:
        stage.processes[1].give_up()
        # What is read from now on ends sooner.
        stage.ends = stage.clock() + 60.0

    def offer_another() -> None:
        assert len(stage.processes) > 3, "it is replaced when its own time comes"
        stage.ends = 10_000.0

    stage.run(
        (5.0, stage.change),
        (7.0, shorten),
        (8.0, stage.end),
        (60.0, offer_another),
        (300.0, lambda: stage.processes[2].give_up()),
        (301.0, lambda: stage.processes[-1].give_up()),
    )
    assert stage.processes[2].began
    assert TERM in stage.processes[2].sent
