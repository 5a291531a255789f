"""Waiting for a thread so that a fork may follow."""

from __future__ import annotations

import os
import threading
import time

from typing import Final

_LIMIT: Final = 1.0
"""How many seconds the end of what Python no longer sees is waited for; it takes some ten microseconds."""
_PAUSE: Final = 0.00001


def join(thread: threading.Thread, seconds: float | None = None) -> bool:
    """Wait for a thread until the system has ended it, too.

    Before Python 3.13, ``Thread.join`` returns when Python code of the thread has ended. In what is left, OpenSSL
    clears up under its locks: in a process that is forked amidst they stay locked, and its first TLS connection never
    returns. So where a thread ends before its caller goes on, the caller waits for that as well, where the system lists
    its threads (Linux).

    Args:
        thread: The thread, which was started.
        seconds: How long to wait for it at most; without it as long as it takes.

    Returns:
        Whether it has ended.
    """
    thread.join(seconds)
    if thread.is_alive():
        return False
    entry = f"/proc/self/task/{thread.native_id}"
    end = time.monotonic() + _LIMIT
    while os.path.exists(entry) and time.monotonic() < end:
        time.sleep(_PAUSE)
    return True
