"""The fake of AWS fails, delays and denies as a test tells it to."""

from __future__ import annotations

import base64
import ssl
import time

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
    ResponseStreamingError,
    SSLError,
)
from botocore.session import Session

from awsclient import error_code
from certificates import Authority
from fakeaws import FakeSecretsManager


class TestFaults:
    def test_an_error_comes_so_often_and_for_whom_it_is_meant(self, aws: FakeSecretsManager, client: Any) -> None:
        for name in ("one", "two"):
            client.create_secret(Name=name, SecretString=name)
        aws.fail("GetSecretValue", "ThrottlingException", times=2, message="Rate exceeded", name="one")
        assert client.get_secret_value(SecretId="two")["SecretString"] == "two"
        for _ in range(2):
            assert error_code(client.get_secret_value, SecretId="one") == "ThrottlingException"
        assert client.get_secret_value(SecretId="one")["SecretString"] == "one"
        aws.fail("*", "InternalServiceError", times=None, region="eu-central-1")
        with pytest.raises(ClientError) as caught:
            client.list_secrets()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500
        assert aws.client(region="us-east-1").list_secrets()["SecretList"] == []
        aws.heal()
        assert len(client.list_secrets()["SecretList"]) == 2

    @pytest.mark.parametrize(
        ("how", "error"),
        [
            ("reset", (ConnectionClosedError, HTTPClientError)),
            ("close", (ConnectionClosedError, HTTPClientError)),
            ("cut", (ResponseStreamingError, HTTPClientError, ConnectionError)),
        ],
    )
    def test_an_answer_can_be_spoilt_on_the_way(
        self, aws: FakeSecretsManager, client: Any, how: str, error: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x" * 1000)
        aws.fail_transport("GetSecretValue", how)
        with pytest.raises(error):
            client.get_secret_value(SecretId="app")
        assert client.get_secret_value(SecretId="app")["SecretString"]
        assert aws.counts["GetSecretValue"] == 2

    @pytest.mark.parametrize("how", ["empty", "html"])
    def test_an_answer_without_json_has_no_value(self, aws: FakeSecretsManager, client: Any, how: str) -> None:
        client.create_secret(Name="app", SecretString="1")
        aws.fail_transport("GetSecretValue", how)
        assert "SecretString" not in client.get_secret_value(SecretId="app")

    def test_a_server_can_hang(self, aws: FakeSecretsManager) -> None:
        session = Session()
        once = Config(retries={"total_max_attempts": 1}, read_timeout=1)
        client = session.create_client("secretsmanager", "eu-central-1", endpoint_url=aws.url, config=once)
        aws.fail_transport("ListSecrets", "hang")
        with pytest.raises(ReadTimeoutError):
            client.list_secrets()
        assert client.list_secrets()["SecretList"] == []

    def test_an_answer_can_get_lost_after_the_work_is_done(self, aws: FakeSecretsManager, client: Any) -> None:
        seen: list[str] = []
        client.create_secret(Name="app", SecretString="1")
        aws.after("PutSecretValue", lambda request: seen.append(request.parameters["SecretString"]))
        with pytest.raises(HTTPClientError):
            client.put_secret_value(SecretId="app", SecretString="2")
        assert seen == ["2"]
        assert client.get_secret_value(SecretId="app")["SecretString"] == "2"

    def test_somebody_else_can_come_first(self, aws: FakeSecretsManager, client: Any) -> None:
        client.create_secret(Name="app", SecretString="1")
        other = aws.client()
        aws.before("GetSecretValue", lambda _: other.put_secret_value(SecretId="app", SecretString="2"))
        assert client.get_secret_value(SecretId="app")["SecretString"] == "2"

    def test_an_answer_can_be_late(self, aws: FakeSecretsManager, client: Any) -> None:
        aws.delay("ListSecrets", 0.2)
        start = time.monotonic()
        client.list_secrets()
        assert time.monotonic() - start >= 0.2

    def test_a_server_goes_down_and_comes_up_with_what_it_had(self, aws: FakeSecretsManager, client: Any) -> None:
        client.create_secret(Name="app", SecretString="1")
        aws.down()
        with pytest.raises(EndpointConnectionError):
            client.get_secret_value(SecretId="app")
        aws.up()
        assert client.get_secret_value(SecretId="app")["SecretString"] == "1"

    def test_requests_are_kept_with_what_they_carried(self, aws: FakeSecretsManager, client: Any) -> None:
        client.create_secret(Name="app", SecretBinary=b"1")
        client.get_secret_value(SecretId="app")
        made, read = aws.requests
        assert (made.operation, made.region, made.access_key) == (
            "CreateSecret",
            "eu-central-1",
            "AKIASTRONGROOMTESTED",
        )
        assert base64.b64decode(made.parameters["SecretBinary"]) == b"1"
        assert (read.name, read.peer) == ("app", made.peer)
        assert aws.sent("GetSecretValue") == [read]


class TestConnections:
    def test_it_can_speak_tls(self, tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        certificate, key = authority.issue("server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        with FakeSecretsManager(tls=context) as aws:
            assert aws.client(verify=str(authority.file)).list_secrets()["SecretList"] == []
            with pytest.raises(SSLError):
                aws.client().list_secrets()

    def test_clients_share_a_connection_and_many_come_at_once(self, aws: FakeSecretsManager, client: Any) -> None:
        client.create_secret(Name="app", SecretString="0")

        def put(number: int) -> None:
            client.put_secret_value(SecretId="app", SecretString=str(number), VersionStages=["AWSCURRENT"])
            client.list_secrets()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put, range(60)))
        assert aws.counts == {"CreateSecret": 1, "PutSecretValue": 60, "ListSecrets": 60}
        assert len({request.peer for request in aws.requests}) <= 10
        stages = sorted(client.describe_secret(SecretId="app")["VersionIdsToStages"].values())
        assert stages == [["AWSCURRENT"], ["AWSPREVIOUS"]]

    def test_the_environment_does_not_change_a_plain_client(
        self, aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("AWS_PROFILE", "AWS_USE_FIPS_ENDPOINT", "HTTP_PROXY", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
            monkeypatch.setenv(name, "true" if name.endswith("FIPS_ENDPOINT") else "http://127.0.0.1:1")
        assert aws.client().list_secrets()["SecretList"] == []


class TestPermissions:
    def test_an_operation_can_be_denied_for_a_name(self, aws: FakeSecretsManager, client: Any) -> None:
        for name in ("open", "closed"):
            client.create_secret(Name=name, SecretString=name)
        aws.deny("GetSecretValue", "clos*")
        with pytest.raises(ClientError, match="not authorized to perform: secretsmanager:GetSecretValue") as caught:
            client.get_secret_value(SecretId="closed")
        assert caught.value.response["Error"]["Code"] == "AccessDeniedException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error_code(client.get_secret_value, SecretId="closer") == "AccessDeniedException"
        answer = client.batch_get_secret_value(SecretIdList=["open", "closed"])
        assert [entry["Name"] for entry in answer["SecretValues"]] == ["open"]
        assert answer["Errors"][0]["ErrorCode"] == "AccessDeniedException"
        aws.allow()
        assert client.get_secret_value(SecretId="closed")["SecretString"] == "closed"

    def test_a_batch_can_fail_for_one_of_its_secrets(self, aws: FakeSecretsManager, client: Any) -> None:
        for name in ("one", "two"):
            client.create_secret(Name=name, SecretString=name)
        aws.fail_in_batch("DecryptionFailure", "two", times=1)
        answer = client.batch_get_secret_value(SecretIdList=["one", "two"])
        assert [entry["Name"] for entry in answer["SecretValues"]] == ["one"]
        assert [(entry["SecretId"], entry["ErrorCode"]) for entry in answer["Errors"]] == [("two", "DecryptionFailure")]
        assert client.batch_get_secret_value(SecretIdList=["two"])["Errors"] == []

    def test_keys_can_be_expired_or_unknown(self, aws: FakeSecretsManager, client: Any) -> None:
        aws.expired.add("AKIASTRONGROOMTESTED")
        assert error_code(client.list_secrets) == "ExpiredTokenException"
        assert error_code(aws.client("sts").get_caller_identity) == "ExpiredToken"
        aws.expired.clear()
        aws.unknown.add("AKIASTRONGROOMTESTED")
        assert error_code(client.list_secrets) == "UnrecognizedClientException"
        assert error_code(aws.client("sts").get_caller_identity) == "InvalidClientTokenId"
