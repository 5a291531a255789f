"""How a store comes into being: whole, private and under its final name, or not at all."""

from __future__ import annotations

import os
import sqlite3

from collections.abc import Iterator
from contextlib import contextmanager

from strongroom.model import SecretValue
from strongroom_local import schema
from strongroom_local.changes import now
from strongroom_local.connection import connect, prepare
from strongroom_local.digest import Digest
from strongroom_local.encoding import FORMAT, random_bytes
from strongroom_local.faults import FAULTS, translate
from strongroom_local.files import (
    DRAFT,
    SIDE_FILES,
    absolute,
    make_private_folder,
    new_private_file,
    publish,
    refuse_existing,
    storage_error,
)
from strongroom_local.header import DATA_KEY_SIZE, SALT_SIZE, STORE_ID_SIZE, Header, seal_header
from strongroom_local.keys import MasterKey, StoreKeys
from strongroom_local.sealing import ORIGIN, STARTS, Head, seal_head
from strongroom_local.settings import LocalSettings


def create_store(settings: LocalSettings) -> None:
    """Make a new, empty store where the settings say.

    Folders that are missing are made for the owner only.

    Args:
        settings: The store's settings; the master key must be there already.

    Raises:
        ConfigurationError: There is already a file.
        MasterKeyError: The master key is missing or malformed.
        BackendError: The disk is full, or the key's file is open to others.
    """
    master = MasterKey.of(settings.master_key, settings.passphrase)
    path = absolute(settings.path)
    refuse_existing(path)
    header = Header(
        store_id=random_bytes(STORE_ID_SIZE),
        kind=master.kind,
        salt=random_bytes(SALT_SIZE),
        iterations=settings.iterations or master.kind.default_iterations,
        epoch=1,
        key_id=1,
    )
    data_key = SecretValue(random_bytes(DATA_KEY_SIZE))
    content = seal_header(header, master.wrapping(header.salt, header.iterations), data_key)
    make_private_folder(os.path.dirname(path))
    with draft_of(path) as draft:
        _fill(draft, content, StoreKeys(header, data_key))


@contextmanager
def draft_of(path: str) -> Iterator[str]:
    """Lend the path of a new private file, which gets its final name if all goes well.

    Args:
        path: The final name, where nothing may be.

    Raises:
        ConfigurationError: There is something at the final name.
        BackendError: The disk is full (code ``storage_full``).
    """
    folder, name = os.path.split(path)
    draft = os.path.join(folder, f".{name}.{random_bytes(8).hex()}{DRAFT}")
    try:
        new_private_file(draft)
        try:
            yield draft
            publish(draft, path)
        finally:
            _remove(draft)
    except FAULTS as error:
        raise translate(error, path) from error
    except OSError as error:
        raise storage_error(error, path) from error


def _remove(draft: str) -> None:
    for leftover in (draft, *(draft + suffix for suffix in SIDE_FILES)):
        try:
            os.unlink(leftover)
        except FileNotFoundError:
            continue


def _fill(path: str, header: bytes, keys: StoreKeys) -> None:
    connection = connect(path, 0.0)
    try:
        prepare(connection)
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {FORMAT}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in schema.TABLES.values():
            connection.execute(statement)
        _add_origin(connection, header, keys)
        connection.execute("COMMIT")
    finally:
        connection.close()  # moves the log into the file


def _add_origin(connection: sqlite3.Connection, header: bytes, keys: StoreKeys) -> None:
    """Write the entry that starts and ends the chain of names, and the store's own row."""
    sealed = seal_head(keys, ORIGIN, Head("", 0, 0, 1, 0, now(), STARTS, ORIGIN))
    connection.execute(schema.ADD_HEAD, (ORIGIN, None, sealed))
    digest = Digest(keys)
    digest.add_head(ORIGIN, None, sealed)
    connection.execute(schema.ADD_STORE, (keys.epoch, 0, digest.sealed(0, 1), header))
