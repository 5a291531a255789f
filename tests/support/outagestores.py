"""Fallback stores for the model of outages: each is there again after the process has died."""

from __future__ import annotations

import shutil
import tempfile

from pathlib import Path
from typing import Any

from heldkey import HeldKey
from strongroom.builtin.memory import MemoryBackend
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings


class MemoryStore:
    """The fallback store in memory: what it holds stays when the process dies."""

    def __init__(self) -> None:
        self.backend: Any = MemoryBackend()

    def die(self) -> None:
        """Let go of what only a process holds."""
        self.backend.start_in_child()

    def close(self) -> None:
        pass


class LocalStore:
    """The real one. When the process dies, the next one finds the files as they were at that moment."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._number = 0
        self._key = HeldKey()
        self._at = Path(self._folder.name) / "0"
        self._at.mkdir(mode=0o700)
        create_store(self._settings())
        self.backend: Any = self._opened()

    def _settings(self) -> Any:
        return LocalSettings(path=str(self._at / "secrets.db"), master_key=self._key)

    def _opened(self) -> Any:
        return LocalBackend.open(self._settings())

    def die(self) -> None:
        left = self._at
        self._number += 1
        self._at = Path(self._folder.name) / str(self._number)
        shutil.copytree(left, self._at, ignore=shutil.ignore_patterns("*-shm"))
        self.backend.close()
        shutil.rmtree(left)
        self.backend = self._opened()

    def close(self) -> None:
        self.backend.close()
        self._folder.cleanup()
