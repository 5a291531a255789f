"""Answers in the service's form that say nonsense: an outage, never a part of them, and never another's value."""

from __future__ import annotations

import copy

from collections.abc import Callable
from typing import Any

import pytest

import strongroom_aws.paging

from awsbackends import REPLICA, Waits, list_names, opened, read, read_many
from awsclient import REGION
from fakeaws import FakeSecretsManager
from strongroom.contracts import DescribeRequest, VersionsRequest
from strongroom.errors import BackendError, BackendUnavailableError
from strongroom.model import SecretName
from strongroom.testing import assert_hidden, report_of
from strongroom_aws.backend import AwsBackend

ARN = f"arn:aws:secretsmanager:{REGION}:123456789012:secret:app/key-AbCdEf"
VERSION = "01234567-89ab-cdef-0123-456789abcdef"
MARKER = "Zq7-Wm4x-Kp9v-Ru2j"
ENTRY = {"ARN": ARN, "Name": "app/key", "VersionId": VERSION, "SecretString": MARKER, "VersionStages": ["AWSCURRENT"]}
SOUND: dict[str, dict[str, Any]] = {
    "GetSecretValue": ENTRY | {"CreatedDate": 1.7e9},
    "BatchGetSecretValue": {
        "SecretValues": [ENTRY],
        "Errors": [{"SecretId": "app/other", "ErrorCode": "ResourceNotFoundException"}],
    },
    "DescribeSecret": {
        "ARN": ARN,
        "VersionIdsToStages": {VERSION: ["AWSCURRENT"]},
        "Tags": [{"Key": "owner", "Value": "ada"}],
        "ReplicationStatus": [{"Region": REPLICA, "Status": "InSync"}],
    },
    "ListSecrets": {"SecretList": [{"ARN": ARN, "Name": "app/key"}]},
    "ListSecretVersionIds": {"ARN": ARN, "Versions": [{"VersionId": VERSION, "VersionStages": ["AWSCURRENT"]}]},
}
ACTS: dict[str, Callable[[AwsBackend], object]] = {
    "GetSecretValue": read,
    "BatchGetSecretValue": lambda backend: read_many(backend, "app/key", "app/other"),
    "DescribeSecret": lambda backend: backend.describe(DescribeRequest(name=SecretName("app/key"))),
    "ListSecrets": list_names,
    "ListSecretVersionIds": lambda backend: backend.versions(VersionsRequest(name=SecretName("app/key"))),
}
MISSING = object()
Path = tuple[str | int, ...]


def with_part(answer: dict[str, Any], path: Path, part: Any) -> dict[str, Any]:
    changed = copy.deepcopy(answer)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    if part is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = part
    return changed


