"""Changing the key that opens the local store, with crashes at every step."""

import base64
import json
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

from collections.abc import Callable
from pathlib import Path

import pytest

import strongroom

from commandline import Cli, clean_environment


@pytest.fixture
def filled(cli: Cli) -> Cli:
    assert cli("set", "db/password", stdin="s3cret").status == 0
    return cli


def readable(cli: Cli, **env: str) -> bool:
    done = cli("get", "db/password", env=env)
    return (done.status, done.stdout) == (0, "s3cret")


def keys(store: Path) -> set[str]:
    return {name for name in os.listdir(store) if name.startswith("master.key")}


def drafts(store: Path) -> list[str]:
    return [name for name in os.listdir(store) if name.endswith(".new")]


def master_key_from(store: Path, setting: str) -> None:
    file = store / "strongroom.toml"
    lines = [setting if line.startswith("master_key") else line for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")


def new_key(path: Path) -> Path:
    path.write_bytes(base64.b64encode(os.urandom(32)) + b"\n")
    path.chmod(0o600)
    return path


def test_a_new_key_takes_the_place_of_the_old_one(filled: Cli, store: Path) -> None:
    old = (store / "master.key").read_bytes()
    done = filled("rekey")
    assert done.status == 0, done.stderr
    assert readable(filled)
    assert (store / "master.key").read_bytes() != old
    assert (store / "master.key.old").read_bytes() == old
    assert keys(store) == {"master.key", "master.key.old"}
    assert {stat.S_IMODE((store / name).stat().st_mode) for name in keys(store)} == {0o600}
    assert str(store / "master.key.old") in done.stderr


def test_the_old_key_opens_old_backups_only(filled: Cli, store: Path) -> None:
    assert filled("local", "backup", "backup.db").status == 0
    assert filled("rekey").status == 0
    master_key_from(store, 'master_key = { file = "master.key.old" }')
    assert filled("get", "db/password").status == 8
    os.replace(store / "backup.db", store / "secrets.db")
    assert readable(filled)


def test_encrypting_anew_keeps_the_master_key(filled: Cli, store: Path) -> None:
    before = (store / "master.key").read_bytes()
    done = filled("rekey", "--reencrypt", "--json")
    assert json.loads(done.stdout) == {"key_epoch": 2, "records": 1}
    assert (store / "master.key").read_bytes() == before
    assert keys(store) == {"master.key"}
    assert readable(filled)


def test_both_keys_can_be_changed_at_once(filled: Cli, store: Path) -> None:
    done = filled("rekey", "--reencrypt", "--new-key", "--json")
    result = json.loads(done.stdout)
    assert result["records"] == 1
    assert result["key_file"] == str(store / "master.key")
    assert readable(filled)


def test_the_trail_has_the_attempt_and_the_outcome(filled: Cli, store: Path) -> None:
    filled("rekey")
    events = [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]
    assert [event["phase"] for event in events if event["event"] == "rekey"] == ["attempt", "outcome"]


@pytest.mark.parametrize("option", ["--new-key-file", "--new-key-env", "--new-passphrase-env"])
def test_a_given_key_opens_the_store_once_the_configuration_says_so(filled: Cli, store: Path, option: str) -> None:
    file = new_key(store / "other.key")
    word = {"--new-key-file": str(file), "--new-key-env": "NEW_KEY", "--new-passphrase-env": "WORDS"}[option]
    env = {"NEW_KEY": file.read_text(), "WORDS": "correct horse battery staple"}
    done = filled("rekey", option, word, env=env)
    assert done.status == 0, done.stderr
    assert word in done.stderr
    assert filled("get", "db/password").status == 8
    setting = {
        "--new-key-file": 'master_key = { file = "other.key" }',
        "--new-key-env": 'master_key = { env = "NEW_KEY" }',
        "--new-passphrase-env": 'passphrase = { env = "WORDS" }',
    }[option]
    master_key_from(store, setting)
    assert readable(filled, **env)


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--new-key-file", "missing.key"], 8),
        (["--new-key-file", "strongroom.toml"], 8),
        (["--new-key-env", "UNSET"], 8),
        (["--new-passphrase-env", "EMPTY"], 8),
        (["--backend", "elsewhere"], 2),
        (["--new-key-file", "a", "--new-key-env", "b"], 2),
    ],
)
def test_without_a_usable_new_key_nothing_changes(filled: Cli, store: Path, options: list[str], status: int) -> None:
    before = (store / "secrets.db").read_bytes()
    assert filled("rekey", *options, env={"EMPTY": ""}).status == status
    assert (store / "secrets.db").read_bytes() == before
    assert keys(store) == {"master.key"}


def test_with_a_wrong_old_key_nothing_changes(filled: Cli, store: Path) -> None:
    before = (store / "secrets.db").read_bytes()
    wrong = new_key(store / "master.key").read_bytes()
    done = filled("rekey")
    assert done.status == 8
    assert (store / "secrets.db").read_bytes() == before
    assert (store / "master.key").read_bytes() == wrong
    assert keys(store) == {"master.key"}


def test_a_key_that_is_in_no_file_cannot_be_exchanged_in_place(filled: Cli, store: Path) -> None:
    key = (store / "master.key").read_text()
    master_key_from(store, 'master_key = { env = "KEY" }')
    done = filled("rekey", env={"KEY": key})
    assert done.status == 2
    assert "--new-key-env" in done.stderr


def crashed_before(cli: Cli, store: Path) -> None:
    """The new key was written, and the store not yet locked with it."""
    new_key(store / "master.key.new")


