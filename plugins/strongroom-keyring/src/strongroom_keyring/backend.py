"""The backend that keyring calls."""

from __future__ import annotations

import os

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from keyring.backend import KeyringBackend
from keyring.credentials import Credential, SimpleCredential
from keyring.errors import InitError, KeyringError, PasswordDeleteError, PasswordSetError

import strongroom

from strongroom.errors import SecretNotFoundError, StrongroomError, UnsupportedOperationError
from strongroom.model import SecretValue
from strongroom_keyring.names import FOLDER, Entry, entry_of, folder_of, name_of

if TYPE_CHECKING:
    from strongroom import SecretManager

PREFIX_VARIABLE: Final = "STRONGROOM_KEYRING_PREFIX"
"""The variable that names the folder of all entries."""


class StrongroomKeyring(KeyringBackend):
    """A keyring whose passwords are secrets of strongroom, ``keyring/SERVICE/USERNAME`` each.

    Only a secret that is not there is ``None``; an outage, a denial and whatever else keeps the answer from being
    known raises a ``KeyringError``. The manager is opened when it is first needed, and closed when the process ends.

    Attributes:
        config: The path of the ``strongroom.toml``; searched for as ``strongroom`` does unless given.
        prefix: The folder of all entries; ``STRONGROOM_KEYRING_PREFIX``, else ``keyring/``, unless given.
        principal: As whom secrets are used; as the configuration says unless given.
    """

    # Below zero, which is what keyring's chain of all backends takes, and below the one that only fails: a folder
    # with a strongroom.toml in it is no reason for pip to ask strongroom about each index. Who wants it, names it.
    priority = -0.5
    config: str | None = None
    prefix: str = FOLDER
    principal: str | None = None

    def __init__(self) -> None:
        self._managers: dict[str | None, SecretManager] = {}
        self._given: SecretManager | None = None
        self.prefix = os.environ.get(PREFIX_VARIABLE, FOLDER)
        # Sets what KEYRING_PROPERTY_CONFIG, _PREFIX and _PRINCIPAL say.
        super().__init__()  # type: ignore[no-untyped-call]  # keyring's own has no annotation

    @classmethod
    def using(cls, manager: SecretManager) -> Self:
        """Return a keyring that uses a manager which is open already, and stays its maker's to close.

        Args:
            manager: The manager.
        """
        keyring = cls()
        keyring._given = manager
        return keyring

    def get_password(self, service: str, username: str) -> str | None:
        """Return a password.

        Args:
            service: Any text, such as an address.
            username: Any text.

        Returns:
            The password; ``None`` if there is none.

        Raises:
            KeyringError: Whether there is one is not known, or it is not text.
        """
        with _raising(KeyringError):
            return self._password(Entry(service=service, username=username))

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store a password, in place of the one that is there.

        Args:
            service: Any text, such as an address.
            username: Any text.
            password: Any text; the empty one, too.

        Raises:
            PasswordSetError: It could not be stored, or may not be.
        """
        with _raising(PasswordSetError):
            value = SecretValue(password)
            # No local variable of ours holds the password from here on: a traceback may show them.
            del password
            self._manager().set(name_of(self.prefix, Entry(service=service, username=username)), value)

    def delete_password(self, service: str, username: str) -> None:
        """Delete a password.

        Args:
            service: Any text, such as an address.
            username: Any text.

        Raises:
            PasswordDeleteError: There is none; or it could not be deleted, or may not be.
        """
        with _raising(PasswordDeleteError):
            done = self._manager().delete(name_of(self.prefix, Entry(service=service, username=username)))
        if not done.existed:
            raise PasswordDeleteError(f"there is no password for {username!a} of {service!a}")

    def get_credential(self, service: str, username: str | None) -> Credential | None:
        """Return user and password.

        Args:
            service: Any text, such as an address.
            username: Any text; ``None`` for the only user of the service.

        Returns:
            Both; ``None`` if there is no such password, and without a user also if the service has several, or the
            backend cannot list them.

        Raises:
            KeyringError: Whether there is one is not known, or it is not text.
        """
        with _raising(KeyringError):
            found = self._only(service) if username is None else Entry(service=service, username=username)
            password = self._password(found) if found is not None else None
        if found is None or password is None:
            return None
        return SimpleCredential(found.username, password)

    def entries(self, service: str | None = None) -> list[Entry]:
        """Return what this keyring holds, sorted, as far as the principal may list it.

        Args:
            service: Only the entries of this service.

        Raises:
            KeyringError: It cannot be listed, or is not known.
        """
        with _raising(KeyringError):
            return self._entries(service)

    def close(self) -> None:
        """Close the managers that were opened here; the next call opens one anew."""
        while self._managers:
            _, manager = self._managers.popitem()
            with _raising(KeyringError):
                manager.close()

    def _password(self, entry: Entry) -> str | None:
        manager = self._manager()
        try:
            return manager.get(name_of(self.prefix, entry)).reveal_text()
        except SecretNotFoundError:
            return None

    def _entries(self, service: str | None) -> list[Entry]:
        names = self._manager().list(folder_of(self.prefix, service))
        found = [entry for name in names if (entry := entry_of(self.prefix, name)) is not None]
        return sorted(found, key=lambda entry: (entry.service, entry.username))

    def _only(self, service: str) -> Entry | None:
        try:
            found = self._entries(service)
        except UnsupportedOperationError:
            return None
        return found[0] if len(found) == 1 else None

    def _manager(self) -> SecretManager:
        manager = self._given or self._managers.get(self.config) or self._open()
        return manager.as_principal(self.principal) if self.principal else manager

    def _open(self) -> SecretManager:
        with _raising(InitError):
            made = strongroom.open(self.config)
        # Without a lock, which a fork could leave held for ever: of two threads, the later one closes its own again.
        kept = self._managers.setdefault(self.config, made)
        if kept is not made:
            made.close()
        return kept


@contextmanager
def _raising(kind: type[KeyringError]) -> Iterator[None]:
    """Turn an error of strongroom, whose text says what to do, into one that users of keyring expect."""
    try:
        yield
    except StrongroomError as error:
        raise kind(str(error)) from error
