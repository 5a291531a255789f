"""Exchanging the file that holds a store's master key, so that a crash at any moment loses no key.

``master.key.new`` is written first, then the store is locked with it, then the
old key becomes ``master.key.old`` and the new file takes its name. Until the
last step, one of the two files opens the store, and running the command again
finds out which.
"""

from __future__ import annotations

import os
import stat

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from strongroom.cli.output import sync_folder, write_private
from strongroom.config.references import FileSource
from strongroom.contracts.keys import KeySource
from strongroom.errors import ConfigurationError

NEW: Final = ".new"
OLD: Final = ".old"


class KeyFile:
    """The file of one master key, and its new and old companions in the same folder.

    Args:
        path: The file's absolute path; symbolic links are followed, so that the
            key itself is exchanged and not a link to it.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)

    @property
    def new_path(self) -> str:
        """Where the new key waits until the store is locked with it."""
        return self.path + NEW

    def new_source(self) -> KeySource:
        """Return the new key, as the store reads it."""
        return FileSource(self.new_path, "the change of keys")

    def has_new(self) -> bool:
        """Tell whether an earlier change of keys has been left unfinished."""
        return os.path.lexists(self.new_path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other change of keys out while the block runs.

        Raises:
            ConfigurationError: Another one is running, or the folder cannot be opened.
        """
        folder = os.path.dirname(self.path)
        descriptor = -1
        try:
            with _file_errors(folder):
                # The folder is what is locked: the files in it change their names.
                descriptor = os.open(folder, os.O_RDONLY)
                _lock(descriptor, folder)
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def prepare(self) -> None:
        """Make the new key with the old one's rights, unless an earlier change has left one.

        Raises:
            ConfigurationError: The folder cannot be written to; nothing was changed.
        """
        if not self.has_new():
            write_private(self.new_path, new_key(), replace=False)
        with _file_errors(os.path.dirname(self.path)):
            status = os.stat(self.path)
            os.chown(self.new_path, status.st_uid, status.st_gid)
            os.chmod(self.new_path, stat.S_IMODE(status.st_mode))

    def exchange(self) -> str | None:
        """Give the new key the old one's name, durably; the file is never missing in between.

        Returns:
            Where the old key is now; ``None`` if there was none any more.

        Raises:
            ConfigurationError: The folder cannot be written to. The store is locked with
                the new key already, so the error says where that is.
        """
        with _file_errors(os.path.dirname(self.path), hint=f"the key is {self.new_path}: run the command again"):
            old = self._keep_old() if os.path.lexists(self.path) else None
            os.replace(self.new_path, self.path)
            sync_folder(self.path)
        return old

    def _keep_old(self) -> str:
        number, old = 1, self.path + OLD
        while os.path.lexists(old) and not os.path.samefile(old, self.path):
            number += 1
            old = f"{self.path}{OLD}.{number}"
        if not os.path.lexists(old):
            try:
                os.link(self.path, old)
            except (OSError, NotImplementedError):
                # A file system without hard links: a copy does as well.
                with open(self.path, "rb") as file:
                    write_private(old, file.read(), replace=False)
        return old


def new_key() -> bytes:
    """Return a new random master key as a key file holds it: 32 bytes in base64 and a line feed."""
    import binascii
    import secrets

    return binascii.b2a_base64(secrets.token_bytes(32))


def _lock(descriptor: int, folder: str) -> None:
    try:
        import fcntl
    except ImportError:
        return  # Windows; there the exclusive creation of the new file has to do
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigurationError(f"another change of keys runs in {folder}", hint="wait until it is done") from error


@contextmanager
def _file_errors(folder: str, hint: str = "check its permissions") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be used: {error.strerror}", hint=hint) from error
