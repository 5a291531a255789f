"""Tells from what a driver raised whether the server refused user or password."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

SQLSTATES: Final = frozenset({"28P01", "28000"})
"""PostgreSQL's: the password is wrong; this user may not log in."""

NUMBERS: Final = frozenset({1045, 18456, 1017})
"""Those of MySQL and MariaDB, of SQL Server, and of Oracle."""

# libpq tells no SQLSTATE of a connection that did not come about, ODBC has all in one text.
_TEXTS: Final = (
    ("password authentication failed",),
    ("authentication failed for user",),
    ("not permitted to log in",),
    ('role "', '" does not exist'),
    ("(18456)",),
    ("ORA-01017",),
)


def is_refused(error: BaseException) -> bool:
    """Tell whether a server refused a user or a password.

    Known are the answers of PostgreSQL through psycopg, psycopg2, asyncpg and pg8000,
    of MySQL and MariaDB, SQL Server and Oracle. Through psycopg and psycopg2 a refusal is told from its text, in
    English.

    Args:
        error: What the driver raised.
    """
    return any(_tells(one) for one in _with_causes(error))


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, and those for which it stands."""
    known: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in known:
        yield current
        known.add(id(current))
        current = getattr(current, "orig", None) or current.__cause__


def _tells(error: BaseException) -> bool:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    first = error.args[0] if error.args else None
    if isinstance(first, dict):
        # pg8000 hands the fields of the server's message on.
        state = state or first.get("C")
    if isinstance(state, str):
        return state in SQLSTATES
    number = first if isinstance(first, int) else getattr(first, "code", None)
    if isinstance(number, int):
        return number in NUMBERS
    text = str(error)
    return any(all(part in text for part in parts) for parts in _TEXTS)
