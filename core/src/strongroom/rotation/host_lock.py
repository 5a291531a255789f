"""Keeps the processes of one host apart that rotate a name of a backend which compares nothing."""

from __future__ import annotations

import fcntl
import hashlib
import os

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.errors import ConfigurationError
from strongroom.model import SecretName
from strongroom.rotation.ledger import in_progress


@contextmanager
def alone_on_this_host(folder: str, address: str, name: SecretName) -> Iterator[None]:
    """Hold the lock of a name for as long as the ``with`` block lasts; the end of the process lets it go, too.

    Args:
        folder: Where the lock's file is: all who rotate the name have to use the same.
        address: What tells the backend from others.
        name: The secret's name.

    Raises:
        RotationError: Another process or thread holds it (code ``rotation_in_progress``).
        ConfigurationError: The file cannot be made.
    """
    which = hashlib.sha256(f"{address}\0{name}".encode()).hexdigest()[:16]
    path = os.path.join(folder, f".strongroom-rotation-{which}.lock")
    try:
        # Not inherited by what a rotator starts. The file stays: who removes it may remove another one's lock.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigurationError(
            f"the lock {path} cannot be made: {error.strerror}",
            name=name,
            hint="who rotates with `single_host = true` has to be able to write beside the configuration",
        ) from error
    process = os.getpid()
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise in_progress(name, "by another process of this host", "wait until that is done") from error
        try:
            yield
        finally:
            if os.getpid() == process:
                # A child that was forked meanwhile has the descriptor, too, and closing ours would not let go.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)
