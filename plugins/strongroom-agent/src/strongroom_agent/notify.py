"""Tells systemd how the agent is, see sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time

from collections.abc import Mapping


class Notifier:
    """Sends states to systemd; without it, nothing happens.

    Args:
        environment: The process's variables.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._seconds = _watchdog_seconds(environment)

    @property
    def watchdog_seconds(self) -> float | None:
        """How often systemd must hear that all is well, in seconds; ``None`` if it need not."""
        return self._seconds if self._address else None

    def ready(self, status: str) -> None:
        """Tell that requests are answered.

        Args:
            status: One line for ``systemctl status``.
        """
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Tell that the configuration is being read anew; :meth:`ready` tells that this is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Tell that the agent is about to end."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Tell that all is well."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            # Telling is no reason to wait or to fail: systemd acts by itself on what it does not hear.
            channel.setblocking(False)
            try:
                channel.sendto(text.encode(), self._address)
            except OSError:
                return


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    text = environment.get("WATCHDOG_USEC", "")
    if not text.isdigit() or not int(text) or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(text) / 1e6
