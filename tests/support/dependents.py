"""For each rotator what depends on the value, and can be asked which values it accepts."""

from __future__ import annotations

import json
import ssl

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from authorities import authority
from openbao import ROOT_TOKEN, Server
from pgrotation import accepts, login, new_users, rule
from postgres import Database
from tlsuse import client_of, handshake, members_of, shown_by

HOST = "web.x.test"
PROGRAM = """\
#!/bin/sh
# The dependent accepts each value that is a line of this file.
set -eu
accepted=$1

value() { cat "/dev/fd/$1"; echo; }
put() { cat > "$accepted.new"; mv "$accepted.new" "$accepted"; }

case $2 in
    generate) printf 'v-%s' "$(od -An -N8 -tx1 /dev/urandom | tr -d ' \\n')" > "/dev/fd/$STRONGROOM_OUTPUT_FD" ;;
    apply) { value "$STRONGROOM_CURRENT_FD"; value "$STRONGROOM_CANDIDATE_FD"; } | put ;;
    verify) grep -qxF -e "$(value "$STRONGROOM_CANDIDATE_FD")" "$accepted" || exit 10 ;;
    finish | undo) value "$STRONGROOM_CURRENT_FD" | put ;;
esac
"""


class Dependent:
    """What depends on a secret."""

    first: str | None = "first"
    """A value that it accepts at the beginning; ``None`` if only the rotator can make one."""
    takes_back: ClassVar[bool] = True
    """Whether a candidate is refused once its rotation is undone."""
    retires: ClassVar[bool] = True
    """Whether the former value is refused once the rotation is finished."""
    renews: ClassVar[bool] = True
    """Whether a former value can be accepted again after that."""
    has_gap: ClassVar[bool] = False
    """Whether it refuses what readers get from when it takes a candidate until that is promoted."""
    others: ClassVar[dict[str, str]] = {}
    """Further secrets that the rotator reads."""

    def table(self) -> dict[str, Any]:
        """Return the ``[rotation]`` table."""
        raise NotImplementedError

    def accepts(self, value: str) -> bool:
        """Tell whether it accepts a value."""
        raise NotImplementedError


class Door(Dependent):
    """The test's own rotator with a file."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "door.json"
        self._path.write_text(json.dumps([self.first]))

    def table(self) -> dict[str, Any]:
        return {"rotator": "door", "door": str(self._path)}

    def accepts(self, value: str) -> bool:
        return value in json.loads(self._path.read_text())


class Program(Dependent):
    """A program with a file."""

    def __init__(self, folder: Path) -> None:
        self._accepted = folder / "accepted"
        self._accepted.write_text(f"{self.first}\n")
        self._program = folder / "rotate"
        self._program.write_text(PROGRAM)
        self._program.chmod(0o700)

    def table(self) -> dict[str, Any]:
        return {"rotator": "command", "command": [str(self._program), str(self._accepted)]}

    def accepts(self, value: str) -> bool:
        return value in self._accepted.read_text().splitlines()


class Readers(Dependent):
    """Nobody but those who read it."""

    takes_back = retires = False

    def table(self) -> dict[str, Any]:
        return {"rotator": "password"}

    def accepts(self, value: str) -> bool:
        return True


class Turns(Dependent):
    """A PostgreSQL with users that take turns."""

    # The former user's password works until its turn comes again.
    retires = False
    rotator = "postgres"

    def __init__(self, database: Database) -> None:
        self._database = database
        self._users = new_users(database, 2)
        self.first = login(self._users[0])

    def table(self) -> dict[str, Any]:
        return rule(self._database, self._users, rotator=self.rotator)

    def accepts(self, value: str) -> bool:
        return accepts(self._database, value)


class Alone(Turns):
    """A PostgreSQL with one user."""

    retires = True
    has_gap = True
    rotator = "postgres-single"


class Clients(Dependent):
    """Clients that trust an authority, whose key is a secret, too."""

    first = None
    takes_back = retires = False

    def __init__(self) -> None:
        self._authority = authority()
        self.others = {"tls/ca": self._authority.text}  # type: ignore[misc]  # each has its own

    def table(self) -> dict[str, Any]:
        return {"rotator": "tls", "ca": "tls/ca", "names": [HOST]}

    def accepts(self, value: str) -> bool:
        return is_accepted(value, self._authority.pem)


class Revoking(Dependent):
    """Clients that trust an authority of a Vault, and ask it for what it has revoked."""

    first = None
    renews = False

    def __init__(self, server: Server) -> None:
        self._server = server

    def table(self) -> dict[str, Any]:
        where = {"address": self._server.address, "proxy": "", "auth": {"token": ROOT_TOKEN}}
        return {"rotator": "vault-pki", "role": "web", "common_name": HOST} | where

    def accepts(self, value: str) -> bool:
        return is_accepted(value, members_of(value)["chain"]) and not self._is_revoked(value)

    def _is_revoked(self, value: str) -> bool:
        from cryptography import x509

        listed = self._server.ok("GET", "pki/cert/crl")["data"]["certificate"]
        number = int(json.loads(value)["serial"].replace(":", ""), 16)
        return x509.load_pem_x509_crl(listed.encode()).get_revoked_certificate_by_serial_number(number) is not None


def is_accepted(value: str, trusted: str) -> bool:
    """Tell whether a client that trusts an authority accepts a server's certificate."""
    try:
        handshake(shown_by(value, server=True), client_of(trusted), HOST)
    except ssl.SSLError:
        return False
    return True


def offer_certificates(server: Server) -> None:
    """Let a server have an authority for x.test, with its role ``web``, unless it has."""
    if "pki/" in server.ok("GET", "sys/mounts")["data"]:
        return
    server.mount("pki", "pki")
    server.ok("POST", "pki/root/generate/internal", {"common_name": "x.test", "ttl": "24h"})
    role = {"allowed_domains": "x.test", "allow_subdomains": True, "max_ttl": "1h", "key_type": "ec", "key_bits": 256}
    server.ok("POST", "pki/roles/web", role)


ROTATORS = ("door", "command", "password", "postgres", "postgres-single", "tls", "vault-pki")


def dependent_of(rotator: str, folder: Path, fixture: Callable[[str], Any]) -> Dependent:
    """Return a new dependent.

    Args:
        rotator: One of :data:`ROTATORS`.
        folder: Where it can have files.
        fixture: Returns a fixture: ``postgres``, a database, and ``bao``, a Vault.
    """
    if rotator.startswith("postgres"):
        return (Turns if rotator == "postgres" else Alone)(fixture("postgres"))
    if rotator == "vault-pki":
        offer_certificates(fixture("bao"))
        return Revoking(fixture("bao"))
    if rotator in {"door", "command"}:
        return (Door if rotator == "door" else Program)(folder)
    return Clients() if rotator == "tls" else Readers()
