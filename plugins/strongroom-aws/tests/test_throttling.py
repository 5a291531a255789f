"""The service's published limits are kept here, before it has to say no; and what happens when it does."""

from __future__ import annotations

import threading
import time

import pytest

from awsbackends import REPLICA, Waits, list_names, opened, read, write
from awsclient import REGION
from fakeaws import FakeSecretsManager
from fakefaults import Request, ServiceError
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.testing import in_threads
from strongroom_aws.settings import RateSettings


class Quota:
    """A limit as the service has it: a bucket that fills steadily. What is above is refused, and counted."""

    def __init__(self, aws: FakeSecretsManager, operation: str, rate: float) -> None:
        self.rate = self.tokens = rate
        self.at = time.monotonic()
        self.refused = 0
        self._lock = threading.Lock()
        aws.before(operation, self, times=None)

    def __call__(self, request: Request) -> None:
        with self._lock:
            now = time.monotonic()
            self.tokens = min(self.rate, self.tokens + (now - self.at) * self.rate)
            self.at = now
            if self.tokens < 1:
                self.refused += 1
                raise ServiceError("ThrottlingException", "Rate exceeded")
            self.tokens -= 1


def test_writes_beyond_the_rate_wait_here(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="old")
    with opened(aws.url, waits, rates=RateSettings(write=10)) as backend:
        for _ in range(9):
            write(backend)
        assert waits.waited == []
        for _ in range(3):
            write(backend)
        assert waits.waited == pytest.approx([0.1] * 3)
        waits.clock.advance(60.0)
        for _ in range(9):
            write(backend)
        assert len(waits.waited) == 3


@pytest.mark.parametrize("rate", [1, 2, 5, 50])
def test_no_second_has_more_writes_at_once_than_the_rate(aws: FakeSecretsManager, waits: Waits, rate: int) -> None:
    aws.client().create_secret(Name="app/key", SecretString="old")
    with opened(aws.url, waits, rates=RateSettings(write=rate)) as backend:
        for _ in range(rate + 1):
            write(backend)
    assert 0 < sum(waits.waited) <= 1.0


def test_each_kind_of_request_has_a_rate_of_its_own(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="old")
    with opened(aws.url, waits, rates=RateSettings(read=1, list=2, write=1)) as backend:
        for act in (write, read, list_names):
            act(backend)
        assert waits.waited == []
        list_names(backend)
        assert waits.waited == pytest.approx([0.1])
        write(backend)
        assert waits.waited[1:] == pytest.approx([0.9])
        read(backend)  # that was long enough for another one
        assert len(waits.waited) == 2


def test_each_region_has_rates_of_its_own(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret", AddReplicaRegions=[{"Region": REPLICA}])
    with opened(aws.url, waits, rates=RateSettings(read=1), replicas=(REPLICA,), attempts=1) as backend:
        aws.fail("*", "InternalServiceError", region=REGION)
        assert read(backend) == "s3cret"
    assert waits.waited == []
    assert [request.region for request in aws.sent("GetSecretValue")] == [REGION, REPLICA]


def test_what_would_have_to_wait_too_long_is_not_sent(aws: FakeSecretsManager, waits: Waits) -> None:
    with opened(aws.url, waits, rates=RateSettings(read=0.01)) as backend:
        with pytest.raises(SecretNotFoundError):
            read(backend)
        with pytest.raises(BackendUnavailableError, match="more often than `rates` allows") as caught:
            read(backend)
    assert caught.value.code == "rate_limited"
    assert caught.value.own_limit
    assert "raise `rates`" in caught.value.hint
    assert (len(aws.requests), waits.waited) == (1, [])


def test_a_limit_of_the_service_s_is_not_our_own(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.fail("*", "ThrottlingException", times=None)
    with opened(aws.url, waits, attempts=1) as backend, pytest.raises(BackendUnavailableError) as caught:
        read(backend)
    assert (caught.value.code, caught.value.own_limit) == ("rate_limited", False)


def test_a_throttled_request_slows_all_of_its_kind_down_for_a_while(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="old")
    with opened(aws.url, waits, rates=RateSettings(write=10)) as backend:
        aws.fail("PutSecretValue", "ThrottlingException")
        write(backend)
        before = len(waits.waited)
        for _ in range(5):
            write(backend)
        # At about half the rate, and without what had been saved up.
        assert all(0.1 < seconds <= 0.2 for seconds in waits.waited[before:])
        assert len(waits.waited) == before + 5
        waits.clock.advance(60.0)
        before = len(waits.waited)
        for _ in range(10):
            write(backend)
        assert waits.waited[before:] == pytest.approx([0.1])


def test_a_throttled_request_does_not_slow_another_kind_down(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.client().create_secret(Name="app/key", SecretString="old")
    with opened(aws.url, waits, rates=RateSettings(read=10, write=10)) as backend:
        aws.fail("PutSecretValue", "ThrottlingException")
        write(backend)
        before = len(waits.waited)
        for _ in range(9):
            read(backend)
    assert len(waits.waited) == before


def test_throttling_that_does_not_end_is_told_as_such(aws: FakeSecretsManager, waits: Waits) -> None:
    aws.fail("*", "ThrottlingException", times=None)
    with (
        opened(aws.url, waits) as backend,
        pytest.raises(BackendUnavailableError, match="ThrottlingException") as caught,
    ):
        read(backend)
    assert caught.value.code == "rate_limited"
    assert "lower `rates`" in caught.value.hint


@pytest.mark.parametrize(("operation", "rate"), [("PutSecretValue", 40.0), ("GetSecretValue", 40.0)])
def test_threads_at_the_configured_rate_are_never_refused(aws: FakeSecretsManager, operation: str, rate: float) -> None:
    """Real time: eight threads ask as fast as they may of a service that refuses whatever is above its quota."""
    aws.client().create_secret(Name="app/key", SecretString="old")
    rates = RateSettings(write=rate, read=rate)
    with opened(aws.url, rates=rates, connections=8) as backend:
        read(backend)
        quota = Quota(aws, operation, rate)
        act = write if operation == "PutSecretValue" else read
        start = time.monotonic()
        in_threads(8, lambda number: [act(backend) for _ in range(10)])
        took = time.monotonic() - start
    assert quota.refused == 0
    assert len(aws.sent(operation)) >= 80
    assert took >= 0.8  # most of a second's at once, and the others one by one


def test_the_quota_of_these_tests_refuses_what_is_above_it(aws: FakeSecretsManager) -> None:
    aws.client().create_secret(Name="app/key", SecretString="old")
    quota = Quota(aws, "GetSecretValue", 5.0)
    with opened(aws.url, rates=RateSettings(read=1000), connections=8, attempts=1) as backend:
        for _ in range(8):
            try:
                read(backend)
            except BackendUnavailableError:
                break
    assert quota.refused == 1
