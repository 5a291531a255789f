"""Which versions are said to be current, and what that costs."""

from __future__ import annotations

import pytest

from awsbackends import REPLICA, Waits, delete, opened, read_many, write
from fakeaws import FakeSecretsManager
from strongroom.contracts import CurrentVersionsRequest, CurrentVersionsResult
from strongroom.errors import AuthenticationError, BackendUnavailableError
from strongroom.model import SecretName
from strongroom.testing import assert_hidden, marker_value
from strongroom_aws.backend import AwsBackend
from strongroom_aws.polling import ONE_BY_ONE


def look(backend: AwsBackend, *names: str) -> CurrentVersionsResult:
    return backend.current_versions(CurrentVersionsRequest(names=tuple(map(SecretName, names))))


def made(aws: FakeSecretsManager, count: int) -> dict[str, str]:
    """Create secrets; return their versions by name."""
    client = aws.client()
    names = [f"app/{number:03}" for number in range(count)]
    return {name: client.create_secret(Name=name, SecretString=name)["VersionId"] for name in names}


def told(aws: FakeSecretsManager, start: int) -> list[str]:
    return [request.operation for request in aws.requests[start:]]


@pytest.mark.parametrize(
    ("count", "calls"),
    [
        (0, []),
        (1, ["DescribeSecret"]),
        (20, ["BatchGetSecretValue"]),
        (41, ["BatchGetSecretValue", "BatchGetSecretValue", "DescribeSecret"]),
        (100, ["BatchGetSecretValue"] * 5),
    ],
)
def test_a_twentieth_of_a_request_is_all_that_a_name_takes(
    aws: FakeSecretsManager, count: int, calls: list[str]
) -> None:
    versions = made(aws, count)
    with opened(aws.url) as backend:
        start = len(aws.requests)
        result = look(backend, *versions)
        assert result.versions == versions
        assert told(aws, start) == calls
        assert result.values_fetched is ("BatchGetSecretValue" in calls)


def test_a_list_that_lags_behind_is_not_asked(aws: FakeSecretsManager) -> None:
    """The service's list may not know the changes of minutes."""
    versions = made(aws, 3)
    aws.hold_listing()
    with opened(aws.url) as backend:
        newest = write(backend, "app/001", "second")
        assert look(backend, *versions).versions == versions | {"app/001": newest}


def test_without_the_right_to_batches_secrets_are_described_and_no_value_is_fetched(aws: FakeSecretsManager) -> None:
    versions, waits = made(aws, 3), Waits()
    aws.deny("BatchGetSecretValue")
    with opened(aws.url, waits) as backend:
        for _ in range(2):
            start = len(aws.requests)
            result = look(backend, *versions)
            assert (result.versions, result.values_fetched) == (versions, False)
        assert told(aws, start) == ["DescribeSecret"] * 3
        waits.clock.advance(ONE_BY_ONE)
        start = len(aws.requests)
        look(backend, *versions)
        assert told(aws, start)[0] == "BatchGetSecretValue"


def test_deleted_absent_and_denied_are_three_answers(aws: FakeSecretsManager) -> None:
    versions = made(aws, 3)
    with opened(aws.url) as backend:
        delete(backend, "app/000")
        aws.deny("GetSecretValue", "app/001")
        result = look(backend, *versions, "app/none")
    assert result.versions == {"app/000": None, "app/none": None, "app/002": versions["app/002"]}
    assert {name: error.code for name, error in result.errors.items()} == {"app/001": "denied"}


def test_a_name_that_the_service_cannot_have_is_an_error_of_its_own(aws: FakeSecretsManager) -> None:
    versions = made(aws, 1)
    with opened(aws.url) as backend:
        result = look(backend, *versions, "not an AWS name")
    assert result.versions == versions
    assert {name: error.code for name, error in result.errors.items()} == {"not an AWS name": "invalid_name"}


def test_no_value_is_left_in_an_answer(aws: FakeSecretsManager) -> None:
    marker = marker_value()
    with opened(aws.url) as backend:
        for name in ("app/a", "app/b"):
            write(backend, name, marker)
        result = look(backend, "app/a", "app/b")
    assert_hidden(marker, repr(vars(result)), "the versions")


def test_credentials_that_are_refused_are_no_answer(aws: FakeSecretsManager) -> None:
    versions = made(aws, 2)
    aws.fail("BatchGetSecretValue", "UnrecognizedClientException", status=400)
    with opened(aws.url, attempts=1) as backend, pytest.raises(AuthenticationError):
        look(backend, *versions)


def test_an_outage_is_one(aws: FakeSecretsManager) -> None:
    versions = made(aws, 2)
    aws.fail("BatchGetSecretValue", "ServiceUnavailableException", status=503)
    with opened(aws.url, attempts=1) as backend, pytest.raises(BackendUnavailableError):
        look(backend, *versions)


def test_replicas_are_not_asked_and_an_outage_that_they_bridge_is_no_failure(aws: FakeSecretsManager) -> None:
    versions = made(aws, 2)
    client = aws.client()
    for name in versions:
        client.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=[{"Region": REPLICA}])
    aws.fail("BatchGetSecretValue", "ServiceUnavailableException", status=503, times=None, region="eu-central-1")
    with opened(aws.url, attempts=1, replicas=(REPLICA,)) as backend:
        assert read_many(backend, *versions).found.keys() == versions.keys()
        start = len(aws.requests)
        assert look(backend, *versions).versions == {}
        assert {request.region for request in aws.requests[start:]} == {"eu-central-1"}
