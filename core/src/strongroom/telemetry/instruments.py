"""Records metrics: the instruments of OpenTelemetry, made when they are first needed.

As with spans, only the API is used, and only if somebody else has imported it.
Nothing here ever fails or says a secret's name.
"""

from __future__ import annotations

import sys

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from strongroom._apart import apart
from strongroom.telemetry.names import (
    BACKEND,
    BACKEND_TYPE,
    BREAKER_STATE,
    FIGURES,
    JOURNAL_LENGTH,
    PART_STATE,
    RETRIES,
    SOURCE,
    SUBSTITUTED,
    TRANSITIONS,
    Metric,
)
from strongroom.telemetry.observed import OBSERVED
from strongroom.telemetry.quiet import note_problem

# By the metric's name. The API hands out instruments that wait for a provider, so they may be made before there is one.
_MADE: Final[dict[str, Any]] = {}
# Where most calls end, in seconds: a local store takes some hundred microseconds, a far server some hundred times that.
_STATES: Final = {"up": 1.0, "degraded": 0.5}
BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def enabled() -> bool:
    """Tell whether a measurement could arrive anywhere."""
    return "opentelemetry.metrics" in sys.modules


def count(metric: Metric, attributes: Mapping[str, str] | None = None, number: int = 1) -> None:
    """Add to a counter.

    Args:
        metric: Which one.
        attributes: Its attributes.
        number: How much to add.
    """
    _record(metric, "add", number, attributes)


def measure(metric: Metric, value: float, attributes: Mapping[str, str] | None = None) -> None:
    """Record a value in a histogram.

    Args:
        metric: Which one.
        value: The value in the metric's unit.
        attributes: Its attributes.
    """
    _record(metric, "record", value, attributes)


def note(metric: Metric, value: float, attributes: Mapping[str, str] | None = None) -> None:
    """Set a gauge.

    Args:
        metric: Which one.
        value: The value in the metric's unit.
        attributes: Its attributes.
    """
    _record(metric, "set", value, attributes)


def count_resend(backend_type: str) -> None:
    """Count a request that a client sent again, in the metric ``strongroom.client.retries``.

    For a plugin, as :func:`note_exchange`: without OpenTelemetry nothing happens, and it never fails.

    Args:
        backend_type: The name that the plugin registered, such as ``vault``.
    """
    count(RETRIES, {BACKEND_TYPE: backend_type})


def count_transition(backend: str, state: str) -> None:
    """Count a change of a backend's state, in the metric ``strongroom.breaker.transitions``.

    Args:
        backend: The backend's configured name.
        state: What it is now: ``healthy``, ``degraded`` or ``recovering``.
    """
    count(TRANSITIONS, {BACKEND: backend, BREAKER_STATE: state})


def count_substitute(backend: str, source: str) -> None:
    """Count a read that was not answered by its backend, in the metric ``strongroom.reads.substituted``.

    Args:
        backend: The backend's configured name.
        source: What has answered: ``stale`` or ``fallback``.
    """
    count(SUBSTITUTED, {BACKEND: backend, SOURCE: source})


def note_journal_length(backend: str, waiting: Callable[[], int]) -> None:
    """Note how many writes wait for a backend, in the metric ``strongroom.journal.length``.

    Args:
        backend: The backend's configured name.
        waiting: Counts them; called only if somebody may want to know. What it raises is no error here.
    """
    if not enabled():
        return
    try:
        number = waiting()
    # Whatever cannot be counted now is counted the next time.
    except Exception as error:  # noqa: BLE001  # see above
        note_problem(error)
        return
    note(JOURNAL_LENGTH, number, {BACKEND: backend})


def note_health(state: str, figures: Iterable[tuple[str, float]], attributes: Mapping[str, str]) -> None:
    """Note how a backend or audit sink is, in ``strongroom.part.up`` and in the metrics of its figures.

    Args:
        state: ``up``, ``degraded`` or ``down``.
        figures: What it has measured of itself, by the names in :class:`strongroom.contracts.Health`.
        attributes: What tells it from others.
    """
    note(PART_STATE, _STATES.get(state, 0.0), attributes)
    for name, value in figures:
        if name in FIGURES:
            note(FIGURES[name], value, attributes)


def start_afresh() -> None:
    """Make instruments anew when they are next needed, as somebody else provides them now."""
    _MADE.clear()


def _record(metric: Metric, method: str, value: float, attributes: Mapping[str, str] | None) -> None:
    api = sys.modules.get("opentelemetry.metrics")
    if api is None:
        return
    try:
        apart(getattr(_MADE.get(metric.name) or _make(api, metric), method), value, attributes)
    # Foreign code: a measurement that fails must not fail what is measured; an older API knows no gauges.
    except Exception as error:  # noqa: BLE001  # see above
        note_problem(error)


def _make(api: Any, metric: Metric) -> Any:
    # Managers that were opened before anybody had imported the API are observed from now on.
    OBSERVED.make()
    meter = api.get_meter("strongroom")
    more = {"explicit_bucket_boundaries_advisory": BUCKETS} if metric.kind == "histogram" else {}
    create = getattr(meter, f"create_{metric.kind}")
    made = create(metric.name, unit=metric.unit, description=metric.summary, **more)
    return _MADE.setdefault(metric.name, made)
