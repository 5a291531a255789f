"""What each of the service's error codes means to us."""

from __future__ import annotations

import enum

from typing import Final

from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom_aws.replies import Refusal


class Outcome(enum.Enum):
    """What a code means."""

    NOT_FOUND = "there is no such thing"
    EXISTS = "there is such a thing already"
    STATE = "the state that the secret is in does not allow it"
    DENIED = "not allowed"
    EXPIRED = "the credentials have run out"
    UNKNOWN_KEY = "the credentials are not known"
    THROTTLED = "too many requests"
    UNAVAILABLE = "no answer for now"
    INVALID = "not a request that the service takes"
    LIMIT = "a limit of the account or of the secret"
    KEY = "the key of KMS cannot be used"


CODES: Final = {
    # What the service's description lists.
    "DecryptionFailure": Outcome.KEY,
    "EncryptionFailure": Outcome.KEY,
    "InternalServiceError": Outcome.UNAVAILABLE,
    "InvalidNextTokenException": Outcome.INVALID,
    "InvalidParameterException": Outcome.INVALID,
    "InvalidRequestException": Outcome.STATE,
    "LimitExceededException": Outcome.LIMIT,
    "MalformedPolicyDocumentException": Outcome.INVALID,
    "PreconditionNotMetException": Outcome.STATE,
    "PublicPolicyException": Outcome.INVALID,
    "ResourceExistsException": Outcome.EXISTS,
    "ResourceNotFoundException": Outcome.NOT_FOUND,
    # What every service of AWS may answer.
    "AccessDenied": Outcome.DENIED,
    "AccessDeniedException": Outcome.DENIED,
    "NotAuthorized": Outcome.DENIED,
    "OptInRequired": Outcome.DENIED,
    "UnauthorizedOperation": Outcome.DENIED,
    "403": Outcome.DENIED,
    "ExpiredToken": Outcome.EXPIRED,
    "ExpiredTokenException": Outcome.EXPIRED,
    "RequestExpired": Outcome.EXPIRED,
    "IncompleteSignature": Outcome.UNKNOWN_KEY,
    "IncompleteSignatureException": Outcome.UNKNOWN_KEY,
    "InvalidClientTokenId": Outcome.UNKNOWN_KEY,
    "InvalidSignatureException": Outcome.UNKNOWN_KEY,
    "MissingAuthenticationToken": Outcome.UNKNOWN_KEY,
    "MissingAuthenticationTokenException": Outcome.UNKNOWN_KEY,
    "SignatureDoesNotMatch": Outcome.UNKNOWN_KEY,
    "UnrecognizedClientException": Outcome.UNKNOWN_KEY,
    "BandwidthLimitExceeded": Outcome.THROTTLED,
    "EC2ThrottledException": Outcome.THROTTLED,
    "ProvisionedThroughputExceededException": Outcome.THROTTLED,
    "Throttling": Outcome.THROTTLED,
    "ThrottlingException": Outcome.THROTTLED,
    "ThrottledException": Outcome.THROTTLED,
    "RequestThrottled": Outcome.THROTTLED,
    "RequestThrottledException": Outcome.THROTTLED,
    "RequestLimitExceeded": Outcome.THROTTLED,
    "TooManyRequestsException": Outcome.THROTTLED,
    "SlowDown": Outcome.THROTTLED,
    "429": Outcome.THROTTLED,
    "InternalError": Outcome.UNAVAILABLE,
    "InternalFailure": Outcome.UNAVAILABLE,
    "InternalServerError": Outcome.UNAVAILABLE,
    "PriorRequestNotComplete": Outcome.UNAVAILABLE,
    "RequestAbortedException": Outcome.UNAVAILABLE,
    "RequestTimeout": Outcome.UNAVAILABLE,
    "RequestTimeoutException": Outcome.UNAVAILABLE,
    "ServiceUnavailable": Outcome.UNAVAILABLE,
    "ServiceUnavailableException": Outcome.UNAVAILABLE,
    "TransactionInProgressException": Outcome.UNAVAILABLE,
    "InvalidAction": Outcome.INVALID,
    "MalformedHttpRequestException": Outcome.INVALID,
    "MalformedQueryString": Outcome.INVALID,
    "RequestEntityTooLargeException": Outcome.INVALID,
    "SerializationException": Outcome.INVALID,
    "UnknownOperationException": Outcome.INVALID,
    "ValidationError": Outcome.INVALID,
    "ValidationException": Outcome.INVALID,
}
"""Every documented code, in the words of the service."""


