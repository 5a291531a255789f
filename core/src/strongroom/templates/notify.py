"""Tells systemd how it goes, see sd_notify(3)."""

from __future__ import annotations

import os
import socket

from contextlib import suppress


def tell_systemd(text: str) -> None:
    """Send states to systemd; where no service manager listens, nothing happens.

    Args:
        text: Such as ``READY=1``, one state a line.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    address = "\0" + address[1:] if address.startswith("@") else address
    # Telling is no reason to wait or to fail: systemd acts by itself on what it does not hear.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.sendto(text.encode(), address)
