"""Logging in with AWS IAM: what is signed, checked by an emulated STS as a server would have it checked."""

from __future__ import annotations

import base64
import json
import sys
import urllib.error
import urllib.request

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from moto.server import ThreadedMotoServer

from fakes import FakeVault
from logins import granted, keeper_of
from strongroom.errors import AuthenticationError, ConfigurationError
from strongroom.testing import assert_hidden, marker_value, report_of
from strongroom_vault.login.aws import signed_identity
from strongroom_vault.settings import AuthSettings

REGION = "us-east-1"
IAM = AuthSettings(method="aws")
PLAIN = {"Content-Type": "text/plain"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only what a test sets can be found."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "example-key")


@pytest.fixture(scope="module")
def sts() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def user(sts: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An identity whose signatures the emulated STS checks."""
    given = {"aws_access_key_id": "AKIAROOT", "aws_secret_access_key": "root", "region_name": REGION}
    iam = boto3.client("iam", endpoint_url=sts, **given)
    iam.create_user(UserName="web")
    allowed = {"Effect": "Allow", "Action": ["sts:*", "iam:*"], "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [allowed]}
    iam.put_user_policy(UserName="web", PolicyName="all", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="web")["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])
    post(f"{sts}/moto-api/reset-auth", b"0", PLAIN)
    yield
    post(f"{sts}/moto-api/reset-auth", b"1000000", PLAIN)
    post(f"{sts}/moto-api/reset", b"", PLAIN)


def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method="POST"), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def plain(fields: dict[str, str]) -> tuple[str, bytes, dict[str, list[str]]]:
    """Return URL, body and headers, as a server takes them out of a login."""
    url, body, headers = (base64.b64decode(fields[f"iam_request_{part}"]) for part in ("url", "body", "headers"))
    return url.decode(), body, json.loads(headers)


def sent_on(fields: dict[str, str], **changed: str) -> tuple[int, str]:
    """Send what was signed to STS, as a server does, apart from headers that the test changes."""
    url, body, headers = plain(fields)
    assert fields["iam_http_request_method"] == "POST"
    return post(url, body, {name: values[0] for name, values in headers.items()} | changed)


def test_sts_takes_what_was_signed_and_says_who_we_are(sts: str, user: None) -> None:
    status, answer = sent_on(signed_identity(IAM.replace(sts_endpoint=sts)))
    assert status == 200
    assert ":user/web</Arn>" in answer


@pytest.mark.parametrize("header", ["Authorization", "X-Vault-AWS-IAM-Server-ID", "X-Amz-Date"])
def test_sts_refuses_it_if_a_header_was_changed_on_the_way(sts: str, user: None, header: str) -> None:
    fields = signed_identity(IAM.replace(sts_endpoint=sts, header="vault.example.com"))
    assert sent_on(fields)[0] == 200
    right = plain(fields)[2][header][0]
    assert sent_on(fields, **{header: right[:-1] + ("0" if right[-1] != "0" else "1")})[0] == 403


def test_the_servers_name_is_signed() -> None:
    _, _, headers = plain(signed_identity(IAM.replace(header="vault.example.com")))
    assert headers["X-Vault-AWS-IAM-Server-ID"] == ["vault.example.com"]
    assert "x-vault-aws-iam-server-id" in headers["Authorization"][0]


@pytest.mark.parametrize(
    ("settings", "url", "region"),
    [
        ({}, "https://sts.amazonaws.com/", "us-east-1"),
        ({"region": "eu-west-1"}, "https://sts.eu-west-1.amazonaws.com/", "eu-west-1"),
        ({"region": "cn-north-1"}, "https://sts.cn-north-1.amazonaws.com.cn/", "cn-north-1"),
        ({"region": "eu-west-1", "sts_endpoint": "https://sts.example.com"}, "https://sts.example.com/", "eu-west-1"),
    ],
)
def test_where_it_goes_and_for_which_region_it_is_signed(settings: dict[str, Any], url: str, region: str) -> None:
    fields = signed_identity(IAM.replace(**settings))
    sent_to, body, headers = plain(fields)
    assert sent_to == url
    assert body == b"Action=GetCallerIdentity&Version=2011-06-15"
    assert f"/{region}/sts/aws4_request" in headers["Authorization"][0]
    assert "host" in headers["Authorization"][0]


def test_temporary_credentials_send_their_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session")
    _, _, headers = plain(signed_identity(IAM))
    assert headers["X-Amz-Security-Token"] == ["the-session"]


def test_a_login_sends_it_with_the_role(vault: FakeVault) -> None:
    vault.answer("POST", "/v1/auth/cloud/login", 200, granted("new"))
    assert keeper_of(vault, IAM.replace(mount="cloud", role="web")).current() == "new"
    (request,) = vault.requests
    assert request.json["role"] == "web"
    assert plain(request.json)[0] == "https://sts.amazonaws.com/"


def test_a_refusal_is_bad_credentials_and_shows_none(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = marker_value().replace("é", "e")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", marker)
    vault.answer("POST", "/v1/auth/aws/login", 400, {"errors": ["entry for role not found"]})
    with pytest.raises(AuthenticationError) as caught:
        keeper_of(vault, IAM).current()
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")


def test_without_credentials_nobody_is_asked(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigurationError, match="no AWS credentials"):
        keeper_of(vault, IAM).current()
    assert vault.requests == []


def test_half_a_pair_of_keys_is_an_error_that_shows_nothing(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = marker_value()
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", marker)
    with pytest.raises(ConfigurationError) as caught:
        keeper_of(vault, IAM).current()
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")


def test_without_botocore_the_error_says_what_to_install(vault: FakeVault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(ConfigurationError) as caught:
        keeper_of(vault, IAM).current()
    assert "strongroom-vault[aws]" in caught.value.hint
    assert vault.requests == []
