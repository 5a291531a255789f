"""What the service answers, and what comes of a request that it does not answer."""

from __future__ import annotations

from typing import Any

from strongroom.contracts import Record


class Reply:
    """An answer: what was asked for. It may hold values, and shows none.

    Attributes:
        data: What the service says.
        request_id: The service's own id of the request.
        resends: How often it was sent again before; if it was, an earlier one may have been acted on.
        region: Which region has answered.
    """

    __slots__ = ("data", "region", "request_id", "resends")

    def __init__(self, data: dict[str, Any], request_id: str | None, *, resends: int, region: str) -> None:
        self.data = data
        self.request_id = request_id
        self.resends = resends
        self.region = region


class Refusal(Record):
    """An answer that says why not."""

    code: str
    """The service's error code, such as ``ResourceNotFoundException``."""
    status: int
    """The HTTP status."""
    request_id: str | None = None
    resends: int = 0
    unsure: bool = False
    """Whether it may have been done all the same, by an earlier attempt whose answer was lost."""
    region: str = ""
    service: str = "secretsmanager"
    """Which service has said so: ``sts`` if it was the one that gives out credentials."""


class Fault(Record):
    """No answer, or one that says that there is none now: an outage, if it does not end."""

    code: str
    """One of ``BackendUnavailableError``."""
    what: str
    """What went wrong, after the name of what was asked."""
    who: str = ""
    """What was asked, if it was not the service itself but what gives out credentials."""
    throttled: bool = False
    """Whether the service has had enough."""
    wait: float | None = None
    """For how many seconds it asks to wait."""
