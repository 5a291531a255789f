"""Reading several secrets at once."""

from __future__ import annotations

import logging

from secrets import token_hex
from typing import Any

import pytest

from awsbackends import Waits, managed, opened, read, read_many
from awsclient import ACCESS_KEY, REGION
from fakeaws import FakeSecretsManager
from moto_server import Emulator
from strongroom.contracts import ReadManyRequest, ReadManyResult
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    BatchError,
    InvalidNameError,
    SecretDeletedError,
    SecretNotFoundError,
)
from strongroom.model import SecretName, ValueType
from strongroom.testing import assert_hidden, marker_value
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.names import Names
from strongroom_aws.place import resolve
from strongroom_aws.reading import ONE_BY_ONE, Reading
from strongroom_aws.settings import AwsSettings


def texts(result: ReadManyResult) -> dict[str, str]:
    """Return what was found as texts."""
    return {str(name): found.value.reveal_text() for name, found in result.found.items()}


def codes(result: ReadManyResult) -> dict[str, str]:
    """Return the codes of the errors."""
    return {str(name): error.code for name, error in result.errors.items()}


def told(aws: FakeSecretsManager, start: int = 0) -> list[str]:
    return [request.operation for request in aws.requests[start:]]


def made(client: Any, *names: str) -> int:
    """Create secrets that hold their own names; return how many requests that took."""
    for name in names:
        client.create_secret(Name=name, SecretString=name)
    return len(names)


