"""A real Prometheus, and its tool, from Debian's package."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


def program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``; without it the test is skipped, where that may be."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("STRONGROOM_REQUIRE_ALL"):
            pytest.fail(f"{name} is missing: apt install prometheus")
        # PyPI does not carry it; where everything is required, it has failed above.
        pytest.skip("needs prometheus: apt install prometheus")
    return path


class Prometheus:
    """One that runs.

    Args:
        port: Its port on loopback.
    """

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what its API answers."""
        with urllib.request.urlopen(f"{self._url}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float | None:
        """Return a query's first value; ``None`` without one."""
        found = self.ask("/api/v1/query", query=query)["result"]
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, query: str, seconds: float = 60.0) -> float:
        """Return a query's first value, as soon as there is one that is not zero."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = self.value(query)
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{query} has no value; targets: {self.ask('/api/v1/targets')}")


@contextmanager
def running(folder: Path, target: str, token_file: Path, rules: Path | None = None) -> Iterator[Prometheus]:
    """Run a Prometheus that scrapes an agent every other second.

    Args:
        folder: An empty one for its data.
        target: The agent's address.
        token_file: A caller's token.
        rules: A file of alert rules.
    """
    command = program("prometheus")
    config = {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)] if rules else [],
        "scrape_configs": [
            {
                "job_name": "strongroom",
                "authorization": {"credentials_file": str(token_file)},
                "static_configs": [{"targets": [target]}],
            }
        ],
    }
    path = folder / "prometheus.yml"
    path.write_text(json.dumps(config))  # YAML takes JSON
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            command,
            f"--config.file={path}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        cwd=folder,
        stdout=log,
        stderr=log,
    )
    try:
        _wait(f"http://127.0.0.1:{port}/-/ready", process)
        yield Prometheus(port)
    finally:
        process.terminate()
        process.wait(30)
        log.close()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, "Prometheus has ended"
            time.sleep(0.1)
    raise AssertionError("Prometheus did not start")
