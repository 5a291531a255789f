"""Running a program to its end, within a time limit, with all that it starts."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

from collections.abc import Callable, Sequence
from typing import Final

from strongroom.contracts import Record
from strongroom.errors import BackendUnavailableError, ConfigurationError, RotationError
from strongroom_rotate_command.pipes import Catch, Feed, wait

Process = subprocess.Popen[bytes]

GRACE: Final = 2.0
"""Seconds that a program gets to end by itself once it was told to, at most."""
_DYING_SECONDS: Final = 1.0
"""How long a program that was killed is waited for."""
_LOOK_EVERY: Final = 0.02
"""Seconds between two looks at a program, where the system does not tell that it has ended."""

_FOR_NOW: Final = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ETXTBSY})
"""What passes by itself: too many programs or files, too little memory, a program that is being written."""


class Order(Record):
    """What is to be run."""

    command: tuple[str, ...]
    """The program and all its arguments."""
    environment: dict[str, str]
    """All of its variables."""
    pipes: tuple[Feed | Catch, ...]
    """What values go through; they are closed in the end."""
    seconds: float
    """How long it may run, its ending included."""
    show_output: bool
    """Whether what it prints comes out at this process's standard error."""


def run(order: Order, confirm: Callable[[], None]) -> int:
    """Run a program to its end; whatever it leaves in its process group is ended as well.

    Args:
        order: What is to be run.
        confirm: Called directly before the program starts. What it raises is let pass, and nothing runs.

    Returns:
        Its exit status; the negative number of a signal if that has ended it.

    Raises:
        BackendUnavailableError: It did not end in time, or could not be started just now.
        ConfigurationError: There is no such program, or it cannot be executed.
        RotationError: Nobody knows how it has ended.
    """
    end = time.monotonic() + order.seconds
    grace = min(GRACE, order.seconds / 4)
    confirm()
    process = _started(order)
    try:
        for pipe in order.pipes:
            pipe.close_given()
        if not _ends(process, order.pipes, end - grace):
            _end(process, order.pipes, end)
            raise BackendUnavailableError(
                f"{order.command[0]} did not end its step {order.command[-1]} in time, and was ended",
                hint="make `timeout` longer if it needs more; it may have done its work all the same",
            )
    finally:
        _kill_group(process)
    # What it has written before its end is all there: nobody is left who could write more.
    wait(order.pipes, 0.0)
    return process.wait()


def _started(order: Order) -> Process:
    output = sys.__stderr__ if order.show_output else None
    try:
        # A session of its own, so that it can be ended together with what it starts, and no terminal to ask at.
        return subprocess.Popen(  # noqa: S603  # the configuration says what to run
            order.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if output is None else output,
            stderr=subprocess.DEVNULL if output is None else output,
            env=order.environment,
            pass_fds=[pipe.given for pipe in order.pipes],
            start_new_session=True,
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        if error.errno in _FOR_NOW:
            raise BackendUnavailableError(
                f"{order.command[0]} could not be started: {reason}",
                hint="the system has no room for another program just now",
            ) from error
        raise ConfigurationError(
            f"the rotator's program {order.command[0]} cannot be run: {reason}",
            hint="check its path and permissions; a script needs a first line such as #!/bin/sh",
        ) from error


def _ends(process: Process, pipes: Sequence[Feed | Catch], end: float) -> bool:
    """Return whether a program ends by a moment of the monotonic clock. It is not reaped by that."""
    watch = _watch(process)
    try:
        while not _has_ended(process):
            left = end - time.monotonic()
            if left <= 0:
                return False
            wait(pipes, left if watch >= 0 else min(left, _LOOK_EVERY), watch)
    finally:
        if watch >= 0:
            os.close(watch)
    return True


def _watch(process: Process) -> int:
    """Return a descriptor that can be read once the program has ended; -1 where there is no such thing."""
    try:
        return os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        return -1


def _has_ended(process: Process) -> bool:
    """Return whether a program has ended, and leave its number taken, so that its group can be told from others.

    Raises:
        RotationError: Somebody else has taken its exit status.
    """
    if not hasattr(os, "waitid"):
        return process.poll() is not None
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError as error:
        # `Popen` would take that for a success.
        raise RotationError(
            "nobody knows how the rotator's program has ended",
            code="rotation_incomplete",
            hint="this process ignores SIGCHLD, or waits for children that are not its own: let it not",
        ) from error


def _end(process: Process, pipes: Sequence[Feed | Catch], end: float) -> None:
    """Ask a program to end, and wait for that for as long as there is time."""
    _signal_group(process, signal.SIGTERM)
    _ends(process, pipes, end)


def _kill_group(process: Process) -> None:
    """End what is left of a program and of all it has started, and reap it."""
    _signal_group(process, signal.SIGKILL)
    try:
        process.wait(_DYING_SECONDS)
    except subprocess.TimeoutExpired:
        return  # it runs as another user, who alone can end it


def _signal_group(process: Process, number: int) -> None:
    if process.returncode is not None:
        return  # the number may be another program's by now
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return  # all of it is gone, or has become another user's
