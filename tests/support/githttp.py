"""Repositories behind HTTP on loopback, for whoever knows the password: git's own program behind a small server."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import threading

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


class GitServer:
    """A running server.

    Attributes:
        address: Its address, without a path.
        host: Its host with the port, as git says it.
        passwords: Each user's password, by the repository; both may be changed.
        asked: The user of each request, ``None`` where none was named.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.host = f"127.0.0.1:{port}"
        self.address = f"http://{self.host}"
        self.passwords: dict[str, tuple[str, str]] = {}
        self.asked: list[str | None] = []

    def add(self, name: str, user: str, password: str) -> str:
        """Make an empty repository, and return its address."""
        repository = self.folder / name
        subprocess.run(["git", "init", "-q", "--bare", repository], check=True, env={"PATH": os.environ["PATH"]})
        subprocess.run(["git", "-C", repository, "config", "http.receivepack", "true"], check=True)
        self.passwords[name] = (user, password)
        return f"{self.address}/{name}"

    def knows(self, path: str, header: str) -> bool:
        """Tell whether a request may go on."""
        kind, _, encoded = header.partition(" ")
        user, _, password = base64.b64decode(encoded).decode().partition(":") if kind == "Basic" else ("", "", "")
        self.asked.append(user or None)
        return any(path.startswith(f"/{name}/") and (user, password) == one for name, one in self.passwords.items())


class _Handler(BaseHTTPRequestHandler):
    git: GitServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if not self.git.knows(path, self.headers.get("Authorization", "")):
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="repositories"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        head, _, content = self._answer(path, query, body).partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for field, value in fields.items():
            self.send_header(field, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self) -> None:
        self.do_GET()

    def _answer(self, path: str, query: str, body: bytes) -> bytes:
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.git.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "somebody",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=True)
        return done.stdout

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def git_server(folder: Path) -> Iterator[GitServer]:
    """Start a server for repositories in a folder, and stop it in the end; skip the test where there is no git."""
    if shutil.which("git") is None:
        if os.environ.get("STRONGROOM_REQUIRE_ALL"):
            pytest.fail("git is missing: apt install git")
        # A copy of the sources may be tested where there is none; where everything is required, it has failed above.
        pytest.skip("needs git: apt install git")

    class Handler(_Handler):
        pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Handler.git = GitServer(folder, server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield Handler.git
        server.shutdown()
        thread.join(30)
