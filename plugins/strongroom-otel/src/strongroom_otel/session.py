"""The HTTP session of OpenTelemetry's exporters: it looks at what they do not, and knows why something has failed."""

from __future__ import annotations

import socket

from threading import Event
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import requests

from requests.adapters import HTTPAdapter
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError, ReadTimeoutError

from strongroom.errors import StrongroomError
from strongroom_otel.answers import check_http
from strongroom_otel.failures import UndeliveredError

if TYPE_CHECKING:
    from strongroom_otel.target import Target

_PIECE: Final = 4096
_LONGEST: Final = 1_000_000
"""Bytes: a collector's answer has some ten."""


class WatchedSession(requests.Session):
    """Shows the headers as they are at each request, and takes nothing for success that confirms less than everything.

    Whoever uses it repeats a request after one of the library's own errors, and not after one of ours.

    Args:
        target: Where to.
        ending: Once set, nothing is repeated.
        patient: Whether a request that had no answer may be repeated, as one may that is answered with "later".

    Attributes:
        failure: Why the last request has failed; ``None`` if it has not.
    """

    def __init__(self, target: Target, ending: Event, *, patient: bool) -> None:
        super().__init__()
        self.failure: UndeliveredError | None = None
        self._target = target
        self._ending = ending
        self._patient = patient
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._is_given_up = False
        for scheme in ("http://", "https://"):
            self.mount(scheme, _NotingAdapter(self._sockets))
        # With one of our own the library does not look for others, such as those in .netrc.
        self.auth = self._show

    def _show(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            request.headers.update(self._target.read_headers())
        except StrongroomError as error:
            raise UndeliveredError(error.what, hint=error.hint) from error
        return request

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """Make a request.

        Raises:
            UndeliveredError: It was not confirmed, and repeating it does not help or is not wanted.
            OSError: There was no answer; it may be repeated.
        """
        self.failure = None
        if self._target.ca_file is not None:
            # Else REQUESTS_CA_BUNDLE would win over what the session was told.
            options["verify"] = self._target.ca_file
        try:
            response = super().request(*arguments, **options | {"stream": True})
            check_http(self._target, response.status_code, response.headers, self._content(response))
        except UndeliveredError as error:
            self.failure = error
            if error.again and self._may_repeat():
                return response
            raise
        except OSError as error:
            self.failure = _failure(self._target, error)
            # A connection that was kept may have ended meanwhile: a new one is not the same attempt.
            if self._may_repeat() and self.failure.again and (self._patient or _was_cut(error)):
                raise
            raise self.failure from error
        return response

    def _content(self, response: requests.Response) -> bytes:
        content = bytearray()
        for piece in response.iter_content(_PIECE):
            content += piece
            if self._is_given_up or len(content) > _LONGEST:
                response.close()
                raise UndeliveredError(f"the collector at {self._target} answered without end", hint="see endpoint")
        return bytes(content)

    def _may_repeat(self) -> bool:
        return not (self._ending.is_set() or self._is_given_up)

    def hang_up(self) -> None:
        """Have the thread that waits for an answer end soon: the library's limit is for each piece of it."""
        self._is_given_up = True
        for each in list(self._sockets):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except (OSError, ValueError):
                continue  # it is closed already


class _NotingAdapter(HTTPAdapter):
    """Notes each connection that is made."""

    def __init__(self, noted: WeakSet[socket.socket]) -> None:
        self._noted = noted
        super().__init__()

    def get_connection_with_tls_context(self, *arguments: Any, **options: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*arguments, **options)
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = _noting(pool.ConnectionCls, self._noted)
        return pool


def _noting(usual: Any, noted: WeakSet[socket.socket]) -> Any:
    class Noting(usual):  # type: ignore[misc]  # one of the library's two
        def connect(self) -> None:
            super().connect()
            noted.add(self.sock)

    return Noting


def _failure(target: Target, error: OSError) -> UndeliveredError:
    where = f"the collector at {target}"
    cause = _cause(error)
    if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
        return UndeliveredError(f"{where} did not answer within {target.seconds:g} s", again=True, slow=True)
    if isinstance(error, requests.exceptions.ProxyError):
        return UndeliveredError(f"{where} cannot be reached: the proxy on the way does not work", again=True)
    if isinstance(error, requests.exceptions.SSLError):
        hint = "is it the right port, and does ca_file hold the certificate of the authority that issued its own?"
        return UndeliveredError(f"{where} has no good certificate, or does not speak TLS", hint=hint)
    if isinstance(cause, NameResolutionError):
        return UndeliveredError(f"{where} cannot be reached: its name cannot be looked up", again=True)
    if isinstance(cause, NewConnectionError):
        hint = "start the collector, or mend the endpoint"
        return UndeliveredError(f"{where} cannot be reached: nobody listens there", hint=hint, again=True)
    return UndeliveredError(f"{where} ended the connection, or cannot be spoken to", again=True)


def _was_cut(error: OSError) -> bool:
    return isinstance(error, requests.ConnectionError) and isinstance(_cause(error), ProtocolError)


def _cause(error: OSError) -> object:
    """Return the error of the library below; the one above wraps it, and sometimes another one in between."""
    inner = error.args[0] if error.args else None
    return getattr(inner, "reason", inner)
