"""Leased credentials when others misbehave: backends, subscribers, signals, and whoever closes."""

from __future__ import annotations

import threading
import time

from collections.abc import Callable
from typing import Any

import pytest

import strongroom

from strongroom import SecretManager, SecretName
from strongroom.background import Background
from strongroom.contracts import ReadResult
from strongroom.contracts.leasing import Lease
from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    ClosedError,
    StrongroomError,
)
from strongroom.events.updates import SecretUpdated
from strongroom.leases.held import Held
from strongroom.policy import Policy
from strongroom.testing import CredentialMaker, FakeClock

NAME = "creds/app"
HOUR = 3600.0
OUTAGE = BackendUnavailableError("no answer")


@pytest.fixture
def maker(clock: FakeClock) -> CredentialMaker:
    """Leases of an hour, renewable up to a day."""
    return CredentialMaker(clock, ttl=HOUR, max_ttl=24 * HOUR)


@pytest.fixture
def manager(open_manager: Any, maker: CredentialMaker) -> SecretManager:
    return open_manager(backends={"maker": maker})


def pass_time(manager: SecretManager, clock: FakeClock, seconds: float, *, step: float = 60.0) -> None:
    """Let time pass in small steps, and have done what is due after each."""
    while seconds > 0:
        clock.advance(min(step, seconds))
        seconds -= step
        manager._parts.leases.run_due()


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


def no_thread(thread: threading.Thread) -> None:
    """Stand in for ``Thread.start`` where there are too many of them."""
    raise RuntimeError("can't start new thread")