NOT_AS_SAID: Final = frozenset({Outcome.INVALID, Outcome.NOT_FOUND, Outcome.STATE})
"""What the service may say when what is there is not as the request has it: a label or a replica is not where it
said, a version or a function does not exist."""


def outcome_of(refusal: Refusal) -> Outcome | None:
    """Return what a refusal means; ``None`` if nobody knows.

    An unknown code with a status of 500 or above is an outage, as the status says.
    """
    known = CODES.get(refusal.code)
    if known is None and refusal.status >= 500:
        return Outcome.UNAVAILABLE
    return known


def refused(refusal: Refusal, what: str, *, name: str | None = None) -> StrongroomError:
    """Return the error for a refusal that has no meaning of its own for the operation.

    Args:
        refusal: The refusal.
        what: What was tried, such as ``reading app/key``.
        name: The secret's name, where one is concerned.
    """
    outcome = outcome_of(refusal)
    whole = f"AWS refused {what} with {refusal.code}"
    if outcome in (Outcome.EXPIRED, Outcome.UNKNOWN_KEY) or refusal.service != "secretsmanager":
        return AuthenticationError(
            f"{whole}: our credentials were not accepted",
            name=name,
            hint="renew the credentials, and check the clock; `aws sts get-caller-identity` tells whose they are",
        )
    if outcome is Outcome.DENIED:
        return AccessDeniedError(
            f"AWS does not allow {what}",
            name=name,
            hint="`strongroom policy render --for aws` writes the IAM policy that does; a KMS key has its own",
        )
    if outcome is Outcome.NOT_FOUND:
        return SecretNotFoundError(f"there is nothing for {what}", name=name)
    if outcome in (Outcome.THROTTLED, Outcome.UNAVAILABLE):
        code = "rate_limited" if outcome is Outcome.THROTTLED else "server_error"
        return BackendUnavailableError(f"{whole}", code=code, name=name)
    if outcome is Outcome.KEY:
        return BackendError(
            f"{whole}: its KMS key cannot be used", name=name, hint="check that the key is enabled and may be used"
        )
    if outcome is Outcome.LIMIT:
        return BackendError(
            f"{whole}: a limit of the account or of the secret is reached",
            name=name,
            hint="a secret keeps about a hundred versions, and loses none within a day: write it less often",
        )
    if refusal.code.isdigit():
        return BackendError(
            f"{whole}, without an error code of AWS",
            name=name,
            hint="see whether the endpoint is that of the service, and whether a proxy answers in its place",
        )
    return BackendError(whole, name=name, hint="CloudTrail has the request, and what was wrong with it")


def refused_at(refusal: Refusal, what: str, name: str) -> StrongroomError:
    """Return the error for the refusal of a request about a secret as a whole, which may not be there.

    Args:
        refusal: The refusal.
        what: What was tried, such as ``describing app/key``.
        name: The secret's name.
    """
    if outcome_of(refusal) is Outcome.NOT_FOUND:
        return missing(name)
    return refused(refusal, what, name=name)


def missing(name: str, version: str | None = None) -> SecretNotFoundError:
    """Return the error for a secret, or a version of one, that is not there."""
    if version is None:
        return SecretNotFoundError(
            f"AWS Secrets Manager has no secret {name}", name=name, hint="check the name, the prefix and the region"
        )
    return SecretNotFoundError(
        f"AWS Secrets Manager has no version {version} of {name}",
        code="version_not_found",
        name=name,
        hint="`strongroom versions` lists those that are kept",
    )


def scheduled(name: str, when: str | None) -> SecretDeletedError:
    """Return the error for a secret that is scheduled for deletion.

    Args:
        name: The secret's name.
        when: The date that the service gives for it, in ISO 8601.
    """
    dated = f" ({when})" if when else ""
    return SecretDeletedError(
        f"{name} is scheduled for deletion{dated}",
        code="deletion_scheduled",
        when=when,
        name=name,
        hint="bring it back with `strongroom undelete`, or free its name with `strongroom destroy`",
    )


def without_credentials(what: str) -> AuthenticationError:
    """Return the error for when there are no credentials at all."""
    return AuthenticationError(
        f"there are no AWS credentials for {what}",
        hint="configure a profile, a role or an access key; `aws configure list` shows what the AWS tools find",
    )


def unusable(problem: str) -> ConfigurationError:
    """Return the error for a configuration that botocore cannot use."""
    return ConfigurationError(
        f"AWS cannot be asked: {problem}", hint="check the backend's table, the AWS variables and the profile"
    )
