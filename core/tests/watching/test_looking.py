"""Which secrets are looked at for what others change, and what a look may not take back."""

from __future__ import annotations

import threading
import time

from typing import Any

import pytest

from strongroom import SecretManager
from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import (
    Lease,
    Leasing,
    ReadRequest,
    ReadResult,
    RenewLeaseRequest,
    RenewLeaseResult,
    RevokeLeaseRequest,
    RevokeLeaseResult,
)
from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendUnavailableError,
    ConfigurationError,
    SecretNotFoundError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import FakeClock
from watched import EVERY, Heard, Plain, Server, look, settle


class TestLookedAt:
    def test_a_thousand_cached_names_are_one_call(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        names = [f"many/{number}" for number in range(1000)]
        for name in names:
            others.set(name, "value")
        manager.get_many(names)
        look(manager)
        assert [len(asked) for asked in server.looks] == [1000]

    def test_only_names_of_the_patterns_are_looked_at(
        self, server: Server, others: SecretManager, open_manager: Any
    ) -> None:
        others.set("db/password", "first")
        others.set("api/key", "first")
        manager = open_manager(backends={"memory": server}, watch={"every": "30s", "names": ["db/*"]})
        manager.get("db/password")
        manager.get("api/key")
        look(manager)
        assert server.looks == [("db/password",)]

    def test_older_versions_are_not_looked_at(self, manager: SecretManager, server: Server) -> None:
        manager.get("db/password", version="1")
        look(manager)
        assert server.looks == []

    def test_what_is_over_is_not_looked_at(self, manager: SecretManager, server: Server, clock: FakeClock) -> None:
        manager.get("db/password")
        clock.advance(3600.0)
        look(manager)
        assert server.looks == []

    def test_a_leased_credential_is_not_looked_at(self, open_manager: Any) -> None:
        class Leased(Server, Leasing):
            def is_leased(self, name: SecretName) -> bool:
                return name.startswith("leased/")

            def read(self, request: ReadRequest) -> ReadResult:
                value = SecretValue("made")
                return ReadResult(value=value, version="lease", lease=Lease(id="lease/1", seconds=3600.0))

            def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
                return RenewLeaseResult(lease=request.lease)

            def revoke_lease(self, request: RevokeLeaseRequest) -> RevokeLeaseResult:
                return RevokeLeaseResult()

        server = Leased()
        manager = open_manager(backends={"memory": server}, watch={"every": "30s"})
        manager.get("leased/db")
        manager.on_update("leased/other", Heard())
        look(manager)
        assert server.looks == []

    def test_a_backend_that_is_known_to_be_out_is_left_alone(self, manager: SecretManager, server: Server) -> None:
        manager.get("db/password")
        server.refusing = BackendUnavailableError("it refuses", code="connection_refused")
        for _ in range(3):
            with pytest.raises(BackendUnavailableError):
                manager.refresh("db/password")
        look(manager)
        assert server.looks == []

    def test_looks_that_fail_count_as_failures_of_the_backend(self, manager: SecretManager, server: Server) -> None:
        manager.get("db/password")
        server.refusing = BackendUnavailableError("it refuses", code="connection_refused")
        for _ in range(4):
            look(manager)
        assert len(server.looks) == 3
        assert manager._parts.backend("memory").condition.is_out  # type: ignore[union-attr]  # it has got one

    def test_a_look_that_fails_changes_nothing_and_is_made_again(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        manager.get("db/password")
        others.set("db/password", "second")
        server.refusing = BackendUnavailableError("it refuses", code="connection_refused")
        look(manager)
        assert manager.get("db/password").reveal_text() == "first"
        server.refusing = None
        look(manager)
        assert manager.get("db/password").reveal_text() == "second"

    def test_a_name_that_is_denied_is_left_alone_for_a_while(
        self, manager: SecretManager, server: Server, clock: FakeClock
    ) -> None:
        manager.get_many(["db/password", "db/user"])
        server.refused["db/user"] = AccessDeniedError("not for you")
        look(manager)
        look(manager)
        assert server.looks == [("db/password", "db/user"), ("db/password",)]
        clock.advance(600.0)
        look(manager)
        assert server.looks[-1] == ("db/password", "db/user")

    def test_a_backend_that_refuses_our_credentials_is_left_alone_for_a_while(
        self, manager: SecretManager, server: Server, clock: FakeClock
    ) -> None:
        manager.get("db/password")
        server.refusing = AuthenticationError("who are you")
        look(manager)
        look(manager)
        assert len(server.looks) == 1
        clock.advance(600.0)
        look(manager)
        assert len(server.looks) == 2

    def test_a_file_that_is_being_written_is_looked_at_again_the_next_time(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        manager.get("db/password")
        server.refusing = ConfigurationError("it ends in the middle of a line")
        look(manager)
        server.refusing = None
        others.set("db/password", "second")
        look(manager)
        assert manager.get("db/password").reveal_text() == "second"

    def test_nothing_is_looked_at_before_it_is_due(self, manager: SecretManager, server: Server) -> None:
        manager.get("db/password")
        watch: Any = manager._parts.subscriptions.watch
        seconds = watch.run_due()
        assert server.looks == []
        assert EVERY / 2 <= seconds <= EVERY

    def test_looks_are_no_hits_and_spare_nothing_from_leaving(self, manager: SecretManager, server: Server) -> None:
        manager.get("db/password")
        before = manager.stats()
        entry = manager._cache.entries[SecretName("db/password")]
        entry.visited = False
        look(manager)
        assert server.looks
        assert not entry.visited
        assert (manager.stats().reads, manager.stats().hits) == (before.reads, before.hits)


class TestOlder:
    def test_what_was_read_since_the_look_began_stays(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        """The look was answered with the second version, and the third is cached by the time it is judged."""
        manager.get("db/password")
        others.set("db/password", "second")

        def meanwhile() -> None:
            others.set("db/password", "third")
            manager.refresh("db/password")

        server.on_look = meanwhile
        look(manager)
        server.on_look = lambda: None
        reads = server.reads
        assert manager.get("db/password").reveal_text() == "third"
        assert server.reads == reads, "what was newer has been forgotten"

    def test_a_node_that_lags_behind_takes_nothing_back(
        self, manager: SecretManager, others: SecretManager, server: Server, clock: FakeClock
    ) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        manager.get("db/password")
        others.set("db/password", "second")
        look(manager)
        assert manager.get("db/password").reveal_text() == "second"
        server.lagging["db/password"] = "1"
        watch: Any = manager._parts.subscriptions.watch
        watch._due = clock()  # a second later, say
        watch.run_due()
        reads = server.reads
        assert manager.get("db/password").reveal_text() == "second"
        assert server.reads == reads
        settle(manager)
        assert heard.told() == [("db/password", "seen", "2")]

    def test_a_version_that_is_current_again_for_good_is_seen(
        self, manager: SecretManager, others: SecretManager, server: Server
    ) -> None:
        heard = Heard()
        manager.on_update("db/password", heard)
        manager.get("db/password")
        others.set("db/password", "second")
        look(manager)
        heard.wait()
        manager.get("db/password")
        server.lagging["db/password"] = "1"
        look(manager)
        assert heard.wait(2)[1] == ("db/password", "seen", "1")

    @pytest.mark.parametrize("cached", [True, False], ids=["cached", "not cached"])
    def test_a_load_under_way_is_not_kept_over_what_was_seen(
        self, manager: SecretManager, others: SecretManager, server: Server, *, cached: bool
    ) -> None:
        """It was answered before the change, and comes after the look."""
        manager.on_update("db/password", Heard())
        manager.get("db/password")
        look(manager)
        if not cached:
            manager.invalidate("db/password")
        answered, go_on = threading.Event(), threading.Event()
        original = server.read

        def slow(request: ReadRequest) -> ReadResult:
            result = original(request)
            answered.set()
            assert go_on.wait(10.0)
            return result

        server.read = slow  # type: ignore[method-assign]  # for one load
        reader = threading.Thread(target=manager.refresh, args=("db/password",))
        reader.start()
        assert answered.wait(10.0)
        server.read = original  # type: ignore[method-assign]  # as it was
        others.set("db/password", "second")
        look(manager)
        go_on.set()
        reader.join()
        assert manager.get("db/password").reveal_text() == "second"


def test_a_backend_that_can_only_be_read_is_read_in_batches(
    server: Server, others: SecretManager, open_manager: Any
) -> None:
    plain = Plain(server)
    manager = open_manager(backends={"plain": plain}, watch={"every": "30s"})
    names = [f"many/{number}" for number in range(250)]
    for name in names:
        others.set(name, "first")
    manager.get_many(names)
    with pytest.raises(SecretNotFoundError):
        manager.get("many/none")
    before = plain.read_manys
    others.set("many/7", "second")
    others.delete("many/8")
    look(manager)
    assert plain.read_manys - before == 3
    assert manager.get("many/7").reveal_text() == "second"
    with pytest.raises(SecretNotFoundError):
        manager.get("many/8")


class TestWithAFallbackStore:
    @pytest.fixture
    def kept(self, server: Server, others: SecretManager, open_manager: Any) -> SecretManager:
        """A manager with a fallback store that keeps copies."""
        others.set("db/password", "first")
        opened: SecretManager = open_manager(
            backends={"memory": server, "store": MemoryBackend()},
            backend="memory",
            fallback="store",
            resilience={"keep_copy": True},
            watch={"every": "30s"},
            cache={"ttl": "1h", "max_stale": 0},
        )
        return opened

    def test_a_secret_of_which_a_write_waits_is_left_alone(
        self, kept: SecretManager, others: SecretManager, server: Server
    ) -> None:
        """It is newer than what the backend has, and told when it is made."""
        heard = Heard()
        kept.on_update("db/password", heard)
        kept.get("db/password")
        watch: Any = kept._parts.subscriptions.watch
        watch.run_due()
        server.refusing = BackendUnavailableError("it refuses", code="connection_refused")
        server.unwritable = True
        assert kept.set("db/password", "waits").queued
        server.refusing = None
        server.looks.clear()
        look(kept)
        assert server.looks == []
        server.unwritable = False
        kept._parts.continuity.attendant.run_due()
        look(kept)
        look(kept)
        settle(kept)
        assert heard.told() == [("db/password", "set", "2")]

    def test_nothing_of_what_others_have_deleted_stands_in_later(
        self, kept: SecretManager, others: SecretManager, server: Server
    ) -> None:
        kept.get("db/password")
        kept.flush()
        others.delete("db/password")
        look(kept)
        server.refusing = BackendUnavailableError("it refuses", code="connection_refused")
        with pytest.raises(BackendUnavailableError):
            kept.get("db/password")


class TestTelling:
    def test_a_subscriber_that_hangs_stops_no_look_and_no_refresh(
        self, manager: SecretManager, others: SecretManager
    ) -> None:
        names, release = [f"many/{number}" for number in range(1010)], threading.Event()
        for name in names:
            others.set(name, "first")
        manager.get_many(names)
        look(manager)
        manager.on_update("many/**", lambda _: release.wait(60.0))
        for name in names:
            others.set(name, "second")
        try:
            begun = time.monotonic()
            look(manager)
            assert time.monotonic() - begun < 4.0
            done = threading.Event()
            assert manager._parts.background.submit(object(), done.set)
            assert done.wait(2.0)
        finally:
            release.set()

    def test_all_are_told_however_many_there_are(self, manager: SecretManager, others: SecretManager) -> None:
        names = [f"many/{number}" for number in range(1200)]
        for name in names:
            others.set(name, "first")
        manager.get_many(names)
        look(manager)
        manager.on_update("many/**", heard := Heard())
        for name in names:
            others.set(name, "second")
        look(manager)
        assert sorted(heard.wait(1200)) == sorted((name, "seen", "2") for name in names)

    def test_nobody_is_told_after_the_manager_is_closed(self, manager: SecretManager, others: SecretManager) -> None:
        told, inside, release = [], threading.Event(), threading.Event()

        def subscriber(event: Any) -> None:
            told.append(event.name)
            inside.set()
            release.wait(10.0)

        for name in ("db/password", "db/user"):
            manager.get(name)
            others.set(name, "second")
        manager.on_update("db/**", subscriber)
        look(manager)
        assert inside.wait(10.0)
        manager.close()
        release.set()
        time.sleep(0.1)
        assert told == ["db/password"]
