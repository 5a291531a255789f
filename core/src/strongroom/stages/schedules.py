"""When secrets are rotated, and by whom: what the backends' services say of it."""

from __future__ import annotations

from strongroom._record import Record
from strongroom.contracts.service_rotation import Schedule, SchedulesRequest, ServiceRotation
from strongroom.policy import Action
from strongroom.stages.gate import Gate
from strongroom.wiring import Parts


class FoundSchedules(Record):
    """The schedules below a folder, and which requests have found them out."""

    schedules: tuple[Schedule, ...]
    """Those that the principal may see, sorted by name."""
    request_ids: tuple[str, ...]


def find_schedules(parts: Parts, gate: Gate, folder: str) -> FoundSchedules:
    """Return the schedules of the services of all backends that may hold names below a folder.

    Args:
        parts: The stages of the manager.
        gate: Decides what the principal may see.
        folder: The folder's canonical name; empty for the root.
    """
    found: list[Schedule] = []
    request_ids: list[str | None] = []
    for name in parts.routing.below(folder):
        backend = parts.backend(name)
        if not backend.offers(ServiceRotation):
            continue
        told = backend.schedules(SchedulesRequest(prefix=folder))
        found += [one for one in told.schedules if one.name.is_below(folder) and parts.routing.of(one.name) == name]
        request_ids.append(told.request_id)
    visible = sorted((one for one in found if gate.permits(Action.LIST, one.name)), key=lambda one: one.name)
    return FoundSchedules(schedules=tuple(visible), request_ids=tuple(one for one in request_ids if one))
