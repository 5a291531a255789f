"""How keyring finds the backend, and what becomes of it in a process."""

from __future__ import annotations

import os
import subprocess
import sys

from collections.abc import Callable
from pathlib import Path

import pytest

CONFIG = """\
audit = "none"
backend = "main"
[backends.main]
type = "memory"
[backends.main.seed]
"keyring/s/u" = "the password"
"""
CHOSEN = {"PYTHON_KEYRING_BACKEND": "strongroom_keyring.StrongroomKeyring"}
Program = Callable[..., str]


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Run Python source in a folder with a configuration, with further variables, and return what it prints."""
    path = tmp_path / "strongroom.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)

    def run(source: str, **variables: str) -> str:
        environment = {"PATH": os.defpath, "HOME": str(tmp_path), "LANG": "C.UTF-8", **variables}
        done = subprocess.run(
            [sys.executable, "-c", source],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def test_keyring_knows_it_without_being_told(program: Program) -> None:
    source = "import keyring.backend as b; print(*map(str, b.get_all_keyring()), sep='\\n')"
    assert "strongroom_keyring.backend.StrongroomKeyring (priority: -0.5)" in program(source).splitlines()


def test_it_is_not_used_unless_it_is_chosen(program: Program) -> None:
    """Not even where there is a configuration: every program that uses keyring would ask it."""
    source = "import keyring; print(type(keyring.get_keyring()).__name__)"
    assert program(source) != "StrongroomKeyring"
    assert program(source, **CHOSEN) == "StrongroomKeyring"


def test_it_is_in_no_chain_of_backends(program: Program) -> None:
    source = "from keyring.backends.chainer import ChainerBackend as c; print(*[type(b).__name__ for b in c.backends])"
    assert "StrongroomKeyring" not in program(source).split()


def test_finding_it_opens_nothing_and_loads_no_manager(program: Program) -> None:
    source = "import keyring, sys; keyring.get_keyring(); print('strongroom.manager' in sys.modules)"
    assert program(source, **CHOSEN) == "False"


def test_the_chosen_one_answers(program: Program) -> None:
    assert program("import keyring; print(keyring.get_password('s', 'u'))", **CHOSEN) == "the password"


def test_a_forked_child_may_go_on_with_it(program: Program) -> None:
    source = """
import keyring, os
first = keyring.get_password('s', 'u')
child = os.fork()
if child == 0:
    os._exit(0 if keyring.get_password('s', 'u') == first else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), keyring.get_password('s', 'u'))
"""
    assert program(source, **CHOSEN) == "0 the password"


def test_threads_that_come_first_at_once_share_one_manager(program: Program) -> None:
    source = """
import threading, keyring, strongroom
opened, open_, barrier = [], strongroom.open, threading.Barrier(2, timeout=10)
def open_slowly(*arguments):
    barrier.wait()
    opened.append(open_(*arguments))
    return opened[-1]
strongroom.open = open_slowly
found = []
ask = lambda: found.append(keyring.get_password('s', 'u'))
threads = [threading.Thread(target=ask) for _ in range(2)]
keyring.get_keyring()
for thread in threads: thread.start()
for thread in threads: thread.join()
ask()
def is_open(manager):
    try:
        return bool(manager.get('keyring/s/u'))
    except Exception:
        return False
print(len(opened), sum(map(is_open, opened)), found)
"""
    assert program(source, **CHOSEN) == f"2 1 {['the password'] * 3}"


def test_without_a_configuration_it_says_so(program: Program, tmp_path: Path) -> None:
    (tmp_path / "strongroom.toml").unlink()
    source = """
import keyring, keyring.errors
try:
    keyring.get_password('s', 'u')
except keyring.errors.KeyringError as error:
    print(type(error).__name__, error)
"""
    assert program(source, **CHOSEN).startswith("InitError there is no strongroom.toml in this folder")
