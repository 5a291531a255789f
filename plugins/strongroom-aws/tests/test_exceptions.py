"""Every exception of botocore that can occur has a meaning."""

from __future__ import annotations

import string

from inspect import isclass

import pytest

from botocore import exceptions

from strongroom.errors import AuthenticationError, BackendError, ConfigurationError
from strongroom.testing import report_of
from strongroom_aws.faults import understood
from strongroom_aws.replies import Fault, Refusal

NEVER = {
    # What this service, and what we ask of it, does not have.
    *("AliasConflictParameterError", "CapacityNotAvailableError", "InvalidDNSNameError", "InvalidExpressionError"),
    *("InvalidHostLabelError", "MD5UnavailableError", "OperationNotPageableError", "PaginationError"),
    *("InvalidEndpointDiscoveryConfigurationError", "AwsChunkedWrapperError", "UnseekableStreamError"),
    *("InvalidS3AddressingStyleError", "InvalidS3UsEast1RegionalEndpointConfigError"),
    *("UnsupportedOutpostResourceError", "UnsupportedS3AccesspointConfigurationError", "UnsupportedS3ArnError"),
    *("UnsupportedS3ConfigurationError", "UnsupportedS3ControlArnError", "UnsupportedS3ControlConfigurationError"),
    *("WaiterConfigError", "WaiterError", "StubAssertionError", "StubResponseError", "UnStubbedResponseError"),
    # What would be wrong in this plugin, or in botocore.
    *("BotoCoreError", "MissingParametersError", "MissingServiceIdError", "ParamValidationError", "RangeError"),
    *("UndefinedModelAttributeError", "UnknownClientMethodError", "UnknownKeyError", "UnknownParameterError"),
    *("UnknownServiceStyle", "ValidationError", "EventStreamError", "ClientError"),
}


def raised() -> list[type[Exception]]:
    return [
        one
        for one in vars(exceptions).values()
        if isclass(one) and issubclass(one, Exception) and not issubclass(one, Warning)
        if one.__module__ == exceptions.__name__
    ]


def made(one: type[Exception]) -> Exception:
    wanted = {name for _, name, _, _ in string.Formatter().parse(getattr(one, "fmt", "")) if name}
    return one(**dict.fromkeys(wanted, "x"))


@pytest.mark.parametrize("name", [one.__name__ for one in raised() if one.__name__ not in NEVER])
def test_every_exception_of_botocore_that_can_occur_has_a_meaning(name: str) -> None:
    outcome = understood(made(getattr(exceptions, name)), "GetSecretValue", "reading a")
    assert isinstance(outcome, Fault | AuthenticationError | ConfigurationError | BackendError)
    assert "botocore failed" not in str(outcome)


def test_none_is_listed_that_has_gone() -> None:
    assert {one.__name__ for one in raised()} >= NEVER


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ConnectTimeoutError", "timeout"),
        ("ReadTimeoutError", "timeout"),
        ("EndpointConnectionError", "connection_refused"),
        ("ProxyConnectionError", "connection_refused"),
        ("ConnectionClosedError", "unavailable"),
        ("ResponseStreamingError", "unavailable"),
        ("HTTPClientError", "unavailable"),
        ("IncompleteReadError", "unavailable"),
    ],
)
def test_these_are_outages(name: str, code: str) -> None:
    outcome = understood(made(getattr(exceptions, name)), "GetSecretValue", "reading a")
    assert isinstance(outcome, Fault)
    assert outcome.code == code


@pytest.mark.parametrize(
    "name", ["NoCredentialsError", "CredentialRetrievalError", "UnauthorizedSSOTokenError", "TokenRetrievalError"]
)
def test_these_are_about_credentials(name: str) -> None:
    outcome = understood(made(getattr(exceptions, name)), "GetSecretValue", "reading a")
    assert isinstance(outcome, AuthenticationError)


@pytest.mark.parametrize(
    "name",
    ["ProfileNotFound", "PartialCredentialsError", "InvalidRegionError", "NoRegionError", "ConfigParseError"],
)
def test_these_are_about_the_configuration(name: str) -> None:
    outcome = understood(made(getattr(exceptions, name)), "GetSecretValue", "reading a")
    assert isinstance(outcome, ConfigurationError)


def test_an_answer_of_another_operation_is_not_the_services() -> None:
    error = exceptions.ClientError({"Error": {"Code": "AccessDenied"}}, "AssumeRole")
    outcome = understood(error, "GetSecretValue", "reading a")
    assert isinstance(outcome, Refusal)
    assert outcome.service == "sts"


def test_an_unknown_failure_is_told_by_its_class_only() -> None:
    outcome = understood(KeyError("a value"), "GetSecretValue", "reading a")
    assert isinstance(outcome, BackendError)
    assert "a value" not in report_of(outcome)
