"""Rotations of certificates by real managers in several processes: killed anywhere, led on or taken back."""

from __future__ import annotations

import json
import subprocess
import sys

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cryptography import x509

import certworker
import strongroom

from authorities import authority
from certworker import POINTS
from openbao import ROOT_TOKEN, Server, development_server
from strongroom.errors import RotationError
from tlsuse import client_of, handshake, members_of, shown_by

NAME = "tls/web"
HOST = "web.x.test"
UNTOUCHED = ("after generate", "before begin")
"""Points at which nothing is pending yet."""
DONE = ("after finish",)
"""Points at which nothing is pending any more."""
PROMOTED = ("amid promote", "after promote", "before finish", "amid finish", *DONE)


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with an authority for x.test and its role ``web``."""
    with development_server(tmp_path_factory.mktemp("openbao")) as server:
        server.mount("pki", "pki")
        server.ok("POST", "pki/root/generate/internal", {"common_name": "x.test", "ttl": "24h"})
        role = {
            "allowed_domains": "x.test",
            "allow_subdomains": True,
            "max_ttl": "1h",
            "key_type": "ec",
            "key_bits": 256,
        }
        server.ok("POST", "pki/roles/web", role)
        yield server


class Site:
    """An encrypted store with a certificate that is rotated.

    Args:
        store: Its folder.
        rotator: ``tls`` or ``vault-pki``.
        server: Who issues with the latter.
    """

    def __init__(self, store: Path, rotator: str, server: Server) -> None:
        self.rotator = rotator
        self.server = server
        self._ca = authority()
        local = {"type": "local", "path": str(store / "secrets.db"), "master_key": {"file": str(store / "master.key")}}
        table: dict[str, Any] = {"rotator": "tls", "ca": "tls/ca", "names": [HOST]}
        if rotator == "vault-pki":
            table = {"rotator": rotator, "role": "web", "common_name": HOST, "address": server.address, "proxy": ""}
            table |= {"auth": {"token": ROOT_TOKEN}}
        self.config = {
            "audit": "none",
            "backend": "local",
            "backends": {"local": local},
            "cache": {"policy": "none"},
            "rotation": {NAME: table | {"overlap": "0s"}},
        }

    def begun(self, manager: strongroom.SecretManager) -> str:
        """Put the authority and a first certificate into the store; return its value."""
        manager.set("tls/ca", self._ca.text)
        manager.set(NAME, "none yet")
        manager.rotate(NAME)
        return manager.get(NAME).reveal_text()

    def killed(self, point: str) -> str:
        """Rotate in another process, which dies at the point; return the candidate that it had made."""
        plan = json.dumps({"config": self.config, "name": NAME, "point": point, "rotator": self.rotator})
        done = subprocess.run(
            [sys.executable, certworker.__file__, plan], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == -9, done.stderr
        return str(json.loads(done.stdout.splitlines()[-1]))

    def assert_of_use(self, value: str) -> None:
        """Fail unless a server that shows it is accepted."""
        trusted = self._ca.pem if self.rotator == "tls" else members_of(value)["chain"]
        handshake(shown_by(value, server=True), client_of(trusted), HOST)
        assert not self.is_revoked(value)

    def is_revoked(self, value: str) -> bool:
        """Tell whether a certificate has been revoked, where there is somebody who does that."""
        if self.rotator == "tls":
            return False
        listed = self.server.ok("GET", "pki/cert/crl")["data"]["certificate"]
        number = int(json.loads(value)["serial"].replace(":", ""), 16)
        return x509.load_pem_x509_crl(listed.encode()).get_revoked_certificate_by_serial_number(number) is not None


@pytest.fixture(params=["tls", "vault-pki"])
def site(request: pytest.FixtureRequest, store: Path, bao: Server) -> Site:
    return Site(store, request.param, bao)


@pytest.mark.parametrize("point", POINTS)
def test_another_process_leads_it_to_its_end(site: Site, point: str) -> None:
    with strongroom.open(site.config) as manager:
        first = site.begun(manager)
        candidate = site.killed(point)
        seen = manager.get(NAME).reveal_text()
        assert seen == (candidate if point in PROMOTED else first)
        if point not in ("amid finish", "after finish"):
            site.assert_of_use(first)
        site.assert_of_use(candidate)
        if point in UNTOUCHED + DONE:
            with pytest.raises(RotationError) as caught:
                manager.rotation.resume(NAME)
            assert caught.value.code == "rotation_none"
            manager.rotate(NAME)
        else:
            assert manager.rotation.resume(NAME).is_complete
            assert manager.get(NAME).reveal_text() == candidate
        site.assert_of_use(manager.get(NAME).reveal_text())
        assert site.is_revoked(first) == (site.rotator == "vault-pki")


@pytest.mark.parametrize("point", [point for point in POINTS if point not in UNTOUCHED + DONE + ("amid finish",)])
def test_another_process_takes_it_back(site: Site, point: str) -> None:
    with strongroom.open(site.config) as manager:
        first = site.begun(manager)
        candidate = site.killed(point)
        manager.rotation.undo(NAME)
        assert manager.get(NAME).reveal_text() == first
        site.assert_of_use(first)
        assert site.is_revoked(candidate) == (site.rotator == "vault-pki")
        manager.rotate(NAME)
        site.assert_of_use(manager.get(NAME).reveal_text())
