"""Reads go to replicas while the usual region has an outage, and nothing else ever does."""

from __future__ import annotations

import itertools
import time
import uuid

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from awsbackends import (
    REPLICA,
    SECOND_REPLICA,
    Waits,
    delete,
    list_names,
    managed,
    opened,
    read,
    read_many,
    write,
)
from awsclient import REGION
from fakeaws import FakeSecretsManager
from faultproxy import FaultProxy
from moto_server import Emulator
from strongroom.contracts import (
    DescribeRequest,
    DestroyRequest,
    HealthState,
    PromoteRequest,
    ReadRequest,
    ReadResult,
    RotationStatusRequest,
    StageRequest,
    UndeleteRequest,
    VersionsRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    InvalidNameError,
    SecretDeletedError,
    SecretNotFoundError,
)
from strongroom.model import Freshness, SecretName, SecretValue
from strongroom.testing import FakeClock, in_forked_child, in_threads
from strongroom_aws import changes
from strongroom_aws.backend import AwsBackend
from strongroom_aws.changes import DRIFT, OwnChanges
from strongroom_aws.outages import LONGEST_SECONDS, Outage
from strongroom_aws.settings import RateSettings

NAME = SecretName("app/key")
BOTH = (REPLICA, SECOND_REPLICA)


def replicated(aws: FakeSecretsManager, *names: str, regions: tuple[str, ...] = BOTH) -> None:
    for name in names or ("app/key",):
        aws.client().create_secret(
            Name=name, SecretString=f"of {name}", AddReplicaRegions=[{"Region": region} for region in regions]
        )


def outage(aws: FakeSecretsManager, region: str = REGION, times: int | None = None) -> None:
    aws.fail_transport("*", "reset", times=times, region=region)


def regions(aws: FakeSecretsManager) -> list[str]:
    """Return which regions were asked since, and forget it."""
    asked = [request.region for request in aws.requests]
    aws.requests.clear()
    return asked


@pytest.fixture
def backend(aws: FakeSecretsManager, waits: Waits) -> Iterator[AwsBackend]:
    with opened(aws.url, waits, replicas=BOTH, attempts=1) as backend:
        yield backend


