"""The backend: an AWS Secrets Manager."""

from __future__ import annotations

from typing import Self

from strongroom.contracts import (
    AnnotateRequest,
    AnnotateResult,
    Backend,
    CurrentVersionsRequest,
    CurrentVersionsResult,
    DeleteRequest,
    DeleteResult,
    DescribeRequest,
    DescribeResult,
    Describing,
    DestroyRequest,
    DestroyResult,
    DiscardRequest,
    DiscardResult,
    Health,
    ListRequest,
    ListResult,
    PromoteRequest,
    PromoteResult,
    ReadManyRequest,
    ReadManyResult,
    ReadRequest,
    ReadResult,
    Recoverable,
    RotationStatusRequest,
    RotationStatusResult,
    SchedulesRequest,
    SchedulesResult,
    ServiceRotation,
    StageRequest,
    StageResult,
    StagesRequest,
    StagesResult,
    Staging,
    TriggerRotationRequest,
    TriggerRotationResult,
    UndeleteRequest,
    UndeleteResult,
    VersionPolling,
    VersionsRequest,
    VersionsResult,
    WriteRequest,
    WriteResult,
)
from strongroom.model import SecretName
from strongroom_aws.asking import Asker
from strongroom_aws.changes import OwnChanges
from strongroom_aws.failover import Failover
from strongroom_aws.health import Examination
from strongroom_aws.history import History
from strongroom_aws.listing import Listing
from strongroom_aws.names import Names
from strongroom_aws.notes import Notes
from strongroom_aws.place import address, owner, resolve, target
from strongroom_aws.polling import Polling
from strongroom_aws.reading import Reading
from strongroom_aws.removal import Removal
from strongroom_aws.replication import Replication
from strongroom_aws.service import ServiceRotations
from strongroom_aws.settings import BATCH_SIZE, MAX_VALUE_BYTES, AwsSettings
from strongroom_aws.stages import Stages
from strongroom_aws.writing import Writing


