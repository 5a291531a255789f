"""Whatever happens to leases, in any order: nothing is served past its end, and nothing is left behind."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import strongroom

from strongroom.contracts import RenewLeaseRequest, RenewLeaseResult
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StrongroomError
from strongroom.testing import CredentialMaker, FakeClock, MemorySink, in_forked_child

NAMES = st.sampled_from(["creds/a", "creds/b"])
OPERATIONS = st.sampled_from(["read", "renew_lease", "revoke_lease"])


class TruthfulMaker(CredentialMaker):
    """When it says that a credential is gone, it is, also if that was made after it was told to say so."""

    def renew_lease(self, request: RenewLeaseRequest) -> RenewLeaseResult:
        try:
            return super().renew_lease(request)
        except SecretNotFoundError:
            for one in self.alive():
                if one.id == request.lease.id:
                    one.revoked = self.clock()
            raise


class LeasesInAnyOrder(RuleBasedStateMachine):
    """A manager, a backend that makes credentials, and what may happen to both."""

    @initialize(
        ttl=st.sampled_from([2.0, 90.0, 3600.0]),
        lives=st.sampled_from([1.0, 1.7, 20.0]),
        renewable=st.booleans(),
    )
    def begin(self, ttl: float, lives: float, renewable: bool) -> None:
        self.clock = FakeClock()
        self.ttl = ttl
        self.maker = TruthfulMaker(self.clock, ttl=ttl, max_ttl=ttl * lives, renewable=renewable)
        self.sink = MemorySink()
        self.manager = strongroom.open(
            {"audit": "none", "cache": {"policy": "ttl", "ttl": "60s", "negative_ttl": 0, "max_entries": 1}},
            clock=self.clock,
            wall_clock=lambda: int(self.clock.time() * 1e9),
            backends={"maker": self.maker},
            sinks=(self.sink,),
        )
        # What was lost without our knowing may be served until a renewal tells.
        self.lost: set[str] = set()
        self.cut_off = False

    def teardown(self) -> None:
        if not hasattr(self, "manager"):
            return
        self.sink.failing = False
        unreachable = "revoke_lease" in self.maker.errors
        self.manager.close()
        if unreachable:
            self.clock.advance(max([0.0, *(one.ends - self.clock() for one in self.maker.made)]))
        assert self.left_alive() == []
        assert "lease-" not in repr(self.sink.events)

    def left_alive(self) -> list[Any]:
        """Return what lives on; what ends within the margin is not looked after any more."""
        soon = self.clock() + min(1.0, 0.01 * self.ttl) + 1e-6
        return [one for one in self.maker.made if one.is_alive(soon)]

    @rule(part=st.floats(0.001, 1.5), attended=st.booleans())
    def pass_time(self, part: float, attended: bool) -> None:
        """Let time pass, with what is due being done in between or only at the end."""
        steps = 20 if attended else 1
        for _ in range(steps):
            self.clock.advance(part * self.ttl / steps)
            self.run_due()

    def run_due(self) -> None:
        if self.manager._parts.has_leases:
            self.manager._parts.leases.run_due()

    @rule(name=NAMES)
    def read(self, name: str) -> None:
        try:
            secret = self.manager.get(name)
        except StrongroomError as error:
            assert self.may_fail(), error  # noqa: PT017  # none else is expected
            return
        self.check_served(secret)
        self.cut_off = any(isinstance(error, BackendUnavailableError) for error in self.maker.errors.values())

    def may_fail(self) -> bool:
        """Tell whether a read may; an outage that a renewal meets is the whole backend's until a read succeeds."""
        return "read" in self.maker.errors or self.cut_off or self.sink.failing

    def check_served(self, secret: Any) -> None:
        one = self.maker.of(secret.version)
        assert self.clock() < one.ends
        assert one.revoked is None or secret.version in self.lost

    @rule(name=NAMES)
    def read_right_after_the_end(self, name: str) -> None:
        """Nobody has attended to it meanwhile."""
        self.read(name)
        ends = [self.maker.of(one.version).ends for one in self.manager.leases() if one.name == name]
        self.clock.advance(max([0.0, *(end - self.clock() for end in ends)]) + 1e-3)
        self.read(name)

    @rule(name=NAMES)
    def refresh(self, name: str) -> None:
        try:
            self.check_served(self.manager.refresh(name))
        except StrongroomError:
            assert self.may_fail()

    @rule(name=st.one_of(st.none(), NAMES))
    def invalidate(self, name: str | None) -> None:
        self.manager.invalidate(name)

    @rule(operation=OPERATIONS, error=st.sampled_from([BackendUnavailableError, SecretNotFoundError]))
    def fail(self, operation: str, error: Any) -> None:
        if operation != "revoke_lease" or error is BackendUnavailableError:
            self.maker.errors[operation] = error("as the test wants it")
            self.cut_off = self.cut_off or error is BackendUnavailableError
        if operation == "renew_lease" and error is SecretNotFoundError:
            # The backend says that they are gone, so they are.
            self.lose_all()

    def lose_all(self) -> None:
        for one in self.maker.alive():
            one.revoked = self.clock()
            self.lost.add(str(self.maker.made.index(one) + 1))

    @rule()
    def recover(self) -> None:
        self.maker.errors.clear()

    @rule()
    def lose(self) -> None:
        """Somebody revokes everything at the backend."""
        self.lose_all()

    @rule(failing=st.booleans())
    def break_or_mend_the_trail(self, failing: bool) -> None:
        self.sink.failing = failing

    @rule(name=NAMES)
    def fork(self, name: str) -> None:
        """A child has none of them, and takes none of them with it."""
        self.sink.failing = False

        def child() -> str:
            alive = self.maker.alive()
            self.maker.errors.clear()
            assert self.manager.leases() == ()
            self.manager.get(name)
            self.manager.close()
            return "ok" if self.maker.alive() == alive else "the child changed what is its parent's"

        assert in_forked_child(child) == "ok"

    @invariant()
    def each_name_has_one_live_lease_at_most(self) -> None:
        live = [one.name for one in self.manager.leases() if one.state == "live"] if hasattr(self, "manager") else []
        assert len(live) == len(set(live))

    @invariant()
    def none_is_lost_track_of(self) -> None:
        if not hasattr(self, "manager"):
            return
        known = {one.version for one in self.manager.leases()}
        assert {str(self.maker.made.index(one) + 1) for one in self.left_alive()} <= known


TestLeasesInAnyOrder = LeasesInAnyOrder.TestCase
TestLeasesInAnyOrder.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
