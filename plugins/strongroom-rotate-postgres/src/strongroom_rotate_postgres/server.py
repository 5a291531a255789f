"""The server: the administrator's session, in which passwords change, and logins that try them."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import socket
import threading

from collections.abc import Callable, Iterator
from typing import Any, Final, LiteralString

import psycopg

from psycopg import conninfo, pq, sql

from strongroom.errors import (
    AuthenticationError,
    CandidateRefusedError,
    ConfigurationError,
    StrongroomError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.pacing import time_left
from strongroom_rotate_postgres import faults
from strongroom_rotate_postgres.logins import Login
from strongroom_rotate_postgres.settings import PostgresSettings

Connection = psycopg.Connection[Any]

IDLE_SECONDS: Final = 120.0
"""How long the administrator's session may wait for us; the server then ends it, and so frees the lock of a host that
has gone to sleep."""
GRACE_SECONDS: Final = 2.0
"""How much longer than the server's own limit we wait for it to keep that."""
NO_CLEAR_TEXT: Final = 160000
"""The version of libpq from which on it can refuse to send a password in clear."""


class Server:
    """One server, as the settings say where it is.

    Args:
        settings: The settings.

    Raises:
        ConfigurationError: The connection string is none, or holds a user or password.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings
        self._place = _place(settings)
        port = self._place.get("port")
        self._name = f"PostgreSQL at {self._place.get('host', 'its default place')}{f':{port}' if port else ''}"

    @contextlib.contextmanager
    def administered(self, admin: Login | str, name: SecretName) -> Iterator[Administration]:
        """Open a transaction of the administrator's, alone among those that rotate a secret; commit it in the end.

        Args:
            admin: The administrator's login, or only the user.
            name: The secret.

        Raises:
            BackendUnavailableError: The server does not answer, or another host rotates the secret.
            AuthenticationError: It does not let the administrator in.
        """
        connection, state = self._connect(admin)
        if connection is None:
            user = admin if isinstance(admin, str) else admin.user
            raise faults.meaning(state, f"logging in to {self._name} as the administrator {user}")
        with contextlib.closing(connection):
            session = Administration(connection, self._settings, self._name)
            session.begin(name)
            yield session
            session.commit()

    def try_login(self, login: Login) -> None:
        """Log in as a reader of the secret does.

        Args:
            login: The user and the password.

        Raises:
            CandidateRefusedError: The server does not let the user in with that.
            ConfigurationError: It asks for no password, so that this proves nothing.
            BackendUnavailableError: It does not answer.
        """
        connection, state = self._connect(login, self._settings.login_dbname)
        what = f"logging in to {self._name} as {login.user}"
        if connection is None:
            raise _refused(faults.meaning(state, what), login.user)
        with contextlib.closing(connection):
            asked = connection.pgconn.used_password
            with limited(connection, self._settings.statement_timeout + GRACE_SECONDS):
                row = faults.asking(what, lambda: connection.execute("SELECT session_user").fetchone())
        if not asked:
            raise ConfigurationError(
                f"{self._name} lets {login.user} in without asking for the password, so nothing shows that it is right",
                hint="let pg_hba.conf say scram-sha-256 for this host and user",
            )
        if row is None or row[0] != login.user:
            raise CandidateRefusedError(
                f"{self._name} takes {login.user} for somebody else", hint="check its user maps"
            )

    def _connect(self, login: Login | str, dbname: str | None = None) -> tuple[Connection | None, str]:
        """Return a connection, or the SQLSTATE that tells why there is none."""
        given: dict[str, Any] = {"dbname": self._settings.dbname} | self._place
        if dbname is not None:
            given["dbname"] = dbname
        if isinstance(login, Login):
            given |= {"user": login.user, "password": login.password.reveal_text()}
        else:
            given["user"] = login
        left = time_left()
        seconds = self._settings.connect_timeout if left is None else min(left, self._settings.connect_timeout)
        # It is in whole seconds, and 0 stands for no limit.
        given["connect_timeout"] = max(1, math.ceil(seconds))
        try:
            return psycopg.connect(**given, autocommit=False), ""
        except psycopg.Error as error:
            return None, faults.of_login(error)


class Administration:
    """One transaction of the administrator's.

    Args:
        connection: The connection.
        settings: The settings.
        server: What the server is called in errors.
    """

    def __init__(self, connection: Connection, settings: PostgresSettings, server: str) -> None:
        self._connection = connection
        self._settings = settings
        self._server = server

    def begin(self, name: SecretName) -> None:
        """Set the session's limits, and wait until no other session rotates the secret."""
        limits = {
            "search_path": "pg_catalog",
            "statement_timeout": f"{math.ceil(self._settings.statement_timeout * 1000)}ms",
            "idle_in_transaction_session_timeout": f"{math.ceil(IDLE_SECONDS * 1000)}ms",
        }
        for limit, value in limits.items():
            self._ask("SELECT pg_catalog.set_config(%s, %s, true)", (limit, value))
        digest = hashlib.sha256(f"strongroom rotation of {name}".encode()).digest()
        key = int.from_bytes(digest[:8], "big", signed=True)
        self._ask("SELECT pg_advisory_xact_lock(%s::bigint)", (key,))

    def check_user(self, user: str) -> None:
        """Refuse a user that could not log in with whatever password.

        Raises:
            ConfigurationError: There is no such user, it may not log in, or it is not a member of the role.
        """
        row = self._ask("SELECT rolcanlogin, rolvaliduntil <= now() FROM pg_roles WHERE rolname = %s", (user,))
        problem = ""
        if row is None:
            problem = f"has no user {user}"
        elif not row[0]:
            problem = f"does not let {user} log in at all"
        elif row[1]:
            problem = f"has let the password of {user} run out, which a new one does not change"
        elif self._settings.role is not None and not self._is_member(user, self._settings.role):
            problem = f"has {user} not as a member of {self._settings.role}"
        if problem:
            raise ConfigurationError(
                f"{self._server} {problem}",
                hint="create the user or alter it; a rotation changes nothing of a user but its password",
            )

    def _is_member(self, user: str, role: str) -> bool:
        text = "SELECT pg_has_role(%s::name, oid, 'MEMBER') FROM pg_roles WHERE rolname = %s"
        row = self._ask(text, (user, role))
        return row is not None and bool(row[0])

    def set_passwords(self, passwords: dict[str, SecretValue | None], confirm: Callable[[], None]) -> None:
        """Change the passwords of users.

        Args:
            passwords: The new ones by user; ``None`` takes a user's password away, so that none lets it in.
            confirm: Called directly before; raises if that must not be any more.

        Raises:
            CandidateRefusedError: The server's rules do not allow a password.
            AccessDeniedError: The administrator may not do that.
            BackendUnavailableError: The server does not answer.
        """
        # Who is gone has no password that could be taken away.
        there = [user for user, password in passwords.items() if password is not None or self._is_there(user)]
        confirm()
        for user in there:
            password = passwords[user]
            with limited(self._connection, self._settings.statement_timeout + GRACE_SECONDS):
                done, state = _alter(self._connection, user, password, encrypt=self._settings.encrypt)
            if not done:
                raise faults.of_change(state, user)

    def _is_there(self, user: str) -> bool:
        return self._ask("SELECT 1 FROM pg_roles WHERE rolname = %s", (user,)) is not None

    def commit(self) -> None:
        """Make it last.

        Raises:
            BackendUnavailableError: Nobody knows whether it does.
        """
        with limited(self._connection, self._settings.statement_timeout + GRACE_SECONDS):
            faults.asking(f"ending a change of {self._server}", self._connection.commit, sent=True)

    def _ask(self, text: LiteralString, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the only row that a query gives."""
        with limited(self._connection, self._settings.statement_timeout + GRACE_SECONDS):
            return faults.asking(f"asking {self._server}", lambda: self._connection.execute(text, values).fetchone())


def _alter(
    connection: Connection, user: str, password: SecretValue | None, *, encrypt: bool
) -> tuple[bool, str | None]:
    """Change a user's password; return whether that is done, and else the SQLSTATE, if the server has given one."""
    try:
        sent = None if password is None else password.reveal_text()
        if sent is not None and encrypt:
            # libpq makes the verifier, so the password itself never leaves this process.
            sent = connection.pgconn.encrypt_password(sent.encode(), user.encode(), b"scram-sha-256").decode()
        text = sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), sql.Literal(sent))
        # Not with a cursor: it keeps the statement, and what watches psycopg for traces would record it.
        result = connection.pgconn.exec_(text.as_bytes(connection))
    except psycopg.Error:
        # The connection is gone. Raised from here, an error would lead to what this function holds.
        return False, None
    if result.status == pq.ExecStatus.COMMAND_OK:
        return True, None
    state = result.error_field(pq.DiagnosticField.SQLSTATE)
    return False, None if state is None else state.decode()


