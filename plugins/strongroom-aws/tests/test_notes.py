"""Notes about secrets, which the service calls tags, and what else a description says."""

from __future__ import annotations

from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from awsbackends import opened
from fakeaws import FakeSecretsManager
from moto_server import Emulator
from strongroom.contracts import AnnotateRequest, DescribeRequest, DescribeResult
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import SecretName
from strongroom.testing import assert_hidden, marker_value
from strongroom_aws.backend import AwsBackend
from strongroom_aws.notes import notes_problem

LAMBDA = "arn:aws:lambda:eu-central-1:123456789012:function:rotate"
RESERVED = "aws:cloudformation:stack-name"


def described(backend: AwsBackend, name: str = "app") -> DescribeResult:
    return backend.describe(DescribeRequest(name=SecretName(name)))


def annotate(backend: AwsBackend, notes: dict[str, str], name: str = "app") -> str | None:
    return backend.annotate(AnnotateRequest(name=SecretName(name), metadata=notes)).request_id


def numbered(*numbers: int) -> dict[str, str]:
    return {f"tag-{number}": str(number) for number in numbers}


class TestAnnotating:
    def test_the_emulator_and_the_fake_keep_notes_alike(self, emulator: Emulator, aws: FakeSecretsManager) -> None:
        for url, client in ((emulator.url, emulator.client()), (aws.url, aws.client())):
            prefix = f"{token_hex(4)}/"
            client.create_secret(Name=f"{prefix}app", SecretString="x", Tags=[{"Key": "made by", "Value": "somebody"}])
            with opened(url, prefix=prefix) as backend:
                assert described(backend).metadata == {"made by": "somebody"}
                for notes in (
                    {"owner": "team shop", "Owner": "somebody else", "Schlüssel": "価値 1/2 = a+b-c_d:e@f."},
                    {"owner": "another team", "empty": ""},
                    {},
                ):
                    assert annotate(backend, notes)
                    assert described(backend).metadata == notes

    def test_only_what_differs_is_sent(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        client.create_secret(Name="app", SecretString="x")
        annotate(backend, {"same": "1", "changed": "1", "gone": "1"})
        start = len(aws.requests)
        annotate(backend, {"same": "1", "changed": "2", "new": "1"})
        look, tag, untag = aws.requests[start:]
        assert look.operation == "DescribeSecret"
        assert (tag.operation, untag.operation) == ("TagResource", "UntagResource")
        assert tag.parameters["Tags"] == [{"Key": "changed", "Value": "2"}, {"Key": "new", "Value": "1"}]
        assert untag.parameters["TagKeys"] == ["gone"]
        start = len(aws.requests)
        annotate(backend, {"same": "1", "changed": "2", "new": "1"})
        assert [request.operation for request in aws.requests[start:]] == ["DescribeSecret"]

    def test_what_aws_has_set_is_no_note_and_stays(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x")
        aws.secret("app").tags = {RESERVED: "web", "owner": "me"}
        assert described(backend).metadata == {"owner": "me"}
        annotate(backend, {})
        assert described(backend).metadata == {}
        assert aws.secret("app").tags == {RESERVED: "web"}

    def test_no_note_is_lost_if_it_stops_half_way(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x")
        annotate(backend, {"old": "1"})
        aws.deny("UntagResource")
        with pytest.raises(AccessDeniedError, match="removing"):
            annotate(backend, {"new": "1"})
        assert described(backend).metadata == {"old": "1", "new": "1"}
        aws.allow()
        annotate(backend, {"new": "1"})
        assert described(backend).metadata == {"new": "1"}
        aws.fail("TagResource", "InternalServiceError", times=None)
        with pytest.raises(BackendUnavailableError):
            annotate(backend, {"newer": "1"})
        assert described(backend).metadata == {"new": "1"}

    def test_fifty_notes_can_be_replaced_by_fifty_others(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        """The service never holds more, so the old ones have to go first."""
        client.create_secret(Name="app", SecretString="x")
        annotate(backend, numbered(*range(50)))
        annotate(backend, numbered(*range(25, 75)))
        assert described(backend).metadata == numbered(*range(25, 75))

    def test_an_answer_that_got_lost_does_no_harm(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x")
        annotate(backend, {"old": "1"})
        aws.after("TagResource")
        aws.after("UntagResource")
        annotate(backend, {"new": "1"})
        assert described(backend).metadata == {"new": "1"}

    def test_what_is_not_there_gets_no_notes(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        with pytest.raises(SecretNotFoundError):
            annotate(backend, {"a": "1"})
        client.create_secret(Name="app", SecretString="x")
        # It is deleted between our look and our change.
        aws.before("TagResource", lambda _: client.delete_secret(SecretId="app", ForceDeleteWithoutRecovery=True))
        with pytest.raises(SecretNotFoundError):
            annotate(backend, {"a": "1"})

    def test_what_is_scheduled_for_deletion_gets_no_notes(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x")
        client.delete_secret(SecretId="app", RecoveryWindowInDays=7)
        with pytest.raises(SecretDeletedError):
            annotate(backend, {"a": "1"})
        assert aws.counts["TagResource"] == 0


class TestLimits:
    @pytest.mark.parametrize(
        ("notes", "problem"),
        [
            (numbered(*range(51)), "51"),
            ({"": "1"}, "from 1 to 128"),
            ({"x" * 129: "1"}, "from 1 to 128"),
            ({"a": "x" * 257}, "256"),
            ({RESERVED: "1"}, "reserved"),
            ({"AWS:x": "1"}, "reserved"),
            ({"a%": "1"}, "name 'a%'"),
            ({"a": "50 %"}, "text of 'a'"),
            ({"a": "two\nlines"}, "text of 'a'"),
            ({"a": "\u202e"}, "text of 'a'"),
            ({"a": "\ud800"}, "text of 'a'"),
        ],
    )
    def test_notes_that_the_service_cannot_hold_are_refused_before_anything_is_sent(
        self, aws: FakeSecretsManager, backend: AwsBackend, notes: dict[str, str], problem: str
    ) -> None:
        with pytest.raises(InvalidValueError, match=problem) as caught:
            annotate(backend, notes)
        assert caught.value.name == "app"
        assert aws.requests == []

    def test_the_largest_notes_are_kept(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        client.create_secret(Name="app", SecretString="x")
        notes = {f"{number:02}{'ä' * 126}": "ß" * 256 for number in range(50)}
        annotate(backend, notes)
        assert described(backend).metadata == notes

    @given(key=st.text(max_size=140), text=st.text(max_size=270))
    @example(key="aws", text="aws:")
    def test_whatever_is_taken_is_within_the_published_limits(self, key: str, text: str) -> None:
        if notes_problem({key: text}):
            return
        assert 1 <= len(key) <= 128
        assert len(text) <= 256
        assert not key.lower().startswith("aws:")
        for character in key + text:
            assert character.isalnum() or character.isspace() or character in "_.:/=+-@", ascii(character)
            assert character not in "\t\n\r\v\f\x85\u2028\u2029", ascii(character)


class TestDescribing:
    def test_all_that_the_service_says_is_told(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        answer = client.create_secret(
            Name="app",
            SecretString="x",
            Description="for the shop",
            KmsKeyId="alias/shop",
            AddReplicaRegions=[{"Region": "eu-west-1"}, {"Region": "eu-west-2"}],
        )
        aws.fail_replication("eu-west-2", "no key")
        version = client.put_secret_value(SecretId="app", SecretString="y")["VersionId"]
        aws.secret("app").details |= {
            "RotationEnabled": True,
            "RotationLambdaARN": LAMBDA,
            "RotationRules": {"ScheduleExpression": "rate(10 days)", "Duration": "3h"},
            "LastRotatedDate": 1_700_000_000,
            "NextRotationDate": 1_700_864_000,
            "LastAccessedDate": 1_700_000_000,
            "OwningService": "shop.amazonaws.com",
        }
        found = described(backend)
        secret = aws.secret("app")
        assert found.version == version
        assert found.created == datetime.fromtimestamp(secret.created, UTC)
        assert found.updated == datetime.fromtimestamp(secret.changed, UTC)
        assert found.request_id
        assert dict(found.facts) == {
            "arn": answer["ARN"],
            "description": "for the shop",
            "owning_service": "shop.amazonaws.com",
            "primary_region": "eu-central-1",
            "rotation_function": LAMBDA,
            "kms_key": "alias/shop",
            "rotation": "on",
            "rotation_rule": "rate(10 days), window 3h",
            "last_accessed": "2023-11-14T22:13:20+00:00",
            "last_rotated": "2023-11-14T22:13:20+00:00",
            "next_rotation": "2023-11-24T22:13:20+00:00",
            "replica eu-west-1": "InSync",
            "replica eu-west-2": "Failed: no key",
        }

    def test_what_is_not_said_is_left_out(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        answer = client.create_secret(Name="app")
        found = described(backend)
        assert found.version is None
        assert found.metadata == {}
        assert dict(found.facts) == {"arn": answer["ARN"], "kms_key": "aws/secretsmanager"}

    def test_a_rotation_that_was_turned_off_is_told_with_its_rule(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x")
        client.rotate_secret(
            SecretId="app",
            RotationLambdaARN=LAMBDA,
            RotationRules={"AutomaticallyAfterDays": 30},
            RotateImmediately=False,
        )
        client.cancel_rotate_secret(SecretId="app")
        facts = dict(described(backend).facts)
        assert (facts["rotation"], facts["rotation_rule"]) == ("off", "every 30 days")

    def test_a_secret_that_is_scheduled_for_deletion_is_described_with_the_date(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x", Tags=[{"Key": "owner", "Value": "me"}])
        client.delete_secret(SecretId="app", RecoveryWindowInDays=7)
        found = described(backend)
        assert found.metadata == {"owner": "me"}
        assert datetime.fromisoformat(dict(found.facts)["scheduled_for_deletion"]) > datetime.now(UTC)

    def test_what_a_description_cannot_be_had_for_is_told_apart(
        self, aws: FakeSecretsManager, backend: AwsBackend, client: Any
    ) -> None:
        client.create_secret(Name="app", SecretString="x")
        found: dict[str, type[StrongroomError]] = {}
        aws.deny("DescribeSecret", "app")
        for name in ("app", "missing"):
            with pytest.raises(StrongroomError) as caught:
                described(backend, name)
            found[name] = type(caught.value)
        assert found == {"app": AccessDeniedError, "missing": SecretNotFoundError}

    def test_no_value_is_in_a_description(self, aws: FakeSecretsManager, backend: AwsBackend, client: Any) -> None:
        marker = marker_value()
        client.create_secret(Name="app", SecretString=marker)
        assert_hidden(marker, repr(described(backend)), "a description")
