"""Opens what the configuration names and holds it for the managers that share it."""

from __future__ import annotations

import os
import threading
import time
import weakref

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from strongroom import lifecycle
from strongroom.anomaly.stage import Alert, AnomalyStage
from strongroom.audit.sinks import LOCK_SECONDS, GuardedSink
from strongroom.audit.stage import AuditStage
from strongroom.background import Background
from strongroom.cache.cache import Cache
from strongroom.cache.flights import Flight
from strongroom.config.load import Configuration
from strongroom.config.routing import Routing
from strongroom.contracts.audit import AuditSink
from strongroom.contracts.backend import Backend, Capability
from strongroom.discovery import Catalogue, Kind
from strongroom.errors import ClosedError
from strongroom.events.heralds import Heralds
from strongroom.events.updates import Subscriptions
from strongroom.grants import Decisions, Grant, Memo
from strongroom.model import Principal, SecretName
from strongroom.observing import sources
from strongroom.opening import open_backend, open_detector, open_part, open_sink
from strongroom.outages.continuity import Continuity
from strongroom.policy import Policy, Ruling, matches
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import Telemetry, count
from strongroom.telemetry.names import ALERTS, OUTCOME, RULE
from strongroom.telemetry.observed import OBSERVED

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from strongroom.anomaly.state import DetectorMemory
    from strongroom.events.updates import Announcement, Notified, SecretUpdated
    from strongroom.leases.leases import Leases
    from strongroom.rotators import Rotators
    from strongroom.telemetry.observed import Source


ENDING_SECONDS: Final = 12.0
"""How long a second ``close`` waits for the first one to revoke leases, which takes ten seconds at most."""


