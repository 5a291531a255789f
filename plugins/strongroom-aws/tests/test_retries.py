"""One owner of retries: how often, how long between, until when, and with which token."""

from __future__ import annotations

import logging
import socket
import threading
import time

from typing import Any

import pytest

import strongroom

from awsbackends import Waits, delete, list_names, managed, opened, read, write
from awsclient import REGION
from fakeaws import FakeSecretsManager
from fakeloopback import Incoming, Reply
from strongroom.errors import AuthenticationError, BackendError, BackendUnavailableError, StrongroomError
from strongroom.pacing import within
from strongroom.testing import FakeClock, in_threads
from strongroom_aws.asking import Asker
from strongroom_aws.place import resolve
from strongroom_aws.settings import AwsSettings

OUTAGES = [
    ("InternalServiceError", 500, "server_error"),
    ("InternalServiceError", 503, "server_error"),
    ("ServiceUnavailable", 503, "server_error"),
    ("Surprise", 502, "server_error"),
    ("ThrottlingException", 400, "rate_limited"),
    ("RequestTimeoutException", 400, "server_error"),
]


@pytest.mark.parametrize("attempts", [1, 2, 3, 5])
@pytest.mark.parametrize(("code", "status", "ours"), OUTAGES)
def test_an_outage_costs_exactly_so_many_requests(
    aws: FakeSecretsManager, waits: Waits, attempts: int, code: str, status: int, ours: str
) -> None:
    aws.fail("*", code, status, times=None)
    with opened(aws.url, waits, attempts=attempts) as backend, pytest.raises(BackendUnavailableError) as caught:
        read(backend)
    assert caught.value.code == ours
    assert len(aws.requests) == attempts
    assert len(waits.waited) == attempts - 1


def test_a_read_through_a_manager_sends_exactly_as_many_requests_as_are_set(aws: FakeSecretsManager) -> None:
    aws.fail("*", "InternalServiceError", 503, times=None)
    with managed(aws.url, attempts=3) as manager, pytest.raises(BackendUnavailableError):
        manager.get("app/key")
    assert aws.counts == {"GetSecretValue": 3}


