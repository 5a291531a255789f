"""Who a part of the program acts as: a context variable, for web frameworks and task queues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from strongroom.errors import ConfigurationError

_principal: Final[ContextVar[str | None]] = ContextVar("strongroom_principal", default=None)

in_use = False
"""Whether anybody has ever used it in this process: most programs do not, and each read would have to look."""


def current() -> str | None:
    """Return the principal that the running thread or task acts as, if one is set."""
    return _principal.get()


@contextmanager
def acting_as(name: str) -> Iterator[None]:
    """Let every manager act as a principal within a ``with`` block, in this thread or asyncio task.

    Each operation then has the rights that both the manager's own principal and
    this one have, unless the manager's own may ``impersonate`` it. Tasks and
    ``asyncio.to_thread`` calls that start within the block inherit it; other
    threads do not.

    Args:
        name: The principal's name.

    Raises:
        ConfigurationError: It is no text, or empty.
    """
    check_principal(name)
    global in_use  # it belongs to the process, as context variables do
    in_use = True
    # The text itself: an object of a class of its own may compare as it likes.
    token = _principal.set(str.__str__(name))
    try:
        yield
    finally:
        _principal.reset(token)


def check_principal(name: object) -> None:
    """Refuse what cannot be a principal's name.

    Raises:
        ConfigurationError: It is no text, or empty.
    """
    if not isinstance(name, str) or not name:
        raise ConfigurationError("a principal's name is text, and not empty", hint="pass its name")
