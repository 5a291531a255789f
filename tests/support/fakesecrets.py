"""What a fake of Secrets Manager keeps: secrets with their versions and labels, in regions, with replicas."""

from __future__ import annotations

import copy
import hashlib
import itertools
import re
import string
import time

from collections.abc import Callable, Iterator
from typing import Any

from fakefaults import ServiceError

NOT_FOUND = "Secrets Manager can't find the specified secret."
MARKED_DELETED = "You tried to perform the operation on a secret that's currently marked deleted."
ON_REPLICA = "Operation not permitted on a replica secret. Call must be made in primary secret's region."
LABELS = 20
DAY = 86400.0


class Version:
    """A version of a secret."""

    def __init__(self, id: str, value: dict[str, str], created: float) -> None:
        self.id = id
        self.value = value
        """``SecretString`` or ``SecretBinary`` (in base64) as it came; empty for a version without a value."""
        self.created = created
        self.labels: list[str] = []


class Secret:
    """A secret in one region."""

    def __init__(self, name: str, arn: str, number: int, created: float) -> None:
        self.name = name
        self.arn = arn
        self.number = number
        """Later ones have higher numbers."""
        self.created = self.changed = created
        self.versions: dict[str, Version] = {}
        self.details: dict[str, Any] = {}
        """``Description``, ``KmsKeyId``, ``OwningService``, and those of rotation, as ``DescribeSecret`` gives them."""
        self.tags: dict[str, str] = {}
        self.policy: str | None = None
        self.deleted: float | None = None
        """When the recovery window ends."""
        self.lingers: int | None = None
        """For how many more calls a secret that was deleted by force is still in the way."""
        self.primary: str | None = None
        """The primary's region, if it has replicas or is one."""
        self.is_replica = False
        self.replicas: dict[str, dict[str, Any]] = {}
        """The status of replication by region."""
        self.leaving: dict[str, int] = {}
        """By region, for how many more calls a replica that is being removed is still in the way."""

    def holder(self, label: str) -> Version | None:
        """Return the version that a label is attached to."""
        return next((version for version in self.versions.values() if label in version.labels), None)

    def attach(self, label: str, version: Version) -> None:
        """Attach a label here only; AWSPREVIOUS goes to the version that AWSCURRENT leaves."""
        left = self.holder(label)
        if left is version:
            return
        if left is not None:
            left.labels.remove(label)
        version.labels.append(label)
        if label == "AWSCURRENT" and left is not None:
            self.attach("AWSPREVIOUS", left)

    def touch(self, now: float) -> None:
        self.changed = now

    @property
    def stages(self) -> dict[str, list[str]]:
        """The labels by version, of versions that have any."""
        return {version.id: list(version.labels) for version in self.versions.values() if version.labels}

    def described(self) -> dict[str, Any]:
        """Return what a list and a description have in common."""
        found = {"ARN": self.arn, "Name": self.name, "CreatedDate": self.created, "LastChangedDate": self.changed}
        found |= self.details
        found |= {"Tags": [{"Key": key, "Value": value} for key, value in self.tags.items()]} if self.tags else {}
        found |= {"DeletedDate": self.deleted} if self.deleted is not None else {}
        found |= {"PrimaryRegion": self.primary} if self.primary is not None else {}
        return found


