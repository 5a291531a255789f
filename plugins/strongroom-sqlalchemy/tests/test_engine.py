"""Engines that log in with what a secret says, at a real server."""

from __future__ import annotations

import json
import logging
import threading
import time
import traceback

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy

from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from faultproxy import FaultProxy
from postgres import Database
from sqlaccess import NAME, Held, User
from strongroom import SecretManager, SecretValue
from strongroom.errors import BackendUnavailableError, ConfigurationError, SecretNotFoundError
from strongroom.testing import FakeClock, assert_hidden
from strongroom_sqlalchemy import LoginOptions, connect_with, create_engine

DRIVERS = ("psycopg", "psycopg2", "pg8000")
# One connection a login: no second one without encryption.
PLAIN = {"sslmode": "disable", "gssencmode": "disable"}


@pytest.fixture
def engine_of(manager: SecretManager, way: FaultProxy, clock: FakeClock) -> Iterator[Callable[..., sqlalchemy.Engine]]:
    """Make an engine whose connections go the counted way."""
    made: list[sqlalchemy.Engine] = []

    def make(driver: str = "psycopg", *, secret: str = NAME, **options: Any) -> sqlalchemy.Engine:
        settings = options.pop("settings", LoginOptions(clock=clock))
        if driver != "pg8000":
            options.setdefault("connect_args", PLAIN)
        url = f"postgresql+{driver}://127.0.0.1:{way.port}/postgres"
        made.append(create_engine(url, manager=manager, secret=secret, settings=settings, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


def who(engine: sqlalchemy.Engine) -> str:
    """Return who the server says that a connection from the pool is."""
    with engine.connect() as connection:
        return str(connection.scalar(sqlalchemy.text("SELECT session_user")))


def session(engine: sqlalchemy.Engine) -> int:
    """Return the server's number of the session that a connection from the pool is."""
    with engine.connect() as connection:
        return int(connection.scalar(sqlalchemy.text("SELECT pg_backend_pid()")))


@pytest.mark.parametrize("driver", DRIVERS)
class TestWithEachDriver:
    def test_the_login_is_what_the_secret_says(
        self, engine_of: Callable[..., sqlalchemy.Engine], driver: str, user: User
    ) -> None:
        assert who(engine_of(driver)) == user.name

    def test_a_refused_login_leads_to_one_refresh_and_one_more_login(
        self, engine_of: Callable[..., sqlalchemy.Engine], driver: str, user: User, held: Held, way: FaultProxy
    ) -> None:
        engine = engine_of(driver, poolclass=NullPool)
        assert who(engine) == user.name
        user.change()
        held.put(NAME, user.login())
        reads, logins = len(held.reads), way.accepted
        assert who(engine) == user.name
        assert (len(held.reads) - reads, way.accepted - logins) == (1, 2)

    def test_a_login_that_was_refused_is_not_tried_again_before_it_has_cooled_down(
        self, engine_of: Callable[..., sqlalchemy.Engine], driver: str, user: User, way: FaultProxy, clock: FakeClock
    ) -> None:
        engine = engine_of(driver)
        user.change()
        with pytest.raises(DBAPIError) as first:
            who(engine)
        for _ in range(20):
            with pytest.raises(DBAPIError) as again:
                who(engine)
            assert type(again.value.orig) is type(first.value.orig)
            assert str(again.value.orig) == str(first.value.orig)
            assert "not asked again" in again.value.orig.__notes__[0]
            clock.advance(1)
        assert way.accepted == 1
        clock.advance(11)
        with pytest.raises(DBAPIError):
            who(engine)
        assert way.accepted == 2


class TestCoolingDown:
    def test_each_further_refusal_doubles_the_pause_up_to_its_limit(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, way: FaultProxy, clock: FakeClock
    ) -> None:
        engine = engine_of(settings=LoginOptions(cool_down=10, max_cool_down=25, clock=clock))
        user.change()
        for pause in (10, 20, 25, 25):
            logins = way.accepted
            with pytest.raises(OperationalError):
                who(engine)
            clock.advance(pause - 0.5)
            with pytest.raises(OperationalError):
                who(engine)
            assert way.accepted == logins + 1
            clock.advance(0.5)

    def test_a_corrected_secret_heals_it_at_once(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, user: User
    ) -> None:
        engine = engine_of()
        user.change()
        with pytest.raises(OperationalError):
            who(engine)
        manager.set(NAME, user.login())
        assert who(engine) == user.name

    def test_a_secret_that_is_corrected_elsewhere_heals_it_after_a_second(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, held: Held, clock: FakeClock
    ) -> None:
        engine = engine_of()
        user.change()
        with pytest.raises(OperationalError):
            who(engine)
        held.put(NAME, user.login())
        clock.advance(1)
        assert who(engine) == user.name

    def test_the_backend_is_asked_less_and_less_often(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, held: Held, clock: FakeClock
    ) -> None:
        engine = engine_of()
        user.change()
        for _ in range(600):
            with pytest.raises(OperationalError):
                who(engine)
            clock.advance(0.5)
        # The first read, refreshes after 0, 1, 3, 7, 15 and 31 s, and from then on every 30 s.
        assert 10 <= len(held.reads) <= 17

    def test_a_backend_that_does_not_answer_leaves_the_refusal_as_it_is(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, held: Held, manager: SecretManager
    ) -> None:
        engine = engine_of()
        manager.get(NAME)
        user.change()
        held.is_out = True
        with pytest.raises(OperationalError, match="password authentication failed"):
            who(engine)

    def test_the_same_login_in_a_new_version_is_not_tried(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, held: Held, way: FaultProxy, clock: FakeClock
    ) -> None:
        engine = engine_of()
        refused = user.login(note="the same login")
        user.change()
        with pytest.raises(OperationalError):
            who(engine)
        held.put(NAME, refused)
        clock.advance(1)
        with pytest.raises(OperationalError):
            who(engine)
        assert way.accepted == 1

    def test_many_threads_with_a_wrong_password_ask_the_server_once(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, way: FaultProxy, held: Held
    ) -> None:
        engine = engine_of(poolclass=NullPool)
        user.change()
        start = threading.Barrier(20)

        def attempt(_: int) -> str:
            start.wait()
            with pytest.raises(OperationalError) as caught:
                who(engine)
            return str(caught.value.orig)

        with ThreadPoolExecutor(20) as threads:
            errors = set(threads.map(attempt, range(20)))
        assert len(errors) == 1
        assert way.accepted == 1
        # Of the cache, and the refresh.
        assert len(held.reads) == 2

    def test_threads_whose_login_was_good_until_now_make_a_handful_of_attempts(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, way: FaultProxy
    ) -> None:
        engine = engine_of(poolclass=NullPool)
        who(engine)
        user.change()
        logins = way.accepted
        start = threading.Barrier(20)

        def attempt(_: int) -> None:
            start.wait()
            with pytest.raises(OperationalError):
                who(engine)

        with ThreadPoolExecutor(20) as threads:
            list(threads.map(attempt, range(20)))
        assert 1 <= way.accepted - logins <= 4

    def test_another_failure_than_a_refusal_cools_nothing_down(
        self, engine_of: Callable[..., sqlalchemy.Engine], way: FaultProxy, user: User, held: Held
    ) -> None:
        engine = engine_of()
        way.reset = True
        for _ in range(2):
            with pytest.raises(OperationalError):
                who(engine)
        way.heal()
        assert who(engine) == user.name
        assert len(held.reads) == 1

    def test_what_is_a_refusal_can_be_told_otherwise(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, way: FaultProxy, clock: FakeClock
    ) -> None:
        engine = engine_of(settings=LoginOptions(is_refused=lambda error: False, clock=clock))
        user.change()
        for _ in range(2):
            with pytest.raises(OperationalError):
                who(engine)
        assert way.accepted == 2


class TestPooledConnections:
    def test_one_that_was_made_with_another_version_is_replaced_when_it_is_taken_out(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, user: User
    ) -> None:
        engine = engine_of()
        first = session(engine)
        assert session(engine) == first
        manager.set(NAME, user.login(note="another version"))
        second = session(engine)
        assert second != first
        assert session(engine) == second

    def test_one_is_kept_as_long_as_the_secret_cannot_be_read(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, user: User, held: Held
    ) -> None:
        engine = engine_of()
        first = session(engine)
        manager.set(NAME, user.login(note="another version"))
        held.is_out = True
        assert session(engine) == first
        held.is_out = False
        assert session(engine) != first

    def test_one_is_kept_after_the_new_login_was_refused_to_another(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, user: User
    ) -> None:
        engine = engine_of(pool_size=2)
        pid = sqlalchemy.text("SELECT pg_backend_pid()")
        with engine.connect() as one, engine.connect() as other:
            sessions = {one.scalar(pid), other.scalar(pid)}
        manager.set(NAME, json.dumps({"username": user.name, "password": "the server does not know it yet"}))
        with pytest.raises(OperationalError):
            who(engine)
        assert session(engine) in sessions
        manager.set(NAME, user.login(note="known to the server"))
        assert session(engine) not in sessions

    def test_they_are_left_alone_if_so_wanted(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, user: User, clock: FakeClock
    ) -> None:
        engine = engine_of(settings=LoginOptions(recycle_on_update=False, clock=clock))
        first = session(engine)
        manager.set(NAME, user.login(note="another version"))
        assert session(engine) == first

    def test_a_deleted_secret_ends_no_connection(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager
    ) -> None:
        engine = engine_of()
        first = session(engine)
        manager.delete(NAME)
        assert session(engine) == first
        with engine.connect(), pytest.raises(SecretNotFoundError):
            who(engine)


class TestWhatTheSecretGives:
    def test_a_fixed_user_and_a_plain_password(
        self, engine_of: Callable[..., sqlalchemy.Engine], held: Held, user: User, clock: FakeClock
    ) -> None:
        held.put("db/password", user.password)
        settings = LoginOptions(username=user.name, clock=clock)
        assert who(engine_of(secret="db/password", settings=settings)) == user.name

    def test_members_of_other_names_and_the_address(
        self, manager: SecretManager, held: Held, user: User, way: FaultProxy, clock: FakeClock
    ) -> None:
        content = {"login": user.name, "pw": user.password, "at": "127.0.0.1", "on": way.port, "db": "postgres"}
        held.put("db/all", json.dumps(content))
        members = {"username": "login", "password": "pw", "host": "at", "port": "on", "database": "db"}
        settings = LoginOptions(members=members, clock=clock)
        engine = create_engine("postgresql+psycopg://", manager=manager, secret="db/all", settings=settings)
        assert who(engine) == user.name
        engine.dispose()

    def test_a_missing_member_is_said_with_its_name(
        self, engine_of: Callable[..., sqlalchemy.Engine], held: Held, way: FaultProxy
    ) -> None:
        held.put("db/half", '{"username": "somebody"}')
        with pytest.raises(SecretNotFoundError, match="password"):
            who(engine_of(secret="db/half"))
        assert way.accepted == 0

    def test_a_secret_that_cannot_be_read_is_the_error_of_the_connect(
        self, engine_of: Callable[..., sqlalchemy.Engine], held: Held
    ) -> None:
        held.is_out = True
        with pytest.raises(BackendUnavailableError):
            who(engine_of())


class TestAttaching:
    def test_it_ends_when_asked_to(self, manager: SecretManager, server: Database, user: User) -> None:
        engine = sqlalchemy.create_engine(
            f"postgresql+psycopg://127.0.0.1:{server.port}/postgres", poolclass=NullPool, connect_args={"user": "x"}
        )
        end = connect_with(engine, manager, NAME)
        assert who(engine) == user.name
        end()
        end()
        with pytest.raises(OperationalError):
            who(engine)

    def test_an_engine_of_another_kind_than_the_manager_is_refused(self, manager: SecretManager) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        with pytest.raises(ConfigurationError, match="do not go together"):
            connect_with(create_async_engine("postgresql+asyncpg://"), manager, NAME)

    def test_other_arguments_of_the_engine_stay(self, engine_of: Callable[..., sqlalchemy.Engine]) -> None:
        engine = engine_of(connect_args={**PLAIN, "application_name": "the-shop"})
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SHOW application_name")) == "the-shop"


class TestNoValueLeaks:
    def test_in_no_url_log_or_error(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        engine = engine_of(echo="debug", echo_pool="debug")
        refused = SecretValue(user.password)
        who(engine)
        engine.dispose()
        user.change()
        texts = [repr(engine), str(engine.url), engine.url.render_as_string(hide_password=False)]
        for _ in range(2):
            with pytest.raises(OperationalError) as caught:
                who(engine)
            texts += traceback.format_exception(caught.value)
        texts += [record.getMessage() for record in caplog.records]
        assert len(caplog.records) > 4
        for text in texts:
            assert_hidden(refused.reveal_text(), text, "what is shown")

    def test_in_no_variable_of_a_function_that_the_error_came_through(
        self, engine_of: Callable[..., sqlalchemy.Engine], user: User
    ) -> None:
        engine = engine_of()
        refused = SecretValue(user.password)
        user.change()
        with pytest.raises(OperationalError) as caught:
            who(engine)
        frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        shown = "".join(frames.format())
        assert "steps" in shown
        assert refused.reveal_text() not in shown


class TestUnderLoad:
    def test_no_checkout_fails_while_two_users_take_turns(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, server: Database, user: User
    ) -> None:
        engine = engine_of(pool_size=4, max_overflow=2)
        users, done, failures = [user, User(server)], threading.Event(), []
        seen: set[str] = set()

        def work() -> None:
            while not done.is_set():
                try:
                    seen.add(who(engine))
                except Exception as error:
                    failures.append(repr(error))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for turn in range(40):
            following = users[(turn + 1) % 2]
            following.change()
            manager.set(NAME, following.login())
            # Longer than from reading the secret to being logged in.
            time.sleep(0.1)
        done.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert seen == {each.name for each in users}

    def test_the_window_of_a_single_user_heals_by_itself(
        self, engine_of: Callable[..., sqlalchemy.Engine], manager: SecretManager, user: User, way: FaultProxy
    ) -> None:
        engine = engine_of(poolclass=NullPool)
        done, failures = threading.Event(), []

        def work() -> None:
            while not done.is_set():
                try:
                    assert who(engine) == user.name
                except OperationalError as error:
                    failures.append(str(error.orig))
                    time.sleep(0.001)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(5):
            time.sleep(0.1)
            user.change()
            time.sleep(0.05)
            manager.set(NAME, user.login())
            time.sleep(0.1)
            failures.clear()
            time.sleep(0.1)
            assert failures == []
        done.set()
        for thread in threads:
            thread.join()
