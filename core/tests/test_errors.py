"""The family of errors: stable codes, helpful texts, safe to hand between processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from strongroom import errors
from strongroom.errors import (
    AuditError,
    BatchError,
    SecretDeletedError,
    SecretNotFoundError,
    StrongroomError,
    SuspiciousActivityError,
    ValueTooLargeError,
    VersionConflictError,
)

FAMILY = sorted(
    (item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, StrongroomError)),
    key=lambda item: item.__name__,
)
# Arguments that a class cannot do without.
NEEDED: dict[str, dict[str, object]] = {
    "VersionConflictError": {"expected": "1", "found": "2"},
    "ValueTooLargeError": {"size": 11, "limit": 10},
    "BatchError": {"errors": {"a": SecretNotFoundError("no a", name="a")}},
}


def made(family_member: type[StrongroomError], **context: object) -> StrongroomError:
    return family_member("the call failed", **NEEDED.get(family_member.__name__, {}) | context)


@pytest.mark.parametrize("family_member", FAMILY)
def test_the_text_says_what_failed_and_what_to_do(family_member: type[StrongroomError]) -> None:
    assert str(made(family_member)) == "the call failed"
    assert str(made(family_member, hint="try again")) == "the call failed: try again"


@pytest.mark.parametrize("family_member", FAMILY)
def test_the_first_code_is_the_default(family_member: type[StrongroomError]) -> None:
    assert made(family_member).code == family_member.codes[0]


def test_each_code_belongs_to_one_class() -> None:
    """A code in an audit line leads back to one class, so none is shared, not even by inheritance."""
    codes = [code for item in FAMILY for code in item.codes]
    assert len(codes) == len(set(codes))


def test_a_further_code_of_the_class_can_be_given() -> None:
    assert SecretNotFoundError("x", code="field_not_found").code == "field_not_found"


def test_an_unknown_code_is_refused() -> None:
    with pytest.raises(ValueError, match="SecretNotFoundError has no code 'denied'"):
        SecretNotFoundError("x", code="denied")


@pytest.mark.parametrize("family_member", FAMILY)
def test_no_class_ends_with_success(family_member: type[StrongroomError]) -> None:
    assert 1 <= family_member.exit_status < 126


@pytest.mark.parametrize("family_member", FAMILY)
def test_every_class_says_whose_fault_it_is(family_member: type[StrongroomError]) -> None:
    assert (family_member.__doc__ or "").split("\n")[0].rstrip().endswith((".", "all."))


@pytest.mark.parametrize("family_member", FAMILY)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_an_error_crosses_process_boundaries(family_member: type[StrongroomError], protocol: int) -> None:
    error = made(family_member, hint="try again")
    twin = pickle.loads(pickle.dumps(error, protocol))
    assert type(twin) is family_member
    assert (str(twin), twin.code, twin.args) == (str(error), error.code, error.args)


def test_what_only_some_errors_carry_crosses_too() -> None:
    conflict = pickle.loads(pickle.dumps(VersionConflictError("x", expected="1", found=None, name="a")))
    assert (conflict.expected, conflict.found, conflict.name) == ("1", None, "a")
    too_large = pickle.loads(pickle.dumps(ValueTooLargeError("x", size=2, limit=1)))
    assert (too_large.size, too_large.limit) == (2, 1)
    deleted = pickle.loads(pickle.dumps(SecretDeletedError("x", when="2026-01-01T00:00:00+00:00")))
    assert deleted.when == "2026-01-01T00:00:00+00:00"
    assert pickle.loads(pickle.dumps(AuditError("x", applied=True))).applied is True
    batch = pickle.loads(pickle.dumps(BatchError("x", errors={"a": SecretNotFoundError("no a", name="a")})))
    assert (str(batch.errors["a"]), batch.errors["a"].name) == ("no a", "a")


def test_an_error_can_be_copied() -> None:
    error = SecretNotFoundError("x", hint="y", name="a", backend="b")
    twin = copy.copy(error)
    assert (str(twin), twin.name, twin.backend) == ("x: y", "a", "b")


def test_deleted_is_a_kind_of_not_found() -> None:
    """Who only asks whether there is something to read catches both."""
    assert issubclass(SecretDeletedError, SecretNotFoundError)


def test_suspicious_is_a_kind_of_denied() -> None:
    assert issubclass(SuspiciousActivityError, errors.AccessDeniedError)
