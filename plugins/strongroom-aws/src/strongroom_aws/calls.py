"""A request to the service, from the first attempt to the last, and how many there have been."""

from __future__ import annotations

import threading

from typing import Any, Final

from strongroom_aws.replies import Fault

KINDS: Final = {
    "BatchGetSecretValue": "list",
    "DescribeSecret": "read",
    "GetSecretValue": "read",
    "ListSecretVersionIds": "versions",
    "ListSecrets": "list",
}
"""What kind of request an operation is; all else are writes. Each kind has a limit of its own in the service."""


class Call:
    """A request, and what has become of it so far."""

    __slots__ = (
        "attempts",
        "client",
        "end",
        "expects",
        "fault",
        "operation",
        "parameters",
        "region",
        "renewed",
        "resends",
        "unsure",
        "what",
    )

    def __init__(
        self, operation: str, parameters: dict[str, Any], *, what: str, expects: str, region: str, end: float
    ) -> None:
        self.operation = operation
        self.parameters = parameters
        self.what = what
        self.expects = expects
        self.region = region
        self.end = end
        self.attempts = 0
        self.resends = 0
        self.renewed = False
        self.client: Any = None
        self.fault: Fault | None = None
        self.unsure = False

    def failed(self, fault: Fault) -> None:
        """Note that there was no answer, or one that says that there is none now."""
        self.fault = fault
        # Once in doubt, always in doubt: what a later attempt meets says nothing of an earlier one.
        if self.is_change and not fault.throttled and fault.code != "connection_refused":
            self.unsure = True

    @property
    def is_change(self) -> bool:
        """Whether it changes something."""
        return self.operation not in KINDS


class Counts:
    """How many requests there have been; threads may share it."""

    __slots__ = ("_lock", "requests", "resends", "throttled")

    def __init__(self) -> None:
        # A signal's handler may ask while its own thread is in here.
        self._lock = threading.RLock()
        self.requests = 0
        """How many were sent."""
        self.resends = 0
        """How many of those were sent again."""
        self.throttled = 0
        """How often the service had enough."""

    def add(self, *, requests: int = 0, resends: int = 0, throttled: int = 0) -> None:
        """Count further ones."""
        with self._lock:
            self.requests += requests
            self.resends += resends
            self.throttled += throttled
