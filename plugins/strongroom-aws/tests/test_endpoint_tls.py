"""Who is trusted: what the settings say decides, for the service and for STS alike."""

from __future__ import annotations

import socket

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from awsbackends import read
from awsclient import REGION
from awstls import SecureAws
from certificates import Authority
from strongroom.errors import StrongroomError
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.place import resolve
from strongroom_aws.settings import AwsSettings

ROLE = "arn:aws:iam::123456789012:role/reader"
REFUSED = "BackendError tls_failed"


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


@pytest.fixture
def secure(ours: Authority) -> Iterator[SecureAws]:
    with SecureAws(ours) as started:
        started.put("a", "found")
        yield started


def attempt(server: SecureAws, host: str = "127.0.0.1", **settings: Any) -> str:
    """Read, and return the value, or the error's class and code."""
    configured = AwsSettings(region=REGION, endpoint=f"https://{host}:{server.port}", **settings)
    backend = AwsBackend(configured, Asker(configured, resolve(configured), sleep=lambda _: None))
    try:
        return read(backend, "a")
    except StrongroomError as error:
        return f"{type(error).__name__} {error.code}"
    finally:
        backend.close()


@pytest.mark.parametrize("role", [None, ROLE])
@pytest.mark.parametrize("requests_bundle", [None, "ours", "theirs"])
@pytest.mark.parametrize("aws_bundle", [None, "ours", "theirs"])
@pytest.mark.parametrize("setting", [None, "ours", "theirs"])
def test_the_settings_decide_then_the_variable_of_aws_then_that_of_requests(
    secure: SecureAws,
    ours: Authority,
    theirs: Authority,
    monkeypatch: pytest.MonkeyPatch,
    setting: str | None,
    aws_bundle: str | None,
    requests_bundle: str | None,
    role: str | None,
) -> None:
    files = {"ours": str(ours.file), "theirs": str(theirs.file)}
    for name, which in (("AWS_CA_BUNDLE", aws_bundle), ("REQUESTS_CA_BUNDLE", requests_bundle)):
        if which is not None:
            monkeypatch.setenv(name, files[which])
    ca_file = files[setting] if setting is not None else None
    trusted = (setting or aws_bundle or requests_bundle) == "ours"
    found = attempt(secure, role_arn=role, ca_file=ca_file)
    assert found == ("found" if trusted else REFUSED)
    if not trusted:
        # One handshake, whatever asks: it is no outage that may pass.
        assert secure.handshakes == 1
        assert secure.requests == []


def test_another_servers_certificate_is_refused(
    secure: SecureAws, ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = socket.getaddrinfo

    def all_is_here(host: Any, *more: Any, **others: Any) -> Any:
        return asked("127.0.0.1" if host == "aws.example.com" else host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", all_is_here)
    assert attempt(secure, "localhost", ca_file=str(ours.file)) == "found"
    secure.handshakes = 0
    assert attempt(secure, "aws.example.com", ca_file=str(ours.file)) == REFUSED
    assert secure.handshakes == 1


@pytest.mark.parametrize("how", ["ca_file", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_file_of_authorities_that_is_not_there_is_a_configuration_error(
    secure: SecureAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    gone = str(tmp_path / "gone")
    if how != "ca_file":
        monkeypatch.setenv(how, gone)
    assert attempt(secure, **({how: gone} if how == "ca_file" else {})).startswith("ConfigurationError")
    assert secure.handshakes == 0
