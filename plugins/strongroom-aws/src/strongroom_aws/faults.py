"""Turns what botocore raises into a refusal, a fault or one of our errors; no exception of its own gets any further.

Each of them has frames below it that hold the values which were sent or received.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.parsers import ResponseParserError

from strongroom.errors import AuthenticationError, BackendError, StrongroomError
from strongroom.pacing import retry_after
from strongroom_aws.outcomes import Outcome, outcome_of, unusable, without_credentials
from strongroom_aws.replies import Fault, Refusal


class Shared(Exception):  # noqa: N818  # what has failed is told by the outcome
    """What another thread has met while this one waited for the same.

    Attributes:
        outcome: What it means.
    """

    def __init__(self, outcome: Refusal | Fault | StrongroomError) -> None:
        super().__init__("another thread has met it")
        self.outcome = outcome


def _named(*names: str) -> tuple[type[Exception], ...]:
    """Return the exceptions of these names that this version of botocore has."""
    return tuple(getattr(exceptions, name) for name in names if hasattr(exceptions, name))


_NO_CREDENTIALS: Final = _named("NoCredentialsError", "NoAuthTokenError")
_LOGGED_OUT: Final = _named(
    "CredentialRetrievalError",
    "LoginError",
    "MetadataRetrievalError",
    "RefreshWithMFAUnsupportedError",
    "SSOError",
    "TokenRetrievalError",
)
_MISCONFIGURED: Final = _named(
    "ApiVersionNotFoundError",
    "BaseEndpointResolverError",
    "ConfigNotFound",
    "ConfigParseError",
    "DataNotFoundError",
    "EndpointProviderError",
    "InvalidChecksumConfigError",
    "InvalidConfigError",
    "InvalidDefaultsMode",
    "InvalidEndpointConfigurationError",
    "InvalidIMDSEndpointError",
    "InvalidIMDSEndpointModeError",
    "InvalidProxiesConfigError",
    "InvalidRegionError",
    "InvalidRetryConfigurationError",
    "InvalidSTSRegionalEndpointsConfigError",
    "MissingDependencyException",
    "PartialCredentialsError",
    "ProfileNotFound",
    "ServiceNotInRegionError",
    "UnknownCredentialError",
    "UnknownRegionError",
    "UnknownSignatureVersionError",
    "UnknownTokenProviderError",
    "UnsupportedServiceProtocolsError",
    "UnsupportedSignatureVersionError",
)
_TOO_LATE: Final = _named("ConnectTimeoutError", "ReadTimeoutError")
_REFUSED: Final = _named("EndpointConnectionError", "ProxyConnectionError")
_BROKEN: Final = (*_named("HTTPClientError", "ConnectionError"), OSError)
_GARBLED: Final = (
    *_named("ChecksumError", "FlexibleChecksumError", "IncompleteReadError"),
    ResponseParserError,
)
_UNREADABLE: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError)
_PROVIDER_UNREACHABLE: Final = frozenset({"IDPCommunicationError", "IDPCommunicationErrorException"})
"""STS cannot ask the identity provider whose token it was given."""


def understood(error: Exception, operation: str, what: str) -> Refusal | Fault | StrongroomError:
    """Return what an exception of botocore means.

    Args:
        error: The exception.
        operation: The operation that was asked for, such as ``GetSecretValue``.
        what: What was tried, such as ``reading app/key``.
    """
    if isinstance(error, Shared):
        return error.outcome.again() if isinstance(error.outcome, StrongroomError) else error.outcome
    if isinstance(error, exceptions.ClientError):
        return _answered(error, operation)
    # What has gone wrong before anything was sent is in an exception that looks like a broken connection.
    inner = getattr(error, "kwargs", {}).get("error")
    if type(error) is exceptions.HTTPClientError and isinstance(inner, ValueError):
        error = inner
    if isinstance(error, StrongroomError):
        return error.with_traceback(None)
    if _is_from_parser(error):
        return Fault(code="unavailable", what="gave an answer that is none of the service's")
    if isinstance(error, _NO_CREDENTIALS):
        return without_credentials(what)
    silent = _unheard(error)
    if silent is not None:
        return _unanswered(silent, what)
    return _unsent(error, what) or _unanswered(error, what)


def is_of_credentials(error: Exception, operation: str, url: str) -> bool:
    """Tell whether an exception comes from what gives out credentials: getting them may be a part of any call.

    Args:
        error: The exception.
        operation: The operation that was asked for.
        url: The URL that it was asked for at; empty if it did not come to that.
    """
    if isinstance(error, (Shared, exceptions.CredentialRetrievalError)):
        return True
    if isinstance(error, exceptions.ClientError):
        return bool(error.operation_name != operation)
    asked = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url") or "")).netloc
    return bool(asked and url) and asked != urlsplit(url).netloc


def without_frames(error: BaseException) -> BaseException:
    """Return an exception that has let go of the frames it came through, and of those it was raised in the midst of."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


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
    outcome = Outcome.UNAVAILABLE if refusal.code in _PROVIDER_UNREACHABLE else outcome_of(refusal)
    if outcome not in (Outcome.THROTTLED, Outcome.UNAVAILABLE):
        return refusal
    throttled = outcome is Outcome.THROTTLED
    return Fault(
        code="rate_limited" if throttled else "server_error",
        what=f"answers {refusal.code}",
        throttled=throttled and service == "secretsmanager",
        wait=retry_after(meta.get("HTTPHeaders", {}).get("retry-after")),
    )


