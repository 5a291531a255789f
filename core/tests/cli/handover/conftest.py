"""What tests of `run` and `export` share: a folder whose configuration holds secrets, and the command in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from importers import PLUGIN, Importer

SCRIPT = Path(sys.executable).with_name("strongroom")


class Shelf:
    """A folder with a backend in memory, which each command finds as the configuration fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LANG": "C.UTF-8"}
        self.fill({"app/db-password": "s3cret"})

    def fill(self, seed: dict[str, str], more: str = "") -> None:
        """Write a configuration whose backend holds these secrets.

        Args:
            seed: Name and text.
            more: Further tables.
        """
        # TOML takes JSON's texts as they are, but for pairs of surrogates.
        lines = [f"{json.dumps(name)} = {json.dumps(text, ensure_ascii=False)}\n" for name, text in seed.items()]
        head = 'backend = "main"\n' + ("" if "[[audit]]" in more else 'audit = "none"\n')
        content = f'{head}[backends.main]\ntype = "memory"\n[backends.main.seed]\n{"".join(lines)}\n{more}\n'
        path = self.folder / "strongroom.toml"
        path.write_text(content, encoding="utf-8")
        path.chmod(0o600)

    def start(self, *arguments: str | Path, **options: object) -> subprocess.Popen[bytes]:
        """Start the command, with pipes unless told otherwise."""
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        environment = self.variables | dict(options.pop("env", {}))  # type: ignore[call-overload]
        command = [str(SCRIPT), *map(str, arguments)]
        return subprocess.Popen(command, cwd=self.folder, env=environment, **(settings | options))  # type: ignore[call-overload,no-any-return]

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", **options: object
    ) -> subprocess.CompletedProcess[bytes]:
        """Run the command to its end."""
        process = self.start(*arguments, **options)
        stdout, stderr = process.communicate(stdin, timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def python(self, source: str, *options: str | Path, **settings: object) -> subprocess.CompletedProcess[bytes]:
        """Run a Python program by `strongroom run` with these options."""
        return self("run", *options, "--", sys.executable, "-c", source, **settings)

    def seen(self, *options: str, env: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a program that `strongroom run` starts with these options."""
        done = self.python("import json, os; print(json.dumps(dict(os.environ)))", *options, env=env or {})
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout)
        return found


def lines(content: bytes) -> Sequence[str]:
    """Return what a command wrote, line by line."""
    return content.decode().splitlines()


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """A folder whose configuration holds `app/db-password`, and the command in it."""
    folder = tmp_path / "shelf"
    folder.mkdir(mode=0o700)
    return Shelf(folder)


@pytest.fixture
def importer(tmp_path: Path, distributions: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Importer:
    """The command, in a folder whose configuration has one backend; see the class."""
    distributions.add("drawer", {"strongroom.backends": {"drawer": "drawer", "plain-drawer": "drawer"}}, PLUGIN)
    for variable in [name for name in os.environ if name.startswith("STRONGROOM")]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    return Importer(tmp_path, capsys)