class AwsBackend(Backend, Recoverable, Staging, ServiceRotation, Describing, VersionPolling):
    """Keeps secrets in an AWS Secrets Manager. ``open`` is the way to get one.

    It puts parts together, each of which does one thing through the same clients.

    Args:
        settings: Its settings.
        asker: The way to the service.
    """

    max_value_bytes = MAX_VALUE_BYTES
    accepts_empty = False
    # How long an attempt takes is set in the clients, and not for each call. Besides, botocore has no limit for the
    # look-up of a host's name, nor for an answer that comes in small pieces.
    keeps_deadlines = False
    batch_size = BATCH_SIZE

    def __init__(self, settings: AwsSettings, asker: Asker) -> None:
        self.address = address(settings, asker.place)
        self._settings = settings
        self._asker = asker
        names = Names(settings.prefix, settings.arns)
        self._changes = OwnChanges()
        self._failover = Failover(asker, Reading(asker, names), self._changes)
        self._examination = Examination(asker, self._failover.outage, owner(settings))
        replication = Replication(asker, names, settings.replicate)
        self._writing = Writing(asker, names, settings, replication)
        self._removal = Removal(asker, names, replication, settings.recovery_window)
        self._listing = Listing(asker, names)
        self._polling = Polling(asker, names)
        self._history = History(asker, names)
        self._notes = Notes(asker, names)
        self._stages = Stages(asker, names)
        self._rotations = ServiceRotations(asker, names, settings.rotation_enabled, settings.rotation)

    @classmethod
    def open(cls, settings: AwsSettings) -> Self:
        """Make one; nothing is sent before it is needed.

        Raises:
            ConfigurationError: Nothing says which region.
        """
        return cls(settings, Asker(settings, resolve(settings)))

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret's current value, or that of a version; see ``Backend.read``."""
        return self._failover.read(request)

    def read_many(self, request: ReadManyRequest) -> ReadManyResult:
        """Return several secrets in one request; see ``Backend.read_many``."""
        return self._failover.read_many(request)

    def write(self, request: WriteRequest) -> WriteResult:
        """Create or update a secret; see ``Backend.write``."""
        began, result = self._changes.begin(), self._writing.write(request)
        self._changes.wrote(request.name, result.version, began)
        return result

    def delete(self, request: DeleteRequest) -> DeleteResult:
        """Schedule a secret for deletion, or delete it at once; see ``Backend.delete``."""
        result = self._removal.delete(request)
        self._changes.deleted(request.name)
        return result

    def undelete(self, request: UndeleteRequest) -> UndeleteResult:
        """Bring a secret back; see ``Recoverable.undelete``."""
        began, result = self._changes.begin(), self._removal.undelete(request)
        self._changes.wrote(request.name, result.version, began)
        return result

    def destroy(self, request: DestroyRequest) -> DestroyResult:
        """Remove a secret for good; see ``Recoverable.destroy``."""
        result = self._removal.destroy(request)
        self._changes.deleted(request.name)
        return result

    def list(self, request: ListRequest) -> ListResult:
        """Return names; see ``Backend.list``."""
        return self._listing.list(request)

    def versions(self, request: VersionsRequest) -> VersionsResult:
        """Return the versions of a secret; see ``Backend.versions``."""
        return self._history.versions(request)

    def current_versions(self, request: CurrentVersionsRequest) -> CurrentVersionsResult:
        """Return current versions; see ``VersionPolling.current_versions``."""
        return self._polling.current_versions(request)

    def describe(self, request: DescribeRequest) -> DescribeResult:
        """Return the tags of a secret and what else is known of it; see ``Describing.describe``."""
        return self._notes.describe(request)

    def annotate(self, request: AnnotateRequest) -> AnnotateResult:
        """Replace the tags of a secret; see ``Describing.annotate``."""
        return self._notes.annotate(request)

    def stage(self, request: StageRequest) -> StageResult:
        """Keep a value as the pending one; see ``Staging.stage``."""
        return self._stages.stage(request)

    def stages(self, request: StagesRequest) -> StagesResult:
        """Say which versions are current, pending and previous; see ``Staging.stages``."""
        return self._stages.stages(request)

    def promote(self, request: PromoteRequest) -> PromoteResult:
        """Make a version the current one; see ``Staging.promote``."""
        began, result = self._changes.begin(), self._stages.promote(request)
        self._changes.wrote(request.name, request.version, began)
        return result

    def discard(self, request: DiscardRequest) -> DiscardResult:
        """Give a pending version up; see ``Staging.discard``."""
        return self._stages.discard(request)

    def rotates(self, name: SecretName) -> bool:
        """Tell whether the service rotates a secret; see ``ServiceRotation.rotates``."""
        return self._rotations.rotates(name)

    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        """Have the service rotate a secret now; see ``ServiceRotation.trigger_rotation``."""
        return self._rotations.trigger_rotation(request)

    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        """Say how far a rotation has come; see ``ServiceRotation.rotation_status``."""
        began, result = self._changes.begin(), self._rotations.rotation_status(request)
        if result.done and result.current is not None:
            self._changes.wrote(request.name, result.current, began)
        return result

    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        """List what the service rotates, and when; see ``ServiceRotation.schedules``."""
        return self._rotations.schedules(request)

    def target(self) -> str | None:
        """Return where the secrets are, account included; ``None`` until an answer tells it, if no setting does.

        See ``Backend.target``. The settings ``account`` and ``role_arn`` tell it; else any answer about a secret of
        ours.
        """
        account = self._asker.whose.account
        return None if account is None else target(self._settings, self._asker.place, account)

    def health(self) -> Health:
        """Say whether the service can be asked; see ``Backend.health``."""
        return self._examination.health()

    def after_fork(self) -> None:
        """Use clients of its own in a forked child."""
        self._asker.after_fork()
        self._failover.after_fork()

    def close(self) -> None:
        """Close the connections."""
        self._asker.close()
