"""Sessions of the dashboard: who is logged in, and for how long."""

import inspect

import pytest

from strongroom.testing import FakeClock
from strongroom_agent import sessions
from strongroom_agent.sessions import IDLE_SECONDS, LONGEST_SECONDS, MOST, Sessions, Tickets


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens() -> dict[str, bytes]:
    """The digests of the tokens by which callers are let in."""
    return {name: name.encode() for name in ("operator", "auditor", "first", "second")}


@pytest.fixture
def store(clock: FakeClock, tokens: dict[str, bytes]) -> Sessions:
    return Sessions(tokens.get, clock=clock)


def begun(store: Sessions, caller: str = "operator") -> Tickets:
    tickets = store.begin(caller)
    assert tickets is not None
    return tickets


def test_whoever_is_not_let_in_begins_no_session(store: Sessions) -> None:
    assert store.begin("stranger") is None
    assert len(store) == 0


@pytest.mark.parametrize("token", [b"another", None])
def test_a_session_lasts_no_longer_than_the_token_it_began_with(
    store: Sessions, tokens: dict[str, bytes], token: bytes | None
) -> None:
    """Whoever replaces a token that others have got hold of is rid of their sessions, too."""
    tickets, other = begun(store), begun(store, "auditor")
    former = tokens.pop("operator")
    if token is not None:
        tokens["operator"] = token
    assert store.find(tickets.cookie, tickets.key) is None
    assert store.find(other.cookie, other.key) == "auditor"
    tokens["operator"] = former
    assert store.find(tickets.cookie, tickets.key) is None


def test_a_session_is_found_by_its_cookie_and_key(store: Sessions) -> None:
    tickets = begun(store)
    assert store.find(tickets.cookie, tickets.key) == "operator"


def test_the_cookie_alone_is_worth_nothing(store: Sessions) -> None:
    """Another port of the same host gets the cookie from the browser, too."""
    mine, other = begun(store), begun(store)
    assert store.find(mine.cookie, "") is None
    assert store.find(mine.cookie, other.key) is None
    assert store.find("", mine.key) is None
    assert store.find(mine.key, mine.cookie) is None


def test_two_sessions_have_nothing_in_common(store: Sessions) -> None:
    tickets = [begun(store) for _ in range(10)]
    assert len({one.cookie for one in tickets} | {one.key for one in tickets}) == 20
    assert all(len(one.cookie) >= 43 and len(one.key) >= 43 for one in tickets)


def test_a_session_that_is_not_used_ends(store: Sessions, clock: FakeClock) -> None:
    tickets = begun(store)
    clock.advance(IDLE_SECONDS - 1)
    assert store.find(tickets.cookie, tickets.key) == "operator"
    clock.advance(IDLE_SECONDS - 1)
    assert store.find(tickets.cookie, tickets.key) == "operator"
    clock.advance(IDLE_SECONDS)
    assert store.find(tickets.cookie, tickets.key) is None
    assert len(store) == 0


def test_a_session_ends_however_much_it_is_used(store: Sessions, clock: FakeClock) -> None:
    tickets = begun(store)
    step = IDLE_SECONDS / 2
    for _ in range(int(LONGEST_SECONDS / step) - 1):
        clock.advance(step)
        assert store.find(tickets.cookie, tickets.key) == "operator"
    clock.advance(step)
    assert store.find(tickets.cookie, tickets.key) is None


def test_a_wrong_key_does_not_keep_a_session_alive(store: Sessions, clock: FakeClock) -> None:
    tickets = begun(store)
    clock.advance(IDLE_SECONDS - 1)
    assert store.find(tickets.cookie, "wrong") is None
    clock.advance(1)
    assert store.find(tickets.cookie, tickets.key) is None


def test_a_session_that_was_ended_is_gone(store: Sessions) -> None:
    tickets, other = begun(store), begun(store, "auditor")
    store.end(tickets.cookie, "wrong")
    assert store.find(tickets.cookie, tickets.key) == "operator"
    store.end(tickets.cookie, tickets.key)
    assert store.find(tickets.cookie, tickets.key) is None
    assert store.find(other.cookie, other.key) == "auditor"


def test_there_are_so_many_sessions_and_no_more(store: Sessions, clock: FakeClock) -> None:
    """The one that was not used for longest makes room."""
    first = begun(store, "first")
    second = begun(store, "second")
    clock.advance(1)
    store.find(first.cookie, first.key)
    for _ in range(MOST - 1):
        clock.advance(0.001)
        begun(store)
    assert len(store) == MOST
    assert store.find(first.cookie, first.key) == "first"
    assert store.find(second.cookie, second.key) is None


def test_nothing_that_is_kept_opens_a_session(store: Sessions) -> None:
    tickets = begun(store)
    assert tickets.cookie not in repr(vars(store))
    assert tickets.key not in repr(tickets)
    kept = next(iter(store._sessions.values()))
    texts = [getattr(kept, name) for name in kept.__slots__]
    assert tickets.cookie.encode() not in texts
    assert tickets.key.encode() not in texts


def test_text_that_is_no_unicode_finds_nothing(store: Sessions) -> None:
    begun(store)
    assert store.find("\ud800", "\udfff") is None


def test_keys_are_compared_in_constant_time() -> None:
    source = inspect.getsource(sessions)
    assert "hmac.compare_digest(" in source
    assert "== key" not in source
    assert "key ==" not in source
