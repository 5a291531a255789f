"""What went wrong with one attempt, and whether another one can help."""

from __future__ import annotations

import errno
import ssl

from collections.abc import Mapping
from typing import Any, Final

from urllib3.exceptions import (
    ClosedPoolError,
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from strongroom import pacing
from strongroom.errors import BackendError, ClosedError, StrongroomError
from strongroom_vault import tls
from strongroom_vault.pools import lost
from strongroom_vault.replies import Reply

ELECTION: Final = 1.0
"""Seconds: where a cluster has to find a new leader, which takes it one to some seconds."""
_NO_LEADER: Final = "local node not active but active cluster node not found"
_ANSWERS: Final = ("crypto/rsa", "value being too large")
"""With these a transit engine says that an RSA key cannot do what was asked, and a store that it does not take
that much: an answer, whatever its status."""
_PLAIN_TO_TLS: Final = b"Client sent an HTTP request to an HTTPS server"
READS: Final = frozenset({"GET", "LIST", "SCAN", "HEAD"})
"""The methods that change nothing, as far as other requests can see."""
ANY_STATUS: Final = ("/v1/sys/health", "/v1/sys/seal-status", "/v1/sys/leader")
"""What is asked how the server is: whatever it says is the answer."""

HINTS: Final = {
    "connection_refused": "check that the server runs there, or the address",
    "sealed": "unseal it: `bao operator unseal` or `vault operator unseal`",
    "timeout": "check the address and what is between, or allow more time",
}
"""What to do, by the code of a fault."""


class Fault:
    """Why an attempt brought no answer.

    Args:
        code: That of ``BackendUnavailableError``.
        what: What went wrong, as it goes on after the server's name.
        sent: Whether the request has reached a server, as far as anybody knows.
        acted: Whether the server may have acted on it.
        base: The first delay before the next attempt, in seconds, if the server does not ask for one.
        wait: For how many seconds the server asks.
        renew: Whether other idle connections to it are likely to be dead, too.
        elsewhere: Whether another node may do better.
        cause: The system's error, without a traceback, which would hold the request.
    """

    __slots__ = ("acted", "base", "cause", "code", "elsewhere", "renew", "sent", "wait", "what")

    def __init__(
        self,
        code: str,
        what: str,
        *,
        sent: bool = True,
        acted: bool = False,
        base: float = pacing.SHORT,
        wait: float | None = None,
        renew: bool = False,
        elsewhere: bool = True,
        cause: BaseException | None = None,
    ) -> None:
        self.code = code
        self.what = what
        self.sent = sent
        self.acted = acted
        self.base = base
        self.wait = wait
        self.renew = renew
        self.elsewhere = elsewhere
        self.cause = cause


def unanswered(error: HTTPError, host: str) -> Fault | StrongroomError:
    """Return what an error of urllib3 means: a fault, or an error that no further attempt can help.

    Args:
        error: The error.
        host: Who was asked.
    """
    if isinstance(error, ClosedPoolError):
        return ClosedError("the backend is closed")
    inner = _innermost(error)
    if isinstance(error, ProxyError):
        if isinstance(inner, ssl.SSLError) and not lost(inner):
            return tls.failure(f"the proxy of {host}", inner)
        what = f"cannot be reached through the proxy: {_reason(inner)}"
        return Fault("unavailable", what, sent=False, cause=_bare(inner))
    if isinstance(error, SSLError) and isinstance(inner, ssl.SSLError) and not lost(inner):
        return tls.failure(host, inner)
    if isinstance(error, NameResolutionError):
        return Fault("unavailable", "has a name that cannot be resolved", sent=False, cause=_bare(inner))
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return Fault("timeout", "takes no connection in time", sent=False, cause=_bare(inner))
    if isinstance(error, NewConnectionError):
        return _unconnected(inner)
    if isinstance(error, ReadTimeoutError) or isinstance(inner, TimeoutError):
        return Fault("timeout", "does not answer in time", acted=True, renew=True, cause=_bare(inner))
    return broken_off(_bare(inner))


def broken_off(cause: BaseException | None = None) -> Fault:
    """Return the fault of a connection that ended before all of the answer was there.

    Args:
        cause: The system's error, if there is one.
    """
    return Fault("unavailable", "broke the connection off", acted=True, renew=True, cause=cause)


def without_body(method: str, path: str, status: int, headers: Mapping[str, str]) -> Fault | None:
    """Return the fault of an answer without a body, if it should have one.

    The HTTP library takes one that ends within its headers for a whole one. And a node that passes a request on
    to the active one says that all is well, and nothing else, if that one has broken off.

    Args:
        method: The request's.
        path: What it was for.
        status: The answer's.
        headers: What there is of its headers.
    """
    if method == "HEAD" or status in (204, 304):
        return None
    # The length itself may be what is cut off.
    is_chunked = headers.get("Transfer-Encoding", "").lower() == "chunked"
    if not is_chunked and not headers.get("Content-Length", "").isdigit():
        return broken_off()
    if status == 200 and method in READS and not path.startswith(ANY_STATUS):
        return Fault("unavailable", "answers that all is well, and nothing else")
    return None


def refused(reply: Reply, path: str, content: bytes, *, indexed: bool) -> Reply | Fault | StrongroomError:
    """Return what an answer is that is no plain success: that, a fault, or an error that no attempt can help.

    Args:
        reply: The answer.
        path: What was asked for.
        content: The answer's body.
        indexed: Whether the request carried ``X-Vault-Index``.
    """
    status = reply.status
    if path.startswith(ANY_STATUS):
        return reply
    if status in (412, 429):
        return _not_yet(reply, indexed=indexed)
    if status >= 500 and status != 501 and not any(words in reply.errors for words in _ANSWERS):
        return _failing(reply)
    if status == 400 and _PLAIN_TO_TLS in content:
        return BackendError(
            "the server speaks TLS at this port", code="tls_failed", hint="write https:// in the address"
        )
    if (status == 404 or status < 300) and not reply.body and content.strip() not in (b"", b"{}"):
        if content.lstrip().startswith(b"{") and not content.rstrip().endswith(b"}"):
            return broken_off()  # what told its length may have been cut off as well
        return BackendError(
            "the answer is no Vault's or OpenBao's", hint="check the address, and its path if it has one"
        )
    return reply


def _not_yet(reply: Reply, *, indexed: bool) -> Fault:
    wait = pacing.retry_after(reply.headers.get("Retry-After"))
    if reply.status == 412 or (indexed and reply.body.get("errors") == []):
        return Fault("unavailable", "is behind its cluster's active node", wait=wait)
    # Another node would ask the same, so going there would only be a way around it.
    return Fault("rate_limited", "limits the rate of requests", wait=wait, elsewhere=False)


def _failing(reply: Reply) -> Fault:
    text = reply.errors
    wait = pacing.retry_after(reply.headers.get("Retry-After"))
    if reply.status == 503 and "sealed" in text:
        return Fault("sealed", "is sealed", wait=wait)
    if _NO_LEADER in text:
        return Fault("unavailable", "knows of no active node", base=ELECTION, wait=wait)
    return Fault("server_error", f"answers with HTTP status {reply.status}", acted=True, wait=wait)


def _unconnected(inner: BaseException) -> Fault:
    if isinstance(inner, OSError) and inner.errno in (errno.ECONNREFUSED, errno.ENOENT):
        return Fault("connection_refused", "refuses connections", sent=False, cause=_bare(inner))
    return Fault("unavailable", f"cannot be reached: {_reason(inner)}", sent=False, cause=_bare(inner))


def _innermost(error: BaseException) -> BaseException:
    inner: Any = error
    for _ in range(8):
        deeper = inner.__cause__ or inner.__context__
        if deeper is None:
            break
        inner = deeper
    return inner  # type: ignore[no-any-return]  # an exception's cause is one


def _reason(error: BaseException) -> str:
    """Return the system's word, or the proxy's; urllib3's own texts begin with its objects."""
    return str(error.strerror or error) if isinstance(error, OSError) else type(error).__name__


def _bare(error: BaseException) -> BaseException | None:
    """Return a copy of an error of the system's without traceback and context; ``None`` for any other."""
    return type(error)(*error.args) if type(error).__module__ in ("builtins", "ssl", "socket") else None
