"""A program that was written for strongroom 1.0, and uses all of its public Python API. It is never edited.

python program_1_0.py FOLDER    in a folder with the configuration ``strongroom.toml`` and ``outage.toml``
"""

import asyncio
import os
import sys
import threading

from datetime import UTC, datetime, timedelta

import strongroom

from strongroom import (
    ABSENT,
    Access,
    Alert,
    Announcement,
    AsyncJournalDesk,
    AsyncRotationDesk,
    AsyncSecretManager,
    AuditedMaintenance,
    Batch,
    CacheStats,
    ConditionChanged,
    ConditionReport,
    ConditionState,
    DataKey,
    Deleted,
    Description,
    Destroyed,
    DueFailure,
    DueRun,
    Folder,
    Freshness,
    Health,
    HealthState,
    JournalDesk,
    JournalHealth,
    KnownOutage,
    LeaseStatus,
    ManagerHealth,
    OpenTrail,
    PartHealth,
    Principal,
    QueuedWrite,
    Replayed,
    Rotated,
    RotatedKey,
    RotationDesk,
    RotationPlan,
    RotationStatus,
    Schedule,
    Secret,
    SecretManager,
    SecretName,
    SecretUpdated,
    SecretValue,
    SecretVersion,
    StrongroomError,
    Undeleted,
    Undone,
    ValueType,
    Written,
    acting_as,
)
from strongroom.contracts import BackupRequest, Lease, RekeyRequest, TrailQuery, VerifyRequest
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    BatchError,
    CandidateRefusedError,
    ClosedError,
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    MasterKeyError,
    PluginError,
    RotationError,
    SecretDeletedError,
    SecretNotFoundError,
    StoreDamagedError,
    SuspiciousActivityError,
    TamperedError,
    UndoRefusedError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import MAX_NAME_BYTES, Absent, AuditEvent, PrincipalSource, current_user

TOLD: list[object] = []


def read_and_write(manager: SecretManager) -> None:
    made = manager.set("db/password", "s3cret")
    assert isinstance(made, Written) and made.version == "1", made
    assert manager.set("db/password", b"\x00\xff", expect_version=made.version).version == "2"
    assert manager.set("db/other", SecretValue("other"), expect_version=ABSENT).version == "1"
    assert manager.check_set("db/new", SecretValue("x"), expect_version=ABSENT) == "db/new"
    secret = manager.get("db/password")
    assert isinstance(secret, Secret) and isinstance(secret.name, SecretName)
    assert (secret.reveal(), secret.value.type, secret.version) == (b"\x00\xff", ValueType.BINARY, "2")
    assert (secret.backend, secret.place, secret.age) == ("main", None, 0.0)
    assert isinstance(secret.created, datetime) and abs(datetime.now(UTC) - secret.retrieved) < timedelta(hours=1)
    assert secret.freshness in {Freshness.FRESH, Freshness.CACHED}
    assert manager.get("db/password", version="1").reveal_text() == "s3cret"
    assert manager.get("db/password").freshness is Freshness.CACHED
    assert "s3cret" not in repr(manager.get("db/password", version="1"))
    manager.set("db/json", '{"user": "app", "port": 5432}')
    assert manager.get("db/json", field="user").reveal_text() == "app"
    assert manager.get("db/json").field("port").reveal_text() == "5432"
    assert manager.list("db/") == manager.list("db") == ["db/json", "db/other", "db/password"]
    assert [version.state for version in manager.versions("db/password")] == ["superseded", "current"]
    assert isinstance(manager.versions("db/password")[0], SecretVersion)
    batch = manager.get_many(["db/json", "db/other", "db/none"], concurrency=2, progress=lambda done, total: None)
    assert isinstance(batch, Batch) and sorted(batch.found) == ["db/json", "db/other"]
    assert isinstance(batch.errors["db/none"], SecretNotFoundError)
    assert len(manager.prefetch("db/**", concurrency=2).found) == 3
    assert manager.refresh("db/other").freshness is Freshness.FRESH
    assert isinstance(manager.refresh_all().errors, dict)
    manager.invalidate("db/other")
    manager.invalidate()
    manager.flush()
    manager.reload()


