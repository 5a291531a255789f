"""Processes that rotate and kill themselves at any call, and a dependent in a file, which outlives them.

Run as a program it is a nursery: it imports everything once and then forks a child for each job that it reads.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import uuid

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import strongroom

from strongroom.contracts import (
    ApplyRequest,
    ApplyResult,
    FinishRequest,
    FinishResult,
    GenerateRequest,
    GenerateResult,
    Record,
    Rotator,
    RotatorSpec,
    UndoRequest,
    UndoResult,
    VerifyCandidateRequest,
    VerifyCandidateResult,
)
from strongroom.errors import CandidateRefusedError, StrongroomError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue

KEEPS = 2
CALLS = ("write", "stage", "promote", "discard", "destroy")
"""What changes something at a backend."""
STEPS = ("generate", "apply", "verify", "finish", "undo")
ENTRY_POINTS = "[strongroom.rotators]\nfiled = rotations\n"
METADATA = "Metadata-Version: 2.1\nName: filed-rotator\nVersion: 1.0\n"


class FileDependent:
    """Accepts the last two values that it was told to.

    Args:
        folder: Where the dependents of all names are.
        name: Of which secret it is.
    """

    def __init__(self, folder: str | Path, name: str) -> None:
        self._path = Path(folder) / name.replace("/", "+")

    @property
    def accepted(self) -> list[str]:
        """What it accepts just now."""
        return list(json.loads(self._path.read_text())["accepted"])

    @property
    def finished(self) -> list[str]:
        """Each value that was the only one, in order."""
        return list(json.loads(self._path.read_text())["finished"])

    def start(self, value: str) -> None:
        """Accept a first value."""
        self._path.write_text(json.dumps({"accepted": [value], "finished": []}))

    def take(self, value: str) -> None:
        """Accept a value besides the one before."""
        with self._changing() as state:
            state["accepted"] = [*(one for one in state["accepted"] if one != value), value][-KEEPS:]

    def only(self, value: str) -> None:
        """Accept one value and no other."""
        with self._changing() as state:
            state["accepted"] = [value]
            state["finished"].append(value)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        with open(f"{self._path}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            state = json.loads(self._path.read_text())
            yield state
            temporary = Path(f"{self._path}.{os.getpid()}")
            temporary.write_text(json.dumps(state))
            temporary.replace(self._path)


class FiledSettings(Record):
    """The settings of the rotator."""

    folder: str


class FiledRotator(Rotator):
    """Has a :class:`FileDependent` take values.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: FiledSettings) -> None:
        self._folder = settings.folder

    def _of(self, name: str) -> FileDependent:
        return FileDependent(self._folder, name)

    def generate(self, request: GenerateRequest) -> GenerateResult:
        """Make a value that is nobody else's."""
        return GenerateResult(value=SecretValue(f"made-{uuid.uuid4()}"))

    def apply(self, request: ApplyRequest) -> ApplyResult:
        """Have the dependent take the candidate."""
        request.confirm()
        self._of(request.name).take(request.candidate.reveal_text())
        return ApplyResult()

    def verify(self, request: VerifyCandidateRequest) -> VerifyCandidateResult:
        """See whether the dependent accepts the candidate."""
        if request.candidate.reveal_text() not in self._of(request.name).accepted:
            raise CandidateRefusedError("it is not accepted")
        return VerifyCandidateResult()

    def finish(self, request: FinishRequest) -> FinishResult:
        """Have the dependent forget the former value."""
        request.confirm()
        self._of(request.name).only(request.current.reveal_text())
        return FinishResult()

    def undo(self, request: UndoRequest) -> UndoResult:
        """Have the dependent accept the current value only."""
        request.confirm()
        self._of(request.name).only(request.current.reveal_text())
        return UndoResult()


@hookimpl
def strongroom_rotators() -> Iterator[RotatorSpec]:
    """Offer the rotator as ``filed``."""
    yield RotatorSpec(name="filed", summary="A test's own.", settings=FiledSettings, open=FiledRotator)


class Trace:
    """The points that a process passes: before and after each call that changes something.

    Args:
        at: The number of the point at which it kills itself, from 0; ``None`` for none.
    """

    def __init__(self, at: int | None) -> None:
        self.points: list[str] = []
        self._at = at
        self._depth = 0

    def _pass(self, point: str) -> None:
        self.points.append(point)
        if self._at == len(self.points) - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(self, owner: type[Any], operation: str) -> None:
        """Have each call of a method pass two points."""
        inner = getattr(owner, operation)

        def method(this: Any, *arguments: Any, **named: Any) -> Any:
            self._pass(f"before {operation}")
            result = inner(this, *arguments, **named)
            self._pass(f"after {operation}")
            return result

        setattr(owner, operation, method)


def _work(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in this process.

    Args:
        job: ``config``, ``name``, ``act`` (``rotate``, ``resume`` or ``undo``), ``at``, ``times`` and ``force``.

    Returns:
        The points that were passed, and the code of each time: ``ok`` or the error's.
    """
    from strongroom.resilience import GuardedBackend

    trace = Trace(job.get("at"))
    for operation in CALLS:
        trace.wrap(GuardedBackend, operation)
    for step in STEPS:
        trace.wrap(FiledRotator, step)
    codes: list[str] = []
    with strongroom.open(job["config"]) as manager:
        acts: dict[str, Callable[[], object]] = {
            "rotate": lambda: manager.rotate(job["name"]),
            "resume": lambda: manager.rotation.resume(job["name"], force=job.get("force", False)),
            "undo": lambda: manager.rotation.undo(job["name"], force=job.get("force", False)),
        }
        for _ in range(job.get("times", 1)):
            try:
                acts[job["act"]]()
            except StrongroomError as error:
                codes.append(error.code)
            else:
                codes.append("ok")
    return {"killed": False, "points": trace.points, "codes": codes}


def _forked(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job in a child of its own, and say what became of that."""
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.close(reads)
        status = 1
        try:
            os.write(writes, json.dumps(_work(job)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return {"killed": True, "points": [], "codes": []}
    return json.loads(answer) if answer else {"killed": False, "points": [], "codes": ["crashed"]}


class Nursery:
    """A program that forks a child for each job, and waits for its end.

    Args:
        folder: Its working folder, in which the package of the rotator is made.
        variables: Its environment, besides what it needs itself.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        site = folder / "site"
        information = site / "filed_rotator-1.0.dist-info"
        information.mkdir(parents=True, exist_ok=True)
        (information / "METADATA").write_text(METADATA)
        (information / "entry_points.txt").write_text(ENTRY_POINTS)
        paths = os.pathsep.join([str(site), str(Path(__file__).parent)])
        self._log = (folder / f"nursery-{uuid.uuid4().hex[:6]}.log").open("w+b")
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import rotations; rotations.main()"],
            env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": paths, "HOME": str(folder), **variables},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )

    def run(self, **job: Any) -> dict[str, Any]:
        """Do a job, and return what came of it, see :func:`_work`; ``killed`` tells whether the child was."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        self._log.seek(0)
        result: dict[str, Any] = json.loads(answer) if answer else {"codes": ["crashed"]}
        assert result["codes"] != ["crashed"], self._log.read().decode()
        return result

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()
        self._log.close()


def main() -> None:
    """Read jobs, one a line, and write what came of each."""
    for line in sys.stdin:
        print(json.dumps(_forked(json.loads(line))), flush=True)
