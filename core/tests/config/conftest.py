"""What the tests of the configuration share: folders of their own, and no variables from outside."""

from __future__ import annotations

import os
import textwrap

from pathlib import Path

import pytest

from strongroom.config import files


class Folders:
    """A project, the system's configuration folder and the user's two, all throw-away."""

    def __init__(self, root: Path) -> None:
        self.project = root / "project"
        self.user = root / "xdg" / "strongroom"
        self.home = root / "account"
        self.account = self.home / ".config" / "strongroom"
        self.system = root / "etc"
        for folder in (self.project, self.user, self.account, self.system):
            folder.mkdir(parents=True)

    def write(self, folder: str, text: str, *, name: str = "strongroom.toml") -> Path:
        """Write a file into one of the folders."""
        path = getattr(self, folder) / name
        path.write_text(textwrap.dedent(text))
        return path


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    made = Folders(tmp_path)
    for variable in [name for name in os.environ if name.startswith("STRONGROOM_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(files, "SYSTEM_FOLDER", str(made.system))
    monkeypatch.setattr(files, "account_home", lambda: str(made.home))
    monkeypatch.chdir(made.project)
    return made
