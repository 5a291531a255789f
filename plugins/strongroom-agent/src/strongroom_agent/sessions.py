"""Who is logged in to the dashboard: sessions that live in memory only."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time

from collections.abc import Callable
from typing import Final

from strongroom.contracts import Record

IDLE_SECONDS: Final = 15 * 60.0
"""A session that is not used for so long has ended."""
LONGEST_SECONDS: Final = 8 * 3600.0
"""A session lasts no longer than this, however much it is used."""
MOST: Final = 64
"""How many sessions there are at most; one more ends the one that was not used for longest."""
_BYTES: Final = 32


class Tickets(Record):
    """What the browser needs to go on with a session; neither alone is enough.

    The cookie goes to whatever listens on the host, on any port. The key is kept by the page, which a browser ties to
    the port, and sent in a header, so another program of the host that sees the cookie can do nothing with it.
    """

    cookie: str
    key: str

    def __repr__(self) -> str:
        return "Tickets()"


class _Session:
    __slots__ = ("began", "caller", "cookie", "key", "token", "used")

    def __init__(self, caller: str, token: bytes, tickets: Tickets, now: float) -> None:
        self.caller = caller
        self.token = token
        self.cookie = _digest(tickets.cookie)
        self.key = _digest(tickets.key)
        self.began = self.used = now

    def has_ended(self, now: float) -> bool:
        return now - self.used >= IDLE_SECONDS or now - self.began >= LONGEST_SECONDS


class Sessions:
    """The sessions of one agent. Threads may share it; only digests of what browsers hold are kept.

    Args:
        token_of: Returns the digest of the token by which a caller is let in now; ``None`` if he is not. A session ends
            as soon as it is another one than that with which it began.
        clock: Monotonic seconds.
    """

    def __init__(self, token_of: Callable[[str], bytes | None], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._token_of = token_of
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: dict[bytes, _Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, caller: str) -> Tickets | None:
        """Begin a session; none for a caller who is not let in, or no more.

        Args:
            caller: Whose it is: the name in the configuration.
        """
        token = self._token_of(caller)
        if token is None:
            return None
        tickets = Tickets(cookie=secrets.token_urlsafe(_BYTES), key=secrets.token_urlsafe(_BYTES))
        with self._lock:
            self._forget_ended()
            while len(self._sessions) >= MOST:
                del self._sessions[min(self._sessions, key=lambda one: self._sessions[one].used)]
            session = _Session(caller, token, tickets, self._clock())
            self._sessions[session.cookie] = session
        return tickets

    def find(self, cookie: str, key: str) -> str | None:
        """Return whose session it is, which counts as a use of it; ``None`` if there is none.

        Args:
            cookie: What the cookie holds.
            key: What the page has sent along.
        """
        with self._lock:
            session = self._matching(cookie, key)
            if session is None:
                return None
            session.used = self._clock()
            return session.caller

    def end(self, cookie: str, key: str) -> None:
        """End a session, if there is one."""
        with self._lock:
            session = self._matching(cookie, key)
            if session is not None:
                del self._sessions[session.cookie]

    def _matching(self, cookie: str, key: str) -> _Session | None:
        self._forget_ended()
        cookie_digest, key_digest = _digest(cookie), _digest(key)
        # How far a digest agrees tells nothing about what it was made of; compared in constant time all the same.
        session = self._sessions.get(cookie_digest)
        expected = session.key if session is not None else bytes(len(key_digest))
        agrees = hmac.compare_digest(expected, key_digest)
        return session if agrees else None

    def _forget_ended(self) -> None:
        now = self._clock()
        for digest, session in list(self._sessions.items()):
            token = self._token_of(session.caller)
            if session.has_ended(now) or token is None or not hmac.compare_digest(token, session.token):
                del self._sessions[digest]


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
