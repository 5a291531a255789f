"""Runs as a process of its own: uses a store as one command line says."""

from __future__ import annotations

import os
import sys
import time

from pathlib import Path

from journal_worker import COMMANDS
from strongroom.contracts import (
    EncryptRequest,
    KeySource,
    LoadStateRequest,
    ReadRequest,
    RekeyRequest,
    RotateKeyRequest,
    SaveStateRequest,
    WriteRequest,
)
from strongroom.errors import StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom_local.backend import LocalBackend
from strongroom_local.plugin import LocalSettings


class FileKey(KeySource):
    """A key in a file, read anew each time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> SecretValue:
        return SecretValue(Path(self._path).read_text().removesuffix("\n"))

    def describe(self) -> str:
        return f"the file {self._path}"

    @property
    def path(self) -> str:
        return self._path


def of_its_own(prefix: str, number: int) -> WriteRequest:
    """Return the write of a name that no other process writes."""
    return WriteRequest(name=SecretName(f"{prefix}/{number}"), value=SecretValue(f"value {prefix} {number}"))


def write_many(backend: LocalBackend, prefix: str, count: str) -> None:
    """Write names of one's own, and print each after it is durable."""
    for number in range(int(count)):
        backend.write(
            WriteRequest(name=SecretName(f"{prefix}/{number}"), value=SecretValue(f"value {prefix} {number}"))
        )
        print(number, flush=True)


def write_until(backend: LocalBackend, prefix: str, stop: str) -> None:
    """Write names of one's own until a file appears, then print how many."""
    number = 0
    print("started", flush=True)
    while not os.path.exists(stop):
        backend.write(
            WriteRequest(name=SecretName(f"{prefix}/{number}"), value=SecretValue(f"value {prefix} {number}"))
        )
        number += 1
    print(number, flush=True)


def alternate(backend: LocalBackend, name: str, count: str) -> None:
    """Overwrite one name with long values that say how often."""
    for number in range(int(count)):
        backend.write(WriteRequest(name=SecretName(name), value=SecretValue(f"{number:06d}" * 500)))
        print(number, flush=True)


def save_states(backend: LocalBackend, prefix: str, count: str) -> None:
    """Save states of one's own and a common one, and print each after it is durable."""
    for number in range(int(count)):
        backend.save_state(SaveStateRequest(key=f"{prefix}/{number % 3}", state=b"%06d" % number * 500))
        backend.save_state(SaveStateRequest(key="common", state=prefix.encode() * 500))
        print(number, flush=True)
    found = backend.load_state(LoadStateRequest(key=f"{prefix}/{(int(count) - 1) % 3}")).state
    assert found == b"%06d" % (int(count) - 1) * 500


def _encrypt(backend: LocalBackend, key: str, content: str) -> None:
    request = EncryptRequest(key=SecretName(key), plaintext=SecretValue(content))
    print(backend.encrypt(request).ciphertext, flush=True)


def use_keys(backend: LocalBackend, prefix: str, count: str, gate: str) -> None:
    """Wait for a file; then use keys that others make at the same moment, and print each ciphertext."""
    print("ready", flush=True)
    while not os.path.exists(gate):
        time.sleep(0.001)
    for number in range(int(count)):
        _encrypt(backend, f"{prefix}/{number}", f"content {number}")


def rotate_keys(backend: LocalBackend, key: str, count: str) -> None:
    """Make a key, and version after version of it; print a ciphertext of each after it is durable."""
    for number in range(int(count)):
        _encrypt(backend, key, f"content {number}")
        backend.rotate_key(RotateKeyRequest(key=SecretName(key)))


def rekey(backend: LocalBackend, new_key: str, reencrypt: str) -> None:
    """Change the keys, and replace the key file a moment later."""
    source = FileKey(new_key)
    backend.rekey(RekeyRequest(new_key=source, reencrypt=reencrypt == "reencrypt"))
    time.sleep(0.05)  # the moment in which a reader finds the new header and the old key
    os.replace(new_key, sys.argv[2])


def limited(backend: LocalBackend, limit: str, size: str) -> None:
    """Overwrite a secret while no file may grow over a limit, and say what happened."""
    import resource

    sys.dont_write_bytecode = True  # or a module compiled from here on would be kept as far as the limit goes
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    name = SecretName("app/secret")
    try:
        backend.write(WriteRequest(name=name, value=SecretValue("n" * int(size))))
        print("written")
    except StrongroomError as error:
        print(error.code)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(len(backend.read(ReadRequest(name=name)).value))


def main(path: str, key_path: str, command: str, *arguments: str) -> None:
    """Open the store, do what the command says, close it."""
    backend = LocalBackend.open(LocalSettings(path=path, master_key=FileKey(key_path), busy_timeout=60.0))
    commands = (write_many, write_until, alternate, save_states, use_keys, rotate_keys, rekey, limited, *COMMANDS)
    {action.__name__: action for action in commands}[command](backend, *arguments)
    backend.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
