"""Each command refuses or hides what strongroom keeps for itself."""

from __future__ import annotations

import json
import shutil

from pathlib import Path
from typing import Final

import pytest

from commandline import Cli

RECORD: Final = ".strongroom/rotation/db/app"
REFUSED: Final = "kept for strongroom itself"
COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "get": ("get", RECORD),
    "get as JSON": ("get", RECORD, "--json"),
    "set": ("set", RECORD),
    "list": ("list", ".strongroom/"),
    "list folders": ("list", ".strongroom", "--folders"),
    "versions": ("versions", RECORD),
    "delete": ("delete", RECORD),
    "undelete": ("undelete", RECORD),
    "destroy": ("destroy", RECORD, "--yes"),
    "metadata": ("metadata", RECORD),
    "rotate": ("rotate", RECORD),
    "dry run": ("rotate", RECORD, "--dry-run"),
    "resume": ("rotate", RECORD, "--resume"),
    "undo": ("rotate", RECORD, "--undo", "--force"),
    "rotate what is due": ("rotate", "--all-due", ".strongroom/"),
    "rotation status": ("rotation", "status", ".strongroom/"),
    "schedule": ("schedule", ".strongroom/"),
    "run with a name": ("run", "--secret", f"RECORD={RECORD}", "--", "env"),
    "run with a field": ("run", "--secret", f"RECORD={RECORD}#format", "--", "env"),
    "run with a folder": ("run", "--prefix", ".strongroom/", "--", "env"),
    "export": ("export", f"RECORD={RECORD}", "--format", "shell"),
    "export a folder": ("export", "--prefix", ".strongroom/rotation", "--format", "json"),
    "import below it": ("import", "plain.json", "--prefix", ".strongroom/"),
    "import over all": ("import", "record.json", "--if-exists", "overwrite"),
    "import what is new": ("import", "record.json", "--if-exists", "skip"),
    "try an import": ("import", "record.json", "--dry-run"),
    "import nested objects": ("import", "nested.json", "--flatten"),
}


@pytest.fixture(scope="module")
def rotated_store(ready_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store where ``db/app`` has been rotated once; copy it, do not use it."""
    folder = Path(shutil.copytree(ready_store, tmp_path_factory.mktemp("rotated") / "store"))
    configuration = folder / "strongroom.toml"
    configuration.write_text(configuration.read_text() + '\n[rotation."db/*"]\nrotator = "password"\n')
    (folder / "plain.json").write_text(json.dumps({"new": "s3cret"}))
    (folder / "record.json").write_text(json.dumps({"new": "s3cret", RECORD: "s3cret"}))
    (folder / "nested.json").write_text(json.dumps({"new": "s3cret", ".strongroom": {"rotation": {"x": "s3cret"}}}))
    cli = Cli(folder, tmp_path_factory.mktemp("home"))
    assert cli("set", "db/app", stdin="first").status == 0
    done = cli("rotate", "db/app")
    assert done.status == 0, done.stderr
    return folder


@pytest.fixture
def store(rotated_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(rotated_store, tmp_path / "store"))


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_refused(command: str, cli: Cli, store: Path) -> None:
    before = (store / "secrets.db").read_bytes()
    done = cli(*COMMANDS[command], stdin="s3cret")
    # `run` has a status of its own for what is not the program's.
    assert (done.status, done.stdout) == (125 if COMMANDS[command][0] == "run" else 2, ""), done.stderr
    assert REFUSED in done.stderr
    assert "s3cret" not in done.stderr
    assert (store / "secrets.db").read_bytes() == before


def test_what_shows_everything_shows_nothing_of_it(cli: Cli, store: Path) -> None:
    assert cli("list", "--folders").stdout == "db/\n"
    assert list(json.loads(cli("export", "--prefix", "", "--format", "json").stdout)) == ["db/app"]
    shown = cli("run", "--prefix", "", "--", "env")
    assert shown.status == 0
    assert "DB_APP=" in shown.stdout
    for done in (shown, cli("rotation", "status"), cli("schedule"), cli("rotate", "--all-due"), cli("stats")):
        assert "STRONGROOM_ROTATION" not in done.stdout
        assert ".strongroom/" not in done.stdout + done.stderr


def test_a_whole_export_is_imported_again(cli: Cli, store: Path) -> None:
    assert cli("export", "--prefix", "", "--format", "json", "--output", "all.json").status == 0
    done = cli("import", "all.json", "--if-exists", "overwrite")
    assert (done.status, done.stderr) == (0, "stored db/app version 3\n")
