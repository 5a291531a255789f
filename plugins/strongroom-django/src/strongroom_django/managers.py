"""The manager of a process: opened when it is needed first, and closed when the process ends."""

from __future__ import annotations

import os
import threading

from collections.abc import Mapping
from typing import Any, Final

import strongroom

from strongroom import SecretManager

Configuration = str | os.PathLike[str] | Mapping[str, Any] | SecretManager | None


class _Holder:
    """Holds what is opened. It goes on in a forked child, as managers do."""

    def __init__(self) -> None:
        self._configuration: Configuration = None
        self._opened: SecretManager | None = None
        self.after_fork()

    def after_fork(self) -> None:
        self._lock = threading.RLock()

    def configure(self, configuration: Configuration) -> None:
        with self._lock:
            opened, self._opened = self._opened, None
            self._configuration = configuration
        if opened is not None:
            opened.close()

    def manager(self) -> SecretManager:
        if isinstance(self._configuration, SecretManager):
            return self._configuration
        with self._lock:
            if self._opened is None:
                self._opened = strongroom.open(_usable(self._configuration))
            return self._opened


def configure(configuration: Configuration) -> None:
    """Say where strongroom's configuration is; call it at the top of the settings, before the first secret.

    Without it the configuration is searched for as the command does: ``STRONGROOM_CONFIG``, then a
    ``strongroom.toml`` in the working directory. What has been opened with another one is closed.

    Args:
        configuration: The path of a ``strongroom.toml``, a mapping with the same content, or a manager that is open
            already; who has opened that closes it.

    Raises:
        AuditError: What was opened before could not be closed properly.
    """
    _holder.configure(configuration)


def manager() -> SecretManager:
    """Return the manager of this process, which is opened by the first call and closed when the process ends.

    It is safe to use from several threads, and across a fork: processes of a server that forks its workers may share
    settings that were read before.

    Raises:
        ConfigurationError: The configuration cannot be read or is not usable.
        PluginError: A plugin that it names is missing or broken.
    """
    return _holder.manager()


def _usable(configuration: Configuration) -> str | dict[str, Any] | None:
    if isinstance(configuration, Mapping):
        return dict(configuration)
    return None if configuration is None else os.fspath(configuration)  # type: ignore[arg-type]  # no manager any more


_holder: Final = _Holder()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_holder.after_fork)
