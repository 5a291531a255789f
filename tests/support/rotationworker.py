"""Processes that rotate one secret and may kill themselves at any point of that, forked by one that has all imported.

The forking process reads a line with a list of plans from its standard input, starts a child for each at once, and
answers with a line when all of them have ended. :class:`Workers` is the other side of that.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import traceback

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

NAME = "db/app"
RACES = 25
CHANGES = ("write", "stage", "promote", "discard", "destroy")
"""The calls of a backend that rotations change something with."""
SECONDS = 60
"""How long a child may take."""
IMPORTED = (
    "strongroom.rotation.desk",
    "strongroom.rotation.host_lock",
    "strongroom_aws.plugin",
    "strongroom_aws.backend",
    "strongroom_local.plugin",
    "strongroom_local.backend",
    "strongroom_rotate_command.rotator",
    "strongroom_rotate_postgres.rotators",
    "strongroom_rotate_tls.rotator",
    "strongroom_vault.backend",
    "strongroom_vault.pki",
)
"""What takes its time, so that no child has to do it."""


class Ended(NamedTuple):
    """What became of a process."""

    status: int
    """As :mod:`subprocess` has it: negative if it was killed."""
    points: list[str]
    """The points that it reached, such as ``after apply``; the last is where it was killed, if it was."""
    candidates: list[str]
    """The values that its rotator has made."""
    result: dict[str, Any]
    """What it said in the end."""

    @property
    def is_killed(self) -> bool:
        """Whether it killed itself."""
        return self.status == -signal.SIGKILL


class Workers:
    """Has processes do what plans say.

    Args:
        process: The one that forks them.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, *plans: dict[str, Any]) -> list[Ended]:
        """Run a process for each plan, all at the same time.

        Args:
            plans: ``config``, a configuration; ``mode``, one of ``rotate``, ``resume``, ``undo``, ``show``, and
                ``race``, which rotates again and again; and, if it is to die, ``kill``, the number of the point, from
                0, or what the point is called.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(plans) + "\n")
        self._process.stdin.flush()
        return [ended(**one) for one in json.loads(self._process.stdout.readline())]


def ended(status: int, told: list[str]) -> Ended:
    """Return what a process has told."""
    lines = [json.loads(line) for line in told]

    def said(key: str) -> list[Any]:
        return [line[key] for line in lines if key in line]

    return Ended(status, said("point"), said("candidate"), (said("result") or [{}])[-1])


@contextlib.contextmanager
def workers(folder: Path, site: Path, **environment: str) -> Iterator[Workers]:
    """Start the process that forks, and end it in the end.

    Args:
        folder: Where it and its children are, and their home.
        site: A folder with further distributions.
        environment: Further variables that they get.
    """
    # Folders of the same name are not passed on: what is installed is found beside the interpreter.
    given = {"PYTHONPATH": f"{site}:{Path(__file__).parent}", "HOME": str(folder), "PATH": os.defpath}
    with subprocess.Popen(
        [sys.executable, __file__],
        env=given | environment,
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Workers(process)
        finally:
            process.kill()


class Teller:
    """Tells the forking process what happens in a child.

    Args:
        descriptor: Where to.
        kill: At which point to die, if at any.
    """

    def __init__(self, descriptor: int, kill: int | str | None) -> None:
        self._descriptor = descriptor
        self._kill = kill
        self._count = 0

    def tell(self, key: str, what: Any) -> None:
        """Tell something."""
        os.write(self._descriptor, json.dumps({key: what}).encode() + b"\n")

    def reach(self, point: str) -> None:
        """Pass a point, or die there."""
        self.tell("point", point)
        if self._kill in (self._count, point):
            os.kill(os.getpid(), signal.SIGKILL)
        self._count += 1

    def around(self, owner: Any, method: str, label: Callable[..., str]) -> None:
        """Put a point before and after each call of a method.

        Args:
            owner: Whose it is.
            method: Its name.
            label: Returns what a call is called, given its arguments; nothing if there is no point.
        """
        inner = getattr(owner, method)

        def outer(*arguments: Any, **named: Any) -> Any:
            called = label(*arguments)
            if called:
                self.reach(f"before {called}")
            result = inner(*arguments, **named)
            if called == "generate":
                self.tell("candidate", result.value.reveal_text())
            if called:
                self.reach(f"after {called}")
            return result

        setattr(owner, method, outer)


def prepare(teller: Teller) -> None:
    """Put the points in place."""
    from strongroom.resilience.guarded import GuardedBackend
    from strongroom.rotators import GuardedRotator
    from strongroom_rotate_postgres.server import Administration

    for change in CHANGES:
        label = f"{change} of the "
        teller.around(
            GuardedBackend,
            change,
            lambda _, request, label=label: label + ("secret" if request.name == NAME else "record"),
        )
    teller.around(GuardedRotator, "call", lambda _, step, *rest: step)
    changed: set[int] = set()
    # The server has the change, but not for good.
    teller.around(Administration, "commit", lambda session: "commit" if id(session) in changed else "")
    set_passwords = Administration.set_passwords

    def setting(session: Administration, *arguments: Any) -> None:
        set_passwords(session, *arguments)
        changed.add(id(session))

    Administration.set_passwords = setting  # type: ignore[method-assign]  # that is the point


def race(manager: Any) -> list[str]:
    """Rotate again and again, and return how each ended."""
    from strongroom.errors import StrongroomError

    codes = []
    for _ in range(RACES):
        try:
            manager.rotate(NAME)
        except StrongroomError as error:
            codes.append(error.code)
        else:
            codes.append("ok")
    return codes


def work(plan: dict[str, Any], teller: Teller) -> dict[str, Any]:
    """Do what a plan says, and return how it stands then."""
    import strongroom

    mode = plan["mode"]
    with strongroom.open(plan["config"]) as manager:
        if mode == "race":
            return {"codes": race(manager)}
        (status,) = manager.rotation.status()
        found = status.state
        prepare(teller)
        if mode == "rotate":
            manager.rotate(NAME)
        elif mode in {"resume", "undo"} and found != "idle":
            # Stages do not tell whether whoever began it is still there.
            (manager.rotation.resume if mode == "resume" else manager.rotation.undo)(NAME, force=True)
        (status,) = manager.rotation.status()
        return {"found": found, "state": status.state, "current": manager.get(NAME).reveal_text()}


def child(plan: dict[str, Any], descriptor: int) -> None:
    """Be the process of a plan."""
    signal.alarm(SECONDS)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    teller = Teller(descriptor, plan.get("kill"))
    status = 1
    try:
        teller.tell("result", work(plan, teller))
        status = 0
    except BaseException as error:
        teller.tell("result", {"error": getattr(error, "code", ""), "text": "".join(traceback.format_exception(error))})
    finally:
        os._exit(status)


def started(plan: dict[str, Any]) -> tuple[int, int]:
    """Fork a child; return its number, and where it tells what happens."""
    reading, writing = os.pipe()
    number = os.fork()
    if number == 0:
        child(plan, writing)
    os.close(writing)
    return number, reading


def finished(number: int, reading: int) -> dict[str, Any]:
    """Wait for a child, and return what it has told."""
    with open(reading, encoding="utf-8") as told:
        lines = told.read().splitlines()
    return {"told": lines, "status": os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])}


def main() -> None:
    """Fork children for as long as somebody asks for that."""
    for module in IMPORTED:
        importlib.import_module(module)
    while line := sys.stdin.readline():
        children = [started(plan) for plan in json.loads(line)]
        print(json.dumps([finished(*one) for one in children]), flush=True)


if __name__ == "__main__":
    main()
