"""What strongroom finds: the audit sink ``pytest``, in which the throw-away configuration has its events."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import AuditSink, FilePath, Record, SinkSpec
from strongroom.hookspecs import hookimpl


class EventFileSettings(Record):
    """The settings of a ``[[audit]]`` table of type ``pytest``."""

    path: FilePath
    """The file that events are appended to; it must exist."""


@hookimpl
def strongroom_audit_sinks() -> Iterator[SinkSpec]:
    """Offer the sink that keeps events for a test; it proves nothing, and is of no use elsewhere."""
    yield SinkSpec(
        name="pytest", summary="Events for the assertions of a test.", settings=EventFileSettings, open=_open
    )


def _open(settings: EventFileSettings) -> AuditSink:
    from strongroom_pytest.events import EventFile

    return EventFile(settings.path)
