"""The key-value engine in version 2: what becomes of versions, and which error says what."""

from __future__ import annotations

import time

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engines import delete, names_in, new_mount, opened, read, text_of, write
from fakes import FakeVault
from openbao import Server
from strongroom.contracts import (
    AnnotateRequest,
    DescribeRequest,
    DestroyRequest,
    UndeleteRequest,
    VersionsRequest,
)
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    InvalidValueError,
    SecretDeletedError,
    SecretNotFoundError,
    UnsupportedOperationError,
    ValueTooLargeError,
    VersionConflictError,
)
from strongroom.model import ABSENT, SecretName
from strongroom.testing import assert_hidden, in_threads, marker_value, report_of
from strongroom_vault.backend import VaultBackend

NAME = SecretName("app/key")
WHEN = "2026-03-04T05:06:07.89012345Z"
DENIED = {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
MISMATCH = {"errors": ["check-and-set parameter did not match the current version"]}


@pytest.fixture(scope="module")
def mount(server: Server) -> str:
    return new_mount(server, 2)


@pytest.fixture
def backend(server: Server, mount: str, folder: str) -> VaultBackend:
    return opened(server, mount, prefix=folder)


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    return f"t{abs(hash(request.node.nodeid)):x}{time.monotonic_ns():x}"


def states_of(backend: VaultBackend, name: str = NAME) -> list[str]:
    found = backend.versions(VersionsRequest(name=SecretName(name))).versions
    return [f"{version.version} {version.state}" for version in found]


def at_rest(**metadata: Any) -> dict[str, Any]:
    given = {"created_time": WHEN, "deletion_time": "", "destroyed": False, "version": 3} | metadata
    return {"request_id": "r", "data": {"data": None, "metadata": given}}


def test_a_secret_states_its_version_time_and_request(server: Server, backend: VaultBackend) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    written = write(backend, NAME, "content")
    found = read(backend, NAME)
    assert (written.version, found.version) == ("1", "1")
    assert found.created == written.created
    assert found.created is not None
    assert before <= found.created <= datetime.now(UTC) + timedelta(seconds=1)
    assert found.request_id
    assert found.request_id != written.request_id


def test_deleted_destroyed_and_never_there_are_three_answers(vault: FakeVault) -> None:
    backend = opened(vault, "secret")
    vault.answer("GET", "/v1/secret/data/deleted", 404, at_rest(deletion_time=WHEN))
    vault.answer("GET", "/v1/secret/data/destroyed", 404, at_rest(destroyed=True))
    for name, kind, code, when in (
        ("deleted", SecretDeletedError, "deleted", "2026-03-04T05:06:07.890123+00:00"),
        ("destroyed", SecretDeletedError, "destroyed", None),
        ("never", SecretNotFoundError, "not_found", None),
    ):
        with pytest.raises(SecretNotFoundError) as caught:
            read(backend, name)
        assert (type(caught.value), caught.value.code, getattr(caught.value, "when", None)) == (kind, code, when)
        assert name in str(caught.value)


def test_a_deleted_secret_never_shows_an_older_version_by_itself(backend: VaultBackend) -> None:
    write(backend, NAME, "first")
    write(backend, NAME, "second")
    delete(backend, NAME)
    with pytest.raises(SecretDeletedError) as caught:
        read(backend, NAME)
    assert caught.value.when is not None
    assert text_of(backend, NAME, "1") == "first"
    assert write(backend, NAME, "third").version == "3"
    assert states_of(backend) == ["1 superseded", "2 deleted", "3 current"]


@pytest.mark.parametrize(
    "version", ["0", "-1", "01", "1.0", "+1", " 1", "1 ", "\u0661", "9" * 30, str(2**63), "", "a/b"]
)
def test_a_version_that_the_server_would_take_for_another_is_not_found(
    backend: VaultBackend, vault: FakeVault, version: str
) -> None:
    write(backend, NAME, "content")
    with pytest.raises(SecretNotFoundError) as caught:
        read(backend, NAME, version)
    assert caught.value.code == "version_not_found"
    with pytest.raises(SecretNotFoundError):
        read(opened(vault, "secret"), NAME, version)
    assert vault.requests == []


def test_a_version_without_any_fields_is_an_empty_object(server: Server, mount: str, backend: VaultBackend) -> None:
    """Other programs can write one."""
    server.ok("POST", f"{mount}/data/{backend.address.rpartition(':')[2]}/{NAME}", {"data": None})
    assert (text_of(backend, NAME), names_in(backend)) == ("{}", [NAME])


def test_versions_tell_current_superseded_deleted_and_destroyed_apart(backend: VaultBackend) -> None:
    for content in ("one", "two", "three", "four"):
        write(backend, NAME, content)
    backend.destroy(DestroyRequest(name=NAME, versions=("1",)))
    delete(backend, NAME)
    write(backend, NAME, "five")
    assert states_of(backend) == ["1 destroyed", "2 superseded", "3 superseded", "4 deleted", "5 current"]
    found = backend.versions(VersionsRequest(name=NAME))
    assert [version.created is not None for version in found.versions] == [True] * 5
    assert [version.deleted is not None for version in found.versions] == [False, False, False, True, False]
    assert found.request_id


def test_a_version_with_its_end_ahead_is_still_current(server: Server, mount: str, backend: VaultBackend) -> None:
    write(backend, NAME, "content")
    path = f"{mount}/metadata/{backend.address.rpartition(':')[2]}/{NAME}"
    server.ok("POST", path, {"delete_version_after": "1h"})
    write(backend, NAME, "more")
    assert states_of(backend) == ["1 superseded", "2 current"]
    assert names_in(backend) == [NAME]
    assert delete(backend, NAME).existed is True
    assert states_of(backend) == ["1 superseded", "2 deleted"]


def test_the_servers_clock_decides_what_is_deleted(vault: FakeVault) -> None:
    """Ours may be hours off."""
    entry = {"created_time": WHEN, "deletion_time": "2001-02-03T04:05:06Z", "destroyed": False}
    metadata = {"data": {"current_version": 1, "versions": {"1": entry}}}
    backend = opened(vault, "secret")
    for date, state in (("Sat, 03 Feb 2001 04:00:00 GMT", "current"), ("Sat, 03 Feb 2001 04:05:06 GMT", "deleted")):
        vault.answer("GET", "/v1/secret/metadata/", 200, metadata, {"Date": date})
        assert [version.state for version in backend.versions(VersionsRequest(name=NAME)).versions] == [state]


def test_versions_keep_to_what_the_server_keeps(server: Server, mount: str, backend: VaultBackend) -> None:
    write(backend, NAME, "content")
    server.ok("POST", f"{mount}/metadata/{backend.address.rpartition(':')[2]}/{NAME}", {"max_versions": 2})
    for content in ("two", "three", "four"):
        write(backend, NAME, content)
    assert states_of(backend) == ["3 superseded", "4 current"]


class TestExpectedVersions:
    def test_twenty_threads_lose_no_increment(self, backend: VaultBackend) -> None:
        write(backend, NAME, "0")

        def increment(_: int) -> list[VersionConflictError]:
            conflicts = []
            while True:
                seen = read(backend, NAME)
                try:
                    write(backend, NAME, str(int(seen.value.reveal_text()) + 1), expect_version=seen.version)
                except VersionConflictError as error:
                    conflicts.append(error)
                else:
                    return conflicts

        conflicts = [error for errors in in_threads(20, increment) for error in errors]
        assert text_of(backend, NAME) == "20"
        assert read(backend, NAME).version == "21"
        assert conflicts, "no two of the threads met"
        assert all(int(error.found or 0) > int(error.expected) for error in conflicts)

    def test_a_deleted_secret_is_not_written_over_by_its_number(self, backend: VaultBackend) -> None:
        """The server itself would: the number still fits."""
        write(backend, NAME, "first")
        delete(backend, NAME)
        with pytest.raises(VersionConflictError) as caught:
            write(backend, NAME, "second", expect_version="1")
        assert (caught.value.expected, caught.value.found) == ("1", "absent")
        assert states_of(backend) == ["1 deleted"]

    def test_a_destroyed_secret_is_absent(self, backend: VaultBackend) -> None:
        write(backend, NAME, "first")
        backend.destroy(DestroyRequest(name=NAME, versions=("1",)))
        assert write(backend, NAME, "second", expect_version=ABSENT).version == "2"

    def test_a_secret_that_is_destroyed_as_a_whole_begins_anew(self, backend: VaultBackend) -> None:
        write(backend, NAME, "first")
        backend.destroy(DestroyRequest(name=NAME))
        assert write(backend, NAME, "second", expect_version=ABSENT).version == "1"

    def test_a_name_with_notes_alone_is_absent(self, server: Server, mount: str, backend: VaultBackend) -> None:
        path = f"{mount}/metadata/{backend.address.rpartition(':')[2]}/{NAME}"
        server.ok("POST", path, {"custom_metadata": {"owner": "shop"}})
        with pytest.raises(SecretNotFoundError):
            read(backend, NAME)
        with pytest.raises(SecretNotFoundError):
            backend.versions(VersionsRequest(name=NAME))
        assert names_in(backend) == []
        assert write(backend, NAME, "first", expect_version=ABSENT).version == "1"

    @pytest.mark.parametrize("rights", ["data alone", "writing alone"])
    def test_without_rights_to_metadata_conditions_still_hold(
        self, server: Server, mount: str, folder: str, rights: str
    ) -> None:
        root = opened(server, mount, prefix=folder)
        allowed = '"create", "update"' + (', "read"' if rights == "data alone" else "")
        server.policy(folder, f'path "{mount}/data/{folder}/*" {{ capabilities = [{allowed}] }}')
        backend = opened(server, mount, prefix=folder, token=server.new_token(folder))
        assert write(backend, NAME, "first", expect_version=ABSENT).version == "1"
        assert write(backend, NAME, "second", expect_version="1").version == "2"
        for expected in ("1", ABSENT):
            with pytest.raises(VersionConflictError) as caught:
                write(backend, NAME, "third", expect_version=expected)
            assert caught.value.found == ("2" if rights == "data alone" else None)
        delete(root, NAME)
        if rights == "data alone":
            assert write(backend, NAME, "third", expect_version=ABSENT).version == "3"
        else:
            with pytest.raises(VersionConflictError):
                write(backend, NAME, "third", expect_version=ABSENT)

    def test_a_secret_that_takes_no_write_without_a_condition_says_so(
        self, server: Server, mount: str, backend: VaultBackend
    ) -> None:
        write(backend, NAME, "first")
        path = f"{mount}/metadata/{backend.address.rpartition(':')[2]}/{NAME}"
        server.ok("POST", path, {"cas_required": True})
        with pytest.raises(UnsupportedOperationError) as caught:
            write(backend, NAME, "second")
        assert "expect_version" in caught.value.hint
        assert write(backend, NAME, "second", expect_version="1").version == "2"

    def test_a_conflict_is_sent_once(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/secret/data/", 400, MISMATCH)
        vault.answer("GET", "/v1/secret/metadata/", 200, {"data": {"current_version": 4, "versions": {"4": {}}}})
        with pytest.raises(VersionConflictError) as caught:
            write(opened(vault, "secret"), NAME, "content", expect_version="3")
        assert (caught.value.expected, caught.value.found) == ("3", "4")
        assert str(NAME) in str(caught.value)
        assert [sent.json["options"] for sent in vault.sent("POST")] == [{"cas": 3}]

    def test_a_write_of_somebody_else_between_looking_and_creating_is_a_conflict(self, vault: FakeVault) -> None:
        vault.answer("POST", "/v1/secret/data/", 400, MISMATCH)
        gone = {"data": {"current_version": 1, "versions": {"1": {"deletion_time": "2001-02-03T04:05:06Z"}}}}
        there = {"data": {"current_version": 2, "versions": {"1": {}, "2": {}}}}
        vault.answer("GET", "/v1/secret/metadata/", 200, there)
        vault.answer("GET", "/v1/secret/metadata/", 200, gone, times=1)
        with pytest.raises(VersionConflictError) as caught:
            write(opened(vault, "secret"), NAME, "content", expect_version=ABSENT)
        assert (caught.value.expected, caught.value.found) == ("absent", "2")
        assert [sent.json["options"] for sent in vault.sent("POST")] == [{"cas": 0}, {"cas": 1}]


class TestRecovery:
    def test_a_given_version_is_brought_back(self, backend: VaultBackend) -> None:
        write(backend, NAME, "first")
        delete(backend, NAME)
        write(backend, NAME, "second")
        assert backend.undelete(UndeleteRequest(name=NAME, version="1")).version == "1"
        assert states_of(backend) == ["1 superseded", "2 current"]

    def test_what_is_not_deleted_takes_no_request_to_bring_back(self, vault: FakeVault) -> None:
        vault.answer("GET", "/v1/secret/metadata/", 200, {"data": {"current_version": 1, "versions": {"1": {}}}})
        assert opened(vault, "secret").undelete(UndeleteRequest(name=NAME)).version == "1"
        assert [sent.method for sent in vault.requests] == ["GET"]

    def test_whoever_may_not_look_brings_nothing_back(self, vault: FakeVault) -> None:
        vault.answer("GET", "/v1/secret/", 403, DENIED)
        with pytest.raises(AccessDeniedError):
            opened(vault, "secret").undelete(UndeleteRequest(name=NAME))
        assert not vault.sent("POST")

    def test_destroying_says_whether_there_was_anything(self, backend: VaultBackend) -> None:
        write(backend, NAME, "first")
        assert backend.destroy(DestroyRequest(name=NAME, versions=("1",))).existed is True
        assert backend.destroy(DestroyRequest(name=NAME, versions=("1",))).existed is False
        assert backend.destroy(DestroyRequest(name=NAME)).existed is True
        assert backend.destroy(DestroyRequest(name=NAME)).existed is False

    def test_whoever_may_delete_but_not_look_is_told_that_it_was_there(
        self, server: Server, mount: str, folder: str
    ) -> None:
        rules = [f'path "{mount}/{part}/{folder}/*" {{ capabilities = ["delete"] }}' for part in ("data", "metadata")]
        rules.append(f'path "{mount}/destroy/{folder}/*" {{ capabilities = ["update"] }}')
        server.policy(folder, "\n".join(rules))
        root = opened(server, mount, prefix=folder)
        backend = opened(server, mount, prefix=folder, token=server.new_token(folder))
        write(root, NAME, "first")
        assert delete(backend, NAME).existed is True
        assert states_of(root) == ["1 deleted"]
        assert backend.destroy(DestroyRequest(name=NAME, versions=("1",))).existed is True
        assert states_of(root) == ["1 destroyed"]
        assert backend.destroy(DestroyRequest(name=NAME)).existed is True
        with pytest.raises(SecretNotFoundError):
            states_of(root)

    def test_whoever_may_look_but_not_delete_is_denied(self, server: Server, mount: str, folder: str) -> None:
        server.policy(folder, f'path "{mount}/+/{folder}/*" {{ capabilities = ["read"] }}')
        backend = opened(server, mount, prefix=folder, token=server.new_token(folder))
        write(opened(server, mount, prefix=folder), NAME, "first")
        for attempt in (
            lambda: delete(backend, NAME),
            lambda: backend.destroy(DestroyRequest(name=NAME)),
            lambda: backend.destroy(DestroyRequest(name=NAME, versions=("1",))),
            lambda: write(backend, NAME, "second"),
            lambda: backend.annotate(AnnotateRequest(name=NAME, metadata={"a": "b"})),
        ):
            with pytest.raises(AccessDeniedError) as caught:
                attempt()
            assert str(NAME) in str(caught.value)
        assert text_of(backend, NAME) == "first"


def test_each_change_names_a_request_of_the_servers(backend: VaultBackend) -> None:
    """Or that of the look before it: what the server answers to these has no body."""
    write(backend, NAME, "content")
    ids = [
        delete(backend, NAME).request_id,
        backend.undelete(UndeleteRequest(name=NAME)).request_id,
        backend.annotate(AnnotateRequest(name=NAME, metadata={"owner": "shop"})).request_id,
        backend.describe(DescribeRequest(name=NAME)).request_id,
        backend.destroy(DestroyRequest(name=NAME, versions=("1",))).request_id,
        backend.destroy(DestroyRequest(name=NAME)).request_id,
    ]
    assert None not in ids
    assert len(set(ids)) == len(ids)


class TestNotes:
    def test_a_description_says_what_the_server_knows(self, server: Server, mount: str, backend: VaultBackend) -> None:
        write(backend, NAME, "first")
        write(backend, NAME, "second")
        path = f"{mount}/metadata/{backend.address.rpartition(':')[2]}/{NAME}"
        server.ok("POST", path, {"max_versions": 5, "delete_version_after": "1h"})
        backend.annotate(AnnotateRequest(name=NAME, metadata={"owner": "shop"}))
        found = backend.describe(DescribeRequest(name=NAME))
        assert (found.metadata, found.version) == ({"owner": "shop"}, "2")
        assert found.created is not None
        assert found.updated is not None
        assert found.created < found.updated
        # What was set before is left as it is by a note.
        facts = dict(found.facts)
        assert (facts["max_versions"], facts["delete_version_after"], facts["cas_required"]) == ("5", "1h0m0s", "false")

    @pytest.mark.parametrize(
        "notes",
        [
            {f"note {number}": "x" for number in range(64)},
            {"n" * 128: "t" * 512},
            {"\u00e9" * 64: "\u00e9" * 256},
            {"a b": "two words"},
        ],
    )
    def test_notes_at_the_limits_are_kept(self, backend: VaultBackend, notes: dict[str, str]) -> None:
        write(backend, NAME, "content")
        backend.annotate(AnnotateRequest(name=NAME, metadata=notes))
        assert backend.describe(DescribeRequest(name=NAME)).metadata == notes

    @pytest.mark.parametrize(
        "notes",
        [
            {f"note {number}": "x" for number in range(65)},
            {"n" * 129: "x"},
            {"\u00e9" * 65: "x"},
            {"note": "t" * 513},
            {"note": "\u00e9" * 257},
            {"": "x"},
            {"note": ""},
            {"note": "line\nfeed"},
            {"no\u00a0break": "x"},
            {"note": "\ud800"},
        ],
    )
    def test_notes_beyond_them_are_refused_before_the_call(self, vault: FakeVault, notes: dict[str, str]) -> None:
        with pytest.raises(InvalidValueError):
            opened(vault, "secret").annotate(AnnotateRequest(name=NAME, metadata=notes))
        assert vault.requests == []


class TestErrors:
    @pytest.mark.parametrize(
        ("body", "kind"), [(DENIED, AccessDeniedError), ({"errors": ["permission denied"]}, AuthenticationError)]
    )
    def test_403_is_denied_or_a_bad_token_and_never_not_found(
        self, vault: FakeVault, body: dict[str, Any], kind: type[Exception]
    ) -> None:
        vault.answer(None, "/", 403, body)
        backend = opened(vault, "secret")
        for attempt in (
            lambda: read(backend, NAME),
            lambda: read(backend, NAME, "1"),
            lambda: write(backend, NAME, "content"),
            lambda: delete(backend, NAME),
            lambda: names_in(backend),
            lambda: backend.versions(VersionsRequest(name=NAME)),
            lambda: backend.describe(DescribeRequest(name=NAME)),
            lambda: backend.undelete(UndeleteRequest(name=NAME)),
            lambda: backend.destroy(DestroyRequest(name=NAME)),
            lambda: backend.annotate(AnnotateRequest(name=NAME, metadata={})),
        ):
            with pytest.raises(kind):
                attempt()

    def test_a_mount_that_is_none_is_no_missing_secret(self, server: Server) -> None:
        backend = opened(server, "nowhere/at/all")
        for attempt in (lambda: read(backend, NAME), lambda: write(backend, NAME, "x"), lambda: names_in(backend)):
            with pytest.raises(ConfigurationError, match="mount"):
                attempt()

    def test_a_namespace_that_is_none_is_no_missing_secret(self, server: Server, mount: str) -> None:
        with pytest.raises(ConfigurationError, match="namespace"):
            read(opened(server, mount, namespace="nowhere"), NAME)

    def test_an_engine_that_is_not_ready_is_an_outage(self, vault: FakeVault) -> None:
        text = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period"
        vault.answer(None, "/", 400, {"errors": [text]})
        with pytest.raises(BackendUnavailableError):
            read(opened(vault, "secret"), NAME)

    def test_what_nobody_knows_is_a_backend_error_without_the_servers_words(self, vault: FakeVault) -> None:
        marker = marker_value()
        vault.answer(None, "/", 400, {"errors": [f"something about {marker}"]})
        with pytest.raises(BackendError) as caught:
            write(opened(vault, "secret"), NAME, marker)
        assert_hidden(marker, report_of(caught.value, "strongroom_vault"), "the error")

    def test_a_value_that_the_server_finds_too_large_is_told_as_that(self, server: Server, mount: str) -> None:
        backend = opened(server, mount, max_value=64 << 20)
        content = "x" * (40 << 20)
        with pytest.raises(ValueTooLargeError) as caught:
            write(backend, NAME, content)
        assert caught.value.size == len(content)

    def test_a_store_that_takes_no_such_value_is_no_outage(self, vault: FakeVault) -> None:
        words = "1 error occurred:\n\t* put failed due to value being too large; got 156 bytes, max 1048576 bytes\n\n"
        vault.answer("POST", "/", 500, {"errors": [words]})
        with pytest.raises(ValueTooLargeError) as caught:
            write(opened(vault, "secret"), NAME, "<" * 1000)
        assert caught.value.size == 1000
        assert len(vault.sent("POST")) == 1

    def test_a_write_that_nobody_answers_holds_neither_value_nor_token(self, vault: FakeVault) -> None:
        marker, token = marker_value(), marker_value()[:36]
        vault.answer("POST", "/", 200, reset=True)
        with pytest.raises(BackendUnavailableError) as caught:
            write(opened(vault, "secret", token=token, attempts=1), NAME, marker)
        report = report_of(caught.value, "strongroom_vault")
        assert_hidden(marker, report, "the error")
        assert_hidden(token, report, "the error")

    def test_a_read_that_nobody_answers_holds_no_token(self, vault: FakeVault) -> None:
        token = marker_value()[:36]
        vault.answer("GET", "/", 200, reset=True)
        with pytest.raises(BackendUnavailableError) as caught:
            read(opened(vault, "secret", token=token, attempts=1), NAME)
        assert_hidden(token, report_of(caught.value, "strongroom_vault"), "the error")
