"""Looking up in which state a secret is, in an engine of version 2, without its value if that may be."""

from __future__ import annotations

from typing import Any

from strongroom.errors import SecretNotFoundError
from strongroom.model import SecretName
from strongroom_vault.asking import AskingAdapter
from strongroom_vault.faults import is_of_2, is_versioned, misfit, missing, nothing_there, refusal, token_refused
from strongroom_vault.history import ABSENT, LIVE, History, Seen, history, server_time, state_of
from strongroom_vault.paths import Paths, quoted
from strongroom_vault.replies import Reply


class Lookup:
    """Asks for the state of secrets.

    Args:
        adapter: The way to the server.
        kv: hvac's methods for version 2, above that adapter.
        paths: How names are spelt in the engine.
    """

    def __init__(self, adapter: AskingAdapter, kv: Any, paths: Paths) -> None:
        self._adapter = adapter
        self._kv = kv
        self._paths = paths
        self._is_certain = False

    def certify(self) -> None:
        """Note that the engine has given an answer that only one of version 2 gives."""
        self._is_certain = True

    def ensure_version_2(self, name: SecretName, what: str) -> None:
        """Look at what would be changed, unless the engine has shown its version before.

        In an engine of version 1 the path of a name is that of quite another secret, which
        a write would replace and a delete remove. Whoever may not look goes on.

        Args:
            name: The secret's name.
            what: What is going to be done, such as ``writing app/key``.

        Raises:
            ConfigurationError: There is something that no engine of version 2 gives.
        """
        if self._is_certain:
            return
        reply = self._kv.read_secret_version(
            self._paths.inside(name), None, self._paths.mount, raise_on_deleted_version=True
        )
        if is_of_2(reply):
            self.certify()
        elif reply.status == 200:
            raise misfit(what, name)

    def ensure_empty(self, folder: str) -> None:
        """Look whether a folder that has nothing in version 2 has something in version 1, unless that cannot be.

        Args:
            folder: Its path inside the engine with a slash at its end, or nothing for the engine itself.

        Raises:
            ConfigurationError: It has.
        """
        if self._is_certain:
            return
        reply = self._adapter.request("LIST", f"/v1/{quoted(f'{self._paths.mount}/{folder}')}")
        if is_versioned(reply):
            self.certify()
        elif reply.status == 200:
            raise misfit(f"listing {folder or 'the whole engine'}")

    def missing(self, name: SecretName) -> SecretNotFoundError:
        """Return the error for a secret that is not there, as far as can be told."""
        error = missing(name)
        if not self._is_certain:
            error.hint += ", and whether kv_version is that of the engine"
        return error

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
            raise self.missing(name)
        if reply.status != 200:
            raise refusal(reply, what, name=name)
        return reply, self.told(reply, name, what)

    def told(self, reply: Reply, name: SecretName, what: str) -> History:
        """Return what an answer about a secret's metadata says; nothing there is a history without versions.

        Raises:
            ConfigurationError: The engine has another version.
        """
        if nothing_there(reply):
            return history({}, server_time(reply))
        if not isinstance(reply.data.get("versions"), dict):
            raise misfit(what, name)
        self.certify()
        return history(reply.data, server_time(reply))

    def seen(self, name: SecretName, version: int | None = None) -> Seen | None:
        """Return the state of a version, or nothing if the server does not let us look.

        Not everybody who may read a secret may read its metadata. Then the secret itself
        is read, and its value dropped.

        Args:
            name: The secret's name.
            version: Which one; the newest unless given.
        """
        reply = self.metadata(name)
        if reply.status == 200 or nothing_there(reply):
            found = self.told(reply, name, f"looking for {name}")
            seen = found.newest if version is None else found.of(version)
            return seen.replace(request_id=reply.request_id)
        if reply.status == 403 and not token_refused(reply):
            return self._seen_by_reading(name, version)
        raise refusal(reply, f"looking for {name}", name=name)

    def _seen_by_reading(self, name: SecretName, version: int | None) -> Seen | None:
        path = self._paths.inside(name)
        reply = self._kv.read_secret_version(path, version, self._paths.mount, raise_on_deleted_version=True)
        if is_of_2(reply):
            self.certify()
            metadata = reply.data["metadata"]
            number = int(metadata["version"])
            is_live = reply.status == 200
            seen = Seen(version=number, state=LIVE) if is_live else state_at_rest(number, metadata, reply)
            return seen.replace(request_id=reply.request_id)
        return Seen(version=0, state=ABSENT) if nothing_there(reply) else None


def state_at_rest(number: int, metadata: dict[str, Any], reply: Reply) -> Seen:
    """Return the state of a version that the server did not give, and whose metadata it gave instead."""
    return state_of(number, metadata, server_time(reply))
