"""Which versions are said to be current, with which requests."""

from __future__ import annotations

import pytest

from engines import delete, new_mount, opened, read, write
from fakes import FakeVault
from openbao import Server
from strongroom.contracts import CurrentVersionsRequest, CurrentVersionsResult
from strongroom.errors import AuthenticationError, BackendUnavailableError
from strongroom.model import SecretName
from strongroom.testing import assert_hidden, marker_value
from strongroom_vault.backend import VaultBackend

DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
BAD_TOKEN = {"errors": ["2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"]}
LATER = "2999-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def mount(server: Server) -> str:
    return new_mount(server, 2)


def look(backend: VaultBackend, *names: str) -> CurrentVersionsResult:
    return backend.current_versions(CurrentVersionsRequest(names=tuple(map(SecretName, names))))


def metadata(current: int, **newest: object) -> dict[str, object]:
    """Return an answer about a secret of which there is one version."""
    entry = {"created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": False} | newest
    return {"data": {"current_version": current, "versions": {str(current): entry}}}


def data(version: int, value: str) -> dict[str, object]:
    """Return an answer with a value."""
    told = {"version": version, "created_time": "2026-01-01T00:00:00Z", "deletion_time": "", "destroyed": False}
    return {"data": {"data": {"value": value}, "metadata": told}}


def test_each_name_takes_one_request_for_its_metadata(vault: FakeVault) -> None:
    backend = opened(vault, "secret")
    for number in range(30):
        vault.answer("GET", f"/v1/secret/metadata/app/{number:02}", body=metadata(number + 1))
    names = [f"app/{number:02}" for number in range(30)]
    result = look(backend, *names)
    assert result.versions == {name: str(number + 1) for number, name in enumerate(names)}
    assert not result.values_fetched
    assert sorted(sent.path for sent in vault.requests) == [f"/v1/secret/metadata/{name}" for name in names]


def test_what_is_deleted_or_destroyed_has_no_version_and_what_will_be_has_one(vault: FakeVault) -> None:
    backend = opened(vault, "secret")
    vault.answer("GET", "/v1/secret/metadata/deleted", body=metadata(2, deletion_time="2026-01-02T00:00:00Z"))
    vault.answer("GET", "/v1/secret/metadata/destroyed", body=metadata(3, destroyed=True))
    vault.answer("GET", "/v1/secret/metadata/later", body=metadata(4, deletion_time=LATER))
    expected = {"deleted": None, "destroyed": None, "later": "4", "never": None}
    assert look(backend, *expected).versions == expected


def test_who_may_not_see_metadata_reads_and_says_so(vault: FakeVault) -> None:
    marker = marker_value()
    backend = opened(vault, "secret")
    vault.answer("GET", "/v1/secret/metadata/", 403, DENIED)
    vault.answer("GET", "/v1/secret/data/app/key", body=data(7, marker))
    vault.answer("GET", "/v1/secret/data/app/no", 403, DENIED)
    result = look(backend, "app/key", "app/no", "app/gone")
    assert result.versions == {"app/key": "7", "app/gone": None}
    assert result.values_fetched
    assert {name: error.code for name, error in result.errors.items()} == {"app/no": "denied"}
    assert_hidden(marker, repr(vars(result)), "the versions")


def test_a_refused_token_is_no_answer_about_a_name(vault: FakeVault) -> None:
    vault.answer("GET", "/v1/secret/metadata/", 403, BAD_TOKEN)
    with pytest.raises(AuthenticationError):
        look(opened(vault, "secret"), "app/key", "app/other")


def test_in_an_outage_not_every_name_is_asked_for(vault: FakeVault) -> None:
    vault.answer("GET", "/v1/secret/metadata/", 503, {"errors": ["Vault is sealed"]})
    with pytest.raises(BackendUnavailableError):
        look(opened(vault, "secret", attempts=1), *(f"app/{number}" for number in range(200)))
    assert len(vault.requests) < 100


def test_leased_names_are_left_out(vault: FakeVault) -> None:
    backend = opened(vault, "secret", dynamic=("database/creds/*",))
    vault.answer("GET", "/v1/secret/metadata/app/key", body=metadata(1))
    assert look(backend, "app/key", "database/creds/app").versions == {"app/key": "1"}
    assert [sent.path for sent in vault.requests] == ["/v1/secret/metadata/app/key"]


def test_a_version_is_as_a_read_names_it_whatever_is_done_to_the_secret(server: Server, mount: str) -> None:
    backend = opened(server, mount, prefix="seen")
    write(backend, "app/key", "first")
    write(backend, "app/key", "second")
    assert look(backend, "app/key").versions == {"app/key": read(backend, "app/key").version}
    delete(backend, "app/key")
    assert look(backend, "app/key").versions == {"app/key": None}
    assert write(backend, "app/key", "third").version == look(backend, "app/key").versions[SecretName("app/key")]


def test_version_1_of_the_engine_is_read_and_says_so(server: Server) -> None:
    backend = opened(server, new_mount(server, 1), kv_version="1")
    write(backend, "app/key", "first")
    result = look(backend, "app/key", "app/none")
    assert result.versions == {"app/key": read(backend, "app/key").version, "app/none": None}
    assert result.values_fetched


def test_the_engine_s_version_need_not_be_configured(server: Server, mount: str) -> None:
    backend = opened(server, mount, prefix="detected", kv_version="detect")
    write(opened(server, mount, prefix="detected"), "app/key", "first")
    assert look(backend, "app/key").versions == {"app/key": "1"}
