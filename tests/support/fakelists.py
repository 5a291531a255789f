"""The operations of a fake of Secrets Manager that read values and lists."""

from __future__ import annotations

import base64
import hashlib

from collections.abc import Callable
from typing import Any

from fakefaults import ServiceError
from fakesecrets import DAY, NOT_FOUND, Secret, Store

BATCH = 20
PAGE = 100


class Lists:
    """What reads and lists."""

    def __init__(self, store: Store, check: Callable[[str, str], None]) -> None:
        self.store = store
        self.check = check
        """Raises if a batch in a region may not read the secret of a name or ARN."""
        self.page = PAGE
        """How many entries a page of a list has at most, even if more are asked for."""
        self.batch_page = BATCH
        """How many values an answer of a batch has at most."""
        self.empty_pages = 0
        """How many of the next pages of lists are empty, with a token for more."""

    def GetSecretValue(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"])
        version_id, label = asked.get("VersionId"), asked.get("VersionStage")
        version = secret.versions.get(version_id) if version_id is not None else secret.holder(label or "AWSCURRENT")
        if version is None or not version.value:
            what = f"VersionId: {version_id}" if version_id is not None else f"staging label: {label or 'AWSCURRENT'}"
            text = f"Secrets Manager can't find the specified secret value for {what}"
            raise ServiceError("ResourceNotFoundException", text)
        if version_id is not None and label is not None and label not in version.labels:
            text = "You provided a VersionStage that is not associated to the provided VersionId."
            raise ServiceError("InvalidRequestException", text)
        secret.details["LastAccessedDate"] = self.store.clock() // DAY * DAY
        about = {"ARN": secret.arn, "Name": secret.name, "VersionId": version.id, "CreatedDate": version.created}
        return about | version.value | {"VersionStages": list(version.labels)}

    def BatchGetSecretValue(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        ids, filters = asked.get("SecretIdList"), asked.get("Filters", [])
        if bool(ids) == bool(filters):
            text = "Either 'SecretIdList' or 'Filters' must be provided, but not both."
            raise ServiceError("InvalidParameterException", text)
        if "MaxResults" in asked and not filters:
            text = "'Filters' not specified. 'Filters' must also be specified when 'MaxResults' is provided."
            raise ServiceError("InvalidParameterException", text)
        if ids and len(ids) > BATCH:
            raise ServiceError("InvalidParameterException", f"SecretIdList has more than {BATCH} entries.")
        wanted = ids or [one.arn for one in self.store.listed(region) if _matches(one, filters) and one.deleted is None]
        start = _offset(asked.get("NextToken"), region, "batch")
        size = min(asked.get("MaxResults", BATCH), self.batch_page)
        answer: dict[str, Any] = {"SecretValues": [], "Errors": []}
        for one in wanted[start : start + size]:
            try:
                self.check(region, one)
                answer["SecretValues"].append(self.GetSecretValue(region, {"SecretId": one}))
            except ServiceError as problem:
                answer["Errors"].append({"SecretId": one, "ErrorCode": problem.code, "Message": problem.message})
        more = start + size < len(wanted)
        return answer | ({"NextToken": _page_token(start + size, region, "batch")} if more else {})

    def ListSecrets(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        size = _size(asked, self.page)
        after = _offset(asked.get("NextToken"), region, "list")
        newest_first = asked.get("SortOrder") == "desc"
        found = self.store.listed(region)[:: -1 if newest_first else 1]
        found = [
            secret
            for secret in found
            if (asked.get("IncludePlannedDeletion", False) or secret.deleted is None)
            and _matches(secret, asked.get("Filters", []))
        ]
        rest = [one for one in found if not after or (one.number < after if newest_first else one.number > after)]
        if self.empty_pages and rest:
            self.empty_pages -= 1
            return {"SecretList": [], "NextToken": _page_token(after, region, "list")}
        page = rest[:size]
        entries = [
            secret.described() | ({"SecretVersionsToStages": secret.stages} if secret.stages else {}) for secret in page
        ]
        more = len(rest) > size
        return {"SecretList": entries} | ({"NextToken": _page_token(page[-1].number, region, "list")} if more else {})

    def ListSecretVersionIds(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.find(region, asked["SecretId"])
        if secret is None:
            raise ServiceError("ResourceNotFoundException", NOT_FOUND)
        size, start = _size(asked, self.page), _offset(asked.get("NextToken"), region, secret.arn)
        found = [
            {"VersionId": one.id, "VersionStages": list(one.labels), "CreatedDate": one.created}
            for one in secret.versions.values()
            if one.value and (one.labels or asked.get("IncludeDeprecated", False))
        ]
        answer = {"ARN": secret.arn, "Name": secret.name, "Versions": found[start : start + size]}
        more = start + size < len(found)
        return answer | ({"NextToken": _page_token(start + size, region, secret.arn)} if more else {})


def _size(asked: dict[str, Any], page: int) -> int:
    size = asked.get("MaxResults", PAGE)
    if not 1 <= size <= PAGE:
        text = f"1 validation error detected: Value '{size}' at 'maxResults' must be between 1 and {PAGE}"
        raise ServiceError("ValidationException", text)
    return min(int(size), page)


def _page_token(offset: int, region: str, what: str) -> str:
    proof = hashlib.sha256(f"{offset} {region} {what}".encode()).hexdigest()[:16]
    return base64.b64encode(f"{offset}:{proof}".encode()).decode()


def _offset(token: str | None, region: str, what: str) -> int:
    """Return what a token of ours says, or raise if it is none for this list."""
    if token is None:
        return 0
    try:
        offset = int(base64.b64decode(token, validate=True).partition(b":")[0])
    except ValueError:
        offset = -1
    if token != _page_token(offset, region, what):
        raise ServiceError("InvalidNextTokenException", "The NextToken value is invalid.")
    return offset


def _matches(secret: Secret, filters: list[dict[str, Any]]) -> bool:
    return all(
        any(_fits(secret, one["Key"], value) for value in one["Values"] if not value.startswith("!"))
        or any(not _fits(secret, one["Key"], value[1:]) for value in one["Values"] if value.startswith("!"))
        for one in filters
    )


def _fits(secret: Secret, key: str, value: str) -> bool:
    texts = {
        "name": [secret.name],
        "tag-key": list(secret.tags),
        "tag-value": list(secret.tags.values()),
        "primary-region": [secret.primary or ""],
        "owning-service": [secret.details.get("OwningService", "")],
    }
    description = str(secret.details.get("Description", ""))
    if key in texts:
        return any(text.startswith(value) for text in texts[key])
    if key == "description":
        return description.lower().startswith(value.lower())
    if key == "all":
        everything = [description, *(text for some in texts.values() for text in some)]
        return any(value.lower() in text.lower() for text in everything)
    raise ServiceError("InvalidParameterException", "Invalid filter key")
