"""Which manager settings are read through, and which secrets have been asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Final, Self

import strongroom

from strongroom import Secret, SecretManager
from strongroom.errors import SecretNotFoundError
from strongroom_pydantic.hidden import held_texts, hide, texts


class Reading:
    """One making of a settings object: its manager, and all that was asked for.

    Args:
        manager: Reads the secrets; unless given one is opened when it is needed, and closed at the end.

    Attributes:
        manager: The manager, if there is one yet.
        names: The names that were asked for, whether or not there is such a secret.
        missing: Those of them of which there is none.
        values: What was handed to pydantic, as text.
    """

    def __init__(self, manager: SecretManager | None = None) -> None:
        self.manager = manager
        self.names: set[str] = set()
        self._answers: dict[str, Secret | None] = {}
        self.missing: set[str] = set()
        self.values: list[str] = []
        self._stack = ExitStack()

    @classmethod
    def of(cls, held: Any) -> Self:
        """Return one for a making that has ended: what came of it holds the values.

        Args:
            held: A settings object, or anything with such in it.
        """
        ended = cls()
        ended.values = held_texts(held)
        return ended

    def opened(self, manager: SecretManager | None) -> SecretManager:
        """Return the manager: this one's own, that of :func:`using`, the given one, or one that is opened now.

        Args:
            manager: The given one.

        Raises:
            ConfigurationError: There is no usable configuration.
        """
        if self.manager is None:
            self.manager = _used.get() or manager or self._stack.enter_context(strongroom.open())
        return self.manager

    def read(self, names: Iterable[str], manager: SecretManager | None) -> dict[str, Secret]:
        """Return the secrets that there are of some names; each is read once, so that all see the same version of it.

        Args:
            names: The names.
            manager: Reads them, unless this has one.

        Raises:
            StrongroomError: One of them cannot be read, for another reason than that there is none.
        """
        wanted = set(names)
        if new := sorted(wanted - self._answers.keys()):
            self.names.update(new)
            batch = self.opened(manager).get_many(new)
            for name, error in batch.errors.items():
                if not isinstance(error, SecretNotFoundError):
                    raise error
                self.missing.add(name)
            self._answers |= {name: batch.found.get(name) for name in new}
        return {name: secret for name in wanted if (secret := self._answers[name]) is not None}

    def handed_out(self, value: Any) -> Any:
        """Return a value such that it does not show itself, and remember it for what pydantic says about it."""
        self.values += [text for text in texts(value) if text]
        return hide(value)

    def close(self) -> None:
        """Close a manager that was opened here."""
        self._stack.close()


_used: Final[ContextVar[SecretManager | None]] = ContextVar("strongroom_pydantic_manager", default=None)
_current: Final[ContextVar[Reading | None]] = ContextVar("strongroom_pydantic_reading", default=None)


@contextmanager
def reading(own: Reading | None = None) -> Iterator[Reading]:
    """Have all that is read meanwhile noted in one place: what is there already, unless one is given."""
    current = _current.get()
    if own is None and current is not None:
        yield current
        return
    begun = own or Reading()
    token = _current.set(begun)
    try:
        yield begun
    finally:
        _current.reset(token)
        begun.close()


@contextmanager
def using(manager: SecretManager) -> Iterator[None]:
    """Have settings that are made meanwhile, in this thread or task, read their secrets through a manager.

    It comes before one that a source was given, and after that of :class:`LiveSettings`.

    Args:
        manager: The manager; it stays open.
    """
    token = _used.set(manager)
    try:
        yield
    finally:
        _used.reset(token)
