"""Runs the detectors on made-up traffic in the core's own stage, with hits of the cache and restarts."""

from __future__ import annotations

import importlib

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from _fleet import DAY, Event
from _scoring import Alert
from _traffic import Traffic

from strongroom.anomaly.stage import Alert as Told
from strongroom.anomaly.stage import AnomalyStage, ConfiguredDetector, Watch
from strongroom.contracts import Access, AnomalyDetector, DetectorSpec
from strongroom.errors import SuspiciousActivityError
from strongroom.model import Principal, PrincipalSource, SecretName

CACHED: Final = 300.0
"""Seconds for which the cache of a program answers."""
RESTARTS: Final = 10 * DAY
"""After which time the process that runs the detectors is started anew, from what they have dumped."""


def specs() -> dict[str, DetectorSpec]:
    """Return the detectors on offer by name."""
    plugin = importlib.import_module("strongroom_anomaly.plugin")
    return {spec.name: spec for spec in plugin.strongroom_anomaly_detectors()}


class Guarded:
    """The detectors, each with ``action = "block"``, in front of the traffic of one fleet.

    Args:
        chosen: Which detectors, with the settings that differ from their defaults.
    """

    def __init__(self, chosen: dict[str, dict[str, Any]]) -> None:
        offered = specs()
        self.alerts: list[Alert] = []
        self.blocked: Counter[tuple[str, str]] = Counter()
        """Accesses that are part of no attack and were stopped, by detector and cause."""
        self._chosen = {name: (offered[name], settings) for name, settings in chosen.items()}
        self._event = Event(0.0, "", "", "", "", "", "", "")
        self._stage = self._started()
        # By principal, name, machine and program: until when the cache answers, and how it lets repetitions pass.
        self._cached: dict[tuple[str, ...], tuple[float, Watch | None]] = {}
        self._principals: dict[str, Principal] = {}

    def run(self, traffic: Traffic) -> None:
        """Judge everything."""
        restart = traffic.start + RESTARTS
        for event in traffic.events:
            if event.time >= restart:
                self._restart()
                restart += RESTARTS
            self._event = event
            self._see(event)
        if self._stage.failures:
            raise RuntimeError(f"{self._stage.failures} failures of detectors")

    def _started(self) -> AnomalyStage:
        detectors = tuple(
            ConfiguredDetector(name=name, detector=spec.open(spec.settings(**settings)), block=True)
            for name, (spec, settings) in self._chosen.items()
        )
        return AnomalyStage(
            detectors,
            self._told,
            clock=lambda: self._event.time,
            wall_clock=lambda: int(self._event.time * 1e9),
        )

    def _restart(self) -> None:
        old: list[AnomalyDetector] = [entry.detector for entry in self._stage.detectors]
        self._stage = self._started()
        self._cached.clear()
        for before, entry in zip(old, self._stage.detectors, strict=True):
            state = before.dump()
            if state is not None:
                entry.detector.restore(state)

    def _told(self, alert: Told) -> None:
        self.alerts.append(Alert(self._event.time, self._event.principal, alert.detector, self._event.cause))

    def _see(self, event: Event) -> None:
        """Lead one access through the stage as the core does."""
        key = (event.principal, event.name, event.host, event.process)
        is_read = event.action == "read" and event.result == "ok"
        until, watch = self._cached.get(key, (0.0, None)) if is_read else (0.0, None)
        hit = event.time < until
        if hit and watch is not None and watch.lets_pass(event.time):
            return
        access = self._access(event)
        if event.result == "denied":
            self._stage.judge_denied(access)
            return
        try:
            self._stage.judge(access)
        except SuspiciousActivityError as error:
            if not event.cause.startswith("attack"):
                self.blocked[error.rule or "", event.cause] += 1
            return
        if hit:
            self._cached[key] = (until, self._stage.watch(access, event.time, watch))
            return
        self._stage.observe(access, event.result)
        if is_read:
            self._cached[key] = (event.time + CACHED, None)

    def _access(self, event: Event) -> Access:
        principal = self._principals.get(event.principal)
        if principal is None:
            principal = Principal(name=event.principal, source=PrincipalSource.CONFIGURATION)
            self._principals[event.principal] = principal
        return Access(
            principal=principal,
            action=event.action,
            name=SecretName(event.name),
            time=datetime.fromtimestamp(event.time, UTC),
            allowed=event.result != "denied",
            host=event.host,
            process=event.process,
        )


def guarded(traffic: Traffic, chosen: Iterable[str] | dict[str, dict[str, Any]]) -> Guarded:
    """Return what the detectors say to all of the traffic."""
    found = Guarded(chosen if isinstance(chosen, dict) else {name: {} for name in chosen})
    found.run(traffic)
    return found
