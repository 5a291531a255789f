"""The gate in front of every operation: canonical name, then policy, then detectors."""

from __future__ import annotations

import json

from collections.abc import Callable
from typing import Any

import pytest

import strongroom

from strongroom import ABSENT, SecretManager, SecretValue
from strongroom.contracts import Decision, Verdict, VerifyRequest
from strongroom.errors import (
    AccessDeniedError,
    BackendUnavailableError,
    BatchError,
    ConfigurationError,
    InvalidNameError,
    SecretNotFoundError,
    StrongroomError,
    VersionConflictError,
)
from strongroom.testing import FaultyBackend

BAD_NAMES = [
    "",
    "/db",
    "db/",
    "db//password",
    "../db",
    "db/../other",
    "db/./password",
    " db",
    "db\n/x",
    "db\x00",
    "db/\u202epassword",
    "db/\u200bpassword",
    "db/\x85",
    "\ud800",
    "x" * 513,
]

OPERATIONS: dict[str, Callable[[SecretManager, str], object]] = {
    "get": lambda manager, name: manager.get(name),
    "set": lambda manager, name: manager.set(name, "v"),
    "set over a version": lambda manager, name: manager.set(name, "v", expect_version="1"),
    "create": lambda manager, name: manager.set(name, "v", expect_version=ABSENT),
    "delete": lambda manager, name: manager.delete(name),
    "rotate": lambda manager, name: manager.rotate(name),
    "versions": lambda manager, name: manager.versions(name),
    "undelete": lambda manager, name: manager.undelete(name),
    "destroy": lambda manager, name: manager.destroy(name),
    "describe": lambda manager, name: manager.describe(name),
    "annotate": lambda manager, name: manager.annotate(name, {}),
    "refresh": lambda manager, name: manager.refresh(name),
    "prefetch": lambda manager, name: manager.prefetch(name),
    "on_update": lambda manager, name: manager.on_update(name, print),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_bad_name_is_refused_before_the_backend_and_recorded(
    operation: str, open_manager: Any, sink: Any, backend: FaultyBackend, rule: Any
) -> None:
    """Even to somebody who may do nothing it is a bad name, not a denied one: the policy has not been asked."""
    manager = open_manager(backends={"memory": backend}, policies=[rule("nobody", "read")])
    for name in BAD_NAMES:
        with pytest.raises(InvalidNameError):
            OPERATIONS[operation](manager, name)
        event = sink.events[-1]
        assert (event.result, event.principal) == ("invalid_name", "tester")
        assert event.key.isascii()
        assert event.key.isprintable()
        assert json.loads(json.dumps(event.as_dict()))["key"] == event.key
    assert len(sink.events) == len(BAD_NAMES) + 1  # "opened"
    assert backend.calls == []
    assert manager.stats().size == 0


@pytest.mark.parametrize("name", [7, None, b"db", ["db/password"], {"a": 1}, ("db", "x")], ids=repr)
@pytest.mark.parametrize("operation", [*OPERATIONS, "invalidate", "get_many", "list", "browse"])
def test_what_is_no_text_is_no_name_and_recorded_by_its_type(
    operation: str, name: Any, open_manager: Any, sink: Any, backend: FaultyBackend
) -> None:
    """Whether it could be looked up in a dictionary or not, and even if it is empty."""
    manager = open_manager(backends={"memory": backend})
    if operation == "get_many":
        batch = manager.get_many(["db/password", name, "db/password"])
        kind = f"<{type(name).__name__}>"
        assert (set(batch.found), {key: error.code for key, error in batch.errors.items()}) == (
            {"db/password"},
            {kind: "invalid_name"},
        )
        with pytest.raises(BatchError, match=f"1 of 2 names failed: {kind}"):
            manager.get_many(["db/password", name], strict=True)
    elif operation == "invalidate" and name is None:
        return  # everything
    else:
        with pytest.raises(InvalidNameError):
            OPERATIONS.get(operation, lambda manager, name: getattr(manager, operation)(name))(manager, name)
        assert backend.calls == []
    refused = [event for event in sink.events if event.result == "invalid_name"]
    assert {event.key for event in refused} == {f"<{type(name).__name__}>"}


@pytest.mark.parametrize("prefix", [b"", [], 0, None, False], ids=repr)
def test_what_is_empty_but_no_text_is_not_the_root(prefix: Any, open_manager: Any, sink: Any) -> None:
    with pytest.raises(InvalidNameError):
        open_manager({"a": "1"}).list(prefix)
    assert [event.result for event in sink.named("list")] == ["invalid_name"]


@pytest.mark.parametrize("version", [1, ["1"], b"1"], ids=repr)
def test_a_version_that_is_no_text_is_refused_and_recorded(version: Any, open_manager: Any, sink: Any) -> None:
    with pytest.raises(InvalidNameError, match="a version is text"):
        open_manager({"a": "1"}).get("a", version=version)
    assert [(event.key, event.result) for event in sink.named("get")] == [("a", "invalid_name")]


@pytest.mark.parametrize("name", [7, None, ["api"], ""], ids=repr)
def test_a_principal_s_name_is_text(name: Any, open_manager: Any) -> None:
    with pytest.raises(ConfigurationError, match="a principal's name is text"):
        open_manager().as_principal(name)


def iter_errors(batch: Any) -> Any:
    """Raise the first error of a batch."""
    for error in batch.errors.values():
        raise error
    yield


CLOSED_PLUGIN = """
from strongroom.contracts import BackendSpec, Record
from strongroom.errors import BackendUnavailableError
from strongroom.hookspecs import hookimpl

class Settings(Record):
    pass

def fail(_):
    raise BackendUnavailableError("it cannot be opened now")

@hookimpl
def strongroom_backends():
    yield BackendSpec(
        name="shut", summary="Cannot be opened.", settings=Settings, open=fail, capabilities=frozenset()
    )
"""


@pytest.mark.parametrize(
    ("operation", "event"),
    [
        ("get", "get"),
        ("versions", "get"),
        ("refresh", "get"),
        ("get_many", "get"),
        ("prefetch", "get"),
        ("list", "list"),
        ("set", "set"),
        ("set over a version", "set"),
        ("create", "set"),
        ("check_set", "set"),
        ("delete", "delete"),
        ("rotate", "rotate"),
        ("undelete", "undelete"),
        ("destroy", "destroy"),
        ("describe", "describe"),
        ("annotate", "annotate"),
        ("browse", "list"),
    ],
)
def test_an_access_whose_backend_cannot_be_opened_is_recorded(
    operation: str, event: str, distributions: Any, sink: Any
) -> None:
    distributions.add("shut-plugin", {"strongroom.backends": {"shut": "shut_plugin"}}, CLOSED_PLUGIN)
    further: dict[str, Callable[[SecretManager, str], object]] = {
        "get_many": lambda manager, name: manager.get_many([name], strict=True),
        "prefetch": lambda manager, name: next(iter_errors(manager.prefetch(name))),
        "list": lambda manager, name: manager.list(),
        "browse": lambda manager, name: manager.browse(),
        "check_set": lambda manager, name: manager.check_set(name, SecretValue("v")),
    }
    with strongroom.open({"audit": "none", "backends": {"b": {"type": "shut"}}}, sinks=(sink,)) as manager:
        for _ in range(2):
            with pytest.raises((BackendUnavailableError, BatchError)):
                (OPERATIONS | further)[operation](manager, "db/password")
    refused = [(found.event, found.result) for found in sink.events if found.event not in {"opened", "closed"}]
    assert refused == [(event, "unavailable")] * 2


def test_a_bad_prefix_is_refused_and_recorded(open_manager: Any, sink: Any, backend: FaultyBackend) -> None:
    manager = open_manager(backends={"memory": backend})
    with pytest.raises(InvalidNameError):
        manager.list("db/../")
    assert backend.calls == []
    assert [event.result for event in sink.named("list")] == ["invalid_name"]


def test_a_name_that_is_no_text_is_recorded_by_its_type_only(open_manager: Any, sink: Any) -> None:
    manager = open_manager()
    with pytest.raises(InvalidNameError):
        manager.set(b"s3cret", "db/password")
    assert [event.key for event in sink.named("set")] == ["<bytes>"]


def test_a_name_in_another_normal_form_is_the_same_secret(open_manager: Any, sink: Any) -> None:
    decomposed, composed = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    manager = open_manager()
    manager.set(decomposed, "v")
    assert manager.get(composed).reveal_text() == "v"
    assert manager.get(decomposed).name == composed
    manager.flush()
    assert {event.key for event in sink.named("set", "get")} == {composed}


def test_a_rule_for_a_name_holds_for_its_other_normal_form(open_manager: Any, rule: Any, sink: Any) -> None:
    decomposed, composed = "cafe\N{COMBINING ACUTE ACCENT}", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"
    manager = open_manager(
        {composed: "v"}, policies=[rule("tester", "*"), rule("tester", "*", names=composed, effect="deny")]
    )
    with pytest.raises(AccessDeniedError):
        manager.get(decomposed)
    assert [event.key for event in sink.named("get")] == [composed]


@pytest.mark.parametrize(
    ("operation", "event"),
    [
        ("get", "get"),
        ("set", "set"),
        ("set over a version", "set"),
        ("create", "set"),
        ("delete", "delete"),
        ("rotate", "rotate"),
        ("versions", "get"),
        ("refresh", "get"),
    ],
)
def test_what_the_policy_denies_reaches_no_backend_and_is_recorded_once(
    operation: str, event: str, open_manager: Any, sink: Any, backend: FaultyBackend, rule: Any
) -> None:
    manager = open_manager(backends={"memory": backend}, policies=[rule("tester", "*", names="other/**")])
    with pytest.raises(AccessDeniedError):
        OPERATIONS[operation](manager, "db/password")
    assert backend.calls == []
    [denied] = [event for event in sink.events if event.event != "opened"]
    assert (denied.event, denied.key, denied.result, denied.rule) == (event, "db/password", "denied", "default deny")


def test_a_cached_value_never_reaches_a_principal_without_the_right(open_manager: Any, rule: Any) -> None:
    manager = open_manager(
        {"db/password": "s3cret"},
        policies=[rule("tester", "*", "impersonate"), rule("reader", "read"), rule("other", "read", names="x")],
    )
    assert manager.get("db/password").reveal_text() == "s3cret"
    assert manager.as_principal("reader").get("db/password").freshness.value == "cached"
    for action in (SecretManager.get, SecretManager.refresh):
        with pytest.raises(AccessDeniedError):
            action(manager.as_principal("other"), "db/password")
    batch = manager.as_principal("other").get_many(["db/password"])
    assert (batch.found, [error.code for error in batch.errors.values()]) == ({}, ["denied"])


def test_a_batch_answers_for_each_name_and_records_each(open_manager: Any, rule: Any, sink: Any) -> None:
    manager = open_manager({"a": "1", "b": "2"}, policies=[rule("tester", "read", names=("a", "c"))])
    batch = manager.get_many(["a", "b", "c", "d/../e"])
    assert {name: secret.reveal_text() for name, secret in batch.found.items()} == {"a": "1"}
    assert {name: error.code for name, error in batch.errors.items()} == {
        "b": "denied",
        "c": "not_found",
        "d/../e": "invalid_name",
    }
    assert sorted((event.key, event.result) for event in sink.named("get")) == [
        ("a", "ok"),
        ("b", "denied"),
        ("c", "not_found"),
        ("d/../e", "invalid_name"),
    ]


def test_a_strict_batch_names_what_failed(open_manager: Any, rule: Any) -> None:
    manager = open_manager({"a": "1", "b": "2"}, policies=[rule("tester", "read", names=("a", "c"))])
    with pytest.raises(StrongroomError, match="2 of 3 names failed: b, c") as caught:
        manager.get_many(["a", "b", "c"], strict=True)
    assert {name: error.code for name, error in caught.value.errors.items()} == {"b": "denied", "c": "not_found"}


def test_a_list_leaves_out_what_may_not_be_listed(open_manager: Any, rule: Any) -> None:
    manager = open_manager(
        {"a/x": "1", "a/y": "2", "b/x": "3"},
        policies=[rule("tester", "list", names="a/**"), rule("tester", "list", names="a/y", effect="deny")],
    )
    assert manager.list() == ["a/x"]
    assert manager.list("b") == []


def test_prefetch_takes_only_what_may_be_listed_and_read(open_manager: Any, rule: Any) -> None:
    manager = open_manager(
        {"a/x": "1", "a/y": "2", "b/x": "3"},
        policies=[rule("tester", "list", names="**"), rule("tester", "read", names=("a/x", "b/x"))],
    )
    batch = manager.prefetch("a/*")
    assert (set(batch.found), {name: error.code for name, error in batch.errors.items()}) == (
        {"a/x"},
        {"a/y": "denied"},
    )
    assert manager.stats().size == 1


class TestWriting:
    """The rights to create and to update, one without the other."""

    def test_who_may_only_create_cannot_overwrite(self, open_manager: Any, rule: Any, sink: Any) -> None:
        manager = open_manager({"old": "1"}, policies=[rule("tester", "create", "read")])
        manager.set("new", "v")
        with pytest.raises(VersionConflictError):
            manager.set("old", "v")
        with pytest.raises(AccessDeniedError):
            manager.set("old", "v", expect_version="1")
        assert manager.get("old").reveal_text() == "1"
        assert [event.result for event in sink.named("set") if event.key == "new"] == ["ok", "ok"]

    def test_who_may_only_update_cannot_create(self, open_manager: Any, rule: Any) -> None:
        manager = open_manager({"old": "1"}, policies=[rule("tester", "update", "list")])
        assert manager.set("old", "v").version == "2"
        with pytest.raises(SecretNotFoundError):
            manager.set("new", "v")
        with pytest.raises(AccessDeniedError):
            manager.set("new", "v", expect_version=ABSENT)
        assert manager.list() == ["old"]

    def test_write_is_both(self, open_manager: Any, rule: Any) -> None:
        manager = open_manager({"old": "1"}, policies=[rule("tester", "write")])
        assert [manager.set(name, "v").version for name in ("old", "new")] == ["2", "1"]

    def test_creating_by_right_shows_no_denial_to_the_detectors(
        self, open_manager: Any, rule: Any, watched: Any
    ) -> None:
        manager = open_manager(policies=[rule("tester", "create")], anomaly=[{"type": "watch"}])
        manager.set("new", "v")
        assert [(access.action, access.allowed) for access in watched.seen] == [("create", True)]


class TestPrincipals:
    """Acting as somebody else."""

    def test_another_principal_has_only_the_rights_of_both(self, open_manager: Any, rule: Any) -> None:
        manager = open_manager(
            {"a": "1", "b": "2", "c": "3"},
            policies=[rule("tester", "read", names=("a", "b")), rule("api", "read", names=("b", "c"))],
        )
        batch = manager.as_principal("api").get_many(["a", "b", "c"])
        assert (set(batch.found), set(batch.errors)) == ({"b"}, {"a", "c"})

    def test_who_may_impersonate_gets_the_others_rights_in_full(self, open_manager: Any, rule: Any) -> None:
        manager = open_manager(
            {"c": "3"},
            policies=[rule("tester", "impersonate", names="api"), rule("api", "read"), rule("web", "read")],
        )
        assert manager.as_principal("api").get("c").reveal_text() == "3"
        with pytest.raises(AccessDeniedError):
            manager.as_principal("web").get("c")

    def test_impersonating_is_no_right_of_ones_own(self, open_manager: Any, rule: Any) -> None:
        manager = open_manager({"c": "3"}, policies=[rule("tester", "impersonate")])
        with pytest.raises(AccessDeniedError):
            manager.get("c")

    def test_no_view_gets_back_the_rights_that_it_was_narrowed_by(self, open_manager: Any, rule: Any) -> None:
        """Whoever is handed the view of a guest cannot become the administrator again."""
        manager = open_manager(
            {"secret": "1", "shared": "2"},
            policies=[rule("tester", "*", "impersonate"), rule("guest", "read", names="shared")],
        )
        guest = manager.as_principal("guest")
        for view in (guest.as_principal("tester"), guest.as_principal("guest").as_principal("tester")):
            assert view.get("shared").reveal_text() == "2"
            with pytest.raises(AccessDeniedError):
                view.get("secret")

    def test_a_right_found_by_one_way_is_not_remembered_for_another(self, open_manager: Any, rule: Any) -> None:
        manager = open_manager(
            {"secret": "1"},
            policies=[rule("tester", "*", "impersonate"), rule("api", "read"), rule("guest", "list")],
        )
        assert manager.as_principal("api").get("secret").reveal_text() == "1"
        with pytest.raises(AccessDeniedError):
            manager.as_principal("guest").as_principal("api").get("secret")

    def test_every_operation_of_a_view_is_narrowed(self, open_manager: Any, rule: Any, backend: FaultyBackend) -> None:
        view = open_manager(
            backends={"memory": backend}, policies=[rule("tester", "read"), rule("api", "*")]
        ).as_principal("api")
        for operation in ("set", "create", "delete", "rotate"):
            with pytest.raises(AccessDeniedError):
                OPERATIONS[operation](view, "db/password")
        assert backend.calls == []
        assert view.list() == []

    def test_the_trail_says_who_acted_and_how_that_was_known(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({"a": "1"})
        manager.as_principal("api").get("a")
        assert [(event.principal, event.principal_source) for event in sink.named("get")] == [("api", "as_principal")]

    def test_every_event_of_a_view_says_who_took_the_principal_on(
        self, open_manager: Any, sink: Any, rule: Any, watched: Any
    ) -> None:
        """If one view was made from another it is still the one whom the manager was opened for."""
        manager = open_manager(
            {"a": "1", "x": "1"},
            policies=[rule("tester", "*", "impersonate"), rule("*", "*", names="a")],
            anomaly=[{"type": "watch"}],
        )
        view = manager.as_principal("guest").as_principal("api")
        watched.verdict = Verdict(decision=Decision.ALERT, reason="odd")
        for _ in range(2):
            view.get("a")
        view.list()
        view.versions("a")
        view.set("a", "2")
        view.rotate("a")
        view.delete("a")
        for refused in (view.get, view.delete):
            with pytest.raises(AccessDeniedError):
                refused("x")
        with pytest.raises(StrongroomError):
            view.maintenance().verify(VerifyRequest())
        manager.flush()
        own = [event for event in sink.events if event.event != "opened"]
        assert {event.event for event in own} >= {
            "get",
            "list",
            "versions",
            "set",
            "rotate",
            "delete",
            "alert",
            "verify",
        }
        assert {(event.principal, event.on_behalf_of) for event in own} == {("api", "tester")}

    def test_who_acts_for_himself_acts_on_nobody_s_behalf(self, open_manager: Any, sink: Any) -> None:
        manager = open_manager({"a": "1"})
        for _ in range(2):
            manager.get("a")
        manager.flush()
        assert {event.on_behalf_of for event in sink.events} == {None}

    def test_closing_a_view_closes_nothing(self, open_manager: Any) -> None:
        manager = open_manager({"a": "1"})
        manager.as_principal("api").close()
        assert manager.get("a").reveal_text() == "1"
