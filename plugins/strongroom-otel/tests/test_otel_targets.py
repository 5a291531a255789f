"""Where data goes: settings first, then the variables of one kind of data, then those of all."""

from __future__ import annotations

from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.contracts import KeySource
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue
from strongroom_otel.plugin import OtelSettings, OtelSinkSettings
from strongroom_otel.target import resource, target


class Fixed(KeySource):
    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> SecretValue:
        return SecretValue(self.text)

    def describe(self) -> str:
        return "the test"


def place(signal: str = "traces", **settings: Any) -> str:
    found = target(OtelSettings(**settings), signal)
    return f"{found}{found.path}"


@pytest.mark.parametrize("signal", ["traces", "metrics", "logs"])
def test_without_anything_it_is_this_machine(signal: str) -> None:
    assert place(signal) == f"http://localhost:4318/v1/{signal}"
    assert place(signal, protocol="grpc").startswith("http://localhost:4317")


def test_the_path_is_put_behind_the_endpoint() -> None:
    assert place(endpoint="https://otel.example:4318/eu/") == "https://otel.example:4318/eu/v1/traces"
    assert place(endpoint="https://otel.example") == "https://otel.example:443/v1/traces"
    assert place(endpoint="http://[::1]:4318") == "http://[::1]:4318/v1/traces"


def test_a_variable_for_all_is_like_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318/x")
    assert place("logs") == "http://all:4318/x/v1/logs"


def test_a_variable_for_one_kind_names_the_whole_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://own:4318/in")
    assert place("metrics") == "http://own:4318/in"
    assert place("traces") == "http://all:4318/v1/traces"


def test_the_settings_win_over_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "ENDPOINT": "http://wrong:1",
        "TRACES_ENDPOINT": "http://wrong:1",
        "PROTOCOL": "grpc",
        "TRACES_COMPRESSION": "gzip",
        "TIMEOUT": "77",
        "CERTIFICATE": "/wrong",
        "CLIENT_CERTIFICATE": "/wrong",
        "CLIENT_KEY": "/wrong",
    }.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", text)
    settings = OtelSettings(
        endpoint="http://right:2",
        protocol="http/protobuf",
        compression="none",
        timeout=3.0,
        ca_file="/right/ca",
        client_cert="/right/pair",
    )
    found = target(settings, "traces")
    assert str(found) == "http://right:2"
    assert (found.protocol, found.compression, found.seconds) == ("http/protobuf", "none", 3.0)
    # The pair of the settings has its key in the same file: the variable's key belongs to another certificate.
    assert (found.ca_file, found.client_cert, found.client_key) == ("/right/ca", "/right/pair", None)


def test_headers_of_both_are_sent_and_the_settings_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=from%20all, X-Tenant = a=b,broken")
    settings = OtelSettings(headers={"Api-Key": Fixed("own"), "authorization": Fixed("Bearer t")})
    expected = {"api-key": "own", "x-tenant": "a=b", "authorization": "Bearer t"}
    found = target(settings, "logs")
    assert found.read_headers() == expected
    assert "from all" not in repr(found)


@pytest.mark.parametrize("text", ["two\nlines", "caf\u00e9", "\x00"])
def test_a_header_that_cannot_be_sent_is_refused_without_being_shown(text: str) -> None:
    found = target(OtelSettings(headers={"api-key": Fixed(text)}), "logs")
    with pytest.raises(ConfigurationError) as caught:
        found.read_headers()
    assert text not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2", 2.0), ("0.5", 0.5), ("999", 999.0), ("10000", 10.0), ("2500", 2.5)]
)
def test_a_time_is_seconds_or_else_milliseconds(monkeypatch: pytest.MonkeyPatch, text: str, seconds: float) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", text)
    assert target(OtelSettings(), "logs", seconds=5.0).seconds == seconds


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TIMEOUT", "soon"),
        ("TIMEOUT", "-1"),
        ("TIMEOUT", "inf"),
        ("PROTOCOL", "http/json"),
        ("LOGS_COMPRESSION", "zstd"),
        ("ENDPOINT", "ftp://there"),
        ("LOGS_ENDPOINT", "https://user:hunter2@there"),
        ("HEADERS", "two words=x"),
    ],
)
def test_a_variable_that_is_not_usable_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", text)
    with pytest.raises(ConfigurationError, match="OTEL_EXPORTER_OTLP_") as caught:
        target(OtelSinkSettings(), "logs")
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize(("insecure", "scheme"), [("true", "http"), ("false", "https"), (None, "https")])
def test_for_grpc_a_variable_may_leave_the_scheme_out(
    monkeypatch: pytest.MonkeyPatch, insecure: str | None, scheme: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if insecure is not None:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", insecure)
    assert str(target(OtelSettings(), "traces")) == f"{scheme}://collector:4317"


def test_the_service_is_named_by_settings_then_variable_then_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resource(OtelSettings())["service.name"] == "strongroom"
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=attributes,team=a%2Cb,broken")
    assert resource(OtelSettings()) == {"service.name": "attributes", "team": "a,b"}
    monkeypatch.setenv("OTEL_SERVICE_NAME", "variable")
    assert resource(OtelSettings())["service.name"] == "variable"
    settings = OtelSettings(service_name="settings", resource={"team": "c"})
    assert resource(settings) == {"service.name": "settings", "team": "c"}


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"endpoint": "collector:4318"}, "http://"),
        ({"endpoint": "https://user:pass@collector"}, "credentials"),
        ({"endpoint": "http://collector?x=1"}, "after a ?"),
        ({"endpoint": "http://:4318"}, "no host"),
        ({"endpoint": "http://collector:99999"}, "no URL"),
        ({"endpoint": "http://two words"}, "blank"),
        ({"protocol": "http/json"}, "protocol"),
        ({"compression": "br"}, "compression"),
        ({"timeout": 0.0}, "timeout"),
        ({"client_key": "/k"}, "client_key"),
        ({"service_name": ""}, "service_name"),
        ({"headers": {"two words": Fixed("x")}}, "no name of a header"),
        ({"headers": {"Content-Type": Fixed("x")}}, "by the protocol"),
        ({"sampler": "sometimes"}, "sampler"),
        ({"ratio": 1.5}, "ratio"),
        ({"ratio": 0.5, "sampler": "always_on"}, "ratio"),
        ({"metrics_every": 0.0}, "metrics_every"),
    ],
)
def test_each_broken_rule_is_a_sentence(settings: dict[str, Any], word: str) -> None:
    (problem,) = OtelSettings(**settings).problems()
    assert word in problem
    assert "pass" not in problem


def test_usual_settings_break_no_rule() -> None:
    settings = OtelSettings(
        endpoint="https://collector:4317", protocol="grpc", sampler="traceidratio", ratio=0.1, metrics_every=10.0
    )
    assert settings.problems() == []


@given(st.text())
def test_no_text_of_an_endpoint_is_met_with_anything_but_an_answer(text: str) -> None:
    problems = OtelSettings(endpoint=text).problems()
    if not problems:
        found = target(OtelSettings(endpoint=text), "traces")
        assert found.host
        assert 0 < found.port < 65536
