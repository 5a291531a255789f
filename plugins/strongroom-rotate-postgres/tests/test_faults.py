"""What goes wrong between us and the server: outages are outages, refusals are refusals, and no value shows."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import time
import traceback

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from faultproxy import FaultProxy
from pgrotation import RefusingProxy, accepts, login, new_users, with_passwordcheck
from postgres import PASSWORD, Database, database
from strongroom.contracts import ApplyRequest, GenerateRequest, UndoRequest, VerifyCandidateRequest
from strongroom.errors import (
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    CandidateRefusedError,
    ConfigurationError,
    StrongroomError,
)
from strongroom.model import SecretName, SecretValue
from strongroom_rotate_postgres import faults
from strongroom_rotate_postgres.rotators import AlternatingRotator
from strongroom_rotate_postgres.settings import AlternatingSettings

NAME = SecretName("db/orders")
ADMIN = SecretValue(login("postgres", PASSWORD))
FAST: dict[str, Any] = {"connect_timeout": 2.0, "statement_timeout": 1.0}


def rotator(port: int, users: list[str], **more: Any) -> AlternatingRotator:
    given = {"host": "127.0.0.1", "port": port, "sslmode": "disable", "admin_secret": "db/admin"} | FAST | more
    return AlternatingRotator(AlternatingSettings(users=tuple(users), **given))


def generate(made: AlternatingRotator, current: str) -> SecretValue:
    return made.generate(GenerateRequest(name=NAME, current=SecretValue(current), attempt=1, read_secret=read)).value


def read(name: str) -> SecretValue:
    return ADMIN


def apply(
    made: AlternatingRotator, candidate: SecretValue, current: str, confirm: Callable[[], None] = lambda: None
) -> None:
    made.apply(
        ApplyRequest(name=NAME, candidate=candidate, current=SecretValue(current), read_secret=read, confirm=confirm)
    )


def verify(made: AlternatingRotator, candidate: SecretValue) -> None:
    made.verify(VerifyCandidateRequest(name=NAME, candidate=candidate, read_secret=read))


def undo(made: AlternatingRotator, candidate: SecretValue, current: str) -> None:
    made.undo(
        UndoRequest(
            name=NAME, candidate=candidate, current=SecretValue(current), read_secret=read, confirm=lambda: None
        )
    )


def shown(error: BaseException | None) -> str:
    """Return all that a log or an error tracker may show of an error."""
    text = ""
    while error is not None:
        text += "".join(traceback.format_exception(error)) + repr(vars(error))
        trace = error.__traceback__
        while trace is not None:
            if "/src/" in trace.tb_frame.f_code.co_filename:
                text += repr(trace.tb_frame.f_locals)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return text


def password_of(value: SecretValue) -> str:
    return str(json.loads(value.reveal())["password"])


@pytest.fixture
def users(server: Database) -> list[str]:
    return new_users(server, 2)


@pytest.fixture
def proxy(server: Database) -> Iterator[FaultProxy]:
    with FaultProxy(server.port) as made:
        yield made


class TestOutages:
    @pytest.mark.parametrize("harm", ["refuse", "reset", "blackhole", "cut_after"])
    def test_a_server_out_of_reach_is_an_outage_at_each_step(
        self, proxy: FaultProxy, users: list[str], harm: str
    ) -> None:
        made = rotator(proxy.port, users)
        candidate = generate(made, login(users[0]))
        if harm == "refuse":
            proxy.refuse()
        else:
            setattr(proxy, harm, 20 if harm == "cut_after" else True)
        steps: list[Callable[[], object]] = [
            lambda: generate(made, login(users[0])),
            lambda: apply(made, candidate, login(users[0])),
            lambda: verify(made, candidate),
        ]
        for step in steps:
            with pytest.raises(BackendUnavailableError) as caught:
                step()
            assert caught.value.unsent
            assert password_of(candidate) not in shown(caught.value)

    def test_a_server_that_stops_in_the_middle_is_an_outage_after_which_the_change_may_be_made(
        self, proxy: FaultProxy, users: list[str]
    ) -> None:
        made = rotator(proxy.port, users)
        candidate = generate(made, login(users[0]))

        def stop() -> None:
            proxy.blackhole = True

        began = time.monotonic()
        with pytest.raises(BackendUnavailableError) as caught:
            apply(made, candidate, login(users[0]), stop)
        assert time.monotonic() - began < 10
        assert not caught.value.unsent
        assert password_of(candidate) not in shown(caught.value)
        assert "SCRAM" not in shown(caught.value)
        proxy.heal()
        apply(made, candidate, login(users[0]))
        verify(made, candidate)

    def test_a_session_that_the_server_ends_is_an_outage(
        self, server: Database, proxy: FaultProxy, users: list[str]
    ) -> None:
        made = rotator(proxy.port, users)
        candidate = generate(made, login(users[0]))

        def end() -> None:
            server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'strongroom'")

        with pytest.raises(BackendUnavailableError):
            apply(made, candidate, login(users[0]), end)
        assert not accepts(server, candidate.reveal())

    def test_two_hosts_that_rotate_one_secret_wait_for_each_other(self, server: Database, users: list[str]) -> None:
        made = rotator(server.port, users)
        candidate = generate(made, login(users[0]))

        def meanwhile() -> None:
            with pytest.raises(BackendUnavailableError) as caught:
                apply(rotator(server.port, users), generate(made, login(users[0])), login(users[0]))
            assert caught.value.code == "timeout"

        apply(made, candidate, login(users[0]), meanwhile)
        assert accepts(server, candidate.reveal())

    def test_a_standby_is_an_outage(self, users: list[str]) -> None:
        with database("default_transaction_read_only=on") as standby:
            with psycopg.connect(standby.url("postgres", PASSWORD), autocommit=True) as connection:
                connection.execute("SET default_transaction_read_only = off")
                for user in users:
                    connection.execute(f"CREATE ROLE {user} LOGIN")
            made = rotator(standby.port, users)
            with pytest.raises(BackendUnavailableError, match="25006") as caught:
                apply(made, generate(made, login(users[0])), login(users[0]))
            assert caught.value.unsent

    def test_too_many_connections_are_an_outage_not_a_refusal(self, server: Database, users: list[str]) -> None:
        made = rotator(server.port, users)
        candidate = generate(made, login(users[0]))
        apply(made, candidate, login(users[0]))
        server.query(f"ALTER ROLE {users[1]} CONNECTION LIMIT 0")
        with pytest.raises(BackendUnavailableError) as caught:
            verify(made, candidate)
        assert caught.value.code == "busy"


class TestRefusals:
    @pytest.mark.parametrize("state", ["22023", "28P01", "23514", "P0001"])
    def test_what_rules_for_passwords_refuse_is_a_refused_candidate(
        self, server: Database, users: list[str], state: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        with RefusingProxy(server.port, 1, state) as proxy:
            made = rotator(proxy.port, users, encrypt=False)
            candidate = generate(made, login(users[0]))
            with pytest.raises(CandidateRefusedError, match=state) as caught:
                apply(made, candidate, login(users[0]))
            (statement,) = proxy.changes
        assert password_of(candidate).encode() in statement, "the test would prove nothing"
        assert password_of(candidate) not in shown(caught.value) + caplog.text
        assert accepts(server, login(users[1]))

    def test_the_password_is_in_no_statement_unless_asked_for(self, server: Database, users: list[str]) -> None:
        with RefusingProxy(server.port, 0) as proxy:
            made = rotator(proxy.port, users)
            candidate = generate(made, login(users[0]))
            apply(made, candidate, login(users[0]))
            (statement,) = proxy.changes
        assert b"SCRAM-SHA-256$" in statement
        assert password_of(candidate).encode() not in statement

    def test_anything_else_is_an_error_without_the_servers_words(self, server: Database, users: list[str]) -> None:
        with RefusingProxy(server.port, 1, "XX000") as proxy:
            made = rotator(proxy.port, users)
            with pytest.raises(BackendError, match="XX000") as caught:
                apply(made, generate(made, login(users[0])), login(users[0]))
        assert "too weak" not in shown(caught.value)

    def test_passwordcheck_sees_the_password_without_encryption_only(self) -> None:
        with database("shared_preload_libraries=passwordcheck", binaries=with_passwordcheck()) as checking:
            users = ["app_a", "app_b"]
            for user in users:
                checking.query(f"CREATE ROLE {user} LOGIN")
            letters = {"alphabet": "abcdefghijklmnopqrstuvwxyz"}
            blind, seeing = (
                rotator(checking.port, users, **letters),
                rotator(checking.port, users, encrypt=False, **letters),
            )
            candidate = generate(seeing, login("app_a"))
            with pytest.raises(CandidateRefusedError):
                apply(seeing, candidate, login("app_a"))
            apply(blind, candidate, login("app_a"))
            # Even for rules that no candidate fits.
            undo(seeing, candidate, login("app_a"))
            assert not accepts(checking, candidate.reveal())
            mixed = rotator(checking.port, users, encrypt=False)
            candidate = generate(mixed, login("app_a"))
            apply(mixed, candidate, login("app_a"))
            verify(mixed, candidate)

    def test_a_login_without_a_password_proves_nothing(self, users: list[str]) -> None:
        with tempfile.NamedTemporaryFile("w", prefix="hba-") as rules:
            rules.write("host all all 127.0.0.1/32 trust\n")
            rules.flush()
            # The server runs as somebody else.
            os.chmod(rules.name, 0o644)
            with database(f"hba_file={rules.name}") as trusting:
                for user in users:
                    trusting.query(f"CREATE ROLE {user} LOGIN")
                made = rotator(trusting.port, users, admin_secret=None, admin_user="postgres")
                candidate = generate(made, login(users[0]))
                apply(made, candidate, login(users[0]))
                with pytest.raises(ConfigurationError, match="without asking"):
                    verify(made, candidate)


class TestTheServer:
    def test_a_server_without_tls_is_no_outage(self, server: Database, users: list[str]) -> None:
        with pytest.raises(BackendError) as caught:
            generate(rotator(server.port, users, sslmode="require"), login(users[0]))
        assert caught.value.code == "tls_failed"

    def test_a_password_is_not_sent_in_clear_to_an_unknown_server(self, users: list[str]) -> None:
        """Whoever sits in between could else ask for it."""
        with FaultProxy(1) as stranger:
            # AuthenticationCleartextPassword, to whatever is sent first.
            stranger.answer = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
            with pytest.raises(ConfigurationError, match="in clear"):
                generate(rotator(stranger.port, users), login(users[0]))

    @pytest.mark.parametrize("place", ["host=/tmp hostaddr=127.0.0.1", "host=/nowhere,127.0.0.1"])
    def test_nor_to_one_that_is_only_named_beside_a_folder(self, users: list[str], place: str) -> None:
        with FaultProxy(1) as stranger:
            stranger.answer = b"R\x00\x00\x00\x08\x00\x00\x00\x03"
            dsn = f"{place} port={stranger.port} sslmode=disable"
            settings = AlternatingSettings(users=tuple(users), dsn=dsn, admin_secret="db/admin", **FAST)
            with pytest.raises(ConfigurationError, match="in clear"):
                generate(AlternatingRotator(settings), login(users[0]))


class Refused(psycopg.OperationalError):
    """A refused connection, as libpq tells of it."""

    def __init__(self, text: str, *, asked: bool) -> None:
        super().__init__(text)
        self._asked = asked

    @property
    def pgconn(self) -> Any:
        class Answer:
            used_password = self._asked

        return Answer


@pytest.mark.parametrize(
    ("text", "asked", "error"),
    [
        ('FATAL:  password authentication failed for user "a"', True, AuthenticationError),
        ("FATAL:  Passwort-Authentifizierung für Benutzer »a« fehlgeschlagen", True, AuthenticationError),
        ('FATAL:  no pg_hba.conf entry for host "::1", user "a", no encryption', False, AuthenticationError),
        ('FATAL:  role "a" is not permitted to log in', True, AuthenticationError),
        ("FATAL:  the database system is starting up", False, BackendUnavailableError),
        ("FATAL:  sorry, too many clients already", False, BackendUnavailableError),
        ("server closed the connection unexpectedly", True, BackendUnavailableError),
        ('could not translate host name "h" to address', False, BackendUnavailableError),
        ("connection timeout expired", False, BackendUnavailableError),
        ('root certificate file "x" does not exist', False, BackendError),
        ("SSL error: certificate verify failed", False, BackendError),
        ("something in another language", False, BackendUnavailableError),
    ],
)
def test_a_refused_connection_is_told_from_its_text(text: str, asked: bool, error: type[StrongroomError]) -> None:
    state = faults.of_login(Refused(text, asked=asked))
    assert type(faults.meaning(state, "logging in")) is error
