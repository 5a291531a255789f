"""The helpers of these tests: where emulator and fake agree, and where only the fake does as AWS documents."""

from __future__ import annotations

import itertools
import time
import uuid

from typing import Any

import pytest

from botocore.exceptions import (
    ClientError,
)

from awsclient import error_code, plain_client
from fakeaws import FakeSecretsManager
from moto_server import Emulator

ROLE = "arn:aws:iam::222222222222:role/reader"
LAMBDA = "arn:aws:lambda:eu-central-1:123456789012:function:rotate"


def token() -> str:
    return str(uuid.uuid4())


@pytest.fixture(params=["emulator", "fake"])
def either(request: pytest.FixtureRequest) -> Any:
    """A client of an empty account, of the emulator and of the fake."""
    if request.param == "fake":
        return request.getfixturevalue("aws").client()
    emulator: Emulator = request.getfixturevalue("emulator")
    return emulator.client(**emulator.fresh_account())


class TestBoth:
    def test_a_secret_comes_back_as_text_and_as_bytes(self, either: Any) -> None:
        either.create_secret(Name="app/text", SecretString="grün")
        either.create_secret(Name="app/bytes", SecretBinary=b"\x00\xff")
        assert either.get_secret_value(SecretId="app/text")["SecretString"] == "grün"
        assert either.get_secret_value(SecretId="app/bytes")["SecretBinary"] == b"\x00\xff"

    def test_a_secret_is_found_by_name_by_arn_and_by_arn_without_its_ending(self, either: Any) -> None:
        arn = either.create_secret(Name="app", SecretString="1")["ARN"]
        assert len(arn.rpartition("-")[2]) == 6
        for one in ("app", arn, arn[:-7]):
            assert either.get_secret_value(SecretId=one)["ARN"] == arn

    def test_creating_again_succeeds_with_the_same_token_and_value_only(self, either: Any) -> None:
        once = token()
        first = either.create_secret(Name="app", SecretString="1", ClientRequestToken=once)
        assert either.create_secret(Name="app", SecretString="1", ClientRequestToken=once)["ARN"] == first["ARN"]
        exists = "ResourceExistsException"
        assert error_code(either.create_secret, Name="app", SecretString="2", ClientRequestToken=once) == exists
        assert error_code(either.create_secret, Name="app", SecretString="1", ClientRequestToken=token()) == exists

    def test_putting_moves_the_labels(self, either: Any) -> None:
        first = either.create_secret(Name="app", SecretString="1")["VersionId"]
        second = either.put_secret_value(SecretId="app", SecretString="2")["VersionId"]
        third = either.put_secret_value(SecretId="app", SecretString="3", VersionStages=["AWSPENDING", "mine"])
        stages = either.describe_secret(SecretId="app")["VersionIdsToStages"]
        assert {version: set(labels) for version, labels in stages.items()} == {
            first: {"AWSPREVIOUS"},
            second: {"AWSCURRENT"},
            third["VersionId"]: {"AWSPENDING", "mine"},
        }
        for stage, value in {"AWSPREVIOUS": "1", "AWSCURRENT": "2", "mine": "3"}.items():
            assert either.get_secret_value(SecretId="app", VersionStage=stage)["SecretString"] == value
        assert either.get_secret_value(SecretId="app", VersionId=first)["SecretString"] == "1"

    def test_putting_again_succeeds_with_the_same_token_and_value_only(self, either: Any) -> None:
        once = token()
        either.create_secret(Name="app", SecretString="1")
        for _ in range(2):
            either.put_secret_value(SecretId="app", SecretString="2", ClientRequestToken=once)
        assert len(either.describe_secret(SecretId="app")["VersionIdsToStages"]) == 2
        code = error_code(either.put_secret_value, SecretId="app", SecretString="3", ClientRequestToken=once)
        assert code == "ResourceExistsException"

    def test_moving_the_current_label_demands_where_it_is(self, either: Any) -> None:
        first = either.create_secret(Name="app", SecretString="1")["VersionId"]
        second = either.put_secret_value(SecretId="app", SecretString="2")["VersionId"]
        move = {"SecretId": "app", "VersionStage": "AWSCURRENT", "MoveToVersionId": first}
        assert error_code(either.update_secret_version_stage, **move) == "InvalidParameterException"
        wrong = move | {"RemoveFromVersionId": first, "MoveToVersionId": second}
        assert error_code(either.update_secret_version_stage, **wrong) == "InvalidParameterException"
        either.update_secret_version_stage(**move, RemoveFromVersionId=second)
        again = move | {"RemoveFromVersionId": second}
        assert error_code(either.update_secret_version_stage, **again) == "InvalidParameterException"
        assert either.get_secret_value(SecretId="app", VersionStage="AWSCURRENT")["SecretString"] == "1"
        assert either.get_secret_value(SecretId="app", VersionStage="AWSPREVIOUS")["SecretString"] == "2"

    def test_a_label_of_ones_own_comes_and_goes(self, either: Any) -> None:
        first = either.create_secret(Name="app", SecretString="1")["VersionId"]
        either.update_secret_version_stage(SecretId="app", VersionStage="mine", MoveToVersionId=first)
        assert either.get_secret_value(SecretId="app", VersionStage="mine")["SecretString"] == "1"
        either.update_secret_version_stage(SecretId="app", VersionStage="mine", RemoveFromVersionId=first)
        assert error_code(either.get_secret_value, SecretId="app", VersionStage="mine") == "ResourceNotFoundException"

    def test_what_is_missing_is_not_found(self, either: Any) -> None:
        either.create_secret(Name="empty")
        for call in (either.get_secret_value, either.describe_secret, either.delete_secret):
            assert error_code(call, SecretId="missing") == "ResourceNotFoundException"
        assert error_code(either.put_secret_value, SecretId="missing", SecretString="1") == "ResourceNotFoundException"
        assert error_code(either.get_secret_value, SecretId="empty") == "ResourceNotFoundException"

    def test_a_list_comes_in_pages_and_by_prefix(self, either: Any) -> None:
        for number in range(7):
            either.create_secret(Name=f"{'ab'[number % 2]}/{number}", SecretString="x")
        pages = [
            [entry["Name"] for entry in page["SecretList"]]
            for page in either.get_paginator("list_secrets").paginate(
                Filters=[{"Key": "name", "Values": ["a/"]}], PaginationConfig={"PageSize": 3}
            )
        ]
        assert [len(page) for page in pages] == [3, 1]
        assert sorted(itertools.chain(*pages)) == ["a/0", "a/2", "a/4", "a/6"]

    def test_a_batch_returns_values_and_errors(self, either: Any) -> None:
        for name in ("one", "two", "gone"):
            either.create_secret(Name=name, SecretString=name)
        either.delete_secret(SecretId="gone")
        answer = either.batch_get_secret_value(SecretIdList=["one", "missing", "two", "gone"])
        assert {entry["Name"]: entry["SecretString"] for entry in answer["SecretValues"]} == {
            "one": "one",
            "two": "two",
        }
        assert {entry["SecretId"]: entry["ErrorCode"] for entry in answer["Errors"]} == {
            "missing": "ResourceNotFoundException",
            "gone": "InvalidRequestException",
        }

    def test_a_deleted_secret_can_be_restored(self, either: Any) -> None:
        either.create_secret(Name="app", SecretString="1")
        for days in (6, 31):
            code = error_code(either.delete_secret, SecretId="app", RecoveryWindowInDays=days)
            assert code == "InvalidParameterException"
        date = either.delete_secret(SecretId="app", RecoveryWindowInDays=7)["DeletionDate"].timestamp()
        assert date == pytest.approx(time.time() + 7 * 86400, abs=86400)
        assert either.describe_secret(SecretId="app")["DeletedDate"]
        assert error_code(either.get_secret_value, SecretId="app") == "InvalidRequestException"
        assert error_code(either.delete_secret, SecretId="app") == "InvalidRequestException"
        assert either.list_secrets()["SecretList"] == []
        assert either.list_secrets(IncludePlannedDeletion=True)["SecretList"][0]["DeletedDate"]
        either.restore_secret(SecretId="app")
        assert either.get_secret_value(SecretId="app")["SecretString"] == "1"

    def test_deleting_by_force_is_final_and_takes_missing_names(self, either: Any) -> None:
        either.create_secret(Name="app", SecretString="1")
        either.delete_secret(SecretId="app", ForceDeleteWithoutRecovery=True)
        either.delete_secret(SecretId="app", ForceDeleteWithoutRecovery=True)
        assert error_code(either.get_secret_value, SecretId="app") == "ResourceNotFoundException"
        either.create_secret(Name="app", SecretString="2")

    def test_tags_are_set_changed_and_removed(self, either: Any) -> None:
        either.create_secret(
            Name="app", SecretString="1", Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "1"}]
        )
        either.tag_resource(SecretId="app", Tags=[{"Key": "a", "Value": "2"}, {"Key": "c", "Value": "3"}])
        either.untag_resource(SecretId="app", TagKeys=["b"])
        tags = either.describe_secret(SecretId="app")["Tags"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"a": "2", "c": "3"}
        by_tag = either.list_secrets(Filters=[{"Key": "tag-value", "Values": ["3"]}])["SecretList"]
        assert [entry["Name"] for entry in by_tag] == ["app"]

    def test_replicas_can_be_read_but_not_written(self, either: Any) -> None:
        either.create_secret(Name="app", SecretString="1", AddReplicaRegions=[{"Region": "eu-west-1"}])
        there = plain_client(either.meta.endpoint_url, "secretsmanager", "eu-west-1", **_credentials(either))
        assert there.get_secret_value(SecretId="app")["SecretString"] == "1"
        either.put_secret_value(SecretId="app", SecretString="2")
        assert there.get_secret_value(SecretId="app", VersionStage="AWSCURRENT")["SecretString"] == "2"
        assert error_code(there.put_secret_value, SecretId="app", SecretString="3") == "InvalidParameterException"
        assert error_code(either.delete_secret, SecretId="app") == "InvalidParameterException"

    def test_regions_do_not_see_each_other(self, either: Any) -> None:
        either.create_secret(Name="app", SecretString="1")
        there = plain_client(either.meta.endpoint_url, "secretsmanager", "us-east-1", **_credentials(either))
        assert error_code(there.get_secret_value, SecretId="app") == "ResourceNotFoundException"

    def test_an_assumed_role_has_keys_of_its_account(self, either: Any) -> None:
        sts = plain_client(either.meta.endpoint_url, "sts", "eu-central-1")
        given = sts.assume_role(RoleArn=ROLE, RoleSessionName="me")["Credentials"]
        as_role = plain_client(
            either.meta.endpoint_url,
            "sts",
            "eu-central-1",
            aws_access_key_id=given["AccessKeyId"],
            aws_secret_access_key=given["SecretAccessKey"],
            aws_session_token=given["SessionToken"],
        )
        assert as_role.get_caller_identity()["Arn"] == "arn:aws:sts::222222222222:assumed-role/reader/me"


