"""Listing an engine: what is there and can be read, in as few requests as may be."""

from __future__ import annotations

import threading
import time

from typing import Any

import pytest

from engines import delete, names_in, new_mount, opened, write
from fakes import Answer, FakeVault, Sent
from openbao import Server
from strongroom.contracts import DestroyRequest, ListRequest
from strongroom.errors import AccessDeniedError, BackendUnavailableError
from strongroom.model import SecretName
from strongroom.pacing import within
from strongroom_vault.backend import VaultBackend
from strongroom_vault.listing import AT_ONCE

TREE = ("a", "a/b", "a/b/c", "d/e/f", "d/g", "h")
DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
NOT_KNOWN = {"data": None, "warnings": ["Invalid path for a versioned K/V secrets engine."]}
"""What a server answers that cannot list with details."""


@pytest.fixture(params=[1, 2])
def backend(request: pytest.FixtureRequest, server: Server) -> VaultBackend:
    backend = opened(server, new_mount(server, request.param), kv_version=request.param)
    for name in TREE:
        write(backend, name, "content")
    return backend


def test_everything_is_found_at_every_depth(backend: VaultBackend) -> None:
    assert names_in(backend) == list(TREE)
    assert names_in(backend, "a") == ["a/b", "a/b/c"]
    assert names_in(backend, "d") == ["d/e/f", "d/g"]


def test_one_level_tells_names_and_folders(backend: VaultBackend) -> None:
    for prefix, names, folders in (("", ["a", "h"], ["a", "d"]), ("a", ["a/b"], ["a/b"]), ("d", ["d/g"], ["d/e"])):
        found = backend.list(ListRequest(prefix=prefix, recursive=False))
        assert (list(found.names), list(found.folders)) == (names, folders)
        assert found.request_id


def test_deleted_and_destroyed_names_are_left_out(server: Server) -> None:
    backend = opened(server, new_mount(server, 2))
    for name in TREE:
        write(backend, name, "content")
    delete(backend, "a")
    backend.destroy(DestroyRequest(name=SecretName("d/g"), versions=("1",)))
    delete(backend, "h")
    write(backend, "h", "anew")
    assert names_in(backend) == ["a/b", "a/b/c", "d/e/f", "h"]
    assert list(backend.list(ListRequest(recursive=False)).names) == ["h"]


class TestRights:
    """Deleted names are left out with few rights, too: in one more request for each name."""

    @pytest.fixture
    def mount(self, server: Server) -> str:
        mount = new_mount(server, 2)
        backend = opened(server, mount)
        for name in TREE:
            write(backend, name, "content")
        delete(backend, "d/g")
        return mount

    def limited(self, server: Server, mount: str, **parts: str) -> VaultBackend:
        lines = [f'path "{mount}/{part}/*" {{ capabilities = [{rights}] }}' for part, rights in parts.items()]
        policy = mount.replace("/", "-")
        server.policy(policy, "\n".join(lines))
        return opened(server, mount, token=server.new_token(policy))

    def test_with_details(self, server: Server, mount: str) -> None:
        backend = self.limited(server, mount, **{"detailed-metadata": '"list"'})
        assert names_in(backend) == ["a", "a/b", "a/b/c", "d/e/f", "h"]

    def test_without_details(self, server: Server, mount: str) -> None:
        backend = self.limited(server, mount, metadata='"list", "read"')
        assert names_in(backend) == ["a", "a/b", "a/b/c", "d/e/f", "h"]

    def test_whoever_may_list_alone_is_told_what_may_be_deleted(self, server: Server, mount: str) -> None:
        backend = self.limited(server, mount, metadata='"list"')
        assert names_in(backend) == list(TREE)

    def test_whoever_may_not_list_is_denied(self, server: Server, mount: str) -> None:
        backend = self.limited(server, mount, data='"read"')
        with pytest.raises(AccessDeniedError):
            names_in(backend)

    def test_a_folder_that_is_denied_is_named(self, server: Server, mount: str) -> None:
        server.policy(
            "denied-below",
            f'path "{mount}/metadata/*" {{ capabilities = ["list"] }}\n'
            f'path "{mount}/metadata/d/*" {{ capabilities = ["deny"] }}',
        )
        backend = opened(server, mount, token=server.new_token("denied-below"))
        with pytest.raises(AccessDeniedError, match="d/"):
            names_in(backend)
        assert names_in(backend, "a") == ["a/b", "a/b/c"]


