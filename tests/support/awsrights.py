"""What a rendered policy lets the AWS backend do, by an evaluator of IAM's matching; each policy is linted, too."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import parliament

from iam import Evaluator
from strongroom.policy import Action
from strongroom.rendering.aws_target import AwsTarget

NOW: Final = 1_000.0
REGION: Final = "eu-central-1"
TARGET: Final = AwsTarget(region=REGION, account="123456789012", prefix="prod/", tags=True)
BARE: Final = TARGET.replace(prefix="")

CALLS: Final = {
    Action.READ: {"GetSecretValue", "BatchGetSecretValue", "ListSecretVersionIds", "DescribeSecret"},
    Action.LIST: {"ListSecrets"},
    Action.CREATE: {"CreateSecret", "TagResource"},
    Action.UPDATE: {
        *("PutSecretValue", "UpdateSecretVersionStage", "RestoreSecret", "TagResource", "UntagResource"),
        "DescribeSecret",
    },
    Action.ROTATE: {"RotateSecret", "PutSecretValue", "UpdateSecretVersionStage", "DescribeSecret"},
    Action.DELETE: {"DeleteSecret", "DescribeSecret"},
}
"""What the backend has to be allowed for each action."""

GIVES: Final = {
    "GetSecretValue": {Action.READ},
    "ListSecretVersionIds": {Action.READ},
    "DescribeSecret": {Action.READ, Action.UPDATE, Action.ROTATE, Action.DELETE},
    "CreateSecret": {Action.CREATE},
    "ReplicateSecretToRegions": {Action.CREATE, Action.UPDATE},
    "PutSecretValue": {Action.UPDATE},
    "UpdateSecretVersionStage": {Action.UPDATE},
    "RestoreSecret": {Action.UPDATE},
    "TagResource": {Action.UPDATE},
    "UntagResource": {Action.UPDATE},
    "RotateSecret": {Action.ROTATE},
    "DeleteSecret": {Action.DELETE},
    "RemoveRegionsFromReplication": {Action.DELETE},
}
"""Whoever may make one of these calls on a secret has what one of these actions gives."""

ELSE: Final = {
    *("CancelRotateSecret", "DeleteResourcePolicy", "GetResourcePolicy", "PutResourcePolicy", "UpdateSecret"),
    *("StopReplicationToReplica", "ValidateResourcePolicy"),
}
"""The service's other calls on a secret, which nobody needs."""

NO_RESOURCE: Final = {"ListSecrets", "BatchGetSecretValue"}


def arn_of(name: str, target: AwsTarget = BARE, *, suffix: str = "Q7xYz9", region: str = REGION) -> str:
    """Return a secret's ARN, as Secrets Manager makes it."""
    return f"arn:aws:secretsmanager:{region}:123456789012:secret:{target.prefix}{name}-{suffix}"


def calls_of(action: Action, target: AwsTarget) -> set[str]:
    """Return what the backend has to be allowed for an action, with these settings."""
    return CALLS[action] - ({"TagResource"} if action is Action.CREATE and not target.tags else set())


@lru_cache(maxsize=1024)
def findings(text: str) -> list[str]:
    """Return what a linter of IAM's policies finds in one; all that it knows, whatever the severity."""
    return [f"{one.issue}: {one.detail}" for one in parliament.analyze_policy_string(text).findings]


class Rights:
    """What one rendered policy gives at a time.

    Raises:
        AssertionError: The linter finds something.
    """

    def __init__(self, text: str, *, now: float = NOW, region: str = REGION) -> None:
        assert findings(text) == []
        self.evaluator = Evaluator(text)
        self.context = {
            "aws:CurrentTime": datetime.fromtimestamp(now, UTC).isoformat(),
            "aws:RequestedRegion": region,
            "kms:ViaService": f"secretsmanager.{region}.amazonaws.com",
        }

    def may_call(self, call: str, arn: str, *, region: str | None = None, **keys: str | list[str]) -> bool:
        """Tell whether a call of Secrets Manager is allowed; one without resources on none."""
        there = {"aws:RequestedRegion": region} if region else {}
        context = self.context | there | {f"secretsmanager:{key}": value for key, value in keys.items()}
        return self.evaluator.allows(f"secretsmanager:{call}", "*" if call in NO_RESOURCE else arn, context)

    def may(self, action: Action, name: str, target: AwsTarget = BARE, *, suffix: str = "Q7xYz9") -> bool:
        """Tell whether the backend may do all that an action takes."""
        return all(self.may_call(call, arn_of(name, target, suffix=suffix)) for call in calls_of(action, target))

    def may_use_key(self, call: str, key: str) -> bool:
        """Tell whether a call of the key service is allowed."""
        return self.evaluator.allows(f"kms:{call}", key, self.context)
