"""What drivers raise when a server refuses a login, and when something else has failed."""

from __future__ import annotations

import pytest

from strongroom_sqlalchemy import is_refused


class StateError(Exception):
    """Says its SQLSTATE as psycopg and asyncpg do."""

    def __init__(self, state: str | None, text: str = "") -> None:
        super().__init__(text)
        self.sqlstate = state


class CodeError(Exception):
    """Says its SQLSTATE as psycopg2 does."""

    def __init__(self, state: str) -> None:
        super().__init__("something")
        self.pgcode = state


class OracleError:
    def __init__(self, code: int) -> None:
        self.code = code


def caused(cause: Exception) -> Exception:
    error = RuntimeError("of another library")
    error.__cause__ = cause
    return error


def turning_in_circles() -> Exception:
    one, other = caused(ValueError()), RuntimeError()
    one.__cause__, other.__cause__ = other, one
    return one


@pytest.mark.parametrize(
    "error",
    [
        StateError("28P01"),
        StateError("28000"),
        CodeError("28P01"),
        Exception({"S": "FATAL", "C": "28P01", "M": "password authentication failed"}),
        StateError(None, 'connection failed: FATAL:  password authentication failed for user "app"'),
        StateError(None, 'FATAL:  role "app" is not permitted to log in'),
        StateError(None, 'FATAL:  role "v-token-app" does not exist'),
        Exception(1045, "Access denied for user"),
        Exception("28000", "[28000] [Microsoft][SQL Server]Login failed for user 'app'. (18456) (SQLDriverConnect)"),
        Exception(18456, b"Login failed for user 'app'."),
        Exception(OracleError(1017)),
        Exception("ORA-01017: invalid username/password; logon denied"),
        caused(StateError("28P01")),
    ],
)
def test_these_are_refusals(error: Exception) -> None:
    assert is_refused(error)


@pytest.mark.parametrize(
    "error",
    [
        Exception(),
        Exception("connection refused"),
        Exception(2003, "Can't connect to MySQL server"),
        Exception({"C": "3D000"}),
        StateError("53300"),
        # The state counts, not a text that may quote something.
        StateError("42601", "password authentication failed"),
        StateError(None, 'FATAL:  database "app" does not exist'),
        CodeError("57P03"),
        Exception(OracleError(12541)),
        turning_in_circles(),
    ],
)
def test_these_are_none(error: Exception) -> None:
    assert not is_refused(error)