def look_around(manager: SecretManager) -> None:
    level = manager.browse("db/")
    assert isinstance(level, Folder) and level.names == ("db/json", "db/other", "db/password")
    assert (level.prefix, level.folders) in {("db", ()), ("db/", ())}
    manager.annotate("db/other", {"owner": "shop"})
    known = manager.describe("db/other")
    assert isinstance(known, Description) and known.metadata == {"owner": "shop"} and known.version == "1"
    gone = manager.delete("db/other")
    assert isinstance(gone, Deleted) and gone.existed
    back = manager.undelete("db/other", version="1")
    assert isinstance(back, Undeleted) and back.version == "1"
    destroyed = manager.destroy("db/password", ["1"])
    assert isinstance(destroyed, Destroyed) and destroyed.existed
    assert manager.destroy("db/other").existed
    stats = manager.stats()
    assert isinstance(stats, CacheStats) and stats.hits >= 1
    health = manager.health()
    assert isinstance(health, ManagerHealth) and health.state is HealthState.UP
    assert all(isinstance(part, PartHealth) for part in health.parts) and health.journal is None
    assert issubclass(JournalHealth, object) and issubclass(Health, object)
    assert isinstance(manager.principal, Principal) and manager.principal.source in set(PrincipalSource)
    assert current_user() and MAX_NAME_BYTES == 512 and ABSENT is Absent.ABSENT


def act_as_others(manager: SecretManager) -> None:
    assert manager.as_principal("api-server").get("db/json").reveal_text().startswith("{")
    with acting_as("worker"):
        assert manager.get("db/json").version == "1"


def be_told(manager: SecretManager) -> None:
    heard = threading.Event()

    def update(event: SecretUpdated) -> None:
        TOLD.append((event.name, event.change, event.version))
        heard.set()

    def alert(event: Alert) -> None:
        TOLD.append(event)

    def rotation(event: Announcement) -> None:
        TOLD.append((event.kind, event.name, event.detail, event.when))

    def condition(event: ConditionChanged) -> None:
        TOLD.append(event)

    ends = [
        manager.on_update("db/**", update),
        manager.on_alert(alert),
        manager.on_rotation("door/*", rotation),
        manager.on_condition(condition),
        manager.watch(3600.0, names=["db/json"]),
    ]
    manager.set("db/json", "{}")
    assert heard.wait(10.0) and ("db/json", "set", "2") in TOLD
    for end in ends:
        end()
    assert issubclass(Access, object)


def use_keys(manager: SecretManager) -> None:
    ciphertext = manager.encrypt("orders", "number", associated_data=b"row")
    assert manager.decrypt("orders", ciphertext, associated_data=b"row").reveal() == b"number"
    assert isinstance(manager.rotate_key("orders"), RotatedKey)
    assert manager.rewrap("orders", ciphertext, associated_data=b"row") != ciphertext
    assert manager.verify("orders", b"message", manager.sign("orders", "message"))
    key = manager.data_key("orders", size=16)
    assert isinstance(key, DataKey) and len(key.plaintext) == 16
    assert manager.decrypt("orders", key.ciphertext).reveal() == key.plaintext.reveal()


def use_leases(manager: SecretManager) -> None:
    assert manager.get("leased/app").reveal_text().startswith("leased-")
    (lease,) = manager.leases()
    assert isinstance(lease, LeaseStatus) and lease.name == "leased/app" and lease.seconds_left > 0
    assert lease.renewable and lease.backend == "main" and issubclass(Lease, object)
    manager.release_leases()


