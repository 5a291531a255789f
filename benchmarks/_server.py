"""A server of its own for a benchmark script: in another process, on loopback, with an empty home."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from collections.abc import Callable, Iterator


@contextlib.contextmanager
def running(command: Callable[[int], list[str]], ready: str) -> Iterator[str]:
    """Start a server, lend its URL, and stop it in the end.

    Args:
        command: Returns what starts it on a port.
        ready: The path that it answers when it is ready.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with running_at(port, command(port), ready):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def running_at(port: int, command: list[str], ready: str) -> Iterator[None]:
    """Start a server at a port of the caller's choice, and stop it in the end.

    Args:
        port: The port.
        command: What starts it there.
        ready: The path that it answers when it is ready.
    """
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ.get("PATH", os.defpath)}
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _wait_for(f"http://127.0.0.1:{port}{ready}")
            yield
        finally:
            process.terminate()
            process.wait()


def _wait_for(url: str) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(OSError), urllib.request.urlopen(url):
            return
        time.sleep(0.05)
    sys.exit("the server did not start")
