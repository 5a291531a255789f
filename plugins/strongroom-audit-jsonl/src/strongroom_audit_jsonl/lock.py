"""The lock that one writer holds at a time, over all processes."""

from __future__ import annotations

import fcntl
import os
import time

from contextlib import suppress
from typing import Self

from strongroom.errors import AuditError
from strongroom_audit_jsonl.access import check_private, open_private

_FIRST_PAUSE = 0.0005
# Short, because a busy writer leaves the lock free for moments only.
_LONGEST_PAUSE = 0.01


class TrailLock:
    """Excludes other writers; a context manager that may be entered again after it was left.

    The lock file is a separate one, because the audit file itself may be renamed
    or deleted by others at any moment. It is opened anew for each use: a lock
    belongs to an open file, which a forked child would share with its parent.

    Args:
        path: The lock file; made with mode 0600 if it is missing.
        timeout: How long to wait, in seconds.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._descriptor: int | None = None

    def __enter__(self) -> Self:
        """Wait for the lock.

        Raises:
            AuditError: Another process held it for longer than the timeout, or
                the lock file cannot be used.
        """
        # An interrupt may have come between taking the lock and the block that it was for.
        self._let_go()
        deadline = time.monotonic() + self._timeout
        try:
            while not self._attempt(deadline):
                pass
        except OSError as error:
            raise AuditError(
                f"the audit lock {self._path} cannot be used: {error.strerror}",
                hint="check the folder and its permissions",
            ) from error
        return self

    def __exit__(self, *exception: object) -> None:
        """Release the lock; if that fails nobody is told, for what it was held for has been done."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            # Said aloud: closing alone would leave it to a child that was forked meanwhile.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            with suppress(OSError):
                os.close(descriptor)

    def after_fork(self) -> None:
        """Let go, in a forked child, of a lock that the parent held at that moment and still holds."""
        # Without unlocking, which would unlock the parent's as well.
        self._let_go()

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _attempt(self, deadline: float) -> bool:
        """Lock the file, and say whether it still is the one that others will lock."""
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        self._descriptor = descriptor
        try:
            status = check_private(descriptor, self._path)
            self._wait(descriptor, deadline)
            if _is_at(status, self._path):
                return True
        except BaseException:
            self._let_go()
            raise
        self._let_go()
        return False

    def _wait(self, descriptor: int, deadline: float) -> None:
        pause = _FIRST_PAUSE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if time.monotonic() >= deadline:
                    raise self._too_long() from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _too_long(self) -> AuditError:
        return AuditError(
            f"another process has held the audit lock {self._path} for more than {self._timeout:g} s",
            hint="look for a process that hangs while it writes to the audit file",
        )


def _is_at(status: os.stat_result, path: str) -> bool:
    """Tell whether a file is still the one at a path."""
    try:
        return os.path.samestat(status, os.lstat(path))
    except FileNotFoundError:
        return False
