"""Where the agent may listen: loopback and Unix sockets, and nowhere else."""

from __future__ import annotations

import os

from typing import Final

from strongroom.contracts import Record
from strongroom.errors import ConfigurationError

UNIX: Final = "unix:"
MOST_PATH_BYTES: Final = 103
"""A socket's path may have so many bytes, on macOS; on Linux four more."""
DRAFT_BYTES: Final = 12
"""How many bytes more than its folder's the path has under which a socket is made at first."""


class Address(Record):
    """One place to listen at."""

    path: str | None = None
    """The path of a Unix socket; ``None`` for loopback."""
    host: str = ""
    """An address of loopback."""
    port: int = 0
    """The port; 0 for one that the system chooses."""

    def __str__(self) -> str:
        """Return it as the configuration has it."""
        if self.path is not None:
            return UNIX + self.path
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse(text: str) -> Address:
    """Read an address.

    Args:
        text: As the configuration has it.

    Raises:
        ConfigurationError: It is no address, or one that other machines could reach.
    """
    if text.startswith(UNIX):
        return Address(path=_checked_path(text.removeprefix(UNIX)))
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ConfigurationError(f"{text!r} is no address to listen at", hint="use 127.0.0.1:8743 or unix:/path")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return Address(host=_checked_host(host, text), port=int(port))


def default() -> Address:
    """Return where to listen if the configuration does not say.

    Raises:
        ConfigurationError: This process has no runtime folder.
    """
    # systemd's for the service, which several folders may be in; then the user's own.
    service = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if service:
        return Address(path=_checked_path(os.path.join(service, "agent.sock")))
    user = os.environ.get("XDG_RUNTIME_DIR", "")
    if not user:
        raise ConfigurationError(
            "there is no runtime folder to make a socket in", hint='say where to listen: listen = ["unix:/path"]'
        )
    folder = os.path.join(user, "strongroom")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return Address(path=_checked_path(os.path.join(folder, "agent.sock")))


def _checked_path(path: str) -> str:
    if not os.path.isabs(path) or "\0" in path:
        raise ConfigurationError(f"{path!r} is no absolute path", hint="use unix:/run/strongroom/agent.sock")
    path = os.path.normpath(path)
    length = max(len(os.fsencode(path)), len(os.fsencode(os.path.dirname(path))) + DRAFT_BYTES)
    if length > MOST_PATH_BYTES:
        raise ConfigurationError(f"{path} is too long for a socket", hint=f"use at most {MOST_PATH_BYTES} bytes")
    return path


def _checked_host(host: str, text: str) -> str:
    # Imported here: a command that only reads settings has no need of it.
    import ipaddress

    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback or "%" in host:
        raise ConfigurationError(
            f"{text!r} is not an address of loopback, and other machines must not reach the agent",
            hint="use 127.0.0.1, [::1] or a Unix socket; put nothing that forwards in front of it",
        )
    return str(address)
