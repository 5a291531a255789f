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
Values = dict[tuple[tuple[str, str], ...], float]
"""Values by their attributes."""
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
        self._gone: dict[str, Values] = {}
        self._told: dict[str, Values] = {}
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
        source = self._sources.get(owner)
        if source is None:
            return
        counters = [metric for metric in self._metrics if metric.kind == "counter"] if self._made else []
        found = [(metric.name, self._looked_up(metric, owner, source)) for metric in counters]
        with self._lock:
            if self._sources.pop(owner, None) is None:
                return  # another thread has been faster
            for name, observations in found:
                kept = self._gone.setdefault(name, {})
                for value, attributes in observations:
                    kept[attributes] = kept.get(attributes, 0) + value

    def make(self) -> None:
        """Make the instruments, if somebody could collect them; done once."""
        api = sys.modules.get("opentelemetry.metrics")
        if api is None or self._made:
            return
        # First, so that of two threads one makes them.
        self._made = True
        try:
            meter = api.get_meter("strongroom")
        # Foreign code, which another thread may be importing just now: it is tried again.
        except Exception as error:  # noqa: BLE001  # see above
            self._made = False
            note_problem(error)
            return
        for metric in self._metrics:
            try:
                create = getattr(meter, f"create_observable_{metric.kind}")
                create(metric.name, [self._callback(metric)], unit=metric.unit, description=metric.summary)
            # Foreign code again: what cannot be observed must fail neither what would be nor the others.
            except Exception as error:  # noqa: BLE001  # see above
                note_problem(error)

    def _callback(self, metric: Metric) -> Callable[[Any], Iterable[Any]]:
        def look_up(_: Any) -> Iterable[Any]:
            observation = sys.modules["opentelemetry.metrics"].Observation
            return [observation(value, dict(attributes)) for attributes, value in self.values(metric).items()]

        return look_up

    def values(self, metric: Metric) -> Values:
        """Return a metric's values by their attributes.

        A counter never goes back: not while an owner leaves, nor because one fails to answer or is gone without a word.

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
        return self._not_less(metric, total) if metric.kind == "counter" else total

    def _not_less(self, metric: Metric, total: Values) -> Values:
        with self._lock:
            told = self._told.setdefault(metric.name, {})
            told.update({attributes: max(value, told.get(attributes, 0)) for attributes, value in total.items()})
            return dict(told)

    def _looked_up(self, metric: Metric, owner: object, source: Callable[[Any], Source]) -> list[Observation]:
        try:
            look_up = source(owner).get(metric.name)
            return list(look_up()) if look_up is not None else []
        # A part that is just being closed, or a plugin that fails: the others' values are still worth having.
        except Exception as error:  # noqa: BLE001  # see above
            note_problem(error)
            return []

    def start_afresh(self) -> None:
        """Make the instruments anew, as somebody else provides them now, who is told of the managers that there are."""
        self._made, self._gone, self._told = False, {}, {}
        self.make()

    def after_fork(self) -> None:
        """Take a new lock in a forked child, which has counted nothing yet."""
        self._lock = threading.Lock()
        self._gone, self._told = {}, {}


OBSERVED: Final = Observed(OBSERVABLE)
"""The managers of this process."""