def _credentials(client: Any) -> dict[str, str]:
    keys = client._request_signer._credentials.get_frozen_credentials()
    named = {"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key}
    return named | ({"aws_session_token": keys.token} if keys.token else {})


class TestEmulator:
    def test_accounts_do_not_see_each_other(self, emulator: Emulator) -> None:
        one, two = (emulator.client(**emulator.fresh_account()) for _ in range(2))
        one.create_secret(Name="app", SecretString="1")
        assert two.list_secrets()["SecretList"] == []
        assert error_code(two.get_secret_value, SecretId="app") == "ResourceNotFoundException"

    def test_keys_that_no_role_gave_mean_one_account(self, emulator: Emulator) -> None:
        name = f"shared/{token()}"
        emulator.client().create_secret(Name=name, SecretString="1")
        other = emulator.client(aws_access_key_id="AKIAANOTHERKEYALTOGE")
        assert ":123456789012:" in other.get_secret_value(SecretId=name)["ARN"]


class TestDocumentedBehaviour:
    def test_reading_after_a_move_gives_the_new_current_version_without_naming_it(self, client: Any) -> None:
        first = client.create_secret(Name="app", SecretString="1")["VersionId"]
        second = client.put_secret_value(SecretId="app", SecretString="2")["VersionId"]
        client.update_secret_version_stage(
            SecretId="app", VersionStage="AWSCURRENT", MoveToVersionId=first, RemoveFromVersionId=second
        )
        assert client.get_secret_value(SecretId="app")["SecretString"] == "1"
        assert client.batch_get_secret_value(SecretIdList=["app"])["SecretValues"][0]["SecretString"] == "1"

    def test_errors_have_status_400_and_aws_words(self, client: Any) -> None:
        with pytest.raises(ClientError, match="Secrets Manager can't find the specified secret") as caught:
            client.get_secret_value(SecretId="missing")
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert caught.value.response["ResponseMetadata"]["RequestId"]
        client.create_secret(Name="app", SecretString="1")
        other = client.put_secret_value(SecretId="app", SecretString="2", VersionStages=["x"])["VersionId"]
        with pytest.raises(ClientError, match="RemoveFromVersionId can't be empty"):
            client.update_secret_version_stage(SecretId="app", VersionStage="AWSCURRENT", MoveToVersionId=other)

    def test_what_is_scheduled_for_deletion_takes_no_writes(self, client: Any) -> None:
        version = client.create_secret(Name="app", SecretString="1")["VersionId"]
        client.delete_secret(SecretId="app")
        calls: list[tuple[Any, dict[str, Any]]] = [
            (client.put_secret_value, {"SecretString": "2"}),
            (client.update_secret, {"SecretString": "2"}),
            (client.tag_resource, {"Tags": [{"Key": "a", "Value": "1"}]}),
            (client.rotate_secret, {"RotationLambdaARN": LAMBDA}),
            (client.update_secret_version_stage, {"VersionStage": "x", "MoveToVersionId": version}),
        ]
        for call, parameters in calls:
            assert error_code(call, SecretId="app", **parameters) == "InvalidRequestException"
        assert error_code(client.create_secret, Name="app", SecretString="2") == "InvalidRequestException"

    def test_limits_are_kept(self, client: Any) -> None:
        client.create_secret(Name="app", SecretString="x" * 65536)
        for value in ({"SecretString": "x" * 65537}, {"SecretBinary": b"x" * 65537}):
            assert error_code(client.put_secret_value, SecretId="app", **value) == "ValidationException"
        assert error_code(client.create_secret, Name="with blank", SecretString="x") == "ValidationException"
        assert error_code(client.create_secret, Name="x" * 513, SecretString="x") == "ValidationException"
        many = [f"n{number}" for number in range(21)]
        assert error_code(client.batch_get_secret_value, SecretIdList=many) == "InvalidParameterException"
        assert error_code(client.list_secrets, MaxResults=101) == "ValidationException"
        both = {"SecretString": "x", "SecretBinary": b"x"}
        assert error_code(client.create_secret, Name="both", **both) == "InvalidParameterException"

    def test_a_secret_has_at_most_twenty_labels(self, client: Any) -> None:
        version = client.create_secret(Name="app", SecretString="1")["VersionId"]
        labels = [f"l{number}" for number in range(19)]
        client.put_secret_value(SecretId="app", SecretString="2", VersionStages=labels)
        more = {"SecretId": "app", "SecretString": "3", "VersionStages": ["x"]}
        assert error_code(client.put_secret_value, **more) == "LimitExceededException"
        assert set(client.describe_secret(SecretId="app")["VersionIdsToStages"][version]) == {"AWSCURRENT"}

    def test_pages_have_tokens_that_are_checked(self, aws: FakeSecretsManager, client: Any) -> None:
        for number in range(5):
            client.create_secret(Name=f"n{number}", SecretString="x")
        aws.operations.page, aws.operations.empty_pages = 2, 1
        names = [
            entry["Name"] for page in client.get_paginator("list_secrets").paginate() for entry in page["SecretList"]
        ]
        assert names == ["n0", "n1", "n2", "n3", "n4"]
        assert aws.counts["ListSecrets"] == 4
        assert error_code(client.list_secrets, NextToken="bm9uZQ==") == "InvalidNextTokenException"

    def test_versions_come_in_pages_and_without_label_on_demand(self, client: Any) -> None:
        client.create_secret(Name="app", SecretString="0")
        for number in range(1, 6):
            client.put_secret_value(SecretId="app", SecretString=str(number))
        assert len(client.list_secret_version_ids(SecretId="app")["Versions"]) == 2
        page = client.list_secret_version_ids(SecretId="app", MaxResults=4, IncludeDeprecated=True)
        rest = client.list_secret_version_ids(
            SecretId="app", MaxResults=4, IncludeDeprecated=True, NextToken=page["NextToken"]
        )
        assert [len(page["Versions"]), len(rest["Versions"])] == [4, 2]
        assert "NextToken" not in rest

    def test_a_batch_can_come_in_pages(self, aws: FakeSecretsManager, client: Any) -> None:
        for number in range(3):
            client.create_secret(Name=f"n{number}", SecretString="x")
        aws.operations.batch_page = 2
        page = client.batch_get_secret_value(SecretIdList=["n0", "n1", "n2"])
        rest = client.batch_get_secret_value(SecretIdList=["n0", "n1", "n2"], NextToken=page["NextToken"])
        assert [entry["Name"] for entry in page["SecretValues"] + rest["SecretValues"]] == ["n0", "n1", "n2"]

    def test_an_arn_that_ends_like_a_whole_one_is_taken_as_one(self, client: Any) -> None:
        arn = client.create_secret(Name="app-abcdef", SecretString="1")["ARN"]
        assert client.get_secret_value(SecretId=arn)["SecretString"] == "1"
        assert error_code(client.get_secret_value, SecretId=arn[:-7]) == "ResourceNotFoundException"

    def test_a_secret_that_comes_again_has_another_arn(self, client: Any) -> None:
        first = client.create_secret(Name="app", SecretString="1")["ARN"]
        client.delete_secret(SecretId="app", ForceDeleteWithoutRecovery=True)
        assert client.create_secret(Name="app", SecretString="1")["ARN"] != first

    def test_a_name_deleted_by_force_can_stay_taken(self, aws: FakeSecretsManager, client: Any) -> None:
        aws.linger(2)
        client.create_secret(Name="app", SecretString="1")
        client.delete_secret(SecretId="app", ForceDeleteWithoutRecovery=True)
        for _ in range(2):
            assert error_code(client.create_secret, Name="app", SecretString="2") == "InvalidRequestException"
        client.create_secret(Name="app", SecretString="2")

    def test_a_list_can_lag(self, aws: FakeSecretsManager, client: Any) -> None:
        aws.hold_listing()
        client.create_secret(Name="app", SecretString="1")
        assert client.list_secrets()["SecretList"] == []
        aws.release_listing()
        assert len(client.list_secrets()["SecretList"]) == 1


class TestRotation:
    def test_without_a_function_it_is_refused(self, client: Any) -> None:
        client.create_secret(Name="app", SecretString="1")
        assert error_code(client.rotate_secret, SecretId="app") == "InvalidRequestException"
        assert error_code(client.cancel_rotate_secret, SecretId="app") == "InvalidRequestException"

    @pytest.mark.parametrize("keep_pending", [True, False])
    def test_it_is_pending_until_its_function_is_done(
        self, aws: FakeSecretsManager, client: Any, keep_pending: bool
    ) -> None:
        old = client.create_secret(Name="app", SecretString="1")["VersionId"]
        rules = {"AutomaticallyAfterDays": 10}
        new = client.rotate_secret(SecretId="app", RotationLambdaARN=LAMBDA, RotationRules=rules)["VersionId"]
        assert client.get_secret_value(SecretId="app")["SecretString"] == "1"
        assert (
            error_code(client.get_secret_value, SecretId="app", VersionStage="AWSPENDING")
            == "ResourceNotFoundException"
        )
        assert error_code(client.rotate_secret, SecretId="app") == "InvalidRequestException"
        aws.finish_rotation("app", "2", keep_pending=keep_pending)
        found = client.describe_secret(SecretId="app")
        assert found["RotationEnabled"]
        assert found["RotationRules"] == rules
        assert found["NextRotationDate"] > found["LastRotatedDate"]
        assert found["VersionIdsToStages"][old] == ["AWSPREVIOUS"]
        assert ("AWSPENDING" in found["VersionIdsToStages"][new]) is keep_pending
        assert client.get_secret_value(SecretId="app")["SecretString"] == "2"
        assert client.list_secrets()["SecretList"][0]["RotationLambdaARN"] == LAMBDA
        client.rotate_secret(SecretId="app")

    def test_a_function_that_fails_leaves_its_version_pending(self, aws: FakeSecretsManager, client: Any) -> None:
        client.create_secret(Name="app", SecretString="1")
        client.rotate_secret(SecretId="app", RotationLambdaARN=LAMBDA)
        aws.fail_rotation("app", "half")
        assert client.get_secret_value(SecretId="app")["SecretString"] == "1"
        assert client.get_secret_value(SecretId="app", VersionStage="AWSPENDING")["SecretString"] == "half"
        client.cancel_rotate_secret(SecretId="app")
        assert client.describe_secret(SecretId="app")["RotationEnabled"] is False

    def test_a_function_can_put_the_pending_value_itself(self, client: Any) -> None:
        client.create_secret(Name="app", SecretString="1")
        new = client.rotate_secret(SecretId="app", RotationLambdaARN=LAMBDA)["VersionId"]
        put = {"SecretId": "app", "SecretString": "2", "ClientRequestToken": new, "VersionStages": ["AWSPENDING"]}
        assert client.put_secret_value(**put)["VersionId"] == new
        assert client.get_secret_value(SecretId="app", VersionStage="AWSPENDING")["SecretString"] == "2"


class TestReplication:
    def test_replicas_can_lag(self, aws: FakeSecretsManager, client: Any) -> None:
        there = aws.client(region="eu-west-1")
        client.create_secret(Name="app", SecretString="1", AddReplicaRegions=[{"Region": "eu-west-1"}])
        aws.hold_replication()
        client.put_secret_value(SecretId="app", SecretString="2")
        assert there.get_secret_value(SecretId="app")["SecretString"] == "1"
        assert client.describe_secret(SecretId="app")["ReplicationStatus"][0]["Status"] == "InProgress"
        aws.release_replication()
        assert there.get_secret_value(SecretId="app")["SecretString"] == "2"
        status = client.describe_secret(SecretId="app")
        assert status["ReplicationStatus"][0]["Status"] == "InSync"
        assert status["PrimaryRegion"] == there.describe_secret(SecretId="app")["PrimaryRegion"] == "eu-central-1"

    def test_replication_can_fail(self, aws: FakeSecretsManager, client: Any) -> None:
        aws.client(region="eu-west-1").create_secret(Name="app", SecretString="other")
        client.create_secret(Name="app", SecretString="1")
        regions = [{"Region": "eu-west-1"}, {"Region": "eu-west-2"}]
        aws.fail_replication("eu-west-2", "no key")
        answer = client.replicate_secret_to_regions(SecretId="app", AddReplicaRegions=regions)
        assert [entry["Status"] for entry in answer["ReplicationStatus"]] == ["Failed", "Failed"]
        assert answer["ReplicationStatus"][1]["StatusMessage"] == "no key"
        assert aws.client(region="eu-west-1").get_secret_value(SecretId="app")["SecretString"] == "other"

    def test_a_replica_can_be_removed_or_stand_alone(self, aws: FakeSecretsManager, client: Any) -> None:
        there = aws.client(region="eu-west-1")
        regions = [{"Region": "eu-west-1"}, {"Region": "eu-west-2"}]
        client.create_secret(Name="app", SecretString="1", AddReplicaRegions=regions)
        client.remove_regions_from_replication(SecretId="app", RemoveReplicaRegions=["eu-west-2"])
        assert aws.names("eu-west-2") == []
        there.stop_replication_to_replica(SecretId="app")
        there.put_secret_value(SecretId="app", SecretString="own")
        assert client.get_secret_value(SecretId="app")["SecretString"] == "1"
        client.delete_secret(SecretId="app")