class Store:
    """All regions of an account."""

    def __init__(self, account: str) -> None:
        self.account = account
        self.clock: Callable[[], float] = time.time
        self.regions: dict[str, dict[str, Secret]] = {}
        self.replicating = True
        self.failing_replicas: dict[str, str] = {}
        """By region, why replication to it fails."""
        self.linger = 0
        self.replica_linger = 0
        self.lag = 0
        """How many changes descriptions are behind."""
        self._past: list[dict[str, dict[str, Secret]]] = []
        self._snapshot: dict[str, list[Secret]] | None = None
        self._numbers = itertools.count(1)

    def secrets(self, region: str) -> dict[str, Secret]:
        """Return the secrets of a region by name."""
        return self.regions.setdefault(region, {})

    def listed(self, region: str) -> list[Secret]:
        """Return what a list shows: a region's secrets by age, maybe as they were some time ago."""
        found = self.secrets(region).values() if self._snapshot is None else self._snapshot.get(region, [])
        return sorted(found, key=lambda secret: secret.number)

    def hold_listing(self, held: bool) -> None:
        """Let lists stay as they are, or follow again."""
        current = {region: copy.deepcopy(list(secrets.values())) for region, secrets in self.regions.items()}
        self._snapshot = current if held else None

    def new(self, region: str, name: str) -> Secret:
        """Create a secret; its ARN ends with six characters, others for each secret, the same in each run."""
        number = next(self._numbers)
        digest = hashlib.sha256(f"{name} {number}".encode()).digest()
        ending = "".join(string.ascii_letters[byte % len(string.ascii_letters)] for byte in digest[:6])
        arn = f"arn:aws:secretsmanager:{region}:{self.account}:secret:{name}-{ending}"
        secret = self.secrets(region)[name] = Secret(name, arn, number, self.clock())
        return secret

    def plain_name(self, region: str, id: str) -> str:
        """Return the name that a name, an ARN or an ARN without its ending stands for, whether it exists or not.

        An ARN that ends with a hyphen and six characters is always taken as a whole one.
        """
        prefix = f"arn:aws:secretsmanager:{region}:{self.account}:secret:"
        if not id.startswith(prefix):
            return id
        for secret in self.secrets(region).values():
            if secret.arn == id:
                return secret.name
        rest = id.removeprefix(prefix)
        return id if re.search(r"-[A-Za-z0-9]{6}$", rest) else rest

    def find(self, region: str, id: str) -> Secret | None:
        """Return a secret by name or ARN. One that was deleted by force goes away bit by bit."""
        name = self.plain_name(region, id)
        secret = self.secrets(region).get(name)
        if secret is not None and secret.lingers is not None:
            secret.lingers -= 1
            if secret.lingers < 0:
                del self.secrets(region)[name]
                return None
        return secret

    def get(self, region: str, id: str, *, deleted: bool = False, write: bool = False) -> Secret:
        """Return a secret, or raise the error for one that is missing, deleted, or a replica to be written to."""
        secret = self.find(region, id)
        if secret is None:
            raise ServiceError("ResourceNotFoundException", NOT_FOUND)
        if secret.is_replica and write:
            raise ServiceError("InvalidParameterException", ON_REPLICA)
        if secret.deleted is not None and not deleted:
            raise ServiceError("InvalidRequestException", MARKED_DELETED)
        return secret

    def add_replicas(self, region: str, secret: Secret, wanted: list[dict[str, Any]], force: bool) -> None:
        """Begin to replicate a secret to further regions."""
        if any(one["Region"] == region for one in wanted):
            raise ServiceError("InvalidParameterException", "Invalid replica region.")
        for one in wanted:
            target = one["Region"]
            status = {"Region": target, "KmsKeyId": one.get("KmsKeyId", "alias/aws/secretsmanager")}
            secret.replicas[target] = status | {"Status": "InProgress"}
            secret.primary = region
            in_the_way = self.secrets(target).get(secret.name)
            if in_the_way is not None and not force:
                text = f"Replication failed: Secret name {secret.name} already exists in region {target}."
                secret.replicas[target] = status | {"Status": "Failed", "StatusMessage": text}
        self.replicate(region, secret)

    def replicate(self, region: str, secret: Secret) -> None:
        """Bring the replicas up to date, unless replication is held."""
        for target, status in secret.replicas.items():
            if status["Status"] == "Failed":
                continue
            if target in self.failing_replicas:
                status.update(Status="Failed", StatusMessage=self.failing_replicas[target])
                continue
            status["Status"] = "InSync" if self.replicating else "InProgress"
            if self.replicating:
                self.secrets(target)[secret.name] = _replica(secret, region, target)

    def replicate_all(self) -> None:
        """Bring all replicas up to date."""
        for region, secret in self.all():
            if not secret.is_replica:
                self.replicate(region, secret)

    def remove_replicas(self, secret: Secret, regions: list[str]) -> None:
        """End replication to regions; the replicas there are gone, at once or bit by bit."""
        for target in regions:
            if target in secret.replicas:
                secret.leaving.setdefault(target, self.replica_linger)
        if not self.replica_linger:
            self.let_leave(secret)

    def let_leave(self, secret: Secret) -> None:
        """Go on with the removal of replicas."""
        for target in list(secret.leaving):
            secret.leaving[target] -= 1
            if secret.leaving[target] >= 0:
                continue
            del secret.leaving[target], secret.replicas[target]
            found = self.secrets(target).get(secret.name)
            if found is not None and found.is_replica:
                del self.secrets(target)[secret.name]

    def remember(self) -> None:
        """Keep what is there now, for descriptions that lag."""
        if self.lag:
            self._past = [*self._past, copy.deepcopy(self.regions)][-self.lag :]

    def forget(self) -> None:
        """Keep nothing of what was there."""
        self._past = []

    def described(self, region: str, id: str) -> Secret:
        """Return a secret as a description shows it, maybe as it was some changes ago."""
        now = self.regions
        try:
            self.regions = self._past[0] if self.lag and self._past else now
            return self.get(region, id, deleted=True)
        finally:
            self.regions = now

    def all(self) -> Iterator[tuple[str, Secret]]:
        """Yield all secrets with their regions."""
        for region, secrets in list(self.regions.items()):
            for secret in list(secrets.values()):
                yield region, secret

    def put(self, region: str, secret: Secret, id: str, value: dict[str, str], labels: list[str]) -> Version:
        """Add a version, or find it made already with the same value; label it."""
        version = secret.versions.get(id)
        if version is not None and version.value:
            if version.value == value:
                return version
            text = f"You can't use ClientRequestToken {id} because that value is already in use for a version of secret"
            raise ServiceError("ResourceExistsException", f"{text} {secret.arn}.")
        first = not any(one.value for one in secret.versions.values())
        labels = [*labels, "AWSCURRENT"] if first and "AWSCURRENT" not in labels else labels
        if len({label for one in secret.versions.values() for label in one.labels} | set(labels)) > LABELS:
            raise ServiceError("LimitExceededException", "You can't attach more than 20 staging labels to a secret.")
        if version is None:
            version = secret.versions[id] = Version(id, value, self.clock())
        version.value = value
        for label in labels:
            secret.attach(label, version)
        secret.touch(self.clock())
        self.replicate(region, secret)
        return version


def _replica(secret: Secret, region: str, target: str) -> Secret:
    made = copy.deepcopy(secret)
    made.arn = secret.arn.replace(f":{region}:", f":{target}:", 1)
    made.details["KmsKeyId"] = secret.replicas[target]["KmsKeyId"]
    made.is_replica = True
    made.replicas = {}
    made.policy = None
    return made
