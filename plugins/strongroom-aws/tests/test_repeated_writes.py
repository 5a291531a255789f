"""A write that is sent again under its token, since nobody has seen what became of it: it is made once."""

from __future__ import annotations

import secrets
import uuid

from typing import Any

import pytest

import strongroom

from awswriting import asked, opened, read, write
from fakeaws import FakeSecretsManager
from strongroom.contracts import DeleteRequest, VersionsRequest, WriteRequest
from strongroom.contracts.journal import EntryState
from strongroom.errors import ConfigurationError, StrongroomError, VersionConflictError
from strongroom.model import ABSENT, Absent, SecretName, SecretValue
from strongroom.testing import FakeClock
from strongroom_aws.backend import AwsBackend


@pytest.fixture(params=["emulator", "fake"])
def service(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue("aws" if request.param == "fake" else "emulator")


@pytest.fixture
def name() -> str:
    return f"{secrets.token_hex(4)}/key"


def send(backend: AwsBackend, name: str, content: str, token: str, expected: str | Absent | None = None) -> str:
    """Write under a token; return the version."""
    request = WriteRequest(name=SecretName(name), value=SecretValue(content), expect_version=expected, token=token)
    return backend.write(request).version


def versions(backend: AwsBackend, name: str) -> list[str]:
    return [one.version for one in backend.versions(VersionsRequest(name=SecretName(name))).versions]


def new_token() -> str:
    return str(uuid.uuid4())


def test_the_version_is_the_token(service: Any, name: str) -> None:
    backend, tokens = opened(service), [new_token() for _ in range(3)]
    assert send(backend, name, "1", tokens[0]) == tokens[0]
    assert send(backend, name, "2", tokens[1]) == tokens[1]
    assert send(backend, name, "3", tokens[2], tokens[1]) == tokens[2]
    assert read(backend, name).version == tokens[2]


@pytest.mark.parametrize("over", ["none", "a version", "anything"])
def test_it_makes_no_second_version(over: str, service: Any, name: str) -> None:
    backend, token = opened(service), new_token()
    expected: str | Absent | None = None
    if over == "none":
        expected = ABSENT
    elif over == "a version":
        expected = write(backend, "before", name=name).version
    send(backend, name, "1", token, expected)
    before = versions(backend, name)
    assert send(backend, name, "1", token, expected) == token
    assert versions(backend, name) == before
    assert read(backend, name).version == token


@pytest.mark.parametrize("others", [1, 2])
@pytest.mark.parametrize("over", ["none", "a version", "anything"])
def test_it_does_not_bring_back_what_others_have_replaced_since(
    others: int, over: str, service: Any, name: str
) -> None:
    backend, token = opened(service), new_token()
    expected: str | Absent | None = {"none": ABSENT, "anything": None}.get(over)
    if over == "a version":
        expected = write(backend, "before", name=name).version
    send(backend, name, "ours", token, expected)
    current = token
    for number in range(others):
        # The emulator does not make a plain write current after one over an expected version.
        current = write(backend, f"theirs {number}", current if over == "a version" else None, name=name).version
    try:
        assert send(backend, name, "ours", token, expected) == token
    except VersionConflictError:
        # Of a version without any label the description says nothing: the core looks among all versions then.
        assert token in versions(backend, name)
    assert read(backend, name).value.reveal_text() == f"theirs {others - 1}"


def test_it_does_not_bring_back_what_somebody_has_taken_back(service: Any, name: str) -> None:
    backend, token = opened(service), new_token()
    before = write(backend, "before", name=name).version
    send(backend, name, "ours", token, before)
    service.client().update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=before, RemoveFromVersionId=token
    )
    assert send(backend, name, "ours", token, before) == token
    assert read(backend, name).version == before


def test_it_takes_one_request_to_find_that_it_was_made(aws: FakeSecretsManager, name: str) -> None:
    backend, token = opened(aws), new_token()
    before = write(backend, "before", name=name).version
    send(backend, name, "ours", token, before)
    asked(aws)
    send(backend, name, "ours", token, before)
    assert asked(aws) == ["DescribeSecret"]


@pytest.mark.parametrize("stops", ["PutSecretValue", "UpdateSecretVersionStage"])
def test_what_stopped_halfway_is_completed(stops: str, aws: FakeSecretsManager, name: str) -> None:
    backend, token = opened(aws, attempts=1), new_token()
    before = write(backend, "before", name=name).version
    aws.after(stops)
    with pytest.raises(StrongroomError):
        send(backend, name, "ours", token, before)
    assert send(backend, name, "ours", token, before) == token
    assert (read(backend, name).version, sorted(versions(backend, name))) == (token, sorted([before, token]))


def test_a_token_is_that_of_one_value(aws: FakeSecretsManager, name: str) -> None:
    backend, token = opened(aws), new_token()
    send(backend, name, "1", token)
    write(backend, "2", name=name)
    with pytest.raises(StrongroomError):
        send(backend, name, "another", token)
    assert read(backend, name).value.reveal_text() == "2"


def test_what_is_no_token_is_not_sent(aws: FakeSecretsManager, name: str) -> None:
    backend = opened(aws)
    with pytest.raises(ConfigurationError, match="no UUID"):
        send(backend, name, "1", "x" * 36)
    assert asked(aws) == []
    backend.delete(DeleteRequest(name=SecretName(name)))


@pytest.mark.parametrize("over", ["none", "a version"])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_write_whose_answer_is_lost_waits_and_is_one_version_of_that_token_in_the_end(
    replaced: bool, over: str, aws: FakeSecretsManager, name: str
) -> None:
    backend, clock = opened(aws), FakeClock()
    write(backend, "of no matter", name=f"{name}/other")
    tables = {"backend": "aws", "fallback": "store", "audit": "none", "backends": {"store": {"type": "memory"}}}
    with strongroom.open(tables, backends={"aws": backend}, clock=clock) as manager:
        before = [] if over == "none" else [manager.set(name, "before").version]
        for operation in ("CreateSecret", "PutSecretValue", "UpdateSecretVersionStage"):
            aws.after(operation, how="reset", times=None)
        # It cannot be looked for either, as in an outage that begins amidst the write.
        aws.fail_transport("DescribeSecret", times=None)
        written = manager.set(name, "ours", expect_version=before[0] if before else ABSENT)
        assert written.queued is not None
        (entry,) = manager.journal.list()
        assert (entry.id, entry.state) == (written.queued, EntryState.UNCLEAR)
        aws.heal()
        if replaced and written.queued in versions(backend, name):
            write(backend, "theirs", written.queued, name=name)
        clock.advance(600)
        assert (manager.journal.replay().made, manager.journal.list()) == (1, ())
        assert versions(backend, name).count(written.queued) == 1
        assert read(backend, name, version=written.queued).value.reveal_text() == "ours"
        ours = [one for one in versions(backend, name) if one not in before]
        assert len(ours) == (1 if read(backend, name).version == written.queued else 2)