def answering(aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch, operation: str, answer: dict[str, Any]) -> None:
    def answered(region: str, parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # as the fake calls it
        return answer

    monkeypatch.setattr(aws.operations, operation, answered)


@pytest.mark.parametrize("operation", sorted(SOUND))
def test_these_answers_are_sound_until_a_part_is_changed(
    aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    for one, answer in SOUND.items():
        answering(aws, monkeypatch, one, answer)
    with opened(aws.url, waits) as backend:
        ACTS[operation](backend)
    assert waits.waited == []


@pytest.mark.parametrize(
    ("operation", "path", "part"),
    [
        ("GetSecretValue", ("VersionId",), ""),
        ("GetSecretValue", ("VersionId",), {"x": 1}),
        ("GetSecretValue", ("VersionId",), MISSING),
        ("GetSecretValue", ("SecretString",), 1),
        ("GetSecretValue", ("CreatedDate",), 1e300),
        ("GetSecretValue", ("CreatedDate",), "soon"),
        ("BatchGetSecretValue", ("SecretValues", 0), None),
        ("BatchGetSecretValue", ("SecretValues", 0, "ARN"), [MARKER]),
        ("BatchGetSecretValue", ("SecretValues", 0, "Name"), {"x": MARKER}),
        ("BatchGetSecretValue", ("SecretValues", 0, "VersionId"), 7),
        ("BatchGetSecretValue", ("Errors", 0), None),
        ("BatchGetSecretValue", ("Errors", 0, "SecretId"), 7),
        ("BatchGetSecretValue", ("NextToken",), 7),
        ("DescribeSecret", ("VersionIdsToStages", VERSION), None),
        ("DescribeSecret", ("VersionIdsToStages", VERSION, 0), {}),
        ("DescribeSecret", ("Tags", 0), None),
        ("DescribeSecret", ("Tags", 0, "Key"), MISSING),
        ("DescribeSecret", ("Tags", 0, "Key"), 7),
        ("DescribeSecret", ("ReplicationStatus", 0), {}),
        ("DescribeSecret", ("ReplicationStatus", 0), None),
        ("ListSecrets", ("SecretList", 0), None),
        ("ListSecrets", ("SecretList", 0, "Name"), MISSING),
        ("ListSecrets", ("SecretList", 0, "Name"), 7),
        ("ListSecrets", ("SecretList", 0, "ARN"), ""),
        ("ListSecretVersionIds", ("Versions",), MISSING),
        ("ListSecretVersionIds", ("Versions", 0), None),
        ("ListSecretVersionIds", ("Versions", 0, "VersionId"), MISSING),
        ("ListSecretVersionIds", ("Versions", 0, "VersionId"), []),
        ("ListSecretVersionIds", ("Versions", 0, "VersionStages", 0), 7),
    ],
)
def test_nonsense_in_an_answer_is_an_outage_and_asked_for_again(
    aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch, operation: str, path: Path, part: Any
) -> None:
    for one, answer in SOUND.items():
        answering(aws, monkeypatch, one, answer)
    answering(aws, monkeypatch, operation, with_part(SOUND[operation], path, part))
    with opened(aws.url, waits, attempts=2) as backend, pytest.raises(BackendUnavailableError) as caught:
        ACTS[operation](backend)
    assert caught.value.code == "unavailable"
    assert len(aws.sent(operation)) == 2
    assert_hidden(MARKER, report_of(caught.value, "strongroom_aws"), "the error")


@pytest.mark.parametrize(
    ("path", "part"),
    [(("Name",), "app/other"), (("Name",), "App/Key"), (("Name",), "app/key-AbCdEf"), (("VersionId",), VERSION[::-1])],
)
def test_an_answer_for_something_else_is_no_answer(
    aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch, path: Path, part: str
) -> None:
    answering(aws, monkeypatch, "GetSecretValue", with_part(ENTRY | {"ARN": ARN + "x"}, path, part))
    version = VERSION if path == ("VersionId",) else None
    with (
        opened(aws.url, waits) as backend,
        pytest.raises(BackendUnavailableError, match="is not the one for") as caught,
    ):
        read(backend, version=version)
    assert_hidden(MARKER, report_of(caught.value, "strongroom_aws"), "the error")


def test_an_alias_takes_the_answer_of_its_arn_under_whatever_name(
    aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(aws, monkeypatch, "GetSecretValue", ENTRY)
    with opened(aws.url, waits, arns={"mine": ARN}) as backend:
        assert read(backend, "mine") == MARKER
        monkeypatch.setitem(ENTRY, "ARN", ARN.replace("app/key", "app/other"))
        monkeypatch.setitem(ENTRY, "Name", "app/other")
        with pytest.raises(BackendUnavailableError, match="is not the one for"):
            read(backend, "mine")


def test_a_replica_that_answers_with_nonsense_is_passed_over(
    aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = SOUND["BatchGetSecretValue"]

    def answered(region: str, parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # as the fake calls it
        return with_part(sound, ("SecretValues", 0), None) if region == REPLICA else sound

    monkeypatch.setattr(aws.operations, "BatchGetSecretValue", answered)
    aws.fail("BatchGetSecretValue", "InternalServiceError", times=None, region=REGION)
    with opened(aws.url, waits, replicas=(REPLICA, "us-east-2")) as backend:
        found = read_many(backend, "app/key", "app/other").found[SecretName("app/key")]
    assert found.place == "region us-east-2"


def test_pages_without_end_are_an_error(aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = iter(range(1000))

    def answered(region: str, parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG001  # as the fake calls it
        return {"SecretList": [], "NextToken": f"token {next(tokens)}"}

    monkeypatch.setattr(aws.operations, "ListSecrets", answered)
    monkeypatch.setattr(strongroom_aws.paging, "MOST", 30)
    with opened(aws.url, waits) as backend, pytest.raises(BackendError, match="more than 30 pages"):
        list_names(backend)
    assert len(aws.sent("ListSecrets")) == 31
