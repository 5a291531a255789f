"""Metrics that are looked up when somebody collects them, over all managers of the process."""

from __future__ import annotations

import sys
import threading
import weakref

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from strongroom.telemetry.names import OBSERVABLE, Metric
from strongroom.telemetry.quiet import note_problem

Observation = tuple[float, tuple[tuple[str, str], ...]]
"""A value and its attributes."""
Source = Mapping[str, Callable[[], Iterable[Observation]]]
"""What looks a metric up, by the metric's name."""
_JOINED: Final[dict[str, Callable[[tuple[float, float]], float]]] = {"sum": sum, "max": max, "min": min}


class Observed:
    """The sources of the process, one a manager; values with the same attributes are added up.

    Args:
        metrics: Which metrics can be looked up.
    """

    def __init__(self, metrics: tuple[Metric, ...]) -> None:
        self._metrics = metrics
        self._lock = threading.Lock()
        self._sources: weakref.WeakKeyDictionary[object, Callable[[Any], Source]] = weakref.WeakKeyDictionary()
        self._gone: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        self._made = False

    def watch(self, owner: object, source: Callable[[Any], Source]) -> None:
        """Begin to look up an owner's values.

        Args:
            owner: Whose values they are; only weakly held.
            source: Returns what looks each metric up, given the owner.
        """
        with self._lock:
            self._sources[owner] = source
        self.make()

    def leave(self, owner: object) -> None:
        """Look an owner's values up no longer; what it has counted stays counted."""
        with self._lock:
            source = self._sources.pop(owner, None)
        if source is None or not self._made:
            return
        for metric in self._metrics:
            if metric.kind == "counter":
                self._keep(metric, self._looked_up(metric, owner, source))

    def _keep(self, metric: Metric, found: list[Observation]) -> None:
        with self._lock:
            kept = self._gone.setdefault(metric.name, {})
            for value, attributes in found:
                kept[attributes] = kept.get(attributes, 0) + value

    def make(self) -> None:
        """Make the instruments, if somebody could collect them; done once."""
        api = sys.modules.get("opentelemetry.metrics")
        if api is None or self._made:
            return
        self._made = True
        try:
            meter = api.get_meter("strongroom")
            for metric in self._metrics:
                create = getattr(meter, f"create_observable_{metric.kind}")
                create(metric.name, [self._callback(metric)], unit=metric.unit, description=metric.summary)
        # Foreign code: what cannot be observed must not fail what would be.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)

    def _callback(self, metric: Metric) -> Callable[[Any], Iterable[Any]]:
        def look_up(_: Any) -> Iterable[Any]:
            observation = sys.modules["opentelemetry.metrics"].Observation
            return [observation(value, dict(attributes)) for attributes, value in self.values(metric).items()]

        return look_up

    def values(self, metric: Metric) -> dict[tuple[tuple[str, str], ...], float]:
        """Return a metric's values by their attributes.

        Args:
            metric: Which one.
        """
        with self._lock:
            total = dict(self._gone.get(metric.name, {}))
            sources = list(self._sources.items())
        join = _JOINED[metric.over]
        for owner, source in sources:
            for value, attributes in self._looked_up(metric, owner, source):
                total[attributes] = join((total[attributes], value)) if attributes in total else value
        return total

    def _looked_up(self, metric: Metric, owner: object, source: Callable[[Any], Source]) -> list[Observation]:
        try:
            look_up = source(owner).get(metric.name)
            return list(look_up()) if look_up is not None else []
        # A part that is just being closed, or a plugin that fails: the others' values are still worth having.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)
            return []

    def start_afresh(self) -> None:
        """Make the instruments anew, as somebody else provides them now; what was counted stays counted."""
        self._made = False
        self.make()

    def after_fork(self) -> None:
        """Take a new lock in a forked child, which has counted nothing yet."""
        self._lock = threading.Lock()
        self._gone = {}


OBSERVED: Final = Observed(OBSERVABLE)
"""The managers of this process."""
