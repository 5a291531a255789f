"""What tracing costs: a cold read with and without it, and a cached read beside a collector that is dead.

Each way runs in a process of its own, one after the other in each round, so that all meet the same machine:
without OpenTelemetry; with its SDK and a batch processor that sends to a collector on loopback; with the same
and a port at which nobody listens; and with one whose queue is full, so that every packet is swallowed. The
cold read goes to a local store without cache and trail. While cached reads are timed one by one, another thread
makes 200 cold reads a second, so that spans are made and sent meanwhile. Needs `strongroom-otel` and
`strongroom-local`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _common import machine

WAYS = ("off", "traced", "refused", "swallowed")
COLD_READS = 3_000
CACHED_READS = 200_000


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes everything and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # noqa: N802  # the name is the standard library's
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Say nothing."""


def exporting(endpoint: str) -> Any:
    """Start the exporter as the command does."""
    from strongroom.discovery import Catalogue, Kind
    from strongroom_otel.plugin import OtelSettings

    spec = Catalogue().load(Kind.TELEMETRY_EXPORTER, "otel")
    exporter = spec.open(OtelSettings(endpoint=endpoint))
    exporter.start()
    return exporter


def measured(folder: str, endpoint: str | None) -> dict[str, float]:
    """Return the figures of one way, in microseconds."""
    exporter = exporting(endpoint) if endpoint is not None else None
    import strongroom

    table = {"type": "local", "path": f"{folder}/secrets.db", "master_key": {"file": f"{folder}/master.key"}}
    config = {"audit": "none", "backends": {"local": table}}
    with strongroom.open(config | {"cache": {"policy": "none"}}) as cold, strongroom.open(config) as cached:
        cold.set("db/password", "s3cret")
        times = [_timed(cold) for _ in range(COLD_READS)]
        cached.get("db/password")
        over = threading.Event()

        def busy() -> None:
            while not over.wait(0.005):
                cold.get("db/password")

        thread = threading.Thread(target=busy)
        thread.start()
        hits = sorted(_timed(cached) for _ in range(CACHED_READS))
        over.set()
        thread.join()
    begun = time.perf_counter()
    if exporter is not None:
        exporter.close(1.5)
    return {
        "cold": statistics.median(times) / 1e3,
        "cached_p50": hits[len(hits) // 2] / 1e3,
        "cached_p99": hits[len(hits) * 99 // 100] / 1e3,
        "cached_p999": hits[len(hits) * 999 // 1000] / 1e3,
        "end_ms": (time.perf_counter() - begun) * 1e3,
    }


def _timed(manager: Any) -> int:
    begun = time.perf_counter_ns()
    manager.get("db/password")
    return time.perf_counter_ns() - begun


@contextlib.contextmanager
def collectors() -> Iterator[dict[str, str]]:
    """Provide an endpoint for each way; it is empty for the one without."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        yield {
            "off": "",
            "traced": f"http://127.0.0.1:{server.server_address[1]}",
            "refused": "http://127.0.0.1:9",
            "swallowed": f"http://127.0.0.1:{full.getsockname()[1]}",
        }
    server.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="how many rounds (5)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--one", nargs=2, metavar=("FOLDER", "ENDPOINT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one[0], options.one[1] or None)))
        return
    rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    with collectors() as endpoints, tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("strongroom")), "init", folder]
        subprocess.run(command, check=True, capture_output=True)
        for _ in range(options.repeat):
            for way in WAYS:
                own = [sys.executable, __file__, "--one", folder, endpoints[way]]
                done = subprocess.run(own, capture_output=True, text=True, check=True)
                rounds[way].append(json.loads(done.stdout))
    figures = {
        way: {key: statistics.median(one[key] for one in found) for key in found[0]} for way, found in rounds.items()
    }
    if options.json:
        print(json.dumps({"machine": machine(), "figures": figures}, indent=2))
        return
    print(f"tracing, medians of {options.repeat} rounds, in microseconds (the end in milliseconds)\n{machine()}\n")
    print(f"{'way':10} {'cold read':>10} {'cached p50':>11} {'p99':>8} {'p99.9':>8} {'end, ms':>9}")
    for way, one in figures.items():
        print(
            f"{way:10} {one['cold']:10.1f} {one['cached_p50']:11.3f} {one['cached_p99']:8.3f}"
            f" {one['cached_p999']:8.3f} {one['end_ms']:9.0f}"
        )


if __name__ == "__main__":
    main()
