"""The fakes of STS, machines and containers give credentials to plain botocore."""

from __future__ import annotations

import time
import urllib.error
import urllib.request

from typing import Any

import pytest

from botocore.session import Session

from awsclient import error_code
from fakeaws import FakeSecretsManager
from fakemetadata import FakeMetadata

ROLE = "arn:aws:iam::222222222222:role/reader"


class TestSts:
    def test_given_keys_work_until_they_run_out(self, aws: FakeSecretsManager) -> None:
        aws.sts.lifetime = 60
        answer = aws.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="me", ExternalId="x-1")
        sent = aws.sent("AssumeRole")[0].parameters
        assert (sent["RoleArn"], sent["RoleSessionName"], sent["ExternalId"]) == (ROLE, "me", "x-1")
        keys = answer["Credentials"]
        assert keys["Expiration"].timestamp() == pytest.approx(time.time() + 60, abs=30)
        assert keys["AccessKeyId"] == "ASIAFAKE000000000001"
        named = {"aws_access_key_id": keys["AccessKeyId"], "aws_secret_access_key": keys["SecretAccessKey"]}
        client = aws.client(**named, aws_session_token=keys["SessionToken"])
        client.list_secrets()
        assert error_code(aws.client(**named).list_secrets) == "UnrecognizedClientException"
        aws.sts.issued[keys["AccessKeyId"]].expires = time.time()
        assert error_code(client.list_secrets) == "ExpiredTokenException"

    def test_a_role_can_demand_its_external_id_or_be_refused(self, aws: FakeSecretsManager) -> None:
        sts = aws.client("sts")
        aws.sts.external_ids[ROLE] = "x-1"
        assert error_code(sts.assume_role, RoleArn=ROLE, RoleSessionName="me") == "AccessDenied"
        sts.assume_role(RoleArn=ROLE, RoleSessionName="me", ExternalId="x-1")
        aws.sts.refused_roles.add(ROLE)
        assert error_code(sts.assume_role, RoleArn=ROLE, RoleSessionName="me", ExternalId="x-1") == "AccessDenied"
        aws.fail("AssumeRole", "Throttling", 400)
        assert error_code(sts.assume_role, RoleArn=ROLE, RoleSessionName="me") == "Throttling"

    def test_boto_assumes_a_role_with_a_web_identity(
        self, aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        (tmp_path / "identity").write_text("good")
        aws.sts.identity_tokens = {"good"}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "identity"))
        monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
        client = Session().create_client("secretsmanager", "eu-central-1")
        client.list_secrets()
        assert aws.requests[-1].access_key == "ASIAFAKE000000000001"
        assert aws.sent("AssumeRoleWithWebIdentity")[0].parameters["WebIdentityToken"] == "good"


class TestMetadata:
    def keys(self, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> Any:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return Session().get_credentials()

    def test_a_machine_gives_the_keys_of_its_role(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with FakeMetadata() as metadata:
            found = self.keys(monkeypatch, metadata.machine)
            assert (found.method, found.access_key) == ("iam-role", "ASIAMETA000000000001")
            assert metadata.requests == {"token": 1, "role": 1, "credentials": 1}

    def test_a_container_gives_keys_for_its_token_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with FakeMetadata() as metadata:
            metadata.container_token = "Bearer x"
            found = self.keys(monkeypatch, metadata.container)
            assert (found.method, found.access_key) == ("container-role", "ASIAMETA000000000001")
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(metadata.container["AWS_CONTAINER_CREDENTIALS_FULL_URI"])

    def test_keys_that_run_out_soon_are_fetched_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with FakeMetadata() as metadata:
            metadata.lifetime = 60
            found = self.keys(monkeypatch, metadata.container)
            assert found.get_frozen_credentials().access_key != found.get_frozen_credentials().access_key

    def test_it_can_fail_and_come_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with FakeMetadata() as metadata:
            metadata.fail("credentials", 500, times=1)
            monkeypatch.setenv("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "2")
            assert self.keys(monkeypatch, metadata.machine).access_key == "ASIAMETA000000000001"
            assert metadata.requests["credentials"] == 2
            metadata.role = ""
            assert Session().get_credentials() is None
