"""No value and no name shows in any byte of store, log or backup, nor in an error."""

from __future__ import annotations

import base64
import os
import signal

import pytest

from strongroom.contracts import BackupRequest, RekeyRequest, WriteRequest
from strongroom.errors import (
    BackendError,
    BackendUnavailableError,
    StrongroomError,
    TamperedError,
    VersionConflictError,
)
from strongroom.model import SecretName, SecretValue
from strongroom.testing import assert_hidden, marker_value, report_of

NAME = "visible-name/of-a-secret"


def shows(folder, text: str) -> list[str]:
    """Return the files that hold a text, as UTF-8, UTF-16, base64 or hexadecimal."""
    plain = text.encode()
    forms = [plain, text.encode("utf-16-le"), base64.b64encode(plain)[:-4], plain.hex().encode()]
    return [
        path.name for path in sorted(folder.rglob("*")) if path.is_file() for form in forms if form in path.read_bytes()
    ]


def test_nothing_shows_in_store_log_and_backup(store):
    marker = marker_value()
    opened = store.open()
    for version in range(3):
        opened.put(NAME, f"{marker} {version}")
    opened.delete("visible-name/other")
    opened.put("visible-name/other", marker)
    opened.delete("visible-name/other")
    opened.backend.backup(BackupRequest(path=str(store.folder / "backup.db")))
    assert sorted(os.listdir(store.folder)) == [
        "backup.db",
        "master.key",
        "secrets.db",
        "secrets.db-shm",
        "secrets.db-wal",
    ]
    assert shows(store.folder, marker) == []
    assert shows(store.folder, "visible-name") == []
    opened.backend.rekey(RekeyRequest(reencrypt=True))
    store.close()
    assert shows(store.folder, marker) == []
    assert shows(store.folder, "visible-name") == []
    assert store.open().get(NAME) == f"{marker} 2"


def test_nothing_shows_in_what_a_killed_writer_leaves(store):
    worker = store.worker("alternate", NAME, "100000")
    for _ in range(20):
        worker.stdout.readline()
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert (store.folder / "secrets.db-wal").exists()
    assert shows(store.folder, "000012000012") == []
    assert shows(store.folder, "visible-name") == []


def test_the_master_key_is_in_no_file_of_the_store(store):
    key = store.key_path.read_text().strip()
    store.open().put(NAME, "value")
    for path in store.folder.iterdir():
        if path != store.key_path:
            assert key.encode() not in path.read_bytes()
            assert base64.b64decode(key) not in path.read_bytes()


def test_equal_values_and_equal_names_look_different(store):
    """Nobody can tell from the file that two secrets have one value, or two stores one name."""
    store.fill({"app/first": "same value", "app/second": "same value"})
    connection = store.database()
    first, second = (row[0][32:] for row in connection.execute("SELECT body FROM record"))
    connection.close()
    assert first != second


@pytest.mark.parametrize("failure", ["conflict", "busy", "tampered", "full", "key"])
def test_no_error_shows_the_value(store, failure):
    """Neither the value that is written nor the one that is there, in text, cause or local variables."""
    old, new = marker_value(), marker_value()
    opened = store.open(busy_timeout=0.05)
    opened.put(NAME, old)
    with pytest.raises(StrongroomError) as caught:
        FAILURES[failure](store, opened, new)
    report = report_of(caught.value, "strongroom_local")
    for marker in (old, new, store.key_path.read_text().strip()):
        assert_hidden(marker, report, "the error's report")


def _conflict(store, opened, new) -> None:
    _write(opened, new, "77")


def _busy(store, opened, new) -> None:
    holder = store.database()
    holder.execute("BEGIN IMMEDIATE")
    try:
        _write(opened, new)
    finally:
        holder.close()


def _tampered(store, opened, new) -> None:
    connection = store.database()
    connection.execute("UPDATE store SET digest = zeroblob(84)")
    connection.close()
    _write(opened, new)


def _full(store, opened, new) -> None:
    pool = opened.backend._session.pool
    cursor = pool.take()
    cursor.execute("PRAGMA max_page_count = 1")
    pool.give(cursor)
    _write(opened, new * 400)


def _key(store, opened, new) -> None:
    from strongroom_local.plugin import LocalSettings

    settings: LocalSettings = store.settings()
    other = settings.replace(master_key=None)
    opened.backend.rekey(RekeyRequest(new_key=other.master_key, passphrase=True))
    store.set_key(base64.b64encode(b"k" * 32).decode())
    opened.backend.rekey(RekeyRequest())


FAILURES = {"conflict": _conflict, "busy": _busy, "tampered": _tampered, "full": _full, "key": _key}


def _write(opened, content: str, expect: str | None = None) -> None:
    request = WriteRequest(name=SecretName(NAME), value=SecretValue(content), expect_version=expect)
    del content  # so that only the plugin's own frames are looked at
    opened.backend.write(request)


KINDS = {
    "conflict": VersionConflictError,
    "busy": BackendUnavailableError,
    "tampered": TamperedError,
    "full": BackendError,
}


@pytest.mark.parametrize("failure", KINDS)
def test_kinds_of_failure_are_told_apart(store, failure):
    opened = store.open(busy_timeout=0.05)
    opened.put(NAME, "value")
    with pytest.raises(KINDS[failure]):
        FAILURES[failure](store, opened, "new value" * 100)
    store.close()
