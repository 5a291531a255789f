"""Which version an engine has, where the configuration leaves that to us."""

from __future__ import annotations

import threading

from typing import Final

from strongroom.errors import (
    AccessDeniedError,
    BackendError,
    BackendUnavailableError,
    ConfigurationError,
    StrongroomError,
)
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.faults import foreign, is_of_2, is_versioned, misplaced, nothing_there, refusal, token_refused
from strongroom_vault.paths import Paths, quoted
from strongroom_vault.replies import Reply

_KINDS: Final = frozenset({"kv", "generic", "cubbyhole"})
"""What the mount table calls engines that keep values."""


def version_told(reply: Reply, mount: str) -> int:
    """Return the version, 1 or 2, of an engine from what the mount table says of it.

    Args:
        reply: The answer to the question for its entry.
        mount: Where it is meant to be.

    Raises:
        ConfigurationError: It is elsewhere, or keeps no values.
        StrongroomError: The answer is none.
    """
    what = f"finding out the version of the engine at {mount}"
    if reply.status != 200:
        raise refusal(reply, what)
    if "path" not in reply.data:
        raise foreign(what)
    real = str(reply.data["path"]).strip("/")
    if real != mount:
        raise ConfigurationError(
            f"there is no engine at {mount}, but one at {real}",
            hint=f'set mount to "{real}", and the rest as `prefix`',
        )
    if reply.data.get("type", "kv") not in _KINDS:
        raise ConfigurationError(f"the engine at {mount} is of another kind than key-value", hint="check `mount`")
    options = reply.data.get("options") or {}
    return 2 if str(options.get("version", "1")) == "2" else 1


class Detection:
    """Finds out once which version an engine has.

    The mount table says it, if the token may read the engine's entry, which takes no
    more than some right below the mount. Else the engine is asked for a path in the way
    of version 2, then in that of version 1, and betrays itself by how it answers.

    Args:
        adapter: The way to the server.
        paths: How names are spelt in the engine.
    """

    def __init__(self, adapter: AskingAdapter, paths: Paths) -> None:
        self._adapter = adapter
        self._paths = paths
        # A signal's handler may read while its own thread is in here.
        self._lock = threading.RLock()
        self._found: int | None = None
        self._outages = 0
        self._outage: BackendUnavailableError | None = None

    def version(self, path: str, method: str = "GET") -> int:
        """Return the engine's version, 1 or 2.

        Args:
            path: What is going to be asked for, inside the engine.
            method: How: ``GET`` or ``LIST``.

        Raises:
            ConfigurationError: It cannot be found out, or there is no such engine.
            StrongroomError: The server does not answer, or refuses the token.
        """
        before = self._outages
        with self._lock:
            if self._found is not None:
                return self._found
            if self._outage is not None and self._outages > before:
                # Another thread was told so while this one waited for it.
                raise self._outage.again()
            try:
                self._found = self._in_table() or self._by_asking(path, method)
            except BackendUnavailableError as error:
                self._outage = error.again()
                self._outages += 1
                raise
            return self._found

    def forget(self) -> None:
        """Find it out anew when it is needed next."""
        with self._lock:
            self._found = None

    def after_fork(self) -> None:
        """Use another lock in a forked child: a thread of the parent may hold this one."""
        self._lock = threading.RLock()

    def _in_table(self) -> int | None:
        mount = self._paths.mount
        reply = self._adapter.request("GET", f"/v1/sys/internal/ui/mounts/{quoted(mount)}")
        if reply.status in {403, 404} and not token_refused(reply):
            return None
        return version_told(reply, mount)

    def _by_asking(self, path: str, method: str) -> int:
        mount = self._paths.mount
        below = "metadata" if method == "LIST" else "data"
        first = self._adapter.request(method, f"/v1/{quoted(f'{mount}/{below}/{path}')}")
        if is_of_2(first):
            return 2
        second = self._adapter.request(method, f"/v1/{quoted(f'{mount}/{path}')}")
        if is_versioned(second):
            return 2
        trouble = misplaced(first, f"finding out the version of the engine at {mount}")
        if trouble is not None:
            raise trouble
        if second.status == 200 or nothing_there(second):
            return 1
        if second.status == 403 and (nothing_there(first) or (first.status == 200 and method == "LIST")):
            # Policies let us ask in one of the two ways.
            return 2
        raise self._unclear(first, second)

    def _unclear(self, first: Reply, second: Reply) -> StrongroomError:
        what = f"the version of the engine at {self._paths.mount} cannot be found out: asked as version 2, "
        kind = AccessDeniedError if first.status == second.status == 403 else BackendError
        return kind(
            f"{what}the server answers with HTTP status {first.status}, as version 1 with {second.status}",
            hint="set kv_version to 1 or 2, and see whether the token's policies allow this path",
        )
