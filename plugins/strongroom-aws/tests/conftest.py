"""What the tests of this distribution share."""

from __future__ import annotations

import os

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import moto_server

from awsbackends import Waits, opened
from awsclient import ACCESS_KEY, SECRET_KEY
from fakeaws import FakeSecretsManager
from strongroom_aws.backend import AwsBackend


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the credentials, the region, the proxies or the files of whoever runs it."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "BOTO_")) or name.lower().endswith("_proxy") or name == "REQUESTS_CA_BUNDLE":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


@pytest.fixture(scope="session")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[moto_server.Emulator]:
    """The emulator, for all tests of a process: use names, a region or an account of your own."""
    with moto_server.emulator(tmp_path_factory.mktemp("moto")) as started:
        yield started


@pytest.fixture
def aws() -> Iterator[FakeSecretsManager]:
    """A service of the test's own that behaves as AWS documents, and fails as the test tells it to."""
    with FakeSecretsManager() as started:
        yield started


@pytest.fixture
def client(aws: FakeSecretsManager) -> Any:
    """A plain client of that service."""
    return aws.client()


@pytest.fixture
def waits() -> Waits:
    """A clock for one backend."""
    return Waits()


@pytest.fixture
def backend(aws: FakeSecretsManager, waits: Waits) -> Iterator[AwsBackend]:
    """A backend of that service, on that clock."""
    with opened(aws.url, waits) as backend:
        yield backend
