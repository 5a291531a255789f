"""What a call tells of the requests that it took: on its span, and in the count of retries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from awsbackends import REPLICA, Waits, opened, read, write
from awsclient import REGION, SECRET_KEY
from fakeaws import FakeSecretsManager
from strongroom.errors import BackendUnavailableError, SecretNotFoundError
from strongroom.telemetry import ATTRIBUTES, Telemetry
from strongroom.testing import assert_hidden
from strongroom.testing.meters import Meters
from strongroom.testing.spans import Spans


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def meters() -> Iterator[Meters]:
    with Meters() as made:
        yield made


def noted(spans: Spans) -> dict[str, Any]:
    (span,) = spans.finished()
    return dict(span.attributes or {})


@pytest.fixture
def tracing(spans: Spans) -> Telemetry:
    return Telemetry(tracer_provider=spans.provider)


def test_the_span_of_a_read_says_where_the_service_was_asked_and_by_which_id_it_knows_that(
    aws: FakeSecretsManager, spans: Spans, tracing: Telemetry
) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    with opened(aws.url) as backend, tracing.span("read"):
        read(backend)
    found = noted(spans)
    assert (found["server.address"], found["server.port"]) == ("127.0.0.1", aws.port)
    assert found["cloud.region"] == REGION
    assert len(found["aws.request_id"]) == 36
    assert "http.request.resend_count" not in found
    assert set(found) <= ATTRIBUTES


def test_the_span_of_a_refusal_has_its_id_as_well(aws: FakeSecretsManager, spans: Spans, tracing: Telemetry) -> None:
    with opened(aws.url) as backend, tracing.span("read"), pytest.raises(SecretNotFoundError):
        read(backend)
    assert len(noted(spans)["aws.request_id"]) == 36


def test_what_is_sent_again_is_counted_on_the_span_and_in_the_metric(
    aws: FakeSecretsManager, waits: Waits, spans: Spans, tracing: Telemetry, meters: Meters
) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    aws.fail("GetSecretValue", "InternalServiceError", times=2)
    with opened(aws.url, waits) as backend, tracing.span("read"):
        read(backend)
    assert noted(spans)["http.request.resend_count"] == 2
    assert meters.value("client.retries") == meters.value("client.retries", type="aws") == 2


def test_the_span_of_an_outage_says_who_was_asked_in_vain(
    aws: FakeSecretsManager, waits: Waits, spans: Spans, tracing: Telemetry
) -> None:
    aws.fail("*", "InternalServiceError", times=None)
    with opened(aws.url, waits) as backend, tracing.span("read"), pytest.raises(BackendUnavailableError):
        read(backend)
    found = noted(spans)
    assert (found["server.address"], found["server.port"], found["cloud.region"]) == ("127.0.0.1", aws.port, REGION)
    assert found["http.request.resend_count"] == 2
    assert "aws.request_id" not in found


def test_an_answer_of_a_replica_names_its_region(
    aws: FakeSecretsManager, waits: Waits, spans: Spans, tracing: Telemetry
) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret", AddReplicaRegions=[{"Region": REPLICA}])
    aws.fail("*", "InternalServiceError", times=None, region=REGION)
    with opened(aws.url, waits, replicas=(REPLICA,)) as backend, tracing.span("read"):
        read(backend)
    assert noted(spans)["cloud.region"] == REPLICA


def test_no_span_holds_a_value_a_name_or_a_credential(
    aws: FakeSecretsManager, waits: Waits, spans: Spans, tracing: Telemetry
) -> None:
    value = "a-value-that-nobody-may-see"
    aws.fail("*", "InternalServiceError", times=2)
    with opened(aws.url, waits) as backend, tracing.span("write"):
        write(backend, "app/of-this-test", value)
    assert_hidden(value, spans.text(), "the span")
    assert "of-this-test" not in spans.text()
    assert SECRET_KEY not in spans.text()


def test_without_a_span_nothing_is_noted_and_nothing_fails(aws: FakeSecretsManager, spans: Spans) -> None:
    aws.client().create_secret(Name="app/key", SecretString="s3cret")
    with opened(aws.url) as backend:
        assert read(backend) == "s3cret"
    assert list(spans.finished()) == []
