"""Turns what botocore raises into a refusal, a fault or one of our errors; no exception of its own gets any further.

Each of them has frames below it that hold the values which were sent or received.
"""

from __future__ import annotations

from typing import Final

from botocore import exceptions
from botocore.parsers import ResponseParserError

from strongroom.errors import AuthenticationError, BackendError, StrongroomError
from strongroom.pacing import retry_after
from strongroom_aws.outcomes import Outcome, outcome_of, unusable, without_credentials
from strongroom_aws.replies import Fault, Refusal

_NO_CREDENTIALS: Final = (exceptions.NoCredentialsError, exceptions.NoAuthTokenError)
_LOGGED_OUT: Final = (
    exceptions.CredentialRetrievalError,
    exceptions.LoginError,
    exceptions.MetadataRetrievalError,
    exceptions.RefreshWithMFAUnsupportedError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_MISCONFIGURED: Final = (
    exceptions.BaseEndpointResolverError,
    exceptions.ConfigNotFound,
    exceptions.ConfigParseError,
    exceptions.DataNotFoundError,
    exceptions.EndpointProviderError,
    exceptions.InvalidConfigError,
    exceptions.InvalidDefaultsMode,
    exceptions.InvalidEndpointConfigurationError,
    exceptions.InvalidIMDSEndpointError,
    exceptions.InvalidProxiesConfigError,
    exceptions.InvalidRegionError,
    exceptions.InvalidRetryConfigurationError,
    exceptions.InvalidSTSRegionalEndpointsConfigError,
    exceptions.MissingDependencyException,
    exceptions.PartialCredentialsError,
    exceptions.ProfileNotFound,
    exceptions.UnknownCredentialError,
    exceptions.UnknownTokenProviderError,
)
_TOO_LATE: Final = (exceptions.ConnectTimeoutError, exceptions.ReadTimeoutError)
_REFUSED: Final = (exceptions.EndpointConnectionError, exceptions.ProxyConnectionError)


def understood(error: Exception, operation: str, what: str) -> Refusal | Fault | StrongroomError:
    """Return what an exception of botocore means.

    Args:
        error: The exception.
        operation: The operation that was asked for, such as ``GetSecretValue``.
        what: What was tried, such as ``reading app/key``.
    """
    if isinstance(error, exceptions.ClientError):
        return _answered(error, operation)
    if isinstance(error, StrongroomError):
        return error.with_traceback(None)
    if isinstance(error, _NO_CREDENTIALS):
        return without_credentials(what)
    if isinstance(error, _LOGGED_OUT):
        return AuthenticationError(
            f"the AWS credentials for {what} could not be had ({type(error).__name__})",
            hint="log in again, or see whether what gives them out answers; `aws sts get-caller-identity` tells",
        )
    if isinstance(error, _MISCONFIGURED):
        return unusable(f"{error}")  # these speak of profiles, regions and files
    return _unanswered(error, what)


def _answered(error: exceptions.ClientError, operation: str) -> Refusal | Fault:
    """Return what an answer with an error code means."""
    told = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    # Getting credentials may be a part of any call: what comes of that is another service's answer.
    service = "secretsmanager" if error.operation_name == operation else "sts"
    refusal = Refusal(
        code=str(told.get("Code") or "Unknown"),
        status=int(meta.get("HTTPStatusCode") or 0),
        request_id=meta.get("RequestId"),
        service=service,
    )
    outcome = outcome_of(refusal)
    if outcome not in (Outcome.THROTTLED, Outcome.UNAVAILABLE):
        return refusal
    throttled = outcome is Outcome.THROTTLED
    return Fault(
        code="rate_limited" if throttled else "server_error",
        what=f"answers {refusal.code}",
        throttled=throttled and service == "secretsmanager",
        wait=retry_after(meta.get("HTTPHeaders", {}).get("retry-after")),
    )


def _unanswered(error: Exception, what: str) -> Fault | StrongroomError:
    if isinstance(error, exceptions.SSLError):
        return BackendError(
            "the AWS endpoint's certificate could not be trusted, or TLS failed",
            code="tls_failed",
            hint="check the endpoint's URL, and `ca_file`",
        )
    if isinstance(error, _TOO_LATE):
        return Fault(code="timeout", what="did not answer in time")
    if isinstance(error, _REFUSED):
        return Fault(code="connection_refused", what="could not be reached")
    if isinstance(error, exceptions.HTTPClientError | exceptions.ConnectionError | OSError):
        return Fault(code="unavailable", what=f"broke the connection ({type(error).__name__})")
    if isinstance(error, ResponseParserError):
        return Fault(code="unavailable", what="gave an answer that is none of the service's")
    return BackendError(
        f"botocore failed in {what} with {type(error).__name__}",
        hint="check the backend's table, and botocore's version",
    )
