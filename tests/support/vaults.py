"""Managers on a server of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import strongroom

APPROLE_POLICY = 'path "secret/*" { capabilities = ["create", "read", "update", "delete", "list"] }'


ALWAYS_ASKED: Final = {"failures": 1_000_000}
"""A table ``[resilience]`` for tests of the plugin: each call reaches it, however many have failed before."""


def open_manager(address: str | Sequence[str], auth: str | dict[str, Any], **more: Any) -> strongroom.SecretManager:
    """Open a manager whose only backend is a Vault, without cache.

    Args:
        address: The server's, or those of a cluster.
        auth: A token, or the settings of a login.
        more: Further settings of the backend; ``cache``, ``audit``, ``resilience`` and ``rotation`` go to the manager.
    """
    top = {"audit": more.pop("audit", "none"), "cache": more.pop("cache", {"policy": "none"})}
    top |= {"resilience": more.pop("resilience", {}), "rotation": more.pop("rotation", {})}
    login = {"method": "token", "token": auth} if isinstance(auth, str) else auth
    settings = {"type": "vault", "address": address, "auth": login, **more}
    return strongroom.open({"backend": "vault", "backends": {"vault": settings}, **top})


def approle(server: Any, name: str, **role: Any) -> dict[str, Any]:
    """Make a role on a server, enabling the method if need be; return the settings that log in for it."""
    if "approle/" not in server.ok("GET", "sys/auth")["data"]:
        server.ok("POST", "sys/auth/approle", {"type": "approle"})
    server.policy(name, APPROLE_POLICY)
    server.ok("POST", f"auth/approle/role/{name}", {"token_policies": [name], **role})
    return {
        "method": "approle",
        "role_id": server.ok("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"],
        "secret_id": server.ok("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"],
    }