@contextlib.contextmanager
def limited(connection: Connection, seconds: float) -> Iterator[None]:
    """End a connection that does not answer in time: the server's own limits are of no use if it has stopped.

    Args:
        connection: The connection.
        seconds: How long what is in the ``with`` block may take.
    """
    line = _line(connection)
    if line is None:
        raise faults.meaning(None, "the next statement")

    def end() -> None:
        # libpq finds that the other side is gone; closing it here would pull it away from under its feet.
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        line.close()


def _line(connection: Connection) -> socket.socket | None:
    """Return a connection's socket under a number of its own; ``None`` if it is lost."""
    try:
        return socket.socket(fileno=os.dup(connection.pgconn.socket))
    except (psycopg.Error, OSError):
        return None


def _place(settings: PostgresSettings) -> dict[str, Any]:
    """Return where the server is, in libpq's words."""
    names = ("host", "port", "sslmode", "sslrootcert", "sslcert", "sslkey")
    found = {name: value for name in names if (value := getattr(settings, name)) is not None}
    if settings.dsn is not None:
        parsed = _parsed(settings.dsn)
        # Raised here, where no local variable holds the string: a traceback may show them.
        if isinstance(parsed, str):
            raise ConfigurationError(
                f"dsn {parsed}",
                hint="leave user and password out: they are admin_user and admin_password, or admin_secret",
            )
        found = parsed
    found |= {"client_encoding": "utf8", "application_name": "strongroom"}
    # An address leads away from a socket's folder, and so does another host in the list.
    is_local = "hostaddr" not in found and all(one.startswith("/") for one in str(found.get("host", "")).split(","))
    is_known = str(found.get("sslmode", "")).startswith("verify-") or is_local
    if not is_known and pq.version() >= NO_CLEAR_TEXT:
        # Whoever sits in between could else ask for it.
        found.setdefault("require_auth", "!password")
    return found


def _parsed(dsn: str) -> dict[str, Any] | str:
    """Return what a connection string says, or what is wrong with it."""
    problem = "is not a connection string that libpq understands"
    try:
        found: dict[str, Any] = {
            key: value for key, value in conninfo.conninfo_to_dict(dsn).items() if value is not None
        }
        if not found.keys() & {"user", "password", "passfile"}:
            return found
        problem = "holds a user or password"
    except psycopg.Error:
        pass
    return problem


def _refused(error: StrongroomError, user: str) -> StrongroomError:
    """Return the error for a candidate that could not log in: its own fault, or not."""
    if isinstance(error, AuthenticationError):
        return CandidateRefusedError(
            f"{error.what}", hint=f"see whether pg_hba.conf lets {user} in from this host with a password"
        )
    return error
