"""What goes wrong in a fake of AWS, when a test says so."""

from __future__ import annotations

import threading
import time

from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

HOWS = frozenset({"reset", "close", "hang", "cut", "empty", "html"})
SERVER_ERRORS = {
    "InternalServiceError": 500,
    "InternalFailure": 500,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "ServiceUnavailableException": 503,
}


class Request:
    """A request that came in, its values left in: it is a test."""

    def __init__(self, service: str, operation: str, region: str, access_key: str, parameters: dict[str, Any]) -> None:
        self.service = service
        """``secretsmanager`` or ``sts``."""
        self.operation = operation
        self.region = region
        """What the request was signed for; empty if it was not signed."""
        self.access_key = access_key
        self.parameters = parameters
        """As they were sent: binary values in base64, and for STS all of them texts."""
        self.token = ""
        """The session token, if any."""
        self.headers: Any = {}
        self.path = "/"
        self.peer = 0
        """The client's port: the same for requests over one connection."""
        self.at = time.monotonic()

    @property
    def name(self) -> str:
        """The name or ARN that it is about; empty if it is about none or many."""
        return str(self.parameters.get("SecretId") or self.parameters.get("Name") or "")

    def __repr__(self) -> str:
        return f"<{self.operation} {self.region} {self.name}>"


class ServiceError(Exception):
    """An answer that is an error.

    Args:
        code: The error's code.
        message: The text for people.
        status: The HTTP status.
    """

    def __init__(self, code: str, message: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or SERVER_ERRORS.get(code, 400)


class Rule:
    """One thing that goes wrong, or is done, for requests that fit."""

    def __init__(
        self, kind: str, operation: str, what: Any, times: int | None, name: str | None, region: str | None
    ) -> None:
        self.kind = kind
        self.operation = operation
        self.what = what
        self.times = times
        self.name = name
        self.region = region

    def fits(self, request: Request, name: str) -> bool:
        """Whether it applies to this request, which is about the secret of this name."""
        return (
            self.times != 0
            and self.operation in {"*", request.operation}
            and self.region in {None, request.region}
            and (self.name is None or fnmatchcase(name, self.name))
        )


class Faults:
    """Lists the requests, and what shall go wrong with those to come.

    Everywhere ``operation`` is an operation such as ``GetSecretValue``, or ``*`` for all; ``times`` is for how many
    requests, ``None`` for all to come; ``name`` restricts it to a secret (with ``*`` as in a shell), ``region`` to a
    region. Of faults that fit one request the one that was added first is taken.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._rules: list[Rule] = []
        self._fault_lock = threading.Lock()

    @property
    def counts(self) -> Counter[str]:
        """How many requests there were of each operation."""
        return Counter(request.operation for request in list(self.requests))

    def sent(self, operation: str | None = None, *, region: str | None = None) -> list[Request]:
        """Return the requests of an operation, in a region."""
        return [
            request
            for request in list(self.requests)
            if operation in {None, request.operation} and region in {None, request.region}
        ]

    def fail(
        self,
        operation: str,
        code: str,
        status: int | None = None,
        times: int | None = 1,
        message: str = "",
        *,
        name: str | None = None,
        region: str | None = None,
    ) -> None:
        """Answer with an error instead of doing it. The status is 400, or what such a code has (500, 503)."""
        self._add("fail", operation, ServiceError(code, message or f"{code}, for a test.", status), times, name, region)

    def fail_transport(
        self,
        operation: str,
        how: str = "reset",
        times: int | None = 1,
        *,
        name: str | None = None,
        region: str | None = None,
    ) -> None:
        """Do not do it, and spoil the connection or the answer.

        ``reset`` and ``close`` end the connection, ``hang`` never answers, ``empty`` answers 200 without a body,
        ``html`` answers 200 with a page as a proxy would. ``cut`` does what was asked, but its answer ends amidst.
        """
        assert how in HOWS, how
        self._add("transport", operation, how, times, name, region)

    def after(
        self,
        operation: str,
        function: Callable[[Request], object] | None = None,
        *,
        times: int | None = 1,
        how: str = "reset",
        name: str | None = None,
        region: str | None = None,
    ) -> None:
        """Do it, call the function, and then drop the answer: the client cannot know what became of it.

        Args:
            operation: See above, as for the rest.
            function: Called with the request when it has been done; it may send requests itself.
            times: For how many requests.
            how: What happens to the answer: one of those of :meth:`fail_transport`, or an empty text to let it pass.
            name: For this secret.
            region: For this region.
        """
        assert how in HOWS | {""}, how
        self._add("after", operation, (function, how), times, name, region)

    def before(
        self,
        operation: str,
        function: Callable[[Request], object],
        *,
        times: int | None = 1,
        name: str | None = None,
        region: str | None = None,
    ) -> None:
        """Call the function before it is done; it may send requests itself: somebody else comes first."""
        self._add("before", operation, function, times, name, region)

    def delay(
        self,
        operation: str,
        seconds: float,
        *,
        times: int | None = None,
        name: str | None = None,
        region: str | None = None,
    ) -> None:
        """Wait for so long before it is done."""
        self._add("delay", operation, seconds, times, name, region)

    def fail_in_batch(self, code: str, name: str, times: int | None = None, message: str = "") -> None:
        """Let batches list a secret among their errors; the other secrets are not touched."""
        self._add("batch", "GetSecretValue", ServiceError(code, message or f"{code}, for a test."), times, name, None)

    def heal(self) -> None:
        """Let nothing go wrong any more."""
        with self._fault_lock:
            self._rules.clear()

    def _add(
        self, kind: str, operation: str, what: Any, times: int | None, name: str | None, region: str | None
    ) -> None:
        with self._fault_lock:
            self._rules.append(Rule(kind, operation, what, times, name, region))

    def _due(self, request: Request, name: str) -> dict[str, Any]:
        """Note a request; return what is due for it: of delay, before and the three faults one each at most."""
        due: dict[str, Any] = {}
        with self._fault_lock:
            self.requests.append(request)
            for rule in self._rules:
                slot = rule.kind if rule.kind in {"delay", "before", "batch"} else "fault"
                if slot != "batch" and slot not in due and rule.fits(request, name):
                    due[slot] = rule
                    rule.times = None if rule.times is None else rule.times - 1
        return due

    def _due_in_batch(self, name: str) -> None:
        """Raise what is due for a secret of this name in a batch."""
        with self._fault_lock:
            for rule in self._rules:
                if rule.kind == "batch" and rule.times != 0 and fnmatchcase(name, str(rule.name)):
                    rule.times = None if rule.times is None else rule.times - 1
                    raise ServiceError(rule.what.code, rule.what.message)
