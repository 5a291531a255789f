"""Finding out which version an engine has: from the mount table, or else from how it answers."""

from __future__ import annotations

import threading
import time

import pytest

from engines import delete, names_in, new_mount, opened, read, text_of, write
from fakes import FakeVault
from openbao import TIME_LIMIT, Server
from strongroom.contracts import Capability, VersionsRequest
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.model import SecretName
from strongroom.testing import in_forked_child, in_threads
from strongroom_vault.backend import VaultBackend

NAME = SecretName("app/key")
TABLE = "/v1/sys/internal/ui/mounts/"
DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
ENTRY = {"path": "ui/secrets/", "type": "kv", "options": {"version": "2"}}
SECRET = {"data": {"data": {"value": "content"}, "metadata": {"version": 1}}}


def detecting(server: Server | FakeVault, mount: str, token: str | None = None) -> VaultBackend:
    return opened(server, mount, kv_version="detect", **({} if token is None else {"token": token}))


@pytest.mark.parametrize("version", [1, 2])
def test_the_mount_table_says_it(server: Server, version: int) -> None:
    mount = new_mount(server, version, below="ui/secrets")
    backend = detecting(server, mount)
    assert backend.capabilities is None
    write(backend, NAME, "content")
    assert text_of(backend, NAME) == "content"
    assert names_in(backend) == [NAME]
    assert (Capability.VERSIONS in (backend.capabilities or ())) is (version == 2)
    if version == 1:
        with pytest.raises(UnsupportedOperationError):
            backend.versions(VersionsRequest(name=NAME))


@pytest.mark.parametrize("version", [1, 2])
def test_a_policy_that_opens_the_secrets_alone_is_enough(server: Server, version: int) -> None:
    mount = new_mount(server, version)
    policy = mount.replace("/", "-")
    part = "/data" if version == 2 else ""
    server.policy(policy, f'path "{mount}{part}/*" {{ capabilities = ["create", "update", "read"] }}')
    backend = detecting(server, mount, server.new_token(policy))
    write(backend, NAME, "content")
    assert text_of(backend, NAME) == "content"
    with pytest.raises(SecretNotFoundError):
        read(backend, "app/other")


@pytest.mark.parametrize("number", [1, 2])
def test_with_a_number_the_mount_table_is_never_asked(vault: FakeVault, number: int) -> None:
    backend = opened(vault, "ui/secrets", kv_version=number)
    vault.answer("DELETE", "/", 204)
    with pytest.raises(SecretNotFoundError):
        read(backend, NAME)
    delete(backend, NAME)
    names_in(backend)
    assert vault.requests
    assert not vault.sent(None, "/v1/sys/")


def test_the_answer_is_remembered(vault: FakeVault) -> None:
    vault.answer("GET", TABLE, 200, {"data": ENTRY})
    vault.answer("GET", "/v1/ui/secrets/data/", 200, SECRET)
    backend = detecting(vault, "ui/secrets")
    assert in_threads(8, lambda _: [text_of(backend, NAME) for _ in range(3)]) == [["content"] * 3] * 8
    assert [sent.path for sent in vault.sent(None, "/v1/sys/")] == [f"{TABLE}ui/secrets"]


def test_threads_that_wait_for_the_answer_share_an_outage(vault: FakeVault) -> None:
    """Each with a try of its own, the last would wait as often as long."""
    vault.answer("GET", TABLE, 200, delay=0.3, reset=True)
    backend = opened(vault, "secret", kv_version="detect", attempts=1)
    began = threading.Barrier(8)

    def attempt(_: int) -> type[Exception]:
        began.wait()
        with pytest.raises(BackendUnavailableError) as caught:
            read(backend, NAME)
        return type(caught.value)

    assert in_threads(8, attempt) == [BackendUnavailableError] * 8
    assert len(vault.requests) <= 2
    vault.answer("GET", TABLE, 200, {"data": ENTRY | {"path": "secret/"}})
    vault.answer("GET", "/v1/secret/data/", 200, SECRET)
    assert text_of(backend, NAME) == "content"


