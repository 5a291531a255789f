"""Each error code that is documented somewhere has one meaning, and that is what users meet."""

from __future__ import annotations

import re

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.retries import standard

from awsbackends import Waits, delete, list_names, opened, read, read_many, write
from fakeaws import FakeSecretsManager
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.model import SecretName
from strongroom.testing import in_threads
from strongroom_aws.outcomes import CODES, Outcome, outcome_of
from strongroom_aws.replies import Refusal

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "aws-errors.md"
COMMON: Final = {
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InternalFailure",
    "MalformedHttpRequestException",
    "NotAuthorized",
    "OptInRequired",
    "RequestAbortedException",
    "RequestEntityTooLargeException",
    "RequestExpired",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ThrottlingException",
    "UnrecognizedClientException",
    "UnknownOperationException",
    "ValidationError",
}
"""AWS's list of errors that are common to all services, as the reference of Secrets Manager has it."""
OLDER: Final = {
    "AccessDenied",
    "ExpiredToken",
    "InternalError",
    "InvalidAction",
    "InvalidClientTokenId",
    "MalformedQueryString",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
}
"""What the same errors are called by services of the older protocols, STS among them, and by emulators."""
OF_THE_PROTOCOL: Final = {
    "IncompleteSignatureException",
    "InternalServerError",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "SerializationException",
    "ServiceUnavailableException",
    "ValidationException",
}
"""What stands before every service of this protocol, as the references of its siblings list it."""
STATUSES: Final = {"403", "429"}
"""What botocore makes of an answer that has no code."""

Act = Callable[[Any], object]
ACTS: Final[dict[str, tuple[str, Act]]] = {
    "read": ("GetSecretValue", read),
    "write": ("PutSecretValue", write),
    "list": ("ListSecrets", list_names),
    "delete": ("DeleteSecret", delete),
}

ERRORS: Final[dict[Outcome | None, type[StrongroomError]]] = {
    Outcome.DENIED: AccessDeniedError,
    Outcome.EXPIRED: AuthenticationError,
    Outcome.UNKNOWN_KEY: AuthenticationError,
    Outcome.THROTTLED: BackendUnavailableError,
    Outcome.UNAVAILABLE: BackendUnavailableError,
    Outcome.INVALID: BackendError,
    Outcome.LIMIT: BackendError,
    Outcome.KEY: BackendError,
    None: BackendError,
}
"""Those that mean the same whatever was asked for."""


def model_codes() -> set[str]:
    """Return the codes of the service's own description."""
    model = ServiceModel(Loader().load_service_model("secretsmanager", "service-2"))
    return {str(shape.error_code) for shape in model.error_shapes}


def retried_codes() -> set[str]:
    """Return the codes that botocore itself tries again after."""
    definitions = Loader().load_data("_retry")["definitions"].values()
    rules = [definition["applies_when"].get("response", {}) for definition in definitions]
    return {
        *(rule["service_error_code"] for rule in rules if "service_error_code" in rule),
        # There is no public way to them; a version that has them elsewhere fails this test.
        *standard.TransientRetryableChecker._TRANSIENT_ERROR_CODES,
        *standard.ThrottledRetryableChecker._THROTTLED_ERROR_CODES,
    }


class TestTable:
    def test_every_code_of_the_services_description_has_a_meaning(self) -> None:
        assert model_codes() - CODES.keys() == set()
        assert len(model_codes()) >= 12

    def test_every_code_that_botocore_tries_again_after_has_a_meaning(self) -> None:
        assert retried_codes() - CODES.keys() == set()
        again = (Outcome.THROTTLED, Outcome.UNAVAILABLE)
        # A limit of the account or the secret: to ask again at once is of no use.
        assert [code for code in retried_codes() if CODES[code] not in again] == ["LimitExceededException"]

    def test_every_common_code_has_a_meaning(self) -> None:
        assert (COMMON | OLDER | OF_THE_PROTOCOL | STATUSES) - CODES.keys() == set()

    def test_no_code_has_a_meaning_that_nobody_documents(self) -> None:
        documented = model_codes() | retried_codes() | COMMON | OLDER | OF_THE_PROTOCOL | STATUSES
        assert CODES.keys() - documented == set()

    def test_each_meaning_has_a_code(self) -> None:
        assert set(CODES.values()) == set(Outcome)

    @pytest.mark.parametrize(
        ("status", "expected"), [(400, None), (404, None), (499, None), (500, Outcome.UNAVAILABLE)]
    )
    def test_what_an_unknown_code_means_its_status_says(self, status: int, expected: Outcome | None) -> None:
        assert outcome_of(Refusal(code="Surprise", status=status)) is expected

    @pytest.mark.parametrize("status", [200, 400, 403, 404, 500, 503])
    def test_what_a_known_code_means_no_status_changes(self, status: int) -> None:
        assert outcome_of(Refusal(code="ResourceNotFoundException", status=status)) is Outcome.NOT_FOUND


