"""What a manager tells of itself when somebody collects metrics; nothing of it is counted for that alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from strongroom.anomaly.stage import AnomalyStage
from strongroom.audit.stage import AuditStage
from strongroom.cache.cache import Cache
from strongroom.resilience.conditions import ConditionState
from strongroom.resilience.guarded import GuardedBackend
from strongroom.telemetry import names
from strongroom.telemetry.observed import Observation, Source

if TYPE_CHECKING:
    from strongroom.leases.leases import Leases


def sources(
    cache: Cache,
    audit: AuditStage,
    anomaly: AnomalyStage,
    *,
    backends: Callable[[], Iterable[GuardedBackend]],
    leases: Callable[[], Leases | None],
) -> Source:
    """Return what looks each metric of a manager up.

    Args:
        cache: The manager's cache.
        audit: Its audit stage.
        anomaly: Its detectors.
        backends: Returns the backends that have been opened.
        leases: Returns what looks after leased credentials, if there is such a thing yet.
    """
    return {
        names.CACHE_READS.name: lambda: _reads(cache),
        names.CACHE_ENTRIES.name: lambda: [(cache.stats().size, ())],
        names.CACHE_LIMIT.name: lambda: [(cache.max_entries, ())],
        names.CACHE_LIVES.name: lambda: [
            (count, ((names.WITHIN, bound),)) for bound, count in cache.stats().lives.items()
        ],
        names.CACHE_REMOVED.name: lambda: _removed(cache),
        names.CACHE_REFRESHES.name: lambda: _refreshes(cache),
        names.BREAKER.name: lambda: _breakers(backends()),
        names.AUDIT_LOST.name: lambda: [(sink.lost_in_all, ((names.SINK_TYPE, sink.type),)) for sink in audit.sinks],
        names.AUDIT_WAITING.name: lambda: [(sink.backlog, ((names.SINK_TYPE, sink.type),)) for sink in audit.sinks],
        names.AUDIT_LAG.name: lambda: [(sink.lag(), ((names.SINK_TYPE, sink.type),)) for sink in audit.sinks],
        names.VERDICTS.name: lambda: _verdicts(anomaly),
        names.LEASES.name: lambda: _held(leases()),
        names.LEASE_LIFE.name: lambda: _lives(leases()),
    }


def _outcomes(counts: Iterable[tuple[str, float]]) -> list[Observation]:
    return [(count, ((names.OUTCOME, outcome),)) for outcome, count in counts]


def _reads(cache: Cache) -> list[Observation]:
    stats = cache.stats()
    return _outcomes(
        [
            ("hit", stats.hits),
            ("negative", stats.negative_hits),
            ("stale", stats.stale_hits),
            ("fallback", stats.fallback_hits),
            ("miss", stats.misses),
            ("error", stats.errors),
        ]
    )


def _removed(cache: Cache) -> list[Observation]:
    stats = cache.stats()
    return _outcomes([("evicted", stats.evictions), ("expired", stats.expirations)])


def _refreshes(cache: Cache) -> list[Observation]:
    return _outcomes([("ok", cache.answered_refreshes()), ("failed", cache.stats().failed_refreshes)])


def _breakers(backends: Iterable[GuardedBackend]) -> Iterator[Observation]:
    for backend in backends:
        if backend.condition is not None:
            now = backend.condition.state
            for state in ConditionState:
                yield float(state is now), ((names.BACKEND, backend.name), (names.BREAKER_STATE, state.value))


def _verdicts(anomaly: AnomalyStage) -> list[Observation]:
    told = [(decision.value, count) for decision, count in anomaly.verdicts.items()]
    return _outcomes([*told, ("failed", anomaly.failures)])


def _held(leases: Leases | None) -> list[Observation]:
    return [] if leases is None else [(len(leases.status()), ())]


def _lives(leases: Leases | None) -> list[Observation]:
    left = [] if leases is None else [status.seconds_left for status in leases.status()]
    return [(min(left), ())] if left else []