class Folders:
    """A server with folders in folders, which cannot list with details."""

    def __init__(self, vault: FakeVault, *, width: int, delay: float = 0.0) -> None:
        self.width = width
        self.delay = delay
        self.now = self.most = 0
        self.lock = threading.Lock()
        vault.handle(None, "/v1/secret/metadata/", self.answer)

    def answer(self, sent: Sent) -> Answer:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.delay)
        with self.lock:
            self.now -= 1
        if sent.method == "GET":
            return Answer(200, {"data": {"current_version": 1, "versions": {"1": {}}}})
        deep = sent.path.removeprefix("/v1/secret/metadata/").count("/") >= 1
        keys = ["x", "y"] if deep else [f"f{number}/" for number in range(self.width)]
        return Answer(200, {"data": {"keys": keys}, "request_id": "first" if not deep else "later"})


class SlowBelow(Folders):
    """Takes three seconds for each folder but the root."""

    def answer(self, sent: Sent) -> Answer:
        if sent.path.removeprefix("/v1/secret/metadata/").count("/") >= 1:
            time.sleep(3.0)
        return super().answer(sent)


class TestRequests:
    def test_details_cost_one_request_a_folder(self, server: Server) -> None:
        backend = opened(server, new_mount(server, 2))
        for name in TREE:
            write(backend, name, "content")
        before = backend._transport.requests
        names_in(backend)
        assert backend._transport.requests - before == 5

    def test_that_there_are_no_details_is_found_out_once(self, vault: FakeVault) -> None:
        vault.answer("LIST", "/v1/secret/detailed-metadata/", 404, NOT_KNOWN)
        Folders(vault, width=3)
        backend = opened(vault, "secret")
        assert len(names_in(backend)) == 6
        assert len(names_in(backend)) == 6
        assert len(vault.sent("LIST", "/v1/secret/detailed-metadata/")) == 1
        assert len(vault.sent("LIST", "/v1/secret/metadata/")) == 8
        assert len(vault.sent("GET", "/v1/secret/metadata/")) == 12

    def test_that_listing_is_denied_says_nothing_about_details(self, vault: FakeVault) -> None:
        vault.answer("LIST", "/", 403, DENIED)
        backend = opened(vault, "secret")
        for _ in range(2):
            with pytest.raises(AccessDeniedError):
                names_in(backend)
        assert len(vault.sent("LIST", "/v1/secret/detailed-metadata/")) == 2

    def test_the_time_that_is_left_is_that_of_requests_at_once_too(self, vault: FakeVault) -> None:
        vault.answer("LIST", "/v1/secret/detailed-metadata/", 404, NOT_KNOWN)
        SlowBelow(vault, width=3)
        backend = opened(vault, "secret", attempts=1)
        started = time.monotonic()
        with within(1.0), pytest.raises(BackendUnavailableError) as caught:
            names_in(backend)
        assert caught.value.code == "timeout"
        assert time.monotonic() - started < 2.9

    def test_only_so_many_requests_run_at_once(self, vault: FakeVault) -> None:
        vault.answer("LIST", "/v1/secret/detailed-metadata/", 404, NOT_KNOWN)
        folders = Folders(vault, width=30, delay=0.01)
        assert len(names_in(opened(vault, "secret"))) == 60
        assert 1 < folders.most <= AT_ONCE

    def test_one_level_takes_one_request(self, vault: FakeVault) -> None:
        details: dict[str, Any] = {"a": {"current_version": 1, "versions": {"1": {}}}}
        answer = {"data": {"keys": ["a", "b/"], "key_info": details}, "request_id": "r"}
        vault.answer("LIST", "/v1/secret/detailed-metadata/app/", 200, answer)
        found = opened(vault, "secret").list(ListRequest(prefix="app", recursive=False))
        assert (found.names, found.folders, found.request_id) == (("app/a",), ("app/b",), "r")
        assert len(vault.requests) == 1

    def test_the_request_of_the_top_is_told(self, vault: FakeVault) -> None:
        vault.answer("LIST", "/v1/secret/detailed-metadata/", 404, NOT_KNOWN)
        Folders(vault, width=2)
        assert opened(vault, "secret").list(ListRequest()).request_id == "first"
