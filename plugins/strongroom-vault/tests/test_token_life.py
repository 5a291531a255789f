"""When a token is renewed and when it is replaced, on a clock that the test moves."""

from __future__ import annotations

import itertools
import json
import math

from datetime import timedelta
from typing import Any

import pytest

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from logins import APPROLE, DENIED, REFUSED, granted
from strongroom.errors import BackendUnavailableError
from strongroom.testing import FakeClock
from strongroom_vault.adapter import VaultAdapter
from strongroom_vault.login.methods import login_for
from strongroom_vault.replies import RefusedError, Reply
from strongroom_vault.target import Target
from strongroom_vault.tokens import TokenKeeper

TTL = 60.0


class World:
    """A server on the test's clock, in the place of the transport, and a keeper whose owner is the test."""

    def __init__(self, *, ttl: float = TTL, longest: float = math.inf, draw: float = 0.5, **answer: Any) -> None:
        self.target = Target(addresses=("http://server",))
        self.clock = FakeClock()
        self.ttl, self.longest, self.answer = ttl, longest, answer
        self.up = True
        self.renewals_refused = False
        self.ends: dict[str, float] = {}
        self.latest: dict[str, float] = {}
        self.shown: list[str] = []
        self.in_time: list[bool] = []
        """Of each login, whether the token before was still good."""
        self.renewals: list[float] = []
        self.draws = draw
        login = login_for(APPROLE, self.target)
        self.keeper = TokenKeeper(login, self, clock=self.clock, draw=lambda: self.draws, owner=False)  # type: ignore[arg-type]

    @property
    def logins(self) -> int:
        return len(self.ends)

    def send(self, method: str, path: str, *, headers: dict[str, str], **_: Any) -> Reply:
        if not self.up:
            raise BackendUnavailableError("no answer", code="connection_refused")
        now, token = self.clock(), headers.get("X-Vault-Token", "")
        if path.endswith("/login"):
            return self.log_in(now)
        if now >= self.ends.get(token, 0):
            return reply(403, REFUSED)
        if path.endswith("/renew-self"):
            return self.renew(now, token)
        self.shown.append(token)
        return reply(200, {"data": {}})

    def log_in(self, now: float) -> Reply:
        self.in_time.append(not self.ends or now < max(self.ends.values()))
        token = f"token-{len(self.ends) + 1}"
        self.ends[token], self.latest[token] = now + self.ttl, now + self.longest
        return reply(200, granted(token, ttl=int(self.ttl), **self.answer))

    def renew(self, now: float, token: str) -> Reply:
        if self.renewals_refused:
            return reply(403, DENIED)
        self.renewals.append(now)
        self.ends[token] = min(now + self.ttl, self.latest[token])
        return reply(200, granted(token, ttl=int(self.ends[token] - now)))

    def read(self) -> str:
        """Read as the backend does, and return which token was shown."""
        VaultAdapter(self, self.keeper).send("GET", "/v1/secret/data/name")  # type: ignore[arg-type]
        return self.shown[-1]

    def pass_time(self, seconds: float) -> None:
        """Let time pass; the owner does what is due when it is due."""
        end = self.clock() + seconds
        while self.keeper.due() <= end:
            self.clock.advance(max(0.0, self.keeper.due() - self.clock()))
            self.keeper.step()
        self.clock.advance(end - self.clock())


def reply(status: int, body: Any) -> Reply:
    return Reply(status, {}, json.dumps(body).encode())


@settings(deadline=None)
@given(draw=st.floats(0, 1))
def test_a_token_is_renewed_when_half_to_three_fifths_of_its_life_are_over(draw: float) -> None:
    world = World(draw=draw)
    start = world.clock()
    world.read()
    world.pass_time(600)
    gaps = [second - first for first, second in itertools.pairwise([start, *world.renewals])]
    assert len(gaps) >= 15
    assert all(29.9 <= gap <= 36.1 for gap in gaps)
    assert world.logins == 1


@settings(deadline=None)
@given(draw=st.floats(0, 1), start=st.floats(0, 120))
def test_an_outage_of_a_third_of_its_life_costs_no_login(draw: float, start: float) -> None:
    world = World(draw=draw)
    world.read()
    world.pass_time(start)
    world.up = False
    world.pass_time(20)
    world.up = True
    assert world.read() == "token-1"
    world.pass_time(TTL)
    assert world.read() == "token-1"
    assert world.logins == 1


def test_tries_in_an_outage_become_rarer_and_go_on_to_the_end() -> None:
    world = World(ttl=3600, draw=1.0)
    world.read()
    world.up = False
    tries = []
    while world.keeper.due() < world.clock() + 3600:
        world.clock.advance(world.keeper.due() - world.clock())
        tries.append(world.clock())
        world.keeper.step()
    gaps = [second - first for first, second in itertools.pairwise(tries)]
    assert gaps[:5] == [1, 2, 4, 8, 16]
    assert max(gaps) == 30
    assert tries[-1] - tries[0] > 1430


@pytest.mark.parametrize("hours", [-1, 1, 24 * 365])
def test_moving_the_wall_clock_changes_nothing(hours: int) -> None:
    world = World()
    world.read()
    due, left = world.keeper.due(), world.keeper.tenure()[1]
    world.clock.set_wall(world.clock.now() + timedelta(hours=hours))
    assert (world.keeper.due(), world.keeper.tenure()[1]) == (due, left)
    assert world.read() == "token-1"
    assert world.logins == 1


