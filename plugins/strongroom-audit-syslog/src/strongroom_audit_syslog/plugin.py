"""What strongroom finds: the audit sink ``syslog``."""

from __future__ import annotations

from collections.abc import Iterator

from strongroom.contracts import AuditSink, SinkSpec
from strongroom.hookspecs import hookimpl
from strongroom_audit_syslog.settings import SyslogSettings


@hookimpl
def strongroom_audit_sinks() -> Iterator[SinkSpec]:
    """Offer the sink that sends messages to a syslog server."""
    yield SinkSpec(
        name="syslog",
        summary="RFC 5424 messages to a syslog server over UDP, TCP, TLS or a local socket.",
        settings=SyslogSettings,
        open=_open,
    )


def _open(settings: SyslogSettings) -> AuditSink:
    from strongroom_audit_syslog.sink import SyslogSink

    return SyslogSink(settings)
