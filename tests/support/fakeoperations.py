"""The operations of a fake of Secrets Manager, as AWS documents them."""

from __future__ import annotations

import base64
import re

from collections.abc import Callable
from typing import Any

from fakefaults import ServiceError
from fakelists import Lists
from fakesecrets import DAY, MARKED_DELETED, Secret, Store, Version

SCHEDULED = "You can't create this secret because a secret with this name is already scheduled for deletion."
WITHOUT_LAMBDA = (
    "You tried to enable rotation on a secret that doesn't already have a Lambda function ARN configured and you "
    "didn't include such an ARN as a parameter in this call."
)
NAME = re.compile(r"[A-Za-z0-9/_+=.@-]{1,512}")
VALUE_LIMIT = 65536


def invalid(message: str) -> ServiceError:
    """Return the error for a parameter that is wrong."""
    return ServiceError("InvalidParameterException", message)


class Operations(Lists):
    """Each method of the name of an operation takes a region and the parameters, and returns the answer."""

    def __init__(self, store: Store, check: Callable[[str, str], None]) -> None:
        super().__init__(store, check)
        self.version_limit = 100

    def CreateSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        name, value, token = asked["Name"], _value(asked), _token(asked)
        if NAME.fullmatch(name) is None:
            text = "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: "
            raise ServiceError("ValidationException", text + "-/_+=.@!")
        found = self.store.find(region, name)
        if found is not None:
            return self._created_before(found, token, value)
        secret = self.store.new(region, name)
        secret.details = {key: asked[key] for key in ("Description", "KmsKeyId") if key in asked}
        secret.tags = {tag["Key"]: tag["Value"] for tag in asked.get("Tags", [])}
        if value:
            self.store.put(region, secret, token, value, ["AWSCURRENT"])
        answer = _short(secret) | ({"VersionId": token} if value else {})
        if "AddReplicaRegions" in asked:
            force = asked.get("ForceOverwriteReplicaSecret", False)
            self.store.add_replicas(region, secret, asked["AddReplicaRegions"], force)
            answer["ReplicationStatus"] = list(secret.replicas.values())
        return answer

    def _created_before(self, secret: Secret, token: str, value: dict[str, str]) -> dict[str, Any]:
        if secret.deleted is not None:
            raise ServiceError("InvalidRequestException", SCHEDULED)
        version = secret.versions.get(token)
        if version is None or version.value != value:
            text = f"The operation failed because the secret {secret.name} already exists."
            raise ServiceError("ResourceExistsException", text)
        return _short(secret) | {"VersionId": token}

    def PutSecretValue(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self._writable(region, asked)
        value, token = _value(asked), _token(asked)
        if not value:
            raise ServiceError("InvalidRequestException", "You must provide either SecretString or SecretBinary.")
        version = self._add(region, secret, token, value, asked.get("VersionStages", ["AWSCURRENT"]))
        return _short(secret) | {"VersionId": version.id, "VersionStages": version.labels}

    def UpdateSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self._writable(region, asked)
        value, token = _value(asked), _token(asked)
        answer = _short(secret)
        if value:
            answer["VersionId"] = self._add(region, secret, token, value, ["AWSCURRENT"]).id
        secret.details |= {key: asked[key] for key in ("Description", "KmsKeyId") if key in asked}
        return self._changed(region, secret) | answer

    def _writable(self, region: str, asked: dict[str, Any]) -> Secret:
        secret = self.store.get(region, asked["SecretId"], write=True)
        if "OwningService" in secret.details:
            text = f"The secret is managed by {secret.details['OwningService']}: use that service to update it."
            raise ServiceError("InvalidRequestException", text)
        return secret

    def _add(self, region: str, secret: Secret, token: str, value: dict[str, str], labels: list[str]) -> Version:
        if not 1 <= len(labels) <= 20:
            raise ServiceError(
                "ValidationException", "1 validation error detected: 'versionStages' holds 1 to 20 labels"
            )
        if token not in secret.versions and len(secret.versions) >= self.version_limit:
            raise ServiceError("LimitExceededException", "You have exceeded the quota for versions of a secret.")
        return self.store.put(region, secret, token, value, labels)

    def _changed(self, region: str, secret: Secret) -> dict[str, Any]:
        secret.touch(self.store.clock())
        self.store.replicate(region, secret)
        return _short(secret)

    def UpdateSecretVersionStage(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], write=True)
        label, left, target = asked["VersionStage"], asked.get("RemoveFromVersionId"), asked.get("MoveToVersionId")
        for one in (left, target):
            if one is not None and one not in secret.versions:
                raise invalid(f"Not a valid version: {one}")
        holder = secret.holder(label)
        if target is None:
            self._detach(label, left, holder)
        else:
            _check_source(label, left, target, holder)
            secret.attach(label, secret.versions[target])
        return self._changed(region, secret)

    def _detach(self, label: str, left: str | None, holder: Version | None) -> None:
        if left is None:
            raise invalid("You must specify RemoveFromVersionId or MoveToVersionId.")
        if holder is None or holder.id != left:
            raise invalid(f"Version stage {label} not found in version {left}")
        if label == "AWSCURRENT":
            raise invalid("You can't remove the staging label AWSCURRENT: a secret always has a version with it.")
        holder.labels.remove(label)

    def DescribeSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.described(region, asked["SecretId"])
        if not self.store.lag:
            self.store.let_leave(secret)
        answer = secret.described() | {"VersionIdsToStages": secret.stages}
        return answer | ({"ReplicationStatus": list(secret.replicas.values())} if secret.replicas else {})

    def DeleteSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        days, force = asked.get("RecoveryWindowInDays"), asked.get("ForceDeleteWithoutRecovery", False)
        if days is not None and force:
            raise invalid("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
        if days is not None and not 7 <= days <= 30:
            raise invalid("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
        if force and self.store.find(region, asked["SecretId"]) is None:
            name = self.store.plain_name(region, asked["SecretId"])
            arn = f"arn:aws:secretsmanager:{region}:{self.store.account}:secret:{name}-AbCdEf"
            return {"ARN": arn, "Name": name, "DeletionDate": self.store.clock()}
        secret = self.store.get(region, asked["SecretId"], deleted=True, write=True)
        self.store.let_leave(secret)
        if secret.replicas:
            where = ",".join(secret.replicas)
            raise invalid(f"You can't delete secret {secret.name} that still has replica regions [{where}]")
        if secret.deleted is not None and not force:
            raise ServiceError("InvalidRequestException", MARKED_DELETED)
        secret.deleted = self.store.clock() + (0 if force else (days or 30) * DAY)
        if force and self.store.linger:
            secret.lingers = self.store.linger
        elif force:
            del self.store.secrets(region)[secret.name]
        return _short(secret) | {"DeletionDate": secret.deleted}

    def RestoreSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], deleted=True, write=True)
        if secret.lingers is not None:
            raise ServiceError("InvalidRequestException", MARKED_DELETED)
        secret.deleted = None
        return _short(secret)

    def TagResource(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], write=True)
        tags = secret.tags | {tag["Key"]: tag["Value"] for tag in asked["Tags"]}
        if len(tags) > 50:
            raise ServiceError("LimitExceededException", "You can't attach more than 50 tags to a secret.")
        secret.tags = tags
        self._changed(region, secret)
        return {}

    def UntagResource(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], write=True)
        secret.tags = {key: value for key, value in secret.tags.items() if key not in asked["TagKeys"]}
        self._changed(region, secret)
        return {}

    def GetResourcePolicy(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"])
        return _short(secret) | ({"ResourcePolicy": secret.policy} if secret.policy is not None else {})

    def ReplicateSecretToRegions(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], write=True)
        force = asked.get("ForceOverwriteReplicaSecret", False)
        self.store.add_replicas(region, secret, asked["AddReplicaRegions"], force)
        return {"ARN": secret.arn, "ReplicationStatus": list(secret.replicas.values())}

    def RemoveRegionsFromReplication(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], write=True)
        self.store.remove_replicas(secret, asked["RemoveReplicaRegions"])
        return {"ARN": secret.arn, "ReplicationStatus": list(secret.replicas.values())}

    def StopReplicationToReplica(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"])
        if not secret.is_replica:
            raise ServiceError("InvalidRequestException", "The secret is not a replica.")
        primary = self.store.find(str(secret.primary), secret.name)
        if primary is not None:
            primary.replicas.pop(region, None)
        secret.is_replica, secret.primary = False, None
        return {"ARN": secret.arn}

    def RotateSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret, token = self.store.get(region, asked["SecretId"], write=True), _token(asked)
        if "RotationLambdaARN" not in asked and "RotationLambdaARN" not in secret.details:
            raise ServiceError("InvalidRequestException", WITHOUT_LAMBDA)
        if token in secret.versions:
            return _short(secret) | {"VersionId": token}
        pending, current = secret.holder("AWSPENDING"), secret.holder("AWSCURRENT")
        if pending is not None and pending is not current:
            text = "A previous rotation isn't complete. That rotation will be reattempted."
            raise ServiceError("InvalidRequestException", text)
        secret.details |= {key: asked[key] for key in ("RotationLambdaARN", "RotationRules") if key in asked}
        secret.details["RotationEnabled"] = True
        days = secret.details.get("RotationRules", {}).get("AutomaticallyAfterDays")
        if days is not None:
            secret.details["NextRotationDate"] = self.store.clock() + days * DAY
        if not asked.get("RotateImmediately", True):
            return self._changed(region, secret)
        version = secret.versions[token] = Version(token, {}, self.store.clock())
        secret.attach("AWSPENDING", version)
        return self._changed(region, secret) | {"VersionId": token}

    def CancelRotateSecret(self, region: str, asked: dict[str, Any]) -> dict[str, Any]:
        secret = self.store.get(region, asked["SecretId"], write=True)
        if "RotationLambdaARN" not in secret.details:
            raise ServiceError("InvalidRequestException", WITHOUT_LAMBDA)
        secret.details["RotationEnabled"] = False
        secret.details.pop("NextRotationDate", None)
        pending = secret.holder("AWSPENDING")
        return self._changed(region, secret) | ({"VersionId": pending.id} if pending is not None else {})

    def played_lambda(self, region: str, id: str, value: str | None, *, done: bool, keep_pending: bool) -> None:
        """Do what the function of a rotation does, or fail as it does after it maybe stored a value."""
        secret = self.store.get(region, id)
        pending = secret.holder("AWSPENDING")
        assert pending is not None, f"no rotation of {id} is under way"
        if value is not None:
            pending.value = {"SecretString": value}
        if done:
            secret.attach("AWSCURRENT", pending)
            secret.details["LastRotatedDate"] = self.store.clock()
            if not keep_pending:
                pending.labels.remove("AWSPENDING")
        self._changed(region, secret)


def _short(secret: Secret) -> dict[str, Any]:
    return {"ARN": secret.arn, "Name": secret.name}


def _value(asked: dict[str, Any]) -> dict[str, str]:
    """Return the value that was sent, or nothing; raise if there are two, or if it is too large."""
    found: dict[str, str] = {key: asked[key] for key in ("SecretString", "SecretBinary") if key in asked}
    if len(found) > 1:
        raise invalid("You can't specify both a binary secret value and a string secret value in the same secret.")
    for key, value in found.items():
        size = len(base64.b64decode(value)) if key == "SecretBinary" else len(value.encode())
        if not 1 <= size <= VALUE_LIMIT:
            text = f"1 validation error detected: Value at '{key}' must have length less than or equal to {VALUE_LIMIT}"
            raise ServiceError("ValidationException", text)
    return found


def _token(asked: dict[str, Any]) -> str:
    token = asked.get("ClientRequestToken", "")
    if not 32 <= len(token) <= 64:
        raise invalid("ClientRequestToken must be 32-64 characters long.")
    return str(token)


def _check_source(label: str, left: str | None, target: str, holder: Version | None) -> None:
    """Raise unless a label is taken from where it is."""
    if left is None and holder is not None and holder.id != target:
        raise invalid(
            f"The parameter RemoveFromVersionId can't be empty. Staging label {label} is currently attached to "
            f"version {holder.id}, so you must explicitly reference that version in RemoveFromVersionId."
        )
    if left is not None and (holder is None or holder.id != left):
        where = "no version" if holder is None else f"version {holder.id}"
        raise invalid(f"Staging label {label} is currently attached to {where}, not to version {left}.")
