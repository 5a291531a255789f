"""``None`` means that there is no such password, and nothing else does."""

from __future__ import annotations

import warnings

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keyring.errors import InitError, KeyringError, PasswordDeleteError, PasswordSetError

import strongroom

from strongroom.contracts import Backend, ReadResult
from strongroom.errors import AccessDeniedError, AuthenticationError, BackendUnavailableError, SecretDeletedError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FaultyBackend
from strongroom.testing.leaks import leaks_in, marker_value, report_of
from strongroom_keyring import Entry, StrongroomKeyring

CALLS: dict[str, Callable[[StrongroomKeyring], object]] = {
    "get": lambda ring: ring.get_password("service", "user"),
    "credential": lambda ring: ring.get_credential("service", "user"),
    "only": lambda ring: ring.get_credential("service", None),
    "entries": lambda ring: ring.entries(),
    "set": lambda ring: ring.set_password("service", "user", "new"),
    "delete": lambda ring: ring.delete_password("service", "user"),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
FAILURES = [
    BackendUnavailableError("nobody answers", hint="start it"),
    AccessDeniedError("not for you"),
    AuthenticationError("the token has run out"),
    RuntimeError("a bug of its own"),
]
MEMORY = 'audit = "none"\nbackend = "main"\n[backends.main]\ntype = "memory"\n[backends.main.seed]\n'


def denying(*actions: str) -> dict[str, Any]:
    """Return a policy that allows only these actions."""
    return {"principal": "*", "effect": "allow", "actions": [*actions], "names": ["**"]}


@each_call
@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: type(failure).__name__)
def test_what_keeps_the_answer_from_being_known_is_an_error(
    ring: StrongroomKeyring, broken: FaultyBackend, call: Callable[[StrongroomKeyring], object], failure: Exception
) -> None:
    broken.error = failure
    with pytest.raises(KeyringError) as raised:
        call(ring)
    assert raised.value.__cause__ is not None


def test_the_error_says_what_to_do(ring: StrongroomKeyring, broken: FaultyBackend) -> None:
    broken.error = BackendUnavailableError("nobody answers", hint="start it")
    with pytest.raises(KeyringError, match="nobody answers: start it"):
        ring.get_password("service", "user")


@pytest.mark.parametrize("failure", [SecretDeletedError("it was there")])
def test_what_has_been_deleted_is_not_there(ring: StrongroomKeyring, broken: FaultyBackend, failure: Exception) -> None:
    broken.error = failure
    assert ring.get_password("service", "user") is None


@pytest.mark.parametrize("allowed", [(), ("list",)])
def test_a_denial_by_the_policy_is_an_error(drawer: Any, allowed: tuple[str, ...]) -> None:
    config = {"audit": "none", "backend": "held", "principal": "me", "policies": [denying("delete", *allowed)]}
    with strongroom.open(config, backends={"held": drawer}) as manager:
        ring = StrongroomKeyring.using(manager)
        with pytest.raises(KeyringError):
            ring.get_password("service", "user")
        with pytest.raises(PasswordSetError):
            ring.set_password("service", "user", "x")


def test_the_kinds_of_failure_are_those_that_callers_of_keyring_know(
    ring: StrongroomKeyring, broken: FaultyBackend
) -> None:
    broken.error = FAILURES[0]
    with pytest.raises(PasswordSetError):
        CALLS["set"](ring)
    with pytest.raises(PasswordDeleteError):
        CALLS["delete"](ring)


def test_the_only_user_of_a_service_is_found(ring: StrongroomKeyring) -> None:
    ring.set_password("one", "user", "first")
    ring.set_password("one more", "other", "second")
    found = ring.get_credential("one", None)
    assert found is not None
    assert (found.username, found.password) == ("user", "first")


def test_of_several_users_none_is_chosen(ring: StrongroomKeyring) -> None:
    ring.set_password("one", "user", "first")
    ring.set_password("one", "other", "second")
    assert ring.get_credential("one", None) is None


def test_a_backend_that_cannot_list_knows_no_only_user() -> None:
    class Shelf(Backend):
        address = "shelf"

        def read(self, request: Any) -> ReadResult:
            return ReadResult(value=SecretValue("x"), version="1")

    with strongroom.open({"audit": "none", "backend": "held"}, backends={"held": Shelf()}) as manager:
        ring = StrongroomKeyring.using(manager)
        assert ring.get_credential("service", None) is None
        assert ring.get_password("service", "user") == "x"
        with pytest.raises(KeyringError):
            ring.entries()


