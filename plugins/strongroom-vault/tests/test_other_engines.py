"""An engine, or a server, that is not the one that is configured: it is told as that, and nothing in it is harmed."""

from __future__ import annotations

import json

from typing import Any

import pytest

from engines import delete, names_in, new_mount, opened, read, write
from fakes import FakeVault
from openbao import Server
from strongroom.contracts import AnnotateRequest, DestroyRequest, UndeleteRequest
from strongroom.errors import BackendError, BackendUnavailableError, ConfigurationError, SecretNotFoundError
from strongroom.model import ABSENT, SecretName
from strongroom.testing import assert_hidden, marker_value, report_of

NAME = SecretName("app/key")
WHEN = "2026-03-04T05:06:07.89012345Z"


def test_an_engine_of_version_1_is_told_by_what_it_does_not_say(server: Server) -> None:
    mount = new_mount(server, 1)
    backend = opened(server, mount)
    with pytest.raises(ConfigurationError, match="kv_version") as caught:
        write(backend, NAME, "content")
    assert f"data/{NAME}" in str(caught.value)
    with pytest.raises(ConfigurationError, match="kv_version"):
        read(backend, NAME)


@pytest.mark.parametrize("expected", [None, ABSENT, "1"])
def test_nothing_in_an_engine_of_version_1_is_written_over_or_deleted(server: Server, expected: str | None) -> None:
    """There the path of a name in version 2 is the path of quite another secret."""
    mount = new_mount(server, 1)
    kept = {f"{part}/{NAME}": {"value": "kept", "versions": part} for part in ("data", "metadata")}
    for path, fields in kept.items():
        server.ok("POST", f"{mount}/{path}", fields)
    for attempt in (
        lambda: write(opened(server, mount), NAME, "content", expect_version=expected),
        lambda: delete(opened(server, mount), NAME),
        lambda: opened(server, mount).destroy(DestroyRequest(name=NAME)),
        lambda: opened(server, mount).annotate(AnnotateRequest(name=NAME, metadata={"a": "b"})),
        lambda: opened(server, mount).undelete(UndeleteRequest(name=NAME)),
    ):
        with pytest.raises(ConfigurationError, match="kv_version"):
            attempt()
    server.ok("DELETE", f"{mount}/metadata/{NAME}")
    with pytest.raises(ConfigurationError, match="kv_version"):
        delete(opened(server, mount), NAME)
    assert server.ok("GET", f"{mount}/data/{NAME}")["data"] == kept[f"data/{NAME}"]


def test_an_engine_of_version_1_is_not_listed_as_an_empty_one(server: Server) -> None:
    mount = new_mount(server, 1)
    backend = opened(server, mount)
    assert names_in(backend) == []
    server.ok("POST", f"{mount}/{NAME}", {"value": "content"})
    for prefix in ("", "app"):
        with pytest.raises(ConfigurationError, match="kv_version"):
            names_in(backend, prefix)
    with pytest.raises(SecretNotFoundError, match="kv_version"):
        read(backend, NAME)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("type", ["transit", "pki"])
def test_an_engine_of_another_kind_is_no_missing_secret(server: Server, version: int, type: str) -> None:
    mount = f"of-another-kind/{type}-{version}"
    server.mount(mount, type)
    backend = opened(server, mount, kv_version=version)
    for attempt in (
        lambda: read(backend, NAME),
        lambda: write(backend, NAME, "content"),
        lambda: delete(backend, NAME),
        lambda: names_in(backend),
    ):
        with pytest.raises(ConfigurationError, match="mount"):
            attempt()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("body", ["<html>welcome</html>", "[]", '{"message": "welcome"}'])
def test_an_answer_of_another_server_is_no_secret_and_no_list(vault: FakeVault, version: int, body: str) -> None:
    vault.answer(None, "/", 200, body)
    backend = opened(vault, "secret", kv_version=version)
    for attempt in (
        lambda: read(backend, NAME),
        lambda: names_in(backend),
        lambda: names_in(backend, "app", recursive=False),
        lambda: delete(backend, NAME),
    ):
        with pytest.raises((BackendError, ConfigurationError)) as caught:
            attempt()
        assert not isinstance(caught.value, BackendUnavailableError)


@pytest.mark.parametrize(
    "data",
    [
        {"data": {"value": "MARK"}, "metadata": {"created_time": WHEN}},
        {"data": {"value": "MARK"}, "metadata": "MARK"},
        {"data": "MARK", "metadata": {"version": 1}},
        {"data": ["MARK"], "metadata": {"version": 1}},
        {"value": "MARK", "data": "MARK", "metadata": {"a": "MARK"}},
    ],
)
def test_what_version_2_never_answers_shows_in_no_error(vault: FakeVault, data: dict[str, Any]) -> None:
    marker = marker_value()[:36]
    vault.answer("GET", "/", 200, json.dumps({"data": data}).replace("MARK", marker))
    with pytest.raises(ConfigurationError, match="kv_version") as caught:
        read(opened(vault, "secret"), NAME)
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")


@pytest.mark.parametrize("odd", ['{"a":' * 200_000 + "1" + "}" * 200_000, "9" * 5000], ids=["depth", "digits"])
def test_what_python_cannot_read_shows_in_no_error(vault: FakeVault, odd: str) -> None:
    marker = marker_value()[:36]
    fields = f'{{"key": "{marker}", "odd": {odd}}}'
    vault.answer("GET", "/", 200, f'{{"data": {{"data": {fields}, "metadata": {{"version": 1}}}}}}')
    with pytest.raises(BackendError) as caught:
        read(opened(vault, "secret"), NAME)
    assert not isinstance(caught.value, BackendUnavailableError)
    assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")
