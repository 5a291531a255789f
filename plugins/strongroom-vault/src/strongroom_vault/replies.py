"""What a server answers."""

from __future__ import annotations

import json

from collections.abc import Mapping
from typing import Any, Final


class Reply:
    """A server's answer to one request.

    Attributes:
        status: The HTTP status.
        headers: The HTTP headers; their names in any case.
        body: The JSON object that it holds; empty for anything else.
        denied: Whether it is known that a 403 is no fault of the token that was shown.
    """

    __slots__ = ("body", "denied", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = _object(content)
        self.denied = False

    @property
    def errors(self) -> str:
        """What the server says is wrong, in one line. It may repeat what was sent, so look before showing it."""
        errors = self.body.get("errors")
        return "; ".join(map(str, errors)) if isinstance(errors, list) else ""

    @property
    def request_id(self) -> str | None:
        """The server's own id of the request, as its audit log has it."""
        return self.body.get("request_id") or None

    @property
    def data(self) -> dict[str, Any]:
        """What was asked for; empty if there is none."""
        data = self.body.get("data")
        return data if isinstance(data, dict) else {}

    def __repr__(self) -> str:
        return f"<Reply {self.status}: body hidden>"


class RefusedError(Exception):
    """The server answered, and not with what was asked for. It holds the answer, and shows none of it.

    Args:
        reply: The answer.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"HTTP status {reply.status}")
        self.reply = reply


# What `json.loads` comes to, without its look at what the text might be encoded in.
_decode: Final = json.JSONDecoder().decode


def _object(content: bytes) -> dict[str, Any]:
    if not content.startswith((b"{", b" ", b"\n")):
        return {}
    try:
        found = _decode(content.decode())
    # Deeper than Python goes, or a number of more digits than it takes.
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
