"""An optional interface of backends that keep their own file: verify, back up, change keys."""

from __future__ import annotations

from abc import ABC, abstractmethod

from strongroom._record import Record
from strongroom.contracts.keys import KeySource


class VerifyRequest(Record):
    """Check everything that is stored."""

    at_least: int | None = None
    """The store's change counter must not be below this: an older one is an old copy of the file."""


class VerifyResult(Record):
    """What verification found."""

    secrets: int
    records: int
    counter: int
    """How many changes the store has had; note it, and pass it as ``at_least`` later."""
    problems: tuple[str, ...] = ()
    """Each thing that is wrong, in one sentence; names are shown, values never."""
    store_id: str = ""
    """What tells this store from every other one, in hexadecimal; empty if the backend has no such thing."""


class BackupRequest(Record):
    """Make a consistent copy while the store is in use."""

    path: str


class BackupResult(Record):
    """The copy that was made."""

    path: str
    secrets: int
    counter: int
    store_id: str = ""
    """The id of the store that was copied."""


class RekeyRequest(Record):
    """Change the key that opens the store."""

    new_key: KeySource | None = None
    """The new master key or passphrase; ``None`` keeps the present one."""
    passphrase: bool = False
    """Whether the new key is a passphrase."""
    reencrypt: bool = False
    """Replace the data key too, and encrypt every record anew."""


class RekeyResult(Record):
    """What a change of keys did."""

    key_epoch: int
    records: int
    """How many records were encrypted anew."""


class Maintenance(ABC):
    """What the commands ``rekey`` and ``local`` use."""

    @abstractmethod
    def verify(self, request: VerifyRequest) -> VerifyResult:
        """Check every record and the whole.

        Raises:
            StoreDamagedError: The file cannot be read at all.
        """

    @abstractmethod
    def backup(self, request: BackupRequest) -> BackupResult:
        """Copy the store, after checking the whole.

        Raises:
            ConfigurationError: There is already a file at the path.
            TamperedError: The store does not verify; nothing was written.
        """

    @abstractmethod
    def rekey(self, request: RekeyRequest) -> RekeyResult:
        """Change the master key, and the data key if asked; all or nothing.

        Raises:
            MasterKeyError: The new key is missing or malformed; nothing changed.
            TamperedError: The store does not verify; nothing changed.
        """
