"""What rotating a secret now would do, found out without doing any of it."""

from __future__ import annotations

from typing import Final

from strongroom._spoken import spoken
from strongroom.config.rotation import DEFAULT_ROTATOR, RotationRule
from strongroom.contracts.backend import Capability, ReadRequest, VersionsRequest
from strongroom.contracts.names import rotation_record
from strongroom.contracts.staging import StagesRequest
from strongroom.errors import ClosedError, SecretNotFoundError, StrongroomError
from strongroom.model import SecretName, SecretValue
from strongroom.policy import Action
from strongroom.resilience.guarded import GuardedBackend
from strongroom.rotation.leading import is_waiting, left_over
from strongroom.rotation.outlook import Looker, Outlook, keeps_stages
from strongroom.rotation.reports import RotationPlan
from strongroom.rotation.ruled import Ruled
from strongroom.rotation.service import refuse_rule
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts

SERVICE: Final = "the backend's service"
_SAMPLE: Final = SecretValue(b"a value")
"""Stands for the one that would be made, where somebody asks whether any could be written."""


def planned(parts: Parts, gate: Gate, spelling: str) -> RotationPlan:
    """Return what rotating a secret now would do; see :meth:`RotationDesk.plan`."""
    name = gate.recording_as("schedules").check(Action.ROTATE, spelling)
    with gate.recording_look("schedules", name, backend=parts.routing.of(name), detail="a plan of its rotation"):
        return _Planner(parts, gate, name).plan()


class _Planner:
    def __init__(self, parts: Parts, gate: Gate, name: SecretName) -> None:
        self._parts = parts
        self._gate = gate
        self._name = name
        self._rule = parts.configuration.rotation.rule(name)
        maker = DEFAULT_ROTATOR if self._rule is None else self._rule.keys.rotator
        self._plan = RotationPlan(name=name, backend=parts.routing.of(name), rotator=maker, version="", steps=())

    def plan(self) -> RotationPlan:
        try:
            backend = self._parts.backend(self._plan.backend)
            self._fill(backend)
        except ClosedError:
            raise
        # What would refuse the rotation is what the plan is asked for.
        except StrongroomError as error:
            error.name = error.name or self._name
            self._plan = self._plan.replace(obstacle=error)
        return self._plan

    def _fill(self, backend: GuardedBackend) -> None:
        name, rule = self._name, self._rule
        backend.refuse_leased(name, "rotating")
        if backend.rotates(name):
            self._plan = self._plan.replace(rotator=SERVICE, steps=_service_steps(backend.name))
            refuse_rule(name, backend.name, rule)
            self._plan = self._plan.replace(version=_current_version(backend, name))
            return
        self._plan = self._plan.replace(version=_current_version(backend, name))
        if rule is None:
            steps = ("Make 32 random bytes.", f"Write them over version {self._plan.version}.", "Tell subscribers.")
            self._plan = self._plan.replace(steps=steps)
        else:
            self._by_rule(backend, rule)
        backend.check_write_value(name, _SAMPLE)

    def _by_rule(self, backend: GuardedBackend, rule: RotationRule) -> None:
        self._parts.rotators.of(rule)
        ruled = Ruled(name=self._name, rule=rule, backend=backend.name)
        looks = Looker(self._parts, self._gate, timed=False).look([ruled])
        for outlook in looks:
            self._plan = self._plan.replace(steps=self._steps(backend, rule, outlook))
            if outlook.error is not None:
                raise outlook.error
            self._refuse_pending(outlook)

    def _refuse_pending(self, outlook: Outlook) -> None:
        pending = outlook.standing.pending
        if pending is None:
            return
        if outlook.phase == "running" and outlook.led is not None:
            raise outlook.led
        if outlook.over_since is None:
            raise left_over(pending, self._name, outlook.overlap, self._parts.wall_clock() / 1e9)

    def _steps(self, backend: GuardedBackend, rule: RotationRule, outlook: Outlook) -> tuple[str, ...]:
        spec = self._parts.rotators.spec(rule)
        overlap = spec.overlap if rule.keys.overlap is None else rule.keys.overlap
        pending = outlook.standing.pending
        where = "its pending stage" if keeps_stages(backend) else rotation_record(self._name)
        before = pending is not None and is_waiting(pending)
        last = f"After {spoken(overlap)}, have" if overlap else "Have"
        steps = [
            ("Finish the rotation before this one.", before),
            (f"Have the rotator {rule.keys.rotator} make a new value.", True),
            (f"Record it as pending in {backend.name}, in {where}.", True),
            ("Have the dependent take it, and see whether it accepts it.", spec.dependent),
            (f"Make it the current value, over version {self._plan.version}.", True),
            ("Tell subscribers.", True),
            (f"{last} the dependent refuse the former value, as far as it can.", spec.dependent),
            ("Note that the rotation is done.", True),
        ]
        return tuple(step for step, needed in steps if needed)


def _service_steps(backend: str) -> tuple[str, ...]:
    return (f"Have the service of {backend} rotate it.", "Wait until its new version is current.", "Tell subscribers.")


def _current_version(backend: GuardedBackend, name: SecretName) -> str:
    """Return the current version; its value is read only where nothing else tells."""
    if keeps_stages(backend):
        current = backend.stages(StagesRequest(name=name)).current
    elif Capability.VERSIONS in backend.capabilities:
        versions = backend.versions(VersionsRequest(name=name)).versions
        current = next((one.version for one in reversed(versions) if one.state == "current"), None)
    else:
        current = backend.read(ReadRequest(name=name)).version
    if current is None:
        raise SecretNotFoundError(f"{name} has no value", name=name, backend=backend.name, hint="write one first")
    return current
