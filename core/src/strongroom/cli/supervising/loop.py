"""What a parent does with its program: passes signals on, starts it anew when secrets change, and ends with it."""

from __future__ import annotations

import contextlib
import signal

from collections.abc import Callable
from typing import Final

from strongroom._record import Record
from strongroom.cli.command import note
from strongroom.cli.supervising.arrivals import Arrival, Arrivals, suspend
from strongroom.cli.supervising.changes import Changes
from strongroom.cli.supervising.child import Child
from strongroom.cli.supervising.handover import Report
from strongroom.cli.supervising.timetable import Timetable
from strongroom.cli.text import printable
from strongroom.errors import StrongroomError

_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGINT)})
"""Signals after which a program usually ends, so that no other one is started meanwhile."""
_NEVER: Final = float("inf")
_LONGEST_WAIT: Final = 3600.0
"""Seconds: for how long nobody looks around at most; what is further away may be no time that the system takes."""


class Rules(Record):
    """What is to be done on a change."""

    restart: bool
    """Whether the program is started anew; else it is sent SIGHUP."""
    stop_timeout: float
    """Seconds that it has to end."""


class Supervisor:
    """Runs a program until it ends by itself.

    Args:
        start: Starts a process that reads the secrets and waits.
        arrivals: The signals.
        rules: What to do on a change.
        timetable: When.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        start: Callable[[], Child],
        arrivals: Arrivals,
        rules: Rules,
        timetable: Timetable,
        clock: Callable[[], float],
    ) -> None:
        self._start = start
        self._arrivals = arrivals
        self._rules = rules
        self._timetable = timetable
        self._clock = clock
        self._program = start()
        self._next: Child | None = None
        self._kill_at: float | None = None
        """When the program is killed that was asked to end so that another one can take its place."""
        self._held_until = 0.0
        """Before when nothing is done about a change: the program is probably about to end."""
        self._was_suspended = False

    def prepare(self) -> int | None:
        """Wait until the program may begin; return its status if it ends before."""
        while self._look_at_program() is None:
            if self._program.report is not None:
                return None
            self._take(self._arrivals.wait(None))
        return self._status()

    def run(self, changes: Changes) -> int:
        """Let the program begin, and return its status when it has ended.

        Args:
            changes: Tells what has changed of its secrets.
        """
        self._know(self._program, changes)
        self._count_from_now(self._program)
        self._program.go()
        while True:
            if self._look_at_program() is not None:
                if not self._is_replaced(changes):
                    return self._status()
                continue
            self._notice(changes)
            self._do_what_is_due()
            self._take(self._arrivals.wait(self._seconds_left()))

    def close(self) -> None:
        """Leave no process behind, however this came about."""
        if self._next is not None:
            self._next.give_up()
        if self._program.status is None:
            self._program.send(signal.SIGTERM)
            end = self._clock() + self._rules.stop_timeout
            while (left := end - self._clock()) > 0.0 and self._look_at_program() is None:
                self._arrivals.wait(min(left, _LONGEST_WAIT))
        self._program.give_up()

    def _status(self) -> int:
        """Return how the program has ended, as a shell says it."""
        status = self._program.status or 0
        return status if status >= 0 else 128 - status

    def _look_at_program(self) -> int | None:
        if self._program.look():
            # A shell that started this process waits for it to stop, too. Where there is none, nothing happens.
            self._was_suspended = True
            suspend()
        return self._program.status

    def _is_replaced(self, changes: Changes) -> bool:
        """Put the next program into the place of the one that has ended, if that was to be."""
        following, self._next = self._next, None
        if self._kill_at is None or self._held_until == _NEVER or following is None or following.report is None:
            if following is not None:
                following.give_up()
            return False
        self._kill_at = None
        self._program.give_up()
        following.look()
        if following.status is not None:
            # Somebody has ended it while it waited. Nothing runs now, so whoever reads anew is waited for.
            following.give_up()
            try:
                following = self._start()
            except OSError as error:
                _say(f"the program that was to be next was ended, and another cannot be started: {error.strerror}")
                return False
            self._program = following
            if self.prepare() is None:
                # It may have got something else than the one that was ended.
                self._know(following, changes)
                self._count_from_now(following)
                following.go()
            return True
        self._program = following
        following.go()
        return True

    def _know(self, program: Child, changes: Changes) -> None:
        try:
            if program.report is not None:
                changes.know(program.report)
        except StrongroomError as error:
            _say(f"changes are not looked for: {error.what}")

    def _count_from_now(self, program: Child) -> None:
        """Have the program's leased credentials replaced in time."""
        if program.report is not None:
            self._timetable.leased(dict(program.report.leased), self._clock())

    def _notice(self, changes: Changes) -> None:
        names = changes.take()
        if names:
            self._timetable.changed(names, self._clock())
        following = self._next
        if following is None or self._kill_at is not None:
            return
        following.look()
        if following.status is not None:
            self._failed()
        elif following.report is not None and self._is_superfluous(following.report):
            # It was changed back, or a node that lags behind has answered: then the next look finds the change again.
            self._give_next_up()
            self._timetable.done()
            self._know(self._program, changes)
        elif following.report is not None and self._is_in_vain(following.report):
            self._failed("there is none yet that ends later")
        elif following.report is not None:
            _say(f"{self._timetable.told()}: the program is started anew")
            self._timetable.done()
            # From now on, since the program may take its time.
            self._know(following, changes)
            self._count_from_now(following)
            self._kill_at = self._clock() + self._rules.stop_timeout
            self._program.send(signal.SIGTERM)
            if self._program.is_stopped:
                self._program.send(signal.SIGCONT)

    def _is_superfluous(self, report: Report) -> bool:
        return self._brings_nothing_new(report) and not self._timetable.is_replacing

    def _is_in_vain(self, report: Report) -> bool:
        """Tell whether another credential ends with the one that the program has, and that is all there is."""
        lives = dict(report.leased)
        return self._brings_nothing_new(report) and not self._timetable.is_worth_it(lives, self._clock())

    def _brings_nothing_new(self, report: Report) -> bool:
        before = self._program.report
        # A change of what has another process's own versions shows in no report, so that one which was told counts.
        if before is None or (report.passing and self._timetable.has_changes):
            return False
        return report.brings_nothing_new(before)

    def _failed(self, how: str = "could not be read anew") -> None:
        self._give_next_up()
        told = self._timetable.told()
        self._timetable.failed(self._clock())
        _say(f"{told}, and {how}: the program goes on with what it has")

    def _give_next_up(self) -> None:
        if self._next is not None:
            self._next.give_up()
            self._next = None

    def _do_what_is_due(self) -> None:
        now = self._clock()
        if self._kill_at is not None:
            if now >= self._kill_at:
                _say(f"the program has not ended within {self._rules.stop_timeout:g} s: it is killed")
                self._kill_at = _NEVER
                self._program.send(signal.SIGKILL)
        elif self._next is None and now >= self._held_until and self._timetable.is_due(now):
            self._change()

    def _change(self) -> None:
        self._timetable.begun(self._clock())
        if not self._rules.restart:
            _say(f"{self._timetable.told()}: the program is sent SIGHUP")
            self._timetable.done()
            self._program.send(signal.SIGHUP)
            return
        try:
            self._next = self._start()
        except OSError:
            self._failed()

    def _seconds_left(self) -> float | None:
        """Return for how long there is nothing to do unless a signal comes."""
        if self._kill_at is not None:
            ends = self._kill_at
        elif self._next is None and self._timetable.due is not None:
            ends = max(self._timetable.due, self._held_until)
        else:
            return None
        return None if ends == _NEVER else min(max(0.0, ends - self._clock()), _LONGEST_WAIT)

    def _take(self, arrival: Arrival | None) -> None:
        """Pass a signal on, if the program has not got it by itself."""
        if arrival is None or arrival.number == signal.SIGCHLD:
            return
        if arrival.number in _ENDING or arrival.hung_up:
            self._hold_off(for_good=arrival.number == signal.SIGTERM or arrival.hung_up)
        if arrival.number == signal.SIGCONT and self._was_suspended:
            # What goes on is the whole job; the program may have been continued already.
            self._was_suspended = False
            self._look_at_program()
            if self._program.is_stopped:
                self._program.send(signal.SIGCONT)
            if self._next is not None:
                # The terminal has stopped that one with the others, and maybe nobody continues it but this one.
                self._next.send(signal.SIGCONT)
        elif arrival.alone and arrival.sender != self._program.pid:
            self._program.send(arrival.number)

    def _hold_off(self, *, for_good: bool) -> None:
        """Start no other program now: this one is probably to end, however long it takes for that."""
        now = self._clock()
        # A program may take Ctrl-C for something else, and go on.
        is_last = for_good or self._kill_at is not None
        self._held_until = _NEVER if is_last else max(self._held_until, now + self._rules.stop_timeout)
        if self._kill_at is None and self._next is not None:
            self._give_next_up()
            self._timetable.failed(now)


def _say(text: str) -> None:
    # Where nobody reads what is said, the program runs on all the same.
    with contextlib.suppress(OSError):
        note(f"strongroom: note: {printable(text)}")