def rotate(manager: SecretManager) -> None:
    manager.set("db/admin", "administrator")
    manager.set("door/front", "door-0")
    manager.set("plain/key", "0")
    manager.set("service/job", "0")
    plan = manager.rotation.plan("door/front")
    assert isinstance(plan, RotationPlan) and plan.rotator == "frozen" and plan.obstacle is None, plan
    done = manager.rotate("door/front", wait=60)
    assert isinstance(done, Rotated) and manager.get("door/front").reveal_text().startswith("door-1-")
    manager.set("no/rule", "0")
    assert manager.rotate("no/rule", size=24, encoding="base64url").version == "2"
    assert len(manager.get("no/rule").value) == 32
    assert manager.rotate("plain/key", expect_version=manager.get("plain/key").version).version == "2"
    manager.rotate("service/job")
    assert manager.get("service/job").reveal_text().startswith("serviced-")
    assert isinstance(manager.rotation, RotationDesk)
    (status,) = (one for one in manager.rotation.status("door/") if one.name == "door/front")
    assert isinstance(status, RotationStatus) and status.pattern == "door/*"
    names = {one.name for one in manager.rotation.schedule()}
    assert {"door/front", "service/job"} <= names and all(isinstance(s, Schedule) for s in manager.rotation.schedule())
    assert [one.name for one in manager.schedules("service/")] == ["service/job"]
    run = manager.rotation.rotate_due("door/", ignore_windows=True)
    assert isinstance(run, DueRun) and run.failed == () and issubclass(DueFailure, object)
    for call in (manager.rotation.resume, manager.rotation.undo):
        try:
            call("door/front", force=False)
        except RotationError as error:
            assert error.code == "rotation_none" and error.step is None
        else:
            raise AssertionError("there was nothing to resume or undo")
    manager.rotation.start(every=3600)
    manager.rotation.stop()
    assert issubclass(Undone, object)


def look_after_the_store(manager: SecretManager, folder: str) -> None:
    store = manager.maintenance("main")
    assert isinstance(store, AuditedMaintenance)
    checked = store.verify(VerifyRequest(at_least=1))
    assert checked.problems == () and checked.secrets >= 5
    assert store.backup(BackupRequest(path=os.path.join(folder, "backup"))).counter == checked.counter
    assert store.rekey(RekeyRequest(new_key=None, reencrypt=True)).key_epoch == 2
    manager.flush()
    (trail,) = manager.trails()
    assert isinstance(trail, OpenTrail)
    events = list(trail.read(TrailQuery(key="db/password", last=3)))
    assert events and all(isinstance(event, AuditEvent) and event.key == "db/password" for event in events)
    assert trail.verify(trail.head()).state == "sealed" and trail.type == "frozen"
    trail.close()


def tell_failures_apart(manager: SecretManager) -> None:
    def code(call: object, *arguments: object, **more: object) -> str:
        try:
            call(*arguments, **more)  # type: ignore[operator]
        except StrongroomError as error:
            assert error.what and str(error).startswith(error.what) and error.exit_status > 0
            assert error.hint is not None and type(error).codes[0]
            return f"{type(error).__name__} {error.code}"
        raise AssertionError("nothing was raised")

    assert code(manager.get, "db/none") == f"{SecretNotFoundError.__name__} not_found"
    assert code(manager.get, "db/password", version="9") == "SecretNotFoundError version_not_found"
    assert code(manager.get, "db/json", field="x") == "SecretNotFoundError field_not_found"
    assert code(manager.get, "db//x") == f"{InvalidNameError.__name__} invalid_name"
    assert code(manager.get, "db/password", version="1") == f"{SecretDeletedError.__name__} destroyed"
    assert code(manager.get("db/password").reveal_text) == f"{InvalidValueError.__name__} not_text"
    assert code(manager.set, "db/json", "x", expect_version="9") == f"{VersionConflictError.__name__} conflict"
    assert code(manager.set, "db/json", "x" * (2 << 20)) == f"{ValueTooLargeError.__name__} too_large"
    assert code(manager.get_many, ["db/none"], strict=True) == f"{BatchError.__name__} batch_failed"
    assert code(manager.decrypt, "orders", "x") == "InvalidValueError invalid_value"
    assert code(strongroom.open, {"backend": "nowhere"}) == f"{ConfigurationError.__name__} configuration"
    missing = {"backend": "a", "audit": "none", "backends": {"a": {"type": "nobody-offers-it"}}}
    assert code(lambda: strongroom.open(missing).get("a")) == f"{PluginError.__name__} plugin_missing"
    families = {
        AccessDeniedError: (SuspiciousActivityError,),
        RotationError: (UndoRefusedError,),
        SecretNotFoundError: (SecretDeletedError,),
        StrongroomError: (
            AuditError,
            AuthenticationError,
            BackendError,
            BackendUnavailableError,
            CandidateRefusedError,
            MasterKeyError,
            StoreDamagedError,
            TamperedError,
            UnsupportedOperationError,
        ),
    }
    assert all(issubclass(below, above) for above, several in families.items() for below in several)