@settings(deadline=None)
@given(draw=st.floats(0, 1), longest=st.integers(61, 400))
def test_at_the_longest_life_there_is_a_new_login_without_a_failed_read(draw: float, longest: int) -> None:
    world = World(draw=draw, longest=longest)
    for _ in range(500):
        assert world.ends[world.read()] > world.clock()
        world.pass_time(1)
    assert 500 / longest - 1 <= world.logins <= 500 / (longest * 0.75) + 2
    assert all(world.in_time)


def test_a_token_that_cannot_be_renewed_is_replaced_before_it_ends() -> None:
    world = World(renewable=False, token_type="batch")
    for _ in range(300):
        world.read()
        world.pass_time(1)
    assert world.renewals == []
    assert 5 <= world.logins <= 7
    assert all(world.in_time)


def test_a_renewal_at_the_very_end_does_not_make_a_token_endless() -> None:
    world = World(ttl=60)
    world.read()
    world.up = False
    world.pass_time(59.5)
    world.up, world.ttl = True, 0
    world.pass_time(0.4)
    assert world.renewals
    assert world.keeper.tenure()[1] < 1


def test_each_token_has_a_number_of_its_own() -> None:
    world = World(ttl=60, longest=100)
    assert world.keeper.tenure() == (0, math.inf)
    world.read()
    first = world.keeper.tenure()[0]
    world.pass_time(40)
    assert world.renewals
    assert world.keeper.tenure()[0] == first
    world.pass_time(60)
    assert world.logins == 2
    assert world.keeper.tenure()[0] not in (0, first)


def test_an_idle_process_does_not_log_in_again_and_again() -> None:
    world = World(renewable=False)
    world.read()
    world.pass_time(3600)
    assert world.logins <= 2
    assert world.keeper.due() == math.inf
    assert world.read() == f"token-{world.logins}"


def test_a_token_whose_renewal_is_not_allowed_is_replaced_before_it_ends() -> None:
    world = World()
    world.renewals_refused = True
    for _ in range(100):
        world.read()
        world.pass_time(1)
    assert 2 <= world.logins <= 3
    assert all(world.in_time)


def test_after_an_outage_that_outlasts_the_token_there_is_one_login() -> None:
    world = World()
    world.read()
    world.up = False
    world.pass_time(TTL + 1)
    with pytest.raises(BackendUnavailableError):
        world.read()
    world.up = True
    assert world.read() == "token-2"
    assert world.logins == 2


def test_a_token_that_ended_unnoticed_is_replaced_by_one_login() -> None:
    # The computer slept, and its monotonic clock with it.
    world = World()
    world.read()
    world.ends["token-1"] = 0
    assert world.read() == "token-2"


def test_a_token_without_an_end_is_never_renewed() -> None:
    world = World(lease_duration=0, renewable=False)
    world.read()
    assert world.keeper.due() == math.inf
    assert world.keeper.tenure()[1] == math.inf


class Lives(RuleBasedStateMachine):
    """Whatever happens: a read succeeds if the server answers, and there is no login that was not needed."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(longest=300)
        self.lost: set[str] = set()
        """Tokens that were revoked, or whose renewal was refused."""
        log_in = self.world.log_in

        def watched(now: float) -> Reply:
            for token, end in self.world.ends.items():
                nears_its_end = self.world.latest[token] - now < TTL
                assert now >= end or token in self.lost or nears_its_end, f"{token} was still good"
            return log_in(now)

        renew = self.world.renew

        def noted(now: float, token: str) -> Reply:
            if self.world.renewals_refused:
                self.lost.add(token)
            return renew(now, token)

        self.world.log_in, self.world.renew = watched, noted  # type: ignore[method-assign]

    @rule(seconds=st.floats(0, 100), draw=st.floats(0, 1))
    def time_passes(self, seconds: float, draw: float) -> None:
        self.world.draws = draw
        self.world.pass_time(seconds)

    @precondition(lambda self: self.world.up)
    @rule()
    def the_server_stops_answering(self) -> None:
        self.world.up = False

    @precondition(lambda self: not self.world.up)
    @rule()
    def the_server_answers_again(self) -> None:
        self.world.up = True

    @rule(refused=st.booleans())
    def renewals_are_allowed_or_not(self, refused: bool) -> None:
        self.world.renewals_refused = refused

    @rule()
    def every_token_is_revoked(self) -> None:
        self.lost.update(self.world.ends)
        self.world.ends = dict.fromkeys(self.world.ends, 0.0)

    @rule()
    def somebody_reads(self) -> None:
        if self.world.up:
            token = self.world.read()
            assert self.world.ends[token] > self.world.clock()
            return
        with pytest.raises((BackendUnavailableError, RefusedError)):
            self.world.read()

    @invariant()
    def no_token_is_taken_for_good_that_is_not(self) -> None:
        life = self.world.keeper._life
        if life is not None and life.lasts(self.world.clock()) and life.token not in self.lost:
            assert self.world.ends[life.token] > self.world.clock()


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
