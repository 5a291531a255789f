"""What is in a folder of an engine, in as few requests as the server and its policies allow."""

from __future__ import annotations

from typing import Any

from strongroom_vault.asking import AskingAdapter
from strongroom_vault.faults import foreign, nothing_there, refusal, token_refused
from strongroom_vault.history import history, server_time
from strongroom_vault.listing import Folder
from strongroom_vault.paths import Paths, quoted
from strongroom_vault.replies import Reply


def keys_of(reply: Reply, folder: str) -> list[str]:
    """Return what a listing names; folders have a slash at their end.

    Raises:
        StrongroomError: The server did not list.
    """
    if nothing_there(reply):
        return []
    what = f"listing {folder or 'the whole engine'}"
    if reply.status != 200:
        raise refusal(reply, what)
    keys = reply.data.get("keys")
    if not isinstance(keys, list):
        raise foreign(what)
    return [str(key) for key in keys]


def divided(keys: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the secrets and the folders among what a listing names; the latter without their slash."""
    names = tuple(key for key in keys if not key.endswith("/"))
    return names, tuple(key[:-1] for key in keys if key.endswith("/"))


class FoldersOf1:
    """Folders of an engine of version 1.

    Args:
        kv: hvac's methods for version 1, above an ``AskingAdapter``.
        paths: How names are spelt in the engine.
    """

    def __init__(self, kv: Any, paths: Paths) -> None:
        self._kv = kv
        self._paths = paths

    def look(self, folder: str) -> Folder:
        """Return what is in a folder."""
        reply = self._kv.list_secrets(folder, self._paths.mount)
        names, folders = divided(keys_of(reply, folder))
        return Folder(names=names, folders=folders, request_id=reply.request_id)


class FoldersOf2:
    """Folders of an engine of version 2, whose plain listing names deleted secrets, too.

    OpenBao lists with the state of each secret in one request. Where the server cannot
    do that, or a policy does not let us, the state of each secret is asked for.

    Args:
        adapter: The way to the server.
        kv: hvac's methods for version 2, above that adapter.
        paths: How names are spelt in the engine.
    """

    def __init__(self, adapter: AskingAdapter, kv: Any, paths: Paths) -> None:
        self._adapter = adapter
        self._kv = kv
        self._paths = paths
        self._details = True

    def look(self, folder: str) -> Folder:
        """Return what is in a folder."""
        if self._details:
            reply = self._adapter.request("LIST", f"/v1/{quoted(f'{self._paths.mount}/detailed-metadata/{folder}')}")
            if reply.status == 200 or nothing_there(reply):
                return _detailed(reply, folder)
            # Anything else that is no answer is told by the plain way as well, which may work.
            if reply.status not in {403, 404, 405}:
                raise refusal(reply, f"listing {folder or 'the whole engine'}")
        return self._plain(folder)

    def is_live(self, path: str) -> bool:
        """Tell whether a secret can be read; yes, if the server does not let us look."""
        reply = self._kv.read_secret_metadata(path, self._paths.mount)
        if nothing_there(reply):
            return False
        if reply.status == 403 and not token_refused(reply):
            return True
        if reply.status != 200:
            raise refusal(reply, f"listing {path}")
        return history(reply.data, server_time(reply)).newest.is_live

    def _plain(self, folder: str) -> Folder:
        reply = self._kv.list_secrets(folder, self._paths.mount)
        names, folders = divided(keys_of(reply, folder))
        # Not before the plain way has proved to work: one that is denied as well says nothing about the other.
        self._details = False
        return Folder(unsure=names, folders=folders, request_id=reply.request_id)


def _detailed(reply: Reply, folder: str) -> Folder:
    names, folders = divided(keys_of(reply, folder))
    details = reply.data.get("key_info") or {}
    now = server_time(reply)
    live = tuple(name for name in names if name in details and history(details[name], now).newest.is_live)
    return Folder(
        names=live,
        unsure=tuple(name for name in names if name not in details),
        folders=folders,
        request_id=reply.request_id,
    )
