"""Leased credentials: kept beside the others, renewed, replaced before their end, revoked."""

from __future__ import annotations

import asyncio
import json
import threading
import time

from collections.abc import Callable
from typing import Any

import pytest

from strongroom import AsyncSecretManager, Freshness, SecretManager, SecretName
from strongroom.contracts import RenewLeaseRequest, RenewLeaseResult
from strongroom.errors import (
    AccessDeniedError,
    AuditError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    ClosedError,
    SecretNotFoundError,
    UnsupportedOperationError,
)
from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretValue
from strongroom.testing import CredentialMaker, FakeClock, in_forked_child, in_threads

NAME = "creds/app"
OUTAGE = BackendUnavailableError("no answer")
HOUR = 3600.0


@pytest.fixture
def maker(clock: FakeClock) -> CredentialMaker:
    """Leases of an hour, renewable up to a day."""
    return CredentialMaker(clock, ttl=HOUR, max_ttl=24 * HOUR)


@pytest.fixture
def manager(open_manager: Any, maker: CredentialMaker) -> SecretManager:
    return open_manager(backends={"maker": maker}, cache={"policy": "ttl", "ttl": "60s", "max_entries": 2})


def pass_time(manager: SecretManager, clock: FakeClock, seconds: float, *, step: float = 60.0) -> None:
    """Let time pass in small steps, and have done what is due after each; a manager with a real clock has a thread."""
    while seconds > 0:
        clock.advance(min(step, seconds))
        seconds -= step
        manager._parts.leases.run_due()


