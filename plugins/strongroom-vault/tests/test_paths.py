"""Names on the wire: each segment is quoted, no slash is doubled, and no name reaches another secret."""

from __future__ import annotations

import pytest

from engines import delete, names_in, new_mount, opened, read, settings, text_of, write
from fakes import FakeVault
from openbao import Server
from strongroom.errors import InvalidNameError, SecretNotFoundError
from strongroom.model import SecretName
from strongroom_vault.backend import VaultBackend
from strongroom_vault.settings import VaultSettings

ODD = "a b/a=b/it's/hash#/what?/per%2Fcent/this&that/é"
QUOTED = "a%20b/a%3Db/it%27s/hash%23/what%3F/per%252Fcent/this%26that/%C3%A9"

BLANKS = [
    "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003", "\u2004", "\u2005", "\u2006", "\u2007", "\u2008",
    "\u2009", "\u200a", "\u202f", "\u205f", "\u3000",
]  # fmt: skip


def test_each_segment_is_quoted(vault: FakeVault) -> None:
    backend = opened(vault, "ui/secrets")
    with pytest.raises(SecretNotFoundError):
        read(backend, ODD)
    assert [sent.path for sent in vault.requests] == [f"/v1/ui/secrets/data/{QUOTED}"]


def test_each_segment_is_quoted_in_version_1(vault: FakeVault) -> None:
    backend = opened(vault, "ui/secrets", kv_version=1)
    with pytest.raises(SecretNotFoundError):
        read(backend, ODD)
    assert [sent.path for sent in vault.requests] == [f"/v1/ui/secrets/{QUOTED}"]


@pytest.mark.parametrize("mount", ["ui/secrets", "/ui/secrets", "ui/secrets/", "//ui/secrets//"])
@pytest.mark.parametrize("prefix", ["", "app/prod", "/app/prod/"])
def test_mount_and_prefix_are_joined_by_single_slashes(vault: FakeVault, mount: str, prefix: str) -> None:
    vault.answer("DELETE", "/v1/ui/secrets/data/", 204)
    backend = opened(vault, mount, prefix=prefix)
    with pytest.raises(SecretNotFoundError):
        read(backend, "rest/of/path")
    names_in(backend)
    names_in(backend, "rest")
    delete(backend, "rest/of/path")
    between = "app/prod/" if prefix else ""
    paths = [sent.path for sent in vault.requests]
    assert paths[0] == f"/v1/ui/secrets/data/{between}rest/of/path"
    assert f"/v1/ui/secrets/detailed-metadata/{between}rest/" in paths
    assert not [path for path in paths if "//" in path]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_that_the_server_refuses_is_refused_before_the_call(vault: FakeVault, version: int, blank: str) -> None:
    backend = opened(vault, "secret", kv_version=version)
    name = f"app/a{blank}b"
    for attempt in (lambda: read(backend, name), lambda: write(backend, name, "x"), lambda: delete(backend, name)):
        with pytest.raises(InvalidNameError):
            attempt()
    with pytest.raises(InvalidNameError):
        names_in(backend, name)
    assert vault.requests == []


@pytest.mark.parametrize("blank", BLANKS)
def test_the_server_really_refuses_these_blanks(server: Server, blank: str) -> None:
    assert server.call("GET", f"secret/data/a{blank}b")[0] == 400


def test_a_path_that_a_server_refuses_all_the_same_is_told_as_that(vault: FakeVault) -> None:
    vault.answer("GET", "/v1/secret/data/", 400)
    with pytest.raises(InvalidNameError):
        read(opened(vault, "secret"), "app/key")


@pytest.mark.parametrize("version", [1, 2])
def test_a_name_in_two_normal_forms_is_one_secret(server: Server, version: int) -> None:
    mount = new_mount(server, version)
    backend = opened(server, mount, kv_version=version)
    write(backend, "cafe\u0301", "content")
    assert text_of(backend, "caf\u00e9") == "content"
    assert names_in(backend) == ["caf\u00e9"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_name_that_strongroom_spells_otherwise_is_not_listed(server: Server, version: int) -> None:
    mount = new_mount(server, version)
    backend = opened(server, mount, kv_version=version)
    write(backend, "plain", "content")
    for foreign in ("cafe\u0301", "blank ", "below\u200b/x"):
        path = f"{mount}/data/{foreign}" if version == 2 else f"{mount}/{foreign}"
        server.call("POST", path, {"data": {"value": "x"}} if version == 2 else {"value": "x"})
    listed = names_in(backend)
    assert "plain" in listed
    assert listed == [name for name in listed if SecretName(name) == name]
    assert {name: text_of(backend, name) for name in listed} == dict.fromkeys(listed, "content")


def test_a_prefix_keeps_the_secrets_of_two_backends_apart(server: Server) -> None:
    mount = new_mount(server, 2)
    one, other = opened(server, mount, prefix="app/one"), opened(server, mount, prefix="app/other")
    write(one, "key", "of one")
    write(other, "key", "of the other")
    assert (text_of(one, "key"), text_of(other, "key")) == ("of one", "of the other")
    assert names_in(one) == ["key"]
    assert server.ok("GET", f"{mount}/data/app/one/key")["data"]["data"] == {"value": "of one"}
    assert one.address != other.address


def test_an_address_names_the_place_and_no_password() -> None:
    class Nobody:
        address = ("https://user:secret@b.example:8200/base", "https://a.example:8200")

    backend = opened(Nobody, "/ui/secrets/", prefix="/app/", namespace="/team/")
    assert backend.address == "vault:https://a.example:8200,https://b.example:8200/base:team:ui/secrets:app"


def test_no_two_places_have_the_same_address() -> None:
    class Nobody:
        address = "http://a.example:8200"

    places = [
        {"mount": "kv:x", "prefix": "y"},
        {"mount": "kv", "prefix": "x:y"},
        {"mount": "x:y", "namespace": "kv"},
        {"mount": "y", "namespace": "kv:x"},
        {"mount": "kv%3Ax", "prefix": "y"},
        {"mount": "kv/x", "prefix": "y"},
        {"mount": "kv", "prefix": "x/y"},
    ]
    addresses = {VaultBackend.open(settings(Nobody, **place)).address for place in places}
    assert len(addresses) == len(places)


@pytest.mark.parametrize("path", ["a//b", "a/../b", "..", "a b ", "a\nb"])
def test_a_mount_or_prefix_that_is_no_path_is_refused(path: str) -> None:
    for setting in ("mount", "prefix", "transit"):
        assert VaultSettings(**{setting: path}).problems() == [f"{setting} must be segments joined by single slashes"]


@pytest.mark.parametrize("path", ["ui/secrets", "/ui/secrets/", "a b"])
def test_slashes_around_a_mount_or_prefix_do_not_matter(path: str) -> None:
    assert VaultSettings(mount=path, prefix=path).problems() == []
