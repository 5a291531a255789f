"""The servers of the chaos test of outages, each behind proxies that do harm, and what they hold in the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from awsclient import REGION
from baocluster import Cluster
from faultproxy import FaultProxy
from moto_server import Emulator
from outagehistory import Place

UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
ACCOUNT = "123456789012"


class Site(ABC):
    """A service and what can go wrong with it.

    Attributes:
        name: What it is called here; its secrets are in a folder of this name.
        proxies: What stands before it.
        deletes: Whether deletes are part of the test.
    """

    name: str
    deletes = False

    def __init__(self, proxies: list[FaultProxy]) -> None:
        self.proxies = proxies

    @abstractmethod
    def settings(self, process: str) -> dict[str, Any]:
        """Return the backend's settings."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether the service itself takes writes, past everything that stands before it."""

    @abstractmethod
    def content(self, refused: set[str]) -> tuple[dict[Place, list[str]], set[str]]:
        """Return the values of all versions, oldest first, and the values of those that are deleted."""

    def faults(self) -> dict[str, Callable[[], object]]:
        """Return what makes each fault begin."""
        return {
            "refuses": lambda: [proxy.refuse() for proxy in self.proxies],
            "black-hole": lambda: self._all(blackhole=True),
            "resets": lambda: self._all(reset=True),
            "lost-answers": lambda: self._all(cut_after=0),
            "half-answers": lambda: self._all(cut_after=200),
            "says-503": self._say_unavailable,
        }

    def _all(self, **faults: Any) -> None:
        for proxy in self.proxies:
            for what, value in faults.items():
                setattr(proxy, what, value)

    def _say_unavailable(self) -> None:
        self._all(answer=UNAVAILABLE)
        for proxy in self.proxies:
            proxy.drop_live()

    def heal(self) -> None:
        """End every fault."""
        for proxy in self.proxies:
            proxy.heal()
            proxy.listen()


class VaultSite(Site):
    """The cluster."""

    name = "vault"
    deletes = True

    def __init__(self, bao: Cluster) -> None:
        super().__init__([node.proxy for node in bao.nodes])
        self._bao = bao

    def settings(self, process: str) -> dict[str, Any]:
        return {
            "type": "vault",
            "address": self._bao.addresses,
            "auth": {"method": "token", "token": self._bao.token},
            "timeout": "2s",
            "connect_timeout": "500ms",
            "attempts": 2,
            # What one of these processes has accepted another one may make, or itself in a later life; any other
            # node shows that some milliseconds late.
            "reads": "active",
        }

    def faults(self) -> dict[str, Callable[[], object]]:
        return super().faults() | {
            "dead-leader": self._bao.kill_leader,
            "sealed-leader": self._bao.seal_leader,
            "no-majority": lambda: [node.kill() for node in self._bao.nodes[:2]],
            "paused-leader": lambda: self._bao.leader().pause(),
        }

    def answers(self) -> bool:
        return all(node.server.call("GET", "sys/health")[0] in {200, 429} for node in self._bao.nodes)

    def heal(self) -> None:
        for node in self._bao.nodes:
            if node.process is not None:
                node.resume()
        super().heal()
        self._bao.heal()

    def content(self, refused: set[str]) -> tuple[dict[Place, list[str]], set[str]]:
        made: dict[Place, list[str]] = {}
        deleted: set[str] = set()
        for name in self._names(f"{self.name}/"):
            api = self._bao.api
            versions = api.ok("GET", f"secret/metadata/{name}")["data"]["versions"]
            gone = [number for number, one in versions.items() if one["deletion_time"]]
            if gone:
                api.ok("POST", f"secret/undelete/{name}", {"versions": [int(number) for number in gone]})
            for number in sorted(versions, key=int):
                value = api.ok("GET", f"secret/data/{name}?version={number}")["data"]["data"]["value"]
                made.setdefault((self.name, name), []).append(value)
                if number in gone:
                    deleted.add(value)
        return made, deleted

    def _names(self, folder: str) -> Iterator[str]:
        status, found = self._bao.api.call("LIST", f"secret/metadata/{folder}")
        for key in found["data"]["keys"] if status == 200 else ():
            if key.endswith("/"):
                yield from self._names(folder + key)
            else:
                yield folder + key


class AwsSite(Site):
    """The emulator. It keeps drafts of conditional writes that were refused, so these do not count as made."""

    name = "aws"

    def __init__(self, aws: Emulator, proxy: FaultProxy) -> None:
        super().__init__([proxy])
        self._aws = aws
        self._proxy = proxy

    def settings(self, process: str) -> dict[str, Any]:
        return {
            "type": "aws",
            "region": REGION,
            "account": ACCOUNT,
            "endpoint": f"http://127.0.0.1:{self._proxy.port}",
            "timeout": "2s",
            "connect_timeout": "500ms",
            "read_timeout": "1s",
        }

    def answers(self) -> bool:
        return bool(self._aws.client().list_secrets(MaxResults=1))

    def content(self, refused: set[str]) -> tuple[dict[Place, list[str]], set[str]]:
        made: dict[Place, list[str]] = {}
        client = self._aws.client()
        for page in client.get_paginator("list_secrets").paginate():
            for name in (one["Name"] for one in page["SecretList"]):
                made[self.name, name] = list(self._values(client, name, refused))
        return made, set()

    def _values(self, client: Any, name: str, refused: set[str]) -> Iterator[str]:
        versions = client.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]
        for one in sorted(versions, key=lambda one: one["CreatedDate"]):
            value = client.get_secret_value(SecretId=name, VersionId=one["VersionId"])["SecretString"]
            if value not in refused or "AWSCURRENT" in one["VersionStages"]:
                yield value
