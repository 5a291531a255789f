"""Claims: who makes the writes that wait for a target. Each is a file beside the store that its holder keeps locked."""

from __future__ import annotations

import fcntl
import os
import threading

from contextlib import suppress
from io import FileIO
from typing import Final

from strongroom.errors import BackendError, ClosedError
from strongroom_local.files import PRIVATE_FILE, check_private
from strongroom_local.forking import watch_forks

_CLAIM: Final = "-claim-"
_OPENING: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


class Claims:
    """The claims that an open store holds. Threads share it.

    The system gives up a lock when its holder ends, however that happens, so no clock has a part in this. It belongs
    to an open file: another opened store is refused in the same process, too; a forked child inherits the open
    file, and closes it without unlocking it for the parent; a program that is started instead inherits nothing.
    It also ends with the store that nobody has any more, though it was never closed: its open files go with it.
    The files stay: to remove one that somebody is about to lock would make two holders.

    Args:
        path: The store's file, absolute.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._held: dict[str, FileIO] = {}
        self._gate = threading.RLock()
        self._process = os.getpid()
        self._closed = False
        watch_forks(self)

    def take(self, name: str) -> bool:
        """Take a claim, and tell whether that went well: else somebody has it, maybe this store itself.

        Args:
            name: What the file is called after; it shows nothing of the target.

        Raises:
            ClosedError: The store is closed.
            BackendError: The file cannot be opened, is open to others or cannot be locked.
        """
        self.forget()
        with self._gate:
            if self._closed:
                raise ClosedError("the local store is closed", hint="open it again")
            if name in self._held:
                return False
            file = self._locked(self._path + _CLAIM + name)
            if file is not None:
                self._held[name] = file
            return file is not None

    def give(self, name: str) -> None:
        """Give up a claim, if it is held."""
        self.forget()
        with self._gate:
            file = self._held.pop(name, None)
            if file is not None:
                # Said aloud: closing alone would leave it to a child that was forked without our knowledge.
                with suppress(OSError):
                    fcntl.flock(file, fcntl.LOCK_UN)
                file.close()

    def close(self) -> None:
        """Give up every claim, and take none from now on."""
        self.forget()
        with self._gate:
            self._closed = True
            for name in list(self._held):
                self.give(name)

    def _locked(self, path: str) -> FileIO | None:
        try:
            file = FileIO(path, "r+", opener=_opened)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            check_private(path, os.fstat(file.fileno()))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        except OSError as error:
            file.close()
            raise _unusable(path, error) from error
        except BaseException:
            file.close()
            raise
        return file

    def before_fork(self) -> None:
        """Let nobody open a file until the fork is over: a child must know which to close."""
        self._gate.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._gate.release()

    def forget(self) -> None:
        """Close, in a forked child, what the parent has locked, without unlocking it; elsewhere do nothing."""
        if self._process == os.getpid():
            return
        self._process = os.getpid()
        held, self._held = self._held, {}
        for file in held.values():
            with suppress(OSError):
                file.close()
        self._gate = threading.RLock()


def _opened(path: str, _flags: int) -> int:
    return os.open(path, _OPENING, PRIVATE_FILE)


def _unusable(path: str, error: OSError) -> BackendError:
    return BackendError(
        f"{path} cannot be opened or locked ({error.strerror})",
        hint="check the rights of its folder, and put the store on a local disk",
    )
