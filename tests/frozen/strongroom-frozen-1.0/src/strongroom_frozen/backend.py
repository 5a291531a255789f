"""The backend: all of its parts, and what each needs but once."""

from __future__ import annotations

import os
import shutil
import time

from datetime import UTC, datetime, timedelta

from strongroom.contracts import (
    MAX_STATE_BYTES,
    BackupRequest,
    BackupResult,
    Health,
    HealthState,
    Lease,
    Leasing,
    LoadStateRequest,
    LoadStateResult,
    Maintenance,
    ReadRequest,
    ReadResult,
    RekeyRequest,
    RekeyResult,
    ReleaseLeaseRequest,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
    RotationStatusRequest,
    RotationStatusResult,
    SaveStateRequest,
    Schedule,
    SchedulesRequest,
    SchedulesResult,
    ServiceRotation,
    StateStore,
    TriggerRotationRequest,
    TriggerRotationResult,
    VerifyRequest,
    VerifyResult,
    WriteRequest,
)
from strongroom.errors import ConfigurationError, SecretNotFoundError, TamperedError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue
from strongroom_frozen.helping import asked, is_checked, is_leased
from strongroom_frozen.journal import FrozenJournal
from strongroom_frozen.keys import FrozenKeys
from strongroom_frozen.secrets import FrozenSecrets
from strongroom_frozen.settings import StoreSettings


class FrozenBackend(FrozenSecrets, FrozenJournal, FrozenKeys, StateStore, Leasing, ServiceRotation, Maintenance):
    """Keeps secrets in one file, with every optional interface.

    Names below ``service/`` are rotated by the backend itself; those below one of the setting ``names`` are leased.
    """

    def __init__(self, settings: StoreSettings) -> None:
        FrozenSecrets.__init__(self, settings)
        FrozenJournal.__init__(self)
        self._path = settings.path

    # Leases

    def is_leased(self, name: SecretName) -> bool:
        """Tell whether a read of this name makes a credential."""
        return is_leased(self._settings.names, name)

    def read(self, request: ReadRequest) -> ReadResult:
        """Return a secret, or a credential that is made for whoever reads."""
        if not self.is_leased(request.name):
            return super().read(request)
        with self._document.changing() as content:
            content["leases"] = content.get("leases", 0) + 1
            number = content["leases"]
            content.setdefault("alive", {})[f"lease-{number}"] = time.time() + 60.0
        return ReadResult(
            value=SecretValue(f"leased-{number}"),
            version=f"lease-{number}",
            lease=Lease(id=f"lease-{number}", seconds=60.0, renewable=True),
        )

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        """Let a lease live longer."""
        with self._document.changing() as content:
            if request.lease.id not in content.get("alive", {}):
                raise SecretNotFoundError(f"{request.name} has ended", name=request.name)
            content["alive"][request.lease.id] = time.time() + request.seconds
        lease = request.lease.replace(seconds=request.seconds)
        return RenewLeaseResult(lease=lease, extensible=True, request_id="renewed")

    def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
        """End a lease."""
        with self._document.changing() as content:
            content.get("alive", {}).pop(request.lease.id, None)
        return RevokeLeaseResult(request_id="revoked")

    def release_lease(self, request: ReleaseLeaseRequest) -> None:
        """Leave a lease to itself: closing ends none here."""

    # Rotation by the backend itself

    def rotates(self, name: SecretName) -> bool:
        """Tell whether the backend rotates a secret."""
        return name.is_below("service")

    def trigger_rotation(self, request: TriggerRotationRequest) -> TriggerRotationResult:
        """Rotate a secret now."""
        super().read(ReadRequest(name=request.name))
        value = SecretValue(f"serviced-{os.urandom(4).hex()}")
        made = self.write(WriteRequest(name=request.name, value=value, token=request.token))
        return TriggerRotationResult(version=made.version, request_id="triggered")

    def rotation_status(self, request: RotationStatusRequest) -> RotationStatusResult:
        """Say that it is done."""
        current = super().read(ReadRequest(name=request.name)).version
        return RotationStatusResult(done=int(current) >= int(request.version), current=current, request_id="status")

    def schedules(self, request: SchedulesRequest) -> SchedulesResult:
        """List what the backend rotates, and when."""
        names = [SecretName(name) for name in sorted(self._document.read().get("secrets", {}))]
        began = datetime(2026, 1, 1, tzinfo=UTC)
        return SchedulesResult(
            schedules=tuple(
                Schedule(
                    name=name,
                    rule="every 30 days",
                    by="the file itself",
                    enabled=True,
                    last=began,
                    next=began + timedelta(days=36500),
                    window=3600.0,
                    due=began + timedelta(days=36500),
                    warn_from=began + timedelta(days=36490),
                    ends=None,
                    pattern=None,
                    state="",
                    problem="",
                )
                for name in names
                if self.rotates(name) and name.is_below(request.prefix)
            ),
            request_id="schedules",
        )

    # States

    def save_state(self, request: SaveStateRequest) -> None:
        """Keep a state."""
        if len(request.state) > MAX_STATE_BYTES:
            raise ValueTooLargeError("the state is too large", size=len(request.state), limit=MAX_STATE_BYTES)
        with self._document.changing() as content:
            content.setdefault("states", {})[request.key] = request.state.hex()

    def load_state(self, request: LoadStateRequest) -> LoadStateResult:
        """Return what is kept."""
        state = self._document.read().get("states", {}).get(request.key)
        return LoadStateResult(state=None if state is None else bytes.fromhex(state))

    # Maintenance

    def verify(self, request: VerifyRequest) -> VerifyResult:
        """Count what is there."""
        secrets = self._document.read().get("secrets", {})
        counter = sum(secret["last"] for secret in secrets.values())
        old = request.at_least is not None and counter < request.at_least
        return VerifyResult(
            secrets=len(secrets),
            records=sum(len(secret["versions"]) for secret in secrets.values()),
            counter=counter,
            problems=("it is an old copy",) if old else (),
            store_id="f05e",
        )

    def backup(self, request: BackupRequest) -> BackupResult:
        """Copy the file."""
        if os.path.exists(request.path):
            raise ConfigurationError(f"there is a file at {request.path}", hint="choose another path")
        checked = self.verify(VerifyRequest())
        if checked.problems:
            raise TamperedError("the store does not verify")
        shutil.copyfile(self._path, request.path)
        return BackupResult(path=request.path, secrets=checked.secrets, counter=checked.counter, store_id="f05e")

    def rekey(self, request: RekeyRequest) -> RekeyResult:
        """Count an epoch: nothing here is encrypted."""
        if request.new_key is not None:
            request.new_key.read()
        records = self.verify(VerifyRequest(at_least=None)).records
        return RekeyResult(key_epoch=2, records=records if request.reencrypt or request.passphrase else 0)

    # All of it

    def target(self) -> str | None:
        """Return what a write that waits is bound to."""
        return self.address

    def health(self) -> Health:
        """Say whether the file is there."""
        told = asked(self._settings.key)
        if self._settings.key is not None and not len(self._settings.key.read()):
            return Health(state=HealthState.DEGRADED, reason="its key is empty", hint="write one")
        if os.path.isdir(os.path.dirname(self._path)) and is_checked(self._settings):
            facts = (("path", self._path), ("asked", told))
            return Health(state=HealthState.UP, facts=facts, figures=(("store_bytes", 1.0),))
        return Health(state=HealthState.DOWN, reason="its folder is not there", hint="make it")

    def after_fork(self) -> None:
        """Leave the parent's claims alone."""
        self.leave_claims()

    def close(self) -> None:
        """Give up every claim."""
        self.leave_claims()
