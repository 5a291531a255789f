"""Passwords move from another keyring into strongroom, and the programs that used it find them there."""

from __future__ import annotations

import json
import os
import subprocess

from pathlib import Path

import pytest

from hypothesis import example, given
from hypothesis import strategies as st

from commandline import Cli, Finished, clean_environment
from strongroom.cli import keyringsource
from strongroom_keyring.names import FOLDER, Entry, name_of

OLD = '''
"""A keyring as a desktop has one, in a file."""

import json

from keyring.backend import KeyringBackend


class Old(KeyringBackend):
    priority = 5

    def get_password(self, service, username):
        with open("old.json") as file:
            return json.load(file).get(f"{service} {username}")

    def set_password(self, service, username, password):
        raise NotImplementedError


class Locked(Old):
    priority = 1

    def get_password(self, service, username):
        raise RuntimeError("it is locked, and the password was hunter2")


class Impossible(Old):
    def __init__(self):
        raise RuntimeError("no desktop")
'''
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=16)
HARD = 'it\'s "hard" %s $HOME \\ é\n'


@pytest.fixture
def old(store: Path, cli: Cli) -> Cli:
    """The command, beside another keyring that holds two passwords."""
    (store / "old_keyring.py").write_text(OLD)
    (store / "old.json").write_text(json.dumps({"https://a.example/ me": "first", "b c": HARD}))
    return cli


def run(cli: Cli, *arguments: str, backend: str | None = "old_keyring.Old") -> Finished:
    chosen = ["--keyring-backend", backend] if backend else []
    return cli("import", *chosen, *arguments, env={"PYTHONPATH": str(cli.folder)})


def keyring(cli: Cli, *arguments: str) -> str:
    """Return what keyring's command prints that uses strongroom."""
    chosen = {"PYTHON_KEYRING_BACKEND": "strongroom_keyring.StrongroomKeyring"}
    command = ["keyring", *arguments]
    return subprocess.run(
        command, cwd=cli.folder, env=clean_environment(cli.home, **chosen), capture_output=True, text=True, check=True
    ).stdout


def test_what_was_imported_is_found_by_the_programs_that_use_keyring(old: Cli) -> None:
    done = run(old, "--keyring", "https://a.example/", "me", "--keyring", "b", "c")
    assert done.status == 0, done.stderr
    assert done.stderr.splitlines() == [
        "stored keyring/https:%2F%2Fa.example%2F/me version 1",
        "stored keyring/b/c version 1",
    ]
    assert keyring(old, "get", "https://a.example/", "me") == "first\n"
    assert keyring(old, "get", "b", "c") == f"{HARD}\n"


@given(TEXTS, TEXTS)
@example("", "")
@example("..", "%")
def test_both_give_an_entry_the_same_name(service: str, username: str) -> None:
    found, problems = keyringsource.read([(service, username)], "otherkeyring.Everything")
    assert problems == []
    assert list(found) == [name_of("", Entry(service=service, username=username))]
    assert keyringsource.FOLDER == FOLDER


def test_an_empty_part_has_the_same_name_on_both_sides(old: Cli) -> None:
    (old.folder / "old.json").write_text(json.dumps({" me": "x"}))
    assert run(old, "--keyring", "", "me").status == 0
    assert keyring(old, "get", "", "me") == "x\n"


def test_the_configured_keyring_is_asked_unless_one_is_named(old: Cli) -> None:
    variables = {"PYTHONPATH": str(old.folder), "PYTHON_KEYRING_BACKEND": "old_keyring.Old"}
    assert old("import", "--keyring", "b", "c", env=variables).status == 0
    assert old("get", "keyring/b/c").stdout == HARD


def test_the_folder_can_be_chosen(old: Cli) -> None:
    assert run(old, "--keyring", "b", "c", "--prefix", "logins/").status == 0
    assert old("list").stdout == "logins/b/c\n"


def test_a_trial_run_writes_nothing_and_what_exists_stops_the_import(old: Cli) -> None:
    done = run(old, "--keyring", "b", "c", "--dry-run")
    assert (done.status, done.stderr) == (0, "would write keyring/b/c\n")
    assert old("list").stdout == ""
    assert run(old, "--keyring", "b", "c").status == 0
    assert run(old, "--keyring", "b", "c").status == 7
    assert run(old, "--keyring", "b", "c", "--if-exists", "skip").status == 0


def test_all_that_is_missing_is_named_and_nothing_is_written(old: Cli) -> None:
    done = run(old, "--keyring", "b", "c", "--keyring", "b", "nobody", "--keyring", "x", "y")
    assert done.status == 3
    assert "no password for 'nobody' of 'b'" in done.stderr
    assert "no password for 'y' of 'x'" in done.stderr
    assert old("list").stdout == ""


def test_what_is_asked_for_twice_is_refused(old: Cli) -> None:
    done = run(old, "--keyring", "b", "c", "--keyring", "b", "c")
    assert done.status == 2
    assert "'c' of 'b' is asked for twice" in done.stderr


@pytest.mark.parametrize("backend", ["strongroom_keyring.StrongroomKeyring", None])
def test_strongrooms_own_keyring_is_refused(old: Cli, backend: str | None) -> None:
    """It would read each secret and write it over itself."""
    variables = {"PYTHON_KEYRING_BACKEND": "strongroom_keyring.StrongroomKeyring"}
    chosen = ["--keyring-backend", backend] if backend else []
    done = old("import", *chosen, "--keyring", "b", "c", env=variables)
    assert done.status == 2
    assert "strongroom's own" in done.stderr


@pytest.mark.parametrize(
    ("backend", "status"),
    [
        ("old_keyring.Locked", 1),
        ("keyring.backends.fail.Keyring", 1),
        ("old_keyring.Impossible", 2),
        ("old_keyring.Nothing", 2),
        ("no_such_module.Keyring", 2),
        ("nothing", 2),
    ],
)
def test_a_keyring_that_fails_is_reported_without_its_words(old: Cli, backend: str, status: int) -> None:
    done = run(old, "--keyring", "b", "c", backend=backend)
    assert done.status == status
    assert "the keyring " in done.stderr
    assert "internal error" not in done.stderr
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["a.env", "--keyring", "b", "c"], ["a.env", "--keyring-backend", "x.Y"], ["--keyring", "b"]],
)
def test_a_file_and_a_keyring_do_not_go_together(old: Cli, arguments: list[str]) -> None:
    (old.folder / "a.env").write_text("A=1\n")
    assert run(old, *arguments, backend=None).status == 2
    assert old("list").stdout == ""


def test_without_the_library_it_is_said_what_to_install(old: Cli, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "keyring.py").write_text("raise ModuleNotFoundError('No module named keyring')\n")
    done = old("import", "--keyring", "b", "c", env={"PYTHONPATH": os.fspath(hidden)})
    assert done.status == 2
    assert 'pip install "strongroom[keyring]"' in done.stderr


def test_a_password_that_is_no_text_is_named_and_not_shown(old: Cli) -> None:
    (old.folder / "old.json").write_text('{"b c": "hunter2\\ud800"}')
    done = run(old, "--keyring", "b", "c")
    assert done.status == 2
    assert "the password for 'c' of 'b' holds half of a surrogate pair" in done.stderr
    assert "hunter2" not in done.stderr