def live_through_an_outage(folder: str) -> None:
    away = os.path.join(folder, "away")
    with strongroom.open(os.path.join(folder, "outage.toml")) as manager:
        manager.on_condition(TOLD.append)
        queued = manager.set("a", "1")
        assert queued.queued and manager.get("a").freshness is Freshness.FALLBACK
        (waiting,) = manager.journal.list()
        assert isinstance(manager.journal, JournalDesk) and isinstance(waiting, QueuedWrite)
        assert manager.journal.show(waiting.id).name == "a"
        manager.set("b", "2")
        dropped = manager.journal.drop(manager.journal.list()[1].id)
        assert dropped.name == "b"
        try:
            manager.journal.resolve(waiting.id, keep="backend")
        except StrongroomError as error:
            assert error.exit_status == 2, error
        report = manager.health()
        assert report.journal is not None and report.journal.waiting == 1
        assert issubclass(ConditionReport, object) and ConditionState.HEALTHY and issubclass(KnownOutage, object)
        os.mkdir(away)
        done = manager.journal.replay("main")
        assert isinstance(done, Replayed) and (done.made, done.waiting) == (1, 0), done
        assert manager.refresh("a").reveal_text() == "1"


async def use_a_loop(folder: str) -> None:
    async with strongroom.open_async(os.path.join(folder, "strongroom.toml"), max_threads=4) as manager:
        assert isinstance(manager, AsyncSecretManager) and isinstance(manager.journal, AsyncJournalDesk)
        assert isinstance(manager.rotation, AsyncRotationDesk)
        await manager.set("loop/a", "1", expect_version=ABSENT)
        assert (await manager.get("loop/a")).reveal_text() == "1"
        assert (await manager.get_many(["loop/a"])).found["loop/a"].version == "1"
        assert await manager.list("loop") == ["loop/a"]
        assert len(await manager.versions("loop/a")) == 1
        assert (await manager.rotation.plan("door/front")).rotator == "frozen"
        assert (await manager.decrypt("orders", await manager.encrypt("orders", "x"))).reveal() == b"x"
        assert (await manager.health()).state is HealthState.UP
        assert (await manager.delete("loop/a")).existed
    manager = await strongroom.open_async({"backend": "m", "audit": "none", "backends": {"m": {"type": "memory"}}})
    try:
        await manager.set("a", "1")
    finally:
        await manager.aclose()


def main(folder: str) -> None:
    with strongroom.open(os.path.join(folder, "strongroom.toml")) as manager:
        read_and_write(manager)
        look_around(manager)
        act_as_others(manager)
        be_told(manager)
        use_keys(manager)
        use_leases(manager)
        rotate(manager)
        look_after_the_store(manager, folder)
        tell_failures_apart(manager)
    manager.close()
    try:
        manager.get("db/json")
    except ClosedError as error:
        assert error.code == "closed"
    live_through_an_outage(folder)
    asyncio.run(use_a_loop(folder))
    print("all of it works")


if __name__ == "__main__":
    main(sys.argv[1])
