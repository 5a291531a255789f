"""How often the server and the backend are asked when logins are refused, whatever the order of things."""

from __future__ import annotations

import itertools
import os
import threading

from types import SimpleNamespace

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st

from sqlaccess import NAME, Held
from strongroom import Secret, SecretManager, open
from strongroom.errors import BackendUnavailableError
from strongroom.testing import FakeClock
from strongroom_sqlalchemy import LoginOptions
from strongroom_sqlalchemy.login import Actions, Login, lead


class RefusedError(Exception):
    """What this driver raises; it cannot be copied."""

    def __reduce__(self) -> str:
        raise TypeError("no copies")


class Server:
    """Lets one password in, and notes each login."""

    def __init__(self, password: str) -> None:
        self.password = password
        self.logins: list[tuple[float, str, bool]] = []

    def connect(self, password: str, now: float) -> str:
        self.logins.append((now, password, password == self.password))
        if password != self.password:
            raise RefusedError
        return "connected"


class Client:
    """Connects with what a manager gives, on a clock that stands still."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.held = Held()
        self.held.put(NAME, "a")
        self.server = Server("a")
        self.manager: SecretManager = open(
            {"audit": "none", "backend": "held"}, backends={"held": self.held}, clock=self.clock
        )
        self.login = Login(
            NAME,
            LoginOptions(
                username="app",
                is_refused=lambda error: isinstance(error, RefusedError),
                cool_down=10,
                max_cool_down=40,
                clock=self.clock,
            ),
        )

    def connect(self) -> bool:
        actions = Actions(
            read=lambda: self.manager.get(NAME),
            refresh=self.refresh,
            wait=lambda waiter, seconds: waiter.wait(seconds),
            opened=lambda credentials: self.server.connect(str(credentials.reveal()["password"]), self.clock()),
        )
        try:
            lead(self.login.steps(), actions)
        except Exception:
            return False
        return True

    def refresh(self) -> Secret:
        return self.manager.refresh(NAME)


@pytest.fixture
def client() -> Client:
    return Client()


PASSWORDS = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.none()),
        st.tuples(st.just("server"), PASSWORDS),
        st.tuples(st.just("store"), PASSWORDS),
        st.tuples(st.just("elsewhere"), PASSWORDS),
        st.tuples(st.just("time"), st.floats(0.1, 30)),
    ),
    max_size=60,
)


# Others work on this machine, too.
@settings(deadline=None)
@given(STEPS)
def test_no_password_is_refused_twice_within_its_cool_down_unless_one_was_accepted_between(
    steps: list[tuple[str, str | float | None]],
) -> None:
    client = Client()
    for what, value in steps:
        if what == "connect":
            client.connect()
        elif what == "server":
            client.server.password = str(value)
        elif what == "store":
            client.manager.set(NAME, str(value))
        elif what == "elsewhere":
            client.held.put(NAME, str(value))
        elif isinstance(value, float):
            client.clock.advance(value)
    refused: dict[str, float] = {}
    for now, password, was_accepted in client.server.logins:
        if was_accepted:
            refused.clear()
            continue
        assert now - refused.get(password, float("-inf")) >= 10
        refused[password] = now
    # What is right on both sides is accepted once all pauses are over.
    client.manager.set(NAME, client.server.password)
    client.clock.advance(40)
    assert client.connect()


@settings(deadline=None)
@given(st.lists(st.floats(0.05, 5), min_size=1, max_size=100))
def test_the_backend_is_asked_at_most_once_a_second_while_logins_are_refused(pauses: list[float]) -> None:
    client = Client()
    client.server.password = "b"
    client.manager.get(NAME)
    times: list[float] = []
    refresh = client.refresh
    client.refresh = lambda: times.append(client.clock()) or refresh()  # type: ignore[method-assign, func-returns-value]  # as a spy
    for pause in pauses:
        client.connect()
        client.clock.advance(pause)
    assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))
    assert len(times) <= 6 + sum(pauses) / 16


def test_an_error_that_cannot_be_copied_is_replaced(client: Client) -> None:
    client.server.password = "b"
    assert not client.connect()
    credentials = client.login.note(client.manager.get(NAME))
    error = client.login.guard.again(credentials)
    assert "refused" in str(error)
    assert "not asked again" in error.__notes__[0]


def test_a_connection_is_given_up_without_a_new_secret_only_if_its_own_has_ended(client: Client) -> None:
    def unreadable() -> Secret:
        raise BackendUnavailableError("no answer")

    assert client.connect()
    version = client.manager.get(NAME).version
    client.login.heard(SimpleNamespace(change="seen", version="another"))
    assert client.login.is_outdated(version)
    assert not client.login.replaceable(version, unreadable)
    client.login.heard(SimpleNamespace(change="expire", version=None))
    assert client.login.is_outdated(version)
    assert client.login.replaceable(version, unreadable)


def test_what_was_taken_for_another_version_is_looked_at_again(client: Client) -> None:
    assert client.connect()
    version = client.manager.get(NAME).version
    client.login.heard(SimpleNamespace(change="seen", version="of a moment ago"))
    assert not client.login.replaceable(version, lambda: client.manager.get(NAME))
    assert not client.login.is_outdated(version)


def test_a_forked_child_does_not_wait_for_the_parents_threads(client: Client) -> None:
    """The parent's thread is in the middle of a login, and never comes out in the child."""
    inside, leave = threading.Event(), threading.Event()
    usual = client.server.connect

    def slowly(password: str, now: float) -> str:
        inside.set()
        leave.wait(30)
        return usual(password, now)

    client.server.connect = slowly  # type: ignore[method-assign]  # for this test
    thread = threading.Thread(target=client.connect)
    thread.start()
    inside.wait(30)
    client.server.connect = usual  # type: ignore[method-assign]  # as it was
    child = os.fork()
    if not child:
        waited = client.login.guard.enter(client.login.note(client.manager.get(NAME)))
        os._exit(0 if waited is None else 1)
    leave.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert client.connect()
