"""The API for programs in any language: ``/v1/get``, ``/v1/get-many`` and ``/v1/list``."""

from __future__ import annotations

import base64
import json

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from strongroom.errors import InvalidValueError, StrongroomError
from strongroom.model import Secret, ValueType
from strongroom_agent.answers import Answer, described, document, failed, refusal
from strongroom_agent.settings import MOST_NAMES

if TYPE_CHECKING:
    from strongroom import AsyncSecretManager

MOST_LISTED: Final = 10_000
"""How many names one answer lists, at most."""
LISTED: Final = 1_000
"""How many names one answer lists, unless the request says so."""


class RequestError(Exception):
    """A request's body is not what the endpoint takes; the text says why, and is safe to be shown."""


class Question:
    """What a request asks for: an object of JSON whose members are known.

    Args:
        body: The request's body.
        kinds: The type of each member that there may be.

    Raises:
        RequestError: It is not such an object.
    """

    def __init__(self, body: bytes, kinds: dict[str, type]) -> None:
        try:
            content = json.loads(body)
        # Nested too deeply, numbers with too many digits, and everything that is no JSON or no UTF-8.
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise RequestError("the body is not an object of JSON")
        for key, value in content.items():
            if key not in kinds:
                raise RequestError(f"there is a member that is not one of {', '.join(kinds)}")
            if value is not None and (type(value) is not kinds[key]):
                raise RequestError(f"{key} is not {_KINDS[kinds[key]]}")
        self._content = {key: value for key, value in content.items() if value is not None}

    def get(self, key: str, default: Any = None) -> Any:
        """Return a member's value, or the default if it is not given."""
        return self._content.get(key, default)

    def need(self, key: str) -> Any:
        """Return a member's value.

        Raises:
            RequestError: It is missing.
        """
        if key not in self._content:
            raise RequestError(f"{key} is missing")
        return self._content[key]


_KINDS: Final = {str: "a text", bool: "true or false", list: "a list", int: "a whole number"}
_GET: Final[dict[str, type]] = {"name": str, "field": str, "version": str, "refresh": bool}
_GET_MANY: Final[dict[str, type]] = {"names": list}
_LIST: Final[dict[str, type]] = {"prefix": str, "after": str, "limit": int}


async def get(manager: AsyncSecretManager, question: Question) -> Answer:
    """Answer with one secret.

    Args:
        manager: The manager, as the caller's principal.
        question: What is asked for.

    Raises:
        RequestError: That cannot be asked for.
        StrongroomError: There is no answer.
    """
    name, version, field = question.need("name"), question.get("version"), question.get("field")
    if not question.get("refresh", False):
        return document(_shown(await manager.get(name, version=version, field=field)))
    if version is not None:
        raise RequestError("refresh asks for the current version, and not for another one")
    secret = await manager.refresh(name)
    return document(_shown(secret if field is None else secret.field(field)))


async def get_many(manager: AsyncSecretManager, question: Question) -> Answer:
    """Answer with several secrets, and an error for each name that has none.

    Args:
        manager: The manager, as the caller's principal.
        question: What is asked for.

    Raises:
        RequestError: That cannot be asked for.
    """
    batch = await manager.get_many(names_in(question))
    errors = {name: described(error) for name, error in batch.errors.items()}
    return document({"secrets": {name: _shown(secret) for name, secret in batch.found.items()}, "errors": errors})


async def list_names(manager: AsyncSecretManager, question: Question) -> Answer:
    """Answer with names.

    Args:
        manager: The manager, as the caller's principal.
        question: What is asked for.

    Raises:
        RequestError: That cannot be asked for.
        StrongroomError: There is no answer.
    """
    limit, after = question.get("limit", LISTED), question.get("after", "")
    if not 1 <= limit <= MOST_LISTED:
        raise RequestError(f"limit is not from 1 to {MOST_LISTED}")
    found = [name for name in sorted(await manager.list(question.get("prefix", ""))) if name > after]
    return document({"names": found[:limit], "more": len(found) > limit})


def names_in(question: Question) -> list[str]:
    """Return the names that are asked for.

    Args:
        question: What is asked for.

    Raises:
        RequestError: They are no texts, none or too many.
    """
    names = question.need("names")
    if not all(isinstance(name, str) for name in names):
        raise RequestError("names are not all texts")
    if not 1 <= len(names) <= MOST_NAMES:
        raise RequestError(f"names are not from 1 to {MOST_NAMES}")
    return list(names)


Handler = Callable[["AsyncSecretManager", Question], Awaitable[Answer]]
ENDPOINTS: Final[dict[str, tuple[Handler, dict[str, type]]]] = {
    "/v1/get": (get, _GET),
    "/v1/get-many": (get_many, _GET_MANY),
    "/v1/list": (list_names, _LIST),
}
"""What answers at each path, and the members that a request may have."""


async def answer(manager: AsyncSecretManager, handler: Handler, question: Question) -> Answer:
    """Answer a question, with an error if there is nothing better.

    Args:
        manager: The manager, as the caller's principal.
        handler: What answers.
        question: What is asked for.
    """
    try:
        return await handler(manager, question)
    except StrongroomError as error:
        return failed(error)
    except RequestError as error:
        return malformed(error)


def malformed(error: RequestError) -> Answer:
    """Return the answer to a body that is not what the endpoint takes."""
    return refusal(400, "bad_request", str(error))


def _shown(secret: Secret) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": secret.name}
    text = _text(secret)
    if text is None:
        shown["value_base64"] = base64.b64encode(secret.reveal()).decode()
    else:
        shown["value"] = text
    shown["version"] = secret.version
    shown["freshness"] = secret.freshness.value
    shown["source"] = secret.backend
    shown["age"] = round(secret.age, 3)
    if secret.place is not None:
        shown["place"] = secret.place
    return shown


def _text(secret: Secret) -> str | None:
    if secret.value.type is not ValueType.TEXT:
        return None
    try:
        return secret.reveal_text()
    except InvalidValueError:
        return None
