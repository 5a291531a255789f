"""Where a syslog server is: one text that says transport, host and port, so that they cannot contradict each other."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, urlsplit

from strongroom.contracts import Record

TRANSPORTS: Final = ("udp", "tcp", "tls", "unix")
# Of RFC 5426 and RFC 5425. Plain TCP has none that everybody agrees on.
_PORTS: Final = {"udp": 514, "tls": 6514}


class Address(Record):
    """The address of a syslog server."""

    transport: str
    """One of ``TRANSPORTS``."""
    host: str = ""
    """Its name or IP address; empty for ``unix``."""
    port: int = 0
    path: str = ""
    """The socket's path; for ``unix`` only."""

    def __str__(self) -> str:
        """Return the address as a configuration writes it."""
        if self.transport == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}://{host}:{self.port}"


def parse(text: str) -> Address:
    """Return the address that a text stands for.

    Args:
        text: ``udp://HOST[:PORT]``, ``tcp://HOST:PORT``, ``tls://HOST[:PORT]`` or ``unix:///PATH``.

    Raises:
        ValueError: It is none; the message says why.
    """
    if not text.isprintable() or any(map(str.isspace, text)):
        raise ValueError("holds a blank or a control character")
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise ValueError("has a [ without a ], or no IPv6 address between them") from error
    if parts.scheme not in TRANSPORTS:
        raise ValueError("does not begin with udp://, tcp://, tls:// or unix://")
    if parts.query or parts.fragment or "?" in text or "#" in text:
        raise ValueError("has something after a ? or #, which means nothing here")
    return _unix(parts) if parts.scheme == "unix" else _network(parts)


def _unix(parts: SplitResult) -> Address:
    if parts.netloc or not parts.path.startswith("/") or parts.path.endswith("/"):
        raise ValueError("does not name a socket by an absolute path, as in unix:///dev/log")
    return Address(transport="unix", path=parts.path)


def _network(parts: SplitResult) -> Address:
    if "@" in parts.netloc:
        raise ValueError("has a user in it, which syslog does not know")
    if parts.path not in {"", "/"}:
        raise ValueError("has a path, which syslog does not know")
    if not parts.hostname:
        raise ValueError("has no host")
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("has a port that is no number from 1 to 65535") from error
    if port is None:
        port = _PORTS.get(parts.scheme)
    if port is None:
        raise ValueError("has no port, and plain TCP has no usual one")
    if port == 0:
        raise ValueError("has a port that is no number from 1 to 65535")
    return Address(transport=parts.scheme, host=parts.hostname, port=port)
