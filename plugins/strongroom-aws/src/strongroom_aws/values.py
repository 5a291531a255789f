"""How values are sent and how they come back: text as text, bytes as bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from strongroom.contracts import ReadResult
from strongroom.errors import BackendError
from strongroom.model import SecretName, SecretValue, ValueType


def sent(value: SecretValue) -> dict[str, Any]:
    """Return the parameter that holds a value."""
    if value.type is ValueType.TEXT:
        return {"SecretString": value.reveal_text()}
    return {"SecretBinary": value.reveal()}


def received(data: dict[str, Any], name: SecretName, request_id: str | None, *, place: str | None = None) -> ReadResult:
    """Return what the service holds under a name.

    Args:
        data: Its answer, or one secret's part of an answer.
        name: The secret's name.
        request_id: The service's id of the request.
        place: The region that has answered, if it is not the usual one.

    Raises:
        BackendError: There is neither text nor bytes.
    """
    content = data.get("SecretString", data.get("SecretBinary"))
    if not isinstance(content, str | bytes):
        del data, content  # whatever it is, no report of the error has it
        raise BackendError(
            f"the answer for {name} holds no value", name=name, hint="see in the AWS console what is stored"
        )
    return ReadResult(
        value=SecretValue(content),
        version=str(data["VersionId"]),
        created=utc(data.get("CreatedDate")),
        request_id=request_id,
        place=f"region {place}" if place is not None else None,
    )


def utc(when: Any) -> datetime | None:
    """Return a date of the service's in UTC: botocore gives it in the zone that the machine is in."""
    if not isinstance(when, datetime):
        return None
    try:
        return when.astimezone(UTC)
    except OverflowError:
        return None  # at either end of time, where one zone has a year and the other none
