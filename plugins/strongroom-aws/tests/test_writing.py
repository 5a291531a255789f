"""Creating and updating secrets: what is sent, what is left alone, and what stands in the way."""

from __future__ import annotations

import secrets
import time

from typing import Any

import pytest

from awsclient import REGION
from awswriting import NAME, asked, delete, destroy, opened, read, text_of, tokens, write
from fakeaws import FakeSecretsManager
from moto_server import Emulator
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidNameError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import ABSENT
from strongroom.testing import FakeClock, assert_hidden, marker_value, report_of

KEY = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
OTHER_REGION = "eu-west-1"
LOOK = "DescribeSecret"
PUT = "PutSecretValue"
CREATE = "CreateSecret"
MOVE = "UpdateSecretVersionStage"
RESTORE = "RestoreSecret"


@pytest.fixture(params=["emulator", "fake"])
def either(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("aws" if request.param == "fake" else "emulator")


class TestRequests:
    def test_a_new_secret_takes_two_and_an_update_one(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        assert asked(aws) == [PUT, CREATE]
        write(backend, "2")
        assert asked(aws) == [PUT]
        assert text_of(backend) == "2"

    def test_a_new_secret_where_none_is_expected_takes_one(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1", ABSENT)
        assert asked(aws) == [CREATE]
        with pytest.raises(VersionConflictError):
            write(backend, "2", ABSENT)
        assert asked(aws) == [CREATE, LOOK]

    def test_a_write_over_an_expected_version_takes_four(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        asked(aws)
        write(backend, "2", first)
        assert asked(aws) == [LOOK, PUT, MOVE, MOVE]

    def test_a_conflict_that_can_be_seen_takes_one_and_leaves_no_version(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        first = write(backend, "1").version
        write(backend, "2")
        asked(aws)
        with pytest.raises(VersionConflictError):
            write(backend, "3", first)
        assert asked(aws) == [LOOK]
        assert len(aws.secret(NAME).versions) == 2

    def test_writing_over_a_deleted_secret_takes_four_or_six(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws, on_deleted="restore")
        write(backend, "1")
        delete(backend)
        asked(aws)
        write(backend, "2")
        assert asked(aws) == [PUT, LOOK, RESTORE, PUT]
        delete(backend)
        asked(aws)
        write(backend, "3", ABSENT)
        assert asked(aws) == [CREATE, LOOK, RESTORE, PUT, MOVE, MOVE]


class TestTokens:
    @pytest.mark.parametrize("operation", [CREATE, PUT])
    def test_a_write_whose_answer_was_lost_makes_one_version(self, aws: FakeSecretsManager, operation: str) -> None:
        backend = opened(aws)
        if operation == PUT:
            aws.client().create_secret(Name=NAME, SecretString="before")
        before = len(aws.secret(NAME).versions) if operation == PUT else 0
        asked(aws)
        aws.after(operation, times=2)
        result = write(backend, "1")
        assert aws.counts[operation] == 3
        assert tokens(aws) == {result.version}
        assert len(aws.secret(NAME).versions) == before + 1
        assert read(backend).version == result.version

    def test_a_creation_whose_answer_was_lost_is_no_conflict(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        aws.after(CREATE)
        result = write(backend, "1", ABSENT)
        assert (text_of(backend), list(aws.secret(NAME).versions)) == ("1", [result.version])

    def test_a_creation_that_is_told_it_exists_after_a_lost_answer_finds_itself(self, aws: FakeSecretsManager) -> None:
        """Whatever an emulator of the service knows of tokens."""
        backend = opened(aws)
        aws.after(CREATE)
        aws.fail(CREATE, "ResourceExistsException")
        result = write(backend, "1", ABSENT)
        assert (text_of(backend), list(aws.secret(NAME).versions)) == ("1", [result.version])

    def test_a_creation_that_was_written_over_after_a_lost_answer_is_none_the_less_one(
        self, aws: FakeSecretsManager
    ) -> None:
        backend = opened(aws)
        aws.after(CREATE, lambda _: aws.client().put_secret_value(SecretId=NAME, SecretString="somebody else's"))
        result = write(backend, "1", ABSENT)
        assert read(backend, version=result.version).value.reveal_text() == "1"
        assert text_of(backend) == "somebody else's"

    def test_the_token_stays_when_another_creates_the_secret_first(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        aws.before(CREATE, lambda _: aws.client().create_secret(Name=NAME, SecretString="somebody else's"))
        result = write(backend, "ours")
        mine = [request for request in aws.sent() if request.parameters.get("SecretString") == "ours"]
        assert {request.parameters["ClientRequestToken"] for request in mine} == {result.version}
        assert text_of(backend) == "ours"
        assert len(aws.secret(NAME).versions) == 2

    def test_the_token_stays_when_another_removes_the_secret_first(self, aws: FakeSecretsManager) -> None:
        """Removed before it could be written: created anew."""
        backend = opened(aws)
        write(backend, "before")
        asked(aws)
        aws.before(PUT, lambda _: aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True))
        result = write(backend, "ours")
        assert tokens(aws) == {result.version}
        assert list(aws.secret(NAME).versions) == [result.version]

    def test_two_writes_of_the_same_value_are_two_versions(self, either: Any) -> None:
        backend = opened(either, prefix=f"{secrets.token_hex(4)}/")
        assert write(backend, "same").version != write(backend, "same").version


class TestBesideTheValue:
    def test_a_new_secret_gets_what_is_configured(self, aws: FakeSecretsManager) -> None:
        backend = opened(
            aws, kms_key_id=KEY, description="of the shop", tags={"team": "shop"}, replicate=(OTHER_REGION,)
        )
        write(backend, "1")
        made = aws.secret(NAME)
        assert made.details == {"KmsKeyId": KEY, "Description": "of the shop"}
        assert (made.tags, list(made.replicas)) == ({"team": "shop"}, [OTHER_REGION])
        assert aws.secret(NAME, OTHER_REGION).is_replica

    @pytest.mark.parametrize("conditional", [False, True])
    def test_an_existing_secret_keeps_what_it_has(self, aws: FakeSecretsManager, conditional: bool) -> None:
        """The emulator forgets the key and takes the tags of each write for the secret's."""
        aws.client().create_secret(
            Name=NAME, SecretString="1", KmsKeyId=KEY, Description="by hand", Tags=[{"Key": "a", "Value": "b"}]
        )
        aws.secret(NAME).policy = "{}"
        backend = opened(aws, kms_key_id="alias/other", description="ours", tags={"c": "d"}, replicate=(OTHER_REGION,))
        write(backend, "2", read(backend).version if conditional else None)
        kept = aws.secret(NAME)
        assert (kept.details["KmsKeyId"], kept.details["Description"]) == (KEY, "by hand")
        assert (kept.tags, kept.policy, kept.replicas) == ({"a": "b"}, "{}", {})

    def test_a_key_that_is_not_there_is_named_as_the_reason(self, aws: FakeSecretsManager) -> None:
        aws.fail(CREATE, "ResourceNotFoundException")
        with pytest.raises(ConfigurationError, match="kms_key_id"):
            write(opened(aws, kms_key_id="alias/nothing"), "1")

    def test_a_secret_that_was_made_without_a_value_gets_its_first_one(self, aws: FakeSecretsManager) -> None:
        """As tools for infrastructure leave it: to a reader it is absent."""
        client = aws.client()
        for number, expected in enumerate((None, ABSENT)):
            client.create_secret(Name=f"made-{number}", Description="by a tool")
            backend = opened(aws)
            made = write(backend, "first", expected, name=f"made-{number}")
            assert read(backend, f"made-{number}").version == made.version
            assert aws.secret(f"made-{number}").details["Description"] == "by a tool"


class TestNames:
    @pytest.mark.parametrize("name", ["a" * 513, "a b", "grün", "a:b"])
    def test_a_name_that_the_service_cannot_have_is_refused_before_any_call(
        self, aws: FakeSecretsManager, name: str
    ) -> None:
        """The emulator takes all of them."""
        backend = opened(aws)
        for expected in (None, ABSENT, "0" * 32):
            with pytest.raises(InvalidNameError):
                write(backend, "1", expected, name=name)
        assert asked(aws) == []

    def test_the_prefix_counts(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws, prefix="app/")
        with pytest.raises(InvalidNameError):
            write(backend, "1", name="a" * 509)
        write(backend, "1", name="a" * 508)
        assert aws.names() == ["app/" + "a" * 508]

    def test_names_that_end_like_an_arn_are_told_apart(self, either: Any) -> None:
        """Each operation reaches its own, whichever of both was there first."""
        for first, second in (("db", "db-AbCdEf"), ("db-AbCdEf", "db")):
            backend = opened(either, prefix=f"{secrets.token_hex(4)}/", recovery_window=0)
            seen = {name: write(backend, f"1 of {name}", ABSENT, name=name).version for name in (first, second)}
            for name in (first, second):
                write(backend, f"2 of {name}", seen[name], name=name)
            assert [text_of(backend, name) for name in (first, second)] == [f"2 of {first}", f"2 of {second}"]
            write(backend, f"3 of {first}", name=first)
            assert text_of(backend, second) == f"2 of {second}"
            delete(backend, first)
            with pytest.raises(SecretNotFoundError):
                read(backend, first)
            assert text_of(backend, second) == f"2 of {second}"
            assert destroy(backend, first).existed is False
            assert destroy(backend, second).existed is True


class TestAliases:
    @pytest.fixture
    def arn(self, aws: FakeSecretsManager) -> str:
        return str(aws.client().create_secret(Name="theirs", SecretString="1")["ARN"])

    def test_the_secret_behind_one_is_written(self, aws: FakeSecretsManager, arn: str) -> None:
        backend = opened(aws, prefix="ours/", arns={NAME: arn})
        version = write(backend, "2").version
        write(backend, "3", version)
        assert text_of(backend) == "3"
        with pytest.raises(VersionConflictError):
            write(backend, "4", ABSENT)
        assert aws.names() == ["theirs"]

    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_none_is_ever_created(self, aws: FakeSecretsManager, arn: str, expected: Any) -> None:
        aws.client().delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
        asked(aws)
        with pytest.raises(SecretNotFoundError, match="`arns`"):
            write(opened(aws, arns={NAME: arn}), "1", expected)
        assert CREATE not in asked(aws)
        assert aws.names() == []


class TestDeleted:
    """The emulator lets a secret that is scheduled for deletion be written to; the service does not."""

    @pytest.mark.parametrize("code", ["InvalidRequestException", "ResourceExistsException"])
    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_a_name_that_is_scheduled_is_refused_with_the_date_and_the_ways_out(
        self, aws: FakeSecretsManager, code: str, expected: Any
    ) -> None:
        """By either of the codes with which emulators say so."""
        backend = opened(aws)
        write(backend, "1")
        until = delete(backend).recoverable_until
        assert until is not None
        aws.fail("*", code, times=1, name=NAME)
        with pytest.raises(SecretDeletedError) as caught:
            write(backend, "2", expected)
        assert (caught.value.code, caught.value.when) == ("deletion_scheduled", until.isoformat())
        assert until.isoformat() in str(caught.value)
        assert "undelete" in caught.value.hint
        assert "destroy" in caught.value.hint

    def test_the_emulator_is_understood_where_it_refuses(self, emulator: Emulator) -> None:
        backend = opened(emulator, prefix=f"{secrets.token_hex(4)}/")
        write(backend, "1")
        delete(backend)
        with pytest.raises(SecretDeletedError) as caught:
            write(backend, "2", ABSENT)
        assert caught.value.code == "deletion_scheduled"

    @pytest.mark.parametrize("on_deleted", ["refuse", "restore"])
    def test_an_expected_version_that_is_scheduled_is_absent(self, aws: FakeSecretsManager, on_deleted: str) -> None:
        backend = opened(aws, on_deleted=on_deleted)
        version = write(backend, "1").version
        delete(backend)
        with pytest.raises(VersionConflictError) as caught:
            write(backend, "2", version)
        assert (caught.value.expected, caught.value.found) == (version, "absent")
        assert aws.secret(NAME).deleted is not None

    @pytest.mark.parametrize("code", ["InvalidRequestException", "ResourceExistsException"])
    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_it_is_restored_and_written_if_so_configured(
        self, aws: FakeSecretsManager, code: str, expected: Any
    ) -> None:
        backend = opened(aws, on_deleted="restore")
        first = write(backend, "1").version
        delete(backend)
        aws.fail("*", code, times=1, name=NAME)
        second = write(backend, "2", expected).version
        assert text_of(backend) == "2"
        assert list(aws.secret(NAME).versions) == [first, second]

    def test_of_two_that_restore_it_one_creates_it(self, aws: FakeSecretsManager) -> None:
        backend, other = opened(aws, on_deleted="restore"), opened(aws, on_deleted="restore")
        write(backend, "1")
        delete(backend)
        aws.before(RESTORE, lambda _: write(other, "theirs", ABSENT))
        with pytest.raises(VersionConflictError) as caught:
            write(backend, "ours", ABSENT)
        assert text_of(backend) == "theirs"
        assert (caught.value.expected, caught.value.found) == ("absent", read(backend).version)

    def test_a_name_that_is_being_deleted_at_once_is_waited_for(self, aws: FakeSecretsManager) -> None:
        for expected in (None, ABSENT):
            backend = opened(aws, recovery_window=0)
            write(backend, "1")
            aws.linger(6)
            delete(backend)
            made = write(backend, "2", expected)
            assert list(aws.secret(NAME).versions) == [made.version]
            aws.linger(0)
            delete(backend)

    @pytest.mark.parametrize("on_deleted", ["refuse", "restore"])
    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_a_name_that_is_taken_although_nothing_is_there_is_waited_for(
        self, aws: FakeSecretsManager, on_deleted: str, expected: Any
    ) -> None:
        aws.fail(CREATE, "InvalidRequestException", times=3)
        made = write(opened(aws, on_deleted=on_deleted), "1", expected)
        assert tokens(aws) == {made.version}
        assert list(aws.secret(NAME).versions) == [made.version]

    @pytest.mark.parametrize("on_deleted", ["refuse", "restore"])
    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_it_is_waited_for_within_the_time_limit(
        self, aws: FakeSecretsManager, on_deleted: str, expected: Any
    ) -> None:
        backend = opened(aws, recovery_window=0, on_deleted=on_deleted)
        write(backend, "1")
        aws.linger(1000)
        delete(backend)
        asked(aws)
        with pytest.raises(BackendUnavailableError) as caught:
            write(backend, "2", expected)
        assert caught.value.code == "busy"
        assert 3 < len(aws.requests) < 60

    @pytest.mark.parametrize("expected", [None, ABSENT])
    def test_a_recovery_window_that_is_nearly_over_is_not_waited_for(
        self, aws: FakeSecretsManager, expected: Any
    ) -> None:
        """Until its end the secret can be brought back, and how long the service takes after that nobody knows."""
        backend = opened(aws)
        write(backend, "1")
        delete(backend)
        aws.secret(NAME).deleted = time.time() + 60.0
        asked(aws)
        with pytest.raises(SecretDeletedError):
            write(backend, "2", expected)
        assert len(asked(aws)) <= 2

    def test_a_secret_that_is_restored_and_deleted_again_and_again_ends_in_an_error(
        self, aws: FakeSecretsManager
    ) -> None:
        clock = FakeClock()
        backend = opened(aws, clock, on_deleted="restore", timeout=12.0)
        write(backend, "1")
        delete(backend)
        # Each time, somebody comes in between, and each time takes a while.
        aws.after(RESTORE, lambda _: aws.client().delete_secret(SecretId=NAME), times=None, how="")
        aws.before(PUT, lambda _: clock.advance(2.0), times=None)
        with pytest.raises(BackendUnavailableError) as caught:
            write(backend, "2")
        assert caught.value.code == "busy"


class TestRefusals:
    def test_what_belongs_to_another_service_is_left_to_it(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        version = write(backend, "1").version
        aws.secret(NAME).details["OwningService"] = "rds"
        for expected in (None, version):
            with pytest.raises(UnsupportedOperationError, match="rds"):
                write(backend, "2", expected)

    def test_a_replica_is_not_written_and_the_error_names_its_primary(self, aws: FakeSecretsManager) -> None:
        version = write(opened(aws, replicate=(OTHER_REGION,)), "1").version
        there = opened(aws, region=OTHER_REGION)
        for expected in (None, version):
            with pytest.raises(UnsupportedOperationError, match=REGION):
                write(there, "2", expected)

    @pytest.mark.parametrize("expected", [None, ABSENT, "0" * 32])
    def test_an_outage_never_sends_a_write_to_a_replica(self, aws: FakeSecretsManager, expected: Any) -> None:
        backend = opened(aws, replicate=(OTHER_REGION,))
        write(backend, "1")
        aws.fail_transport("*", times=None, region=REGION)
        with pytest.raises(BackendUnavailableError):
            write(backend, "2", expected)
        assert aws.sent(region=OTHER_REGION) == []

    @pytest.mark.parametrize("operation", [PUT, CREATE])
    def test_who_may_not_write_is_denied(self, aws: FakeSecretsManager, operation: str) -> None:
        aws.deny(operation)
        with pytest.raises(AccessDeniedError):
            write(opened(aws), "1")

    def test_who_may_not_look_still_learns_that_it_is_not_absent(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        aws.deny(LOOK)
        with pytest.raises(VersionConflictError) as caught:
            write(backend, "2", ABSENT)
        assert caught.value.found is None

    def test_too_many_versions_are_named_as_the_reason(self, aws: FakeSecretsManager) -> None:
        aws.operations.version_limit = 1
        backend = opened(aws)
        version = write(backend, "1").version
        for expected in (None, version):
            with pytest.raises(BackendError, match="versions"):
                write(backend, "2", expected)
        assert text_of(backend) == "1"


@pytest.mark.parametrize("expected", ["none", "absent", "version"])
@pytest.mark.parametrize(
    "operation",
    [PUT, CREATE, LOOK, MOVE],
)
@pytest.mark.parametrize(
    "code",
    [
        "AccessDeniedException",
        "EncryptionFailure",
        "InternalServiceError",
        "InvalidParameterException",
        "InvalidRequestException",
        "LimitExceededException",
        "ResourceExistsException",
        "ResourceNotFoundException",
        "ThrottlingException",
        "ValidationException",
        "UnheardOfException",
        "reset",
        "html",
    ],
)
def test_no_error_shows_the_value(aws: FakeSecretsManager, code: str, operation: str, expected: str) -> None:
    """Whatever the service answers to whichever request, there is a result or an error of ours, without the value."""
    backend, marker = opened(aws), marker_value()
    version = {"none": None, "absent": ABSENT, "version": ""}[expected]
    if expected == "version" or operation == PUT:
        version = write(backend, "before").version if expected == "version" else version
    if code in ("reset", "html"):
        aws.fail_transport(operation, code, times=None)
    else:
        aws.fail(operation, code, times=None)
    try:
        write(backend, marker, version)
    except StrongroomError as error:
        assert_hidden(marker, report_of(error, "strongroom_aws"), f"the error after {code}")
    else:
        aws.heal()
        assert text_of(backend) == marker
