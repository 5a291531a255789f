"""Rotation by the service itself.

No function of Lambda runs anywhere here: the fake does what AWS documents for the service, and ``finish_rotation``
plays the function. The emulator is of no use: it makes an empty version current as soon as a rotation is triggered.
"""

from __future__ import annotations

import contextlib
import time
import uuid

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from awsbackends import REPLICA, opened
from fakeaws import FakeSecretsManager
from strongroom.contracts import (
    ReadRequest,
    RotationStatusRequest,
    Schedule,
    SchedulesRequest,
    TriggerRotationRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    ConfigurationError,
    SecretDeletedError,
    SecretNotFoundError,
    UnsupportedOperationError,
    VersionConflictError,
)
from strongroom.model import SecretName
from strongroom.testing import in_threads
from strongroom_aws.backend import AwsBackend
from strongroom_aws.settings import RotationSettings

FUNCTION = "arn:aws:lambda:eu-central-1:123456789012:function:rotate"
OTHER = "arn:aws:lambda:eu-central-1:123456789012:function:rotate-better:live"
MONTHLY = RotationSettings(lambda_arn=FUNCTION, every=30 * 86_400.0)
DB = SecretName("db/password")


def token() -> str:
    return str(uuid.uuid4())


def trigger(backend: AwsBackend, key: str | None = None, name: str = DB) -> str:
    return backend.trigger_rotation(TriggerRotationRequest(name=SecretName(name), token=key or token())).version


def status(backend: AwsBackend, version: str) -> tuple[bool, str | None]:
    found = backend.rotation_status(RotationStatusRequest(name=DB, version=version))
    return found.done, found.current


def schedules(backend: AwsBackend, prefix: str = "") -> dict[str, Schedule]:
    found = backend.schedules(SchedulesRequest(prefix=prefix)).schedules
    assert [one.name for one in found] == sorted(one.name for one in found)
    return {str(one.name): one for one in found}


def arrangements(aws: FakeSecretsManager) -> list[dict[str, Any]]:
    """Return what each rotation that was triggered has told the service of how to rotate."""
    return [
        {key: value for key, value in request.parameters.items() if key in ("RotationLambdaARN", "RotationRules")}
        for request in aws.sent("RotateSecret")
    ]


@pytest.fixture
def client(aws: FakeSecretsManager) -> Any:
    made = aws.client()
    made.create_secret(Name=DB, SecretString="old")
    return made


@pytest.fixture
def backend(aws: FakeSecretsManager, client: Any) -> Iterator[AwsBackend]:
    """A backend that has its service rotate whatever is below ``db``."""
    with opened(aws.url, rotation_enabled=("db/**",), rotation=MONTHLY) as made:
        yield made


@pytest.fixture
def bare(aws: FakeSecretsManager, client: Any) -> Iterator[AwsBackend]:
    """A backend whose settings say nothing of rotation."""
    with opened(aws.url) as made:
        yield made


def set_up(client: Any, name: str = DB, **rules: Any) -> None:
    """Set a rotation up as somebody else does, without rotating."""
    client.rotate_secret(
        SecretId=name,
        RotationLambdaARN=FUNCTION,
        RotationRules=rules or {"AutomaticallyAfterDays": 30},
        RotateImmediately=False,
    )


