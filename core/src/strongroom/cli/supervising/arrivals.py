"""The signals that a parent gets: waited for in one place, so that none comes between two steps or is lost.

The program shares the parent's process group. So what the terminal sends reaches both, and whatever reads from the
terminal, a pager behind a pipe say, goes on as it would without a parent; the parent passes on only what was sent to
it alone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strongroom._record import Record

_HELD_BY_NOBODY: Final = "KILL STOP ABRT BUS FPE ILL SEGV SYS TRAP EMT STKFLT PIPE PROF VTALRM XCPU XFSZ"
"""What cannot be held back, and what is the doing of the process itself."""
_OF_THE_JOB: Final = "" if sys.platform == "linux" else "TTIN TTOU"
"""What stops a job that uses the terminal from the background, where that cannot be told from what a process sends."""
_FROM_TERMINAL: Final = frozenset({signal.SIGINT, *(getattr(signal, f"SIG{name}", 0) for name in ("QUIT", "TSTP"))})


class Arrival(Record):
    """One signal."""

    number: int
    alone: bool
    """Whether the program has not got it by itself, as it gets what the terminal sends to all."""
    sender: int = 0
    """The process id of who has sent it; 0 if that is not known."""
    hung_up: bool = False
    """Whether it says that the terminal is gone."""


class Arrivals:
    """Waits for signals; made by :func:`arriving`."""

    def __init__(self, watched: frozenset[int], mask: frozenset[int]) -> None:
        self._watched = watched
        self.mask = mask
        """Which signals were blocked before."""

    def wait(self, timeout: float | None) -> Arrival | None:
        """Return the next signal; ``None`` if none has come in time.

        Args:
            timeout: Seconds; ``None`` for no limit.
        """
        if sys.platform == "linux":
            if timeout is None:
                return _told(signal.sigwaitinfo(self._watched))
            info = signal.sigtimedwait(self._watched, timeout)
            return _told(info) if info is not None else None
        return self._wait(timeout)

    def _wait(self, timeout: float | None) -> Arrival:
        """Wait where no time limit can be set and nothing is known of the sender."""
        timer = threading.Timer(timeout, wake) if timeout is not None else None
        if timer is not None:
            timer.daemon = True
            timer.start()
        number = signal.sigwait(self._watched)
        if timer is not None:
            timer.cancel()
        return Arrival(number=number, alone=number not in _FROM_TERMINAL or not _is_in_foreground())


def _told(info: signal.struct_siginfo) -> Arrival:
    # The kernel's own codes are above nought; what comes by kill, sigqueue or tgkill is not.
    sent = info.si_code <= 0
    hung_up = not sent and info.si_signo == signal.SIGHUP
    # That the terminal is gone, Linux tells nobody but the first process at it, if there is one.
    alone = sent or (hung_up and os.getsid(0) == os.getpid())
    return Arrival(number=info.si_signo, alone=alone, sender=info.si_pid, hung_up=hung_up)


def _is_in_foreground() -> bool:
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


@contextmanager
def arriving() -> Iterator[Arrivals]:
    """Hold all signals back in this thread, and in those that it starts, so that they can be waited for."""
    left = {getattr(signal, f"SIG{name}", None) for name in f"{_HELD_BY_NOBODY} {_OF_THE_JOB}".split()}
    watched = frozenset(number for number in signal.valid_signals() if number not in left)
    # A signal that nobody minds is dropped on some systems although it is waited for; and were SIGCHLD ignored, as
    # it can be inherited, nobody could tell how a child has ended.
    minded = [signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT]
    before = [signal.signal(number, _nothing) for number in minded]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        yield Arrivals(watched, frozenset(mask))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(minded, before, strict=True):
            signal.signal(number, handler or signal.SIG_DFL)


def _nothing(number: int, frame: object) -> None:
    """Mind a signal."""


def wake() -> None:
    """Have whoever waits look around; for any thread."""
    os.kill(os.getpid(), signal.SIGCHLD)


def suspend() -> None:
    """Stop this process as the terminal would have, until it is continued; a shell sees a stopped job."""
    signal.raise_signal(signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
