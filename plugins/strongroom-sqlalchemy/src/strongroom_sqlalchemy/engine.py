"""Lets SQLAlchemy engines log in with what a secret says at each connect."""

from __future__ import annotations

import weakref

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, overload

import sqlalchemy

from sqlalchemy import event
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.util import await_only

from strongroom import AsyncSecretManager, Secret, SecretManager
from strongroom.errors import ConfigurationError
from strongroom_sqlalchemy.credentials import Credentials
from strongroom_sqlalchemy.login import Actions, Login, lead
from strongroom_sqlalchemy.settings import LoginOptions
from strongroom_sqlalchemy.subscriptions import LoopSubscription
from strongroom_sqlalchemy.waiters import Waiter

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine
    from sqlalchemy.engine import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

VERSION: Final = "strongroom_version"
NEW: Final = "strongroom_new"
"""What a connection's ``info`` holds: with which version it was made, and that nobody has had it yet."""


def connect_with(
    engine: Engine | AsyncEngine,
    manager: SecretManager | AsyncSecretManager,
    secret: str,
    *,
    settings: LoginOptions | None = None,
) -> Callable[[], None]:
    """Have an engine take user and password from a secret whenever it makes a connection.

    The secret is read through the manager's cache. A login that the server refuses leads to one refresh of the secret,
    and, if that has changed, to one more login. What was refused is not tried again for a while, by no thread and no
    task, so that no account is locked; meanwhile the driver's error is raised again, with a note.

    Connections that lie in the pool and were made with another version of the secret are replaced when they are
    taken out next, as soon as this process knows of the other version.

    Args:
        engine: The engine. Its URL has neither user nor password; what it says of them does not count.
        manager: Reads the secret; an :class:`~strongroom.AsyncSecretManager` for an engine of asyncio. It stays open
            as long as the engine is used.
        secret: The secret's name.
        settings: What the secret looks like, and what happens when a login is refused.

    Returns:
        A function that ends it; calling it twice is no error.

    Raises:
        ConfigurationError: Engine and manager do not go together, or the settings are not usable.
        InvalidNameError: The name is not one that a secret can have.
        AccessDeniedError: The manager's principal may not read it.
    """
    # An engine of asyncio is a shell around one that is not.
    inner: Engine = engine if isinstance(engine, sqlalchemy.Engine) else engine.sync_engine
    if inner.dialect.is_async != isinstance(manager, AsyncSecretManager):
        raise ConfigurationError(
            "engine and manager do not go together",
            hint="an engine of asyncio wants what open_async gives, any other one what open gives",
        )
    login = Login(secret, settings or LoginOptions())
    source = _AsyncSource(manager, login) if isinstance(manager, AsyncSecretManager) else _Source(manager, login)
    bridge = _Bridge(inner.url, login, source)
    end = partial(_detach, weakref.ref(inner), bridge, source)
    event.listen(inner, "do_connect", bridge.connect)
    if login.settings.recycle_on_update:
        event.listen(inner, "checkout", bridge.check_out)
    # At exit there is nothing to be ended: the manager is closed by itself.
    weakref.finalize(inner, source.end).atexit = False
    return end


@overload
def create_engine(
    url: str | URL, *, manager: SecretManager, secret: str, settings: LoginOptions | None = None, **options: Any
) -> Engine: ...


@overload
def create_engine(
    url: str | URL, *, manager: AsyncSecretManager, secret: str, settings: LoginOptions | None = None, **options: Any
) -> AsyncEngine: ...


def create_engine(
    url: str | URL,
    *,
    manager: SecretManager | AsyncSecretManager,
    secret: str,
    settings: LoginOptions | None = None,
    **options: Any,
) -> Engine | AsyncEngine:
    """Make an engine that takes user and password from a secret; see :func:`connect_with`.

    Args:
        url: The engine's URL, without user and password.
        manager: Reads the secret; with an :class:`~strongroom.AsyncSecretManager` it is an engine of asyncio.
        secret: The secret's name.
        settings: What the secret looks like, and what happens when a login is refused.
        options: What SQLAlchemy's own ``create_engine`` takes.

    Raises:
        ConfigurationError, InvalidNameError, AccessDeniedError: As for :func:`connect_with`.
    """
    engine: Engine | AsyncEngine
    if isinstance(manager, AsyncSecretManager):
        from sqlalchemy.ext.asyncio import create_async_engine

        engine = create_async_engine(url, **options)
    else:
        engine = sqlalchemy.create_engine(url, **options)
    connect_with(engine, manager, secret, settings=settings)
    return engine