def _unheard(error: Exception) -> Exception | None:
    """Return why what gives credentials to a container did not answer; ``None`` if that is not what has happened.

    botocore tells it in words only. But what it met stands behind what it raises.
    """
    asked = error.__context__ if isinstance(error, exceptions.CredentialRetrievalError) else None
    met = asked.__context__ if isinstance(asked, exceptions.MetadataRetrievalError) else None
    if isinstance(met, Exception) and isinstance(met, (*_TOO_LATE, *_REFUSED, *_BROKEN)):
        return met
    return None


def _unsent(error: Exception, what: str) -> StrongroomError | None:
    """Return why botocore could not even send it; ``None`` if that is not what has happened."""
    if isinstance(error, _LOGGED_OUT) or type(error) is RuntimeError:
        # The one RuntimeError of botocore's own outside its parser: credentials that have run out when they are got.
        return AuthenticationError(
            f"the AWS credentials for {what} could not be had ({type(error).__name__})",
            hint="log in again, or see whether what gives them out answers; `aws sts get-caller-identity` tells",
        )
    if isinstance(error, _MISCONFIGURED):
        return unusable(f"{error}")  # these speak of profiles, regions and files
    if isinstance(error, ValueError):
        # What such an error says may be the header of a request, with the key in it.
        return unusable(
            "the URL of an endpoint or of what gives out credentials, a key or a token cannot be used as it is"
        )
    if isinstance(error, _UNREADABLE):
        return AuthenticationError(
            f"the AWS credentials for {what} need {error.filename}, which cannot be read ({type(error).__name__})",
            hint="see whether the file is there, and who may read it",
        )
    return None


def _unanswered(error: Exception, what: str) -> Fault | StrongroomError:
    if isinstance(error, exceptions.SSLError):
        return BackendError(
            "the AWS endpoint's certificate could not be trusted, or TLS failed",
            code="tls_failed",
            hint="check the endpoint's URL, and `ca_file`",
        )
    if isinstance(error, _TOO_LATE):
        return Fault(code="timeout", what=f"did not answer in time{_where(error)}")
    if isinstance(error, _REFUSED):
        return Fault(code="connection_refused", what=f"could not be reached{_where(error)}")
    if isinstance(error, _BROKEN):
        return Fault(code="unavailable", what=f"broke the connection ({type(error).__name__})")
    if isinstance(error, _GARBLED):
        return Fault(code="unavailable", what="gave an answer that is none of the service's")
    return BackendError(
        f"botocore failed in {what} with {type(error).__name__}",
        hint="check the backend's table, and botocore's version",
    )


def _is_from_parser(error: Exception) -> bool:
    """Tell whether an answer was being read: what is none of the service's can fail there in any way."""
    trace, module = error.__traceback__, ""
    while trace is not None and module != "botocore.parsers":
        module = trace.tb_frame.f_globals.get("__name__", "")
        trace = trace.tb_next
    # Where the way ends in `endpoint` itself, it was taking up what the parser made of it.
    return module in ("botocore.parsers", "botocore.endpoint") and not isinstance(error, exceptions.BotoCoreError)


def _where(error: Exception) -> str:
    """Return which host and port it was, since it may be another service's: that of STS, or a proxy."""
    kwargs: dict[str, object] = getattr(error, "kwargs", {})
    # A proxy's URL may have a password in it.
    host = urlsplit(str(kwargs.get("endpoint_url") or kwargs.get("proxy_url") or "")).netloc.rpartition("@")[2]
    return f" at {host}" if host else ""
