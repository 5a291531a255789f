"""Key-value engines on a real server for the tests, and backends that keep their secrets there."""

from __future__ import annotations

import secrets
import time

from typing import Any

from logins import Given
from openbao import ROOT_TOKEN, TIME_LIMIT, Server
from strongroom.contracts import (
    DeleteRequest,
    DeleteResult,
    ListRequest,
    ReadRequest,
    ReadResult,
    WriteRequest,
    WriteResult,
)
from strongroom.model import Absent, SecretName, SecretValue
from strongroom_vault.backend import VaultBackend
from strongroom_vault.settings import AuthSettings, VaultSettings


def new_mount(server: Server, version: int, *, below: str = "kv") -> str:
    """Mount a new engine and return where it is, once it can be used."""
    mount = f"{below}/{secrets.token_hex(4)}"
    server.mount(mount, "kv", options={"version": str(version)})
    end = time.monotonic() + TIME_LIMIT
    # An engine of version 2 answers 400 for a moment after it has been mounted.
    while server.call("GET", f"{mount}/data/x" if version == 2 else f"{mount}/x")[0] != 404:
        assert time.monotonic() < end, "the engine cannot be used"
        time.sleep(0.01)
    return mount


def settings(server: Any, mount: str, *, token: str = ROOT_TOKEN, **further: Any) -> VaultSettings:
    """Return settings for a backend with a token that was given to it."""
    given = {"address": server.address, "mount": mount, "auth": AuthSettings(token=Given(token)), "proxy": ""}
    return VaultSettings(**given | further)


def opened(server: Any, mount: str, *, token: str = ROOT_TOKEN, **further: Any) -> VaultBackend:
    """Open a backend for an engine of a server, which has an ``address``."""
    return VaultBackend.open(settings(server, mount, token=token, **further))


def read(backend: VaultBackend, name: str, version: str | None = None) -> ReadResult:
    return backend.read(ReadRequest(name=SecretName(name), version=version))


def text_of(backend: VaultBackend, name: str, version: str | None = None) -> str:
    return read(backend, name, version).value.reveal_text()


def write(
    backend: VaultBackend, name: str, content: str | bytes, expect_version: str | Absent | None = None
) -> WriteResult:
    value = SecretValue(content)
    return backend.write(WriteRequest(name=SecretName(name), value=value, expect_version=expect_version))


def delete(backend: VaultBackend, name: str) -> DeleteResult:
    return backend.delete(DeleteRequest(name=SecretName(name)))


def names_in(backend: VaultBackend, prefix: str = "", *, recursive: bool = True) -> list[str]:
    return list(backend.list(ListRequest(prefix=prefix, recursive=recursive)).names)
