"""Audit sink for strongroom: RFC 5424 messages to a syslog server over UDP, TCP, TLS or a local socket."""