class TestAnswers:
    def test_values_come_back_with_version_date_and_request(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        client = aws.client()
        versions = {
            "text": client.create_secret(Name="text", SecretString="grün")["VersionId"],
            "bytes": client.create_secret(Name="bytes", SecretBinary=bytes(range(256)))["VersionId"],
        }
        result = read_many(backend, "text", "bytes")
        assert result.errors == {}
        found = {str(name): one for name, one in result.found.items()}
        assert found["text"].value.reveal_text() == "grün"
        assert found["bytes"].value.reveal() == bytes(range(256))
        assert found["bytes"].value.type is ValueType.BINARY
        assert {name: one.version for name, one in found.items()} == versions
        for one in found.values():
            assert one.created is not None
            assert one.created.utcoffset() is not None
            assert one.request_id
            assert one.place is None

    def test_the_emulator_answers_alike(self, emulator: Emulator) -> None:
        client, prefix = emulator.client(), f"{token_hex(4)}/"
        for name in ("one", "two", "gone"):
            client.create_secret(Name=f"{prefix}{name}", SecretString=name)
        client.create_secret(Name=f"{prefix}bytes", SecretBinary=b"\x00\xff")
        client.delete_secret(SecretId=f"{prefix}gone")
        with opened(emulator.url, prefix=prefix) as backend:
            result = read_many(backend, "one", "two", "gone", "missing", "bytes")
        assert result.found.pop(SecretName("bytes")).value.reveal() == b"\x00\xff"
        assert texts(result) == {"one": "one", "two": "two"}
        assert codes(result) == {"gone": "deletion_scheduled", "missing": "not_found"}

    def test_each_name_has_an_outcome_of_its_own(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        made(client, "good", "closed", "gone", "locked")
        aws.deny("GetSecretValue", "closed")
        client.delete_secret(SecretId="gone", RecoveryWindowInDays=7)
        # The fake has no keys, so the answer is one that the documentation lists for a batch.
        aws.operations.BatchGetSecretValue = with_error(aws, "locked", "DecryptionFailure")
        result = read_many(backend, "good", "closed", "gone", "locked", "missing", "no blanks")
        assert texts(result) == {"good": "good"}
        kinds = {str(name): type(error) for name, error in result.errors.items()}
        assert kinds == {
            "closed": AccessDeniedError,
            "gone": SecretDeletedError,
            "locked": BackendError,
            "missing": SecretNotFoundError,
            "no blanks": InvalidNameError,
        }
        assert all(error.name == name for name, error in result.errors.items())
        gone = result.errors[SecretName("gone")]
        assert isinstance(gone, SecretDeletedError)
        assert gone.when is not None
        assert gone.when in str(gone)
        assert "KMS" in str(result.errors[SecretName("locked")])
        assert aws.counts["BatchGetSecretValue"] == 1
        assert aws.counts["GetSecretValue"] == 0

    def test_one_name_is_read_by_itself(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        start = made(client, "one")
        assert texts(read_many(backend, "one")) == {"one": "one"}
        assert texts(read_many(backend, "one", "no blanks")) == {"one": "one"}
        assert told(aws, start) == ["GetSecretValue", "GetSecretValue"]

    def test_no_names_take_no_request(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        assert read_many(backend).found == {}
        assert codes(read_many(backend, "no blanks", "ä")) == {"no blanks": "invalid_name", "ä": "invalid_name"}
        assert aws.requests == []

    def test_more_than_twenty_come_in_several_requests(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        names = [f"app/{number:02}" for number in range(41)]
        start = made(client, *names)
        assert texts(read_many(backend, *names)) == {name: name for name in names}
        assert told(aws, start) == ["BatchGetSecretValue", "BatchGetSecretValue", "GetSecretValue"]

    def test_an_answer_in_pages_is_followed(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        names = [f"app/{number}" for number in range(7)]
        start = made(client, *names)
        aws.operations.batch_page = 3
        assert texts(read_many(backend, *names)) == {name: name for name in names}
        assert told(aws, start) == ["BatchGetSecretValue"] * 3
        assert [request.parameters.get("SecretIdList") for request in aws.requests[start:]] == [names] * 3

    def test_a_name_without_an_answer_has_an_error(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        made(client, "one", "two", "three")
        aws.operations.BatchGetSecretValue = without(aws, "two")
        result = read_many(backend, "one", "two", "three")
        assert texts(result) == {"one": "one", "three": "three"}
        assert codes(result) == {"two": "backend_error"}
        assert "two" in str(result.errors[SecretName("two")])

    def test_no_value_is_in_an_error(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        marker = marker_value()
        for name in ("one", "two"):
            client.create_secret(Name=name, SecretString=marker)
        aws.operations.BatchGetSecretValue = without(aws, "two")
        result = read_many(backend, "one", "two")
        assert_hidden(marker, repr(result), "the answer")
        assert result.errors[SecretName("two")].__traceback__ is None


class TestCurrentVersion:
    def test_a_batch_gives_what_a_conditional_write_has_made_current(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        start = conditionally_written(client, "app") + made(client, "other")
        assert texts(read_many(backend, "app", "other")) == {"app": "new", "other": "other"}
        assert told(aws, start) == ["BatchGetSecretValue"]

    def test_an_old_version_in_the_answer_is_not_taken(self, emulator: Emulator) -> None:
        """The emulator gives the version before after a conditional write, and says so."""
        client, prefix = emulator.client(), f"{token_hex(4)}/"
        conditionally_written(client, f"{prefix}app")
        client.create_secret(Name=f"{prefix}other", SecretString="other")
        with opened(emulator.url, prefix=prefix) as backend:
            assert texts(read_many(backend, "app", "other")) == {"app": "new", "other": "other"}


class TestArns:
    ARN = f"arn:aws:secretsmanager:{REGION}:123456789012:secret"

    def test_an_arn_is_read_with_names(self, aws: FakeSecretsManager, client: Any) -> None:
        arn = client.create_secret(Name="elsewhere/key", SecretString="shared")["ARN"]
        made(client, "app/one")
        with opened(aws.url, prefix="app/", arns={"shared": arn, "lost": f"{self.ARN}:lost-abcdef"}) as backend:
            result = read_many(backend, "one", "shared", "lost")
        assert texts(result) == {"one": "app/one", "shared": "shared"}
        assert codes(result) == {"lost": "not_found"}
        assert aws.counts["GetSecretValue"] == 0

    def test_two_names_of_one_arn_get_the_same_value(self, aws: FakeSecretsManager, client: Any) -> None:
        arn = client.create_secret(Name="key", SecretString="shared")["ARN"]
        made(client, "one")
        with opened(aws.url, arns={"a": arn, "b": arn}) as backend:
            assert texts(read_many(backend, "a", "one", "b")) == {"a": "shared", "one": "one", "b": "shared"}
        assert aws.sent("BatchGetSecretValue")[0].parameters["SecretIdList"] == [arn, "one"]

    def test_a_secret_is_not_taken_for_one_of_the_same_name_in_another_account(
        self, aws: FakeSecretsManager, client: Any
    ) -> None:
        """In an answer they differ in the account only, and nothing says which one is ours."""
        made(client, "db", "other")
        foreign = f"arn:aws:secretsmanager:{REGION}:999999999999:secret:db-abcdef"
        with opened(aws.url, arns={"theirs": foreign}) as backend:
            result = read_many(backend, "theirs", "db", "other")
        assert texts(result) == {"db": "db", "other": "other"}
        assert codes(result) == {"theirs": "not_found"}
        assert aws.sent("BatchGetSecretValue")[0].parameters["SecretIdList"] == ["db", "other"]
        assert [request.name for request in aws.sent("GetSecretValue")] == [foreign]

    def test_an_error_that_names_the_arn_is_the_names_own(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        """The documentation lets an error name the ARN of what was asked for by name."""
        made(client, "one", "two")
        arn = aws.secret("two").arn
        aws.operations.BatchGetSecretValue = with_error(aws, "two", "AccessDeniedException", arn)
        assert codes(read_many(backend, "one", "two")) == {"two": "denied"}


class TestDeniedBatch:
    def test_names_are_read_one_by_one_and_it_is_said_once(
        self, aws: FakeSecretsManager, client: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        waits = Waits()
        start = made(client, "one", "two", "three")
        aws.deny("BatchGetSecretValue")
        aws.deny("GetSecretValue", "two")
        with opened(aws.url, waits) as backend, caplog.at_level(logging.WARNING, "strongroom.aws"):
            for _ in range(2):
                result = read_many(backend, "one", "two", "three", "missing")
                assert texts(result) == {"one": "one", "three": "three"}
                assert codes(result) == {"two": "denied", "missing": "not_found"}
            assert told(aws, start) == ["BatchGetSecretValue", *["GetSecretValue"] * 8]
            waits.clock.advance(ONE_BY_ONE)
            read_many(backend, "one", "two")
            assert aws.counts["BatchGetSecretValue"] == 2
            aws.allow()
            waits.clock.advance(ONE_BY_ONE)
            start = len(aws.requests)
            read_many(backend, "one", "two")
            assert told(aws, start) == ["BatchGetSecretValue"]
        assert len(caplog.records) == 1
        assert "secretsmanager:BatchGetSecretValue" in caplog.text

    def test_a_batch_that_one_name_spoils_is_read_one_by_one(self, emulator: Emulator) -> None:
        """The emulator refuses a batch as a whole if one of its secrets has no value yet."""
        client, prefix = emulator.client(), f"{token_hex(4)}/"
        client.create_secret(Name=f"{prefix}empty")
        client.create_secret(Name=f"{prefix}one", SecretString="one")
        with opened(emulator.url, prefix=prefix) as backend:
            for _ in range(2):
                result = read_many(backend, "empty", "one")
                assert texts(result) == {"one": "one"}
                assert codes(result) == {"empty": "not_found"}

    def test_the_others_do_not_wait_for_an_outage_again(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        start = made(client, "one", "two", "three")
        aws.deny("BatchGetSecretValue")
        aws.fail("GetSecretValue", "InternalServiceError", times=None, name="two")
        result = read_many(backend, "one", "two", "three")
        assert texts(result) == {"one": "one"}
        assert codes(result) == {"two": "server_error", "three": "server_error"}
        assert told(aws, start) == ["BatchGetSecretValue", *["GetSecretValue"] * 4]


class TestOutages:
    def test_an_outage_of_the_request_is_every_names(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.fail("BatchGetSecretValue", "InternalServiceError", times=None)
        with pytest.raises(BackendUnavailableError):
            read_many(backend, "one", "two")
        assert told(aws) == ["BatchGetSecretValue"] * 3
        assert codes(read_many(backend, "one", "no blanks", "two")) == {
            "one": "server_error",
            "no blanks": "invalid_name",
            "two": "server_error",
        }

    def test_what_has_come_before_an_outage_is_kept(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        names = [f"app/{number:02}" for number in range(50)]
        made(client, *names)
        aws.before("BatchGetSecretValue", lambda _: aws.fail("*", "ServiceUnavailable", times=None), times=1)
        aws.operations.batch_page = 20
        result = read_many(backend, *names)
        assert texts(result) == {name: name for name in names[:20]}
        assert set(codes(result).values()) == {"server_error"}
        assert set(result.errors) == set(map(SecretName, names[20:]))
        assert aws.counts["BatchGetSecretValue"] == 4

    def test_a_throttled_batch_is_sent_again(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        made(client, "one", "two")
        aws.fail("BatchGetSecretValue", "ThrottlingException", times=2)
        assert texts(read_many(backend, "one", "two")) == {"one": "one", "two": "two"}
        assert aws.counts["BatchGetSecretValue"] == 3

    def test_an_answer_of_something_else_is_an_outage(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.fail_transport("BatchGetSecretValue", "html", times=None)
        with pytest.raises(BackendUnavailableError):
            read_many(backend, "one", "two")

    def test_pages_without_end_are_an_error(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        def again(region: str, asked: dict[str, Any]) -> dict[str, Any]:
            return {"SecretValues": [], "Errors": [], "NextToken": "again"}

        aws.operations.BatchGetSecretValue = again
        with pytest.raises(BackendError, match="same page"):
            read_many(backend, "one", "two")

    def test_credentials_that_are_not_accepted_are_not_tried_for_each_name(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        aws.unknown.add(ACCESS_KEY)
        with pytest.raises(AuthenticationError):
            read_many(backend, "one", "two", "three")
        assert told(aws) == ["BatchGetSecretValue"]


class TestRegions:
    """What a failover is built on: another region is asked by name."""

    def test_a_replica_is_read_in_its_region_and_named_as_the_place(self, aws: FakeSecretsManager, client: Any) -> None:
        for name in ("one", "two"):
            client.create_secret(Name=name, SecretString=name, AddReplicaRegions=[{"Region": "eu-west-1"}])
        names = ReadManyRequest(names=(SecretName("one"), SecretName("two"), SecretName("three")))
        result = reading(aws).read_many_in("eu-west-1", names)
        assert {one.place for one in result.found.values()} == {"region eu-west-1"}
        assert codes(result) == {"three": "not_found"}
        assert [request.region for request in aws.sent("BatchGetSecretValue")] == ["eu-west-1"]

    def test_an_arn_is_that_of_the_replica(self, aws: FakeSecretsManager, client: Any) -> None:
        answer = client.create_secret(Name="x", SecretString="shared", AddReplicaRegions=[{"Region": "eu-west-1"}])
        client.create_secret(Name="one", SecretString="one", AddReplicaRegions=[{"Region": "eu-west-1"}])
        names = ReadManyRequest(names=(SecretName("shared"), SecretName("one")))
        found = reading(aws, arns={"shared": answer["ARN"]}).read_many_in("eu-west-1", names)
        assert texts(found) == {"shared": "shared", "one": "one"}


def test_a_manager_gives_each_name_its_own_answer(aws: FakeSecretsManager) -> None:
    client = aws.client()
    names = [f"app/{number:03}" for number in range(100)]
    made(client, *names)
    aws.deny("GetSecretValue", "app/050")
    with managed(aws.url) as opened_manager:
        batch = opened_manager.get_many([*names, "app/missing"])
        assert len(batch.found) == 99
        assert {name: error.code for name, error in batch.errors.items()} == {
            "app/050": "denied",
            "app/missing": "not_found",
        }
        with pytest.raises(BatchError, match="app/050"):
            opened_manager.get_many(names, strict=True)


def test_a_thousand_reads_of_a_missing_name_ask_once(aws: FakeSecretsManager) -> None:
    with managed(aws.url) as opened_manager:
        for _ in range(500):
            with pytest.raises(SecretNotFoundError):
                opened_manager.get("app/missing")
            assert set(opened_manager.get_many(["app/missing"]).errors) == {"app/missing"}
        assert told(aws) == ["GetSecretValue"]


def test_single_reads_and_batches_agree(aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
    made(client, "one", "two")
    together = read_many(backend, "one", "two")
    assert texts(together) == {name: read(backend, name) for name in ("one", "two")}


def reading(aws: FakeSecretsManager, **settings: Any) -> Reading:
    configured = AwsSettings(region=REGION, endpoint=aws.url, **settings)
    return Reading(Asker(configured, resolve(configured)), Names(configured.prefix, configured.arns))


def conditionally_written(client: Any, name: str) -> int:
    """Write as a conditional write does, under a label first; return how many requests that took."""
    first = client.create_secret(Name=name, SecretString="old")["VersionId"]
    second = client.put_secret_value(SecretId=name, SecretString="new", VersionStages=["mine"])["VersionId"]
    client.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", RemoveFromVersionId=first, MoveToVersionId=second
    )
    return 3


def with_error(aws: FakeSecretsManager, name: str, code: str, named: str | None = None) -> Any:
    """Return how a batch is answered with an error for one secret."""
    plain = aws.operations.BatchGetSecretValue

    def answer(region: str, asked: dict[str, Any]) -> dict[str, Any]:
        found = plain(region, asked)
        found["SecretValues"] = [entry for entry in found["SecretValues"] if entry["Name"] != name]
        found["Errors"].append({"SecretId": named or name, "ErrorCode": code, "Message": "for a test"})
        return found

    return answer


def without(aws: FakeSecretsManager, name: str) -> Any:
    """Return how a batch is answered by a server that forgets one secret."""
    plain = aws.operations.BatchGetSecretValue

    def answer(region: str, asked: dict[str, Any]) -> dict[str, Any]:
        found = plain(region, asked)
        found["SecretValues"] = [entry for entry in found["SecretValues"] if entry["Name"] != name]
        return found

    return answer
