"""One Python API for secrets, whatever keeps them.

``open`` gives a :class:`SecretManager`, ``open_async`` the same for asyncio;
everything else is reachable from them, and what they return can be imported
from here.
Names are imported on first use, so that a command pays for what it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import importer

if TYPE_CHECKING:
    from strongroom.acting import acting_as as acting_as
    from strongroom.aio.journals import AsyncJournalDesk as AsyncJournalDesk
    from strongroom.aio.manager import AsyncSecretManager as AsyncSecretManager
    from strongroom.aio.manager import open_async as open_async
    from strongroom.aio.recorded import AsyncRecordedAction as AsyncRecordedAction
    from strongroom.aio.rotation import AsyncRotationDesk as AsyncRotationDesk
    from strongroom.anomaly.stage import Alert as Alert
    from strongroom.cache.stats import CacheStats as CacheStats
    from strongroom.contracts.anomaly import Access as Access
    from strongroom.contracts.health import Health as Health
    from strongroom.contracts.health import HealthState as HealthState
    from strongroom.contracts.service_rotation import Schedule as Schedule
    from strongroom.errors import StrongroomError as StrongroomError
    from strongroom.events.updates import Announcement as Announcement
    from strongroom.events.updates import SecretUpdated as SecretUpdated
    from strongroom.leases.held import LeaseStatus as LeaseStatus
    from strongroom.manager import SecretManager as SecretManager
    from strongroom.manager import open as open
    from strongroom.model import ABSENT as ABSENT
    from strongroom.model import Freshness as Freshness
    from strongroom.model import Principal as Principal
    from strongroom.model import Secret as Secret
    from strongroom.model import SecretName as SecretName
    from strongroom.model import SecretValue as SecretValue
    from strongroom.model import SecretVersion as SecretVersion
    from strongroom.model import ValueType as ValueType
    from strongroom.operations.batch import Batch as Batch
    from strongroom.operations.checkup import JournalHealth as JournalHealth
    from strongroom.operations.checkup import ManagerHealth as ManagerHealth
    from strongroom.operations.checkup import PartHealth as PartHealth
    from strongroom.operations.encryption import DataKey as DataKey
    from strongroom.operations.encryption import RotatedKey as RotatedKey
    from strongroom.operations.journals import JournalDesk as JournalDesk
    from strongroom.operations.journals import QueuedWrite as QueuedWrite
    from strongroom.operations.journals import Replayed as Replayed
    from strongroom.operations.maintenance import AuditedMaintenance as AuditedMaintenance
    from strongroom.operations.recorded import RecordedAction as RecordedAction
    from strongroom.operations.recovery import Description as Description
    from strongroom.operations.recovery import Destroyed as Destroyed
    from strongroom.operations.recovery import Undeleted as Undeleted
    from strongroom.outages.known import KnownOutage as KnownOutage
    from strongroom.outcomes import Deleted as Deleted
    from strongroom.outcomes import Rotated as Rotated
    from strongroom.outcomes import Written as Written
    from strongroom.resilience.conditions import ConditionChanged as ConditionChanged
    from strongroom.resilience.conditions import ConditionReport as ConditionReport
    from strongroom.resilience.conditions import ConditionState as ConditionState
    from strongroom.rotation.changes import Undone as Undone
    from strongroom.rotation.desk import RotationDesk as RotationDesk
    from strongroom.rotation.reports import DueFailure as DueFailure
    from strongroom.rotation.reports import DueRun as DueRun
    from strongroom.rotation.reports import RotationPlan as RotationPlan
    from strongroom.rotation.reports import RotationStatus as RotationStatus
    from strongroom.stages.browsing import Folder as Folder
    from strongroom.trails import OpenTrail as OpenTrail

__all__ = [
    "ABSENT",
    "Access",
    "Alert",
    "Announcement",
    "AsyncJournalDesk",
    "AsyncRecordedAction",
    "AsyncRotationDesk",
    "AsyncSecretManager",
    "AuditedMaintenance",
    "Batch",
    "CacheStats",
    "ConditionChanged",
    "ConditionReport",
    "ConditionState",
    "DataKey",
    "Deleted",
    "Description",
    "Destroyed",
    "DueFailure",
    "DueRun",
    "Folder",
    "Freshness",
    "Health",
    "HealthState",
    "JournalDesk",
    "JournalHealth",
    "KnownOutage",
    "LeaseStatus",
    "ManagerHealth",
    "OpenTrail",
    "PartHealth",
    "Principal",
    "QueuedWrite",
    "RecordedAction",
    "Replayed",
    "Rotated",
    "RotatedKey",
    "RotationDesk",
    "RotationPlan",
    "RotationStatus",
    "Schedule",
    "Secret",
    "SecretManager",
    "SecretName",
    "SecretUpdated",
    "SecretValue",
    "SecretVersion",
    "StrongroomError",
    "Undeleted",
    "Undone",
    "ValueType",
    "Written",
    "acting_as",
    "open",
    "open_async",
]

__getattr__ = importer(
    __name__,
    {
        "acting": "acting_as",
        "aio.journals": "AsyncJournalDesk",
        "aio.manager": "AsyncSecretManager open_async",
        "aio.recorded": "AsyncRecordedAction",
        "aio.rotation": "AsyncRotationDesk",
        "anomaly.stage": "Alert",
        "cache.stats": "CacheStats",
        "contracts.anomaly": "Access",
        "contracts.health": "Health HealthState",
        "contracts.service_rotation": "Schedule",
        "errors": "StrongroomError",
        "events.updates": "Announcement SecretUpdated",
        "leases.held": "LeaseStatus",
        "manager": "SecretManager open",
        "model": "ABSENT Freshness Principal Secret SecretName SecretValue SecretVersion ValueType",
        "operations.batch": "Batch",
        "operations.checkup": "JournalHealth ManagerHealth PartHealth",
        "operations.encryption": "DataKey RotatedKey",
        "operations.journals": "JournalDesk QueuedWrite Replayed",
        "operations.maintenance": "AuditedMaintenance",
        "operations.recorded": "RecordedAction",
        "operations.recovery": "Description Destroyed Undeleted",
        "outages.known": "KnownOutage",
        "outcomes": "Deleted Rotated Written",
        "resilience.conditions": "ConditionChanged ConditionReport ConditionState",
        "rotation.changes": "Undone",
        "rotation.desk": "RotationDesk",
        "rotation.reports": "DueFailure DueRun RotationPlan RotationStatus",
        "stages.browsing": "Folder",
        "trails": "OpenTrail",
    },
)