class _Source:
    """Reads the secret in a thread."""

    def __init__(self, manager: SecretManager, login: Login) -> None:
        self._manager = manager
        self._name = login.secret
        self._end: Callable[[], None] = _nothing
        if login.settings.recycle_on_update:
            self._end = manager.on_update(login.secret, login.heard)

    def read(self) -> Secret:
        return self._manager.get(self._name)

    def refresh(self) -> Secret:
        return self._manager.refresh(self._name)

    def wait(self, waiter: Waiter, seconds: float) -> bool:
        return waiter.wait(seconds)

    def end(self) -> None:
        self._end()


class _AsyncSource:
    """Reads the secret in a greenlet of SQLAlchemy's, on a loop."""

    def __init__(self, manager: AsyncSecretManager, login: Login) -> None:
        self._manager = manager
        self._name = login.secret
        self._subscription = LoopSubscription(manager, login)

    def read(self) -> Secret:
        self._subscription.ensure()
        return await_only(self._manager.get(self._name))

    def refresh(self) -> Secret:
        return await_only(self._manager.refresh(self._name))

    def wait(self, waiter: Waiter, seconds: float) -> bool:
        return await_only(waiter.wait_on_loop(seconds))

    def end(self) -> None:
        self._subscription.end()


class _Bridge:
    """What an engine asks when it connects, and when it takes a connection out of its pool."""

    def __init__(self, url: URL, login: Login, source: _Source | _AsyncSource) -> None:
        self._url = url
        self._login = login
        self._source = source

    def connect(
        self,
        dialect: Dialect,
        record: ConnectionPoolEntry | None,
        arguments: Sequence[Any],
        parameters: dict[str, Any],
    ) -> Any:
        source = self._source
        connection, version = lead(
            self._login.steps(),
            Actions(
                read=source.read,
                refresh=source.refresh,
                wait=source.wait,
                opened=partial(self._open, dialect, arguments, parameters),
            ),
        )
        if record is not None:
            record.info.update({VERSION: version, NEW: True})
        return connection

    def check_out(self, _connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
        # One that has just been made is not given up: the pool tries that a few times only.
        is_new = record.info.pop(NEW, False)
        version = record.info.get(VERSION)
        if is_new or version is None or not self._login.is_outdated(version):
            return
        if self._login.replaceable(version, self._source.read):
            raise DisconnectionError(f"{self._login.secret} has another version than the one that this was made with")

    def _open(
        self, dialect: Dialect, arguments: Sequence[Any], parameters: dict[str, Any], credentials: Credentials
    ) -> Any:
        """Log in, with the engine's own arguments but for those that come from the secret.

        The dialect makes both kinds out of URLs, so it need not be known here what it calls them.
        """
        old_arguments, old = dialect.create_connect_args(self._url)
        parts: dict[str, Any] = dict(credentials.reveal())
        new_arguments, new = dialect.create_connect_args(self._url.set(**parts))
        merged = {key: value for key, value in parameters.items() if key not in old or key in new}
        merged |= {key: value for key, value in new.items() if key not in old or old[key] != value}
        used = new_arguments if list(new_arguments) != list(old_arguments) else arguments
        return dialect.connect(*used, **merged)


def _detach(engine: weakref.ref[Engine], bridge: _Bridge, source: _Source | _AsyncSource) -> None:
    source.end()
    found = engine()
    if found is None:
        return
    for name, listener in (("do_connect", bridge.connect), ("checkout", bridge.check_out)):
        if event.contains(found, name, listener):
            event.remove(found, name, listener)


def _nothing() -> None:
    """Stand in for the end of a subscription that has not been made."""
