"""Which node of a cluster is asked: the one that worked last, the one it sends us to, or another one."""

from __future__ import annotations

import threading

from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

from urllib3 import HTTPConnectionPool

from strongroom.errors import BackendError
from strongroom_vault.pools import drop_idle, open_pool
from strongroom_vault.target import Target
from strongroom_vault.tls import Contexts

MAX_FOUND: Final = 16
"""How many nodes that are not configured are remembered."""


class Node:
    """One server, and the connections to it.

    Attributes:
        url: Its URL, without final slash.
        pool: The connections.
        before: What comes before the path of a request.
        host: Its name or address; for a Unix socket, its path.
        port: Its port, if it has one.
        name: Both, for people.
    """

    __slots__ = ("before", "host", "name", "pool", "port", "url")

    def __init__(self, url: str, target: Target, contexts: Contexts | None) -> None:
        parts = urlsplit(url)
        self.url = url
        self.pool: HTTPConnectionPool = open_pool(url, target, contexts)
        self.host = parts.path if parts.scheme == "unix" else str(parts.hostname)
        self.port = None if parts.scheme == "unix" else parts.port or {"http": 80, "https": 443}[parts.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.name = self.host if self.port is None else f"{host}:{self.port}"
        self.before = "" if parts.scheme == "unix" else parts.path
        if parts.scheme == "http" and self.pool.proxy is not None:
            self.before = url  # a proxy wants to know the whole of it

    def renew(self) -> None:
        """Close the connections that nobody uses."""
        drop_idle(self.pool)


class Nodes:
    """The nodes that are known. Threads may share it.

    Args:
        target: Which are configured, and how they are reached.

    Raises:
        ConfigurationError: A file that TLS needs is not usable.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self._contexts: Contexts | None = None
        # A signal's handler may ask while its own thread is in here.
        self._lock = threading.RLock()
        self._found: dict[str, Node] = {}
        self.configured = tuple(self._open(url) for url in target.addresses)
        self.current = self.configured[0]
        """The configured one that is asked first."""
        self.active: Node | None = None
        """Where writes are sent, once a node has sent one there."""

    def failed(self, node: Node) -> None:
        """Ask another node from now on, if this is the one that is asked."""
        if self.active is node:
            self.active = None
        if self.current is node:
            self.current = self.after(node)

    def after(self, node: Node) -> Node:
        """Return the configured node that comes after one; the first one after one that is not configured."""
        if node not in self.configured:
            return self.configured[0]
        return self.configured[(self.configured.index(node) + 1) % len(self.configured)]

    def redirected(self, node: Node, path: str, location: str) -> Node:
        """Return the node to which another one sends us.

        Args:
            node: The other one.
            path: The path that was asked for.
            location: Where it says that this is.

        Raises:
            BackendError: It is not to be followed: redirects are off, it leaves TLS, or it is another path.
        """
        if not self._target.redirects:
            raise BackendError(
                f"{node.name} sends us to another node, and redirects are off",
                hint="set redirects = true, or the address of the active node",
            )
        try:
            parts = urlsplit(urljoin(node.url + path, location))
            port = f":{parts.port}" if parts.port else ""
        except ValueError:
            parts, port = urlsplit(""), ""
        wanted, there = unquote(path.partition("?")[0]), unquote(parts.path)
        if parts.scheme not in ("http", "https") or not parts.hostname or not there.endswith(wanted):
            raise BackendError(f"{node.name} sends us to what is no node of its cluster", hint="check the address")
        if parts.scheme == "http" and node.url.startswith("https"):
            raise BackendError(
                f"{node.name} sends us from TLS to plain HTTP, which would show the token",
                hint="correct api_addr in the server's configuration",
            )
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return self._known(f"{parts.scheme}://{host}{port}{there.removesuffix(wanted)}")

    def renew(self) -> None:
        """Close the connections that nobody uses."""
        for node in (*self.configured, *self._found.values()):
            node.renew()

    def close(self) -> None:
        """Close all connections."""
        for node in (*self.configured, *self._found.values()):
            node.pool.close()

    def _known(self, url: str) -> Node:
        with self._lock:
            for node in (*self.configured, *self._found.values()):
                if node.url == url:
                    return node
            if len(self._found) >= MAX_FOUND:
                self._found.pop(next(iter(self._found)))
            self._found[url] = found = self._open(url)
            return found

    def _open(self, url: str) -> Node:
        if self._contexts is None and url.startswith("https"):
            self._contexts = Contexts(self._target.tls)
        return Node(url, self._target, self._contexts)
