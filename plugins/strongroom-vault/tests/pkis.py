"""Authorities of a real server's PKI engine for the tests, and what it has issued and revoked."""

from __future__ import annotations

import json
import secrets

from typing import Any

from cryptography import x509

from openbao import Server
from strongroom.model import SecretValue
from strongroom.testing import assert_hidden
from tlsuse import members_of

HOST = "web.x.test"


def new_authority(server: Server) -> str:
    """Mount an authority for x.test below a root and return where; its role ``web`` is for up to an hour."""
    root, mount = (f"pki-{secrets.token_hex(4)}" for _ in range(2))
    for each in (root, mount):
        server.mount(each, "pki")
    server.ok("POST", "/".join((root, "root/generate/internal")), {"common_name": "x.test root", "ttl": "24h"})
    made = server.ok("POST", f"{mount}/intermediate/generate/internal", {"common_name": "x.test issuing"})
    request = {"csr": made["data"]["csr"], "common_name": "x.test issuing", "ttl": "12h"}
    signed = server.ok("POST", "/".join((root, "root/sign-intermediate")), request)["data"]
    both = signed["certificate"] + "\n" + signed["issuing_ca"]
    server.ok("POST", f"{mount}/intermediate/set-signed", {"certificate": both})
    common = {"allowed_domains": "x.test", "allow_subdomains": True, "allow_bare_domains": True, "allow_ip_sans": True}
    common["max_ttl"] = "1h"
    server.ok("POST", f"{mount}/roles/web", common)
    for kind, bits in (("ec", 256), ("ec", 384), ("ed25519", 0), ("rsa", 2048)):
        server.ok("POST", f"{mount}/roles/{kind}-{bits}", {**common, "key_type": kind, "key_bits": bits})
    server.ok("POST", f"{mount}/roles/unstored", {**common, "no_store": True})
    return mount


def certificate_of(value: SecretValue) -> x509.Certificate:
    return x509.load_pem_x509_certificate(members_of(value.reveal_text())["certificate"].encode())


def serial_of(value: SecretValue) -> str:
    return str(json.loads(value.reveal_text())["serial"])


def revoked(server: Server, mount: str, value: SecretValue) -> bool:
    """Tell whether the server's list of revoked certificates, which clients look at, has one."""
    pem = server.ok("GET", f"{mount}/cert/crl")["data"]["certificate"]
    number = certificate_of(value).serial_number
    return x509.load_pem_x509_crl(pem.encode()).get_revoked_certificate_by_serial_number(number) is not None


def assert_no_key_in(shown: str, *values: dict[str, Any]) -> None:
    for value in values:
        for line in value["private_key"].splitlines()[1:-1]:
            assert_hidden(line, shown, "what is shown")
