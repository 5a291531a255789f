"""The kill switch: a file that stops everything as long as it exists."""

from __future__ import annotations

import os

from collections.abc import Callable, Coroutine
from typing import Any, Final

import anyio

from strongroom.errors import ConfigurationError

LOOK_SECONDS: Final = 0.2
"""How often it is looked whether the file is there."""


def default_path() -> str:
    """Return where the file is if the settings do not say."""
    # XDG_STATE_HOME does not count: clients start servers without it, and what stops them may have been told of it.
    return os.path.expanduser("~/.local/state/strongroom/mcp.stopped")


class Switch:
    """One kill switch, which as many servers share as have the same file.

    Args:
        path: The file; its content does not matter.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    @property
    def stopped(self) -> bool:
        """Whether everything is stopped; also if that cannot be found out."""
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True
        return True

    def stop(self) -> None:
        """Make the file.

        Raises:
            ConfigurationError: It cannot be made.
        """
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            number = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.fsync(number)
            finally:
                os.close(number)
        except OSError as error:
            raise ConfigurationError(
                f"the kill switch {self.path} cannot be made: {error.strerror}", hint="say another kill_switch in [mcp]"
            ) from error

    def resume(self) -> None:
        """Remove the file; one that is not there is no error.

        Raises:
            ConfigurationError: It cannot be removed.
        """
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConfigurationError(
                f"the kill switch {self.path} cannot be removed: {error.strerror}", hint="remove it by hand"
            ) from error

    async def watch(self, act: Callable[[], None], tell: Callable[[bool], Coroutine[Any, Any, None]]) -> None:
        """Call a function again and again as long as everything is stopped.

        Args:
            act: Ends what runs.
            tell: Is told of each change, and whether everything is stopped then; nobody waits for it.
        """
        before = self.stopped
        async with anyio.create_task_group() as group:
            while True:
                stopped = self.stopped
                if stopped:
                    act()
                if stopped != before:
                    group.start_soon(tell, stopped)
                before = stopped
                await anyio.sleep(LOOK_SECONDS)
