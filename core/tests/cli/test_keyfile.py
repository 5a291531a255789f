"""A key file is exchanged without a moment in which the key that opens the store has no file."""

from __future__ import annotations

import base64
import os
import stat

from pathlib import Path

import pytest

from strongroom.cli.keyfile import KeyFile, new_key
from strongroom.errors import ConfigurationError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    path = folder / "master.key"
    path.write_bytes(b"old")
    path.chmod(0o600)
    return path


def names(path: Path) -> set[str]:
    return set(os.listdir(path.parent))


def test_a_new_key_is_32_random_bytes_in_base64() -> None:
    keys = {new_key() for _ in range(20)}
    assert len(keys) == 20
    assert {len(base64.b64decode(key, validate=True)) for key in (key.removesuffix(b"\n") for key in keys)} == {32}


def test_a_prepared_key_waits_beside_the_old_one(path: Path) -> None:
    key = KeyFile(str(path))
    assert not key.has_new()
    key.prepare()
    assert key.has_new()
    assert path.read_bytes() == b"old"
    assert names(path) == {"master.key", "master.key.new"}
    assert key.new_source().path == str(path) + ".new"


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
def test_the_new_key_has_the_old_ones_rights(path: Path, mode: int) -> None:
    path.chmod(mode)
    key = KeyFile(str(path))
    umask = os.umask(0)
    try:
        key.prepare()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(key.new_path).st_mode) == mode


def test_a_key_that_an_earlier_change_has_left_is_taken_up(path: Path) -> None:
    Path(f"{path}.new").write_bytes(b"left")
    key = KeyFile(str(path))
    key.prepare()
    key.exchange()
    assert path.read_bytes() == b"left"


def test_what_is_no_file_of_an_earlier_change_is_not_touched_or_taken_up(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    target.chmod(0o644)
    key = KeyFile(str(path))
    path.chmod(0o640)
    new = Path(key.new_path)
    for make in (
        lambda: new.symlink_to(target),
        lambda: new.symlink_to("nowhere"),
        lambda: new.hardlink_to(target),
        lambda: os.mkfifo(new),
    ):
        make()
        for use in (key.has_new, key.prepare):
            with pytest.raises(ConfigurationError, match=r"master\.key\.new is a link, or no file of ours"):
                use()
        new.unlink()
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        assert target.read_bytes() == b"precious"
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_new_key_of_another_user_is_taken_up_if_the_old_one_is_that_users_too(path: Path) -> None:
    key = KeyFile(str(path))
    Path(key.new_path).write_bytes(b"left")
    os.chown(key.new_path, 1234, 1234)
    with pytest.raises(ConfigurationError):
        key.has_new()
    os.chown(path, 1234, 1234)
    assert key.has_new()


def test_the_second_name_that_a_killed_change_has_left_goes_with_the_next_one(path: Path) -> None:
    key = KeyFile(str(path))
    key.prepare()
    os.link(key.new_path, path.parent / ".master.key.new.0123456789abcdef.new")
    with key.locked():
        key.prepare()
        key.exchange()
    assert names(path) == {"master.key", "master.key.old"}


def test_after_the_exchange_the_old_key_is_still_there(path: Path) -> None:
    key = KeyFile(str(path))
    key.prepare()
    new = Path(key.new_path).read_bytes()
    assert key.exchange() == f"{path}.old"
    assert path.read_bytes() == new
    assert Path(f"{path}.old").read_bytes() == b"old"
    assert names(path) == {"master.key", "master.key.old"}


def test_no_earlier_old_key_is_ever_replaced(path: Path) -> None:
    for _ in range(3):
        key = KeyFile(str(path))
        key.prepare()
        key.exchange()
    assert names(path) == {"master.key", "master.key.old", "master.key.old.2", "master.key.old.3"}
    assert Path(f"{path}.old").read_bytes() == b"old"
    assert len({(path.parent / name).read_bytes() for name in names(path)}) == 4


def test_an_exchange_that_was_cut_off_between_its_steps_is_completed(path: Path) -> None:
    key = KeyFile(str(path))
    key.prepare()
    os.link(path, f"{path}.old")
    assert key.exchange() == f"{path}.old"
    assert names(path) == {"master.key", "master.key.old"}


def test_a_key_that_is_gone_is_replaced_by_the_new_one(path: Path) -> None:
    key = KeyFile(str(path))
    key.prepare()
    path.unlink()
    assert key.exchange() is None
    assert names(path) == {"master.key"}


def test_where_a_link_leads_is_exchanged_and_the_link_stays(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.key"
    link.symlink_to(path)
    key = KeyFile(str(link))
    key.prepare()
    key.exchange()
    assert link.is_symlink()
    assert link.read_bytes() != b"old"
    assert names(path) == {"master.key", "master.key.old"}


def test_only_one_change_of_keys_runs_at_a_time(path: Path) -> None:
    with (
        KeyFile(str(path)).locked(),
        pytest.raises(ConfigurationError, match="another change of keys"),
        KeyFile(str(path)).locked(),
    ):
        pass
    with KeyFile(str(path)).locked():
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    key = KeyFile(str(tmp_path / "no" / "master.key"))
    with pytest.raises(ConfigurationError, match=str(tmp_path / "no")), key.locked():
        pass
    with pytest.raises(ConfigurationError, match=str(tmp_path / "no")):
        key.prepare()
