"""The settings of the audit sink."""

from __future__ import annotations

from typing import Final

from strongroom.contracts import FilePath, Record, Seconds, Size

FACILITIES: Final = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
"""The facilities by their numbers."""


class SyslogSettings(Record):
    """The settings of a ``[[audit]]`` table of type ``syslog``."""

    address: str
    """Where the server is: ``tls://HOST`` (port 6514 unless given), ``tcp://HOST:PORT``, ``udp://HOST`` (port 514), or
    a local socket as ``unix:///dev/log``."""
    facility: str = "authpriv"
    """What the server sorts by: ``auth``, ``authpriv``, ``audit``, ``daemon``, ``user``, ``local0`` to ``local7`` and
    the other names of syslog."""
    app_name: str = "strongroom"
    """The APP-NAME of each message."""
    hostname: str | None = None
    """The HOSTNAME of each message; the event's own host unless given."""
    enterprise_id: int = 32473
    """The private enterprise number in ``strongroom@NUMBER``, the id of the structured data. Set your organization's if
    it has one: 32473 is the number for examples, which belongs to nobody."""
    ca_file: FilePath | None = None
    """``tls``: the certificates of the authorities to trust, in PEM; in place of the system's."""
    client_cert: FilePath | None = None
    """``tls``: our own certificate, in PEM, for a server that asks for one."""
    client_key: FilePath | None = None
    """``tls``: its key; in the certificate's file unless given."""
    server_name: str | None = None
    """``tls``: what the server's certificate must be made out to; the address's host unless given."""
    timeout: Seconds = 5.0
    """How long one write may take, with looking the name up, connecting and the TLS handshake."""
    max_bytes: Size | None = None
    """The longest message. An event that does not fit is refused before anything is sent; only of an answer from memory
    the principal is shortened, with a mark and a digest, since nobody waits for it. 2048 for ``udp``
    and 8192 for the others unless given: what the RFCs expect a server to accept."""

    def problems(self) -> list[str]:
        """Return each broken rule as a sentence."""
        from strongroom_audit_syslog.rules import problems  # most commands never configure this sink

        return problems(self)
