"""Notes about a secret, which the service calls tags, and what else it knows of one."""

from __future__ import annotations

import unicodedata

from collections.abc import Iterator, Mapping
from typing import Any, Final

from strongroom.contracts import AnnotateRequest, AnnotateResult, DescribeRequest, DescribeResult
from strongroom.errors import InvalidValueError
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.names import Names
from strongroom_aws.outcomes import refused_at
from strongroom_aws.replies import Refusal
from strongroom_aws.seen import find, look
from strongroom_aws.values import utc

_MOST: Final = 50
_KEY_LENGTH: Final = 128
_TEXT_LENGTH: Final = 256
_SIGNS: Final = frozenset("_.:/=+-@")
_KINDS: Final = ("L", "N", "Zs")
"""Letters and digits of any language, and blanks."""
_RESERVED: Final = "aws:"
_AWS_KEY: Final = "aws/secretsmanager"
"""The key that the service does not name, since it is the account's own one for it."""
_TEXTS: Final = {
    "ARN": "arn",
    "Description": "description",
    "OwningService": "owning_service",
    "PrimaryRegion": "primary_region",
    "RotationLambdaARN": "rotation_function",
}
_DATES: Final = {
    "LastAccessedDate": "last_accessed",
    "LastRotatedDate": "last_rotated",
    "NextRotationDate": "next_rotation",
    "DeletedDate": "scheduled_for_deletion",
}


class Notes:
    """Reads and replaces what is noted about secrets.

    Args:
        asker: Asks the service.
        names: Spells the names.
    """

    def __init__(self, asker: Asker, names: Names) -> None:
        self._asker = asker
        self._names = names

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return what is known of a secret beside its value; see ``Describing.describe``. One request.

        One that is scheduled for deletion is described as well, with the date. Tags that AWS itself has set are
        no notes.
        """
        name, what = request.name, f"describing {request.name}"
        seen = look(self._asker, self._names, name, what=what)
        if isinstance(seen, Refusal):
            raise refused_at(seen, what, name)
        return DescribeResult(
            metadata=_notes(seen.data),
            version=seen.current,
            created=utc(seen.data.get("CreatedDate")),
            updated=utc(seen.data.get("LastChangedDate")),
            facts=tuple(_facts(seen.data)),
            request_id=seen.request_id,
        )

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace the notes about a secret; see ``Describing.annotate``. One request, and up to two more.

        New notes are set before old ones are removed, so that what goes wrong in between leaves some too many
        and loses none; doing it again completes it. It is the other way round only where the service would
        have to hold more than fifty meanwhile.
        """
        name, notes = request.name, request.metadata
        trouble = notes_problem(notes)
        if trouble:
            raise InvalidValueError(
                f"AWS Secrets Manager cannot hold these notes about {name}: {trouble}",
                name=name,
                hint="notes are tags there; keep longer or other texts elsewhere",
            )
        seen = find(self._asker, self._names, name, what=f"annotating {name}")
        before = _notes(seen.data)
        changed = [{"Key": key, "Value": text} for key, text in notes.items() if before.get(key) != text]
        gone = [key for key in before if key not in notes]
        steps: list[tuple[str, dict[str, Any], str]] = [
            ("TagResource", {"Tags": changed}, f"setting tags of {name}"),
            ("UntagResource", {"TagKeys": gone}, f"removing tags of {name}"),
        ]
        if len(before.keys() | notes.keys()) > _MOST:
            steps.reverse()
        request_id = seen.request_id
        for operation, parameters, what in steps:
            if any(parameters.values()):
                request_id = self._change(operation, parameters, name, what)
        return AnnotateResult(request_id=request_id)

    def _change(self, operation: str, parameters: dict[str, Any], name: SecretName, what: str) -> str | None:
        answer = self._asker.ask(operation, {"SecretId": self._names.id_of(name), **parameters}, what=what)
        if isinstance(answer, Refusal):
            raise refused_at(answer, what, name)
        return answer.request_id


def notes_problem(notes: Mapping[str, str]) -> str:
    """Say why the service would refuse notes as tags; an empty answer means that it would not."""
    if len(notes) > _MOST:
        return f"there are {len(notes)}, and it takes {_MOST} at most"
    for key, text in notes.items():
        shown = ascii(key)[:80]
        if _is_reserved(key):
            return f"the name {shown} begins with {_RESERVED}, which is reserved"
        if not 1 <= len(key) <= _KEY_LENGTH:
            return f"the name {shown} must have from 1 to {_KEY_LENGTH} characters"
        if len(text) > _TEXT_LENGTH:
            return f"the text of {shown} must have at most {_TEXT_LENGTH} characters"
        for what, content in (("name", key), ("text of", text)):
            if not all(map(_is_allowed, content)):
                return f"the {what} {shown} may have letters, digits, blanks and {''.join(sorted(_SIGNS))} only"
    return ""


def _is_allowed(character: str) -> bool:
    return character in _SIGNS or unicodedata.category(character).startswith(_KINDS)


def _is_reserved(key: str) -> bool:
    return key[: len(_RESERVED)].lower() == _RESERVED


def _notes(data: dict[str, Any]) -> dict[str, str]:
    """Return the tags that users have set."""
    tags = {tag["Key"]: tag.get("Value", "") for tag in data.get("Tags") or ()}
    return {key: text for key, text in tags.items() if not _is_reserved(key)}


def _facts(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what the service says of a secret beside its tags and versions."""
    for key, fact in _TEXTS.items():
        if data.get(key):
            yield fact, str(data[key])
    yield "kms_key", data.get("KmsKeyId") or _AWS_KEY
    if "RotationEnabled" in data:
        yield "rotation", "on" if data["RotationEnabled"] else "off"
    if data.get("RotationRules"):
        yield "rotation_rule", _rule(data["RotationRules"])
    for key, fact in _DATES.items():
        when = utc(data.get(key))
        if when is not None:
            yield fact, when.isoformat()
    for replica in data.get("ReplicationStatus") or ():
        told = [str(replica[key]) for key in ("Status", "StatusMessage") if replica.get(key)]
        yield f"replica {replica['Region']}", ": ".join(told)


def _rule(rules: dict[str, Any]) -> str:
    often = rules.get("ScheduleExpression") or f"every {rules.get('AutomaticallyAfterDays')} days"
    return f"{often}, window {rules['Duration']}" if rules.get("Duration") else str(often)
