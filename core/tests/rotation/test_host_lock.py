"""Where a backend compares nothing, a lock of the host keeps two rotations of one name apart."""

from __future__ import annotations

import os
import subprocess
import sys

from pathlib import Path

import pytest

import strongroom

from strongroom.builtin.memory import MemoryBackend
from strongroom.contracts import Capability
from strongroom.errors import ConfigurationError, RotationError
from strongroom.model import SecretName
from strongroom.rotation.host_lock import alone_on_this_host

NAME = SecretName("db/app")


class Plain(MemoryBackend):
    """Writes over whatever is there."""

    capabilities = frozenset({Capability.WRITE, Capability.LIST})


def opened(**rule: object) -> strongroom.SecretManager:
    """Return a manager whose backend compares nothing."""
    config = {"audit": "none", "backend": "main", "rotation": {"db/*": rule}}
    return strongroom.open(config, backends={"main": Plain()})


def test_without_being_told_that_there_is_one_host_only_nothing_is_rotated() -> None:
    with opened() as manager:
        manager.set(NAME, "first")
        with pytest.raises(ConfigurationError, match="neither stages nor check-and-set"):
            manager.rotate(NAME)
        assert manager.get(NAME).reveal_text() == "first"


def test_on_one_host_it_is_rotated_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(single_host=True) as manager:
        manager.set(NAME, "first")
        assert manager.rotate(NAME).is_complete
        (lock,) = tmp_path.iterdir()
        assert (lock.stat().st_size, lock.stat().st_mode & 0o777) == (0, 0o600)
        assert manager.rotate(NAME).is_complete


def test_another_process_that_holds_it_is_told_of_and_its_end_lets_it_go(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from strongroom.model import SecretName\n"
        "from strongroom.rotation.host_lock import alone_on_this_host\n"
        f"with alone_on_this_host({str(tmp_path)!r}, 'a', SecretName('db/app')):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(RotationError) as caught, alone_on_this_host(str(tmp_path), "a", NAME):
        raise AssertionError("two hold it")
    assert caught.value.code == "rotation_in_progress"
    with alone_on_this_host(str(tmp_path), "a", SecretName("db/other")), alone_on_this_host(str(tmp_path), "b", NAME):
        pass
    other.kill()
    other.communicate()
    with alone_on_this_host(str(tmp_path), "a", NAME):
        pass


def test_a_second_thread_does_not_get_it_either(tmp_path: Path) -> None:
    with (
        alone_on_this_host(str(tmp_path), "a", NAME),
        pytest.raises(RotationError),
        alone_on_this_host(str(tmp_path), "a", NAME),
    ):
        raise AssertionError("two hold it")


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    with alone_on_this_host(str(tmp_path), "a", NAME):
        pass
    (lock,) = tmp_path.iterdir()
    lock.unlink()
    target = tmp_path / "target"
    os.symlink(target, lock)
    with pytest.raises(ConfigurationError, match="cannot be made"), alone_on_this_host(str(tmp_path), "a", NAME):
        raise AssertionError("it was followed")
    assert not target.exists()


def test_a_child_that_was_forked_meanwhile_does_not_hold_it(tmp_path: Path) -> None:
    ending, child = os.pipe()
    with alone_on_this_host(str(tmp_path), "a", NAME):
        pid = os.fork()
        if pid == 0:
            os.close(child)
            os.read(ending, 1)
            os._exit(0)
    os.close(ending)
    try:
        with alone_on_this_host(str(tmp_path), "a", NAME):
            pass
    finally:
        os.close(child)
        os.waitpid(pid, 0)
