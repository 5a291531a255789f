"""What a plugin implements, and the requests and results that pass between it and the core.

Every method takes one frozen request and returns one frozen result, so that
fields can be added without breaking a plugin. Abstract methods are the least
that a plugin must have; everything else comes with a working default.

A name is imported from its module when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom._lazy import importer
from strongroom._record import Record as Record

if TYPE_CHECKING:
    from strongroom.contracts.anomaly import Access as Access
    from strongroom.contracts.anomaly import AnomalyDetector as AnomalyDetector
    from strongroom.contracts.anomaly import Decision as Decision
    from strongroom.contracts.anomaly import DetectorSpec as DetectorSpec
    from strongroom.contracts.anomaly import Outcome as Outcome
    from strongroom.contracts.anomaly import Repeats as Repeats
    from strongroom.contracts.anomaly import Verdict as Verdict
    from strongroom.contracts.audit import AuditSink as AuditSink
    from strongroom.contracts.audit import AuditWrite as AuditWrite
    from strongroom.contracts.audit import Block as Block
    from strongroom.contracts.audit import Hits as Hits
    from strongroom.contracts.audit import Reading as Reading
    from strongroom.contracts.audit import SinkSpec as SinkSpec
    from strongroom.contracts.audit import Trail as Trail
    from strongroom.contracts.audit import TrailFinding as TrailFinding
    from strongroom.contracts.audit import TrailHead as TrailHead
    from strongroom.contracts.audit import TrailQuery as TrailQuery
    from strongroom.contracts.audit import TrailReport as TrailReport
    from strongroom.contracts.backend import Backend as Backend
    from strongroom.contracts.backend import BackendSpec as BackendSpec
    from strongroom.contracts.backend import Capability as Capability
    from strongroom.contracts.backend import DeleteRequest as DeleteRequest
    from strongroom.contracts.backend import DeleteResult as DeleteResult
    from strongroom.contracts.backend import ListRequest as ListRequest
    from strongroom.contracts.backend import ListResult as ListResult
    from strongroom.contracts.backend import ReadManyRequest as ReadManyRequest
    from strongroom.contracts.backend import ReadManyResult as ReadManyResult
    from strongroom.contracts.backend import ReadRequest as ReadRequest
    from strongroom.contracts.backend import ReadResult as ReadResult
    from strongroom.contracts.backend import VersionsRequest as VersionsRequest
    from strongroom.contracts.backend import VersionsResult as VersionsResult
    from strongroom.contracts.backend import WriteRequest as WriteRequest
    from strongroom.contracts.backend import WriteResult as WriteResult
    from strongroom.contracts.cache import CachePolicy as CachePolicy
    from strongroom.contracts.cache import CachePolicySpec as CachePolicySpec
    from strongroom.contracts.cache import Lifetime as Lifetime
    from strongroom.contracts.cache import Previous as Previous
    from strongroom.contracts.cache import StoreRequest as StoreRequest
    from strongroom.contracts.commands import CommandCall as CommandCall
    from strongroom.contracts.commands import CommandSpec as CommandSpec
    from strongroom.contracts.encrypting import DataKeyRequest as DataKeyRequest
    from strongroom.contracts.encrypting import DataKeyResult as DataKeyResult
    from strongroom.contracts.encrypting import DecryptRequest as DecryptRequest
    from strongroom.contracts.encrypting import DecryptResult as DecryptResult
    from strongroom.contracts.encrypting import Encrypting as Encrypting
    from strongroom.contracts.encrypting import EncryptRequest as EncryptRequest
    from strongroom.contracts.encrypting import EncryptResult as EncryptResult
    from strongroom.contracts.encrypting import RewrapRequest as RewrapRequest
    from strongroom.contracts.encrypting import RotateKeyRequest as RotateKeyRequest
    from strongroom.contracts.encrypting import RotateKeyResult as RotateKeyResult
    from strongroom.contracts.encrypting import SignRequest as SignRequest
    from strongroom.contracts.encrypting import SignResult as SignResult
    from strongroom.contracts.encrypting import VerifySignatureRequest as VerifySignatureRequest
    from strongroom.contracts.encrypting import VerifySignatureResult as VerifySignatureResult
    from strongroom.contracts.health import Health as Health
    from strongroom.contracts.health import HealthState as HealthState
    from strongroom.contracts.journal import Appended as Appended
    from strongroom.contracts.journal import AppendRequest as AppendRequest
    from strongroom.contracts.journal import AppendResult as AppendResult
    from strongroom.contracts.journal import ClaimRequest as ClaimRequest
    from strongroom.contracts.journal import ClaimResult as ClaimResult
    from strongroom.contracts.journal import Copy as Copy
    from strongroom.contracts.journal import DropCopiesRequest as DropCopiesRequest
    from strongroom.contracts.journal import EntriesRequest as EntriesRequest
    from strongroom.contracts.journal import EntriesResult as EntriesResult
    from strongroom.contracts.journal import Entry as Entry
    from strongroom.contracts.journal import EntryState as EntryState
    from strongroom.contracts.journal import Journal as Journal
    from strongroom.contracts.journal import JournalStatus as JournalStatus
    from strongroom.contracts.journal import JournalStatusRequest as JournalStatusRequest
    from strongroom.contracts.journal import KeepCopiesRequest as KeepCopiesRequest
    from strongroom.contracts.journal import Place as Place
    from strongroom.contracts.journal import RecallRequest as RecallRequest
    from strongroom.contracts.journal import RecallResult as RecallResult
    from strongroom.contracts.journal import Settlement as Settlement
    from strongroom.contracts.journal import SettleRequest as SettleRequest
    from strongroom.contracts.keys import KeySource as KeySource
    from strongroom.contracts.leasing import Lease as Lease
    from strongroom.contracts.leasing import Leasing as Leasing
    from strongroom.contracts.leasing import ReleaseLeaseRequest as ReleaseLeaseRequest
    from strongroom.contracts.leasing import RenewLeaseRequest as RenewLeaseRequest
    from strongroom.contracts.leasing import RenewLeaseResult as RenewLeaseResult
    from strongroom.contracts.leasing import RevokeLeaseRequest as RevokeLeaseRequest
    from strongroom.contracts.leasing import RevokeLeaseResult as RevokeLeaseResult
    from strongroom.contracts.maintenance import BackupRequest as BackupRequest
    from strongroom.contracts.maintenance import BackupResult as BackupResult
    from strongroom.contracts.maintenance import Maintenance as Maintenance
    from strongroom.contracts.maintenance import RekeyRequest as RekeyRequest
    from strongroom.contracts.maintenance import RekeyResult as RekeyResult
    from strongroom.contracts.maintenance import VerifyRequest as VerifyRequest
    from strongroom.contracts.maintenance import VerifyResult as VerifyResult
    from strongroom.contracts.patterns import first_match as first_match
    from strongroom.contracts.patterns import malformed as malformed
    from strongroom.contracts.patterns import matches as matches
    from strongroom.contracts.patterns import most_specific_first as most_specific_first
    from strongroom.contracts.patterns import name_pattern as name_pattern
    from strongroom.contracts.polling import CurrentVersionsRequest as CurrentVersionsRequest
    from strongroom.contracts.polling import CurrentVersionsResult as CurrentVersionsResult
    from strongroom.contracts.polling import VersionPolling as VersionPolling
    from strongroom.contracts.recovery import AnnotateRequest as AnnotateRequest
    from strongroom.contracts.recovery import AnnotateResult as AnnotateResult
    from strongroom.contracts.recovery import DescribeRequest as DescribeRequest
    from strongroom.contracts.recovery import DescribeResult as DescribeResult
    from strongroom.contracts.recovery import Describing as Describing
    from strongroom.contracts.recovery import DestroyRequest as DestroyRequest
    from strongroom.contracts.recovery import DestroyResult as DestroyResult
    from strongroom.contracts.recovery import Recoverable as Recoverable
    from strongroom.contracts.recovery import UndeleteRequest as UndeleteRequest
    from strongroom.contracts.recovery import UndeleteResult as UndeleteResult
    from strongroom.contracts.rotation import ApplyRequest as ApplyRequest
    from strongroom.contracts.rotation import ApplyResult as ApplyResult
    from strongroom.contracts.rotation import FinishRequest as FinishRequest
    from strongroom.contracts.rotation import FinishResult as FinishResult
    from strongroom.contracts.rotation import GenerateRequest as GenerateRequest
    from strongroom.contracts.rotation import GenerateResult as GenerateResult
    from strongroom.contracts.rotation import Life as Life
    from strongroom.contracts.rotation import Rotator as Rotator
    from strongroom.contracts.rotation import RotatorSpec as RotatorSpec
    from strongroom.contracts.rotation import UndoRequest as UndoRequest
    from strongroom.contracts.rotation import UndoResult as UndoResult
    from strongroom.contracts.rotation import VerifyCandidateRequest as VerifyCandidateRequest
    from strongroom.contracts.rotation import VerifyCandidateResult as VerifyCandidateResult
    from strongroom.contracts.service_rotation import RotationStatusRequest as RotationStatusRequest
    from strongroom.contracts.service_rotation import RotationStatusResult as RotationStatusResult
    from strongroom.contracts.service_rotation import Schedule as Schedule
    from strongroom.contracts.service_rotation import SchedulesRequest as SchedulesRequest
    from strongroom.contracts.service_rotation import SchedulesResult as SchedulesResult
    from strongroom.contracts.service_rotation import ServiceRotation as ServiceRotation
    from strongroom.contracts.service_rotation import TriggerRotationRequest as TriggerRotationRequest
    from strongroom.contracts.service_rotation import TriggerRotationResult as TriggerRotationResult
    from strongroom.contracts.settings import FilePath as FilePath
    from strongroom.contracts.settings import Seconds as Seconds
    from strongroom.contracts.settings import SettingsCheck as SettingsCheck
    from strongroom.contracts.settings import Size as Size
    from strongroom.contracts.staging import DiscardRequest as DiscardRequest
    from strongroom.contracts.staging import DiscardResult as DiscardResult
    from strongroom.contracts.staging import PromoteRequest as PromoteRequest
    from strongroom.contracts.staging import PromoteResult as PromoteResult
    from strongroom.contracts.staging import StageRequest as StageRequest
    from strongroom.contracts.staging import StageResult as StageResult
    from strongroom.contracts.staging import StagesRequest as StagesRequest
    from strongroom.contracts.staging import StagesResult as StagesResult
    from strongroom.contracts.staging import Staging as Staging
    from strongroom.contracts.state import MAX_STATE_BYTES as MAX_STATE_BYTES
    from strongroom.contracts.state import LoadStateRequest as LoadStateRequest
    from strongroom.contracts.state import LoadStateResult as LoadStateResult
    from strongroom.contracts.state import SaveStateRequest as SaveStateRequest
    from strongroom.contracts.state import StateStore as StateStore
    from strongroom.contracts.telemetry import ExporterSpec as ExporterSpec
    from strongroom.contracts.telemetry import TelemetryExporter as TelemetryExporter

__getattr__ = importer(
    __name__,
    {
        "anomaly": "Access AnomalyDetector Decision DetectorSpec Outcome Repeats Verdict",
        "audit": "AuditSink AuditWrite Block Hits Reading SinkSpec Trail TrailFinding TrailHead TrailQuery TrailReport",
        "backend": (
            "Backend BackendSpec Capability DeleteRequest DeleteResult ListRequest ListResult ReadManyRequest "
            "ReadManyResult ReadRequest ReadResult VersionsRequest VersionsResult WriteRequest WriteResult"
        ),
        "cache": "CachePolicy CachePolicySpec Lifetime Previous StoreRequest",
        "commands": "CommandCall CommandSpec",
        "encrypting": (
            "DataKeyRequest DataKeyResult DecryptRequest DecryptResult EncryptRequest Encrypting "
            "EncryptResult RewrapRequest RotateKeyRequest RotateKeyResult SignRequest SignResult "
            "VerifySignatureRequest VerifySignatureResult"
        ),
        "health": "Health HealthState",
        "journal": (
            "AppendRequest AppendResult Appended ClaimRequest ClaimResult Copy DropCopiesRequest EntriesRequest "
            "EntriesResult Entry EntryState Journal JournalStatus JournalStatusRequest KeepCopiesRequest Place "
            "RecallRequest RecallResult SettleRequest Settlement"
        ),
        "keys": "KeySource",
        "leasing": (
            "Lease Leasing ReleaseLeaseRequest RenewLeaseRequest RenewLeaseResult RevokeLeaseRequest RevokeLeaseResult"
        ),
        "maintenance": "BackupRequest BackupResult Maintenance RekeyRequest RekeyResult VerifyRequest VerifyResult",
        "patterns": "first_match malformed matches most_specific_first name_pattern",
        "polling": "CurrentVersionsRequest CurrentVersionsResult VersionPolling",
        "recovery": (
            "AnnotateRequest AnnotateResult DescribeRequest DescribeResult Describing DestroyRequest "
            "DestroyResult Recoverable UndeleteRequest UndeleteResult"
        ),
        "rotation": (
            "ApplyRequest ApplyResult FinishRequest FinishResult GenerateRequest GenerateResult Life Rotator "
            "RotatorSpec UndoRequest UndoResult VerifyCandidateRequest VerifyCandidateResult"
        ),
        "service_rotation": (
            "RotationStatusRequest RotationStatusResult Schedule SchedulesRequest SchedulesResult ServiceRotation "
            "TriggerRotationRequest TriggerRotationResult"
        ),
        "settings": "FilePath Seconds SettingsCheck Size",
        "staging": (
            "DiscardRequest DiscardResult PromoteRequest PromoteResult StageRequest StageResult StagesRequest "
            "StagesResult Staging"
        ),
        "state": "MAX_STATE_BYTES LoadStateRequest LoadStateResult SaveStateRequest StateStore",
        "telemetry": "ExporterSpec TelemetryExporter",
    },
)
