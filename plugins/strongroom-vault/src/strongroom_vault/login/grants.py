"""What every way to log in has in common: what it is asked for, and what it gives."""

from __future__ import annotations

import math

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final

import hvac

from strongroom.contracts import KeySource, Record
from strongroom.errors import AuthenticationError, BackendError, ConfigurationError, InvalidValueError, StrongroomError
from strongroom.model import SecretValue
from strongroom_vault.asking import bare
from strongroom_vault.faults import refusal
from strongroom_vault.replies import RefusedError, Reply
from strongroom_vault.settings import AuthSettings

_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 412})
"""With these a server says that it does not let us in; with 404 and 405, that there is no such way in."""
_REASONS: Final = (
    "no client certificate found",
    "invalid certificate or no client certificate supplied",
    "token is expired",
    "expiration time (exp) claim",
    "not before (nbf) claim",
    "issuer (iss) claim",
    "audience (aud) claim",
    "no known key successfully validated the token signature",
    "error checking oidc discovery URL",
    "namespace not authorized",
    "service account name not authorized",
    "could not be found",
    "no handler for route",
    "namespace not found",
)
"""Parts of what servers say, none of which repeats what was sent. Only these are shown."""
_ELSEWHERE: Final = "check that the method is mounted there (auth.mount), and its namespace"
"""Servers answer a login at a mount that is none as if the credentials were wrong."""


class Grant(Record):
    """A token, and how long it is good."""

    token: SecretValue
    ttl: float | None = None
    """Seconds from when it was asked for; ``None`` if it does not end, or nobody knows when."""
    renewable: bool = False
    uses: int | None = None
    """With how many requests it may be shown; ``None`` for any number."""
    batch: bool = False
    """Whether it is one that the server does not store, and which cannot be revoked."""
    configured: bool = False
    """Whether it was found rather than got by logging in: it is somebody else's, who ends it."""
    request_id: str | None = None
    """The id of the login in the server's audit log."""


class Login(ABC):
    """A way to log in. It is called by one thread at a time."""

    repeatable: bool = True
    """Whether a login whose answer was lost may be sent once more: it uses nothing up."""

    sources: tuple[KeySource, ...] = ()
    """Where what is shown comes from: as long as that is the same, a refusal is not asked for again at once."""

    @abstractmethod
    def grant(self, client: hvac.Client) -> Grant:
        """Log in.

        Args:
            client: Shows no token, and asks in the namespace of the method.

        Raises:
            AuthenticationError: The server does not let us in.
            ConfigurationError: There is nothing to log in with.
            BackendUnavailableError: The server does not answer.
        """

    def after_fork(self) -> None:  # noqa: B027  # most have none
        """Put locks right in a forked child."""


def asked(what: str, ask: Callable[[], Any], *, hint: str) -> Any:
    """Ask a server to let us in, and say in our own words why it does not.

    Args:
        what: What is tried, such as ``the login with AppRole``.
        ask: Sends the request.
        hint: What to do if it is refused.

    Raises:
        AuthenticationError: The server refuses.
        StrongroomError: It does not answer, or not so that it can be understood.
    """
    try:
        return ask()
    except RefusedError as refused:
        failure: BaseException = _refusal(what, refused.reply, hint)
    # Ctrl-C, too.
    except BaseException as error:  # noqa: BLE001  # raised again below
        failure = bare(error)
    # Outside the handler: the frames below hold what was sent in their local variables.
    raise failure


def granted(what: str, ask: Callable[[], Any], *, hint: str) -> Grant:
    """Log in, and take the token out of the answer; see :func:`asked`."""
    answer = asked(what, ask, hint=hint)
    auth = answer.get("auth") if isinstance(answer, dict) else None
    if not isinstance(auth, dict) or not auth.get("client_token"):
        raise BackendError(
            f"the server's answer to {what} holds no token",
            hint="it may ask for a second factor, which no program can give: use another method or role",
        )
    try:
        return Grant(
            token=SecretValue(str(auth["client_token"])),
            ttl=seconds_in(auth),
            renewable=bool(auth.get("renewable")),
            uses=int(auth.get("num_uses") or 0) or None,
            batch=auth.get("token_type") == "batch",
            request_id=answer.get("request_id") or None,
        )
    except (TypeError, ValueError, OverflowError):
        # The token is in them.
        del answer, auth
    raise BackendError(f"the server's answer to {what} cannot be understood", hint="see what is between it and us")


def seconds_in(auth: dict[str, Any]) -> float | None:
    """Return how long a token lives by the answer to a login or a renewal; ``None`` if it does not end.

    Args:
        auth: The part of the answer that is about the token.

    Raises:
        TypeError: It does not say so in a way that can be understood.
        ValueError: As above.
    """
    seconds = float(auth.get("lease_duration") or 0)
    if not 0.0 <= seconds < math.inf:
        raise ValueError("no number of seconds")
    return seconds or None


def mount_of(auth: AuthSettings) -> str:
    """Return where the method is mounted, without slashes around it."""
    return (auth.mount or "").strip("/") or auth.method


def text_of(source: KeySource, what: str) -> str:
    """Return what a source holds now as text, without the line feed that ends a file.

    Args:
        source: Where it comes from.
        what: What it is, such as ``the password``.

    Raises:
        ConfigurationError: There is none, or it is not text.
    """
    try:
        text = source.read().reveal_text().removesuffix("\n").removesuffix("\r")
    except InvalidValueError:
        text = ""
    if not text:
        raise ConfigurationError(
            f"{what} in {source.describe()} is empty or not text", hint="put it there, or name another source"
        )
    return text


def word_of(source: KeySource, what: str) -> str:
    """Return what a source holds now if it can be sent in a header: printable, and without blanks; see above."""
    return word(text_of(source, what), f"{what} in {source.describe()}")


def word(text: str, what: str) -> str:
    """Return a text without blanks around it.

    Args:
        text: The text.
        what: What it is, for the error.

    Raises:
        ConfigurationError: It is empty, or holds a blank or something that is not printable in ASCII.
    """
    plain = text.strip()
    # From here on no local variable but the result holds it, and that only if it is good.
    del text
    if plain and plain.isascii() and plain.isprintable() and " " not in plain:
        return plain
    del plain
    raise ConfigurationError(
        f"{what} is empty, or holds blanks or characters that cannot be sent",
        hint="put it there alone, without quotes around it",
    )


def _refusal(what: str, reply: Reply, hint: str) -> StrongroomError:
    if reply.status not in _REFUSED:
        return refusal(reply, what)
    said = next((reason for reason in _REASONS if reason in reply.errors), "")
    if reply.status in {404, 405}:
        hint = _ELSEWHERE
    elif reply.status == 403 and not said:
        hint = f"{hint}; or {_ELSEWHERE}"
    return AuthenticationError(f"the server refused {what}" + (f" ({said})" if said else ""), hint=hint)
