"""Asks a running agent how it is: for health checks of containers."""

from __future__ import annotations

import socket

from typing import Final

from strongroom.errors import ConfigurationError
from strongroom_agent.addresses import Address, default, parse
from strongroom_agent.settings import AgentSettings

SECONDS: Final = 5.0
_MOST_BYTES: Final = 65536


def ask(settings: AgentSettings, path: str) -> tuple[int, str]:
    """Return the status and the body of what the agent answers.

    Args:
        settings: Say where it listens; the first address is asked.
        path: What to ask for.

    Raises:
        ConfigurationError: It has no address that is known beforehand.
        OSError: It does not answer.
    """
    address = parse(settings.listen[0]) if settings.listen else default()
    if address.path is None and address.port == 0:
        raise ConfigurationError("the agent's port is chosen by the system", hint="say which one it is in `listen`")
    with _connected(address) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while len(answer) < _MOST_BYTES and (part := connection.recv(4096)):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[1].isdigit():
        raise OSError("something else answers there")
    return int(words[1]), body.decode("utf-8", "replace")


def _connected(address: Address) -> socket.socket:
    if address.path is None:
        return socket.create_connection((address.host, address.port), timeout=SECONDS)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        one.settimeout(SECONDS)
        one.connect(address.path)
    except BaseException:
        one.close()
        raise
    return one