class HangingOn(CredentialMaker):
    """Its first lease ends with something else, which may be prolonged."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock, ttl=HOUR)
        self.until = clock() + HOUR

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        result = super().renew_lease(request)
        one, now = self.made[0], self.clock()
        if request.lease.id != one.id:
            return result
        left = max(0.0, min(one.ends, self.until) - now)
        one.ends = now + left
        return result.replace(lease=result.lease.replace(seconds=left), extensible=left < request.seconds)


def told(manager: SecretManager) -> list[SecretUpdated]:
    """Subscribe, and return what will be told."""
    heard: list[SecretUpdated] = []
    manager.on_update("**", heard.append)
    return heard


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.002)


class TestKeeping:
    """A live credential is what every reader of the process gets."""

    def test_it_is_made_once_for_all_readers(self, manager: SecretManager, maker: CredentialMaker) -> None:
        first = manager.get(NAME)
        assert first.freshness is Freshness.FRESH
        assert {manager.get(NAME).reveal_text() for _ in range(5)} == {first.reveal_text()}
        assert manager.get(NAME).freshness is Freshness.CACHED
        assert maker.calls == ["read"]

    def test_many_threads_at_once_get_the_same_one(self, manager: SecretManager, maker: CredentialMaker) -> None:
        maker.before = lambda _: time.sleep(0.02)
        values = in_threads(16, lambda _: manager.get(NAME).reveal_text())
        assert len(set(values)) == 1
        assert len(maker.made) == 1

    def test_its_time_comes_from_the_lease_and_not_from_the_cache_policy(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        clock.advance(HOUR / 2)
        manager.get(NAME)
        assert maker.calls == ["read"]

    def test_it_neither_counts_as_an_entry_nor_leaves_for_others(
        self, open_manager: Any, maker: CredentialMaker, hooked: Any
    ) -> None:
        manager = open_manager(
            backends={"memory": hooked, "maker": maker},
            backend="memory",
            routes={"creds/": "maker"},
            cache={"policy": "ttl", "ttl": "1h", "max_entries": 2},
        )
        for number in range(4):
            manager.get(f"creds/{number}")
        for name in ("db/password", "db/user", "db/password", "db/user"):
            manager.get(name)
        assert hooked.reads == ["db/password", "db/user"]
        for number in range(4):
            manager.get(f"creds/{number}")
        assert maker.calls == ["read"] * 4

    def test_a_moved_wall_clock_changes_nothing(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        clock.set_wall(clock.now().replace(year=2040))
        manager._parts.leases.run_due()
        manager.get(NAME)
        assert maker.calls == ["read"]

    def test_a_field_of_it_can_be_read(self, open_manager: Any, maker: CredentialMaker) -> None:
        made = maker.read

        def as_object(request: Any) -> Any:
            return made(request).replace(value=SecretValue('{"username": "u", "password": "p"}'))

        maker.read = as_object  # type: ignore[method-assign]
        manager = open_manager(backends={"maker": maker})
        assert manager.get(NAME, field="username").reveal_text() == "u"
        assert manager.get(NAME, field="password").reveal_text() == "p"
        assert maker.calls == ["read"]

    def test_several_names_at_once_make_one_each(self, manager: SecretManager, maker: CredentialMaker) -> None:
        assert len(manager.get_many(["creds/a", "creds/b", "creds/a"], strict=True).found) == 2
        assert sorted(one.name for one in maker.made) == ["creds/a", "creds/b"]
        assert {one.name for one in manager.leases()} == {"creds/a", "creds/b"}

    def test_a_batch_that_brings_leases_has_them_kept(self, open_manager: Any, clock: FakeClock) -> None:
        class Batching(CredentialMaker):
            def read_many(self, request: Any) -> Any:
                return super().read_many(request)

        maker = Batching(clock)
        manager = open_manager(backends={"maker": maker})
        manager.get_many(["creds/a", "creds/b"])
        assert len(manager.leases()) == 2
        manager.close()
        assert maker.alive() == []

    def test_what_took_longer_to_make_than_it_lives_is_not_served(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        maker.before = lambda operation: clock.advance(2 * HOUR) if operation == "read" else None
        maker.ttl = HOUR
        with pytest.raises(BackendError, match="longer to answer"):
            manager.get(NAME)
        assert manager.leases() == ()

    def test_on_an_event_loop_it_is_the_same_one(self, manager: SecretManager, maker: CredentialMaker) -> None:
        async def read() -> None:
            several = AsyncSecretManager(manager)
            values = await asyncio.gather(*(several.get(NAME) for _ in range(10)))
            assert len({value.reveal_text() for value in values}) == 1
            assert [one.state for one in await several.leases()] == ["live"]
            with pytest.raises(UnsupportedOperationError):
                await several.get(NAME, version="1")

        asyncio.run(read())
        assert len(maker.made) == 1


class TestRenewal:
    """A lease is renewed before two thirds of it are over."""

    def test_it_is_renewed_between_a_half_and_two_thirds(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        start = clock()
        manager.get(NAME)
        asked: list[float] = []
        maker.before = lambda operation: asked.append(clock() - start) if operation == "renew_lease" else None
        pass_time(manager, clock, HOUR * 2 / 3)
        assert len(asked) == 1
        assert HOUR / 2 <= asked[0] <= HOUR * 2 / 3

    def test_a_renewed_one_goes_on_serving(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        value = manager.get(NAME).reveal_text()
        pass_time(manager, clock, 10 * HOUR)
        assert manager.get(NAME).reveal_text() == value
        assert len(maker.made) == 1
        assert set(maker.calls) == {"read", "renew_lease"}

    def test_each_renewal_is_recorded_and_no_lease_id_is(
        self, manager: SecretManager, clock: FakeClock, sink: Any
    ) -> None:
        manager.get(NAME)
        pass_time(manager, clock, HOUR * 0.7)
        (event,) = sink.named("renew")
        assert (event.key, event.principal, event.backend, event.result) == (NAME, "tester", "maker", "ok")
        assert event.version == "1"
        assert event.request_id.startswith("renewal-")
        assert "lease-1" not in repr(sink.events)

    @pytest.mark.parametrize("error", [OUTAGE, AuthenticationError("who are you")])
    def test_an_outage_is_waited_out_with_a_growing_delay(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any, error: Any
    ) -> None:
        value = manager.get(NAME).reveal_text()
        maker.errors["renew_lease"] = error
        pass_time(manager, clock, HOUR * 0.9, step=1)
        tries = maker.calls.count("renew_lease")
        assert 5 < tries < 60
        assert {event.result for event in sink.named("renew")} == {error.code}
        assert manager.get(NAME).reveal_text() == value
        maker.errors.clear()
        pass_time(manager, clock, 3 * HOUR, step=1)
        assert manager.get(NAME).reveal_text() == value

    def test_an_outage_to_the_end_ends_it(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        heard = told(manager)
        manager.get(NAME)
        maker.errors.update(renew_lease=OUTAGE, read=OUTAGE)
        pass_time(manager, clock, HOUR)
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)
        eventually(lambda: heard)
        assert [(event.change, event.version) for event in heard] == [("expire", None)]
        maker.errors.clear()
        # Until a probe is due nothing is asked of a backend that is out of reach.
        clock.advance(5.0)
        assert manager.get(NAME).version == "2"

    def test_one_that_is_gone_at_the_backend_is_served_no_more(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        heard = told(manager)
        manager.get(NAME)
        maker.made[0].revoked = clock()
        pass_time(manager, clock, HOUR * 0.7)
        assert manager.get(NAME).version == "2"
        eventually(lambda: heard)
        assert [(event.change, event.version) for event in heard] == [("replace", "2")]
        assert [one.version for one in manager.leases()] == ["2"]

    def test_one_that_is_gone_in_an_outage_is_told_of_and_replaced_later(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        heard = told(manager)
        manager.get(NAME)
        maker.made[0].revoked = clock()
        maker.errors["read"] = OUTAGE
        pass_time(manager, clock, HOUR * 0.7)
        eventually(lambda: heard)
        assert [event.change for event in heard] == ["expire"]
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)
        maker.errors.clear()
        pass_time(manager, clock, 120)
        eventually(lambda: len(heard) == 2)
        assert (heard[1].change, heard[1].version) == ("replace", "2")
        assert len(maker.made) == 2

    def test_one_that_is_gone_and_read_anew_is_not_replaced_twice(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        maker.made[0].revoked = clock()
        maker.errors["read"] = OUTAGE
        pass_time(manager, clock, HOUR * 0.7)
        maker.errors.clear()
        clock.advance(61)
        assert manager.get(NAME).version == "2"
        pass_time(manager, clock, 300)
        assert len(maker.made) == 2

    def test_one_that_may_not_be_renewed_is_replaced_and_lives_on_for_a_while(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        maker.errors["renew_lease"] = AccessDeniedError("not for you")
        while manager.get(NAME).version == "1":
            pass_time(manager, clock, 60)
        assert {one.version: one.state for one in manager.leases()} == {"1": "retired", "2": "live"}

    def test_a_renewal_that_cannot_be_recorded_counts_all_the_same(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any
    ) -> None:
        manager.get(NAME)
        sink.failing = True
        pass_time(manager, clock, 2 * HOUR)
        assert maker.of("1").is_alive(clock())
        with pytest.raises(AuditError):
            manager.refresh(NAME)
        sink.failing = False
        assert manager.get(NAME).version == "1"


class TestReplacement:
    """Before its maximum another one takes its place."""

    def test_a_capped_renewal_has_it_replaced_before_its_maximum(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any
    ) -> None:
        heard = told(manager)
        maker.max_ttl = 5 * HOUR
        start = clock()
        old = manager.get(NAME)
        made: list[float] = []
        maker.before = lambda operation: made.append(clock() - start) if operation == "read" else None
        pass_time(manager, clock, 5 * HOUR)
        assert len(made) == 1
        # A tenth of its life before, or a bit later: a renewal that was granted in full may come that late.
        assert 4.4 * HOUR <= made[0] <= 4.7 * HOUR
        assert manager.get(NAME).version == "2"
        assert old.reveal_text() == "credential-1"
        eventually(lambda: heard)
        assert [(event.change, event.version) for event in heard] == [("replace", "2")]
        (event,) = sink.named("refresh")
        assert (event.key, event.principal, event.source, event.version) == (NAME, "tester", "backend", "2")
        assert event.request_id == "request-2"

    def test_one_that_got_less_for_now_is_renewed_again_until_it_gets_ever_less(
        self, open_manager: Any, clock: FakeClock
    ) -> None:
        maker = HangingOn(clock)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        # What it hangs on is prolonged now and then, and gives it a bit less than it asks for.
        for _ in range(20):
            maker.until = clock() + 0.9 * HOUR
            pass_time(manager, clock, 0.4 * HOUR)
        assert len(maker.made) == 1
        # It is prolonged no more.
        pass_time(manager, clock, 0.9 * HOUR)
        assert len(maker.made) == 2
        assert maker.calls.count("renew_lease") < 40

    def test_the_old_one_lives_on_for_the_overlap_and_is_revoked_then(
        self, open_manager: Any, clock: FakeClock, sink: Any
    ) -> None:
        maker = CredentialMaker(clock, ttl=10_000)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        clock.advance(100)
        manager.invalidate(NAME)
        manager.get(NAME)
        pass_time(manager, clock, 985, step=5)
        assert maker.of("1").is_alive(clock())
        pass_time(manager, clock, 20, step=5)
        assert not maker.of("1").is_alive(clock())
        assert maker.of("2").is_alive(clock())
        (event,) = sink.named("revoke")
        assert (event.key, event.version, event.result) == (NAME, "1", "ok")
        assert event.request_id.startswith("revocation-")

    def test_one_of_a_short_life_overlaps_for_its_rest(self, open_manager: Any, clock: FakeClock) -> None:
        maker = CredentialMaker(clock, ttl=40, renewable=False)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        pass_time(manager, clock, 21, step=1)
        assert manager.get(NAME).version == "2"
        assert maker.of("1").is_alive(clock())
        pass_time(manager, clock, 20, step=1)
        assert "revoke_lease" not in maker.calls
        assert [one.version for one in manager.leases()] in (["2"], ["2", "3"])

    def test_what_cannot_be_renewed_is_replaced_at_half_a_short_life(self, open_manager: Any, clock: FakeClock) -> None:
        maker = CredentialMaker(clock, ttl=60, renewable=False, with_id=False)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        pass_time(manager, clock, 600, step=1)
        assert 18 <= len(maker.made) <= 22
        assert set(maker.calls) == {"read"}
        manager.close()
        assert "revoke_lease" not in maker.calls

    def test_while_it_is_made_readers_get_the_old_one(self, open_manager: Any, clock: FakeClock, gate: Any) -> None:
        maker = CredentialMaker(clock, ttl=60, renewable=False)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        maker.before = lambda operation: gate.hold() if operation == "read" else None
        clock.advance(31)
        owner = threading.Thread(target=manager._parts.leases.run_due)
        owner.start()
        gate.wait_for_arrival()
        assert manager.get(NAME).version == "1"
        gate.open()
        owner.join()
        assert manager.get(NAME).version == "2"

    @pytest.mark.parametrize("error", [OUTAGE, SecretNotFoundError("no role"), AccessDeniedError("no")])
    def test_if_none_can_be_made_the_old_one_serves_up_to_its_end(
        self, open_manager: Any, clock: FakeClock, error: Any
    ) -> None:
        maker = CredentialMaker(clock, ttl=600, renewable=False)
        manager = open_manager(backends={"maker": maker}, cache={"policy": "ttl", "ttl": "1h", "max_stale": "1h"})
        manager.get(NAME)
        maker.errors["read"] = error
        pass_time(manager, clock, 590, step=1)
        assert manager.get(NAME).version == "1"
        assert 2 < maker.calls.count("read") < 60
        pass_time(manager, clock, 10, step=1)
        with pytest.raises(type(error)):
            manager.get(NAME)

    def test_an_end_that_nobody_attends_to_ends_it_all_the_same(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        clock.advance(HOUR)
        assert manager.get(NAME).version == "2"
        maker.errors["read"] = OUTAGE
        clock.advance(HOUR)
        with pytest.raises(BackendUnavailableError):
            manager.get(NAME)

    def test_one_that_cannot_be_recorded_is_given_back_and_never_served(
        self, open_manager: Any, clock: FakeClock, sink: Any
    ) -> None:
        maker = CredentialMaker(clock, ttl=600, renewable=False)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        clock.advance(545)
        sink.failing = True
        manager._parts.leases.run_due()
        manager._parts.leases.run_due()
        assert len(maker.made) == 2
        assert not maker.of("2").is_alive(clock())
        sink.failing = False
        assert manager.get(NAME).version == "1"
        pass_time(manager, clock, 40, step=1)
        assert manager.get(NAME).version == "3"

    def test_a_first_one_that_cannot_be_recorded_is_given_back(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any
    ) -> None:
        sink.failing = True
        with pytest.raises(AuditError):
            manager.get(NAME)
        manager._parts.leases.run_due()
        assert maker.alive() == []

    def test_a_subscriber_that_hangs_or_raises_holds_up_nothing(
        self, open_manager: Any, clock: FakeClock, gate: Any
    ) -> None:
        maker = CredentialMaker(clock, ttl=60, renewable=False)
        manager = open_manager(backends={"maker": maker})
        heard = told(manager)
        manager.on_update("**", lambda _: gate.hold())
        manager.on_update("**", lambda _: 1 / 0)
        manager.get(NAME)
        pass_time(manager, clock, 31)
        eventually(lambda: heard)
        pass_time(manager, clock, 31)
        assert manager.get(NAME).version == "3"

    def test_a_subscriber_that_may_not_read_it_hears_nothing(
        self, open_manager: Any, clock: FakeClock, rule: Any
    ) -> None:
        maker = CredentialMaker(clock, ttl=60, renewable=False)
        rules = [rule("tester", "read", names="creds/**"), rule("other", "read", names="db/**")]
        rules.append(rule("tester", "impersonate", names="other"))
        manager = open_manager(backends={"maker": maker}, policies=rules)
        own, others = told(manager), told(manager.as_principal("other"))
        manager.get(NAME)
        pass_time(manager, clock, 31)
        eventually(lambda: own)
        assert others == []
        assert manager.as_principal("other").leases() == ()
        assert len(manager.leases()) == 2


class TestGivingUp:
    """What is dropped from the cache is retired, and not lost track of."""

    def test_an_invalidated_one_is_replaced_by_the_next_read_and_revoked_later(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        heard = told(manager)
        manager.get(NAME)
        manager.invalidate(NAME)
        assert [one.state for one in manager.leases()] == ["retired"]
        assert manager.get(NAME).version == "2"
        eventually(lambda: heard)
        assert (heard[0].change, heard[0].version) == ("replace", "2")
        assert maker.of("1").is_alive(clock())
        pass_time(manager, clock, 361)
        assert not maker.of("1").is_alive(clock())
        assert len(heard) == 1

    def test_one_that_nobody_reads_again_is_told_of_when_it_is_revoked(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        heard = told(manager)
        manager.get(NAME)
        manager.invalidate()
        pass_time(manager, clock, 361)
        assert maker.alive() == []
        eventually(lambda: heard)
        assert (heard[0].change, heard[0].version) == ("expire", None)

    def test_a_refresh_makes_another_one_and_retires_the_old_one(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        assert manager.refresh(NAME).version == "2"
        assert {one.version: one.state for one in manager.leases()} == {"1": "retired", "2": "live"}
        assert len(maker.alive()) == 2

    def test_a_refresh_that_finds_nothing_leaves_the_old_one(
        self, manager: SecretManager, maker: CredentialMaker
    ) -> None:
        manager.get(NAME)
        maker.errors["read"] = SecretNotFoundError("no role")
        with pytest.raises(SecretNotFoundError):
            manager.refresh(NAME)
        assert manager.get(NAME).version == "1"

    def test_one_that_is_dropped_while_it_is_made_is_its_readers_alone(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        maker.before = lambda operation: manager.invalidate(NAME) if operation == "read" else None
        first = manager.get(NAME)
        maker.before = None
        assert manager.get(NAME).version != first.version
        assert maker.of(first.version).is_alive(clock())
        pass_time(manager, clock, 361)
        assert not maker.of(first.version).is_alive(clock())

    def test_a_revocation_that_fails_is_recorded_and_tried_again(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any
    ) -> None:
        manager.get(NAME)
        manager.invalidate(NAME)
        maker.errors["revoke_lease"] = OUTAGE
        pass_time(manager, clock, 420)
        assert {event.result for event in sink.named("revoke")} == {"unavailable"}
        maker.errors.clear()
        pass_time(manager, clock, 120)
        assert maker.alive() == []
        assert sink.named("revoke")[-1].result == "ok"

    def test_the_end_of_a_retired_one_needs_no_revocation(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        clock.advance(HOUR - 10)
        manager.invalidate(NAME)
        pass_time(manager, clock, 20, step=1)
        assert manager.leases() == ()
        assert "revoke_lease" not in maker.calls


class TestRefusals:
    """What has no meaning for a credential that each read makes anew."""

    @pytest.mark.parametrize(
        "operation",
        [
            lambda manager: manager.set(NAME, "x"),
            lambda manager: manager.set(NAME, "x", expect_version="1"),
            lambda manager: manager.check_set(NAME, SecretValue("x")),
            lambda manager: manager.delete(NAME),
            lambda manager: manager.rotate(NAME),
            lambda manager: manager.rotate(NAME, expect_version="1"),
            lambda manager: manager.versions(NAME),
            lambda manager: manager.get(NAME, version="1"),
        ],
    )
    def test_it_is_refused_before_anything_is_read_or_attempted(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any, operation: Any
    ) -> None:
        with pytest.raises(UnsupportedOperationError, match="makes when it is read"):
            operation(manager)
        assert maker.calls == []
        assert [event.result for event in sink.events if event.key == NAME] == ["unsupported"]
        assert all(event.phase == "outcome" for event in sink.events)

    def test_who_may_only_update_makes_no_credential_by_trying(
        self, open_manager: Any, maker: CredentialMaker, rule: Any
    ) -> None:
        manager = open_manager(backends={"maker": maker}, policies=[rule("tester", "update")])
        with pytest.raises(UnsupportedOperationError):
            manager.set(NAME, "x")
        assert maker.calls == []

    def test_prefetch_makes_none(self, open_manager: Any, maker: CredentialMaker, hooked: Any, sink: Any) -> None:
        manager = open_manager(
            backends={"memory": hooked, "maker": maker}, backend="memory", routes={"creds/": "maker"}
        )
        batch = manager.prefetch("db/*", NAME)
        assert set(batch.found) == {"db/password", "db/user"}
        assert isinstance(batch.errors[NAME], UnsupportedOperationError)
        assert maker.calls == []
        assert [event.result for event in sink.events if event.key == NAME] == ["unsupported"]

    def test_refresh_all_leaves_them_out(self, manager: SecretManager, maker: CredentialMaker) -> None:
        manager.get(NAME)
        with pytest.raises(SecretNotFoundError):
            manager.get("other")
        maker.errors["read"] = SecretNotFoundError("no role")
        with pytest.raises(SecretNotFoundError):
            manager.get("creds/missing")
        batch = manager.refresh_all()
        assert (batch.found, set(batch.errors)) == ({}, {"other"})
        assert manager.get(NAME).version == "1"

    def test_what_is_stored_under_a_leased_name_is_not_listed(self, open_manager: Any, clock: FakeClock) -> None:
        class Both(CredentialMaker):
            def list(self, request: Any) -> Any:
                from strongroom.contracts import ListResult

                return ListResult(names=(SecretName(NAME), SecretName("db/password")))

        manager = open_manager(backends={"maker": Both(clock)})
        assert manager.list() == ["db/password"]
        assert manager.prefetch("creds/*").errors == {}


class TestEnd:
    """Closing revokes what this process has made, and nothing else."""

    def test_live_and_retired_ones_are_revoked_before_the_backend_is_closed(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any
    ) -> None:
        manager.get(NAME)
        manager.refresh(NAME)
        manager.get("creds/other")
        maker.before = lambda _: pytest.fail("the backend was closed first") if maker.is_closed else None
        manager.close()
        assert maker.alive() == []
        assert maker.is_closed
        assert sorted(event.version for event in sink.named("revoke")) == ["1", "2", "3"]

    def test_what_could_not_be_revoked_is_in_the_trail(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any
    ) -> None:
        manager.get(NAME)
        maker.errors["revoke_lease"] = OUTAGE
        manager.close()
        assert [event.result for event in sink.named("revoke")] == ["unavailable"]
        assert sink.events[-1].event == "closed"

    def test_a_backend_that_hangs_does_not_hang_the_end(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any, gate: Any
    ) -> None:
        manager.get(NAME)
        maker.before = lambda operation: gate.hold() if operation == "revoke_lease" else None
        manager._parts.leases.close(seconds=0.2)
        assert [event.result for event in sink.named("revoke")] == ["timeout"]

    def test_a_read_under_way_at_the_end_gives_its_credential_back(
        self, manager: SecretManager, maker: CredentialMaker, gate: Any
    ) -> None:
        manager.get("creds/other")
        maker.before = lambda operation: gate.hold() if operation == "read" else None
        errors: list[BaseException] = []

        def read() -> None:
            try:
                manager.get(NAME)
            except ClosedError as error:
                errors.append(error)

        reader, closer = threading.Thread(target=read), threading.Thread(target=manager.close)
        reader.start()
        gate.wait_for_arrival()
        closer.start()
        eventually(lambda: manager._parts.leases._closed)
        gate.open()
        reader.join()
        closer.join()
        assert len(errors) == 1
        assert maker.alive() == []

    def test_after_the_end_nothing_is_served(self, manager: SecretManager) -> None:
        manager.get(NAME)
        manager.close()
        with pytest.raises(ClosedError):
            manager.get(NAME)

    def test_without_a_thread_to_be_had_they_are_revoked_one_after_the_other(
        self, manager: SecretManager, maker: CredentialMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As at the interpreter's end, from which on none can be started."""
        for name in ("creds/a", "creds/b", "creds/c"):
            manager.get(name)

        def refuse(thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            manager.close()
        assert maker.alive() == []

    def test_the_exit_of_the_interpreter_revokes_them(self, run_program: Any) -> None:
        ended = run_program(
            """
            import atexit, time, strongroom
            from strongroom.testing import CredentialMaker

            maker = CredentialMaker(time.monotonic)
            # Called last: what is registered first.
            atexit.register(lambda: print("alive at the end:", len(maker.alive())))
            manager = strongroom.open({"audit": "none"}, backends={"maker": maker})
            manager.get("creds/a"), manager.get("creds/b")
            print("alive:", len(maker.alive()))
            """
        )
        assert ended.stdout.splitlines() == ["alive: 2", "alive at the end: 0"]

    def test_closing_twice_revokes_once(self, manager: SecretManager, maker: CredentialMaker) -> None:
        manager.get(NAME)
        manager.close()
        manager.close()
        assert maker.calls.count("revoke_lease") == 1

    def test_a_forked_child_has_none_of_them_and_revokes_none(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)

        def child() -> str:
            inherited = len(manager.leases())
            clock.advance(HOUR * 0.6)
            if manager._parts.has_leases:
                manager._parts.leases.run_due()
            before = list(maker.calls)
            own = manager.get(NAME).version
            manager.close()
            revoked = [one.id for one in maker.made if one.revoked is not None]
            return json.dumps([inherited, before, own, maker.calls, revoked])

        inherited, before, own, calls, revoked = json.loads(in_forked_child(child))
        assert inherited == 0
        assert before == ["read"]
        assert own == "2"
        assert calls == ["read", "read", "revoke_lease"]
        assert revoked == ["lease-2"]
        pass_time(manager, clock, 10 * HOUR)
        assert manager.get(NAME).version == "1"


class TestRelease:
    """A credential that somebody else uses is left alone."""

    def test_it_is_neither_renewed_nor_revoked_any_more(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any
    ) -> None:
        manager.get(NAME)
        manager.release_leases()
        assert manager.leases() == ()
        pass_time(manager, clock, HOUR * 0.9)
        manager.close()
        assert maker.calls == ["read", "release_lease"]
        assert maker.of("1").is_alive(clock())
        assert [(event.key, event.version) for event in sink.named("release")] == [(NAME, "1")]

    def test_the_next_read_makes_another_one(self, manager: SecretManager, maker: CredentialMaker) -> None:
        manager.get(NAME)
        manager.release_leases()
        assert manager.get(NAME).version == "2"
        manager.close()
        assert [one.id for one in maker.alive()] == ["lease-1"]

    def test_what_a_principal_may_not_read_it_does_not_release(
        self, open_manager: Any, maker: CredentialMaker, rule: Any
    ) -> None:
        rules = [rule("tester", "read"), rule("other", "read", names="db/**"), rule("tester", "impersonate")]
        manager = open_manager(backends={"maker": maker}, policies=rules)
        manager.get(NAME)
        manager.as_principal("other").release_leases()
        assert len(manager.leases()) == 1

    def test_without_a_lease_there_is_nothing_to_do(self, manager: SecretManager, maker: CredentialMaker) -> None:
        manager.release_leases()
        assert maker.calls == []


class TestThread:
    """With a real clock one thread does what is due."""

    @pytest.fixture
    def real(self) -> CredentialMaker:
        return CredentialMaker(time.monotonic, ttl=0.4, max_ttl=1.0)

    @pytest.fixture
    def running(self, real: CredentialMaker) -> Any:
        import strongroom

        with strongroom.open({"audit": "none"}, backends={"maker": real}) as manager:
            yield manager

    def test_it_renews_and_replaces(self, running: SecretManager, real: CredentialMaker) -> None:
        running.get(NAME)
        eventually(lambda: len(real.made) >= 3)
        assert "renew_lease" in real.calls
        assert real.of(running.get(NAME).version).is_alive(time.monotonic())

    def test_a_backend_that_hangs_costs_no_other_lease_its_life(
        self, running: SecretManager, real: CredentialMaker, gate: Any
    ) -> None:
        running.get("creds/stuck")
        running.get(NAME)

        def hold(operation: str) -> None:
            if operation == "renew_lease" and not stuck:
                stuck.append(operation)
                gate.hold()

        stuck: list[str] = []
        real.before = hold
        gate.wait_for_arrival()
        made = len(real.made)
        eventually(lambda: len(real.made) >= made + 3)

    def test_there_is_none_without_a_lease(self, running: SecretManager, real: CredentialMaker) -> None:
        def threads() -> list[str]:
            return [thread.name for thread in threading.enumerate() if thread.name == "strongroom-leases"]

        before = len(threads())
        with pytest.raises(SecretNotFoundError):
            running.get("other")
        assert len(threads()) == before
        running.get(NAME)
        assert len(threads()) == before + 1
        real.errors.update(renew_lease=OUTAGE, read=OUTAGE)
        eventually(lambda: len(threads()) == before)


class TestStatus:
    """What there is to tell of leases."""

    def test_it_says_how_long_each_has_to_live(self, manager: SecretManager, clock: FakeClock) -> None:
        assert manager.leases() == ()
        manager.get(NAME)
        clock.advance(600)
        (one,) = manager.leases()
        assert (one.name, one.backend, one.version, one.renewable, one.state) == (NAME, "maker", "1", True, "live")
        assert HOUR - 602 <= one.seconds_left <= HOUR - 600

    def test_it_shows_neither_value_nor_id(self, manager: SecretManager) -> None:
        manager.get(NAME)
        assert "credential-1" not in repr(manager.leases())
        assert "lease-1" not in repr(manager.leases())