class TestAsking:
    """Where the mount table is closed, the engine itself is asked, as version 2 first."""

    @pytest.fixture(autouse=True)
    def closed(self, vault: FakeVault) -> None:
        vault.answer("GET", TABLE, 403, DENIED)

    def test_a_secret_of_version_2_betrays_it(self, vault: FakeVault) -> None:
        vault.answer("GET", f"/v1/secret/data/{NAME}", 200, SECRET)
        backend = detecting(vault, "secret")
        assert text_of(backend, NAME) == "content"
        assert Capability.VERSIONS in (backend.capabilities or ())
        assert len(vault.sent(None, TABLE)) == 1
        text_of(backend, NAME)
        assert len(vault.sent(None, TABLE)) == 1

    def test_a_deleted_secret_of_version_2_betrays_it(self, vault: FakeVault) -> None:
        gone = {"data": {"data": None, "metadata": {"version": 1, "deletion_time": "2001-02-03T04:05:06Z"}}}
        vault.answer("GET", f"/v1/secret/data/{NAME}", 404, gone)
        with pytest.raises(SecretNotFoundError):
            read(detecting(vault, "secret"), NAME)
        assert [sent.path for sent in vault.requests][1:] == [f"/v1/secret/data/{NAME}"] * 2

    def test_a_secret_of_version_1_betrays_it(self, vault: FakeVault) -> None:
        vault.answer("GET", f"/v1/secret/{NAME}", 200, {"data": {"value": "content"}})
        for status, body in ((404, {"errors": []}), (403, DENIED)):
            vault.answer("GET", f"/v1/secret/data/{NAME}", status, body)
            backend = detecting(vault, "secret")
            assert text_of(backend, NAME) == "content"
            assert backend.capabilities == {Capability.WRITE, Capability.LIST}

    def test_a_secret_of_version_1_that_looks_like_its_way_in_version_2_does_not_deceive(
        self, vault: FakeVault
    ) -> None:
        vault.answer("GET", f"/v1/secret/{NAME}", 200, {"data": {"value": "content"}})
        vault.answer("GET", f"/v1/secret/data/{NAME}", 200, {"data": {"data": {"value": "other"}}})
        assert text_of(detecting(vault, "secret"), NAME) == "content"

    def test_a_policy_for_the_one_way_says_which(self, vault: FakeVault) -> None:
        vault.answer("GET", f"/v1/secret/{NAME}", 403, DENIED)
        vault.answer("GET", f"/v1/secret/data/{NAME}", 404, {"errors": []})
        backend = detecting(vault, "secret")
        with pytest.raises(SecretNotFoundError):
            read(backend, NAME)
        assert Capability.VERSIONS in (backend.capabilities or ())

    def test_a_secret_where_version_2_would_have_one_is_no_sign_of_it(self, vault: FakeVault) -> None:
        """It is one of version 1, and the policy opens this folder alone."""
        vault.answer("GET", f"/v1/secret/{NAME}", 403, DENIED)
        vault.answer("GET", f"/v1/secret/data/{NAME}", 200, {"data": {"value": "other"}})
        backend = detecting(vault, "secret")
        with pytest.raises(BackendError, match="kv_version"):
            read(backend, NAME)
        assert backend.capabilities is None

    def test_denied_both_ways_names_the_setting_and_is_asked_again(self, vault: FakeVault) -> None:
        vault.answer("GET", "/v1/secret/", 403, DENIED)
        backend = detecting(vault, "secret")
        with pytest.raises(AccessDeniedError, match="kv_version"):
            read(backend, NAME)
        vault.answer("GET", f"/v1/secret/data/{NAME}", 200, SECRET)
        assert text_of(backend, NAME) == "content"

    def test_other_refusals_name_the_setting(self, vault: FakeVault) -> None:
        vault.answer("GET", "/v1/secret/", 400, {"errors": ["no idea"]})
        with pytest.raises(BackendError, match="kv_version"):
            read(detecting(vault, "secret"), NAME)

    def test_a_listing_asks_by_listing(self, vault: FakeVault) -> None:
        vault.answer("LIST", "/v1/secret/app/", 200, {"data": {"keys": ["key"]}})
        assert names_in(detecting(vault, "secret"), "app") == [NAME]
        assert {sent.method for sent in vault.requests[1:]} == {"LIST"}

    def test_no_engine_at_all_names_the_mount(self, server: Server, vault: FakeVault) -> None:
        words = server.call("GET", "nowhere/data/x")[1]
        vault.answer("GET", "/v1/secret/", 404, words)
        with pytest.raises(ConfigurationError, match="mount"):
            read(detecting(vault, "secret"), NAME)


def test_a_token_that_is_refused_is_told_as_that(vault: FakeVault) -> None:
    vault.answer(None, "/", 403, {"errors": ["permission denied"]})
    with pytest.raises(AuthenticationError):
        read(detecting(vault, "secret"), NAME)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<html>log in first</html>", BackendError),
        ('{"message": "log in first"}', BackendError),
        ("", BackendUnavailableError),
    ],
)
def test_an_answer_of_another_server_is_not_remembered(vault: FakeVault, body: str, error: type[Exception]) -> None:
    vault.answer("GET", "/", 200, body)
    backend = detecting(vault, "secret")
    with pytest.raises(error):
        read(backend, NAME)
    vault.answer("GET", TABLE, 200, {"data": ENTRY | {"path": "secret/"}})
    vault.answer("GET", "/v1/secret/data/", 200, SECRET)
    assert text_of(backend, NAME) == "content"


def test_an_engine_of_another_kind_is_none(server: Server) -> None:
    server.mount("found-out/transit", "transit")
    with pytest.raises(ConfigurationError, match="mount"):
        read(detecting(server, "found-out/transit"), NAME)


def test_a_mount_that_names_more_than_the_engine_says_which_it_is(server: Server) -> None:
    mount = new_mount(server, 2)
    with pytest.raises(ConfigurationError) as caught:
        read(detecting(server, f"{mount}/team"), NAME)
    assert f'mount to "{mount}"' in caught.value.hint


def test_an_engine_that_is_upgraded_is_found_out_anew(server: Server) -> None:
    mount = new_mount(server, 1)
    backend = detecting(server, mount)
    write(backend, NAME, "content")
    server.ok("POST", f"sys/mounts/{mount}/tune", {"options": {"version": "2"}})
    # It is not there for a moment, in which it says so.
    end = time.monotonic() + TIME_LIMIT
    while server.call("GET", f"{mount}/data/{NAME}")[0] != 200:
        assert time.monotonic() < end, "the engine is not upgraded"
        time.sleep(0.01)
    with pytest.raises(ConfigurationError):
        read(backend, NAME)
    assert (text_of(backend, NAME), read(backend, NAME).version) == ("content", "1")


def test_a_forked_child_finds_out_by_itself(server: Server) -> None:
    mount = new_mount(server, 2)
    write(opened(server, mount), NAME, "content")
    backend = detecting(server, mount)

    def child() -> str:
        backend.after_fork()
        return text_of(backend, NAME)

    assert in_forked_child(child) == "content"
    assert text_of(backend, NAME) == "content"
