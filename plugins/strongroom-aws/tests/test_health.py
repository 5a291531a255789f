"""Whether the service can be asked with our credentials: soon, and without reading a secret."""

from __future__ import annotations

import time

from typing import Any

import pytest

from awsbackends import REPLICA, SECOND_REPLICA, managed, opened, read
from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from fakeaws import ACCOUNT, FakeSecretsManager
from moto_server import Emulator
from openbao import free_port
from strongroom.contracts import Health, HealthState
from strongroom.errors import BackendUnavailableError
from strongroom.testing import in_forked_child, in_threads
from strongroom_aws import health as examination

ROLE = "arn:aws:iam::222222222222:role/reader"


def health_of(url: str, **settings: Any) -> tuple[Health, dict[str, str]]:
    with opened(url, **settings) as backend:
        found = backend.health()
    return found, dict(found.facts)


def test_a_service_that_lists_is_up(aws: FakeSecretsManager) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    aws.requests.clear()
    found, facts = health_of(aws.url)
    assert (found.state, found.reason) == (HealthState.UP, "")
    assert [(sent.operation, sent.parameters) for sent in aws.requests] == [("ListSecrets", {"MaxResults": 1})]
    assert facts == {
        "region": REGION,
        "region_from": "the settings",
        "endpoint": f"127.0.0.1:{aws.port}",
        "account": ACCOUNT,
        "listing": "allowed",
        "requests": "1",
        "retries": "0",
        "throttled": "0",
    }


def test_so_is_the_emulator(emulator: Emulator) -> None:
    found, facts = health_of(emulator.url)
    assert (found.state, facts["listing"]) == (HealthState.UP, "allowed")


def test_it_says_where_the_region_comes_from(aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    _, facts = health_of(aws.url, region=None)
    assert (facts["region"], facts["region_from"]) == ("eu-north-1", "AWS_REGION")


def test_the_account_is_that_of_the_settings_if_no_answer_has_one(aws: FakeSecretsManager) -> None:
    assert "account" not in health_of(aws.url)[1]
    assert health_of(aws.url, account=ACCOUNT)[1]["account"] == ACCOUNT


@pytest.mark.parametrize("code", ["AccessDeniedException", "403"])
def test_who_may_not_list_has_good_credentials(aws: FakeSecretsManager, code: str) -> None:
    aws.fail("*", code, 403, times=None)
    found, facts = health_of(aws.url)
    assert (found.state, facts["listing"]) == (HealthState.UP, "not allowed")


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "ExpiredTokenException", "InvalidSignatureException"])
def test_credentials_that_are_not_accepted_are_told_with_what_to_do(aws: FakeSecretsManager, code: str) -> None:
    aws.fail("*", code, times=None)
    found, _ = health_of(aws.url, replicas=(REPLICA,))
    assert found.state is HealthState.DOWN
    assert "not accepted" in found.reason
    assert "get-caller-identity" in found.hint
    assert {sent.region for sent in aws.requests} == {REGION}