def crashed_publishing(cli: Cli, store: Path) -> None:
    """The new key was written, and had the name of its draft still."""
    crashed_before(cli, store)
    os.link(store / "master.key.new", store / ".master.key.new.0123456789abcdef.new")


def crashed_after(cli: Cli, store: Path) -> None:
    """The store was locked with the new key, and no file renamed yet."""
    crashed_before(cli, store)
    assert cli("rekey", "--new-key-file", "master.key.new").status == 0
    assert not readable(cli)


def crashed_between(cli: Cli, store: Path) -> None:
    """The old key had its second name already."""
    crashed_after(cli, store)
    os.link(store / "master.key", store / "master.key.old")


def lost(cli: Cli, store: Path) -> None:
    """Somebody has taken the old key for useless meanwhile."""
    crashed_after(cli, store)
    (store / "master.key").unlink()


@pytest.mark.parametrize("crash", [crashed_before, crashed_publishing, crashed_after, crashed_between, lost])
def test_running_it_again_completes_what_a_crash_has_cut_off(
    filled: Cli, store: Path, crash: Callable[[Cli, Path], None]
) -> None:
    crash(filled, store)
    waiting = (store / "master.key.new").read_bytes()
    done = filled("rekey")
    assert done.status == 0, done.stderr
    assert readable(filled)
    assert (store / "master.key").read_bytes() == waiting
    assert keys(store) == {"master.key"} | ({"master.key.old"} if crash is not lost else set())
    assert drafts(store) == []
    assert filled("rekey").status == 0
    assert readable(filled)


def test_a_left_over_that_is_no_key_is_not_used(filled: Cli, store: Path) -> None:
    (store / "master.key.new").touch(mode=0o600)
    done = filled("rekey")
    assert done.status == 8
    assert str(store / "master.key.new") in done.stderr
    assert readable(filled)


def test_a_link_in_the_new_keys_place_is_not_followed(filled: Cli, store: Path, tmp_path: Path) -> None:
    other = new_key(tmp_path / "other.key")
    (store / "master.key").chmod(0o400)
    (store / "master.key.new").symlink_to(other)
    before = other.read_bytes()
    done = filled("rekey")
    assert done.status == 2
    assert str(store / "master.key.new") in done.stderr
    assert (stat.S_IMODE(other.stat().st_mode), other.read_bytes()) == (0o600, before)
    (store / "master.key.new").unlink()
    assert readable(filled)


def test_killed_at_any_moment_the_store_opens_after_another_run(filled: Cli, store: Path, home: Path) -> None:
    command = [str(Path(sys.executable).with_name("strongroom")), "rekey"]
    started = time.monotonic()
    assert filled("rekey").status == 0
    usual = time.monotonic() - started
    chance = random.Random(7)
    for _ in range(8):
        process = subprocess.Popen(command, cwd=store, env=clean_environment(home), stderr=subprocess.DEVNULL)
        try:
            # Most of the time goes by before the first file is touched.
            process.wait(usual * chance.uniform(0.4, 1.1))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert filled("rekey").status == 0
        assert readable(filled)
    assert filled("local", "verify").status == 0
    assert drafts(store) == []


def test_a_reader_waits_for_the_key_that_follows_the_header(filled: Cli, store: Path) -> None:
    """The store is locked with the new key already, and a moment later the key has its name."""
    crashed_after(filled, store)
    rename = threading.Timer(0.4, os.replace, (store / "master.key.new", store / "master.key"))
    rename.start()
    assert readable(filled)
    rename.join()


def test_a_manager_opens_the_store_with_the_key_of_that_moment(filled: Cli, store: Path) -> None:
    with strongroom.open(str(store / "strongroom.toml")) as manager:
        assert filled("rekey", "--new-key", "--reencrypt").status == 0
        assert manager.get("db/password").reveal_text() == "s3cret"
        assert filled("rekey", "--new-key", "--reencrypt").status == 0
        assert manager.refresh("db/password").reveal_text() == "s3cret"


def test_readers_go_on_while_keys_change(filled: Cli, store: Path, home: Path) -> None:
    command = [str(Path(sys.executable).with_name("strongroom")), "rekey", "--new-key", "--reencrypt"]
    process = subprocess.Popen(command, cwd=store, env=clean_environment(home), stderr=subprocess.DEVNULL)
    while process.poll() is None:
        assert readable(filled)
    assert process.returncode == 0
    assert readable(filled)


@pytest.mark.parametrize("link", [False, True])
def test_a_key_file_that_another_backend_uses_is_not_exchanged(filled: Cli, store: Path, link: bool) -> None:
    """The other store would be locked out, and the command would call its key an old one."""
    file, shared = store / "strongroom.toml", "master.key"
    if link:
        shared = "link.key"
        (store / shared).symlink_to("master.key")
    second = f'\n[backends.second]\ntype = "local"\npath = "second.db"\nmaster_key = {{ file = "{shared}" }}\n'
    file.write_text(file.read_text() + second)
    before = (store / "master.key").read_bytes()
    for options in ((), ("--reencrypt", "--new-key")):
        done = filled("rekey", *options)
        assert done.status == 2
        assert "second" in done.stderr
    assert (store / "master.key").read_bytes() == before
    assert keys(store) == {"master.key"}
    assert readable(filled)
    (store / "own.key").write_bytes(before)
    (store / "own.key").chmod(0o600)
    file.write_text(file.read_text().replace(second, second.replace(shared, "own.key")))
    assert filled("rekey").status == 0
