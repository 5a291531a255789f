"""The public API as users and plugin authors write it. It is never run, only type-checked."""

from collections.abc import Iterator
from datetime import datetime
from typing import assert_type

import strongroom

from strongroom import ABSENT, AsyncSecretManager, Freshness, Secret, SecretManager, SecretName
from strongroom.contracts import Backend, BackendSpec, Capability, ReadRequest, ReadResult, Record
from strongroom.errors import (
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.events.updates import SecretUpdated
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue, SecretVersion
from strongroom.operations.encryption import DataKey, RotatedKey


def read(manager: SecretManager) -> str:
    secret = manager.get("db/password")
    assert_type(secret, Secret)
    assert_type(secret.name, SecretName)
    assert_type(secret.version, str)
    assert_type(secret.created, datetime | None)
    assert_type(secret.freshness, Freshness)
    assert_type(secret.age, float)
    assert_type(secret.place, str | None)
    assert_type(secret.reveal(), bytes)
    assert_type(manager.get("db/password", version="3").value, SecretValue)
    assert_type(manager.get("db/connection", field="user").reveal_text(), str)
    assert_type(secret.field("user"), Secret)
    return secret.reveal_text()


def read_several(manager: SecretManager) -> None:
    batch = manager.get_many(["a", "b"])
    assert_type(batch.found["a"], Secret)
    assert_type(batch.errors, dict[str, StrongroomError])
    assert_type(manager.get_many(["a", "b"], strict=True).found["b"], Secret)
    manager.prefetch("db/**", "api/key")
    manager.prefetch("db/**", concurrency=4, progress=lambda done, total: print(done / total))
    assert_type(manager.refresh("a"), Secret)
    assert_type(manager.refresh_all().errors, dict[str, StrongroomError])


def use_keys(manager: SecretManager) -> None:
    ciphertext = manager.encrypt("orders", "number", associated_data=b"row 7")
    assert_type(ciphertext, str)
    assert_type(manager.decrypt("orders", ciphertext, associated_data=b"row 7"), SecretValue)
    assert_type(manager.rewrap("orders", manager.encrypt("orders", SecretValue(b"number"))), str)
    assert_type(manager.verify("releases", b"message", manager.sign("releases", "message")), bool)
    assert_type(manager.data_key("orders", size=16), DataKey)
    assert_type(manager.data_key("orders").plaintext, SecretValue)
    assert_type(manager.rotate_key("orders"), RotatedKey)


async def use_keys_on_a_loop(manager: AsyncSecretManager) -> None:
    assert_type(await manager.encrypt("orders", b"number"), str)
    assert_type(await manager.decrypt("orders", "ciphertext"), SecretValue)
    assert_type(await manager.verify("releases", "message", "signature"), bool)
    assert_type(await manager.rotate_key("orders"), RotatedKey)


def look_around(manager: SecretManager) -> None:
    for name in manager.list("db/"):
        assert_type(name, SecretName)
    for version in manager.versions("db/password"):
        assert_type(version, SecretVersion)
        assert_type(version.deleted, datetime | None)
    for schedule in manager.schedules("db/"):
        assert_type(schedule.name, SecretName)
        assert_type(schedule.next, datetime | None)
    assert_type(manager.stats().hits, int)
    print(manager.health().state.value)


def look_after_rotations(manager: SecretManager) -> None:
    for status in manager.rotation.status("db/"):
        assert_type(status.until, datetime | None)
    assert_type(manager.rotation.plan("db/password").steps, tuple[str, ...])
    for one in manager.rotation.rotate_due(ignore_windows=True).failed:
        print(one.name, one.error.code)
    manager.rotation.start(every=300)
    manager.rotation.stop()


async def look_after_rotations_on_a_loop(manager: AsyncSecretManager) -> None:
    assert_type((await manager.rotation.rotate_due("db/")).waiting, tuple[SecretName, ...])


def look_at_leases(manager: SecretManager) -> None:
    for lease in manager.leases():
        assert_type(lease.name, SecretName)
        assert_type(lease.seconds_left, float)
        print(lease.backend, lease.version, lease.state, lease.renewable)
    manager.release_leases()


def look_at_one_level(manager: SecretManager) -> None:
    level = manager.browse("db/")
    assert_type(level.names, tuple[SecretName, ...])
    assert_type(level.folders, tuple[SecretName, ...])
    assert_type(manager.describe("db/password").metadata, dict[str, str])


def recover(manager: SecretManager) -> None:
    assert_type(manager.undelete("db/password").version, str)
    assert_type(manager.destroy("db/password", ["1", "2"]).existed, bool)
    manager.destroy("db/password")
    manager.annotate("db/password", {"owner": "shop"})


def change(manager: SecretManager, secret: Secret) -> None:
    assert_type(manager.set("db/password", "s3cret").version, str)
    manager.set("db/key", b"\x00\xff")
    manager.set("db/password", SecretValue("s3cret"), expect_version=secret.version)
    manager.set("db/password", "s3cret", expect_version=ABSENT)
    assert_type(manager.delete("db/password").existed, bool)
    assert_type(manager.rotate("db/password").version, str)
    manager.rotate("db/password", size=24, encoding="base64url")
    manager.rotate("db/password", expect_version=secret.version, wait=60)
    manager.invalidate("db/password")
    manager.invalidate()


def watch(manager: SecretManager) -> None:
    stop = manager.on_update("db/**", lambda event: print(event.name, event.change, event.version))
    stop()
    manager.on_rotation("db/**", lambda event: print(event.kind, event.name, event.detail, event.when))()


def tell_failures_apart(manager: SecretManager) -> str | None:
    try:
        return manager.as_principal("api-server").get("api/key").reveal_text()
    except SecretDeletedError as error:
        assert_type(error.when, str | None)
    except SecretNotFoundError as error:
        assert_type(error.name, str | None)
    except VersionConflictError as error:
        assert_type(error.expected, str)
    except BackendUnavailableError as error:
        assert_type(error.backend, str | None)
    except StrongroomError as error:
        print(error.code, error.hint)
    return None


def act(manager: SecretManager) -> None:
    with manager.recorded("deploy/shop", detail="approval: operator") as action:
        assert_type(action, strongroom.RecordedAction)
        action.note(result="rolled_back", detail="3 of 4 hosts")
    manager.record_refused("deploy/shop", "not_approved", detail="approval: operator")


def open_in_each_way() -> None:
    with strongroom.open() as manager:
        read(manager)
    with strongroom.open("strongroom.toml") as manager, manager.as_principal("api-server") as narrowed:
        assert_type(narrowed, SecretManager)
    strongroom.open({"backend": "main", "audit": "none", "backends": {"main": {"type": "memory"}}}).close()


async def use_asyncio(config: str) -> None:
    async with strongroom.open_async(config, max_threads=4) as manager:
        assert_type(manager, AsyncSecretManager)
        secret = await manager.get("db/password")
        assert_type(secret, Secret)
        assert_type((await manager.get_many(["a", "b"])).found["a"], Secret)
        assert_type((await manager.set("db/password", "s3cret", expect_version=secret.version)).version, str)
        assert_type((await manager.delete("db/password")).existed, bool)
        assert_type((await manager.list("db/"))[0], SecretName)
        assert_type((await manager.stats()).hits, int)
        with strongroom.acting_as("api-server"):
            await manager.get("api/key")
        await manager.as_principal("api-server").get("api/key")
        async with manager.recorded("deploy/shop") as action:
            assert_type(action, strongroom.AsyncRecordedAction)
        await manager.record_refused("deploy/shop", "not_approved")
        stop = manager.on_update("db/**", react)
        stop()
    opened = await strongroom.open_async()
    assert_type(opened, AsyncSecretManager)
    await opened.aclose()
    with strongroom.open() as shared:
        async with AsyncSecretManager(shared) as around:
            assert_type(await around.refresh("a"), Secret)


async def react(event: SecretUpdated) -> None:
    assert_type(event.name, SecretName)


class AcmeSettings(Record):
    """Settings of a plugin: annotated attributes, those with a value optional."""

    address: str
    timeout: float = 5.0


class AcmeBackend(Backend):
    """The least that a backend has."""

    def __init__(self, settings: AcmeSettings) -> None:
        self.address = settings.address

    def read(self, request: ReadRequest) -> ReadResult:
        if request.version is not None:
            raise SecretNotFoundError(f"{request.name} has no version {request.version}", code="version_not_found")
        return ReadResult(value=SecretValue(b"s3cret"), version="1")


@hookimpl
def strongroom_backends() -> Iterator[BackendSpec]:
    """Offer the Acme backend."""
    yield BackendSpec(
        name="acme",
        summary="Secrets kept in Acme.",
        settings=AcmeSettings,
        open=AcmeBackend,
        capabilities=frozenset({Capability.WRITE}),
    )


assert_type(AcmeSettings(address="https://acme.example").replace(timeout=1.0), AcmeSettings)
