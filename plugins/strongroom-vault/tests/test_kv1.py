"""The key-value engine in version 1, which keeps one value for each name and counts nothing."""

from __future__ import annotations

import re

import pytest

from engines import delete, names_in, new_mount, opened, read, text_of, write
from fakes import FakeVault
from openbao import Server
from strongroom.contracts import (
    AnnotateRequest,
    Capability,
    DescribeRequest,
    DestroyRequest,
    UndeleteRequest,
    VersionsRequest,
)
from strongroom.errors import AccessDeniedError, ConfigurationError, SecretNotFoundError, UnsupportedOperationError
from strongroom.model import ABSENT, SecretName
from strongroom.testing import in_forked_child
from strongroom_vault.backend import VaultBackend

NAME = SecretName("app/key")
DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}


@pytest.fixture(scope="module")
def mount(server: Server) -> str:
    return new_mount(server, 1)


@pytest.fixture
def backend(server: Server, mount: str, request: pytest.FixtureRequest) -> VaultBackend:
    backend = opened(server, mount, kv_version=1, prefix=f"t{abs(hash(request.node.nodeid)):x}")
    delete(backend, NAME)
    return backend


def test_it_says_that_it_can_only_write_and_list(backend: VaultBackend) -> None:
    assert backend.capabilities == {Capability.WRITE, Capability.LIST}


def test_what_it_cannot_do_is_refused_before_the_call(vault: FakeVault) -> None:
    backend = opened(vault, "secret", kv_version=1)
    for attempt in (
        lambda: read(backend, NAME, "1"),
        lambda: write(backend, NAME, "content", expect_version="1"),
        lambda: write(backend, NAME, "content", expect_version=ABSENT),
        lambda: backend.versions(VersionsRequest(name=NAME)),
        lambda: backend.undelete(UndeleteRequest(name=NAME)),
        lambda: backend.destroy(DestroyRequest(name=NAME, versions=("1",))),
        lambda: backend.describe(DescribeRequest(name=NAME)),
        lambda: backend.annotate(AnnotateRequest(name=NAME, metadata={})),
    ):
        with pytest.raises(UnsupportedOperationError, match="version 1"):
            attempt()
    assert vault.requests == []


def test_a_version_tells_values_apart_and_nothing_of_them(backend: VaultBackend) -> None:
    seen = {content: write(backend, NAME, content).version for content in ("one", "two", b"one", "", b"")}
    assert len(set(seen.values())) == len(seen)
    assert write(backend, NAME, "one").version == seen["one"] == read(backend, NAME).version
    assert all(re.fullmatch(r"[0-9a-f]{32}", version) for version in seen.values())


def test_another_backend_gives_the_same_value_another_version(server: Server, mount: str) -> None:
    """Else a version would be a digest that everybody can look values up by."""
    one, other = (opened(server, mount, kv_version=1, prefix="same") for _ in range(2))
    assert write(one, NAME, "content").version != read(other, NAME).version


def test_fields_have_the_version_that_their_write_told(server: Server, mount: str) -> None:
    backend = opened(server, mount, kv_version=1, prefix="fields", fields=("**",))
    told = write(backend, NAME, '{"b": 1.0, "a": [4.182819552734497e16, 1e22], "c": null}').version
    assert read(backend, NAME).version == told
    assert text_of(backend, NAME) == '{"a": [41828195527344970, 1e+22], "b": 1, "c": null}'


def test_destroying_is_deleting(backend: VaultBackend) -> None:
    write(backend, NAME, "content")
    assert backend.destroy(DestroyRequest(name=NAME)).existed is True
    assert backend.destroy(DestroyRequest(name=NAME)).existed is False
    with pytest.raises(SecretNotFoundError):
        read(backend, NAME)


def test_whoever_may_delete_but_not_read_is_told_that_it_was_there(server: Server, mount: str) -> None:
    server.policy("kv1-delete", f'path "{mount}/*" {{ capabilities = ["delete"] }}')
    backend = opened(server, mount, kv_version=1, token=server.new_token("kv1-delete"))
    assert delete(backend, NAME).existed is True


def test_a_secret_named_as_an_engine_of_version_2_names_its_parts_is_one(backend: VaultBackend) -> None:
    for name in ("data/x", "metadata/x", "config"):
        write(backend, name, f"content of {name}")
    assert names_in(backend) == ["config", "data/x", "metadata/x"]
    assert text_of(backend, "data/x") == "content of data/x"


def test_an_engine_of_version_2_is_told_by_its_own_words(server: Server) -> None:
    backend = opened(server, new_mount(server, 2), kv_version=1)
    for attempt in (
        lambda: read(backend, NAME),
        lambda: write(backend, NAME, "content"),
        lambda: delete(backend, NAME),
        lambda: names_in(backend),
    ):
        with pytest.raises(ConfigurationError, match="kv_version"):
            attempt()


def test_nothing_in_an_engine_of_version_2_is_deleted_by_a_name_like_its_paths(server: Server) -> None:
    mount = new_mount(server, 2)
    write(opened(server, mount), NAME, "content")
    backend = opened(server, mount, kv_version=1)
    for part in ("data", "metadata"):
        for attempt in (
            lambda name: delete(backend, name),
            lambda name: backend.destroy(DestroyRequest(name=SecretName(name))),
        ):
            with pytest.raises(ConfigurationError, match="kv_version"):
                attempt(f"{part}/{NAME}")
    assert text_of(opened(server, mount), NAME) == "content"


def test_403_is_never_not_found(vault: FakeVault) -> None:
    vault.answer(None, "/", 403, DENIED)
    backend = opened(vault, "secret", kv_version=1)
    for attempt in (
        lambda: read(backend, NAME),
        lambda: write(backend, NAME, "content"),
        lambda: delete(backend, NAME),
        lambda: names_in(backend),
    ):
        with pytest.raises(AccessDeniedError):
            attempt()


def test_a_forked_child_gives_the_versions_that_its_parent_gives(backend: VaultBackend) -> None:
    """What the parent has cached is not taken for changed."""
    version = write(backend, NAME, "content").version

    def child() -> str:
        backend.after_fork()
        return read(backend, NAME).version

    assert in_forked_child(child) == version