class TestReads:
    def test_without_an_outage_only_the_usual_region_is_asked(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws)
        regions(aws)
        found = backend.read(ReadRequest(name=NAME))
        assert (found.value.reveal_text(), found.place) == ("of app/key", None)
        assert regions(aws) == [REGION]

    @pytest.mark.parametrize("how", ["reset", "close", "cut", "empty", "html"])
    def test_an_outage_is_answered_by_the_first_replica(
        self, aws: FakeSecretsManager, backend: AwsBackend, how: str
    ) -> None:
        replicated(aws)
        regions(aws)
        aws.fail_transport("*", how, times=None, region=REGION)
        found = backend.read(ReadRequest(name=NAME))
        assert (found.value.reveal_text(), found.place) == ("of app/key", f"region {REPLICA}")
        assert regions(aws) == [REGION, REPLICA]

    @pytest.mark.parametrize("code", ["InternalServiceError", "ServiceUnavailable", "ThrottlingException"])
    def test_so_is_an_answer_that_says_that_there_is_none_now(
        self, aws: FakeSecretsManager, backend: AwsBackend, code: str
    ) -> None:
        replicated(aws)
        aws.fail("*", code, times=None, region=REGION)
        assert backend.read(ReadRequest(name=NAME)).place == f"region {REPLICA}"

    def test_the_place_reaches_whoever_reads_through_a_manager(self, aws: FakeSecretsManager) -> None:
        replicated(aws)
        outage(aws)
        with managed(aws.url, replicas=list(BOTH), attempts=1) as manager:
            assert manager.get("app/key").place == f"region {REPLICA}"

    def test_what_a_replica_has_said_is_cached_and_stays_marked(self, aws: FakeSecretsManager) -> None:
        replicated(aws)
        outage(aws, times=1)
        with managed(aws.url, replicas=list(BOTH), attempts=1) as manager:
            manager.get("app/key")
            cached = manager.get("app/key")
            assert (cached.freshness, cached.place) == (Freshness.CACHED, f"region {REPLICA}")
        assert regions(aws)[1:] == [REGION, REPLICA]

    def test_an_older_version_is_read_there_as_well(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws)
        version = next(iter(aws.secret("app/key").versions))
        aws.client().put_secret_value(SecretId="app/key", SecretString="new")
        outage(aws)
        assert read(backend) == "new"
        assert read(backend, version=version) == "of app/key"

    def test_the_regions_are_asked_in_order(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws)
        regions(aws)
        outage(aws)
        outage(aws, REPLICA)
        assert backend.read(ReadRequest(name=NAME)).place == f"region {SECOND_REPLICA}"
        assert regions(aws) == [REGION, REPLICA, SECOND_REPLICA]

    @pytest.mark.parametrize(
        "code",
        [
            "ResourceNotFoundException",
            "AccessDeniedException",
            "DecryptionFailure",
            "InvalidRequestException",
            "UnrecognizedClientException",
            "Surprise",
        ],
    )
    def test_what_a_replica_refuses_says_nothing(self, aws: FakeSecretsManager, backend: AwsBackend, code: str) -> None:
        replicated(aws)
        outage(aws)
        aws.fail("*", code, times=None, region=REPLICA)
        assert backend.read(ReadRequest(name=NAME)).place == f"region {SECOND_REPLICA}"

    def test_if_no_replica_has_it_the_outage_is_told_with_the_regions_that_were_asked(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        aws.client().create_secret(Name="app/key", SecretString="only here")
        outage(aws)
        with pytest.raises(BackendUnavailableError, match=f"{REGION} .*: {REPLICA}, {SECOND_REPLICA}") as caught:
            read(backend)
        assert caught.value.code == "unavailable"

    @pytest.mark.parametrize(
        ("prepare", "error"),
        [
            (lambda aws: aws.client().delete_secret(SecretId="app/only-here"), SecretDeletedError),
            (lambda aws: aws.deny("GetSecretValue", region=REGION), AccessDeniedError),
            (lambda aws: aws.fail("*", "ResourceNotFoundException", times=None, region=REGION), SecretNotFoundError),
        ],
        ids=["scheduled", "denied", "missing"],
    )
    def test_what_the_usual_region_refuses_counts(
        self, aws: FakeSecretsManager, backend: AwsBackend, prepare: Any, error: type[Exception]
    ) -> None:
        aws.client().create_secret(Name="app/only-here", SecretString="1")
        prepare(aws)
        regions(aws)
        with pytest.raises(error):
            read(backend, "app/only-here")
        assert set(regions(aws)) == {REGION}

    def test_our_own_limit_is_no_outage(self, aws: FakeSecretsManager, waits: Waits) -> None:
        replicated(aws)
        regions(aws)
        with opened(aws.url, waits, replicas=BOTH, rates=RateSettings(read=0.001)) as backend:
            read(backend)
            with pytest.raises(BackendUnavailableError) as caught:
                read(backend)
        assert caught.value.code == "rate_limited"
        assert regions(aws) == [REGION]

    def test_our_own_limit_does_not_leave_the_usual_region_alone(
        self, aws: FakeSecretsManager, waits: Waits, caplog: pytest.LogCaptureFixture
    ) -> None:
        replicated(aws)
        with opened(aws.url, waits, replicas=BOTH, rates=RateSettings(read=0.001)) as backend:
            read(backend)
            with pytest.raises(BackendUnavailableError, match="`rates`"):
                read(backend)
            assert "has an outage" not in caplog.text
            assert "left_alone_seconds" not in dict(backend.health().facts)

    def test_a_name_that_the_service_cannot_have_goes_nowhere(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws)
        outage(aws)
        read(backend)
        regions(aws)
        with pytest.raises(InvalidNameError):
            read(backend, "with blank")
        assert regions(aws) == []

    def test_without_replicas_an_outage_is_one(self, aws: FakeSecretsManager, waits: Waits) -> None:
        replicated(aws)
        outage(aws)
        with opened(aws.url, waits, attempts=1) as backend, pytest.raises(BackendUnavailableError):
            read(backend)

    def test_the_regions_of_new_secrets_are_read_unless_others_are_named(
        self, aws: FakeSecretsManager, waits: Waits
    ) -> None:
        with opened(aws.url, waits, replicate=(REPLICA,), attempts=1) as backend:
            write(backend)
            outage(aws)
            assert backend.read(ReadRequest(name=NAME)).place == f"region {REPLICA}"
        with (
            opened(aws.url, waits, replicate=(REPLICA,), replicas=(), attempts=1) as backend,
            pytest.raises(BackendUnavailableError),
        ):
            read(backend)


class TestOthers:
    """Changes, lists and descriptions never leave the usual region."""

    @pytest.mark.parametrize(
        "act",
        [
            write,
            delete,
            list_names,
            lambda backend: backend.versions(VersionsRequest(name=NAME)),
            lambda backend: backend.describe(DescribeRequest(name=NAME)),
            lambda backend: backend.undelete(UndeleteRequest(name=NAME)),
        ],
        ids=["write", "delete", "list", "versions", "describe", "undelete"],
    )
    def test_they_have_the_outage(self, aws: FakeSecretsManager, backend: AwsBackend, act: Any) -> None:
        replicated(aws)
        outage(aws)
        read(backend)
        regions(aws)
        with pytest.raises(BackendUnavailableError):
            act(backend)
        assert set(regions(aws)) == {REGION}


class TestBatches:
    def test_an_outage_of_the_whole_is_answered_by_replicas(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws, "a", "b")
        outage(aws)
        found = read_many(backend, "a", "b").found
        assert {str(name): one.value.reveal_text() for name, one in found.items()} == {"a": "of a", "b": "of b"}
        assert {one.place for one in found.values()} == {f"region {REPLICA}"}

    def test_what_one_replica_lacks_is_asked_for_in_the_next(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws, "both")
        replicated(aws, "second", regions=(SECOND_REPLICA,))
        aws.client().create_secret(Name="none", SecretString="only here")
        outage(aws)
        result = read_many(backend, "both", "second", "none")
        assert {str(name): one.place for name, one in result.found.items()} == {
            "both": f"region {REPLICA}",
            "second": f"region {SECOND_REPLICA}",
        }
        (error,) = result.errors.values()
        assert isinstance(error, BackendUnavailableError)
        assert REPLICA in str(error)

    def test_what_the_usual_region_says_of_single_names_counts(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws, "good", "denied")
        aws.deny("GetSecretValue", "denied", REGION)
        regions(aws)
        result = read_many(backend, "good", "denied", "missing")
        assert {str(name): error.code for name, error in result.errors.items()} == {
            "denied": "denied",
            "missing": "not_found",
        }
        assert set(regions(aws)) == {REGION}

    def test_while_the_usual_region_is_left_alone_it_is_asked_last(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws, "a", "b")
        aws.client().create_secret(Name="none", SecretString="only here")
        outage(aws, times=1)
        read(backend, "a")
        regions(aws)
        result = read_many(backend, "a", "none", "b")
        assert {str(name): one.place for name, one in result.found.items()} == {
            "a": f"region {REPLICA}",
            "b": f"region {REPLICA}",
            "none": None,
        }
        assert regions(aws)[0] == REPLICA

    def test_an_outage_of_all_regions_is_one_of_the_whole(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.down()
        with pytest.raises(BackendUnavailableError, match=f"{REPLICA}, {SECOND_REPLICA}"):
            read_many(backend, "a", "b")

    def test_what_replicas_have_is_not_lost_if_the_usual_region_refuses_the_rest(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws, "a")
        outage(aws, times=1)
        read(backend, "a")
        aws.fail("*", "UnrecognizedClientException", times=None, region=REGION)
        result = read_many(backend, "a", "missing")
        assert [str(name) for name in result.found] == ["a"]
        assert [error.code for error in result.errors.values()] == ["authentication_failed"]


class TestLongOutages:
    def test_the_usual_region_is_left_alone_and_tried_with_one_read_after_growing_pauses(
        self, aws: FakeSecretsManager, waits: Waits, backend: AwsBackend
    ) -> None:
        replicated(aws)
        outage(aws)
        regions(aws)
        tried: list[float] = []
        for _ in range(600):
            read(backend)
            tried += [waits.clock.monotonic()] * regions(aws).count(REGION)
            waits.clock.advance(0.25)
        pauses = [later - earlier for earlier, later in itertools.pairwise(tried)]
        for number, pause in enumerate(pauses):
            longest = min(2.0**number, LONGEST_SECONDS)
            assert longest / 2 <= pause <= longest + 0.26
        assert 8 <= len(tried) <= 20

    def test_a_long_outage_costs_no_time_limit_a_read(self, aws: FakeSecretsManager) -> None:
        replicated(aws)
        aws.fail_transport("*", "hang", times=None, region=REGION)
        limits = {"timeout": 4.0, "connect_timeout": 0.2, "read_timeout": 0.5}
        with opened(aws.url, replicas=BOTH, attempts=1, **limits) as backend:
            start = time.monotonic()
            read(backend)
            first = time.monotonic() - start
            for _ in range(5):
                read(backend)
            rest = time.monotonic() - start - first
        assert first >= 0.5
        assert rest < 0.5

    def test_when_it_answers_again_it_is_asked_first(
        self, aws: FakeSecretsManager, waits: Waits, backend: AwsBackend
    ) -> None:
        replicated(aws)
        outage(aws)
        read(backend)
        aws.heal()
        assert backend.read(ReadRequest(name=NAME)).place is not None
        waits.clock.advance(1.0)
        regions(aws)
        for _ in range(3):
            assert backend.read(ReadRequest(name=NAME)).place is None
        assert regions(aws) == [REGION] * 3

    def test_a_refusal_is_an_answer_too_and_ends_the_pauses(
        self, aws: FakeSecretsManager, waits: Waits, backend: AwsBackend
    ) -> None:
        replicated(aws)
        outage(aws)
        read(backend)
        aws.heal()
        waits.clock.advance(1.0)
        with pytest.raises(SecretNotFoundError):
            read(backend, "missing")
        assert backend.read(ReadRequest(name=NAME)).place is None

    def test_what_only_the_usual_region_has_is_asked_for_there_in_spite_of_a_pause(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws)
        aws.client().create_secret(Name="app/only-here", SecretString="here")
        outage(aws, times=1)
        read(backend)
        regions(aws)
        assert read(backend, "app/only-here") == "here"
        assert regions(aws) == [REPLICA, SECOND_REPLICA, REGION]

    def test_of_many_threads_one_tries_it(self, aws: FakeSecretsManager, waits: Waits, backend: AwsBackend) -> None:
        replicated(aws)
        outage(aws)
        read(backend)
        waits.clock.advance(1.0)
        regions(aws)
        in_threads(8, lambda number: read(backend))
        assert regions(aws).count(REGION) == 1

    def test_the_usual_region_leaves_the_replicas_their_share_of_the_time(self, aws: FakeSecretsManager) -> None:
        replicated(aws)
        aws.fail_transport("*", "hang", times=None, region=REGION)
        limits = {"timeout": 3.0, "connect_timeout": 0.2, "read_timeout": 0.4}
        with opened(aws.url, replicas=BOTH, attempts=100, **limits) as backend:
            start = time.monotonic()
            read(backend)
            assert time.monotonic() - start < 2.5

    def test_all_regions_together_keep_to_the_time_limit(self, aws: FakeSecretsManager) -> None:
        aws.fail_transport("*", "hang", times=None)
        limits = {"timeout": 1.5, "connect_timeout": 0.1, "read_timeout": 0.4}
        with opened(aws.url, replicas=BOTH, attempts=100, **limits) as backend:
            for _ in range(2):
                start = time.monotonic()
                with pytest.raises(BackendUnavailableError):
                    read(backend)
                assert time.monotonic() - start < 5, "a hundred attempts would take a minute"

    def test_a_forked_child_goes_on_with_the_replicas(self, aws: FakeSecretsManager) -> None:
        replicated(aws)
        outage(aws)
        with opened(aws.url, replicas=BOTH, attempts=1) as backend:
            read(backend)

            def child() -> str | None:
                backend.after_fork()
                return backend.read(ReadRequest(name=NAME)).place

            assert in_forked_child(child) == f"region {REPLICA}"

    def test_health_is_degraded_with_the_reason(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws)
        outage(aws)
        read(backend)
        found = backend.health()
        assert found.state is HealthState.DEGRADED
        assert f"reads go to {REPLICA}" in found.reason
        assert "left_alone_seconds" in dict(found.facts)

    def test_the_log_says_once_that_it_has_begun(
        self, aws: FakeSecretsManager, backend: AwsBackend, caplog: pytest.LogCaptureFixture
    ) -> None:
        replicated(aws)
        outage(aws)
        for _ in range(3):
            read(backend)
        (record,) = [record for record in caplog.records if record.name == "strongroom.aws"]
        assert f"{REGION} has an outage: reads go to {REPLICA}" in record.getMessage()

    def test_a_batch_with_a_name_that_was_never_sent_is_an_outage_like_any_other(
        self, aws: FakeSecretsManager, backend: AwsBackend, waits: Waits, caplog: pytest.LogCaptureFixture
    ) -> None:
        replicated(aws)
        outage(aws)
        regions(aws)
        for pause in (1.1, 0.9, 0.0):
            found = read_many(backend, "app/key", "app/k\u00fc").found
            assert [one.place for one in found.values()] == [f"region {REPLICA}"]
            waits.clock.advance(pause)
        # It is asked at first, and after a second, but then left alone for longer.
        assert regions(aws) == [REGION, REPLICA, REGION, REPLICA, REPLICA]
        assert len([record for record in caplog.records if record.name == "strongroom.aws"]) == 1


class TestOwnWrites:
    def test_a_replica_that_lacks_an_own_write_is_not_believed(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws)
        aws.hold_replication()
        write(backend, value="new")
        outage(aws)
        with pytest.raises(BackendUnavailableError):
            read(backend)
        with pytest.raises(BackendUnavailableError):
            read_many(backend, "app/key")
        aws.heal()
        aws.release_replication()
        outage(aws)
        assert read(backend) == "new"

    def test_a_later_write_of_somebody_else_is_believed(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws)
        write(backend, value="mine")
        aws.store.clock = lambda: time.time() + 600
        aws.client().put_secret_value(SecretId="app/key", SecretString="theirs")
        outage(aws)
        assert read(backend) == "theirs"

    def test_a_version_that_is_asked_for_is_what_it_is(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws)
        version = next(iter(aws.secret("app/key").versions))
        aws.hold_replication()
        write(backend, value="new")
        outage(aws)
        assert read(backend, version=version) == "of app/key"

    def test_a_replica_that_still_has_what_was_deleted_is_not_believed(
        self, aws: FakeSecretsManager, waits: Waits
    ) -> None:
        replicated(aws)
        version = next(iter(aws.secret("app/key").versions))
        aws.hold_replication()
        aws.secret("app/key").replicas.clear()  # as if they had been left alone, so that it can be deleted
        with opened(aws.url, waits, replicas=BOTH, attempts=1) as backend:
            delete(backend)
            outage(aws)
            for which in (None, version):
                with pytest.raises(BackendUnavailableError):
                    read(backend, version=which)
            aws.heal()
            backend.undelete(UndeleteRequest(name=NAME))
            outage(aws)
            assert read(backend) == "of app/key"

    def test_a_replica_that_still_has_what_was_destroyed_is_not_believed(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws)
        aws.hold_replication()
        aws.secret("app/key").replicas.clear()  # as above
        backend.destroy(DestroyRequest(name=NAME))
        outage(aws)
        with pytest.raises(BackendUnavailableError):
            read(backend)

    def test_a_replica_that_lacks_an_own_promotion_is_not_believed(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        replicated(aws)
        (first,) = aws.secret("app/key").versions
        aws.hold_replication()
        request = StageRequest(name=NAME, value=SecretValue("new"), token=str(uuid.uuid4()))
        version = backend.stage(request).version
        backend.promote(PromoteRequest(name=NAME, version=version, expect_current=first))
        outage(aws)
        with pytest.raises(BackendUnavailableError):
            read(backend)
        aws.heal()
        aws.release_replication()
        outage(aws)
        assert read(backend) == "new"

    def test_a_replica_that_lacks_a_rotation_which_was_seen_to_end_is_not_believed(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        """Whoever was told that it is over must not read what was before."""
        replicated(aws)
        aws.hold_replication()
        version = aws.client().put_secret_value(SecretId="app/key", SecretString="rotated")["VersionId"]
        assert backend.rotation_status(RotationStatusRequest(name=NAME, version=version)).done
        outage(aws)
        with pytest.raises(BackendUnavailableError):
            read(backend)

    def test_of_own_writes_that_overlap_no_replica_is_believed_to_have_the_later_one(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        """The one that is answered last was not the last one here."""
        replicated(aws)

        def write_later(_: object) -> None:
            aws.hold_replication()
            write(backend, value="later")

        aws.after("PutSecretValue", write_later, how="")
        write(backend, value="earlier")
        assert read(backend) == "later"
        outage(aws)
        with pytest.raises(BackendUnavailableError):
            read(backend)

    def test_other_names_are_not_concerned(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        replicated(aws, "app/key", "app/other")
        aws.hold_replication()
        write(backend, value="new")
        outage(aws)
        result = read_many(backend, "app/key", "app/other")
        assert [str(name) for name in result.found] == ["app/other"]
        assert [str(name) for name in result.errors] == ["app/key"]


class TestChanges:
    def answer(self, version: str, created: datetime | None) -> ReadResult:
        return ReadResult(value=SecretValue("x"), version=version, created=created, place="region x")

    @given(seconds=st.integers(-100_000, 100_000))
    def test_another_version_is_newer_for_certain_or_not_believed(self, seconds: int) -> None:
        clock = FakeClock()
        own = OwnChanges(clock.now)
        own.wrote(NAME, "mine")
        created = clock.now() + timedelta(seconds=seconds)
        allowed = own.allow(ReadRequest(name=NAME), self.answer("theirs", created))
        assert allowed is (seconds > DRIFT.total_seconds())
        assert own.allow(ReadRequest(name=NAME), self.answer("mine", created))

    def test_without_a_date_nothing_is_certain(self) -> None:
        own = OwnChanges()
        own.wrote(NAME, "mine")
        assert not own.allow(ReadRequest(name=NAME), self.answer("theirs", None))

    def test_only_the_last_change_counts(self) -> None:
        own, read_it = OwnChanges(), ReadRequest(name=NAME)
        own.wrote(NAME, "first")
        own.deleted(NAME)
        assert not own.allow(read_it, self.answer("first", datetime.now(UTC)))
        own.wrote(NAME, "second")
        assert own.allow(read_it, self.answer("second", datetime.now(UTC)))
        assert not own.allow(read_it, self.answer("first", datetime.now(UTC)))

    def test_of_two_writes_at_the_same_time_no_replica_is_believed_to_have_the_later_one(self) -> None:
        clock, read_it = FakeClock(), ReadRequest(name=NAME)
        own = OwnChanges(clock.now)
        first, second = own.begin(), own.begin()
        clock.advance(1.0)
        own.wrote(NAME, "second", second)
        own.wrote(NAME, "first", first)
        for version in ("first", "second"):
            assert not own.allow(read_it, self.answer(version, clock.now()))
        clock.advance(1.0)
        own.wrote(NAME, "third", own.begin())
        assert own.allow(read_it, self.answer("third", clock.now()))

    def test_so_many_names_are_remembered_and_the_oldest_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(changes, "MOST", 3)
        own, names = OwnChanges(), [SecretName(f"name-{number}") for number in range(4)]
        for name in (*names[:3], names[0], names[3]):
            own.wrote(name, "mine")
        old = self.answer("old", datetime.now(UTC))
        assert [own.allow(ReadRequest(name=name), old) for name in names] == [False, True, False, False]


class TestOutage:
    def test_whoever_is_let_through_and_does_not_come_back_is_not_waited_for(self) -> None:
        clock = FakeClock()
        outage = Outage(clock, turn=10.0)
        outage.failed()
        clock.advance(1.0)
        assert [outage.enter(), outage.enter()] == [True, False]
        clock.advance(10.0)
        assert [outage.enter(), outage.enter()] == [True, False]

    def test_whoever_has_not_come_to_know_lets_the_next_one_try(self) -> None:
        clock = FakeClock()
        outage = Outage(clock, turn=10.0)
        outage.failed()
        clock.advance(1.0)
        assert outage.enter()
        outage.unknown()
        assert outage.enter()

    def test_what_began_before_the_pause_did_is_one_failure(self) -> None:
        clock = FakeClock()
        outage = Outage(clock, turn=10.0)
        assert [outage.failed() for _ in range(5)] == [True, False, False, False, False]
        clock.advance(1.0)
        assert outage.enter()


class TestEmulator:
    """Its replication is real. The usual region is behind a proxy; the replica is not."""

    @pytest.fixture
    def proxy(self, emulator: Emulator) -> Iterator[FaultProxy]:
        with FaultProxy(int(emulator.url.rpartition(":")[2])) as proxy:
            yield proxy

    @pytest.fixture
    def behind(self, emulator: Emulator, proxy: FaultProxy) -> Iterator[AwsBackend]:
        with opened(
            f"http://127.0.0.1:{proxy.port}",
            prefix=f"failover-{time.monotonic_ns()}/",
            replicate=(REPLICA,),
            replica_endpoints={REPLICA: emulator.url},
            attempts=1,
            timeout=4.0,
            connect_timeout=0.5,
            read_timeout=1.0,
        ) as backend:
            yield backend

    @pytest.mark.parametrize("how", ["refuse", "reset", "blackhole"])
    def test_what_was_written_is_read_from_the_replica_until_the_region_is_back(
        self, proxy: FaultProxy, behind: AwsBackend, how: str
    ) -> None:
        version = write(behind, value="first")
        write(behind, value="second")
        if how == "refuse":
            proxy.refuse()
        else:
            setattr(proxy, how, True)
        found = behind.read(ReadRequest(name=NAME))
        assert (found.value.reveal_text(), found.place) == ("second", f"region {REPLICA}")
        assert read(behind, version=version) == "first"
        assert [one.place for one in read_many(behind, "app/key").found.values()] == [f"region {REPLICA}"]
        with pytest.raises(BackendUnavailableError):
            write(behind, value="third")
        assert behind.health().state is HealthState.DEGRADED
        proxy.heal()
        proxy.listen()
        time.sleep(1.05)  # the first pause
        found = behind.read(ReadRequest(name=NAME))
        assert found.place is None
        # What was held up on the way has arrived after all, as the error of that write said that it may.
        assert found.value.reveal_text() == ("third" if how == "blackhole" else "second")
        assert behind.health().state is HealthState.UP
