"""Backends to test, on a clock that stands still where that serves."""

from __future__ import annotations

import contextlib
import time

from collections.abc import Callable, Iterator
from typing import Any

import strongroom

from awsclient import REGION
from strongroom import SecretManager
from strongroom.contracts import DeleteRequest, ListRequest, ReadManyRequest, ReadManyResult, ReadRequest, WriteRequest
from strongroom.model import SecretName, SecretValue
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.place import resolve
from strongroom_aws.settings import AwsSettings
from waits import Waits

REPLICA, SECOND_REPLICA = "eu-west-1", "us-east-2"


@contextlib.contextmanager
def opened(url: str, waits: Waits | None = None, **settings: Any) -> Iterator[AwsBackend]:
    """Open a backend, on the test's clock if it has one, and close it in the end."""
    own = AwsSettings(**{"region": REGION, "endpoint": url} | settings)
    if waits is None:
        backend = AwsBackend.open(own)
    else:
        backend = AwsBackend(own, Asker(own, resolve(own), clock=waits.clock.monotonic, sleep=waits.sleep))
    try:
        yield backend
    finally:
        backend.close()


@contextlib.contextmanager
def managed(url: str, *, clock: Callable[[], float] = time.monotonic, **settings: Any) -> Iterator[SecretManager]:
    """Open a manager of such a backend, without a trail."""
    backend = {"type": "aws", "region": REGION, "endpoint": url} | settings
    with strongroom.open({"backend": "aws", "audit": "none", "backends": {"aws": backend}}, clock=clock) as manager:
        yield manager


def read(backend: AwsBackend, name: str = "app/key", version: str | None = None) -> str:
    """Return a value as text."""
    return backend.read(ReadRequest(name=SecretName(name), version=version)).value.reveal_text()


def read_many(backend: AwsBackend, *names: str) -> ReadManyResult:
    """Read several at once."""
    return backend.read_many(ReadManyRequest(names=tuple(SecretName(name) for name in names)))


def write(backend: AwsBackend, name: str = "app/key", value: str = "s3cret") -> str:
    """Write a value; return its version."""
    return backend.write(WriteRequest(name=SecretName(name), value=SecretValue(value))).version


def delete(backend: AwsBackend, name: str = "app/key") -> None:
    """Delete a secret."""
    backend.delete(DeleteRequest(name=SecretName(name)))


def list_names(backend: AwsBackend) -> list[str]:
    """Return all names."""
    return [str(name) for name in backend.list(ListRequest()).names]
