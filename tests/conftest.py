"""What tests across distributions share: the command as a user starts it, and a ready store."""

import shutil

from collections.abc import Callable
from pathlib import Path

import pytest

from commandline import Cli

# Its tests need its own package, and are run by integration/test_frozen.py, which installs that.
collect_ignore = ["frozen"]


@pytest.fixture(scope="session")
def ready_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ``strongroom init`` has been run once; copy it, do not use it."""
    folder = tmp_path_factory.mktemp("ready")
    done = Cli(folder, tmp_path_factory.mktemp("home"))("init")
    assert done.status == 0, done.stderr
    return folder


@pytest.fixture
def store(ready_store: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with a fresh encrypted store, its key and its configuration."""
    return Path(shutil.copytree(ready_store, tmp_path / "store"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def cli(store: Path, home: Path) -> Cli:
    """The command, in the folder of ``store``."""
    return Cli(store, home)


@pytest.fixture
def cli_in(home: Path) -> Callable[[Path], Cli]:
    """The command in a folder of the test's choice."""
    return lambda folder: Cli(folder, home)
