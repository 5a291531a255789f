"""A disk that is full, at whatever point, leaves the store as it was, and the error says so."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from strongroom.errors import BackendError
from strongroom_local.faults import translate

OLD, NEW = 3_000, 20_000
PAGE = 4096


@pytest.fixture
def filled(store):
    store.fill({"app/secret": "o" * OLD, "app/other": "untouched"})
    return store


def outcome(store, limit: int) -> tuple[str, str]:
    """Overwrite the secret while no file may grow over a limit; return what was said and the size read after it."""
    worker = store.worker("limited", str(limit), str(NEW))
    output, errors = worker.communicate(timeout=60)
    assert worker.returncode == 0, errors
    said, size = output.split()
    return said, size


@pytest.mark.parametrize("part", range(4))
def test_a_write_that_meets_a_full_disk_changes_nothing(filled, part):
    """The limit moves from nothing to enough in small steps; some lie within a page, some between two."""
    refused = 0
    for limit in range(part * 1024, 14 * PAGE, PAGE):
        said, size = outcome(filled, limit)
        opened = filled.open()
        assert opened.get("app/other") == "untouched"
        assert opened.problems() == ()
        if said == "written":
            assert size == str(NEW)
            assert opened.get("app/secret") == "n" * NEW
            filled.close()
            break
        assert (said, size) == ("storage_full", str(OLD))
        assert opened.get("app/secret") == "o" * OLD
        filled.close()
        refused += 1
    else:
        pytest.fail("no limit was large enough")
    assert refused > 3


CREATE = """
import os, resource, sys
sys.dont_write_bytecode = True  # or a module compiled below would be kept as far as the limit goes
sys.path.insert(0, sys.argv[1])
from worker import FileKey
from strongroom.errors import StrongroomError
from strongroom_local.creation import create_store
from strongroom_local.plugin import LocalSettings
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    create_store(LocalSettings(path=sys.argv[2], master_key=FileKey(sys.argv[3])))
    print("made")
except StrongroomError as error:
    print(error.code)
"""


def test_a_store_that_cannot_be_made_whole_is_not_made(home):
    said = []
    for limit in range(0, 10 * PAGE, 3000):
        arguments = [os.path.dirname(__file__), str(home.path), str(home.key_path), str(limit)]
        done = subprocess.run([sys.executable, "-c", CREATE, *arguments], capture_output=True, text=True, check=True)
        said.append(done.stdout.strip())
        if said[-1] == "made":
            break
        assert os.listdir(home.folder) == ["master.key"], limit
    assert set(said[:-1]) == {"storage_full"}
    assert said[-1] == "made"
    assert home.open().problems() == ()


BACKUP = """
import resource, sys
sys.dont_write_bytecode = True  # as above
sys.path.insert(0, sys.argv[1])
from worker import FileKey
from strongroom.contracts import BackupRequest, RekeyRequest
from strongroom.errors import StrongroomError
from strongroom_local.backend import LocalBackend
from strongroom_local.plugin import LocalSettings
backend = LocalBackend.open(LocalSettings(path=sys.argv[2], master_key=FileKey(sys.argv[3])))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    if sys.argv[5] == "rekey":
        backend.rekey(RekeyRequest(reencrypt=True))
    else:
        backend.backup(BackupRequest(path=sys.argv[5]))
    print("done")
except StrongroomError as error:
    print(error.code)
"""


def run_limited(store, limit: int, what: str) -> str:
    arguments = [os.path.dirname(__file__), str(store.path), str(store.key_path), str(limit), what]
    done = subprocess.run([sys.executable, "-c", BACKUP, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_backup_that_meets_a_full_disk_leaves_nothing(filled):
    target = filled.folder / "backup.db"
    for limit in (0, 1000, PAGE, 2 * PAGE + 1):
        assert run_limited(filled, limit, str(target)) == "storage_full"
        assert sorted(os.listdir(filled.folder)) == ["master.key", "secrets.db"]
    assert run_limited(filled, 1_000_000, str(target)) == "done"


def test_a_change_of_keys_that_meets_a_full_disk_changes_nothing(filled):
    filled.fill({f"app/{number}": "x" * 2000 for number in range(20)})
    before = filled.path.read_bytes()
    for limit in (0, 1000, PAGE, 5 * PAGE, 10 * PAGE + 1):
        assert run_limited(filled, limit, "rekey") == "storage_full"
        opened = filled.open()
        assert opened.get("app/secret") == "o" * OLD
        assert opened.problems() == ()
        filled.close()
        assert filled.path.read_bytes() == before
    assert run_limited(filled, 10_000_000, "rekey") == "done"
    assert filled.open().get("app/secret") == "o" * OLD


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 200 KiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k,mode=700", "tmpfs", str(mounted)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield mounted
    subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill_up(opened, stored: dict[str, str]) -> None:
    """Write until that fails, and note what was acknowledged."""
    for number in range(1000):
        value = f"value {number} " * 200
        opened.put(f"app/{number}", value)
        stored[f"app/{number}"] = value


def test_a_full_file_system_keeps_everything_that_was_acknowledged(small_disk, home):
    """Write until the disk is full, with every write either there afterwards or refused."""
    from strongroom.errors import BackendError

    home.path = small_disk / "secrets.db"
    home.create()
    opened = home.open()
    stored: dict[str, str] = {}
    with pytest.raises(BackendError) as caught:
        fill_up(opened, stored)
    assert caught.value.code == "storage_full"
    assert stored
    assert opened.everything() == stored
    home.close()
    again = home.open()
    assert again.everything() == stored
    assert again.problems() == ()
    home.close()


@pytest.mark.parametrize(
    ("code", "full"),
    [
        ("SQLITE_FULL", True),
        ("SQLITE_IOERR_WRITE", True),
        ("SQLITE_IOERR_READ", False),
        ("SQLITE_IOERR_SHMOPEN", False),
    ],
)
def test_only_a_write_that_fails_says_that_space_is_short(code, full):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = getattr(sqlite3, code)
    found = translate(error, "/store.db")
    assert (found.code == "storage_full", "free some space" in found.hint) == (full, full)


def test_a_side_file_that_cannot_be_used_is_no_full_disk(store):
    """A file of shared memory that is a folder, say."""
    store.fill({"app/secret": "value"})
    (store.folder / "secrets.db-shm").mkdir(mode=0o700)
    with pytest.raises(BackendError) as caught:
        store.open()
    assert caught.value.code != "storage_full"
