"""Logins to databases with what a secret says, for engines of Django's."""

from __future__ import annotations

import os
import threading
import time

from collections.abc import Callable, Mapping
from typing import Any, Final

from strongroom import Secret
from strongroom.errors import ConfigurationError, StrongroomError
from strongroom_django.hidden import HiddenText, known
from strongroom_django.managers import manager

LOGIN: Final = "STRONGROOM"
"""The key of an entry of ``DATABASES`` that says from which secret its login comes."""
WHOLE: Final = ""
"""As a member: the whole secret."""
AT_CONNECT: Final = ("USER", "PASSWORD", "HOST", "PORT")
"""The settings that may come from a secret at each connect."""
REFRESH_SECONDS: Final = 5.0
"""After a refused login a secret is fetched from its backend once in so many seconds, whoever is refused."""

_STATES: Final = frozenset({"28P01", "28000"})
_TEXTS: Final = (("password authentication failed",), ("not permitted to log in",), ('role "', '" does not exist'))
"""Libpq says nothing more of a connection that did not come about, in English unless told otherwise."""


class Pace:
    """Lets something happen once in a while for each name. Threads may share it.

    Args:
        seconds: How much time lies between two times, at least.
        clock: Monotonic seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._next: dict[str, float] = {}
        self.after_fork()

    def after_fork(self) -> None:
        """Have a lock in a forked child that no thread of the parent's holds."""
        self._lock = threading.Lock()

    def begin(self, name: str) -> bool:
        """Tell whether it may happen now."""
        with self._lock:
            now = self._clock()
            if now < self._next.get(name, now):
                return False
            self._next[name] = now + self._seconds
            return True


refreshes: Final = Pace(REFRESH_SECONDS)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=refreshes.after_fork)


class Login:
    """The parts of a login that a secret gives.

    Args:
        secret: The secret's name.
        members: Which member of it is which setting.

    Attributes:
        secret: The secret's name.
        settings: Which settings it gives.
    """

    def __init__(self, secret: str, members: Mapping[str, str]) -> None:
        self.secret = secret
        self.settings = tuple(members)
        self._members = members

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Login | None:
        """Return the login that an entry of ``DATABASES`` names; ``None`` if it names none."""
        named = settings.get(LOGIN)
        return None if named is None else cls(named["secret"], named["members"])

    def read(self) -> dict[str, HiddenText]:
        """Return the settings that the secret gives, from the cache while it is fresh there.

        Raises:
            SecretNotFoundError: There is no such secret, or it has not got such a member.
            InvalidValueError: It is no JSON object, or a part is no text.
            StrongroomError: It cannot be read.
        """
        return self._parts(manager().get(self.secret))

    def renewed(self, refused: Mapping[str, str], pace: Pace | None = None) -> dict[str, HiddenText] | None:
        """Return what the secret says now, if that is something else than what was refused; else ``None``.

        Its backend is asked for it, unless that has been done just before.

        Args:
            refused: The settings that the secret gave when the server refused them.
            pace: How often a backend is asked; as all of this process ask it unless given.
        """
        try:
            found = self.read()
            if found == refused and (pace or refreshes).begin(self.secret):
                found = self._parts(manager().refresh(self.secret))
        except StrongroomError:
            # What the server has said is what whoever connects has to know.
            return None
        return None if found == refused else found

    def _parts(self, secret: Secret) -> dict[str, HiddenText]:
        return {
            setting: known.reveal(secret if member == WHOLE else secret.field(member), f"{self.secret}#{member}")
            for setting, member in self._members.items()
        }


class SecretLoginMixin:
    """Before a database wrapper of Django's for PostgreSQL: it logs in with what a secret says at each connect.

    The entry of ``DATABASES`` has to be one that :func:`strongroom_django.database` has made. A login that the server
    refuses is tried once more if the secret has changed. What the driver raises is raised without its frames, whose
    variables hold the password.
    """

    settings_dict: dict[str, Any]

    def get_connection_params(self) -> dict[str, Any]:
        """Return what the driver connects with.

        Raises:
            ConfigurationError: The entry asks for a pool, which would keep one password for ever.
            StrongroomError: The secret cannot be read, or has not got the parts.
        """
        login = Login.of(self.settings_dict)
        if login is not None and self.settings_dict["OPTIONS"].get("pool"):
            raise ConfigurationError(
                "a pool of Django's keeps the password that it began with",
                hint="take pool out of OPTIONS, and set CONN_MAX_AGE to keep connections",
            )
        found: dict[str, Any] = super().get_connection_params()  # type: ignore[misc]  # Django's
        return found if login is None else found | _words(login.read())

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect; log in once more if the server refuses the login and the secret has changed meanwhile.

        Args:
            conn_params: What the driver connects with.

        Raises:
            Exception: The driver's own error.
        """
        connection, problem = self._tried(conn_params)
        login = Login.of(self.settings_dict)
        if problem is not None and login is not None and is_refused(problem):
            renewed = login.renewed({setting: conn_params[_WORDS[setting]] for setting in login.settings})
            if renewed is not None:
                connection, problem = self._tried(conn_params | _words(renewed))
        if problem is not None:
            raise problem
        return connection

    def _tried(self, conn_params: dict[str, Any]) -> tuple[Any, Exception | None]:
        try:
            return super().get_new_connection(conn_params), None  # type: ignore[misc]  # Django's
        # Foreign code: whatever the driver raises is raised again, without its frames.
        except Exception as error:  # noqa: BLE001  # see above
            return None, without_frames(error)


_WORDS: Final = {"USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
"""What the driver calls the settings."""


def _words(parts: Mapping[str, HiddenText]) -> dict[str, HiddenText]:
    return {_WORDS[setting]: text for setting, text in parts.items()}


def is_refused(error: Exception) -> bool:
    """Tell whether a PostgreSQL server refused a user or a password.

    Args:
        error: What psycopg or psycopg2 raised.
    """
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is not None:
        return state in _STATES
    text = str(error)
    return any(all(part in text for part in parts) for parts in _TEXTS)


def without_frames(error: Exception) -> Exception:
    """Take the tracebacks of an error away, and those of the errors behind it."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]
    return error
