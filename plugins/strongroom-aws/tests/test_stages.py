"""A pending value beside the current one, on the labels of the service.

The emulator serves where it does as AWS does. It lets AWSPENDING be taken from another version without naming that,
which AWS documents as refused; so what races for the label runs against the fake.
"""

from __future__ import annotations

import itertools
import uuid

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fakeaws import FakeSecretsManager
from strongroom.contracts import (
    DiscardRequest,
    PromoteRequest,
    ReadRequest,
    StageRequest,
    StagesRequest,
    Staging,
)
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import in_threads
from strongroom.testing.processes import busy_threads
from strongroom_aws.asking import Asker
from strongroom_aws.backend import AwsBackend
from strongroom_aws.names import Names
from strongroom_aws.place import resolve
from strongroom_aws.settings import AwsSettings
from strongroom_aws.stages import STAGED, Stages

REGION = "eu-central-1"
DB = SecretName("db/password")
UUID = "2f2a1c1e-0000-4000-8000-000000000000"
COUNTER = itertools.count()


def token() -> str:
    return str(uuid.uuid4())


def stage(
    staging: Staging | Stages, text: str | bytes, *, key: str | None = None, over: str | None = None, name: str = DB
) -> str:
    request = StageRequest(name=SecretName(name), value=SecretValue(text), token=key or token(), expect_pending=over)
    return staging.stage(request).version


def promote(staging: Staging | Stages, version: str, *, over: str) -> None:
    staging.promote(PromoteRequest(name=DB, version=version, expect_current=over))


def discard(staging: Staging | Stages, version: str) -> bool:
    return staging.discard(DiscardRequest(name=DB, version=version)).existed


def stages(staging: Staging | Stages) -> tuple[str | None, str | None, str | None]:
    """Return the current, the pending and the previous version."""
    found = staging.stages(StagesRequest(name=DB))
    return found.current, found.pending, found.previous


def text(backend: AwsBackend, version: str | None = None) -> str:
    return backend.read(ReadRequest(name=DB, version=version)).value.reveal_text()


def opened(url: str, **more: Any) -> AwsBackend:
    return AwsBackend.open(AwsSettings(region=REGION, endpoint=url, **more))


class Service:
    """A service with one secret, a client of its own to look behind the backend, and the backend."""

    def __init__(self, client: Any, url: str) -> None:
        self.client = client
        prefix = f"stages-{next(COUNTER)}/"
        self.id = f"{prefix}{DB}"
        self.backend = opened(url, prefix=prefix)
        self.first: str = client.create_secret(Name=self.id, SecretString="first")["VersionId"]

    def labels(self) -> dict[str, str]:
        """Return the version that each label is on."""
        found = self.client.describe_secret(SecretId=self.id)["VersionIdsToStages"]
        return {label: version for version, labels in found.items() for label in labels}


