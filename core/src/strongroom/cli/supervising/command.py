"""The options of ``run --on-change``, and what it does."""

from __future__ import annotations

import argparse
import random
import time

from functools import partial
from typing import TYPE_CHECKING, Final

from strongroom.cli.command import Session
from strongroom.cli.durations import duration
from strongroom.cli.supervising.arrivals import arriving, wake
from strongroom.cli.supervising.changes import Changes
from strongroom.cli.supervising.child import Child
from strongroom.cli.supervising.loop import Rules, Supervisor
from strongroom.cli.supervising.timetable import Timetable
from strongroom.config.watch import SHORTEST_EVERY
from strongroom.inputs import ensure_repeatable
from strongroom.memory import forbid_inspection

if TYPE_CHECKING:
    from strongroom.cli.supervising.arrivals import Arrivals

_DEFAULTS: Final = {"every": 30.0, "stop_timeout": 10.0, "splay": 0.0}


def supervise(session: Session, options: argparse.Namespace) -> int:
    """Run a program, and start it anew or signal it when its secrets change; return its status.

    Args:
        session: The global options.
        options: Those of ``run``.

    Raises:
        UsageError: An option is not usable here.
        StrongroomError: The configuration is not usable.
    """
    seconds = _seconds(options)
    # Started anew, it would be without what stood there.
    ensure_repeatable(options.env_file)
    rules = Rules(restart=options.on_change == "restart", stop_timeout=seconds["stop_timeout"])
    timetable = Timetable(seconds["every"], seconds["splay"], lambda most: random.uniform(0.0, most))  # noqa: S311  # no secret
    # What opens the stores may be in the environment of this process, which lives beside the program.
    forbid_inspection()
    with arriving() as arrivals:
        # Before the first thread: none of them is to take a signal.
        configuration = session.load()
        supervisor = Supervisor(partial(_child, session, arrivals), arrivals, rules, timetable, time.monotonic)
        try:
            status = supervisor.prepare()
            if status is not None:
                return status
            with session.open(configuration) as manager:
                return supervisor.run(Changes(manager, seconds["every"], wake, options.prefix))
        finally:
            supervisor.close()


def _child(session: Session, arrivals: Arrivals) -> Child:
    common = [f"--config={session.config}"] if session.config is not None else []
    common += [f"--as={session.principal}"] if session.principal is not None else []
    return Child(common, ["run", *session.arguments], arrivals.mask)


def _seconds(options: argparse.Namespace) -> dict[str, float]:
    found = dict(_DEFAULTS)
    for name in _DEFAULTS:
        text = getattr(options, name)
        if text is not None:
            least = SHORTEST_EVERY if name == "every" else 0.0
            found[name] = duration(f"--{name.replace('_', '-')}", text, least=least)
    return found