class TestEndToEnd:
    """On the fake, since no service can be made to answer each of these."""

    @pytest.mark.parametrize("act", ACTS)
    @pytest.mark.parametrize("code", [code for code, outcome in CODES.items() if outcome in ERRORS] + ["Surprise"])
    def test_a_code_raises_its_error_whatever_was_asked_for(
        self, aws: FakeSecretsManager, waits: Waits, code: str, act: str
    ) -> None:
        aws.client().create_secret(Name="app/key", SecretString="s3cret")
        operation, do = ACTS[act]
        aws.fail(operation, code, times=None)
        with opened(aws.url, waits) as backend, pytest.raises(StrongroomError) as caught:
            do(backend)
        outcome = CODES.get(code)
        assert type(caught.value) is ERRORS[outcome]
        throttled = outcome is Outcome.THROTTLED
        if type(caught.value) is BackendUnavailableError:
            assert caught.value.code == ("rate_limited" if throttled else "server_error")
        if type(caught.value) is not AccessDeniedError:
            assert code in str(caught.value)
        assert caught.value.hint or type(caught.value) is BackendUnavailableError

    @pytest.mark.parametrize("act", ACTS)
    @pytest.mark.parametrize("status", [500, 502, 503, 599])
    def test_an_unknown_code_of_the_servers_own_fault_is_an_outage(
        self, aws: FakeSecretsManager, waits: Waits, act: str, status: int
    ) -> None:
        aws.client().create_secret(Name="app/key", SecretString="s3cret")
        operation, do = ACTS[act]
        aws.fail(operation, "Surprise", status, times=None)
        with opened(aws.url, waits) as backend, pytest.raises(BackendUnavailableError, match="Surprise") as caught:
            do(backend)
        assert caught.value.code == "server_error"

    def test_not_found_is_that_for_a_read_and_no_error_for_a_delete(
        self, aws: FakeSecretsManager, waits: Waits
    ) -> None:
        with opened(aws.url, waits) as backend:
            with pytest.raises(SecretNotFoundError) as caught:
                read(backend)
            assert caught.value.code == "not_found"
            delete(backend)
            write(backend)

    def test_a_batch_has_the_error_of_each_name(self, aws: FakeSecretsManager, waits: Waits) -> None:
        client = aws.client()
        for name in ("good", "denied", "gone"):
            client.create_secret(Name=name, SecretString=name)
        client.delete_secret(SecretId="gone")
        aws.deny("GetSecretValue", "denied")
        with opened(aws.url, waits) as backend:
            result = read_many(backend, "good", "denied", "gone", "missing")
        assert set(result.found) == {"good"}
        assert {str(name): error.code for name, error in result.errors.items()} == {
            "denied": "denied",
            "gone": "deletion_scheduled",
            "missing": "not_found",
        }

    def test_a_denial_of_the_key_is_told_apart_from_a_key_that_cannot_be_used(
        self, aws: FakeSecretsManager, waits: Waits
    ) -> None:
        with opened(aws.url, waits) as backend:
            aws.fail("GetSecretValue", "AccessDeniedException", message="Access to KMS is not allowed")
            with pytest.raises(AccessDeniedError, match="a KMS key has its own"):
                read(backend)
            aws.fail("GetSecretValue", "DecryptionFailure")
            with pytest.raises(BackendError, match="KMS key cannot be used"):
                read(backend)

    def test_threads_get_errors_of_their_own(self, aws: FakeSecretsManager) -> None:
        def one(number: int) -> StrongroomError:
            with pytest.raises(SecretNotFoundError) as caught:
                read(backend, f"missing-{number}")
            return caught.value

        with opened(aws.url) as backend:
            errors = in_threads(4, one)
        assert [error.name for error in errors] == [SecretName(f"missing-{number}") for number in range(4)]


def documented() -> dict[str, str]:
    """Return what the page says that each code means."""
    found: dict[str, str] = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`"):
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells[1])
    return found


def test_the_reference_has_every_code_with_what_it_means() -> None:
    assert documented() == {code: outcome.value for code, outcome in CODES.items()}
