"""When secrets are rotated, and how their rotations stand: of rules and of the backends' services, as one principal."""

from __future__ import annotations

from collections.abc import Iterable

from strongroom.config.rotation import RotationKeys, RotationRule
from strongroom.contracts.service_rotation import Schedule
from strongroom.model import SecretName
from strongroom.policy import Action
from strongroom.rotation.outlook import Looker, Outlook
from strongroom.rotation.reports import RotationStatus
from strongroom.rotation.ruled import Found, Unlisted, find_ruled
from strongroom.rotation.timing import DUE, OFF, OK, OVERDUE, SOON, instant
from strongroom.stages.gate import Gate
from strongroom.stages.schedules import find_schedules
from strongroom.telemetry import note
from strongroom.telemetry.names import OUTCOME, ROTATIONS_DUE
from strongroom.wiring import Parts

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"))


class Overview:
    """Looks at rotations as one principal, and changes nothing.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may see.
    """

    def __init__(self, parts: Parts, gate: Gate) -> None:
        self._parts = parts
        self._gate = gate

    def status(self, prefix: str) -> tuple[RotationStatus, ...]:
        """Return how rotations by rules stand; see :meth:`RotationDesk.status`."""
        folder = self._gate.folder(prefix, event="schedules")
        with self._gate.recording_look("schedules", _key(folder), detail="how rotations stand") as facts:
            found = self._found(prefix, folder)
            outlooks = Looker(self._parts, self._gate, timed=False).look(found.ruled)
            told = [self._status(one) for one in outlooks]
            told += [_unlisted_status(one) for one in found.unlisted]
            facts.update(count=len(told))
        return tuple(sorted(told, key=lambda one: one.name))

    def schedule(self, prefix: str) -> tuple[Schedule, ...]:
        """Return when secrets are rotated; see :meth:`RotationDesk.schedule`."""
        folder = self._gate.folder(prefix, event="schedules")
        with self._gate.recording_look("schedules", _key(folder)) as facts:
            services = find_schedules(self._parts, self._gate, folder)
            facts.update(request_id=_joined(services.request_ids))
            now = self._now()
            told = {one.name: one.replace(state=_state_of(one, now)) for one in services.schedules}
            for mine in self._own(prefix, folder):
                told.setdefault(mine.name, mine)
            facts.update(count=len(told))
        if not folder:
            _note_states(told.values())
        return tuple(sorted(told.values(), key=lambda one: one.name))

    def _own(self, prefix: str, folder: str) -> Iterable[Schedule]:
        if not self._parts.configuration.rotation:
            return []
        found = self._found(prefix, folder)
        outlooks = Looker(self._parts, self._gate).look(found.ruled)
        return [self._schedule(one) for one in outlooks] + [_unlisted_schedule(one) for one in found.unlisted]

    def _found(self, prefix: str, folder: str) -> Found:
        return find_ruled(self._parts, self._gate, folder, Action.LIST, itself=not prefix.endswith("/"))

    def _status(self, outlook: Outlook) -> RotationStatus:
        standing, rule = outlook.standing, outlook.ruled.rule
        pending, phase = standing.pending, outlook.phase
        status = RotationStatus(
            name=outlook.name,
            pattern=rule.pattern,
            rotator=rule.keys.rotator,
            state=phase,
            rotated=instant(standing.rotated),
            problem="" if outlook.error is None else outlook.error.what,
        )
        if pending is None:
            return status
        until = self._now() + outlook.overlap if phase == "overlap" else pending.began + rule.keys.limit
        owner = pending.owner
        return status.replace(
            id=pending.id,
            step=pending.step.value,
            attempt=pending.attempt,
            began=instant(pending.began),
            until=instant(until),
            owner=None if owner is None else f"process {owner.pid} on {owner.host}",
        )

    def _schedule(self, outlook: Outlook) -> Schedule:
        when, keys = outlook.timing, outlook.ruled.rule.keys
        has_window = when.windows is not None and when.late is not None and when.next is not None
        return Schedule(
            name=outlook.name,
            rule=spelled(keys, ends=when.ends is not None),
            by=keys.rotator,
            enabled=when.due is not None or outlook.error is not None,
            last=instant(outlook.standing.rotated),
            next=instant(when.next),
            window=(when.late or 0.0) - (when.next or 0.0) if has_window else None,
            due=instant(when.due),
            warn_from=instant(when.warn),
            ends=instant(when.ends),
            pattern=outlook.ruled.rule.pattern,
            state=outlook.state(self._now()),
            problem=outlook.oddity if outlook.error is None else outlook.error.what,
        )

    def _now(self) -> float:
        return self._parts.wall_clock() / 1e9


def spelled(keys: RotationKeys, *, ends: bool) -> str:
    """Return a rule in words, such as ``every 90 days, Sun 02:00-04:00``.

    Args:
        keys: The rule.
        ends: Whether the value ends by itself.
    """
    parts = [] if keys.every is None else [f"every {_time(keys.every)}"]
    if ends:
        parts.append("before its end" if keys.renew_before is None else f"{_time(keys.renew_before)} before its end")
    if not parts:
        return "when asked for"
    return ", ".join(parts if keys.window is None else [*parts, keys.window])


def _time(seconds: float) -> str:
    """Return a time in the largest unit of which it is a whole number."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds % size == 0), (1, "second"))
    number = seconds / size
    return f"{number:g} {unit}" if number == 1 else f"{number:g} {unit}s"


def _note_states(schedules: Iterable[Schedule]) -> None:
    """Note for monitoring how many secrets are due; all of them that this principal may list."""
    states = [one.state for one in schedules]
    for state in (SOON, DUE, OVERDUE):
        note(ROTATIONS_DUE, states.count(state), {OUTCOME: state})


def _state_of(schedule: Schedule, now: float) -> str:
    """Return the state of a service's schedule."""
    if not schedule.enabled:
        return OFF
    if schedule.next is None or now < schedule.next.timestamp():
        return OK
    return DUE if now - schedule.next.timestamp() <= (schedule.window or 0.0) else OVERDUE


def _unlisted_status(unlisted: Unlisted) -> RotationStatus:
    rule = unlisted.rule
    return RotationStatus(
        name=SecretName(rule.pattern),
        pattern=rule.pattern,
        rotator=rule.keys.rotator,
        state="unknown",
        problem=problem_of(unlisted),
    )


def _unlisted_schedule(unlisted: Unlisted) -> Schedule:
    rule: RotationRule = unlisted.rule
    return Schedule(
        name=SecretName(rule.pattern),
        rule=spelled(rule.keys, ends=False),
        by=rule.keys.rotator,
        pattern=rule.pattern,
        state="unknown",
        problem=problem_of(unlisted),
    )


def problem_of(unlisted: Unlisted) -> str:
    """Return why nobody knows for which names a rule is, in a sentence."""
    return f"the names below {unlisted.rule.pattern} could not be listed: {unlisted.error.what}"


def _key(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _joined(request_ids: Iterable[str]) -> str | None:
    return ",".join(request_ids) or None
