"""How values are sent and how they come back: text as text, bytes as bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from strongroom.contracts import ReadResult
from strongroom.errors import BackendError, InvalidValueError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue, ValueType
from strongroom_aws.settings import MAX_VALUE_BYTES


def check_size(name: SecretName, value: SecretValue) -> None:
    """Look whether the service can hold a value; nothing is sent.

    Raises:
        ValueTooLargeError: It is too large.
        InvalidValueError: It is empty.
    """
    size = len(value)
    if size > MAX_VALUE_BYTES:
        raise ValueTooLargeError(
            f"the value of {name} has {size} bytes, and AWS Secrets Manager takes at most {MAX_VALUE_BYTES}",
            size=size,
            limit=MAX_VALUE_BYTES,
            name=name,
            hint="store a smaller value, or route the name to another backend",
        )
    if size == 0:
        raise InvalidValueError(
            f"AWS Secrets Manager cannot hold an empty value for {name}",
            name=name,
            hint="delete the secret instead, or route the name to a backend that can",
        )


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
