"""A copy of a store in use is a store of its own, complete and checked."""

from __future__ import annotations

import os

import pytest

from strongroom.contracts import BackupRequest
from strongroom.errors import ConfigurationError


def test_a_backup_opens_with_the_same_key(store):
    opened = store.open()
    opened.put("app/secret", "value 1")
    opened.put("app/secret", "value 2")
    target = store.folder / "backup.db"
    result = opened.backend.backup(BackupRequest(path=str(target)))
    assert (result.path, result.secrets, result.counter) == (str(target), 1, 2)
    opened.put("app/secret", "value 3")
    copy = store.open(path=str(target))
    assert copy.get("app/secret") == "value 2"
    assert copy.versions("app/secret") == ["1", "2"]
    assert copy.problems(at_least=result.counter) == ()
    copy.put("app/secret", "written to the copy")
    assert opened.get("app/secret") == "value 3"


def test_a_backup_is_one_state_while_others_write(store):
    worker = store.worker("write_many", "worker", "120")
    opened = store.open()
    counts = []
    for number in range(6):
        path = store.folder / f"backup{number}.db"
        opened.backend.backup(BackupRequest(path=str(path)))
        copy = store.open(path=str(path))
        names = copy.names()
        assert sorted(names) == sorted(f"worker/{number}" for number in range(len(names)))
        assert copy.problems() == ()
        counts.append(len(names))
    assert worker.wait(60) == 0
    assert counts == sorted(counts)


def test_a_backup_needs_its_folder(store):
    with pytest.raises(ConfigurationError):
        store.open().backend.backup(BackupRequest(path=str(store.folder / "absent" / "backup.db")))


def test_nothing_is_left_when_the_copy_does_not_verify(store, monkeypatch):
    """The copy is checked before it gets its name."""
    from strongroom.errors import TamperedError
    from strongroom_local import maintenance

    opened = store.open()
    opened.put("app/secret", "value")
    copy = maintenance._copy

    def spoil(source, path):
        copy(source, path)
        with open(path, "r+b") as file:
            file.seek(-10, os.SEEK_END)
            file.write(b"0123456789")

    monkeypatch.setattr(maintenance, "_copy", spoil)
    with pytest.raises(TamperedError):
        opened.backend.backup(BackupRequest(path=str(store.folder / "backup.db")))
    store.close()
    assert sorted(os.listdir(store.folder)) == ["master.key", "secrets.db"]