def test_entries_are_listed(ring: StrongroomKeyring, manager: strongroom.SecretManager) -> None:
    for service, username in [("https://b.example/", "u"), ("a", ""), ("", "z"), ("a", "é/x")]:
        with warnings.catch_warnings():
            # Newer versions of keyring advise against an empty user.
            warnings.simplefilter("ignore", DeprecationWarning)
            ring.set_password(service, username, "x")
    manager.set("keyring/a", "no entry")
    manager.set("keyring/a/b/c", "no entry")
    manager.set("keyring/a/%zz", "no entry")
    manager.set("keyrings/a/b", "no entry")
    expected = [("", "z"), ("a", ""), ("a", "é/x"), ("https://b.example/", "u")]
    assert ring.entries() == [Entry(service=service, username=username) for service, username in expected]
    assert [entry.username for entry in ring.entries("a")] == ["", "é/x"]


@pytest.mark.parametrize(("prefix", "name"), [("logins", "logins/s/u"), ("a/b/", "a/b/s/u"), ("", "s/u")])
def test_the_folder_can_be_chosen(
    manager: strongroom.SecretManager, monkeypatch: pytest.MonkeyPatch, prefix: str, name: str
) -> None:
    monkeypatch.setenv("STRONGROOM_KEYRING_PREFIX", prefix)
    ring = StrongroomKeyring.using(manager)
    ring.set_password("s", "u", "x")
    assert manager.list() == [name]
    assert ring.entries() == [Entry(service="s", username="u")]
    assert ring.with_properties(prefix="elsewhere/").get_password("s", "u") is None


def test_keyrings_own_properties_come_first(manager: strongroom.SecretManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_KEYRING_PREFIX", "one/")
    monkeypatch.setenv("KEYRING_PROPERTY_PREFIX", "two/")
    StrongroomKeyring.using(manager).set_password("s", "u", "x")
    assert manager.list() == ["two/s/u"]


def test_another_principal_can_be_named(drawer: Any) -> None:
    policies = [
        denying("read", "write", "list") | {"principal": "me"},
        denying("impersonate") | {"principal": "me", "names": ["guest"]},
    ]
    config = {"audit": "none", "backend": "held", "principal": "me", "policies": policies}
    with strongroom.open(config, backends={"held": drawer}) as manager:
        ring = StrongroomKeyring.using(manager)
        ring.set_password("s", "u", "x")
        with pytest.raises(KeyringError, match="guest"):
            ring.with_properties(principal="guest").get_password("s", "u")


def test_the_manager_is_opened_once_and_only_when_it_is_needed(tmp_path: Path) -> None:
    config = tmp_path / "strongroom.toml"
    ring = StrongroomKeyring()
    ring.config = str(config)
    with pytest.raises(InitError, match="does not exist"):
        ring.get_password("s", "u")
    config.write_text(MEMORY + '"keyring/s/u" = "x"\n')
    config.chmod(0o600)
    assert ring.get_password("s", "u") == "x"
    config.unlink()
    assert ring.get_password("s", "u") == "x"
    assert ring.with_properties(prefix="other/").get_password("s", "u") is None
    ring.close()
    with pytest.raises(InitError):
        ring.get_password("s", "u")


def test_a_password_that_is_no_text_is_an_error(ring: StrongroomKeyring, drawer: Any) -> None:
    drawer.content[SecretName("keyring/s/u")] = SecretValue(b"\xff\xfe")
    with pytest.raises(KeyringError):
        ring.get_password("s", "u")
    with pytest.raises(PasswordSetError):
        ring.set_password("s", "u", "\ud800")


def test_an_entry_that_cannot_have_a_name_is_an_error(ring: StrongroomKeyring) -> None:
    with pytest.raises(KeyringError):
        ring.get_password("s" * 600, "u")
    with pytest.raises(PasswordDeleteError):
        ring.delete_password("\ud800", "u")


def test_no_error_shows_a_password(ring: StrongroomKeyring, broken: FaultyBackend) -> None:
    marker = marker_value()
    ring.set_password("s", "u", marker)
    broken.error = FAILURES[0]
    for call in (lambda: ring.set_password("s", "u", marker), lambda: ring.get_password("s", "u")):
        with pytest.raises(KeyringError) as raised:
            call()
        assert leaks_in(report_of(raised.value, "strongroom_keyring"), marker) == []
    assert leaks_in(repr(vars(ring)) + repr(ring), marker) == []
