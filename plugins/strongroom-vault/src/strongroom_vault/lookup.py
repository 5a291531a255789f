"""Looking up in which state a secret is, in an engine of version 2, without its value if that may be."""

from __future__ import annotations

from typing import Any

from strongroom.model import SecretName
from strongroom_vault.faults import missing, nothing_there, refusal
from strongroom_vault.history import ABSENT, LIVE, History, Seen, history, server_time, state_of
from strongroom_vault.paths import Paths
from strongroom_vault.replies import Reply


class Lookup:
    """Asks for the state of secrets.

    Args:
        kv: hvac's methods for version 2, above an ``AskingAdapter``.
        paths: How names are spelt in the engine.
    """

    def __init__(self, kv: Any, paths: Paths) -> None:
        self._kv = kv
        self._paths = paths

    def metadata(self, name: SecretName) -> Reply:
        """Return the answer that holds a secret's metadata, whatever its status."""
        reply: Reply = self._kv.read_secret_metadata(self._paths.inside(name), self._paths.mount)
        return reply

    def history(self, name: SecretName, what: str) -> tuple[Reply, History]:
        """Return a secret's metadata.

        Args:
            name: The secret's name.
            what: What they are for, such as ``describing app/key``.

        Raises:
            SecretNotFoundError: There are none.
            AccessDeniedError: The server does not let us.
        """
        reply = self.metadata(name)
        if nothing_there(reply):
            raise missing(name)
        if reply.status != 200:
            raise refusal(reply, what, name=name)
        return reply, history(reply.data, server_time(reply))

    def seen(self, name: SecretName, version: int | None = None) -> Seen | None:
        """Return the state of a version, or nothing if the server does not let us look.

        Not everybody who may read a secret may read its metadata. Then the secret itself
        is read, and its value dropped.

        Args:
            name: The secret's name.
            version: Which one; the newest unless given.
        """
        reply = self.metadata(name)
        if nothing_there(reply):
            return Seen(version=0, state=ABSENT)
        if reply.status == 200:
            found = history(reply.data, server_time(reply))
            seen = found.newest if version is None else found.of(version)
            return seen.replace(request_id=reply.request_id)
        if reply.status == 403:
            return self._seen_by_reading(name, version)
        raise refusal(reply, f"looking for {name}", name=name)

    def _seen_by_reading(self, name: SecretName, version: int | None) -> Seen | None:
        path = self._paths.inside(name)
        reply = self._kv.read_secret_version(path, version, self._paths.mount, raise_on_deleted_version=True)
        metadata = reply.data.get("metadata")
        if isinstance(metadata, dict):
            number = int(metadata["version"])
            is_live = reply.status == 200
            seen = Seen(version=number, state=LIVE) if is_live else state_at_rest(number, metadata, reply)
            return seen.replace(request_id=reply.request_id)
        return Seen(version=0, state=ABSENT) if nothing_there(reply) else None


def state_at_rest(number: int, metadata: dict[str, Any], reply: Reply) -> Seen:
    """Return the state of a version that the server did not give, and whose metadata it gave instead."""
    return state_of(number, metadata, server_time(reply))
