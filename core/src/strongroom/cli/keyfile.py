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

from strongroom.cli.output import remove_drafts, sync_folder, try_lock, write_private
from strongroom.config.references import NEW, FileSource
from strongroom.contracts.keys import KeySource
from strongroom.errors import ConfigurationError
from strongroom.inputs import AS_IT_STANDS

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
        """Tell whether an earlier change of keys has been left unfinished.

        Raises:
            ConfigurationError: What is there is no file that such a change has made.
        """
        if not os.path.lexists(self.new_path):
            return False
        with self._opened_new():
            return True

    @contextmanager
    def _opened_new(self) -> Iterator[int]:
        """Lend a descriptor of the new key: what its path leads to may be something else a moment later."""
        try:
            descriptor = os.open(self.new_path, AS_IT_STANDS)
        except OSError as error:
            raise self._foreign() from error
        try:
            if not self._is_ours(os.fstat(descriptor)):
                raise self._foreign()
            yield descriptor
        finally:
            os.close(descriptor)

    def _is_ours(self, status: os.stat_result) -> bool:
        owners = {os.geteuid()}
        if os.path.lexists(self.path):
            # A change of keys by root gives the new key to the old one's owner.
            owners.add(os.stat(self.path).st_uid)
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid in owners

    def _foreign(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.new_path} is a link, or no file of ours, so it is not taken for a key",
            hint="find out who has put it there; unless it is the key that opens the store, remove it",
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other change of keys out while the block runs, and remove what killed ones have left.

        Raises:
            ConfigurationError: Another one is running, or the folder cannot be opened.
        """
        folder = os.path.dirname(self.path)
        descriptor = -1
        try:
            with _file_errors(folder):
                # The folder is what is locked: the files in it change their names.
                descriptor = os.open(folder, os.O_RDONLY)
                if not try_lock(descriptor):
                    raise ConfigurationError(f"another change of keys runs in {folder}", hint="wait until it is done")
                remove_drafts(self.new_path)
            yield
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def prepare(self) -> None:
        """Make the new key with the old one's rights, unless an earlier change has left one.

        Raises:
            ConfigurationError: The folder cannot be written to, or what is there is no file
                that an earlier change has made; nothing was changed.
        """
        if not self.has_new():
            write_private(self.new_path, new_key(), replace=False)
        with _file_errors(os.path.dirname(self.path)), self._opened_new() as descriptor:
            status = os.stat(self.path)
            os.fchown(descriptor, status.st_uid, status.st_gid)
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))

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
            # The second is what the standard library raises where a platform has no hard links at all.
            except (OSError, NotImplementedError):
                # Without hard links a copy does as well.
                with open(self.path, "rb") as file:
                    write_private(old, file.read(), replace=False)
        return old


def new_key() -> bytes:
    """Return a new random master key as a key file holds it: 32 bytes in base64 and a line feed."""
    import binascii
    import secrets

    return binascii.b2a_base64(secrets.token_bytes(32))


@contextmanager
def _file_errors(folder: str, hint: str = "check its permissions") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be used: {error.strerror}", hint=hint) from error
