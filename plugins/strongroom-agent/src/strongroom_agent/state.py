"""What the agent has open, and how it takes a new configuration without losing a request."""

from __future__ import annotations

import contextlib
import threading
import time

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from strongroom.contracts import Record
from strongroom.errors import StrongroomError
from strongroom_agent.callers import Caller, Callers
from strongroom_agent.health import HealthWatch
from strongroom_agent.limits import Bucket
from strongroom_agent.log import LOG
from strongroom_agent.looks import RotationLooker
from strongroom_agent.scraping import Scrape, Tally
from strongroom_agent.settings import AgentSettings

if TYPE_CHECKING:
    from strongroom import AsyncSecretManager, SecretManager

OLD_SECONDS: Final = 30.0
"""How long requests that began before a reload may use the old manager, at most."""
_STRANGERS: Final = 50.0


class Loaded(Record):
    """A configuration that has been read and opened."""

    settings: AgentSettings
    manager: SecretManager
    """Closed by the agent; what it acts as is its principal, or the view's below."""
    principal: str | None = None
    """As whom the agent itself acts, if that was asked for with ``--as``."""


class Generation:
    """What belongs to one configuration: the manager, the callers and how often each may ask.

    Args:
        loaded: The configuration.
        clock: Monotonic seconds.

    Raises:
        ConfigurationError: A caller is not usable.
    """

    def __init__(self, loaded: Loaded, clock: Callable[[], float]) -> None:
        self.settings = loaded.settings
        self.callers = Callers(loaded.settings.callers)
        # Whoever is nobody we know is slowed down together, and keeps no caller waiting.
        self.strangers = Bucket(_STRANGERS, 2 * _STRANGERS, clock)
        self.in_use = 0
        self._owner = loaded.manager
        self.manager = loaded.manager.as_principal(loaded.principal) if loaded.principal else loaded.manager
        self._clock = clock
        self._asyncio: AsyncSecretManager | None = None
        self._views: dict[str, AsyncSecretManager] = {}
        self._buckets: dict[str, Bucket] = {}

    def view(self, caller: Caller) -> AsyncSecretManager:
        """Return the manager, acting as a caller's principal."""
        view = self._views.get(caller.principal)
        if view is None:
            view = self._views[caller.principal] = self._shared().as_principal(caller.principal)
        return view

    def bucket(self, caller: Caller) -> Bucket:
        """Return what limits a caller."""
        bucket = self._buckets.get(caller.name)
        if bucket is None:
            settings = self.settings
            bucket = self._buckets[caller.name] = Bucket(settings.requests_per_second, settings.burst, self._clock)
        return bucket

    def close(self) -> None:
        """Close the manager.

        Raises:
            AuditError: A required sink could not record it.
        """
        self._owner.close()

    def _shared(self) -> AsyncSecretManager:
        # Imported here: the tests of what needs no loop need none of it.
        from strongroom import AsyncSecretManager

        if self._asyncio is None:
            self._asyncio = AsyncSecretManager(self.manager)
        return self._asyncio


class AgentState:
    """What the agent's parts share.

    Args:
        load: Reads the configuration and opens its manager.
        clock: Monotonic seconds.
        wall_clock: Seconds since 1970 UTC.

    Attributes:
        health: What is known about backends and sinks.
        rotations: What is known about when secrets are rotated.
        tally: What the agent has done.
        metrics: What answers ``/metrics``.
        started: When the agent was started, in seconds since 1970 UTC.
        stopping: Whether it is about to end.
        closing: Called when it is closed, each once.

    Raises:
        ConfigurationError: The configuration is not usable.
        PluginError: It names a plugin that is missing or broken.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._load = load
        self.clock = clock
        self._reloading = threading.Lock()
        self.started = wall_clock()
        self.stopping = False
        self.closing: list[Callable[[], None]] = []
        self.tally = Tally(wall_clock=wall_clock)
        self.metrics = Scrape(self.tally, clock=clock)
        self.current = self._open()
        self.health = HealthWatch(
            lambda: self.manager, lambda: self.settings.health_every, clock=clock, wall_clock=wall_clock
        )
        self.rotations = RotationLooker(lambda: self.manager, wall_clock=wall_clock)

    @property
    def manager(self) -> SecretManager:
        """The manager, acting as the agent itself; another one after a reload."""
        return self.current.manager

    @property
    def settings(self) -> AgentSettings:
        """The settings in force."""
        return self.current.settings

    @property
    def callers(self) -> Callers:
        """Who may call."""
        return self.current.callers

    @contextlib.contextmanager
    def using(self) -> Iterator[Generation]:
        """Lend what the current configuration has open, and keep it open as long as it is lent. For the event loop."""
        generation = self.current
        generation.in_use += 1
        try:
            yield generation
        finally:
            generation.in_use -= 1

    def reload(self) -> str:
        """Take the configuration as it is now; one that is not usable changes nothing.

        The old manager is closed when the requests that use it have ended.

        Returns:
            What is wrong with the configuration; an empty text if nothing is.
        """
        with self._reloading:
            try:
                new = self._open()
            except StrongroomError as error:
                return self._kept(str(error))
            # The plugin boundary, whose words may be anybody's: the agent goes on whatever a reload meets.
            except Exception as error:  # noqa: BLE001  # see above
                return self._kept(type(error).__name__)
            old, self.current = self.current, new
            self.tally.reloads["ok"] += 1
        if old.settings.listen != new.settings.listen:
            LOG.warning("`listen` has changed, which takes effect when the agent is started anew")
        threading.Thread(target=_retire, args=(old, self.clock), name="strongroom-agent-reload", daemon=True).start()
        self.health.ask_now()
        LOG.info("the configuration has been read anew")
        return ""

    def _kept(self, problem: str) -> str:
        self.tally.reloads["failed"] += 1
        LOG.error("the configuration is not usable, and the former one stays in force: %s", problem)
        return problem

    def close(self) -> None:
        """Close the manager and all else.

        Raises:
            AuditError: A required sink could not record it.
        """
        self.stopping = True
        self.health.stop()
        self.rotations.close()
        for close in self.closing:
            close()
        self.metrics.close()
        self.current.close()

    def _open(self) -> Generation:
        loaded = self._load()
        try:
            return Generation(loaded, self.clock)
        except BaseException:
            loaded.manager.close()
            raise


def _retire(old: Generation, clock: Callable[[], float]) -> None:
    end = clock() + OLD_SECONDS
    # A moment for whoever has just got hold of it and has not begun yet.
    time.sleep(0.2)
    while old.in_use and clock() < end:
        time.sleep(0.05)
    try:
        old.close()
    # The plugin boundary: nobody is there to hear of it but the operator, in words that hold no names.
    except Exception as error:  # noqa: BLE001  # see above
        problem = error.code if isinstance(error, StrongroomError) else type(error).__name__
        LOG.error("the former manager could not be closed as it should be: %s", problem)