class Parts:
    """The stages that every view of one manager shares.

    Args:
        configuration: What to open.
        reread: Reads the configuration anew; the same one unless given.
        clock: Monotonic seconds.
        wall_clock: Nanoseconds since 1970, UTC.
        sleep: Waits for so many seconds.
        tracer_provider: Whose spans to make; the global one's unless given.
        backends: Backends that exist already, by their configured name.
        sinks: Further audit sinks that exist already; all of them are required.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        reread: Callable[[], Configuration] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], object] = time.sleep,
        tracer_provider: TracerProvider | None = None,
        backends: Mapping[str, Backend] | None = None,
        sinks: tuple[AuditSink, ...] = (),
    ) -> None:
        self.configuration = configuration
        self.routing = Routing(configuration.default_backend, configuration.routes)
        self.decisions = Decisions(configuration.policy, (lambda: reread().policy) if reread else None)
        self.clock = clock
        self.wall_clock = wall_clock
        self.sleep = sleep
        self.subscriptions = Subscriptions()
        key = configuration.telemetry.key
        self.telemetry = Telemetry(tracer_provider=tracer_provider, key=key.reveal() if key is not None else None)
        self._catalogue = Catalogue()
        self._ready = dict(backends or {})
        self._backends: dict[str, GuardedBackend] = {}
        # Reentrant, since opening a backend may start a process, and forks take this lock.
        self._lock = threading.RLock()
        self.background = Background()
        self._sweeper: threading.Thread | None = None
        self._leases: Leases | None = None
        self._rotators: Rotators | None = None
        self.runner: Any = None
        """Rotates what is due by itself; made when first needed. A module above this one would not know its class."""
        self._ending: Flight[None] | None = None
        self.waiting: dict[object, Callable[[], object]] = {}
        """What waits for a service for minutes, and for each what ends that when the manager is closed."""
        self._fork_locks = lifecycle.ForkLocks()
        self.closed = False
        self.cache = self._open_cache()
        self.anomaly = self._open_detectors()
        self.memory = self._open_memory()
        self.heralds = Heralds(configuration, wall_clock)
        self.audit = self._open_audit(sinks)
        self.continuity = self._open_continuity()
        OBSERVED.watch(self, _sources)
        lifecycle.watch(self)
        # By itself, too: what waits there must be written even if nobody holds the manager any more.
        lifecycle.watch(self.audit)

    def ensure_open(self) -> None:
        """Refuse an operation on a manager that is done.

        Raises:
            ClosedError: The manager is closed.
        """
        if self.closed:
            raise ClosedError("the manager is closed", hint="open a new one")

    def _open_cache(self) -> Cache:
        table = self.configuration.cache
        spec = self._catalogue.load(Kind.CACHE_POLICY, table.type)
        policy = open_part(spec, table, Kind.CACHE_POLICY)
        return Cache(policy, max_entries=self.configuration.max_entries, clock=self.clock, random=_random)

    def _open_detectors(self) -> AnomalyStage:
        opened = tuple(open_detector(table, self._catalogue) for table in self.configuration.detectors)
        return AnomalyStage(opened, self._alert, clock=self.clock, wall_clock=self.wall_clock)

    def _open_memory(self) -> DetectorMemory | None:
        """Make what keeps the detectors' states, if the configuration says where; nothing is opened for it yet."""
        keeper = self.configuration.state
        if keeper is None or not self.anomaly.detectors:
            return None
        # Imported here, and below: most programs have no use for them.
        from strongroom.anomaly.state import DetectorMemory, state_key

        keyed = [(state_key(at, one.name), one.detector) for at, one in enumerate(self.anomaly.detectors)]
        memory = DetectorMemory(
            keyed, lambda: self.backend(keeper), every=self.configuration.state_every, clock=self.clock
        )
        self.anomaly.memory = memory
        return memory

    def _open_audit(self, ready: tuple[AuditSink, ...]) -> AuditStage:
        return AuditStage(
            self._open_sinks(ready),
            telemetry=self.telemetry,
            clock=self.clock,
            wall_clock=self.wall_clock,
            number=self.cache.hits.step,
        )

    def _open_continuity(self) -> Continuity:
        return Continuity(
            self.configuration.resilience,
            self.backend,
            lambda: list(self._backends.values()),
            cache=self.cache,
            audit=self.audit,
            background=self.background,
            tell=self.tell,
            clock=self.clock,
            wall_clock=self.wall_clock,
        )

    def _open_sinks(self, ready: tuple[AuditSink, ...]) -> tuple[GuardedSink, ...]:
        opened = [GuardedSink(sink, type=type(sink).__name__, telemetry=self.telemetry) for sink in ready]
        try:
            opened.extend(open_sink(table, self._catalogue, self.telemetry) for table in self.configuration.sinks)
        except BaseException:
            for sink in opened[len(ready) :]:
                sink.close()
            raise
        return tuple(opened)

    def _alert(self, alert: Alert) -> None:
        access = alert.access
        count(ALERTS, {RULE: alert.detector, OUTCOME: "blocked" if alert.blocked else "alert"})
        told = (alert.reason, *alert.evidence)
        if alert.suppressed:
            told = (*told, f"{alert.suppressed} more alerts about this were not sent")
        event = self.audit.event(
            "alert",
            principal=access.principal,
            base=access.base,
            key=access.name,
            result="blocked" if alert.blocked else "alert",
            rule=alert.detector,
            detail="; ".join(told),
        )
        try:
            self.audit.record(event)
        finally:
            # Whether or not it could be recorded, somebody has to hear of it.
            self.heralds.alert(alert.replace(id=event.id))

    def backend(self, name: str) -> GuardedBackend:
        """Return a backend by its configured name, opened on first use.

        Raises:
            PluginError: No plugin offers it, or the one that does is broken.
            ConfigurationError: Its settings are not usable.
            BackendUnavailableError: It cannot be opened now.
        """
        opened = self._backends.get(name)
        if opened is not None and not self.closed:
            return opened
        with self._lock:
            self.ensure_open()
            if name not in self._backends:
                # A signal's handler may have opened it meanwhile.
                self._backends.setdefault(name, self._open_backend(name))
            return self._backends[name]

    def has_open(self, name: str) -> bool:
        """Tell whether a backend has been opened, so that :meth:`backend` returns it at once."""
        return name in self._backends

    def _open_backend(self, name: str) -> GuardedBackend:
        table = self.configuration.backends[name]
        if name not in self._ready:
            return open_backend(
                table,
                self._catalogue,
                self.telemetry,
                condition=self.continuity.condition(name),
                deadline=self.configuration.resilience.deadline,
            )
        ready = self._ready[name]
        # Nobody has declared what it can do. Whether it reads several at once can be seen.
        loops = type(ready).read_many is Backend.read_many
        return GuardedBackend(
            ready,
            name=name,
            type=table.type,
            capabilities=frozenset(Capability) - ({Capability.BATCH} if loops else set()),
            telemetry=self.telemetry,
            condition=self.continuity.condition(name),
            deadline=self.configuration.resilience.deadline,
        )

    @property
    def has_leases(self) -> bool:
        """Whether there has been a leased credential yet."""
        return self._leases is not None

    @property
    def leases(self) -> Leases:
        """What looks after leased credentials; made with the first one."""
        leases = self._leases
        if leases is None:
            # Imported here: most programs have none.
            from strongroom.leases.leases import Leases

            # A clock that a test moves on moves no thread; the test does by itself what is due.
            real = self.clock is time.monotonic
            made = Leases(self.cache, self.audit, self.tell, clock=self.clock, random=_random, start_thread=real)
            with self._lock:
                leases = self._leases = self._leases or made
        if self.closed:
            leases.refuse()
        return leases

    @property
    def rotators(self) -> Rotators:
        """What makes new values and has dependents take them; made when first needed."""
        if self._rotators is None:
            # Imported here: hardly a program rotates.
            from strongroom.rotators import Rotators

            with self._lock:
                self._rotators = self._rotators or Rotators(self._catalogue, self.telemetry)
        return self._rotators

    def notify(self, event: SecretUpdated) -> Notified:
        """Let everybody hear of a change, and wait for the subscribers in the process."""
        self.heralds.announce(event)
        return self.subscriptions.notify(event)

    def tell(self, event: SecretUpdated) -> None:
        """Let everybody hear of what has happened by itself, and do not wait for them."""
        self.heralds.announce(event)
        # Subscribers take what time they like, and leases have none to lose. Equal events are two all the same.
        self.background.submit(object(), self.subscriptions.later(event))

    def announce(self, event: Announcement) -> None:
        """Let everybody who asked for it hear of a rotation, and do not wait for them."""
        self.heralds.announce(event)

    def is_leased(self, name: str) -> bool:
        """Tell whether reading a name makes a credential; not before its backend has been opened."""
        backend = self._backends.get(self.routing.of(name))
        return backend is not None and backend.is_leased(SecretName(name))

    def _close_leases(self, ending: Flight[None]) -> None:
        try:
            loads = self.cache.under_way()
            # Of older versions there are none, so these keys are names.
            leased = [flight for key, flight in loads if isinstance(key, SecretName) and self.is_leased(key)]
            if leased or self.has_leases:
                self.leases.close(leased)
        finally:
            ending.done.set()

    def remember(
        self,
        memo: Memo,
        chain: tuple[Principal, ...],
        spelling: str,
        name: SecretName,
        ruling: Ruling,
        *,
        policy: Policy,
    ) -> Grant:
        """Note that a principal may read a name, so that the next read need not decide again.

        Args:
            memo: Where to note it.
            chain: The principal, and those whose rights limit it.
            spelling: How the name was written.
            name: The canonical name.
            ruling: The decision.
            policy: What it was made by.

        Raises:
            ClosedError: The manager is closed.
        """
        if len(memo) >= 4 * self.configuration.max_entries:
            memo.clear()
        grant = Grant(
            chain,
            name,
            self.backend(self.routing.of(name)),
            immediate=any(matches(pattern, name) for pattern in self.configuration.immediate),
            expires=ruling.until,
        )
        # What compares in its own way must not be found by a plain name that it takes for its own.
        memo[spelling if type(spelling).__eq__ is str.__eq__ else str.__str__(spelling)] = grant
        if self.closed or policy is not self.decisions.policy:
            # Meanwhile the memo has been emptied, and what was decided before must not be in it.
            memo.clear()
            self.ensure_open()
        return grant

    def start_sweeper(self) -> None:
        """Have expired entries removed from memory from now on, by a daemon thread; what is held is watched, too."""
        if self.subscriptions.watch is not None:
            self.subscriptions.watch.start()
        if self._sweeper is not None or self.closed:
            return
        self._sweeper = threading.Thread(
            target=_sweep,
            args=(weakref.ref(self), min(self.configuration.sweep_every, self.configuration.state_every)),
            name="strongroom-sweep",
            daemon=True,
        )
        try:
            self._sweeper.start()
        except RuntimeError:
            # There are too many threads now: the next read that goes to a backend tries again.
            self._sweeper = None

    def before_fork(self) -> None:
        """Hold what a fork must not cut in two."""
        # A backend that hangs while it opens does not hang the fork: the child takes a new lock in any case.
        self._fork_locks.begin()
        self._fork_locks.hold(self._lock, LOCK_SECONDS)

    def after_fork_in_parent(self) -> None:
        """Go on as before."""
        self._fork_locks.release()

    def after_fork_in_child(self) -> None:
        """Start with new locks, threads and connections, and an empty cache."""
        OBSERVED.after_fork()
        self._lock = threading.RLock()
        self._fork_locks = lifecycle.ForkLocks()
        self._sweeper = None
        # The parent's threads wait.
        self.waiting = {}
        backends = [backend.after_fork for backend in self._backends.values()]
        self.decisions.after_fork()
        kept = (self.memory, self.heralds, self._leases, self._rotators, self.runner, self.subscriptions.watch)
        lifecycle.all_of(
            [
                self.continuity.after_fork,
                self.cache.after_fork,
                self.background.after_fork,
                self.anomaly.after_fork,
                *(one.after_fork for one in kept if one is not None),
                *backends,
            ]
        )

    def before_exec(self) -> None:
        """Write the copies that wait; what there is to record, the audit stage is told of by itself."""
        self.continuity.finish()

    def exec_refused(self) -> None:
        """Do nothing: the manager goes on as before."""

    def flush(self) -> None:
        """Record the cache hits that wait, and write the copies that do."""
        self.continuity.finish()
        self.audit.flush(durable=True)

    def close(self) -> None:
        """Record that the manager is done, and close everything; twice is no error.

        Raises:
            AuditError: A required sink could not record it; calling it again, or the exit, tries again.
        """
        for one in (self.runner, self.memory):
            if one is not None and not self.closed:
                # First, since they need backends that answer.
                one.close()
        if not self.closed:
            self.continuity.finish()
        own: Flight[None] = Flight()
        with self._lock:
            ending = self._ending = self._ending or own
            self.closed = True
        if ending is not own:
            self._close_again(ending)
            return
        backends = [one.close for one in self._backends.values()]
        told = [one.close for one in (self.heralds, self._rotators, self.subscriptions.watch) if one is not None]
        # Backends last, and leases before the audit stage: whoever revokes one needs both. What waits records its end.
        leases = partial(self._close_leases, own)
        first: list[Callable[[], object]] = [
            *self.waiting.copy().values(),
            self.continuity.close,
            self.background.close,
            self.decisions.forget,
            leases,
            self.cache.clear,
        ]
        lifecycle.all_of([*first, self._close_audit, *told, self.anomaly.close, *backends])

    def _close_again(self, ending: Flight[None]) -> None:
        """Do what is left to do when the manager is closed already, or is being closed."""
        if ending.leader is threading.current_thread() and not ending.done.is_set():
            return  # a signal's handler calls this: who was interrupted by it goes on
        if ending.may_be_joined():
            # What is revoked is to be in the trail.
            ending.done.wait(ENDING_SECONDS)
        self._close_audit()

    def _close_audit(self) -> None:
        self.audit.close()
        # Not earlier: as long as it is not done, the exit has to try again, and what is lost meanwhile counts.
        OBSERVED.leave(self)
        lifecycle.forget(self)
        lifecycle.forget(self.audit)


def _sources(parts: Parts) -> Source:
    return sources(
        parts.cache,
        parts.audit,
        parts.anomaly,
        backends=lambda: list(parts._backends.values()),
        leases=lambda: parts._leases,
    )


def _random() -> float:
    # The random module would cost a command more than the number is worth.
    return int.from_bytes(os.urandom(4)) / 2**32


def _sweep(parts: weakref.ref[Any], every: float) -> None:
    while True:
        time.sleep(every)
        live = parts()
        if live is None or live.closed:
            return
        live.cache.sweep()
        if live.memory is not None:
            live.memory.save_due()
        del live
