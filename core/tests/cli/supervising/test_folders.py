"""Which names come and go below a folder is noticed by one list a round, and each change is told once."""

from __future__ import annotations

import logging

from collections.abc import Callable
from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.cli.supervising.changes import Changes
from strongroom.cli.supervising.folders import Folders
from strongroom.cli.supervising.handover import Report
from strongroom.contracts import ListRequest, ListResult
from strongroom.errors import AccessDeniedError, BackendUnavailableError, StrongroomError
from strongroom.testing import FakeClock
from strongroom.watching.looking import REFUSED_SECONDS
from watched import EVERY, look, settle


class Told:
    """Keeps what was told."""

    def __init__(self) -> None:
        self.rounds: list[tuple[list[str], list[str]]] = []

    def __call__(self, come: frozenset[str], gone: frozenset[str]) -> None:
        self.rounds.append((sorted(come), sorted(gone)))


class Shelf(MemoryBackend):
    """A backend that notes which folders were listed, and can refuse or be slow."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: list[str] = []
        self.refusing: StrongroomError | None = None
        self.meanwhile: Callable[[], object] = lambda: None

    def list(self, request: ListRequest) -> ListResult:
        self.listed.append(request.prefix)
        if self.refusing is not None:
            raise self.refusing
        found = super().list(request)
        self.meanwhile()
        return found


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def shelved(shelf: Shelf, open_manager: Any) -> Any:
    """A manager whose backend holds ``app/a`` and ``app/b``."""
    manager = open_manager(backends={"memory": shelf})
    for name in ("app/a", "app/b"):
        manager.set(name, "x")
    return manager


def go_round(folders: Folders, clock: FakeClock) -> None:
    clock.advance(EVERY)
    folders.run_due()


def test_what_comes_and_goes_is_told_once_and_each_list_is_recorded(
    shelved: Any, shelf: Shelf, clock: FakeClock, sink: Any
) -> None:
    told = Told()
    folders = Folders(shelved, ["app/"], EVERY, told, clock=clock)
    folders.know(["app/a", "app/b"])
    go_round(folders, clock)
    assert told.rounds == []
    shelved.set("app/c", "x")
    shelved.delete("app/a")
    shelved.set("other", "x")
    for _ in range(2):
        go_round(folders, clock)
    assert told.rounds == [(["app/c"], ["app/a"])]
    shelved.set("app/a", "x")
    go_round(folders, clock)
    assert told.rounds[1:] == [(["app/a"], [])]
    assert [event.key for event in sink.named("list")] == ["app/"] * 4
    assert shelf.listed == ["app"] * 4


def test_nothing_is_listed_before_it_is_due_or_where_no_folder_was_asked_for(
    shelved: Any, shelf: Shelf, clock: FakeClock
) -> None:
    for prefixes in (["app"], []):
        folders = Folders(shelved, prefixes, EVERY, Told(), clock=clock)
        folders.know([])
        clock.advance(EVERY / 2 - 1)
        folders.run_due()
    assert shelf.listed == []


@pytest.mark.parametrize(
    ("prefixes", "listed"),
    [
        (["app/", "app", "app/inner", "apple/"], ["app", "apple"]),
        (["app/", ""], [""]),
    ],
)
def test_a_folder_within_another_one_is_not_listed_by_itself(
    shelved: Any, shelf: Shelf, clock: FakeClock, prefixes: list[str], listed: list[str]
) -> None:
    folders = Folders(shelved, prefixes, EVERY, Told(), clock=clock)
    folders.know([])
    go_round(folders, clock)
    assert shelf.listed == listed


def test_a_list_that_was_begun_before_the_program_got_its_secrets_says_nothing_of_them(
    shelved: Any, shelf: Shelf, clock: FakeClock
) -> None:
    told = Told()
    folders = Folders(shelved, ["app/"], EVERY, told, clock=clock)
    folders.know(["app/a", "app/b"])

    def start_anew() -> None:
        shelf.meanwhile = lambda: None
        shelved.set("app/c", "x")
        folders.know(["app/a", "app/b", "app/c"])

    shelf.meanwhile = start_anew
    for _ in range(2):
        go_round(folders, clock)
    assert told.rounds == []


@pytest.mark.parametrize(
    ("error", "pause"),
    [(BackendUnavailableError("no answer"), EVERY), (AccessDeniedError("not for you"), REFUSED_SECONDS)],
)
def test_a_list_that_fails_is_no_change_and_what_is_refused_is_asked_for_less_often(
    shelved: Any,
    shelf: Shelf,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    error: StrongroomError,
    pause: float,
) -> None:
    told = Told()
    folders = Folders(shelved, ["app/"], EVERY, told, clock=clock)
    folders.know(["app/a", "app/b"])
    shelf.refusing = error
    with caplog.at_level(logging.WARNING):
        go_round(folders, clock)
    assert "names that come or go are not noticed" in caplog.text
    left = folders.run_due()
    assert left is not None
    assert pause / 2 <= left <= pause
    shelf.refusing = None
    shelved.set("app/c", "x")
    clock.advance(pause)
    folders.run_due()
    assert told.rounds == [(["app/c"], [])]


def test_a_manager_that_is_closed_ends_it(shelved: Any, clock: FakeClock) -> None:
    folders = Folders(shelved, ["app/"], EVERY, Told(), clock=clock)
    folders.know([])
    shelved.close()
    clock.advance(EVERY)
    assert folders.run_due() is None


def changes_of(manager: SecretManager, clock: FakeClock) -> Changes:
    made = Changes(manager, EVERY, lambda: None, ["db/"], clock=clock)
    known: dict[str, str | None] = {"db/password": "1", "db/user": "1"}
    made.know(Report(names=tuple(known), known=known, listed=tuple(known)))
    return made


def test_a_manager_that_is_closed_before_something_new_can_be_followed_ends_it(shelved: Any, clock: FakeClock) -> None:
    def follow(come: frozenset[str], _: frozenset[str]) -> None:
        shelved.close()
        for name in come:
            shelved.on_update(name, print)

    folders = Folders(shelved, ["app/"], EVERY, follow, clock=clock)
    folders.know(["app/a"])
    clock.advance(EVERY)
    assert folders.run_due() is None


@pytest.mark.parametrize("first", ["list", "look"])
def test_a_secret_that_is_deleted_is_one_change_whoever_notices_it_first(
    manager: SecretManager, others: SecretManager, clock: FakeClock, first: str
) -> None:
    changes = changes_of(manager, clock)
    look(manager)
    others.delete("db/user")
    ways = [changes.folders.run_due, lambda: look(manager)]
    found = []
    for way in ways if first == "list" else reversed(ways):
        clock.advance(EVERY)
        way()
        settle(manager)
        found.append(changes.take())
    assert found == [["db/user"], []]


def test_a_secret_that_comes_is_followed_from_then_on(
    manager: SecretManager, others: SecretManager, clock: FakeClock
) -> None:
    changes = changes_of(manager, clock)
    others.set("db/new", "first")
    others.set("db/odd*", "first")
    found = []
    for act in (lambda: None, lambda: others.set("db/new", "second"), lambda: others.delete("db/new")):
        act()
        clock.advance(EVERY)
        changes.folders.run_due()
        look(manager)
        settle(manager)
        found.append(changes.take())
    assert found == [["db/new", "db/odd*"], ["db/new"], ["db/new"]]


def test_what_comes_back_after_it_was_deleted_is_one_change(
    manager: SecretManager, others: SecretManager, clock: FakeClock
) -> None:
    changes = changes_of(manager, clock)
    look(manager)
    found = []
    for act in (lambda: others.delete("db/user"), lambda: others.set("db/user", "back"), lambda: None):
        act()
        for way in (changes.folders.run_due, lambda: look(manager)):
            clock.advance(EVERY)
            way()
            settle(manager)
            found += changes.take()
    assert found == ["db/user", "db/user"]