class TestRotates:
    def test_what_the_settings_name_is_rotated_by_the_service(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        aws.requests.clear()
        assert backend.rotates(DB)
        assert not aws.requests

    def test_so_is_what_is_set_up_there(self, client: Any, bare: AwsBackend) -> None:
        assert not bare.rotates(DB)
        set_up(client)
        assert bare.rotates(DB)
        client.cancel_rotate_secret(SecretId=DB)
        assert not bare.rotates(DB)

    def test_so_is_what_another_service_manages(self, aws: FakeSecretsManager, bare: AwsBackend) -> None:
        aws.secret(DB).details["OwningService"] = "rds"
        assert bare.rotates(DB)

    def test_a_missing_and_a_deleted_secret_are_told_apart(self, client: Any, bare: AwsBackend) -> None:
        with pytest.raises(SecretNotFoundError):
            bare.rotates(SecretName("db/missing"))
        client.delete_secret(SecretId=DB)
        with pytest.raises(SecretDeletedError):
            bare.rotates(DB)


class TestTriggering:
    def test_a_rotation_is_set_up_run_and_watched(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        key = token()
        version = trigger(backend, key)
        assert version == key
        done, current = status(backend, version)
        assert not done
        assert current != version
        assert backend.read(ReadRequest(name=DB)).value.reveal_text() == "old"
        aws.finish_rotation(DB, "new")
        assert status(backend, version) == (True, version)
        assert backend.read(ReadRequest(name=DB)).value.reveal_text() == "new"
        assert arrangements(aws) == [
            {"RotationLambdaARN": FUNCTION, "RotationRules": {"AutomaticallyAfterDays": 30}},
        ]

    def test_what_is_set_up_as_the_settings_say_is_not_set_up_again(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        for value in ("one", "two"):
            trigger(backend)
            aws.finish_rotation(DB, value)
        assert arrangements(aws)[1] == {}

    def test_a_rotation_that_has_been_replaced_is_done(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        versions = []
        for value in ("one", "two"):
            versions.append(trigger(backend))
            aws.finish_rotation(DB, value, keep_pending=False)
        assert status(backend, versions[0]) == (True, versions[1])

    def test_a_function_that_fails_leaves_it_undone(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        version = trigger(backend)
        aws.fail_rotation(DB, "half")
        assert not status(backend, version)[0]

    def test_what_is_set_up_there_needs_no_settings(
        self, aws: FakeSecretsManager, client: Any, bare: AwsBackend
    ) -> None:
        set_up(client)
        trigger(bare)
        assert arrangements(aws)[-1] == {}

    def test_of_what_another_service_manages_nothing_is_set_up(
        self, aws: FakeSecretsManager, client: Any, backend: AwsBackend
    ) -> None:
        set_up(client, AutomaticallyAfterDays=7)
        aws.secret(DB).details["OwningService"] = "rds"
        trigger(backend)
        assert arrangements(aws)[-1] == {}

    @pytest.mark.parametrize(
        ("settings", "advice"),
        [
            ({}, "name it under `rotation_enabled`"),
            ({"rotation_enabled": ("db/*",)}, "or take the name out of `rotation_enabled`"),
        ],
        ids=["not named", "no function"],
    )
    def test_without_a_rotation_or_a_function_the_setting_is_named(
        self, aws: FakeSecretsManager, client: Any, settings: dict[str, Any], advice: str
    ) -> None:
        with (
            opened(aws.url, **settings) as backend,
            pytest.raises(ConfigurationError, match=r"rotation\.lambda_arn") as caught,
        ):
            trigger(backend)
        assert advice in caught.value.hint
        assert aws.counts["RotateSecret"] == 0

    def test_what_was_turned_off_there_is_turned_on_only_if_the_settings_name_it(
        self, aws: FakeSecretsManager, client: Any, bare: AwsBackend
    ) -> None:
        set_up(client)
        client.cancel_rotate_secret(SecretId=DB)
        with pytest.raises(ConfigurationError):
            trigger(bare)
        with opened(aws.url, rotation_enabled=("db/*",)) as naming:
            trigger(naming)
        assert client.describe_secret(SecretId=DB)["RotationEnabled"]

    @pytest.mark.parametrize(
        ("settings", "rules"),
        [
            ({"every": 86_400.0}, {"AutomaticallyAfterDays": 1}),
            ({"every": 1000 * 86_400.0}, {"AutomaticallyAfterDays": 1000}),
            ({"every": 12 * 3_600.0}, {"ScheduleExpression": "rate(12 hours)"}),
            ({"schedule": "cron(0 4 ? * SUN *)"}, {"ScheduleExpression": "cron(0 4 ? * SUN *)"}),
            (
                {"schedule": "rate(10 days)", "window": 7_200.0},
                {"ScheduleExpression": "rate(10 days)", "Duration": "2h"},
            ),
        ],
    )
    def test_rules_are_given_as_the_service_takes_them(
        self, aws: FakeSecretsManager, client: Any, settings: dict[str, Any], rules: dict[str, Any]
    ) -> None:
        rotation = RotationSettings(lambda_arn=FUNCTION, **settings)
        with opened(aws.url, rotation_enabled=("db/*",), rotation=rotation) as backend:
            trigger(backend)
            aws.finish_rotation(DB)
            assert client.describe_secret(SecretId=DB)["RotationRules"] == rules
            # The service tells the days of any schedule as well, once it has rotated.
            aws.secret(DB).details["RotationRules"] = rules | {
                "AutomaticallyAfterDays": rules.get("AutomaticallyAfterDays", 7)
            }
            trigger(backend)
        assert arrangements(aws)[1] == {}

    @pytest.mark.parametrize(
        "other",
        [
            RotationSettings(lambda_arn=OTHER, every=30 * 86_400.0),
            RotationSettings(lambda_arn=FUNCTION, every=7 * 86_400.0),
            RotationSettings(lambda_arn=FUNCTION, every=30 * 86_400.0, window=7_200.0),
            RotationSettings(lambda_arn=FUNCTION, schedule="rate(30 days)"),
        ],
        ids=["function", "days", "window", "schedule"],
    )
    def test_the_settings_are_the_truth_for_what_they_name(
        self, aws: FakeSecretsManager, client: Any, other: RotationSettings
    ) -> None:
        set_up(client)
        with opened(aws.url, rotation_enabled=("db/*",), rotation=other) as backend:
            trigger(backend)
        found = client.describe_secret(SecretId=DB)
        assert found["RotationLambdaARN"] == other.lambda_arn
        assert arrangements(aws)[-1]["RotationRules"] == found["RotationRules"]

    def test_an_expression_is_not_taken_for_days_that_are_the_same_by_chance(
        self, aws: FakeSecretsManager, client: Any, backend: AwsBackend
    ) -> None:
        set_up(client, ScheduleExpression="cron(0 4 1 * ? *)")
        aws.secret(DB).details["RotationRules"]["AutomaticallyAfterDays"] = 30
        trigger(backend)
        assert arrangements(aws)[-1]["RotationRules"] == {"AutomaticallyAfterDays": 30}

    def test_what_the_settings_do_not_name_is_left_as_it_is(
        self, aws: FakeSecretsManager, client: Any, backend: AwsBackend
    ) -> None:
        client.create_secret(Name="mail", SecretString="x")
        set_up(client, "mail", AutomaticallyAfterDays=7)
        trigger(backend, name="mail")
        assert arrangements(aws)[-1] == {}


class TestTriggeringTwice:
    def test_another_rotation_under_way_is_a_conflict_that_names_it(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        version = trigger(backend)
        with pytest.raises(VersionConflictError, match="in progress") as caught:
            trigger(backend)
        assert caught.value.found == version
        aws.finish_rotation(DB)
        trigger(backend)

    def test_with_the_same_token_it_is_the_same_rotation(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        key = token()
        assert {trigger(backend, key), trigger(backend, key)} == {key}
        aws.finish_rotation(DB)
        assert trigger(backend, key) == key
        assert aws.secret(DB).holder("AWSCURRENT") is aws.secret(DB).versions[key]
        assert len(aws.secret(DB).versions) == 2

    def test_the_same_rotation_is_known_again_even_if_the_service_refuses_it(
        self, aws: FakeSecretsManager, backend: AwsBackend
    ) -> None:
        # What the service says to a token that it knows is not documented.
        key = trigger(backend)
        aws.fail("RotateSecret", "InvalidRequestException")
        assert trigger(backend, key) == key

    def test_a_lost_answer_makes_no_second_rotation(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.after("RotateSecret")
        version = trigger(backend)
        assert aws.secret(DB).holder("AWSPENDING") is aws.secret(DB).versions[version]
        assert len(aws.secret(DB).versions) == 2

    def test_of_several_at_once_one_begins(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        def begin(_: int) -> str | None:
            with contextlib.suppress(VersionConflictError):
                return trigger(backend)
            return None

        (version,) = [found for found in in_threads(8, begin) if found is not None]
        assert aws.secret(DB).holder("AWSPENDING") is aws.secret(DB).versions[version]


class TestRefusals:
    @pytest.mark.parametrize("act", [trigger, lambda backend: status(backend, token())], ids=["trigger", "status"])
    def test_a_missing_and_a_deleted_secret_are_told_apart(
        self, client: Any, backend: AwsBackend, act: Callable[[AwsBackend], Any]
    ) -> None:
        client.delete_secret(SecretId=DB)
        with pytest.raises(SecretDeletedError):
            act(backend)
        client.delete_secret(SecretId=DB, ForceDeleteWithoutRecovery=True)
        with pytest.raises(SecretNotFoundError) as caught:
            act(backend)
        assert caught.value.code == "not_found"

    @pytest.mark.parametrize("key", ["", "x" * 36])
    def test_a_token_that_is_no_uuid_is_refused_before_anything_is_sent(
        self, aws: FakeSecretsManager, backend: AwsBackend, key: str
    ) -> None:
        aws.requests.clear()
        with pytest.raises(ConfigurationError):
            backend.trigger_rotation(TriggerRotationRequest(name=DB, token=key))
        assert not aws.requests

    @pytest.mark.parametrize("code", ["InvalidParameterException", "ResourceNotFoundException"])
    def test_a_function_or_rules_that_aws_does_not_take_are_the_settings_fault(
        self, aws: FakeSecretsManager, backend: AwsBackend, code: str
    ) -> None:
        # The fake knows of no functions, and takes any rules.
        aws.fail("RotateSecret", code)
        with pytest.raises(ConfigurationError, match="lambda_arn"):
            trigger(backend)

    def test_a_replica_is_not_rotated(self, aws: FakeSecretsManager, client: Any) -> None:
        client.replicate_secret_to_regions(SecretId=DB, AddReplicaRegions=[{"Region": REPLICA}])
        with (
            opened(aws.url, region=REPLICA, rotation_enabled=("db/*",), rotation=MONTHLY) as backend,
            pytest.raises(UnsupportedOperationError, match="replica"),
        ):
            trigger(backend)

    def test_what_is_not_allowed_is_denied(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.deny("RotateSecret")
        with pytest.raises(AccessDeniedError):
            trigger(backend)
        aws.deny("ListSecrets")
        with pytest.raises(AccessDeniedError):
            schedules(backend)

    def test_an_outage_is_one(self, aws: FakeSecretsManager, backend: AwsBackend) -> None:
        aws.fail("RotateSecret", "ServiceUnavailable", times=None)
        with pytest.raises(BackendUnavailableError):
            trigger(backend)


class TestSchedules:
    def test_a_schedule_says_how_often_by_whom_and_when(
        self, aws: FakeSecretsManager, client: Any, bare: AwsBackend
    ) -> None:
        before = time.time()
        client.rotate_secret(SecretId=DB, RotationLambdaARN=OTHER, RotationRules={"AutomaticallyAfterDays": 30})
        aws.finish_rotation(DB)
        found = schedules(bare)[DB]
        assert (found.rule, found.by, found.enabled, found.window) == (
            "every 30 days",
            "rotate-better:live",
            True,
            None,
        )
        assert found.last is not None
        assert found.next is not None
        assert found.last.timestamp() >= before - 1
        assert found.next.tzinfo is UTC
        assert (found.next - found.last).days in (29, 30)

    @pytest.mark.parametrize(
        ("rules", "words", "window"),
        [
            ({"AutomaticallyAfterDays": 1}, "every day", None),
            ({"AutomaticallyAfterDays": 7, "Duration": "3h"}, "every 7 days", 10_800.0),
            ({"ScheduleExpression": "rate(12 hours)"}, "rate(12 hours)", None),
            (
                {"ScheduleExpression": "cron(0 4 ? * SUN *)", "AutomaticallyAfterDays": 7, "Duration": "12h"},
                "cron(0 4 ? * SUN *)",
                43_200.0,
            ),
            ({"Duration": "soon"}, "on demand", None),
        ],
    )
    def test_rules_are_told_in_words(
        self, aws: FakeSecretsManager, client: Any, bare: AwsBackend, rules: dict[str, Any], words: str, window: Any
    ) -> None:
        set_up(client)
        aws.secret(DB).details["RotationRules"] = rules
        found = schedules(bare)[DB]
        assert (found.rule, found.window) == (words, window)

    def test_a_service_that_manages_a_secret_rotates_it(self, aws: FakeSecretsManager, bare: AwsBackend) -> None:
        aws.secret(DB).details |= {
            "OwningService": "rds",
            "RotationEnabled": True,
            "RotationRules": {"AutomaticallyAfterDays": 7},
            "NextRotationDate": datetime(2030, 1, 1, tzinfo=UTC).timestamp(),
        }
        found = schedules(bare)[DB]
        assert (found.by, found.next, found.last) == ("rds", datetime(2030, 1, 1, tzinfo=UTC), None)

    def test_one_that_was_turned_off_says_so_and_one_that_never_was_is_left_out(
        self, client: Any, bare: AwsBackend
    ) -> None:
        assert schedules(bare) == {}
        set_up(client)
        client.cancel_rotate_secret(SecretId=DB)
        found = schedules(bare)[DB]
        assert (found.enabled, found.next) == (False, None)

    def test_all_pages_are_read_and_only_what_is_below_the_folder(self, aws: FakeSecretsManager, client: Any) -> None:
        for name in ("app/db/a", "app/db/b/c", "app/dbx", "app/db", "db/else", "app/mail", "app/db/never"):
            client.create_secret(Name=name, SecretString="x")
            if not name.endswith("never"):
                set_up(client, name)
        aws.operations.page, aws.operations.empty_pages = 2, 1
        with opened(aws.url, prefix="app/") as backend:
            assert list(schedules(backend)) == ["db", "db/a", "db/b/c", "dbx", "mail"]
            assert list(schedules(backend, "db")) == ["db/a", "db/b/c"]
            aws.requests.clear()
            assert schedules(backend, "ünspeakable") == {}
            assert not aws.requests

    def test_a_deleted_secret_has_none(self, client: Any, bare: AwsBackend) -> None:
        set_up(client)
        client.delete_secret(SecretId=DB)
        assert schedules(bare) == {}


def test_each_operation_sends_what_the_documentation_says(aws: FakeSecretsManager, backend: AwsBackend) -> None:
    def count(act: Callable[[], object]) -> list[str]:
        aws.requests.clear()
        act()
        return [request.operation for request in aws.requests]

    key, look = token(), "DescribeSecret"
    assert count(lambda: backend.rotates(SecretName("db/password"))) == []
    assert count(lambda: trigger(backend, key)) == [look, "RotateSecret"]
    assert count(lambda: status(backend, key)) == [look]
    assert count(lambda: schedules(backend)) == ["ListSecrets"]
    with opened(aws.url) as bare:
        assert count(lambda: bare.rotates(DB)) == [look]
