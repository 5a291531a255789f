"""A login as a sequence of steps, which threads, greenlets and tasks take in their own ways."""

from __future__ import annotations

import logging

from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Final, Generic, TypeVar

from strongroom import Secret, SecretName
from strongroom.contracts import Record
from strongroom.errors import StrongroomError
from strongroom_sqlalchemy.credentials import Credentials
from strongroom_sqlalchemy.guard import Guard, without_frames
from strongroom_sqlalchemy.settings import LoginOptions
from strongroom_sqlalchemy.waiters import Waiter

C = TypeVar("C")

PATIENCE: Final = 3.0
"""For how many seconds a login waits for others that are under way: they may hang."""
REFRESH_PATIENCE: Final = 30.0
CHANCES: Final = 4
"""How often a login takes notice that the secret has changed once more before it has begun."""

UPDATES: Final = frozenset({"set", "rotate", "undelete", "seen", "replace"})
EXPIRE: Final = "expire"

_log = logging.getLogger("strongroom.sqlalchemy")


class Read:
    """Ask for the secret as it is in the cache."""


class Refresh:
    """Ask for the secret from its backend."""


class Wait(Record):
    """Ask to wait; the answer tells whether it has happened in time."""

    waiter: Waiter
    seconds: float


class Open(Record):
    """Ask to log in."""

    credentials: Credentials


Step = Read | Refresh | Wait | Open
Steps = Generator[Step, Any, C]


class Login:
    """How connections are made with one secret, and which of them are out of date.

    Args:
        secret: The secret's name.
        settings: How logins are made of it.

    Attributes:
        secret: The secret's canonical name.
        version: The version that is known to be current; ``None`` if none is, or the leased credential has ended.
        changed: Called when another version has become current.
    """

    def __init__(self, secret: str, settings: LoginOptions) -> None:
        settings.check()
        self.secret = SecretName(secret)
        self.settings = settings
        self.guard = Guard(self.secret, settings)
        self.version: str | None = None
        self.changed: Callable[[], object] = _nothing
        self._has_version = False

    def heard(self, event: Any) -> None:
        """Take notice of a :class:`~strongroom.events.updates.SecretUpdated`."""
        if event.change == EXPIRE or (event.change in UPDATES and event.version is not None):
            self._now_at(event.version)

    def note(self, secret: Secret) -> Credentials:
        """Return the parts of a secret that has been read, and take notice of its version.

        Raises:
            InvalidValueError, SecretNotFoundError: It has not got such parts.
        """
        credentials = Credentials(secret, self.settings)
        if credentials.is_current:
            self._now_at(credentials.version)
        return credentials

    def is_outdated(self, version: str | None) -> bool:
        """Tell whether a connection was made with a version that seems not to be current any more."""
        return version != self.version

    def replaceable(self, version: str | None, read: Callable[[], Secret]) -> bool:
        """Tell whether such a connection is to be given up for a new one.

        It is not as long as there is nothing better: the secret cannot be read, or a login with it has just been
        refused.

        Args:
            version: With which version it was made.
            read: Reads the secret from the cache.
        """
        has_ended = self.version is None
        try:
            credentials = self.note(read())
        except StrongroomError:
            return has_ended
        if credentials.version == version:
            return False
        return has_ended or (credentials.is_current and not self.guard.cools_down(credentials))

    def steps(self) -> Steps[tuple[Any, str]]:
        """Lead one connection to its end: one login, and one more if it is refused and the secret has changed.

        Returns:
            The connection, and the version of the secret that it was made with.

        Raises:
            Exception: The driver's own error.
            StrongroomError: The secret cannot be read, or has not got the parts.
        """
        credentials = self.note((yield Read()))
        refusal: Exception | None = None
        for _ in range(2):
            process = self.guard.process
            admitted = yield from self._admitted(credentials)
            if admitted is None:
                raise refusal or self.guard.again(credentials)
            credentials = admitted
            connection, refusal = yield from self._tried(credentials, process)
            if refusal is None:
                return connection, credentials.version
        assert refusal is not None  # noqa: S101  # a login without one has returned
        raise refusal

    def _admitted(self, credentials: Credentials) -> Steps[Credentials | None]:
        """Take a place for a login with what is current; return with what, or ``None`` if that was refused before."""
        for _ in range(CHANCES):
            if not self.guard.cools_down(credentials) and (yield from self._placed(credentials)):
                return credentials
            renewed = yield from self._renewed(credentials)
            if renewed == credentials:
                return None
            credentials = renewed
        return None

    def _placed(self, credentials: Credentials) -> Steps[bool]:
        """Wait for a place; tell whether there is one, and the login was not refused meanwhile."""
        waiter = self.guard.enter(credentials)
        while waiter is not None:
            in_time = yield Wait(waiter=waiter, seconds=PATIENCE)
            if self.guard.cools_down(credentials):
                return False
            waiter = self.guard.enter(credentials, at_any_rate=not in_time)
        return True

    def _tried(self, credentials: Credentials, process: object) -> Steps[tuple[Any, Exception | None]]:
        """Log in; return the connection, or the error if the server has refused it."""
        connection: Any = None
        try:
            connection = yield Open(credentials=credentials)
        except Exception as error:
            if not self.settings.is_refused(error):
                raise
            seconds = self.guard.refused(credentials, error)
            _log.warning(
                "a login with version %s of %s was refused; unless the secret changes, it is not tried for %.0f s",
                credentials.version,
                self.secret,
                seconds,
            )
            return None, error
        else:
            self.guard.accepted(credentials)
        finally:
            self.guard.leave(process)
        return connection, None

    def _renewed(self, credentials: Credentials) -> Steps[Credentials]:
        """Return what the secret is now, for which the backend is asked if that has not been done just before."""
        found = yield from self._asked(Read(), credentials)
        if found != credentials and not self.guard.cools_down(found):
            return found
        process = self.guard.process
        turn = self.guard.begin_refresh()
        if isinstance(turn, Waiter):
            yield Wait(waiter=turn, seconds=REFRESH_PATIENCE)
            return (yield from self._asked(Read(), credentials))
        if not turn:
            return credentials
        try:
            return (yield from self._asked(Refresh(), credentials))
        finally:
            self.guard.end_refresh(process)

    def _asked(self, step: Read | Refresh, otherwise: Credentials) -> Steps[Credentials]:
        """Ask for the secret; without an answer, it counts as unchanged."""
        try:
            return self.note((yield step))
        except StrongroomError as error:
            _log.warning("after a refused login %s could not be read: %s", self.secret, error.code)
            return otherwise

    def _now_at(self, version: str | None) -> None:
        is_another = self._has_version and version != self.version
        self.version, self._has_version = version, True
        if is_another:
            self.changed()


