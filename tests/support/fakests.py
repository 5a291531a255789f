"""The part of a fake of AWS that gives temporary credentials: STS, with its query protocol and XML."""

from __future__ import annotations

import itertools
import time

from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from fakefaults import Request, ServiceError

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


class Issued:
    """Credentials that were given."""

    def __init__(self, number: int, role: str, session: str, expires: float) -> None:
        self.access_key = f"ASIAFAKE{number:012d}"
        self.secret_key = f"secret-of-{self.access_key}"
        self.token = f"token-of-{self.access_key}"
        self.role = role
        self.session = session
        self.expires = expires
        """Seconds since 1970."""

    @property
    def arn(self) -> str:
        """Who uses them, as ``GetCallerIdentity`` says it."""
        account, _, role = self.role.removeprefix("arn:aws:iam::").partition(":role/")
        return f"arn:aws:sts::{account}:assumed-role/{role}/{self.session}"


class FakeSts:
    """Gives numbered keys: the first pair is ``ASIAFAKE000000000001``, and so on.

    Its requests are in the server's ``requests``, with the operations ``AssumeRole``, ``AssumeRoleWithWebIdentity``
    and ``GetCallerIdentity`` and the form's fields as parameters, and the server's faults are for them too.
    """

    def __init__(self, account: str) -> None:
        self.account = account
        self.lifetime: float | None = None
        """For how many seconds keys live; as long as was asked for if it is ``None``."""
        self.external_ids: dict[str, str] = {}
        """For which role which ``ExternalId`` is demanded; no other may be given then."""
        self.refused_roles: set[str] = set()
        """Roles that nobody may assume."""
        self.identity_tokens: set[str] | None = None
        """The web identity tokens that are good; ``None`` for all."""
        self.issued: dict[str, Issued] = {}
        """All credentials that were given, by access key."""
        self._numbers = itertools.count(1)

    def apply(self, request: Request) -> bytes:
        """Do what was asked for; return the answer."""
        known = {
            "AssumeRole": self._assume,
            "AssumeRoleWithWebIdentity": self._assume_with_identity,
            "GetCallerIdentity": self._identity,
        }
        if request.operation not in known:
            raise ServiceError("InvalidAction", f"Could not find operation {request.operation}")
        return _document(request.operation, known[request.operation](request))

    def _assume(self, request: Request) -> dict[str, Any]:
        asked = request.parameters
        role = asked["RoleArn"]
        given = asked.get("ExternalId")
        if role in self.refused_roles or self.external_ids.get(role, given) != given:
            who = self.caller(request.access_key)
            text = f"User: {who} is not authorized to perform: sts:AssumeRole on resource: {role}"
            raise ServiceError("AccessDenied", text, 403)
        return self._give(asked)

    def _assume_with_identity(self, request: Request) -> dict[str, Any]:
        asked = request.parameters
        if self.identity_tokens is not None and asked["WebIdentityToken"] not in self.identity_tokens:
            raise ServiceError("InvalidIdentityToken", "The token that was given is not valid", 400)
        if asked["RoleArn"] in self.refused_roles:
            text = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
            raise ServiceError("AccessDenied", text, 403)
        return self._give(asked) | {"Provider": "https://issuer.example", "Audience": "sts.amazonaws.com"}

    def _give(self, asked: dict[str, Any]) -> dict[str, Any]:
        lives = float(asked.get("DurationSeconds", 3600)) if self.lifetime is None else self.lifetime
        one = Issued(next(self._numbers), asked["RoleArn"], asked["RoleSessionName"], time.time() + lives)
        self.issued[one.access_key] = one
        return {
            "Credentials": {
                "AccessKeyId": one.access_key,
                "SecretAccessKey": one.secret_key,
                "SessionToken": one.token,
                "Expiration": datetime.fromtimestamp(one.expires, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            },
            "AssumedRoleUser": {"Arn": one.arn, "AssumedRoleId": f"AROAFAKE:{one.session}"},
        }

    def _identity(self, request: Request) -> dict[str, Any]:
        arn = self.caller(request.access_key)
        return {"Arn": arn, "UserId": f"AIDAFAKE:{request.access_key}", "Account": arn.split(":")[4]}

    def caller(self, access_key: str) -> str:
        """Return the ARN of who uses an access key."""
        one = self.issued.get(access_key)
        return one.arn if one is not None else f"arn:aws:iam::{self.account}:user/test"


def _document(operation: str, result: dict[str, Any]) -> bytes:
    name = f"{operation}Response"
    inner = f"<{operation}Result>{_xml(result)}</{operation}Result>"
    tail = "<ResponseMetadata><RequestId>00000000-0000-4000-8000-000000000000</RequestId></ResponseMetadata>"
    return f'<{name} xmlns="{NAMESPACE}">{inner}{tail}</{name}>'.encode()


def error_document(problem: ServiceError, request_id: str) -> bytes:
    """Return an error as STS writes it."""
    side = "Sender" if problem.status < 500 else "Receiver"
    inner = _xml({"Type": side, "Code": problem.code, "Message": problem.message})
    error = f"<Error>{inner}</Error><RequestId>{request_id}</RequestId>"
    return f'<ErrorResponse xmlns="{NAMESPACE}">{error}</ErrorResponse>'.encode()


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{key}>{_xml(inner)}</{key}>" for key, inner in value.items())
    return escape(str(value))