def granting(maker: CredentialMaker, seconds: Any, *operations: str) -> None:
    """Let what a backend answers to some operations speak of another time."""

    def changed(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(request: Any) -> Any:
            result = function(request)
            return result.replace(lease=result.lease.replace(seconds=seconds))

        return call

    for operation in operations:
        setattr(maker, operation, changed(getattr(maker, operation)))


class TestTimes:
    """What a backend says of a lease's time may be anything."""

    @pytest.mark.parametrize("seconds", [0, -5.0, float("nan"), float("-inf"), None, "60"])
    def test_a_credential_without_time_is_not_served_and_given_back(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any, seconds: Any
    ) -> None:
        granting(maker, seconds, "read")
        with pytest.raises(BackendError):
            manager.get(NAME)
        manager._parts.leases.run_due()
        assert maker.alive() == []
        assert [event.result for event in sink.named("revoke")] == ["ok"]
        assert manager.leases() == ()

    @pytest.mark.parametrize("seconds", [float("inf"), 1e300, 1e12])
    @pytest.mark.parametrize("renewable", [True, False])
    def test_one_that_lives_for_ever_is_served_and_given_back_in_the_end(
        self, open_manager: Any, clock: FakeClock, seconds: float, renewable: bool
    ) -> None:
        maker = CredentialMaker(clock, ttl=seconds, renewable=renewable)
        manager = open_manager(backends={"maker": maker})
        manager.get(NAME)
        clock.advance(1e6)
        assert manager._parts.leases._agenda.take_due() == []
        (held,) = manager._parts.leases._agenda.all()
        assert clock() < held.due < float("inf")
        assert manager.get(NAME).version == "1"
        manager.invalidate(NAME)
        manager.close()
        assert maker.alive() == []

    @pytest.mark.parametrize("seconds", [0, -5.0, float("nan"), None])
    def test_a_renewal_that_gives_no_time_has_it_replaced(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, seconds: Any
    ) -> None:
        manager.get(NAME)
        granting(maker, seconds, "renew_lease")
        pass_time(manager, clock, HOUR * 2 / 3)
        assert maker.calls.count("renew_lease") == 1
        assert manager.get(NAME).version == "2"

    def test_a_renewal_may_give_more_than_was_asked_for(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        manager.get(NAME)
        granting(maker, 5 * HOUR, "renew_lease")
        pass_time(manager, clock, HOUR * 2 / 3)
        assert [one.seconds_left > 4.5 * HOUR for one in manager.leases()] == [True]
        pass_time(manager, clock, 2 * HOUR)
        assert maker.calls.count("renew_lease") == 1
        assert manager.get(NAME).version == "1"


class TestFailures:
    """What nobody has foreseen costs no lease its care, and does not make us ask without end."""

    @pytest.mark.parametrize("answer", [None, "fault"])
    def test_a_renewal_that_makes_no_sense_is_not_asked_for_without_end(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, answer: Any
    ) -> None:
        manager.get(NAME)
        renew = maker.renew_lease

        def senseless(request: Any) -> Any:
            result = renew(request)
            if answer == "fault":
                raise SystemExit
            return result.replace(lease=None)

        maker.renew_lease = senseless  # type: ignore[method-assign]
        clock.advance(HOUR * 2 / 3)
        for _ in range(10):
            manager._parts.leases.run_due()
        assert maker.calls.count("renew_lease") == 1
        assert manager.get(NAME).version in "12"

    def test_a_fault_of_ours_ends_neither_the_thread_nor_the_care_of_the_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        maker = CredentialMaker(time.monotonic, ttl=0.4, max_ttl=1.0)
        submit = Background.submit

        def busy(background: Background, key: Any, task: Any) -> bool:
            return submit(background, key, task) if not isinstance(key, Held) else False

        # So the one thread does all of it.
        monkeypatch.setattr(Background, "submit", busy)
        with strongroom.open({"audit": "none"}, backends={"maker": maker}) as manager:
            manager.get("creds/odd")
            manager.get(NAME)
            renew = maker.renew_lease

            def senseless(request: Any) -> Any:
                if request.name == "creds/odd":
                    raise SystemExit
                return renew(request)

            maker.renew_lease = senseless  # type: ignore[method-assign]
            eventually(lambda: sum(one.name == NAME for one in maker.made) >= 3)

    def test_a_revocation_that_is_denied_is_recorded_once(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, sink: Any
    ) -> None:
        manager.get(NAME)
        manager.invalidate(NAME)
        maker.errors["revoke_lease"] = AccessDeniedError("not for you")
        pass_time(manager, clock, HOUR)
        assert [event.result for event in sink.named("revoke")] == ["denied"]
        assert manager.leases() == ()

    def test_a_hanging_backend_costs_another_one_no_lease(self, gate: Any) -> None:
        stuck, other = CredentialMaker(time.monotonic, ttl=0.4), CredentialMaker(time.monotonic, ttl=0.4, max_ttl=1.0)
        config = {"audit": "none", "backend": "other", "routes": {"creds/stuck": "stuck"}}
        with strongroom.open(config, backends={"stuck": stuck, "other": other}) as manager:
            for number in range(10):
                manager.get(f"creds/stuck/{number}")
            stuck.before = lambda operation: gate.hold() if operation == "renew_lease" else None
            gate.wait_for_arrival()
            manager.get(NAME)
            eventually(lambda: len(other.made) >= 3)
            gate.open()


class TestWithoutLeasing:
    """A backend may say of what it has read how long it lives, and offer nothing else."""

    def test_it_is_served_up_to_its_end_and_replaced_before(
        self, open_manager: Any, clock: FakeClock, hooked: Any, sink: Any
    ) -> None:
        read, count = hooked.read, 0

        def leased(request: Any) -> ReadResult:
            nonlocal count
            count += 1
            lease = Lease(id=f"lease-{count}", seconds=600.0, renewable=True)
            return read(request).replace(version=str(count), lease=lease)  # type: ignore[no-any-return]

        hooked.read = leased
        manager = open_manager(backends={"memory": hooked})
        manager.get("db/password")
        clock.advance(500)
        assert manager.get("db/password").version == "1"
        pass_time(manager, clock, 95, step=5)
        assert manager.get("db/password").version == "2"
        pass_time(manager, clock, 300, step=5)
        manager.close()
        assert sink.named("renew", "revoke") == []


class TestReleasing:
    """Whatever somebody has got is left alone, in the cache or not."""

    def test_one_that_was_dropped_while_it_was_made_is_left_to_its_reader(
        self, manager: SecretManager, maker: CredentialMaker
    ) -> None:
        maker.before = lambda operation: manager.invalidate(NAME) if operation == "read" else None
        manager.get(NAME)
        maker.before = None
        manager.release_leases()
        manager.close()
        assert maker.calls == ["read", "release_lease"]


class TestSubscribers:
    """They hear of each change, whatever else goes on."""

    def test_a_load_that_is_not_kept_is_no_replacement(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock
    ) -> None:
        heard = told(manager)
        manager.get(NAME)
        # Another reader wants it anew while it is made, and gets none.
        maker.before = lambda operation: manager._cache.abandon(SecretName(NAME))
        assert manager.refresh(NAME).version == "2"
        maker.before = None
        assert manager.get(NAME).version == "1"
        maker.errors.update(renew_lease=OUTAGE, read=OUTAGE)
        pass_time(manager, clock, HOUR)
        eventually(lambda: any(event.change == "expire" for event in heard))
        assert [event.change for event in heard].count("replace") == 0

    def test_two_ends_are_two_events_even_if_a_subscriber_hangs(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, gate: Any
    ) -> None:
        heard = told(manager)
        manager.on_update("**", lambda _: gate.hold())
        maker.errors["renew_lease"] = OUTAGE
        for number in (1, 2):
            maker.errors.pop("read", None)
            manager.get(NAME)
            maker.errors["read"] = OUTAGE
            pass_time(manager, clock, HOUR)
            eventually(lambda number=number: len(heard) == number)
        gate.open()


class TestSignals:
    """A signal's handler may read, and close, wherever its own thread is."""

    def test_a_read_while_the_leases_are_looked_at(
        self, manager: SecretManager, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager.get("creds/0")
        status, numbers = Held.status, iter(range(1, 3))

        def interrupted(held: Held, now: float) -> Any:
            for number in numbers:
                manager.get(f"creds/{number}")
            return status(held, now)

        monkeypatch.setattr(Held, "status", interrupted)
        assert len(manager.leases()) >= 1

    def test_nobody_waits_for_a_load_until_subscribers_are_told(
        self, manager: SecretManager, maker: CredentialMaker
    ) -> None:
        """A handler may wait for it whose own thread is about to tell them of something."""
        manager.get(NAME)
        with manager._parts.background._lock:
            other = threading.Thread(target=manager.refresh, args=(NAME,))
            other.start()
            eventually(lambda: len(maker.made) == 2 and not manager._cache.under_way())
            assert manager.get(NAME).version == "2"
        other.join()

    def test_leaving_the_cache_takes_no_second_lock(self, manager: SecretManager, clock: FakeClock) -> None:
        """A handler would take the two the other way round: it reads while its own thread sees to a lease."""
        manager.get(NAME)
        with manager._parts.leases._agenda.changed:
            other = threading.Thread(target=manager.invalidate, args=(NAME,))
            other.start()
            other.join(0.1)
            manager.invalidate(NAME)
        other.join(10)
        assert not other.is_alive()

    def test_a_close_within_a_close_leaves_the_trail_open_for_it(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager.get(NAME)
        maker.before = lambda operation: manager.close() if operation == "revoke_lease" else None
        # So it is the same thread that is interrupted.
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        manager.close()
        assert [(event.event, event.result) for event in sink.events][-2:] == [("revoke", "ok"), ("closed", "ok")]

    def test_a_close_by_another_thread_waits_for_the_one_that_is_at_it(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any, gate: Any
    ) -> None:
        manager.get(NAME)
        maker.before = lambda operation: gate.hold() if operation == "revoke_lease" else None
        closers = [threading.Thread(target=manager.close) for _ in range(2)]
        closers[0].start()
        gate.wait_for_arrival()
        closers[1].start()
        closers[1].join(0.1)
        gate.open()
        for closer in closers:
            closer.join()
        assert [(event.event, event.result) for event in sink.events][-2:] == [("revoke", "ok"), ("closed", "ok")]

    def test_an_interrupt_is_not_swallowed(
        self, manager: SecretManager, maker: CredentialMaker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As at the interpreter's end, where the main thread revokes by itself."""
        manager.get(NAME)

        def interrupt(operation: str) -> None:
            raise KeyboardInterrupt

        maker.before = interrupt
        monkeypatch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(KeyboardInterrupt):
            manager.close()
        assert maker.is_closed

    def test_an_interrupted_close_closes_the_rest(
        self, manager: SecretManager, maker: CredentialMaker, sink: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        manager.get(NAME)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(manager._parts.leases, "close", interrupt)
        with pytest.raises(KeyboardInterrupt):
            manager.close()
        assert maker.is_closed
        assert sink.events[-1].event == "closed"


class TestClosing:
    """What hangs at the end keeps nothing else from being given back."""

    def test_the_first_read_of_all_under_way_at_the_end_is_waited_for(
        self, manager: SecretManager, maker: CredentialMaker, gate: Any
    ) -> None:
        closed_first: list[bool] = []

        def hold(operation: str) -> None:
            if operation == "read":
                gate.hold()
            closed_first.append(maker.is_closed)

        maker.before = hold
        errors: list[StrongroomError] = []

        def read() -> None:
            try:
                manager.get(NAME)
            except ClosedError as error:
                errors.append(error)

        reader, closer = threading.Thread(target=read), threading.Thread(target=manager.close)
        reader.start()
        gate.wait_for_arrival()
        closer.start()
        eventually(lambda: manager._parts.closed)
        closer.join(0.2)
        gate.open()
        reader.join()
        closer.join()
        assert len(errors) == 1
        assert maker.alive() == []
        assert closed_first == [False, False]

    def test_a_renewal_that_hangs_keeps_no_other_lease_alive(
        self, manager: SecretManager, maker: CredentialMaker, clock: FakeClock, gate: Any, sink: Any
    ) -> None:
        manager.get("creds/stuck")
        clock.advance(HOUR * 0.64)
        manager.get(NAME)
        clock.advance(HOUR * 0.02)
        maker.before = lambda operation: gate.hold() if operation == "renew_lease" else None
        owner = threading.Thread(target=manager._parts.leases.run_due)
        owner.start()
        gate.wait_for_arrival()
        manager._parts.leases.close(seconds=0.5)
        assert [(event.key, event.result) for event in sink.named("revoke")] == [
            (NAME, "ok"),
            ("creds/stuck", "timeout"),
        ]
        gate.open()
        owner.join()

    def test_a_backend_that_hangs_keeps_no_lease_of_another_one_alive(
        self, open_manager: Any, clock: FakeClock, gate: Any
    ) -> None:
        stuck, other = CredentialMaker(clock), CredentialMaker(clock)
        manager = open_manager(
            backends={"stuck": stuck, "other": other}, backend="other", routes={"creds/stuck": "stuck"}
        )
        for number in range(20):
            manager.get(f"creds/stuck/{number}")
        manager.get(NAME)
        stuck.before = lambda operation: gate.hold() if operation == "revoke_lease" else None
        manager._parts.leases.close(seconds=0.5)
        assert other.alive() == []
        gate.open()


class TestRights:
    """No credential is made in the name of somebody who may no longer read it."""

    def test_none_is_made_after_the_right_is_gone(
        self, open_manager: Any, clock: FakeClock, rule: Any, maker: CredentialMaker, sink: Any
    ) -> None:
        maker.max_ttl = HOUR
        manager = open_manager(backends={"maker": maker}, policies=[rule("tester", "read")])
        manager.get(NAME)
        manager._parts.decisions.replace(Policy((), enforced=True))
        pass_time(manager, clock, HOUR)
        assert len(maker.made) == 1
        assert sink.named("refresh") == []

    def test_one_that_is_lost_then_is_told_of_at_once(
        self, open_manager: Any, clock: FakeClock, rule: Any, maker: CredentialMaker
    ) -> None:
        manager = open_manager(backends={"maker": maker}, policies=[rule("tester", "read")])
        manager.get(NAME)
        manager._parts.decisions.replace(Policy((), enforced=True))
        told_at: list[float] = []
        manager._parts.subscriptions.add("**", lambda _: told_at.append(clock()))
        maker.made[0].revoked = clock()
        pass_time(manager, clock, HOUR * 2 / 3)
        eventually(lambda: told_at)
        assert len(maker.made) == 1

    def test_the_right_of_whom_it_was_read_for_is_enough_for_a_view(
        self, open_manager: Any, clock: FakeClock, rule: Any, maker: CredentialMaker
    ) -> None:
        maker.max_ttl = HOUR
        rules = [rule("tester", "read"), rule("tester", "impersonate"), rule("api", "read"), rule("deep", "read")]
        manager = open_manager(backends={"maker": maker}, policies=[*rules, rule("api", "impersonate")])
        view = manager.as_principal("api").as_principal("deep")
        view.get(NAME)
        pass_time(manager, clock, HOUR)
        assert view.get(NAME).version == "2"

    def test_a_view_loses_it_with_any_of_those_that_limit_it(
        self, open_manager: Any, clock: FakeClock, rule: Any, maker: CredentialMaker
    ) -> None:
        maker.max_ttl = HOUR
        policies = [rule(who, "read") for who in ("tester", "api", "deep")]
        manager = open_manager(backends={"maker": maker}, policies=policies)
        manager.as_principal("api").as_principal("deep").get(NAME)
        later = open_manager(backends={"maker": maker}, policies=[policies[0], policies[2]])
        manager._parts.decisions.replace(later._parts.decisions.policy)
        pass_time(manager, clock, HOUR)
        assert len(maker.made) == 1
