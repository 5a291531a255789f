"""What a failure of PostgreSQL means here. Only its SQLSTATE is taken from it: its text may hold a statement.

For a connection that was refused libpq does not tell the SQLSTATE, so there it is
told from the text, which is not shown either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import psycopg

from strongroom.errors import (
    AccessDeniedError,
    AuthenticationError,
    BackendError,
    BackendUnavailableError,
    CandidateRefusedError,
    ConfigurationError,
    StrongroomError,
)

Result = TypeVar("Result")

LOST: Final = "08006"
REFUSED: Final = "08001"
TIMEOUT: Final = "strongroom-timeout"
TLS: Final = "strongroom-tls"
CLEAR_TEXT: Final = "strongroom-clear-text"
"""Three that are no SQLSTATE: what libpq itself has found wrong."""

# The first that is in the text counts.
_TEXTS: Final = (
    ("authentication method requirement", CLEAR_TEXT),
    ("password authentication failed", "28P01"),
    ("not permitted to log in", "28000"),
    ("pg_hba.conf", "28000"),
    ("authentication failed", "28000"),
    ("permission denied for database", "42501"),
    ("too many", "53300"),
    ("connection slots", "53300"),
    ("the database system is", "57P03"),
    ("terminating connection", "57P01"),
    ("certificate", TLS),
    ("SSL", TLS),
    ("does not exist", "3D000"),
    ("onnection refused", REFUSED),
    ("imeout", TIMEOUT),
    ("imed out", TIMEOUT),
    ("closed the connection", LOST),
    ("could not", LOST),
)

_OUTAGES: Final = (
    # By how a SQLSTATE begins: the code of ours. The first that fits counts.
    (TIMEOUT, "timeout"),
    (REFUSED, "connection_refused"),
    ("08", "unavailable"),
    ("25006", "unavailable"),
    ("25P03", "timeout"),
    ("40", "busy"),
    ("53", "busy"),
    ("55P03", "busy"),
    ("57014", "timeout"),
    ("57P", "unavailable"),
    ("58", "server_error"),
)
_WORDS: Final = {
    LOST: "the connection was lost",
    REFUSED: "nobody answers there",
    TIMEOUT: "there was no answer in time",
}
_REFUSALS: Final = ("22", "23", "28", "P0001")
"""What hooks that look at passwords raise."""


def of_login(error: psycopg.Error) -> str:
    """Return the SQLSTATE with which a connection was refused, as far as it can be told."""
    if error.sqlstate is not None:
        return error.sqlstate
    text = str(error)
    for part, state in _TEXTS:
        if part in text:
            return state
    # In another language, but certainly behind the question for the password.
    if error.pgconn is not None and error.pgconn.used_password:
        return "28P01"
    return REFUSED


def asking(what: str, act: Callable[[], Result], *, sent: bool = False) -> Result:
    """Return what a call of psycopg gives, or raise what its failure means.

    Args:
        what: What is asked, for the error.
        act: The call.
        sent: Whether a change may have been made by the time that it fails.

    Raises:
        StrongroomError: It fails.
    """
    try:
        return act()
    except psycopg.Error as error:
        state = error.sqlstate
    # Raised outside the handler: what psycopg raised may hold the statement, and so would our error's context.
    raise meaning(state, what, sent=sent)


def meaning(state: str | None, what: str, *, sent: bool = False) -> StrongroomError:
    """Return the error for a SQLSTATE; for none, the connection was lost.

    Args:
        state: The SQLSTATE.
        what: What was asked.
        sent: Whether a change may have been made.
    """
    state = state or LOST
    shown = _WORDS.get(state, f"SQLSTATE {state}")
    for prefix, code in _OUTAGES:
        if state.startswith(prefix):
            outage = BackendUnavailableError(f"{what} failed: {shown}", code=code, hint=_hint(state))
            outage.unsent = not sent
            return outage
    if state == TLS:
        return BackendError(
            f"{what} failed: TLS with the server did not come about",
            code="tls_failed",
            hint="check sslmode, sslrootcert and the server's certificate",
        )
    if state == CLEAR_TEXT:
        return ConfigurationError(
            f"{what} failed: the server asks for the password in clear, and nothing shows that it is the right server",
            hint='set sslmode = "verify-full", or have the server use scram-sha-256',
        )
    if state == "42501":
        return AccessDeniedError(
            f"{what} failed: {shown}",
            hint="to change a password takes CREATEROLE, and from PostgreSQL 16 on ADMIN OPTION on the user; to log in "
            "takes CONNECT on the database",
        )
    if state.startswith("28"):
        return AuthenticationError(f"{what} failed: {shown}", hint="check who may log in, from where, and with what")
    if state in ("42704", "3D000"):
        return ConfigurationError(f"{what} failed: {shown}", hint="there is no such role or database")
    return BackendError(f"{what} failed: {shown}", hint="see the server's own log")


def of_change(state: str | None, user: str) -> StrongroomError:
    """Return the error for a change of a password that failed.

    Args:
        state: The SQLSTATE, if the server has given one.
        user: Whose password.
    """
    what = f"changing the password of {user}"
    if state is not None and state.startswith(_REFUSALS):
        return CandidateRefusedError(
            f"the server does not take the new password of {user}: SQLSTATE {state}",
            hint="make length and alphabet fit the server's rules for passwords",
        )
    # Whatever it says, it has said so instead of making the change; if it says nothing, nobody knows.
    return meaning(state, what, sent=state is None or state.startswith(("08", "57P")))


def _hint(state: str) -> str:
    if state == "25006":
        return "this server takes no changes now: it is a standby, or one that is being replaced"
    if state in ("55P03", "57014"):
        return "another rotation may be under way"
    return "trying again may help"
