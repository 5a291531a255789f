"""Backends in memory that outlive the managers on them, and copies from one to the other."""

from __future__ import annotations

import contextlib
import threading

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from strongroom.builtin.memory import MemoryBackend
from strongroom.config.load import load
from strongroom.contracts import (
    ListRequest,
    ListResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.contracts.recovery import AnnotateRequest, AnnotateResult, DescribeRequest, DescribeResult
from strongroom.errors import StrongroomError
from strongroom.manager import SecretManager
from strongroom.model import SecretName, SecretValue
from strongroom.moving.copying import Copier
from strongroom.moving.marks import Marker
from strongroom.moving.places import configuration_at, parse_place
from strongroom.moving.planning import Plan, complete
from strongroom.moving.rules import IfExists
from strongroom.moving.sides import Side
from strongroom.moving.survey import State, Survey
from strongroom.wiring import Parts


class Killed(BaseException):
    """The process has died."""


class Kept(MemoryBackend):
    """A backend whose secrets stay when a manager closes it, and that can be meddled with at each call.

    Attributes:
        calls: How often each operation was called.
        writes: The requests that were written.
        before: Called with the operation and the name before each call; what it raises, the call raises.
        after: The same, when the call has been made.
    """

    def __init__(self, settings: Any = None) -> None:
        super().__init__(settings)
        self.calls: Counter[str] = Counter()
        self.writes: list[WriteRequest] = []
        self.before: Callable[[str, str], object] = lambda operation, name: None
        self.after: Callable[[str, str], object] = lambda operation, name: None
        self._count = threading.Lock()

    @contextlib.contextmanager
    def _call(self, operation: str, name: str) -> Iterator[None]:
        with self._count:
            self.calls[operation] += 1
        self.before(operation, name)
        yield
        self.after(operation, name)

    def read(self, request: ReadRequest) -> ReadResult:
        with self._call("read", request.name):
            return super().read(request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        with self._call("read_many", ",".join(request.names)):
            return super().read_many(request)

    def write(self, request: WriteRequest) -> WriteResult:
        with self._call("write", request.name):
            self.writes.append(request)
            return super().write(request)

    def list(self, request: ListRequest) -> ListResult:
        with self._call("list", request.prefix):
            return super().list(request)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        with self._call("versions", request.name):
            return super().versions(request)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        with self._call("describe", request.name):
            return super().describe(request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        with self._call("annotate", request.name):
            return super().annotate(request)

    def close(self) -> None:
        """Keep everything: another manager comes after this one."""

    def put(self, name: str, *values: str | bytes) -> None:
        """Write versions as somebody else."""
        for value in values:
            super().write(WriteRequest(name=SecretName(name), value=SecretValue(value)))

    def holds(self, name: str) -> list[str | bytes]:
        """Return the values of a secret that can be read, oldest first."""
        wanted = SecretName(name)
        numbers = [one.version for one in super().versions(VersionsRequest(name=wanted)).versions if not one.deleted]
        values = [super(Kept, self).read(ReadRequest(name=wanted, version=number)).value for number in numbers]
        return [value.reveal_text() if value.type.value == "text" else value.reveal() for value in values]


class Move:
    """Copies from the backend ``here`` to the backend ``there``, each time with managers of its own.

    Args:
        here: Where from.
        there: Where to.
        configuration: Further tables.
    """

    def __init__(self, here: Any, there: Any, **configuration: Any) -> None:
        self.here = here
        self.there = there
        backends = {"here": {"type": "memory"}, "there": {"type": "memory"}}
        self._content = {"backend": "here", "audit": "none", "backends": backends} | configuration

    @contextlib.contextmanager
    def survey(self, source: str = "here", target: str = "there", **options: Any) -> Iterator[Survey]:
        """Lend both sides."""
        ready = {"here": self.here, "there": self.there}
        with surveyed(self._content, source, target, ready=ready, **{"workers": 1} | options) as survey:
            yield survey

    def copy(
        self, source: str = "here", target: str = "there", *, rule: str = "error", **options: Any
    ) -> tuple[Plan, Copier]:
        """Copy; raise what keeps a plan from being carried out."""
        with self.survey(source, target, **options) as survey:
            plan = Plan()
            complete(plan, survey, IfExists(rule), silent)
            problems: list[StrongroomError] = [*plan.conflicts.values(), *plan.problems.values()]
            if problems:
                raise problems[0]
            copier = Copier(survey, plan, IfExists(rule), sleep=lambda seconds: None)
            copier.run(silent)
            return plan, copier

    def states(self, source: str = "here", target: str = "there", **options: Any) -> dict[str, State]:
        """Return how the two compare."""
        with self.survey(source, target, **options) as survey:
            return {pair.rest: pair.state for pair in survey.everywhere(silent)}


@contextlib.contextmanager
def surveyed(
    content: dict[str, Any], source: str, target: str, *, ready: dict[str, Any] | None = None, **options: Any
) -> Iterator[Survey]:
    """Lend both sides of a move.

    Args:
        content: The configuration.
        source: Where from, as on the command line.
        target: Where to.
        ready: Backends that are there already, by name.
        options: Those of a side.
    """
    configuration = load(content, ready=tuple(ready or ()))
    marker = Marker()
    with contextlib.ExitStack() as stack:
        sides = []
        for text in (source, target):
            place = parse_place(text, configuration.backends)
            parts = Parts(configuration_at(configuration, place.backend), backends=ready)
            manager = stack.enter_context(SecretManager(parts, configuration.principal))
            sides.append(Side(manager, place, marker, parts.is_leased, **options))
        yield Survey(*sides)


def silent(done: int, total: int) -> None:
    """Show no progress."""
