"""What the service describes may be older than what has just been changed: nobody is told wrong things for that.

The fake describes what was there some changes ago; all else is done at once.
"""

from __future__ import annotations

import uuid

import pytest

from awsclient import REGION
from awswriting import NAME, delete, opened, read, text_of, undelete, write
from fakeaws import FakeSecretsManager
from strongroom.contracts import DiscardRequest, PromoteRequest, StageRequest
from strongroom.errors import StrongroomError, VersionConflictError
from strongroom.model import ABSENT, SecretName, SecretValue
from strongroom_aws.backend import AwsBackend

LAGS = [1, 2, 3]


def stage(backend: AwsBackend, content: str) -> str:
    request = StageRequest(name=SecretName(NAME), value=SecretValue(content), token=str(uuid.uuid4()))
    return backend.stage(request).version


@pytest.mark.parametrize("lag", LAGS)
def test_what_was_just_deleted_is_brought_back(aws: FakeSecretsManager, lag: int) -> None:
    backend = opened(aws)
    write(backend, "1")
    aws.lag(lag)
    delete(backend)
    undelete(backend)
    assert aws.secret(NAME).deleted is None


@pytest.mark.parametrize("lag", LAGS)
def test_what_was_just_staged_is_discarded(aws: FakeSecretsManager, lag: int) -> None:
    backend = opened(aws)
    write(backend, "1")
    aws.lag(lag)
    version = stage(backend, "2")
    assert backend.discard(DiscardRequest(name=SecretName(NAME), version=version)).existed
    assert aws.secret(NAME).holder("AWSPENDING") is None


@pytest.mark.parametrize("lag", LAGS)
def test_a_write_over_an_older_version_never_gets_through(aws: FakeSecretsManager, lag: int) -> None:
    backend = opened(aws)
    first = write(backend, "1").version
    aws.lag(lag)
    second = write(backend, "2").version
    with pytest.raises(VersionConflictError):
        write(backend, "lost", first)
    assert read(backend).version == second
    # A conflict that is none is possible then, but nothing was written, and nothing is lost.
    try:
        third = write(backend, "3", second).version
    except VersionConflictError:
        assert read(backend).version == second
    else:
        assert read(backend).version == third
        assert aws.secret(NAME).holder("AWSPREVIOUS").id == second


@pytest.mark.parametrize("lag", LAGS)
@pytest.mark.parametrize("operation", ["PutSecretValue", "UpdateSecretVersionStage", "CreateSecret"])
@pytest.mark.parametrize("kind", ["version", "absent", "without a value"])
def test_a_write_whose_answer_was_lost_is_never_called_a_conflict(
    aws: FakeSecretsManager, lag: int, operation: str, kind: str
) -> None:
    backend = opened(aws)
    expected = write(backend, "1").version if kind == "version" else ABSENT
    if kind == "without a value":
        aws.client().create_secret(Name=NAME)
    aws.lag(lag)
    aws.after(operation)
    try:
        version = write(backend, "2", expected).version
    except VersionConflictError:
        pytest.fail("it was written")
    except StrongroomError:
        assert text_of(backend) in ("1", "2")
    else:
        assert read(backend).version == version


@pytest.mark.parametrize("lag", LAGS)
def test_one_rotation_at_a_time_has_the_fence(aws: FakeSecretsManager, lag: int) -> None:
    backend = opened(aws)
    first = write(backend, "1").version
    aws.lag(lag)
    version = stage(backend, "2")
    with pytest.raises(StrongroomError):
        stage(backend, "3")
    assert aws.secret(NAME).holder("AWSPENDING").id == version
    assert text_of(backend) == "1"
    backend.promote(PromoteRequest(name=SecretName(NAME), version=version, expect_current=first))
    assert text_of(backend) == "2"


@pytest.mark.parametrize("lag", LAGS)
def test_a_promotion_over_an_older_version_never_gets_through(aws: FakeSecretsManager, lag: int) -> None:
    backend = opened(aws)
    first = write(backend, "1").version
    version = stage(backend, "2")
    aws.lag(lag)
    theirs = aws.client(region=REGION).put_secret_value(SecretId=NAME, SecretString="theirs")["VersionId"]
    with pytest.raises(StrongroomError):
        backend.promote(PromoteRequest(name=SecretName(NAME), version=version, expect_current=first))
    assert read(backend).version == theirs
