"""What the backend in memory does beyond the contract."""

from __future__ import annotations

from datetime import datetime

import pytest

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    BackendSpec,
    Capability,
    DeleteRequest,
    ListRequest,
    ReadRequest,
    SettingsCheck,
    VersionsRequest,
    WriteRequest,
)
from strongroom.errors import InvalidNameError, SecretDeletedError, SecretNotFoundError, ValueTooLargeError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import assert_hidden, marker_value

NAME = SecretName("db/password")


def write(backend: MemoryBackend, content: str | bytes = "content", name: str = NAME) -> str:
    return backend.write(WriteRequest(name=SecretName(name), value=SecretValue(content))).version


def test_seeded_secrets_are_there() -> None:
    backend = MemoryBackend(MemorySettings(seed={"a": SecretValue("one"), "b/c": SecretValue("")}))
    assert backend.list(ListRequest()).names == ("a", "b/c")
    assert backend.read(ReadRequest(name=SecretName("b/c"))).value == SecretValue("")


def test_a_seeded_name_must_be_one() -> None:
    with pytest.raises(InvalidNameError):
        MemoryBackend(MemorySettings(seed={"a//b": SecretValue("x")}))


def test_settings_do_not_show_the_seed() -> None:
    marker = marker_value()
    assert_hidden(marker, repr(MemorySettings(seed={"a": SecretValue(marker)})), "the settings' repr")


def test_a_deleted_secret_is_told_apart_from_one_that_never_was() -> None:
    backend = MemoryBackend()
    write(backend)
    backend.delete(DeleteRequest(name=NAME))
    with pytest.raises(SecretDeletedError) as caught:
        backend.read(ReadRequest(name=NAME))
    assert caught.value.when is not None
    assert datetime.fromisoformat(caught.value.when).tzinfo is not None


def test_versions_count_up_and_go_on_after_a_delete() -> None:
    backend = MemoryBackend()
    assert [write(backend), write(backend)] == ["1", "2"]
    backend.delete(DeleteRequest(name=NAME))
    assert write(backend) == "3"


def test_a_delete_takes_older_versions_away_and_leaves_tombstones() -> None:
    backend = MemoryBackend()
    first = write(backend, "first")
    backend.delete(DeleteRequest(name=NAME))
    write(backend, "second")
    assert [version.state for version in backend.versions(VersionsRequest(name=NAME)).versions] == [
        "deleted",
        "current",
    ]
    with pytest.raises(SecretDeletedError):
        backend.read(ReadRequest(name=NAME, version=first))


def test_only_so_many_versions_are_kept() -> None:
    backend = MemoryBackend(MemorySettings(keep_versions=3))
    made = [write(backend, str(number)) for number in range(5)]
    kept = [version.version for version in backend.versions(VersionsRequest(name=NAME)).versions]
    assert kept == made[-3:]
    with pytest.raises(SecretNotFoundError):
        backend.read(ReadRequest(name=NAME, version=made[0]))


def test_the_limit_holds_without_the_core() -> None:
    backend = MemoryBackend(MemorySettings(max_value_bytes=4))
    write(backend, "1234")
    with pytest.raises(ValueTooLargeError):
        write(backend, "123\u00e9")
    assert backend.read(ReadRequest(name=NAME)).value == SecretValue("1234")


def test_two_backends_have_two_addresses() -> None:
    assert MemoryBackend().address != MemoryBackend().address


def test_closing_lets_go_of_every_value() -> None:
    backend = MemoryBackend()
    value = SecretValue("content")
    buffer = value._buffer
    backend.write(WriteRequest(name=NAME, value=value))
    del value
    backend.close()
    assert bytes(buffer) == bytes(7)


@pytest.mark.parametrize(
    ("settings", "problems"),
    [
        (MemorySettings(), 0),
        (MemorySettings(max_value_bytes=0, keep_versions=1), 0),
        (MemorySettings(max_value_bytes=-1), 1),
        (MemorySettings(keep_versions=0), 1),
        (MemorySettings(max_value_bytes=-1, keep_versions=0), 2),
    ],
)
def test_settings_are_checked(settings: MemorySettings, problems: int) -> None:
    assert isinstance(settings, SettingsCheck)
    assert len(settings.problems()) == problems


def test_the_hook_offers_every_capability() -> None:
    from strongroom.builtin.plugin import strongroom_backends

    (spec,) = strongroom_backends()
    assert isinstance(spec, BackendSpec)
    assert spec.capabilities == frozenset(Capability)
    assert isinstance(spec.open(MemorySettings()), MemoryBackend)