class Actions(Generic[C]):
    """How a thread, or a greenlet, takes the steps.

    Args:
        read: Reads the secret from the cache.
        refresh: Fetches it from its backend.
        wait: Waits for something, for so many seconds at most.
        opened: Logs in.
    """

    def __init__(
        self,
        *,
        read: Callable[[], Secret],
        refresh: Callable[[], Secret],
        wait: Callable[[Waiter, float], bool],
        opened: Callable[[Credentials], C],
    ) -> None:
        self._read = read
        self._refresh = refresh
        self._wait = wait
        self._opened = opened

    def take(self, step: Step) -> object:
        """Take one step."""
        if isinstance(step, Open):
            return _without_frames(self._opened, step.credentials)
        if isinstance(step, Wait):
            return self._wait(step.waiter, step.seconds)
        return self._refresh() if isinstance(step, Refresh) else self._read()


class AsyncActions(Generic[C]):
    """How a task takes the steps; the arguments are those of :class:`Actions`, to be awaited."""

    def __init__(
        self,
        *,
        read: Callable[[], Awaitable[Secret]],
        refresh: Callable[[], Awaitable[Secret]],
        opened: Callable[[Credentials], Awaitable[C]],
    ) -> None:
        self._read = read
        self._refresh = refresh
        self._opened = opened

    async def take(self, step: Step) -> object:
        """Take one step."""
        if isinstance(step, Open):
            return await _without_frames_async(self._opened, step.credentials)
        if isinstance(step, Wait):
            return await step.waiter.wait_on_loop(step.seconds)
        return await (self._refresh() if isinstance(step, Refresh) else self._read())


def lead(steps: Steps[C], actions: Actions[Any]) -> C:
    """Take the steps one after the other, and return their result."""
    advance: Callable[[], Step] = partial(next, steps)
    while True:
        try:
            step = advance()
        except StopIteration as end:
            result: C = end.value
            return result
        try:
            advance = partial(steps.send, actions.take(step))
        # Whatever it is, the steps have to know: they give back what they hold.
        except BaseException as error:  # noqa: BLE001  # see above
            advance = partial(steps.throw, error)


async def lead_async(steps: Steps[C], actions: AsyncActions[Any]) -> C:
    """Take the steps one after the other, and return their result."""
    advance: Callable[[], Step] = partial(next, steps)
    while True:
        try:
            step = advance()
        except StopIteration as end:
            result: C = end.value
            return result
        try:
            advance = partial(steps.send, await actions.take(step))
        # As in lead.
        except BaseException as error:  # noqa: BLE001  # see above
            advance = partial(steps.throw, error)


def _without_frames(opened: Callable[[Credentials], C], credentials: Credentials) -> C:
    try:
        return opened(credentials)
    # Foreign code: whatever the driver raises is raised below, without its frames.
    except Exception as error:  # noqa: BLE001  # see above
        problem = without_frames(error)
    raise problem


async def _without_frames_async(opened: Callable[[Credentials], Awaitable[C]], credentials: Credentials) -> C:
    try:
        return await opened(credentials)
    # As above.
    except Exception as error:  # noqa: BLE001  # see above
        problem = without_frames(error)
    raise problem


def _nothing() -> None:
    """Stand in for somebody who wants to hear of changes."""
