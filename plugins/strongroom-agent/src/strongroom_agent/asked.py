"""What a page asks the dashboard for: JSON objects of a size that has a bound, and how a question is refused."""

from __future__ import annotations

import json

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request

from strongroom_agent.answers import problem

MOST_BYTES: Final = 16 * 1024
"""How large a request's body may be."""
LONGEST_TEXT: Final = 1024
LARGEST: Final = 1e12


class Refused(Exception):  # noqa: N818  # an answer, not a fault
    """A request is answered with an error.

    Args:
        status: The status of HTTP.
        code: A word for programs.
        message: What is wrong.
        hint: What to do about it.
    """

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.content = problem(code, message, hint)


async def document(request: Request) -> Mapping[str, Any]:
    """Return the JSON object that a request holds.

    Raises:
        Refused: It is none, is not said to be one, or is too large.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "malformed", "this is no JSON", "send it as application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise Refused(413, "too_large", f"a request has at most {MOST_BYTES} bytes")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise Refused(400, "malformed", "this is no JSON object")
    return content


def text(content: Mapping[str, Any], field: str) -> str:
    """Return a text of a JSON object; empty if it has none.

    Raises:
        Refused: It is no text, or a long one.
    """
    found = content.get(field, "")
    if not isinstance(found, str) or len(found) > LONGEST_TEXT:
        raise Refused(400, "malformed", f"{field} is no text, or a long one")
    return found


def number(content: Mapping[str, Any], field: str) -> float | None:
    """Return a number of a JSON object; ``None`` if it has none.

    Raises:
        Refused: It is no number, or a large one.
    """
    found = content.get(field)
    if found is None:
        return None
    # What is not a number at all is not within the bounds either.
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) <= LARGEST:
        raise Refused(400, "malformed", f"{field} is no number, or a large one")
    return float(found)


def count(content: Mapping[str, Any], field: str, otherwise: int, most: int) -> int:
    """Return a whole number of a JSON object, from 1 on.

    Args:
        content: The object.
        field: Its name there.
        otherwise: What it is if the object has none.
        most: The largest that there may be.

    Raises:
        Refused: It is no such number.
    """
    found = content.get(field, otherwise)
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= most:
        raise Refused(400, "malformed", f"{field} is no number from 1 to {most}")
    return found
