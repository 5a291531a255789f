"""Acting as somebody within a part of the program: rights, trail, threads and tasks."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from strongroom import Freshness, acting
from strongroom.acting import acting_as, current
from strongroom.errors import AccessDeniedError, ConfigurationError
from strongroom.operations.reading import IDENTITIES
from strongroom.testing import in_threads


@pytest.fixture(autouse=True)
def _as_in_a_new_process() -> Iterator[None]:
    acting.in_use = False
    yield
    acting.in_use = False


@pytest.fixture
def manager(open_manager: Any, rule: Any) -> Any:
    """A manager of one that may read ``a/**`` and ``b/**``, while ``api`` may read ``b/**`` and ``c/**``."""
    return open_manager(
        {"a/x": "1", "b/x": "2", "c/x": "3"},
        policies=[
            rule("tester", "read", names=("a/**", "b/**")),
            rule("api", "*", names=("b/**", "c/**")),
            rule("web", "read"),
        ],
    )


def may_read(manager: Any) -> str:
    """Return the first letters of what can be read now, each asked for several times."""
    found = set[str]()
    for _ in range(3):
        for letter in "abc":
            try:
                manager.get(f"{letter}/x")
            except AccessDeniedError:
                found.discard(letter)
            else:
                found.add(letter)
    return "".join(sorted(found))


def test_within_the_block_only_what_both_may_do_is_possible(manager: Any) -> None:
    assert may_read(manager) == "ab"
    with acting_as("api"):
        assert may_read(manager) == "b"
        assert set(manager.get_many(["a/x", "b/x", "c/x"]).found) == {"b/x"}
        for refused in (
            lambda: manager.set("c/x", "new"),
            lambda: manager.delete("a/x"),
            lambda: manager.rotate("b/x"),
            lambda: manager.invalidate("a/x"),
            lambda: manager.refresh("c/x"),
            lambda: manager.versions("a/x"),
            lambda: manager.get("a/x", version="1"),
        ):
            with pytest.raises(AccessDeniedError):
                refused()
    assert may_read(manager) == "ab"


def test_a_hit_that_was_served_before_is_not_served_to_another(manager: Any) -> None:
    """Although it is the same name, and the same entry of the cache."""
    for _ in range(3):
        assert manager.get("a/x").reveal_text() == "1"
    with acting_as("api"), pytest.raises(AccessDeniedError):
        manager.get("a/x")
    with acting_as("web"):
        assert manager.get("a/x").freshness is Freshness.CACHED


def test_whoever_may_impersonate_has_the_other_s_rights_in_full(open_manager: Any, rule: Any) -> None:
    manager = open_manager(
        {"a/x": "1", "b/x": "2", "c/x": "3"},
        policies=[rule("tester", "impersonate", names="api"), rule("api", "read", names=("b/**", "c/**"))],
    )
    assert may_read(manager) == ""
    with acting_as("api"):
        assert may_read(manager) == "bc"
    with acting_as("web"):
        assert may_read(manager) == ""


def test_the_trail_says_who_acted_how_that_was_known_and_for_whom(manager: Any, sink: Any) -> None:
    with acting_as("api"):
        manager.get("b/x")
        manager.get("b/x")
        manager.get("b/x")
        with pytest.raises(AccessDeniedError):
            manager.get("a/x")
        manager.list()
    manager.get("b/x")
    manager.flush()
    told = [
        (event.event, event.principal, event.principal_source, event.on_behalf_of, event.result)
        for event in sink.events
        if event.event != "opened"
    ]
    assert told == [
        *[("get", "api", "context", "tester", "ok")] * 3,
        ("get", "api", "context", "tester", "denied"),
        ("list", "api", "context", "tester", "ok"),
        ("get", "tester", "configuration", None, "ok"),
    ]


def test_the_detectors_see_who_acts_and_for_whom(open_manager: Any, watched: Any) -> None:
    manager = open_manager({"a": "1"}, anomaly=[{"type": "watch"}])
    with acting_as("api"):
        manager.get("a")
        manager.set("a", "2")
    manager.get("a")
    assert [(access.principal.name, access.base) for access in watched.seen] == [
        ("api", manager.principal),
        ("api", manager.principal),
        ("tester", None),
    ]


def test_blocks_within_blocks_end_where_they_began(manager: Any) -> None:
    assert current() is None
    with acting_as("api"):
        with acting_as("web"):
            assert (current(), may_read(manager)) == ("web", "ab")
        assert (current(), may_read(manager)) == ("api", "b")
        with pytest.raises(ZeroDivisionError), acting_as("web"):
            raise ZeroDivisionError
        assert (current(), may_read(manager)) == ("api", "b")
    assert current() is None


def test_a_view_that_is_made_within_the_block_is_narrowed_by_all_three(manager: Any, sink: Any) -> None:
    """Also after the block has ended, since it was made by who acted then."""
    with acting_as("api"):
        view = manager.as_principal("web")
    assert may_read(view) == "b"
    with pytest.raises(AccessDeniedError):
        view.get("a/x")
    assert {event.on_behalf_of for event in sink.named("get")} == {"tester"}


def test_a_view_that_was_made_before_is_narrowed_within_the_block(manager: Any) -> None:
    view = manager.as_principal("web")
    assert may_read(view) == "ab"
    with acting_as("api"):
        assert may_read(view) == "b"
    assert may_read(view) == "ab"


def test_other_threads_act_for_themselves(manager: Any) -> None:
    inside, done = threading.Event(), threading.Event()

    def act() -> str:
        with acting_as("api"):
            inside.set()
            assert done.wait(10)
            return may_read(manager)

    with ThreadPoolExecutor(1) as pool:
        acting_thread = pool.submit(act)
        assert inside.wait(10)
        assert may_read(manager) == "ab"
        with acting_as("web"):
            assert in_threads(1, lambda _: (current(), may_read(manager))) == [(None, "ab")]
        done.set()
        assert acting_thread.result() == "b"


def test_tasks_and_their_threads_inherit_and_do_not_disturb_each_other(manager: Any) -> None:
    async def act(name: str | None) -> tuple[str | None, str, str]:
        if name is None:
            return await answer()
        with acting_as(name):
            return await asyncio.create_task(answer())

    async def answer() -> tuple[str | None, str, str]:
        for _ in range(3):
            await asyncio.sleep(0)
        return current(), may_read(manager), await asyncio.to_thread(may_read, manager)

    async def main() -> list[tuple[str | None, str, str]]:
        return list(await asyncio.gather(*map(act, ["api", None, "web", "api"])))

    assert asyncio.run(main()) == [("api", "b", "b"), (None, "ab", "ab"), ("web", "ab", "ab"), ("api", "b", "b")]
    assert current() is None


@pytest.mark.parametrize("name", ["", None, 3, b"api"])
def test_a_principal_s_name_is_text(name: Any) -> None:
    with pytest.raises(ConfigurationError), acting_as(name):
        pass
    assert current() is None


def test_what_is_remembered_of_those_who_acted_is_bounded(open_manager: Any) -> None:
    manager = open_manager({"a": "1"}, sinks=())
    for number in range(3 * IDENTITIES):
        with acting_as(f"user-{number}"):
            assert manager.get("a").reveal_text() == "1"
    gc.collect()
    assert len(manager._others) <= IDENTITIES
    assert len(manager._parts.decisions._memos) <= IDENTITIES + 1


def test_what_is_remembered_of_those_who_acted_ends_with_the_view(manager: Any) -> None:
    view = manager.as_principal("web")
    with acting_as("api"):
        assert may_read(view) == "b"
    memo = weakref.ref(view._others["api"].grants)
    manager.flush()
    del view
    gc.collect()
    assert memo() is None
    assert may_read(manager) == "ab"


def test_rights_that_are_taken_away_are_gone_within_the_block_too(open_manager: Any, rule: Any) -> None:
    manager = open_manager({"a/x": "1", "b/x": "2", "c/x": "3"}, policies=[rule("tester", "read"), rule("api", "read")])
    with acting_as("api"):
        assert may_read(manager) == "abc"
        policy = manager._parts.decisions.policy
        manager._parts.decisions.replace(type(policy)(policy.rules[:1]))
        assert may_read(manager) == ""
        manager._parts.decisions.replace(policy)
        assert may_read(manager) == "abc"
