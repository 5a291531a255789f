"""A fake of what gives credentials to machines and containers: EC2 instance metadata and the ECS and EKS agents."""

from __future__ import annotations

import json
import threading
import time

from collections import Counter
from datetime import UTC, datetime

from fakeloopback import Incoming, Loopback, Reply

ROLE_PATH = "/latest/meta-data/iam/security-credentials/"


class FakeMetadata(Loopback):
    """Instance metadata (IMDSv2 only) and a container's credentials, on one port.

    The keys it gives are numbered: ``ASIAMETA000000000001`` and so on. ``requests`` counts by kind: ``token``,
    ``role``, ``credentials``, ``region``, ``container`` and ``other``.
    """

    def __init__(self) -> None:
        self.role = "machine"
        """The role of the machine; an empty text for a machine that has none."""
        self.lifetime = 3600.0
        """For how many seconds keys live."""
        self.region = "eu-central-1"
        self.container_token: str | None = None
        """The ``Authorization`` that a container must send, if any."""
        self.requests: Counter[str] = Counter()
        self.issued: list[str] = []
        """The access keys that were given."""
        self.latency = 0.0
        """Seconds before each answer."""
        self._failures: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        super().__init__()

    @property
    def machine(self) -> dict[str, str]:
        """The environment of a process on such a machine."""
        return {"AWS_EC2_METADATA_SERVICE_ENDPOINT": self.url, "AWS_EC2_METADATA_DISABLED": "false"}

    @property
    def container(self) -> dict[str, str]:
        """The environment of a process in such a container."""
        token = {} if self.container_token is None else {"AWS_CONTAINER_AUTHORIZATION_TOKEN": self.container_token}
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.url}/container/credentials", **token}

    def fail(self, kind: str, status: int = 500, times: int = 1) -> None:
        """Answer so many requests of a kind (see above) with this status."""
        with self._lock:
            self._failures.setdefault(kind, []).extend([status] * times)

    def respond(self, incoming: Incoming) -> Reply:
        """Return the answer to a request."""
        kind = _kind(incoming)
        with self._lock:
            self.requests[kind] += 1
            failures = self._failures.get(kind)
            status = failures.pop(0) if failures else 0
        self.stopping.wait(self.latency)
        if status:
            return _text(status, "failed, for a test")
        if kind == "container":
            refused = self.container_token is not None and incoming.headers.get("Authorization") != self.container_token
            return _text(401, "no") if refused else self._credentials()
        if kind == "token":
            wanted = "x-aws-ec2-metadata-token-ttl-seconds" in incoming.headers
            return _text(200, "token-of-the-machine") if wanted else _text(400, "no lifetime")
        if incoming.headers.get("x-aws-ec2-metadata-token") != "token-of-the-machine":
            return _text(401, "no token")
        return self._metadata(kind, incoming.path)

    def _metadata(self, kind: str, path: str) -> Reply:
        if kind == "region":
            return _text(200, f"{self.region}a")
        if kind == "role" and self.role:
            return _text(200, self.role)
        if kind == "credentials" and path == ROLE_PATH + self.role:
            return self._credentials()
        return _text(404, "not here")

    def _credentials(self) -> Reply:
        with self._lock:
            key = f"ASIAMETA{len(self.issued) + 1:012d}"
            self.issued.append(key)
        document = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "RoleArn": f"arn:aws:iam::123456789012:role/{self.role}",
            "AccessKeyId": key,
            "SecretAccessKey": f"secret-of-{key}",
            "Token": f"token-of-{key}",
            "Expiration": datetime.fromtimestamp(time.time() + self.lifetime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        return Reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _kind(incoming: Incoming) -> str:
    path = incoming.path
    if path == "/latest/api/token":
        return "token" if incoming.method == "PUT" else "other"
    if path.startswith(ROLE_PATH):
        return "role" if path == ROLE_PATH else "credentials"
    if path.startswith("/latest/meta-data/placement/availability-zone"):
        return "region"
    return "container" if path.startswith("/container") else "other"


def _text(status: int, body: str) -> Reply:
    return Reply(status, body.encode(), {"Content-Type": "text/plain"})
