"""Has a manager watch for what others change."""

from __future__ import annotations

import time

from collections.abc import Callable, Mapping

from strongroom.config.watch import SHORTEST_EVERY
from strongroom.contracts.patterns import name_pattern
from strongroom.errors import ConfigurationError
from strongroom.events.updates import SecretUpdated
from strongroom.model import SecretName
from strongroom.watching.looking import Looks
from strongroom.watching.watcher import Watcher
from strongroom.wiring import Parts


def watch(
    parts: Parts, every: float, names: tuple[str, ...], known: Mapping[str, str | None] | None = None
) -> Callable[[], None]:
    """Have a manager watch for what others change, and no longer as before; see :meth:`SecretManager.watch`.

    Args:
        parts: The stages of the manager.
        every: Seconds between two looks, at most.
        names: Patterns of the names to look at; all if there are none.
        known: The versions that somebody has by whom a change is to be told; ``None`` for one who has none.

    Returns:
        A function that ends it.

    Raises:
        ConfigurationError: ``every`` is no number of at least 1.
        InvalidNameError: A pattern or a name is malformed.
        ClosedError: The manager is closed.
    """
    parts.ensure_open()
    # A comparison that a number which is none fails, too.
    if isinstance(every, bool) or not isinstance(every, int | float) or not every >= SHORTEST_EVERY:
        raise ConfigurationError("every is a number of seconds from 1", hint="leave it out for 30")
    for pattern in names:
        name_pattern(pattern)
    before, made = parts.subscriptions.watch, _watcher(parts, float(every), names)
    for name, version in (known or {}).items():
        # As one that this process has set itself: a look that finds another one has found a change.
        made.heard(SecretUpdated(name=SecretName(name), change="set", version=version))

    def end() -> None:
        made.close()
        if parts.subscriptions.watch is made:
            parts.subscriptions.watch = None

    parts.subscriptions.watch = made
    if before is not None:
        before.close()
    made.start()
    return end


def _watcher(parts: Parts, every: float, names: tuple[str, ...]) -> Watcher:
    looks = Looks(
        parts.cache,
        parts.subscriptions,
        parts.continuity,
        parts.audit,
        parts.background,
        open=parts.backend,
        route=parts.routing.of,
        principal=parts.configuration.principal,
        clock=parts.clock,
        names=names,
    )
    # A clock that a test moves on moves no thread; the test does by itself what is due.
    return Watcher(looks, every, clock=parts.clock, start_thread=parts.clock is time.monotonic)
