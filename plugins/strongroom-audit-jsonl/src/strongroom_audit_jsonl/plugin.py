"""What strongroom finds: the audit sink ``jsonl``."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import AuditSink, SinkSpec
from strongroom.hookspecs import hookimpl
from strongroom_audit_jsonl.settings import JsonlSettings


@hookimpl
def strongroom_audit_sinks() -> Iterator[SinkSpec]:
    """Offer the sink that appends JSON lines to a file."""
    yield SinkSpec(
        name="jsonl",
        summary="JSON lines in a file, with a hash chain that shows every later change.",
        settings=JsonlSettings,
        open=_open,
    )


def _open(settings: JsonlSettings) -> AuditSink:
    from strongroom_audit_jsonl.sink import JsonlSink

    return JsonlSink(settings)
