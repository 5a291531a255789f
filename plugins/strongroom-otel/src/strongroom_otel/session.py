"""The HTTP session of OpenTelemetry's exporters: it looks at what they do not, and knows why something has failed."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Any

import requests

from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError

from strongroom.errors import StrongroomError
from strongroom_otel.answers import check_http
from strongroom_otel.failures import UndeliveredError

if TYPE_CHECKING:
    from strongroom_otel.target import Target


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
            response = super().request(*arguments, **options)
            check_http(self._target, response.status_code, response.headers, response.content)
        except UndeliveredError as error:
            self.failure = error
            if error.again and not self._ending.is_set():
                return response
            raise
        except OSError as error:
            self.failure = _failure(self._target, error)
            # A connection that was kept may have ended meanwhile: a new one is not the same attempt.
            if not self._ending.is_set() and self.failure.again and (self._patient or _was_cut(error)):
                raise
            raise self.failure from error
        return response


def _failure(target: Target, error: OSError) -> UndeliveredError:
    where = f"the collector at {target}"
    cause = _cause(error)
    if isinstance(error, requests.Timeout):
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
