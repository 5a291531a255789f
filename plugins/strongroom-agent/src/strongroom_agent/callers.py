"""Who calls: known by the user at the other end of a Unix socket, or by a token."""

from __future__ import annotations

import hmac
import os
import stat

from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from strongroom.contracts import KeySource, Record
from strongroom.errors import ConfigurationError
from strongroom_agent.settings import CallerSettings

Scope = MutableMapping[str, Any]
"""What a request is, as ASGI says it."""
PEER: Final = "strongroom.peer"
"""Among a scope's extensions: who is at the other end of the Unix socket."""
_KEY: Final = os.urandom(32)
"""Random for each process: what is kept says nothing about a token, and no digest can be prepared."""
CREDENTIALS: Final = (b"authorization", b"x-strongroom-token")
"""The headers in which a token may come."""
_CALLER: Final = "strongroom.caller"
LEAST_TOKEN_BYTES: Final = 32


class Peer(Record):
    """The process at the other end of a Unix socket."""

    uid: int | None
    """The user that had opened the connection; ``None`` where the system does not say."""


class Caller(Record):
    """A program that may call."""

    name: str
    """Its name in the configuration."""
    principal: str
    dashboard: bool


class Callers:
    """Tells callers apart.

    Args:
        settings: Each caller by its name.

    Raises:
        ConfigurationError: A token cannot be read, is too short, lies in a file that others may read, or is another
            caller's as well; or a user is unknown.
    """

    def __init__(self, settings: Mapping[str, CallerSettings]) -> None:
        self._by_uid: dict[int, Caller] = {}
        self._by_token: list[tuple[bytes, Caller]] = []
        for name, one in settings.items():
            self._add(Caller(name=name, principal=one.principal, dashboard=one.dashboard), one)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._by_uid) + len(self._by_token)

    def _add(self, caller: Caller, settings: CallerSettings) -> None:
        if settings.token is not None:
            digest = _digest(_token(settings.token, caller.name))
            if any(hmac.compare_digest(digest, known) for known, _ in self._by_token):
                raise ConfigurationError(
                    f"the token of the caller {caller.name!r} is another caller's as well", hint="make one for each"
                )
            self._by_token.append((digest, caller))
            return
        uid = settings.uid if settings.uid is not None else _uid_of(settings.user or "", caller.name)
        if uid in self._by_uid:
            raise ConfigurationError(
                f"the callers {self._by_uid[uid].name!r} and {caller.name!r} are the same user",
                hint="give one of them a token",
            )
        self._by_uid[uid] = caller

    def of_token(self, token: bytes) -> Caller | None:
        """Return whose token it is.

        Every token is compared, in a time that does not depend on where they differ.

        Args:
            token: What was presented.
        """
        digest, found = _digest(token), None
        for known, caller in self._by_token:
            if hmac.compare_digest(digest, known):
                found = caller
        return found

    def token_of(self, name: str) -> tuple[Caller, bytes] | None:
        """Return a caller that has a token, and the token's digest, which is the same as long as the process runs.

        Args:
            name: The caller's name in the configuration.
        """
        return next(((caller, digest) for digest, caller in self._by_token if caller.name == name), None)

    def identify(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller | None:
        """Return who makes a request, and note it in its scope; nobody if a token is wrong, whoever the user is.

        Args:
            scope: The request.
            headers: Its headers.
        """
        caller = self._identified(scope, headers)
        scope[_CALLER] = caller
        return caller

    def _identified(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller | None:
        authorization, given = (headers.get(name) for name in CREDENTIALS)
        if authorization is not None:
            scheme, _, token = authorization.partition(b" ")
            if given is not None or scheme.lower() != b"bearer":
                return None
            given = token.strip()
        if given is not None:
            return self.of_token(given)
        peer = scope.get("extensions", {}).get(PEER)
        return self._by_uid.get(peer.uid) if peer is not None else None


def principal_of(scope: Scope) -> Caller | None:
    """Return who makes a request that the agent has let in; ``None`` if that is nobody it knows.

    Args:
        scope: The request.
    """
    caller: Caller | None = scope.get(_CALLER)
    return caller


def _digest(token: bytes) -> bytes:
    return hmac.digest(_KEY, token, "sha256")


def _token(source: KeySource, name: str) -> bytes:
    path = source.path
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    # systemd keeps credentials by rules of its own.
    if path is not None and not (folder and os.path.dirname(path) == os.path.abspath(folder)):
        _refuse_loose(path, name)
    token = source.read().reveal().removesuffix(b"\n").removesuffix(b"\r")
    if len(token) < LEAST_TOKEN_BYTES or not token.isascii() or any(byte <= 32 or byte == 127 for byte in token):
        raise ConfigurationError(
            f"the token of the caller {name!r}, {source.describe()}, is not usable",
            hint=f"it has at least {LEAST_TOKEN_BYTES} visible characters: `strongroom agent token {name}` makes one",
        )
    return token


def _refuse_loose(path: str, name: str) -> None:
    try:
        found = os.stat(path)
    except OSError as error:
        raise ConfigurationError(
            f"the token of the caller {name!r} is to be in {path}: {error.strerror}",
            hint=f"`strongroom agent token {name}` makes one",
        ) from error
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid not in {0, os.geteuid()}:
        raise ConfigurationError(
            f"others may read or replace the token in {path}", hint=f"chown it to this user, and chmod 600 {path}"
        )


def _uid_of(user: str, name: str) -> int:
    import pwd  # not on every system, and only needed here

    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        raise ConfigurationError(
            f"the caller {name!r} is to be the user {user!r}, whom this system does not know",
            hint="correct the name, or give the number: uid = 1000",
        ) from None