def test_the_time_that_the_operation_has_left_ends_the_attempts(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.fail("*", "InternalServiceError", 503, times=None)
    with opened(aws.url, waits, attempts=100, timeout=600.0) as backend, within(40.0):
        start = waits.clock.monotonic()
        with pytest.raises(BackendUnavailableError):
            read(backend)
        assert waits.clock.monotonic() - start <= 40.0
    assert 2 < len(aws.requests) < 20


def test_a_look_up_of_the_name_that_hangs_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time limit of the client below holds for it."""
    release, real = threading.Event(), socket.getaddrinfo

    def look_up(host: Any, *arguments: Any, **options: Any) -> Any:
        if host == "aws.example":
            release.wait(20.0)
            raise socket.gaierror(socket.EAI_NONAME, "there is no such host")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    limits = {"connect_timeout": "300ms", "read_timeout": "300ms", "attempts": 1}
    table = {"type": "aws", "region": REGION, "endpoint": "http://aws.example:1"} | limits
    config = {"backend": "aws", "audit": "none", "backends": {"aws": table}, "resilience": {"deadline": "2s"}}
    with strongroom.open(config) as manager:
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="has not answered within"):
            manager.get("app/key")
        assert time.monotonic() - start < 4.0
        release.set()


def test_a_short_deadline_lets_requests_through_all_the_same(aws: FakeSecretsManager) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    config = {
        "backend": "aws",
        "audit": "none",
        "backends": {"aws": {"type": "aws", "region": REGION, "endpoint": aws.url}},
        "resilience": {"deadline": "5s"},
    }
    with strongroom.open(config) as manager:
        assert manager.get("app/key").reveal_text() == "s3cret"


@pytest.mark.parametrize("variable", ["AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"])
def test_the_client_below_never_sends_again_whatever_the_environment_says(
    aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "adaptive" if variable == "AWS_RETRY_MODE" else "7")
    aws.fail("*", "ThrottlingException", times=None)
    with opened(aws.url, waits, attempts=2) as backend, pytest.raises(BackendUnavailableError):
        read(backend)
    assert len(aws.requests) == 2


@pytest.mark.parametrize(
    "code",
    [
        "ResourceNotFoundException",
        "InvalidParameterException",
        "AccessDeniedException",
        "UnrecognizedClientException",
        "DecryptionFailure",
        "LimitExceededException",
        "Surprise",
    ],
)
def test_a_refusal_is_an_answer_and_asked_for_once(aws: FakeSecretsManager, waits: Waits, code: str) -> None:
    aws.fail("*", code, times=None)
    with opened(aws.url, waits) as backend, pytest.raises(StrongroomError) as caught:
        read(backend)
    assert not isinstance(caught.value, BackendUnavailableError)
    assert len(aws.requests) == 1


def test_an_answer_that_comes_at_last_is_the_answer(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    aws.fail("GetSecretValue", "InternalServiceError", 500)
    aws.fail_transport("GetSecretValue", "reset")
    with opened(aws.url, waits) as backend:
        assert read(backend) == "s3cret"
    assert aws.counts["GetSecretValue"] == 3


def test_delays_grow_and_have_jitter(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.fail("*", "InternalServiceError", times=None)
    with opened(aws.url, waits, attempts=5, timeout=100.0) as backend:
        for _ in range(15):
            with pytest.raises(BackendUnavailableError):
                read(backend)
    runs = [waits.waited[start : start + 4] for start in range(0, 60, 4)]
    assert all(first < second < third < fourth for first, second, third, fourth in runs)
    assert len({run[0] for run in runs}) == 15


class TestRetryAfter:
    """Secrets Manager does not send it, but what stands before it may."""

    def outage(self, aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch, seconds: str, times: int | None) -> None:
        aws.client().create_secret(Name="app/key", SecretString="s3cret")
        answer = aws.respond

        def respond(incoming: Incoming) -> Reply:
            reply = answer(incoming)
            reply.headers["Retry-After"] = seconds
            return reply

        monkeypatch.setattr(aws, "respond", respond)
        aws.fail("GetSecretValue", "ServiceUnavailable", times=times)

    def test_the_delay_that_is_asked_for_is_kept(
        self, aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.outage(aws, monkeypatch, "7", times=1)
        with opened(aws.url, waits) as backend:
            assert read(backend) == "s3cret"
        assert waits.waited == [7.0]

    def test_a_delay_after_which_no_attempt_could_end_in_time_is_not_begun(
        self, aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.outage(aws, monkeypatch, "20", times=1)
        with opened(aws.url, waits, timeout=30.0) as backend, pytest.raises(BackendUnavailableError):
            read(backend)
        assert waits.waited == []
        assert aws.counts["GetSecretValue"] == 1

    def test_who_is_asked_to_come_back_at_once_waits_as_ever(
        self, aws: FakeSecretsManager, waits: Waits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.outage(aws, monkeypatch, "0", times=None)
        with opened(aws.url, waits, attempts=5) as backend, pytest.raises(BackendUnavailableError):
            read(backend)
        assert len(waits.waited) == 4
        assert all(seconds > 0.1 for seconds in waits.waited)


class TestDeadline:
    def test_a_service_that_hangs_is_left_when_the_time_is_over(self, aws: FakeSecretsManager) -> None:
        aws.fail_transport("*", "hang", times=None)
        limits = {"timeout": 1.5, "connect_timeout": 0.1, "read_timeout": 0.4}
        with opened(aws.url, attempts=100, **limits) as backend:
            start = time.monotonic()
            with pytest.raises(BackendUnavailableError) as caught:
                read(backend)
            took = time.monotonic() - start
        assert caught.value.code == "timeout"
        assert took < 5, "a hundred attempts would take a minute"
        assert 2 <= len(aws.requests) <= 3

    def test_a_first_attempt_is_made_even_if_it_has_all_the_time_that_there_is(self, aws: FakeSecretsManager) -> None:
        aws.client().create_secret(Name="app/key", SecretString="s3cret")
        with opened(aws.url, timeout=1.0, connect_timeout=0.5, read_timeout=0.5) as backend:
            assert read(backend) == "s3cret"

    def test_no_attempt_is_begun_that_might_end_too_late(self, aws: FakeSecretsManager, waits: Waits) -> None:
        aws.fail("*", "InternalServiceError", times=None)
        start = waits.clock.monotonic()
        with opened(aws.url, waits, attempts=100, timeout=30.0) as backend, pytest.raises(BackendUnavailableError):
            read(backend)
        assert waits.clock.monotonic() - start <= 30.0 - 11.0
        assert 4 <= len(aws.requests) <= 8


class TestWrites:
    """The fake does what was asked and loses the answer, which no emulator can be told to do."""

    def tokens(self, aws: FakeSecretsManager, operation: str) -> list[str]:
        return [request.parameters["ClientRequestToken"] for request in aws.sent(operation)]

    def test_a_write_that_is_sent_again_keeps_its_token_and_makes_one_version(
        self, aws: FakeSecretsManager, waits: Waits
    ) -> None:
        aws.client().create_secret(Name="app/key", SecretString="old")
        aws.after("PutSecretValue", times=2)
        with opened(aws.url, waits) as backend:
            version = write(backend, value="new")
        assert self.tokens(aws, "PutSecretValue") == [version] * 3
        assert len(aws.secret("app/key").versions) == 2

    def test_a_new_secret_is_made_once(self, aws: FakeSecretsManager, waits: Waits) -> None:
        aws.after("CreateSecret", times=2)
        with opened(aws.url, waits) as backend:
            version = write(backend)
        assert self.tokens(aws, "CreateSecret") == [version] * 3
        assert list(aws.secret("app/key").versions) == [version]

    @pytest.mark.parametrize("last", ["InternalServiceError", "ThrottlingException"])
    def test_a_write_that_may_have_been_acted_on_says_so(
        self, aws: FakeSecretsManager, waits: Waits, last: str
    ) -> None:
        aws.client().create_secret(Name="app/key", SecretString="old")
        aws.after("PutSecretValue", times=2)
        aws.fail("PutSecretValue", last, times=None)
        with (
            opened(aws.url, waits) as backend,
            pytest.raises(BackendUnavailableError, match="may have been changed: read it before"),
        ):
            write(backend)

    def test_a_write_that_nobody_took_says_nothing_of_changes(self, aws: FakeSecretsManager, waits: Waits) -> None:
        aws.down()
        with opened(aws.url, waits) as backend, pytest.raises(BackendUnavailableError) as caught:
            write(backend)
        assert caught.value.code == "connection_refused"
        assert "changed" not in str(caught.value)

    def test_a_write_that_was_throttled_each_time_says_nothing_of_changes(
        self, aws: FakeSecretsManager, waits: Waits
    ) -> None:
        aws.fail("*", "ThrottlingException", times=None)
        with opened(aws.url, waits) as backend, pytest.raises(BackendUnavailableError) as caught:
            write(backend)
        assert "changed" not in str(caught.value)


def test_a_delete_and_a_list_are_sent_again_as_well(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    with opened(aws.url, waits) as backend:
        aws.fail("ListSecrets", "InternalServiceError", times=2)
        assert list_names(backend) == ["app/key"]
        aws.fail("DeleteSecret", "InternalServiceError", times=2)
        delete(backend)
        assert list_names(backend) == []
    assert (aws.counts["ListSecrets"], aws.counts["DeleteSecret"]) == (4, 3)


def test_credentials_that_are_not_accepted_are_not_shown_again_and_again(aws: FakeSecretsManager) -> None:
    aws.fail("*", "UnrecognizedClientException", times=None)
    clock = FakeClock()
    with managed(aws.url, clock=clock) as manager:
        for number in range(50):
            with pytest.raises(AuthenticationError):
                manager.get(f"name-{number}")
        assert len(aws.requests) == 1
        clock.advance(1.05)  # the first pause takes a second, and the next one two
        for number in range(50):
            with pytest.raises(AuthenticationError):
                manager.get(f"name-{number}")
        assert len(aws.requests) == 2
        clock.advance(1.05)
        with pytest.raises(AuthenticationError):
            manager.get("name")
        assert len(aws.requests) == 2


def test_as_many_threads_as_connections_share_them_without_a_warning(
    aws: FakeSecretsManager, caplog: pytest.LogCaptureFixture
) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    peers: set[int] = set()
    aws.before("GetSecretValue", lambda request: peers.add(request.peer), times=None)
    aws.delay("GetSecretValue", 0.01)
    with caplog.at_level(logging.WARNING), opened(aws.url, connections=8) as backend:
        in_threads(8, lambda number: [read(backend) for _ in range(5)])
    assert len(aws.sent("GetSecretValue")) == 40
    assert len(peers) <= 8
    assert not [record for record in caplog.records if "pool" in record.getMessage()]


def test_a_call_of_botocore_that_fails_is_an_error_of_the_backend(aws: FakeSecretsManager) -> None:
    settings = AwsSettings(region=REGION, endpoint=aws.url)
    asker = Asker(settings, resolve(settings))
    # A parameter is missing, which botocore refuses: nothing but a mistake of ours leads there.
    with pytest.raises(BackendError, match="ParamValidationError"):
        asker.ask("GetSecretValue", {}, what="reading nothing")
    asker.close()
    assert aws.requests == []
