"""Watching for what others change: two managers on one backend, and a clock that the test moves on."""

from __future__ import annotations

import threading
import time

from collections.abc import Iterator
from typing import Any

import pytest

import strongroom

from strongroom import SecretManager
from strongroom.contracts import WriteRequest
from strongroom.errors import InvalidNameError, SecretNotFoundError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom.testing import MemorySink, in_forked_child
from watched import EVERY, Heard, Plain, Server, look, settle


class TestSeeing:
    def test_a_rotation_elsewhere_is_seen_within_one_interval(
        self, manager: SecretManager, others: SecretManager
    ) -> None:
        heard = Heard(manager)
        manager.on_update("db/password", heard)
        assert manager.get("db/password").reveal_text() == "first"
        rotated = others.rotate("db/password", encoding="hex")
        assert manager.get("db/password").reveal_text() == "first"
        look(manager)
        assert manager.get("db/password").version == rotated.version
        assert heard.wait() == [("db/password", "seen", rotated.version)]
        assert heard.read == [others.get("db/password").reveal_text()]

    def test_a_subscriber_of_a_pattern_hears_of_what_is_cached(
        self, manager: SecretManager, others: SecretManager
    ) -> None:
        heard = Heard()
        manager.on_update("db/**", heard)
        manager.get("db/user")
        for name in ("db/user", "db/password"):
            others.set(name, "second")
        look(manager)
        assert heard.wait() == [("db/user", "seen", "2")]

    def test_what_is_subscribed_to_by_name_is_looked_at_without_being_read(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        watch: Any = manager._parts.subscriptions.watch
        watch.run_due()
        others.set("db/password", "second")
        reads = server.reads
        look(manager)
        assert heard.wait() == [("db/password", "seen", "2")]
        assert server.reads == reads

    def test_a_deleted_secret_leaves_the_cache(self, manager: SecretManager, others: SecretManager) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        manager.get("db/password")
        others.delete("db/password")
        look(manager)
        assert heard.wait() == [("db/password", "seen", None)]
        with pytest.raises(SecretNotFoundError):
            manager.get("db/password")

    def test_a_new_secret_replaces_the_answer_that_there_is_none(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        with pytest.raises(SecretNotFoundError):
            manager.get("db/new")
        others.set("db/new", "here")
        look(manager)
        assert manager.get("db/new").reveal_text() == "here"

    def test_a_change_since_a_version_that_is_in_use_elsewhere_is_told(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        heard = Heard()
        others.set("db/password", "second")
        reads = server.reads
        for name in ("db/password", "db/user", "db/new", "db/none"):
            manager.on_update(name, heard)
        others.set("db/new", "here")
        manager.watch(EVERY, known={"db/password": "1", "db/user": "1", "db/new": None, "db/none": None})
        look(manager)
        settle(manager)
        assert sorted(heard.told()) == [("db/new", "seen", "1"), ("db/password", "seen", "2")]
        assert server.reads == reads

    def test_a_name_in_use_elsewhere_that_cannot_be_one_is_refused(self, manager: SecretManager) -> None:
        with pytest.raises(InvalidNameError):
            manager.watch(EVERY, known={"../x": "1"})

    def test_each_change_is_told_once(self, manager: SecretManager, others: SecretManager) -> None:
        heard = Heard()
        manager.on_update("db/*", heard)
        manager.get("db/password")
        others.set("db/password", "second")
        for _ in range(3):
            look(manager)
            manager.get("db/password")
        settle(manager)
        assert heard.wait() == [("db/password", "seen", "2")]

    def test_a_change_that_was_read_before_it_was_seen_is_told_as_well(
        self, manager: SecretManager, others: SecretManager
    ) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        manager.get("db/password")
        look(manager)
        others.set("db/password", "second")
        manager.refresh("db/password")
        look(manager)
        assert heard.wait() == [("db/password", "seen", "2")]

    def test_own_changes_are_not_told_twice(self, manager: SecretManager) -> None:
        heard = Heard()
        manager.on_update("db/**", heard)
        manager.get("db/password")
        look(manager)
        manager.set("db/password", "mine")
        look(manager)
        manager.rotate("db/password")
        look(manager)
        manager.delete("db/password")
        look(manager)
        settle(manager)
        assert [change for _, change, _ in heard.told()] == ["set", "rotate", "delete"]

    def test_a_change_by_others_after_our_own_is_told(self, manager: SecretManager, others: SecretManager) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        look(manager)
        manager.set("db/password", "mine")
        others.set("db/password", "theirs")
        look(manager)
        assert heard.wait(2) == [("db/password", "set", "2"), ("db/password", "seen", "3")]

    def test_a_change_of_our_own_that_a_look_meets_half_done_is_ours(
        self, manager: SecretManager, server: Server
    ) -> None:
        """The backend has the new version already, and subscribers have not heard of it yet."""
        heard = Heard()
        manager.on_update("db/password", heard)
        manager.get("db/password")
        look(manager)
        server.on_write = lambda: look(manager)
        manager.set("db/password", "mine")
        server.on_write = lambda: None
        look(manager)
        settle(manager)
        assert heard.told() == [("db/password", "set", "2")]

    def test_a_failed_change_of_our_own_does_not_hide_that_of_others(
        self, manager: SecretManager, others: SecretManager
    ) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        look(manager)
        others.set("db/password", "theirs")
        with pytest.raises(StrongroomError):
            manager.set("db/password", "mine", expect_version="1")
        look(manager)
        look(manager)
        assert heard.wait() == [("db/password", "seen", "2")]

    def test_no_subscriber_hears_of_what_he_may_not_read(
        self, server: Server, others: SecretManager, open_manager: Any
    ) -> None:
        others.set("db/password", "first")
        allowed = {"principal": "tester", "effect": "allow", "actions": ["read"], "names": ["api/**"]}
        manager = open_manager(backends={"memory": server}, watch={"every": "30s"}, policies=[allowed])
        heard = Heard()
        manager.on_update("db/password", heard)
        look(manager)
        others.set("db/password", "second")
        look(manager)
        settle(manager)
        assert heard.told() == []
        assert server.looks == []


class TestTrail:
    def test_what_was_found_is_one_event_and_an_empty_look_is_none(
        self, manager: SecretManager, others: SecretManager, sink: MemorySink
    ) -> None:
        manager.get_many(["db/password", "db/user"])
        look(manager)
        assert [event for event in sink.events if event.event == "watch"] == []
        others.set("db/password", "second")
        others.set("db/user", "second")
        look(manager)
        [event] = [event for event in sink.events if event.event == "watch"]
        assert (event.count, event.backend, event.principal, event.detail) == (2, "memory", "tester", None)

    def test_values_that_were_fetched_to_compare_are_in_the_trail(
        self, server: Server, others: SecretManager, open_manager: Any, sink: MemorySink
    ) -> None:
        others.set("db/password", "first")
        plain = Plain(server)
        manager = open_manager(backends={"plain": plain}, watch={"every": "30s"})
        manager.get("db/password")
        look(manager)
        [event] = [event for event in sink.events if event.event == "watch"]
        assert event.count == 0
        assert event.detail == "the values of 1 secrets were fetched to compare versions, and thrown away"

    def test_a_change_is_seen_even_if_it_cannot_be_recorded(
        self, manager: SecretManager, others: SecretManager, sink: MemorySink
    ) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        manager.get("db/password")
        others.set("db/password", "second")
        sink.failing = True
        look(manager)
        assert heard.wait() == [("db/password", "seen", "2")]
        sink.failing = False
        assert manager.get("db/password").reveal_text() == "second"


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "strongroom-watch"]


@pytest.fixture
def real(server: Server, others: SecretManager) -> Iterator[SecretManager]:
    """A manager that watches on the real clock."""
    others.set("db/password", "first")
    config = {"audit": "none", "cache": {"ttl": "1h"}, "watch": {"every": "1s"}}
    with strongroom.open(config, backends={"memory": server}) as manager:
        yield manager


class TestThread:
    def test_a_thread_sees_a_change_within_the_interval(self, real: SecretManager, others: SecretManager) -> None:
        heard = Heard(real)
        real.get("db/password")
        real.on_update("db/password", heard)
        others.set("db/password", "second")
        begun = time.monotonic()
        assert heard.wait() == [("db/password", "seen", "2")]
        assert time.monotonic() - begun < 5.0  # one second, and what a busy machine adds
        assert heard.read == ["second"]

    def test_the_thread_ends_with_the_manager(self, real: SecretManager) -> None:
        before = threads()
        assert before
        real.close()
        for thread in before:
            thread.join(10.0)
            assert not thread.is_alive()

    def test_a_forked_child_watches_by_itself(self, real: SecretManager, others: SecretManager, server: Server) -> None:
        real.get("db/password")

        def child() -> str:
            assert threads() == []
            heard = Heard(real)
            real.on_update("db/password", heard)
            real.get("db/password")
            assert threads() != []
            # In memory the child has a copy of its own.
            server.write(WriteRequest(name=SecretName("db/password"), value=SecretValue("second")))
            return f"{heard.wait()} {heard.read}"

        assert in_forked_child(child) == "[('db/password', 'seen', '2')] ['second']"

    def test_no_value_goes_back_to_an_older_one(self, real: SecretManager, others: SecretManager) -> None:
        """Readers, writers elsewhere and looks, all at once."""
        watch: Any = real._parts.subscriptions.watch
        ending = threading.Event()
        seen: list[list[int]] = [[] for _ in range(4)]

        def read(place: int) -> None:
            while not ending.is_set():
                seen[place].append(int(real.get("count").reveal_text()))

        def looks() -> None:
            while not ending.is_set():
                watch._due = 0.0
                watch.run_due()

        others.set("count", "0")
        real.get("count")
        crew = [threading.Thread(target=read, args=(place,)) for place in range(4)]
        crew.append(threading.Thread(target=looks))
        for thread in crew:
            thread.start()
        for number in range(1, 200):
            others.set("count", str(number))
        ending.set()
        for thread in crew:
            thread.join()
        watch._due = 0.0
        watch.run_due()
        assert real.get("count").reveal_text() == "199"
        assert all(numbers == sorted(numbers) for numbers in seen)
