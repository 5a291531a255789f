"""The secret's value: a JSON object with ``username`` and ``password``, and whatever else it holds."""

from __future__ import annotations

import json
import re

from typing import Any, Final

from strongroom.contracts import Record
from strongroom.errors import InvalidValueError
from strongroom.model import SecretName, SecretValue

USER: Final = "username"
PASSWORD: Final = "password"  # noqa: S105  # a member's name
_BLANK: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


class Login(Record):
    """Whom to log in as, and with what."""

    user: str
    password: SecretValue


def login_of(value: SecretValue, name: SecretName | str) -> Login:
    """Return the user and password that a value holds.

    Args:
        value: The value.
        name: The secret's name, for the error.

    Raises:
        InvalidValueError: It is not an object with both as text.
    """
    found = _login(value)
    # Raised here, where no local variable holds any content: a traceback may show them.
    if isinstance(found, str):
        raise InvalidValueError(
            f"{name} {found}",
            name=str(name),
            hint='it has to be a JSON object such as {"username": "...", "password": "..."}',
        )
    return found


def with_login(value: SecretValue, login: Login) -> SecretValue:
    """Return a value with another user and password, and all the rest exactly as it is.

    Args:
        value: A value of which :func:`login_of` can tell user and password.
        login: The new ones.
    """
    text = value.reveal_text()
    spans = _spans(text)
    new = {USER: login.user, PASSWORD: login.password.reveal_text()}
    # From the back, so that the places further in front stay what they are.
    for member in sorted(new, key=lambda member: spans[member][0], reverse=True):
        start, end, _ = spans[member]
        text = text[:start] + json.dumps(new[member], ensure_ascii=False) + text[end:]
    return SecretValue.of_bytes(text.encode(), value.type)


def _login(value: SecretValue) -> Login | str:
    """Return the login, or what is wrong with the value."""
    try:
        text = value.reveal_text()
        if not isinstance(json.loads(text), dict):
            return "is not a JSON object"
        spans = _spans(text)
    except (ValueError, RecursionError, InvalidValueError):
        return "is not a JSON object, or has a member twice"
    for member in (USER, PASSWORD):
        if not _is_usable(spans.get(member, (0, 0, None))[2]):
            return f"has no usable text as its member {member}"
    return Login(user=spans[USER][2], password=SecretValue(spans[PASSWORD][2]))


def _is_usable(content: Any) -> bool:
    # libpq would cut it off at a NUL, and UTF-8 cannot write half of a surrogate pair.
    return isinstance(content, str) and content != "" and not re.search("[\0\ud800-\udfff]", content)


def _spans(text: str) -> dict[str, tuple[int, int, Any]]:
    """Return each member of an object with its value, and where in the text that begins and ends.

    Args:
        text: A JSON object.

    Raises:
        ValueError: It has a member twice.
    """
    found: dict[str, tuple[int, int, Any]] = {}
    at = _after_blanks(text, text.index("{") + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        start = _after_blanks(text, _after_blanks(text, at) + 1)
        content, end = _DECODER.raw_decode(text, start)
        if key in found:
            raise ValueError
        found[key] = (start, end, content)
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)
    return found


def _after_blanks(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()
