"""Deleting, bringing back and destroying secrets."""

from __future__ import annotations

import secrets

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from awsclient import REGION
from awswriting import NAME, asked, delete, destroy, opened, read, text_of, undelete, write
from fakeaws import FakeSecretsManager
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.model import ABSENT
from strongroom_aws.backend import AwsBackend

DAY = 86_400.0
OTHER_REGION = "eu-west-1"
LOOK = "DescribeSecret"
DELETE = "DeleteSecret"
RESTORE = "RestoreSecret"
SLACK = timedelta(minutes=5)


@pytest.fixture(params=["emulator", "fake"])
def either(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("aws" if request.param == "fake" else "emulator")


def below(server: Any, **further: Any) -> AwsBackend:
    """Open a backend below a prefix of its own: the emulator is shared."""
    return opened(server, prefix=f"{secrets.token_hex(4)}/", **further)


def in_days(days: int) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


class TestDelete:
    @pytest.mark.parametrize("days", [7, 30])
    def test_it_says_until_when_the_secret_can_be_brought_back(self, either: Any, days: int) -> None:
        backend = below(either, recovery_window=days * DAY)
        write(backend, "1")
        result = delete(backend)
        assert result.existed
        assert result.recoverable_until is not None
        assert abs(result.recoverable_until - in_days(days)) < SLACK
        assert result.recoverable_until.tzinfo is UTC

    def test_what_is_deleted_is_read_as_scheduled(self, either: Any) -> None:
        backend = below(either)
        version = write(backend, "1").version
        delete(backend)
        for wanted in (None, version):
            with pytest.raises(SecretDeletedError) as caught:
                read(backend, NAME, wanted)
            assert caught.value.code == "deletion_scheduled"

    def test_a_second_time_there_is_nothing_and_the_date_stays(self, either: Any) -> None:
        backend = below(either)
        write(backend, "1")
        until = delete(backend).recoverable_until
        again = delete(backend)
        assert (again.existed, again.recoverable_until) == (False, until)

    def test_what_is_missing_is_no_error(self, either: Any) -> None:
        for window in (0.0, 7 * DAY):
            result = delete(below(either, recovery_window=window))
            assert (result.existed, result.recoverable_until) == (False, None)

    def test_at_once_there_is_no_way_back_and_the_name_is_free(self, either: Any) -> None:
        backend = below(either, recovery_window=0)
        before = write(backend, "1").version
        result = delete(backend)
        assert (result.existed, result.recoverable_until) == (True, None)
        with pytest.raises(SecretNotFoundError):
            undelete(backend)
        assert write(backend, "2", ABSENT).version != before

    def test_it_takes_one_request_or_two_at_once(self, aws: FakeSecretsManager) -> None:
        for window, operations in ((7 * DAY, [DELETE]), (0.0, [LOOK, DELETE])):
            backend = opened(aws, recovery_window=window)
            name = f"after-{window}"
            write(backend, "1", name=name)
            asked(aws)
            delete(backend, name)
            assert asked(aws) == operations

    def test_a_lost_answer_does_not_make_it_nothing(self, aws: FakeSecretsManager) -> None:
        for window in (7 * DAY, 0.0):
            backend = opened(aws, recovery_window=window)
            name = f"after-{window}"
            write(backend, "1", name=name)
            aws.after(DELETE)
            result = delete(backend, name)
            assert result.existed
            assert (result.recoverable_until is not None) == bool(window)

    def test_at_once_leaves_what_is_scheduled_already_to_its_window(self, aws: FakeSecretsManager) -> None:
        write(opened(aws), "1")
        until = delete(opened(aws)).recoverable_until
        result = delete(opened(aws, recovery_window=0))
        assert (result.existed, result.recoverable_until) == (False, until)
        assert undelete(opened(aws)).version in aws.secret(NAME).versions

    def test_a_date_that_is_not_the_end_of_the_window_is_not_taken_for_it(self, aws: FakeSecretsManager) -> None:
        """The service may describe a deleted secret with the time of its deletion."""
        backend = opened(aws)
        write(backend, "1")
        delete(backend)
        aws.secret(NAME).deleted = aws.store.clock() - 60.0
        assert delete(backend).recoverable_until is None

    def test_who_may_delete_but_not_look_can_do_it_at_once(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws, recovery_window=0)
        write(backend, "1")
        aws.deny(LOOK)
        assert delete(backend).existed
        assert aws.names() == []

    def test_who_may_not_delete_is_denied(self, aws: FakeSecretsManager) -> None:
        for window in (7 * DAY, 0.0):
            backend = opened(aws, recovery_window=window)
            write(backend, "1")
            aws.deny(DELETE)
            with pytest.raises(AccessDeniedError):
                delete(backend)

    def test_its_neighbours_are_spared(self, either: Any) -> None:
        for window in (7 * DAY, 0.0):
            backend = below(either, recovery_window=window)
            for name in ("a", "a/b", "ab", "a-AbCdEf"):
                write(backend, name, name=name)
            delete(backend, "a")
            assert [text_of(backend, name) for name in ("a/b", "ab", "a-AbCdEf")] == ["a/b", "ab", "a-AbCdEf"]


class TestReplicas:
    @pytest.mark.parametrize("action", ["delete", "delete at once", "destroy"])
    def test_a_secret_that_has_some_is_kept_and_the_error_names_them(
        self, aws: FakeSecretsManager, action: str
    ) -> None:
        write(opened(aws, replicate=(OTHER_REGION, "us-east-2")), "1")
        # One of its replicas is none of ours.
        backend = opened(aws, replicate=("us-east-2",), recovery_window=0 if "once" in action else 7 * DAY)
        with pytest.raises(UnsupportedOperationError, match=OTHER_REGION) as caught:
            destroy(backend) if action == "destroy" else delete(backend)
        assert "remove-regions-from-replication" in caught.value.hint
        assert text_of(backend) == "1"
        assert aws.names(OTHER_REGION) == aws.names("us-east-2") == [NAME]
        assert "RemoveRegionsFromReplication" not in asked(aws)

    @pytest.mark.parametrize("window", [7 * DAY, 0.0])
    def test_one_is_not_deleted_and_the_error_names_its_primary(self, aws: FakeSecretsManager, window: float) -> None:
        write(opened(aws, replicate=(OTHER_REGION,)), "1")
        there = opened(aws, region=OTHER_REGION, recovery_window=window)
        for action in (delete, destroy):
            with pytest.raises(UnsupportedOperationError, match=REGION):
                action(there)

    def test_an_outage_never_sends_a_removal_to_one(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws, replicate=(OTHER_REGION,))
        write(backend, "1")
        aws.fail_transport("*", times=None, region=REGION)
        for action in (delete, undelete, destroy):
            with pytest.raises(BackendUnavailableError):
                action(backend)
        assert aws.sent(region=OTHER_REGION) == []


class TestUndelete:
    def test_the_secret_comes_back_with_all_its_versions(self, either: Any) -> None:
        backend = below(either)
        first, second = write(backend, "1").version, write(backend, b"\x00\xff").version
        for version in (None, second):
            delete(backend)
            assert undelete(backend, version=version).version == second
            assert read(backend).value.reveal() == b"\x00\xff"
            assert read(backend, version=first).value.reveal_text() == "1"

    @pytest.mark.parametrize("deleted", [False, True])
    def test_it_takes_two_requests(self, aws: FakeSecretsManager, deleted: bool) -> None:
        backend = opened(aws)
        version = write(backend, "1").version
        if deleted:
            delete(backend)
        asked(aws)
        assert undelete(backend).version == version
        assert asked(aws) == [LOOK, RESTORE]

    def test_what_is_there_is_brought_back_even_if_the_service_refuses_that(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        version = write(backend, "1").version
        aws.fail(RESTORE, "InvalidRequestException")
        assert undelete(backend).version == version

    def test_a_lost_answer_is_asked_for_again(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        version = write(backend, "1").version
        delete(backend)
        aws.after(RESTORE)
        assert undelete(backend).version == version

    @pytest.mark.parametrize("deleted", [False, True])
    def test_an_older_version_does_not_come_back_in_place_of_the_current_one(self, either: Any, deleted: bool) -> None:
        backend = below(either)
        first, second = write(backend, "1").version, write(backend, "2").version
        if deleted:
            delete(backend)
        with pytest.raises(UnsupportedOperationError, match=second):
            undelete(backend, version=first)
        if deleted:
            with pytest.raises(SecretDeletedError):
                read(backend)

    @pytest.mark.parametrize("version", ["", "7777", "no such version", "x" * 65])
    def test_what_never_was_a_version_is_not_found(self, aws: FakeSecretsManager, version: str) -> None:
        backend = opened(aws)
        write(backend, "1")
        with pytest.raises(SecretNotFoundError) as caught:
            undelete(backend, version=version)
        assert caught.value.code == "version_not_found"

    def test_what_never_was_or_is_gone_is_not_found(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        with pytest.raises(SecretNotFoundError):
            undelete(backend)
        write(backend, "1")
        delete(backend)
        aws.before(RESTORE, lambda _: aws.finish_deletion(NAME))
        with pytest.raises(SecretNotFoundError):
            undelete(backend)

    def test_a_secret_without_a_value_is_not_found(self, aws: FakeSecretsManager) -> None:
        aws.client().create_secret(Name=NAME)
        with pytest.raises(SecretNotFoundError):
            undelete(opened(aws))

    def test_what_is_being_deleted_at_once_is_destroyed(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        aws.linger(10)
        destroy(backend)
        with pytest.raises(SecretDeletedError) as caught:
            undelete(backend)
        assert caught.value.code == "destroyed"


class TestDestroy:
    @pytest.mark.parametrize("deleted", [False, True])
    def test_the_secret_is_gone_and_its_name_is_free(self, either: Any, deleted: bool) -> None:
        backend = below(either)
        write(backend, "1")
        if deleted:
            delete(backend)
        assert destroy(backend).existed
        with pytest.raises(SecretNotFoundError) as caught:
            read(backend)
        assert not isinstance(caught.value, SecretDeletedError)
        write(backend, "2", ABSENT)
        assert text_of(backend) == "2"

    def test_what_is_missing_is_no_error(self, either: Any) -> None:
        assert destroy(below(either)).existed is False

    def test_it_takes_two_requests(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        asked(aws)
        destroy(backend)
        assert asked(aws) == [LOOK, DELETE]

    def test_single_versions_are_refused_before_any_request(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        version = write(backend, "1").version
        asked(aws)
        for versions in ((version,), ("7777",), (version, "7777")):
            with pytest.raises(UnsupportedOperationError):
                destroy(backend, NAME, *versions)
        assert asked(aws) == []
        assert text_of(backend) == "1"

    def test_what_belongs_to_another_service_is_left_to_it(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        aws.secret(NAME).details["OwningService"] = "rds"
        aws.fail(DELETE, "InvalidRequestException", times=None)
        for action in (delete, destroy):
            with pytest.raises(UnsupportedOperationError, match="rds"):
                action(backend)


class TestOvertaken:
    """Somebody else deletes or restores between two requests of ours; nothing is wrong with the secret."""

    def test_a_read_is_repeated_if_the_secret_is_back_by_then(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        delete(backend)
        aws.before(LOOK, lambda _: aws.client().restore_secret(SecretId=NAME))
        assert text_of(backend) == "1"
        assert asked(aws)[-3:] == [LOOK, RESTORE, "GetSecretValue"]

    def test_a_delete_is_repeated_if_the_secret_is_back_by_then(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws)
        write(backend, "1")
        delete(backend)
        aws.before(LOOK, lambda _: aws.client().restore_secret(SecretId=NAME))
        assert delete(backend).existed
        with pytest.raises(SecretDeletedError):
            read(backend)

    def test_an_undelete_that_is_undone_at_once_says_so(self, aws: FakeSecretsManager) -> None:
        backend = opened(aws, replicate=(OTHER_REGION,))
        write(backend, "1")
        delete(backend)
        aws.before("ReplicateSecretToRegions", lambda _: aws.client().delete_secret(SecretId=NAME))
        with pytest.raises(SecretDeletedError) as caught:
            undelete(backend)
        assert caught.value.code == "deletion_scheduled"
