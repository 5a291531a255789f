"""Listing the versions of a secret."""

from __future__ import annotations

from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import pytest

from awsbackends import opened, read
from fakeaws import FakeSecretsManager
from moto_server import Emulator
from strongroom.contracts import VersionsRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
)
from strongroom.model import SecretName, SecretVersion
from strongroom_aws.backend import AwsBackend


def versions(backend: AwsBackend, name: str) -> tuple[SecretVersion, ...]:
    return backend.versions(VersionsRequest(name=SecretName(name))).versions


def written(client: Any, name: str, *values: str) -> list[str]:
    """Write values one after the other; return their versions."""
    made = [client.create_secret(Name=name, SecretString=values[0])["VersionId"]]
    return made + [client.put_secret_value(SecretId=name, SecretString=value)["VersionId"] for value in values[1:]]


def states(backend: AwsBackend, name: str) -> dict[str, str]:
    return {one.version: one.state for one in versions(backend, name)}


def test_the_emulator_and_the_fake_list_versions_alike(emulator: Emulator, aws: FakeSecretsManager) -> None:
    for url, client in ((emulator.url, emulator.client()), (aws.url, aws.client())):
        prefix = f"{token_hex(4)}/"
        made = written(client, f"{prefix}app", "1", "2", "3")
        with opened(url, prefix=prefix) as backend:
            found = versions(backend, "app")
            assert [one.version for one in found] == made
            assert [one.state for one in found] == ["superseded", "superseded", "current"]
            assert all(one.created is not None and one.created.tzinfo is UTC for one in found)
            with pytest.raises(SecretNotFoundError):
                versions(backend, "missing")


def test_more_versions_than_a_page_are_listed_whole(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    """Only the fake makes pages of versions."""
    aws.operations.version_limit = 1000
    made = written(client, "app", *map(str, range(230)))
    assert [one.version for one in versions(backend, "app")] == made
    assert aws.counts["ListSecretVersionIds"] == 3
    assert list(states(backend, "app").values()) == ["superseded"] * 229 + ["current"]
    assert read(backend, "app", made[0]) == "0"


def test_a_throttled_page_is_asked_for_again_by_itself(
    aws: FakeSecretsManager, backend: AwsBackend, client: Any
) -> None:
    aws.operations.page = 2
    made = written(client, "app", *"12345")
    aws.before("ListSecretVersionIds", lambda _: aws.fail("ListSecretVersionIds", "ThrottlingException", times=2))
    assert [one.version for one in versions(backend, "app")] == made
    tokens = [request.parameters.get("NextToken") for request in aws.sent("ListSecretVersionIds")]
    assert tokens[0] is None
    assert tokens[1] == tokens[2] == tokens[3] != tokens[4]


def test_a_page_that_cannot_be_had_fails_the_listing(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    aws.operations.page = 2
    written(client, "app", *"123")
    aws.before("ListSecretVersionIds", lambda _: aws.fail("ListSecretVersionIds", "InternalServiceError", times=None))
    with pytest.raises(BackendUnavailableError):
        versions(backend, "app")


def test_pages_that_repeat_are_an_error(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    written(client, "app", "1")

    def again(region: str, asked: dict[str, Any]) -> dict[str, Any]:
        return {"ARN": "arn", "Versions": [], "NextToken": "again"}

    aws.operations.ListSecretVersionIds = again
    with pytest.raises(BackendError, match="same page"):
        versions(backend, "app")


def test_versions_come_by_date_whatever_the_order_of_the_service(
    aws: FakeSecretsManager, backend: AwsBackend, client: Any
) -> None:
    made = written(client, "app", "1", "2", "3")
    for version, second in zip(made, (3, 1, 2), strict=True):
        aws.secret("app").versions[version].created = float(second)
    found = versions(backend, "app")
    assert [one.version for one in found] == [made[1], made[2], made[0]]
    assert found[0].created == datetime.fromtimestamp(1, UTC)
    assert [one.state for one in found] == ["superseded", "current", "superseded"]


def test_of_versions_of_one_instant_the_current_one_is_the_last(
    aws: FakeSecretsManager, backend: AwsBackend, client: Any
) -> None:
    made = written(client, "app", "1", "2", "3")
    secret = aws.secret("app")
    for version in secret.versions.values():
        version.created = 1.0
    secret.versions = dict(reversed(secret.versions.items()))
    assert [one.version for one in versions(backend, "app")] == made


def test_what_waits_to_become_current_is_left_out(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    made = written(client, "app", "1", "2")
    for labels in (["AWSPENDING"], ["STRONGROOM_CANDIDATE"], ["STRONGROOM_STAGED"]):
        client.put_secret_value(SecretId="app", SecretString=labels[0], VersionStages=labels)
    own = client.put_secret_value(SecretId="app", SecretString="x", VersionStages=["somebody-elses"])["VersionId"]
    assert states(backend, "app") == {made[0]: "superseded", made[1]: "current", own: "superseded"}


def test_a_current_version_that_a_rotation_has_left_its_label_on_is_listed(
    aws: FakeSecretsManager, backend: AwsBackend, client: Any
) -> None:
    first = written(client, "app", "1")[0]
    second = client.put_secret_value(
        SecretId="app", SecretString="2", VersionStages=["AWSPENDING", "AWSCURRENT", "STRONGROOM_CANDIDATE"]
    )["VersionId"]
    assert states(backend, "app") == {first: "superseded", second: "current"}


def test_a_secret_that_is_scheduled_for_deletion_says_so(
    aws: FakeSecretsManager, backend: AwsBackend, client: Any
) -> None:
    written(client, "app", "1")
    client.delete_secret(SecretId="app", RecoveryWindowInDays=7)
    with pytest.raises(SecretDeletedError) as caught:
        versions(backend, "app")
    assert caught.value.code == "deletion_scheduled"
    assert caught.value.when is not None


def test_a_secret_without_a_value_has_no_versions(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    client.create_secret(Name="empty")
    assert versions(backend, "empty") == ()


def test_who_may_list_versions_only_gets_them(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    made = written(client, "app", "1")
    aws.deny("DescribeSecret")
    assert [one.version for one in versions(backend, "app")] == made
    with pytest.raises(SecretNotFoundError):
        versions(backend, "missing")
    aws.deny("ListSecretVersionIds")
    with pytest.raises(AccessDeniedError):
        versions(backend, "app")
