"""Tables of backends that several tests run against: the local store, OpenBao with both engines, the AWS emulator."""

from __future__ import annotations

import secrets
import time

from pathlib import Path
from typing import Any, Final

import moto_server

from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from openbao import ROOT_TOKEN, Server

PATIENCE: Final = 10.0
"""Seconds that an engine may take until it can be used."""


def local_table(store: Path) -> dict[str, Any]:
    """Return the table of a store that ``init`` has made.

    Args:
        store: The folder that it is in.
    """
    return {"type": "local", "path": str(store / "secrets.db"), "master_key": {"file": str(store / "master.key")}}


def aws_table(emulator: moto_server.Emulator) -> dict[str, Any]:
    """Return the table of a backend with a prefix of its own."""
    keys = {"access_key_id": ACCESS_KEY, "secret_access_key": SECRET_KEY}
    return {"type": "aws", "region": REGION, "endpoint": emulator.url, "prefix": f"t{secrets.token_hex(4)}/"} | keys


def vault_table(server: Server, version: int) -> dict[str, Any]:
    """Return the table of a backend with an engine of its own, which can be used.

    Args:
        server: The server.
        version: The engine's, 1 or 2.
    """
    mount = f"kv{secrets.token_hex(4)}"
    server.mount(mount, "kv", options={"version": str(version)})
    end = time.monotonic() + PATIENCE
    while server.call("GET", f"{mount}/data/x" if version == 2 else f"{mount}/x")[0] != 404:
        assert time.monotonic() < end, "the engine cannot be used"
        time.sleep(0.01)
    where = {"type": "vault", "address": server.address, "mount": mount, "kv_version": version}
    return where | {"auth": {"method": "token", "token": ROOT_TOKEN}}
