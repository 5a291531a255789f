"""Pools of psycopg whose connections log in with what a secret says when each is made."""

from __future__ import annotations

import asyncio
import weakref

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from strongroom import AsyncSecretManager, SecretManager
from strongroom.errors import ConfigurationError
from strongroom_sqlalchemy.credentials import Credentials
from strongroom_sqlalchemy.login import Actions, AsyncActions, Login, lead, lead_async
from strongroom_sqlalchemy.settings import LoginOptions
from strongroom_sqlalchemy.subscriptions import LoopSubscription

if TYPE_CHECKING:
    from types import ModuleType

    import psycopg_pool

TRIES: Final = 2
"""How often a connection is made if the secret changes meanwhile."""

_WORDS: Final = {"username": "user", "database": "dbname"}
"""What libpq calls parts of a login, where that is another word."""


def connection_pool(
    manager: SecretManager,
    secret: str,
    conninfo: str = "",
    *,
    settings: LoginOptions | None = None,
    **options: Any,
) -> psycopg_pool.ConnectionPool[Any]:
    """Make a pool whose connections take user and password from a secret.

    Refused logins are treated as by :func:`strongroom_sqlalchemy.connect_with`; the pool itself tries again later. When
    this process gets to know that the secret has changed, the pool is drained: connections that lie in it are closed,
    and those that are in use when they are given back.

    Args:
        manager: Reads the secret. It stays open as long as the pool does.
        secret: The secret's name.
        conninfo: Where the server is, without user and password.
        settings: What the secret looks like, and what happens when a login is refused.
        options: What :class:`psycopg_pool.ConnectionPool` takes, such as ``min_size``, ``kwargs`` and ``open``; a
            ``connection_class`` is extended.

    Raises:
        ConfigurationError: The settings are not usable, or ``psycopg_pool`` is not installed.
        InvalidNameError: The name is not one that a secret can have.
        AccessDeniedError: The manager's principal may not read it.
    """
    psycopg, pools = _libraries()
    login = Login(secret, settings or LoginOptions())
    base = options.pop("connection_class", psycopg.Connection)
    end = manager.on_update(login.secret, login.heard) if login.settings.recycle_on_update else _nothing
    opens = options.pop("open", None)
    pool: psycopg_pool.ConnectionPool[Any] = pools.ConnectionPool(
        conninfo, connection_class=_connection_class(manager, login, base), open=False, **options
    )
    weakref.finalize(pool, end).atexit = False
    if login.settings.recycle_on_update:
        login.changed = _drain(weakref.ref(pool))
    if opens:
        pool.open()
    return pool


def async_connection_pool(
    manager: AsyncSecretManager,
    secret: str,
    conninfo: str = "",
    *,
    settings: LoginOptions | None = None,
    **options: Any,
) -> psycopg_pool.AsyncConnectionPool[Any]:
    """Make a pool for asyncio whose connections take user and password from a secret; see :func:`connection_pool`.

    Args:
        manager: Reads the secret. It stays open as long as the pool does.
        secret: The secret's name.
        conninfo: Where the server is, without user and password.
        settings: What the secret looks like, and what happens when a login is refused.
        options: What :class:`psycopg_pool.AsyncConnectionPool` takes but ``open``: enter it with ``async with``, or
            open it.

    Raises:
        ConfigurationError, InvalidNameError: As for :func:`connection_pool`.
    """
    psycopg, pools = _libraries()
    login = Login(secret, settings or LoginOptions())
    base = options.pop("connection_class", psycopg.AsyncConnection)
    subscription = LoopSubscription(manager, login)
    pool: psycopg_pool.AsyncConnectionPool[Any] = pools.AsyncConnectionPool(
        conninfo, connection_class=_async_connection_class(manager, login, subscription, base), open=False, **options
    )
    weakref.finalize(pool, subscription.end).atexit = False
    if login.settings.recycle_on_update:
        login.changed = _AsyncDrain(weakref.ref(pool))
    return pool


def _libraries() -> tuple[ModuleType, ModuleType]:
    """Return psycopg and its pools, which SQLAlchemy has no need of."""
    try:
        import psycopg
        import psycopg_pool
    except ImportError as error:
        raise ConfigurationError(
            f"{error.name} is not installed", hint="pip install 'strongroom-sqlalchemy[pool]'"
        ) from error
    return psycopg, psycopg_pool


def _connection_class(manager: SecretManager, login: Login, base: Any) -> Any:
    class SecretConnection(base):  # type: ignore[misc]  # its base is known only now
        """A connection that has logged in with what a secret says."""

        @classmethod
        def connect(cls, conninfo: str = "", **options: Any) -> Any:
            def opened(credentials: Credentials) -> Any:
                return super(SecretConnection, cls).connect(conninfo, **options | _words(credentials))

            actions = Actions(
                read=lambda: manager.get(login.secret),
                refresh=lambda: manager.refresh(login.secret),
                wait=lambda waiter, seconds: waiter.wait(seconds),
                opened=opened,
            )
            for left in reversed(range(TRIES)):
                connection, version = lead(login.steps(), actions)
                # Else it would outlast the draining that has just been done for the other version.
                if not left or not login.is_outdated(version):
                    break
                connection.close()
            return connection

    return SecretConnection


def _async_connection_class(
    manager: AsyncSecretManager, login: Login, subscription: LoopSubscription, base: Any
) -> Any:
    class AsyncSecretConnection(base):  # type: ignore[misc]  # its base is known only now
        """A connection that has logged in with what a secret says."""

        @classmethod
        async def connect(cls, conninfo: str = "", **options: Any) -> Any:
            async def opened(credentials: Credentials) -> Any:
                return await super(AsyncSecretConnection, cls).connect(conninfo, **options | _words(credentials))

            subscription.ensure()
            actions = AsyncActions(
                read=lambda: manager.get(login.secret),
                refresh=lambda: manager.refresh(login.secret),
                opened=opened,
            )
            for left in reversed(range(TRIES)):
                connection, version = await lead_async(login.steps(), actions)
                # As above.
                if not left or not login.is_outdated(version):
                    break
                await connection.close()
            return connection

    return AsyncSecretConnection


def _words(credentials: Credentials) -> dict[str, str | int]:
    return {_WORDS.get(part, part): value for part, value in credentials.reveal().items()}


def _drain(pool: weakref.ref[psycopg_pool.ConnectionPool[Any]]) -> Callable[[], None]:
    def drain() -> None:
        found = pool()
        if found is not None and not found.closed:
            found.drain()

    return drain


class _AsyncDrain:
    """Drains a pool of asyncio, beside whatever notices that this is to be done."""

    def __init__(self, pool: weakref.ref[psycopg_pool.AsyncConnectionPool[Any]]) -> None:
        self._pool = pool
        # The loop itself keeps no hold of its tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        found = self._pool()
        if found is None or found.closed:
            return
        task = asyncio.get_running_loop().create_task(found.drain())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _nothing() -> None:
    """Stand in for the end of a subscription that has not been made."""
