"""Files that are private from birth, and the refusal of those that are not."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from strongroom.contracts import BackupRequest
from strongroom.errors import BackendError, ConfigurationError, InvalidNameError


def mode_of(path) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


UMASK = """
import os, stat, sys
os.umask(int(sys.argv[1], 8))
sys.path.insert(0, sys.argv[2])
from strongroom.contracts import BackupRequest, WriteRequest
from strongroom.model import SecretName, SecretValue
from strongroom_local.backend import LocalBackend
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings
from worker import FileKey

folder = os.path.join(sys.argv[3], "new", "folder")
settings = LocalSettings(path=os.path.join(folder, "secrets.db"), master_key=FileKey(sys.argv[4]))
create_store(settings)
backend = LocalBackend.open(settings)
backend.write(WriteRequest(name=SecretName("app/secret"), value=SecretValue("value")))
backend.backup(BackupRequest(path=os.path.join(folder, "backup.db")))
for name in ("", "secrets.db", "secrets.db-wal", "secrets.db-shm", "backup.db"):
    print(name, oct(stat.S_IMODE(os.lstat(os.path.join(folder, name)).st_mode)))
print("parent", oct(stat.S_IMODE(os.lstat(os.path.dirname(folder)).st_mode)))
"""


@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_folder_and_files_are_private_under_any_umask(home, umask):
    arguments = [umask, os.path.dirname(__file__), str(home.folder), str(home.key_path)]
    done = subprocess.run([sys.executable, "-c", UMASK, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        " 0o700",
        "secrets.db 0o600",
        "secrets.db-wal 0o600",
        "secrets.db-shm 0o600",
        "backup.db 0o600",
        "parent 0o700",
    ]


def test_no_file_is_ever_open_to_others_while_a_store_is_made(home, monkeypatch):
    """The system call that makes each file already has the final mode."""
    made = []
    real_open = os.open

    def watching(path, flags, mode=0o777, **options):
        if flags & os.O_CREAT:
            made.append((mode, bool(flags & os.O_EXCL)))
        return real_open(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", watching)
    home.create()
    assert made == [(0o600, True)]


def test_creating_refuses_what_is_there(store):
    before = store.path.read_bytes()
    with pytest.raises(ConfigurationError):
        store.create()
    assert store.path.read_bytes() == before


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_creating_refuses_leftovers_that_sqlite_would_use(home, suffix):
    leftover = home.folder / f"secrets.db{suffix}"
    leftover.write_bytes(b"left over")
    with pytest.raises(ConfigurationError):
        home.create()
    assert leftover.read_bytes() == b"left over"
    assert sorted(os.listdir(home.folder)) == ["master.key", leftover.name]


def test_creating_does_not_follow_a_link(home, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    home.path.symlink_to(foreign / "secrets.db")
    with pytest.raises(ConfigurationError):
        home.create()
    assert os.listdir(foreign) == []


def test_opening_does_not_follow_a_link(store, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir(mode=0o700)
    store.path.rename(foreign / "secrets.db")
    store.path.symlink_to(foreign / "secrets.db")
    with pytest.raises(BackendError) as caught:
        store.open()
    assert caught.value.code == "insecure_permissions"
    assert os.listdir(foreign) == ["secrets.db"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o644, 0o610])
def test_a_store_that_others_may_read_is_refused(store, mode):
    store.path.chmod(mode)
    with pytest.raises(BackendError) as caught:
        store.open()
    assert caught.value.code == "insecure_permissions"
    assert f"chmod 600 {store.path}" in caught.value.hint
    store.path.chmod(0o600)
    store.open()


def test_a_log_that_others_may_read_is_refused(store):
    store.open().put("app/secret", "value")
    wal = store.folder / "secrets.db-wal"
    wal.chmod(0o644)
    with pytest.raises(BackendError) as caught:
        store.open()
    assert caught.value.code == "insecure_permissions"
    assert str(wal) in caught.value.hint


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_key_file_that_others_may_read_is_refused(store, mode):
    store.key_path.chmod(mode)
    with pytest.raises(BackendError) as caught:
        store.open()
    assert caught.value.code == "insecure_permissions"
    assert f"chmod 600 {store.key_path}" in caught.value.hint


def test_a_stricter_mode_is_kept(store):
    store.key_path.chmod(0o400)
    store.open().put("app/secret", "value")
    store.close()
    assert mode_of(store.key_path) == 0o400
    store.path.chmod(0o400)
    assert store.open().get("app/secret") == "value"
    store.close()
    assert mode_of(store.path) == 0o400


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("which", ["path", "key_path"])
def test_a_file_of_somebody_else_is_refused(store, which):
    os.chown(getattr(store, which), 12345, -1)
    with pytest.raises(BackendError) as caught:
        store.open()
    assert caught.value.code == "insecure_permissions"
    assert "12345" in str(caught.value)


def test_a_folder_where_anybody_may_write_is_warned_of(store, caplog):
    store.open()
    assert not caplog.records
    store.folder.chmod(0o777)
    store.open()
    assert f"chmod o-w {store.folder}" in caplog.text


def test_nothing_is_left_beside_the_store_when_it_is_closed(store):
    store.fill({"app/secret": "value"})
    assert sorted(os.listdir(store.folder)) == ["master.key", "secrets.db"]


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "a//b", "/absolute", "a/./b", "", "a\x00b", "a‮b"])
def test_a_name_that_climbs_out_touches_no_file(store, name):
    opened = store.open()
    with pytest.raises(InvalidNameError):
        opened.put(name, "value")
    store.close()
    assert sorted(os.listdir(store.folder)) == ["master.key", "secrets.db"]
    assert os.listdir(store.folder.parent) == [store.folder.name]


def test_a_path_with_characters_that_mean_something_in_an_address(home):
    """The path is given to SQLite in the form of an address."""
    home.path = home.folder / "100% ?mode=memory#x.db"
    home.create()
    home.open().put("app/secret", "value")
    home.close()
    assert home.path.stat().st_size > 0
    assert home.open().get("app/secret") == "value"


def test_a_backup_does_not_overwrite(store):
    target = store.folder / "backup.db"
    target.write_text("something else")
    with pytest.raises(ConfigurationError):
        store.open().backend.backup(BackupRequest(path=str(target)))
    assert target.read_text() == "something else"


def test_a_path_that_starts_with_two_slashes(home):
    """In an address, what follows them would be the name of a machine."""
    path = f"/{home.path}"
    home.create(path=path)
    assert home.path.exists()
    home.open(path=path).put("app/secret", "value")
    home.close()
    assert home.open().get("app/secret") == "value"


def test_a_path_with_a_nul_is_refused(store):
    path = f"{store.path}\0.db"
    acts = (
        lambda: store.create(path=path),
        lambda: store.open(path=path),
        lambda: store.open().backend.backup(BackupRequest(path=path)),
    )
    for act in acts:
        with pytest.raises(ConfigurationError, match="NUL"):
            act()