@pytest.fixture(params=["emulator", "fake"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    running = request.getfixturevalue("emulator" if request.param == "emulator" else "aws")
    # The account that the backend has; names differ by test and process.
    client = running.client()
    made = Service(client, running.url)
    yield made
    made.backend.close()
    client.delete_secret(SecretId=made.id, ForceDeleteWithoutRecovery=True)


@pytest.fixture
def fake(aws: FakeSecretsManager) -> Iterator[Service]:
    made = Service(aws.client(), aws.url)
    aws.requests.clear()
    yield made
    made.backend.close()


class TestStaging:
    def test_a_staged_value_is_read_by_its_version_only(self, service: Service) -> None:
        version = stage(service.backend, "second")
        assert stages(service.backend) == (service.first, version, None)
        assert text(service.backend) == "first"
        assert text(service.backend, version) == "second"

    def test_only_the_services_own_label_is_left(self, service: Service) -> None:
        version = stage(service.backend, "second")
        assert service.labels() == {"AWSCURRENT": service.first, "AWSPENDING": version}

    def test_bytes_are_staged_as_bytes(self, service: Service) -> None:
        version = stage(service.backend, b"\x00\xff")
        assert service.backend.read(ReadRequest(name=DB, version=version)).value == SecretValue(b"\x00\xff")

    def test_the_token_is_the_version(self, service: Service) -> None:
        key = token()
        assert stage(service.backend, "second", key=key) == key

    def test_a_secret_that_was_never_rotated_has_a_current_version_only(self, service: Service) -> None:
        assert stages(service.backend) == (service.first, None, None)

    def test_a_second_one_conflicts_and_names_the_pending_version(self, service: Service) -> None:
        pending = stage(service.backend, "second")
        with pytest.raises(VersionConflictError) as caught:
            stage(service.backend, "third")
        assert (caught.value.expected, caught.value.found) == ("absent", pending)
        assert stages(service.backend) == (service.first, pending, None)

    def test_another_takes_over_by_naming_the_pending_version(self, service: Service) -> None:
        left = stage(service.backend, "second")
        version = stage(service.backend, "third", over=left)
        assert stages(service.backend) == (service.first, version, None)

    def test_what_is_to_be_taken_over_has_to_be_pending(self, service: Service) -> None:
        for expected in (service.first, token(), "none"):
            with pytest.raises(VersionConflictError) as caught:
                stage(service.backend, "second", over=expected)
            assert (caught.value.expected, caught.value.found) == (expected, "absent")
        assert stages(service.backend) == (service.first, None, None)

    def test_a_label_that_a_function_has_left_on_the_current_version_is_no_rotation(self, service: Service) -> None:
        service.client.update_secret_version_stage(
            SecretId=service.id, VersionStage="AWSPENDING", MoveToVersionId=service.first
        )
        assert stages(service.backend) == (service.first, None, None)
        version = stage(service.backend, "second")
        assert stages(service.backend) == (service.first, version, None)

    def test_with_the_same_token_it_is_the_same_version_while_pending_and_when_promoted(self, service: Service) -> None:
        key = token()
        for _ in range(2):
            assert stage(service.backend, "second", key=key) == key
        promote(service.backend, key, over=service.first)
        assert stage(service.backend, "second", key=key) == key
        assert stages(service.backend) == (key, None, service.first)
        promote(service.backend, service.first, over=key)
        assert stage(service.backend, "second", key=key) == key
        assert stages(service.backend) == (service.first, None, key)

    def test_what_was_discarded_can_be_staged_again(self, service: Service) -> None:
        key = token()
        stage(service.backend, "second", key=key)
        discard(service.backend, key)
        assert stage(service.backend, "second", key=key) == key
        assert stages(service.backend) == (service.first, key, None)

    def test_a_token_does_not_name_two_values(self, service: Service) -> None:
        key = stage(service.backend, "second")
        for _ in range(2):
            with pytest.raises(VersionConflictError) as caught:
                stage(service.backend, "third", key=key)
            assert caught.value.found == key
            assert text(service.backend, key) == "second"
            discard(service.backend, key)

    def test_a_rotation_that_the_service_has_begun_is_in_the_way(self, aws: FakeSecretsManager, fake: Service) -> None:
        function = "arn:aws:lambda:eu-central-1:123456789012:function:rotate"
        begun = fake.client.rotate_secret(SecretId=fake.id, RotationLambdaARN=function)["VersionId"]
        for key in (begun, None):
            with pytest.raises(VersionConflictError) as caught:
                stage(fake.backend, "ours", key=key)
            assert caught.value.found == begun
        aws.finish_rotation(fake.id, "theirs")
        assert stages(fake.backend) == (begun, None, fake.first)
        version = stage(fake.backend, "ours")
        assert stages(fake.backend) == (begun, version, fake.first)

    def test_a_secret_without_a_value_has_nothing_to_stage_beside(self, service: Service) -> None:
        service.client.create_secret(Name=f"{service.id}-empty")
        with pytest.raises(SecretNotFoundError):
            stage(service.backend, "first", name=f"{DB}-empty")
        assert not service.client.describe_secret(SecretId=f"{service.id}-empty").get("VersionIdsToStages")


class TestPromoting:
    def test_the_pending_version_becomes_current_and_the_current_one_previous(self, service: Service) -> None:
        version = stage(service.backend, "second")
        promote(service.backend, version, over=service.first)
        assert stages(service.backend) == (version, None, service.first)
        assert service.labels() == {"AWSCURRENT": version, "AWSPREVIOUS": service.first}
        assert text(service.backend) == "second"

    def test_promoting_twice_is_silent(self, service: Service) -> None:
        version = stage(service.backend, "second")
        for _ in range(2):
            promote(service.backend, version, over=service.first)
        assert stages(service.backend) == (version, None, service.first)

    def test_promoting_the_previous_version_takes_it_back(self, service: Service) -> None:
        version = stage(service.backend, "second")
        promote(service.backend, version, over=service.first)
        promote(service.backend, service.first, over=version)
        assert stages(service.backend) == (service.first, None, version)
        assert text(service.backend) == "first"

    def test_over_another_current_version_it_conflicts_and_names_that(self, service: Service) -> None:
        version = stage(service.backend, "second")
        other = service.client.put_secret_value(SecretId=service.id, SecretString="other")["VersionId"]
        for expected in (service.first, token(), "none"):
            with pytest.raises(VersionConflictError) as caught:
                promote(service.backend, version, over=expected)
            assert (caught.value.expected, caught.value.found) == (expected, other)
        assert stages(service.backend) == (other, version, service.first)

    def test_a_current_version_over_itself_stays(self, service: Service) -> None:
        version = stage(service.backend, "second")
        promote(service.backend, version, over=service.first)
        promote(service.backend, version, over=version)
        assert stages(service.backend) == (version, None, service.first)

    @pytest.mark.parametrize("version", ["none", "", "1", "x" * 65, UUID])
    def test_a_version_that_is_not_there_is_not_found(self, service: Service, version: str) -> None:
        with pytest.raises(SecretNotFoundError) as caught:
            promote(service.backend, version, over=service.first)
        assert caught.value.code == "version_not_found"

    def test_a_version_that_is_not_there_leaves_the_current_one(self, fake: Service) -> None:
        # The emulator has taken the label off before it finds that there is no such version.
        with pytest.raises(SecretNotFoundError):
            promote(fake.backend, UUID, over=fake.first)
        assert stages(fake.backend) == (fake.first, None, None)


class TestDiscarding:
    def test_the_pending_version_is_pending_no_more(self, service: Service) -> None:
        version = stage(service.backend, "second")
        assert discard(service.backend, version)
        assert stages(service.backend) == (service.first, None, None)
        assert not discard(service.backend, version)

    def test_one_that_is_not_pending_is_left_alone(self, service: Service) -> None:
        version = stage(service.backend, "second")
        for other in (service.first, token(), "none"):
            assert not discard(service.backend, other)
        assert stages(service.backend) == (service.first, version, None)


class TestRefusals:
    @pytest.mark.parametrize(
        "act",
        [
            lambda backend: stage(backend, "x"),
            stages,
            lambda backend: promote(backend, token(), over=token()),
            lambda backend: discard(backend, token()),
        ],
        ids=["stage", "stages", "promote", "discard"],
    )
    def test_a_secret_that_is_not_there_or_soon_will_not_be_is_told_apart(
        self, service: Service, act: Callable[[Any], Any]
    ) -> None:
        nowhere = AwsBackend.open(AwsSettings(region=REGION, endpoint=service.client.meta.endpoint_url, prefix="no/"))
        with pytest.raises(SecretNotFoundError) as caught:
            act(nowhere)
        assert caught.value.code == "not_found"
        service.client.delete_secret(SecretId=service.id)
        with pytest.raises(SecretDeletedError) as scheduled:
            act(service.backend)
        assert scheduled.value.when is not None

    def test_a_value_is_measured_in_bytes_before_anything_is_sent(self, aws: FakeSecretsManager, fake: Service) -> None:
        with pytest.raises(ValueTooLargeError) as caught:
            stage(fake.backend, "ü" * 32_768 + "x")
        assert (caught.value.size, caught.value.limit) == (65_537, 65_536)
        assert not aws.requests
        version = stage(fake.backend, "ü" * 32_768)
        assert text(fake.backend, version) == "ü" * 32_768

    def test_an_empty_value_is_refused_before_anything_is_sent(self, aws: FakeSecretsManager, fake: Service) -> None:
        for empty in ("", b""):
            with pytest.raises(InvalidValueError):
                stage(fake.backend, empty)
        assert not aws.requests

    @pytest.mark.parametrize("key", ["", "x" * 36, "1" * 32, f"{{{UUID}}}", f"{UUID}\n"])
    def test_a_token_that_is_no_uuid_is_refused_before_anything_is_sent(
        self, aws: FakeSecretsManager, fake: Service, key: str
    ) -> None:
        with pytest.raises(ConfigurationError):
            fake.backend.stage(StageRequest(name=DB, value=SecretValue("x"), token=key))
        assert not aws.requests

    @pytest.mark.parametrize("operation", ["DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage"])
    def test_what_is_not_allowed_is_denied(self, aws: FakeSecretsManager, fake: Service, operation: str) -> None:
        aws.deny(operation)
        with pytest.raises(AccessDeniedError):
            stage(fake.backend, "second")
        aws.allow()
        assert stages(fake.backend) == (fake.first, None, None)

    def test_no_error_shows_the_value(self, aws: FakeSecretsManager, fake: Service) -> None:
        value = "marker-of-a-value"
        key = stage(fake.backend, "second")
        aws.fail("PutSecretValue", "InternalServiceError", times=3)
        for attempt in (lambda: stage(fake.backend, value), lambda: stage(fake.backend, value, key=key)):
            with pytest.raises(StrongroomError) as caught:
                attempt()
            assert value not in f"{caught.value!r} {caught.value} {caught.value.__cause__}"


class TestRequests:
    """How many requests an operation is."""

    def count(self, aws: FakeSecretsManager, act: Callable[[], object]) -> list[str]:
        aws.requests.clear()
        act()
        return [request.operation for request in aws.requests]

    def test_each_operation_sends_what_the_documentation_says(self, aws: FakeSecretsManager, fake: Service) -> None:
        backend, key, look, move = fake.backend, token(), "DescribeSecret", "UpdateSecretVersionStage"
        assert self.count(aws, lambda: stage(backend, "x", key=key)) == [look, "PutSecretValue", move, move]
        assert self.count(aws, lambda: stage(backend, "x", key=key)) == [look, "GetSecretValue"]
        assert self.count(aws, lambda: stages(backend)) == [look]
        assert self.count(aws, lambda: discard(backend, fake.first)) == [look]
        assert self.count(aws, lambda: discard(backend, token())) == [look, move]
        assert self.count(aws, lambda: discard(backend, key)) == [look, move]
        stage(backend, "x", key=key)
        assert self.count(aws, lambda: promote(backend, key, over=fake.first)) == [move, move]

    def test_most_conflicts_make_no_version(self, aws: FakeSecretsManager, fake: Service) -> None:
        stage(fake.backend, "second")
        aws.requests.clear()
        with pytest.raises(VersionConflictError):
            stage(fake.backend, "third")
        assert [request.operation for request in aws.requests] == ["DescribeSecret"]


class TestLostAnswers:
    """The service has done it, and the answer never comes: it is asked again."""

    @pytest.mark.parametrize("operation", ["DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage"])
    def test_a_value_is_staged_once(self, aws: FakeSecretsManager, fake: Service, operation: str) -> None:
        aws.after(operation)
        version = stage(fake.backend, "second")
        assert stages(fake.backend) == (fake.first, version, None)
        assert set(aws.secret(fake.id).versions) == {fake.first, version}

    def test_a_take_over_is_made_once(self, aws: FakeSecretsManager, fake: Service) -> None:
        left = stage(fake.backend, "second")
        aws.after("UpdateSecretVersionStage")
        version = stage(fake.backend, "third", over=left)
        assert stages(fake.backend) == (fake.first, version, None)

    def test_a_version_is_promoted_once(self, aws: FakeSecretsManager, fake: Service) -> None:
        version = stage(fake.backend, "second")
        aws.after("UpdateSecretVersionStage")
        promote(fake.backend, version, over=fake.first)
        assert stages(fake.backend) == (version, None, fake.first)

    @pytest.mark.parametrize("times", [1, 2])
    def test_a_promotion_is_no_conflict_since_others_have_written_after_it(
        self, aws: FakeSecretsManager, fake: Service, times: int
    ) -> None:
        """If one has, it shows that it was made; if two have, nobody can tell."""
        version = stage(fake.backend, "second")

        def others(_: object) -> None:
            for _ in range(times):
                aws.client().put_secret_value(SecretId=fake.id, SecretString="theirs")

        aws.after("UpdateSecretVersionStage", others)
        if times == 1:
            promote(fake.backend, version, over=fake.first)
        else:
            with pytest.raises(BackendUnavailableError, match="may have been promoted"):
                promote(fake.backend, version, over=fake.first)
        assert text(fake.backend) == "theirs"

    def test_a_promotion_that_was_only_throttled_before_is_a_conflict(
        self, aws: FakeSecretsManager, fake: Service
    ) -> None:
        version = stage(fake.backend, "second")
        aws.client().put_secret_value(SecretId=fake.id, SecretString="theirs")
        aws.fail("UpdateSecretVersionStage", "ThrottlingException")
        with pytest.raises(VersionConflictError):
            promote(fake.backend, version, over=fake.first)

    def test_what_is_left_of_a_promotion_is_no_rotation_when_others_have_written(
        self, aws: FakeSecretsManager, fake: Service
    ) -> None:
        version = stage(fake.backend, "second")
        fail_second(aws, "InternalServiceError")
        promote(fake.backend, version, over=fake.first)
        theirs = aws.client().put_secret_value(SecretId=fake.id, SecretString="theirs")["VersionId"]
        assert stages(fake.backend) == (theirs, None, version)
        following = stage(fake.backend, "third")
        assert stages(fake.backend) == (theirs, following, version)

    def test_a_discarded_version_existed(self, aws: FakeSecretsManager, fake: Service) -> None:
        version = stage(fake.backend, "second")
        aws.after("UpdateSecretVersionStage")
        assert discard(fake.backend, version)
        assert stages(fake.backend) == (fake.first, None, None)

    def test_a_promotion_holds_although_its_label_stays(self, aws: FakeSecretsManager, fake: Service) -> None:
        version = stage(fake.backend, "second")
        fail_second(aws, "InternalServiceError")
        promote(fake.backend, version, over=fake.first)
        assert aws.secret(fake.id).holder("AWSPENDING") is aws.secret(fake.id).versions[version]
        assert stages(fake.backend) == (version, None, fake.first)

    def test_what_is_taken_back_does_not_look_pending(self, aws: FakeSecretsManager, fake: Service) -> None:
        version = stage(fake.backend, "second")
        fail_second(aws, "InternalServiceError")
        promote(fake.backend, version, over=fake.first)
        promote(fake.backend, fake.first, over=version)
        assert stages(fake.backend) == (fake.first, None, version)

    def test_what_is_taken_back_is_no_rotation_when_others_have_written(
        self, aws: FakeSecretsManager, fake: Service
    ) -> None:
        """Its label goes with the taking back: neither current nor previous, it would be in everybody's way."""
        version = stage(fake.backend, "second")
        fail_second(aws, "InternalServiceError")
        promote(fake.backend, version, over=fake.first)
        promote(fake.backend, fake.first, over=version)
        theirs = fake.client.put_secret_value(SecretId=fake.id, SecretString="theirs")["VersionId"]
        assert stages(fake.backend) == (theirs, None, fake.first)
        assert "AWSPENDING" not in fake.labels()

    def test_an_outage_is_one(self, aws: FakeSecretsManager, fake: Service) -> None:
        aws.fail("UpdateSecretVersionStage", "ServiceUnavailable", times=3)
        with pytest.raises(BackendUnavailableError):
            stage(fake.backend, "second")
        assert stages(fake.backend) == (fake.first, None, None)


def fail_second(aws: FakeSecretsManager, code: str) -> None:
    """Let the second move of a label from now on fail, and its repetitions."""
    move = "UpdateSecretVersionStage"
    aws.before(move, lambda _: aws.fail(move, code, times=1))


class Killed(BaseException):
    """The process ends here: nothing of ours may catch it."""


class Mortal:
    """Asks so often, and then dies."""

    def __init__(self, asker: Asker, lives: int) -> None:
        self._asker = asker
        self._lives = lives

    def ask(self, *arguments: Any, **more: Any) -> Any:
        if self._lives == 0:
            raise Killed
        self._lives -= 1
        return self._asker.ask(*arguments, **more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._asker, name)


class TestCrashes:
    """Whatever was done before a process died, another one goes on from there."""

    @pytest.fixture
    def asker(self, aws: FakeSecretsManager) -> Iterator[Asker]:
        settings = AwsSettings(region=REGION, endpoint=aws.url)
        made = Asker(settings, resolve(settings))
        yield made
        made.close()

    def mortal(self, fake: Service, asker: Asker, lives: int) -> Stages:
        prefix = fake.id.removesuffix(DB)
        return Stages(Mortal(asker, lives), Names(prefix, {}))  # type: ignore[arg-type]  # it asks in the same way

    @pytest.mark.parametrize("same", [True, False], ids=["with the same token", "with another token"])
    @pytest.mark.parametrize("lives", range(4))
    def test_staging_goes_on(self, fake: Service, asker: Asker, lives: int, same: bool) -> None:
        key = token()
        with pytest.raises(Killed):
            stage(self.mortal(fake, asker, lives), "second", key=key)
        current, pending, previous = stages(fake.backend)
        assert (current, previous) == (fake.first, None)
        assert pending in (None, key)
        assert text(fake.backend) == "first"
        version = stage(fake.backend, "second" if same else "third", key=key if same else None, over=pending)
        promote(fake.backend, version, over=fake.first)
        assert stages(fake.backend) == (version, None, fake.first)

    @pytest.mark.parametrize("lives", range(2))
    def test_promoting_goes_on(self, fake: Service, asker: Asker, lives: int) -> None:
        version = stage(fake.backend, "second")
        with pytest.raises(Killed):
            promote(self.mortal(fake, asker, lives), version, over=fake.first)
        promote(fake.backend, version, over=fake.first)
        assert stages(fake.backend) == (version, None, fake.first)
        assert fake.labels() == {"AWSCURRENT": version, "AWSPREVIOUS": fake.first}


class TestRaces:
    def test_whoever_comes_between_look_and_move_wins(self, aws: FakeSecretsManager, fake: Service) -> None:
        other = opened(aws.url, prefix=fake.id.removesuffix(DB))
        won: list[str] = []
        aws.before("UpdateSecretVersionStage", lambda _: won.append(stage(other, "other")))
        with pytest.raises(VersionConflictError) as caught:
            stage(fake.backend, "second")
        assert [caught.value.found] == won
        assert fake.labels() == {"AWSCURRENT": fake.first, "AWSPENDING": won[0]}

    def test_who_comes_too_late_leaves_no_label(self, aws: FakeSecretsManager, fake: Service) -> None:
        """Then the service removes its version by itself one day."""
        put = {"SecretId": fake.id, "SecretString": "other", "VersionStages": ["AWSPENDING"]}
        aws.before("UpdateSecretVersionStage", lambda _: fake.client.put_secret_value(**put))
        with pytest.raises(VersionConflictError):
            stage(fake.backend, "second")
        assert set(fake.labels()) == {"AWSCURRENT", "AWSPENDING"}

    def test_a_rotation_that_came_and_went_meanwhile_is_no_conflict(
        self, aws: FakeSecretsManager, fake: Service
    ) -> None:
        other = opened(aws.url, prefix=fake.id.removesuffix(DB))
        left = stage(other, "other")
        aws.before("UpdateSecretVersionStage", lambda _: discard(other, left))
        with pytest.raises(VersionConflictError) as caught:
            stage(fake.backend, "second", over=left)
        assert caught.value.found == "absent"
        fake.client.update_secret_version_stage(SecretId=fake.id, VersionStage="AWSPENDING", MoveToVersionId=fake.first)
        aws.before(
            "UpdateSecretVersionStage",
            lambda _: fake.client.update_secret_version_stage(
                SecretId=fake.id, VersionStage="AWSPENDING", RemoveFromVersionId=fake.first
            ),
        )
        version = stage(fake.backend, "second")
        assert stages(fake.backend) == (fake.first, version, None)

    def test_another_staging_may_take_the_label_that_a_value_comes_under(
        self, aws: FakeSecretsManager, fake: Service
    ) -> None:
        put = {"SecretId": fake.id, "SecretString": "other", "VersionStages": [STAGED]}
        aws.before("UpdateSecretVersionStage", lambda _: fake.client.put_secret_value(**put))
        version = stage(fake.backend, "second")
        assert stages(fake.backend) == (fake.first, version, None)
        assert text(fake.backend, version) == "second"

    @pytest.mark.parametrize("threads", [2, 8])
    def test_of_rotations_that_race_one_wins_and_the_others_know(self, fake: Service, threads: int) -> None:
        def rotate(number: int) -> str | None:
            try:
                version = stage(fake.backend, f"value {number}")
                promote(fake.backend, version, over=fake.first)
            except VersionConflictError:
                return None
            return version

        (winner,) = [version for version in in_threads(threads, rotate) if version is not None]
        current, _, previous = stages(fake.backend)
        assert (current, previous) == (winner, fake.first)

    def test_readers_never_see_what_is_pending(self, fake: Service) -> None:
        allowed, seen = {"first"}, set()
        wrong: list[str] = []

        def read() -> None:
            value = text(fake.backend)
            seen.add(value)
            if value not in allowed:
                wrong.append(value)

        with busy_threads(3, read):
            current = fake.first
            for number in range(12):
                version = stage(fake.backend, f"value {number}")
                if number % 3 == 2:
                    discard(fake.backend, version)
                    continue
                allowed.add(f"value {number}")
                promote(fake.backend, version, over=current)
                current = version
        assert not wrong
        assert len(seen) > 1
