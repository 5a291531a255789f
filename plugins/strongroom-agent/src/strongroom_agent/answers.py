"""How the agent answers: JSON, never kept by anybody, and errors that say what to do."""

from __future__ import annotations

import json

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from strongroom.contracts import Record
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    ClosedError,
    InvalidNameError,
    InvalidValueError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
)

Send = Callable[[Any], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

JSON: Final = b"application/json"
_ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
RETRY_SECONDS: Final = 1
# `json.dumps` makes one for each call, unless all is as usual.
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"))


class Answer(Record):
    """One answer to a request."""

    status: int
    body: bytes
    kind: bytes = JSON
    """The content type."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Further headers."""

    async def send(self, send: Send) -> None:
        """Send it.

        Args:
            send: What ASGI gives for that.
        """
        headers = [
            (b"content-type", self.kind),
            (b"content-length", b"%d" % len(self.body)),
            *_ALWAYS,
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def encoded(content: object) -> bytes:
    """Return a JSON document, in ASCII: what somebody has written to the trail need not be text that UTF-8 can hold.

    Args:
        content: What is in it.
    """
    return _ENCODER.encode(content).encode()


def document(content: object, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return an answer that is a JSON document, in ASCII."""
    return Answer(status=status, body=encoded(content), headers=headers)


def problem(code: str, message: str, hint: str = "") -> dict[str, str]:
    """Return what an error says.

    Args:
        code: A word that does not change.
        message: What is wrong.
        hint: What to do about it.
    """
    return {"error": code, "message": message, "hint": hint}


def refusal(status: int, code: str, message: str, hint: str = "", headers: Headers = ()) -> Answer:
    """Return an answer that is an error of the request's."""
    return document(problem(code, message, hint), status=status, headers=tuple(headers))


UNKNOWN_CALLER: Final = refusal(401, "unauthorized", "unauthorized", headers=[(b"www-authenticate", b"Bearer")])
NOT_HERE: Final = refusal(404, "no_such_path", "there is nothing at this path")
INTERNAL: Final = refusal(500, "internal", "something is wrong in the agent", "its log says more")

_STATUSES: Final[tuple[tuple[type[StrongroomError], int], ...]] = (
    (SecretNotFoundError, 404),
    (AccessDeniedError, 403),
    (InvalidNameError, 400),
    (UnsupportedOperationError, 400),
    (InvalidValueError, 422),
    (BackendUnavailableError, 503),
    (AuditError, 503),
    (ClosedError, 503),
    (AuthenticationError, 502),
    (BackendError, 502),
)
_TOLD: Final = (400, 403, 404, 422)
"""Where the caller is told the reason; the others are the operator's to mend, and may name what is his."""
_OUTAGES: Final = {503: "it is out of reach now; ask again later", 502: "the backend has refused the agent, or failed"}


def status_of(error: StrongroomError) -> int:
    """Return the status of HTTP that stands for an error."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def described(error: StrongroomError) -> dict[str, str]:
    """Return what a caller is told about an error.

    Args:
        error: The error.
    """
    status = status_of(error)
    if status in _TOLD:
        return problem(error.code, error.what, error.hint)
    return problem(error.code, _OUTAGES.get(status, "the agent could not read it"), "the operator's log says more")


def failed(error: StrongroomError) -> Answer:
    """Return the answer that an error of strongroom's is.

    Args:
        error: The error.
    """
    status = status_of(error)
    headers = ((b"retry-after", b"%d" % RETRY_SECONDS),) if status == 503 else ()
    return document(described(error), status=status, headers=headers)