def test_credentials_that_are_not_there_are_told_with_what_to_do(
    aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found, _ = health_of(aws.url)
    assert (found.state, aws.requests) == (HealthState.DOWN, [])
    assert "no AWS credentials" in found.reason
    assert found.hint


def test_an_outage_is_down_after_one_attempt(aws: FakeSecretsManager) -> None:
    aws.fail("*", "InternalServiceError", times=None)
    found, facts = health_of(aws.url)
    assert found.state is HealthState.DOWN
    assert "InternalServiceError" in found.reason
    assert (facts["requests"], facts["retries"]) == ("1", "0")


def test_a_port_that_nobody_listens_on_is_down() -> None:
    found, facts = health_of(f"http://127.0.0.1:{free_port()}")
    assert found.state is HealthState.DOWN
    assert "could not be reached" in found.reason
    assert found.hint
    assert facts["endpoint"].startswith("127.0.0.1:")


def test_a_service_that_hangs_is_down_within_the_limit(
    aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "LIMIT", 0.3)
    aws.fail_transport("*", "hang", times=None)
    with opened(aws.url, read_timeout=8.0) as backend:
        start = time.monotonic()
        found = backend.health()
        assert time.monotonic() - start < 4
    assert found.state is HealthState.DOWN
    assert "did not answer within 0.3 s" in found.reason


def test_a_service_that_has_enough_is_degraded(aws: FakeSecretsManager) -> None:
    aws.fail("*", "ThrottlingException", times=None)
    found, facts = health_of(aws.url, replicas=(REPLICA,))
    assert (found.state, facts["throttled"]) == (HealthState.DEGRADED, "1")
    assert "ThrottlingException" in found.reason


class TestReplicas:
    def test_an_outage_with_a_replica_that_answers_is_degraded(self, aws: FakeSecretsManager) -> None:
        aws.fail("*", "InternalServiceError", times=None, region=REGION)
        aws.fail("*", "InternalServiceError", times=None, region=REPLICA)
        found, facts = health_of(aws.url, replicas=(REPLICA, SECOND_REPLICA))
        assert found.state is HealthState.DEGRADED
        assert f"reads go to {SECOND_REPLICA}" in found.reason
        assert facts["replicas_answering"] == SECOND_REPLICA
        assert facts["replicas"] == f"{REPLICA}, {SECOND_REPLICA}"

    def test_an_outage_of_all_is_down(self, aws: FakeSecretsManager) -> None:
        aws.fail("*", "InternalServiceError", times=None)
        found, _ = health_of(aws.url, replicas=(REPLICA, SECOND_REPLICA))
        assert found.state is HealthState.DOWN
        assert len(aws.requests) == 3

    def test_regions_that_hang_take_no_longer_than_one(
        self, aws: FakeSecretsManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(examination, "LIMIT", 0.6)
        aws.fail_transport("*", "hang", times=None)
        with opened(aws.url, read_timeout=1.0, replicas=(REPLICA, SECOND_REPLICA)) as backend:
            start = time.monotonic()
            assert backend.health().state is HealthState.DOWN
            assert 0.5 < time.monotonic() - start < 1.2

    def test_they_are_not_asked_without_need(self, aws: FakeSecretsManager) -> None:
        found, _ = health_of(aws.url, replicas=(REPLICA,))
        assert found.state is HealthState.UP
        assert [sent.region for sent in aws.requests] == [REGION]

    def test_while_reads_still_go_to_them_it_is_degraded(self, aws: FakeSecretsManager) -> None:
        aws.client().create_secret(Name="app/key", SecretString="s", AddReplicaRegions=[{"Region": REPLICA}])
        aws.fail("GetSecretValue", "InternalServiceError", region=REGION)
        with opened(aws.url, replicas=(REPLICA,), attempts=1) as backend:
            read(backend)
            found = backend.health()
        assert found.state is HealthState.DEGRADED
        assert "reads still go to replicas first" in found.reason
        assert int(dict(found.facts)["left_alone_seconds"]) <= 1


def test_the_counts_are_those_of_all_requests(aws: FakeSecretsManager) -> None:
    with opened(aws.url, attempts=2) as backend:
        aws.fail("GetSecretValue", "ThrottlingException", times=None)
        with pytest.raises(BackendUnavailableError):
            read(backend)
        facts = dict(backend.health().facts)
    assert (facts["requests"], facts["retries"], facts["throttled"]) == ("3", "1", "2")


def test_threads_lose_no_count(aws: FakeSecretsManager) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    with opened(aws.url) as backend:
        in_threads(8, lambda number: [read(backend) for _ in range(10)])
        assert dict(backend.health().facts)["requests"] == "81"


def test_a_forked_child_asks_for_itself(aws: FakeSecretsManager) -> None:
    with opened(aws.url) as backend:
        backend.health()

        def child() -> str:
            backend.after_fork()
            found = backend.health()
            return f"{found.state.value} {dict(found.facts)['requests']}"

        assert in_forked_child(child) == "up 1"


def test_it_reaches_whoever_asks_a_manager(aws: FakeSecretsManager) -> None:
    with managed(aws.url) as manager:
        assert f"127.0.0.1:{aws.port}" in repr(manager.health())


@pytest.mark.parametrize("code", [None, "UnrecognizedClientException", "InternalServiceError"])
def test_no_fact_or_reason_holds_a_credential_or_a_name(aws: FakeSecretsManager, code: str | None) -> None:
    aws.client().create_secret(Name="app/of-this-test", SecretString="s3cret")
    if code is not None:
        aws.fail("*", code, times=None)
    told = repr(health_of(aws.url, role_arn=ROLE, sts_endpoint=aws.url)[0])
    for hidden in (ACCESS_KEY, SECRET_KEY, "s3cret", "of-this-test"):
        assert hidden not in told
