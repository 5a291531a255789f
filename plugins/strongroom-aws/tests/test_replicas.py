"""Deleting secrets that have replicas, and bringing them back with replicas: the emulator does neither as AWS does."""

from __future__ import annotations

from typing import Any

import pytest

from awsclient import REGION
from awswriting import NAME, asked, delete, destroy, opened, read, text_of, undelete, write
from fakeaws import FakeSecretsManager
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    SecretDeletedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom_aws.backend import AwsBackend

DAY = 86_400.0
REPLICAS = ("eu-west-1", "us-east-2")
LOOK = "DescribeSecret"
DELETE = "DeleteSecret"
END = "RemoveRegionsFromReplication"
BEGIN = "ReplicateSecretToRegions"
RESTORE = "RestoreSecret"


def replicating(aws: FakeSecretsManager, **further: Any) -> AwsBackend:
    return opened(aws, **({"replicate": REPLICAS, "recovery_window": 7 * DAY} | further))


def there(aws: FakeSecretsManager) -> list[str]:
    """Return the regions that have a replica."""
    return [region for region in REPLICAS if NAME in aws.names(region)]


def remove(backend: AwsBackend, action: str) -> bool:
    return (destroy(backend) if action == "destroy" else delete(backend)).existed


@pytest.fixture(params=["delete", "delete at once", "destroy"])
def action(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def for_action(aws: FakeSecretsManager, action: str, **further: Any) -> AwsBackend:
    return replicating(aws, recovery_window=0.0 if "once" in action else 7 * DAY, **further)


class TestRemoval:
    def test_the_replicas_of_the_settings_go_first(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        assert there(aws) == list(REPLICAS)
        asked(aws)
        assert remove(backend, action)
        first = [] if action == "delete" else [LOOK]
        assert asked(aws) == [*first, DELETE, LOOK, END, LOOK, DELETE]
        assert there(aws) == []
        with pytest.raises(SecretDeletedError if action == "delete" else SecretNotFoundError):
            read(backend)

    def test_it_is_waited_for_until_they_are_gone(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        aws.linger_replicas(6)
        assert remove(backend, action)
        assert aws.counts[END] == 1
        assert there(aws) == []

    def test_one_that_is_not_shown_any_more_may_still_be_in_the_way(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        aws.after(END, lambda _: aws.fail(DELETE, "InvalidParameterException", times=3), how="")
        assert remove(backend, action)
        assert aws.counts[DELETE] == 5

    def test_it_is_waited_for_within_the_time_limit_and_goes_on_the_next_time(
        self, aws: FakeSecretsManager, action: str
    ) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        aws.linger_replicas(1_000)
        with pytest.raises(BackendUnavailableError, match="replicas") as caught:
            remove(backend, action)
        assert caught.value.code == "busy"
        assert text_of(backend) == "1"
        aws.secret(NAME).leaving = dict.fromkeys(REPLICAS, 3)
        # The service may not take it twice.
        aws.fail(END, "InvalidParameterException")
        assert remove(backend, action)

    def test_exactly_the_regions_that_it_has_are_named(self, aws: FakeSecretsManager, action: str) -> None:
        write(replicating(aws, replicate=REPLICAS[:1]), "1")
        assert remove(for_action(aws, action), action)
        assert [request.parameters["RemoveReplicaRegions"] for request in aws.sent(END)] == [[REPLICAS[0]]]

    def test_a_secret_of_the_same_name_elsewhere_is_left_alone(self, aws: FakeSecretsManager, action: str) -> None:
        """Replication to there has failed, and is listed all the same."""
        aws.client(region=REPLICAS[0]).create_secret(Name=NAME, SecretString="theirs")
        backend = for_action(aws, action)
        write(backend, "1")
        assert remove(backend, action)
        assert aws.secret(NAME, REPLICAS[0]).deleted is None
        assert there(aws) == [REPLICAS[0]]

    def test_a_replica_that_somebody_adds_meanwhile_is_left_alone(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action, replicate=REPLICAS[:1])
        write(backend, "1")

        def add(_: object) -> None:
            aws.client().replicate_secret_to_regions(SecretId=NAME, AddReplicaRegions=[{"Region": REPLICAS[1]}])

        aws.before(END, add)
        with pytest.raises(UnsupportedOperationError, match=REPLICAS[1]):
            remove(backend, action)
        assert there(aws) == [REPLICAS[1]]
        assert text_of(backend) == "1"

    @pytest.mark.parametrize("operation", [LOOK, END, DELETE])
    def test_a_lost_answer_is_asked_for_again(self, aws: FakeSecretsManager, action: str, operation: str) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        aws.after(operation, times=2)
        assert remove(backend, action)
        assert there(aws) == []

    def test_who_may_not_end_replication_is_denied_and_everything_stays(
        self, aws: FakeSecretsManager, action: str
    ) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        aws.deny(END)
        with pytest.raises(AccessDeniedError):
            remove(backend, action)
        assert there(aws) == list(REPLICAS)
        assert text_of(backend) == "1"

    def test_who_may_not_delete_ends_no_replication(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action)
        write(backend, "1")
        aws.deny(DELETE)
        with pytest.raises(AccessDeniedError):
            remove(backend, action)
        assert there(aws) == list(REPLICAS)

    def test_what_is_known_by_its_arn_only_keeps_its_replicas(self, aws: FakeSecretsManager, action: str) -> None:
        write(replicating(aws), "1")
        backend = for_action(aws, action, arns={"alias": aws.secret(NAME).arn})
        with pytest.raises(UnsupportedOperationError, match=REPLICAS[0]):
            destroy(backend, "alias") if action == "destroy" else delete(backend, "alias")
        assert there(aws) == list(REPLICAS)

    @pytest.mark.parametrize("moment", [LOOK, END])
    def test_who_removes_the_replicas_first_is_no_error(
        self, aws: FakeSecretsManager, action: str, moment: str
    ) -> None:
        backend = for_action(aws, action)
        write(backend, "1")

        def come_first(_: object) -> None:
            aws.client().remove_regions_from_replication(SecretId=NAME, RemoveReplicaRegions=[*REPLICAS])

        # After the service has refused to delete it.
        aws.after(DELETE, lambda _: aws.before(moment, come_first), how="")
        assert remove(backend, action)

    def test_a_refusal_of_another_reason_is_told(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action, replicate=REPLICAS)
        write(opened(aws), "1")
        aws.fail(DELETE, "InvalidParameterException", times=None)
        with pytest.raises(BackendError, match="InvalidParameterException"):
            remove(backend, action)
        assert aws.counts[DELETE] == 2

    def test_who_removes_it_first_is_no_error(self, aws: FakeSecretsManager, action: str) -> None:
        backend = for_action(aws, action)
        write(backend, "1")

        def come_first(_: object) -> None:
            aws.client().remove_regions_from_replication(SecretId=NAME, RemoveReplicaRegions=[*REPLICAS])
            aws.client().delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)

        aws.before(END, come_first)
        remove(backend, action)
        assert aws.names() == []


class TestBringingBack:
    def test_it_gets_its_replicas_again(self, aws: FakeSecretsManager) -> None:
        backend = replicating(aws)
        version = write(backend, "1").version
        delete(backend)
        asked(aws)
        assert undelete(backend).version == version
        assert asked(aws) == [LOOK, RESTORE, BEGIN]
        assert there(aws) == list(REPLICAS)

    def test_a_write_that_brings_it_back_replicates_it_too(self, aws: FakeSecretsManager) -> None:
        backend = replicating(aws, on_deleted="restore")
        write(backend, "1")
        delete(backend)
        write(backend, "2")
        assert there(aws) == list(REPLICAS)
        assert text_of(opened(aws, region=REPLICAS[0])) == "2"

    def test_only_the_regions_that_are_missing_are_named(self, aws: FakeSecretsManager) -> None:
        write(replicating(aws, replicate=REPLICAS[:1]), "1")
        undelete(replicating(aws))
        assert [request.parameters["AddReplicaRegions"] for request in aws.sent(BEGIN)] == [[{"Region": REPLICAS[1]}]]
        undelete(replicating(aws))
        assert aws.counts[BEGIN] == 1

    def test_nothing_elsewhere_is_overwritten(self, aws: FakeSecretsManager) -> None:
        backend = replicating(aws)
        write(backend, "1")
        delete(backend)
        aws.client(region=REPLICAS[0]).create_secret(Name=NAME, SecretString="theirs")
        undelete(backend)
        assert not aws.secret(NAME, REPLICAS[0]).is_replica
        assert "ForceOverwriteReplicaSecret" not in aws.sent(BEGIN)[0].parameters

    def test_if_it_cannot_be_replicated_the_error_says_that_it_is_back_and_another_try_completes_it(
        self, aws: FakeSecretsManager
    ) -> None:
        backend = replicating(aws)
        write(backend, "1")
        delete(backend)
        aws.deny(BEGIN)
        with pytest.raises(AccessDeniedError, match="which is back"):
            undelete(backend)
        assert text_of(backend) == "1"
        aws.allow()
        undelete(backend)
        assert there(aws) == list(REPLICAS)

    def test_who_replicates_it_first_is_no_error(self, aws: FakeSecretsManager) -> None:
        backend = replicating(aws)
        write(backend, "1")
        delete(backend)

        def come_first(_: object) -> None:
            added = [{"Region": region} for region in REPLICAS]
            aws.client().replicate_secret_to_regions(SecretId=NAME, AddReplicaRegions=added)
            aws.fail(BEGIN, "InvalidParameterException")

        aws.before(BEGIN, come_first)
        undelete(backend)
        assert there(aws) == list(REPLICAS)

    def test_a_refusal_of_another_reason_is_told(self, aws: FakeSecretsManager) -> None:
        backend = replicating(aws)
        write(backend, "1")
        delete(backend)
        aws.fail(BEGIN, "InvalidParameterException")
        with pytest.raises(BackendError, match="replicating app/db, which is back"):
            undelete(backend)

    def test_what_is_known_by_its_arn_only_is_not_replicated(self, aws: FakeSecretsManager) -> None:
        write(opened(aws), "1")
        delete(opened(aws))
        backend = replicating(aws, arns={"alias": aws.secret(NAME).arn})
        undelete(backend, "alias")
        assert there(aws) == []
        assert text_of(backend, "alias") == "1"
        assert aws.sent(region=REGION)
