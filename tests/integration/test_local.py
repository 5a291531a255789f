"""Verifying and backing up the local store from the command line."""

import json
import shutil
import sqlite3
import stat

from pathlib import Path

import pytest

from commandline import Cli


@pytest.fixture
def filled(cli: Cli) -> Cli:
    for number in range(3):
        assert cli("set", f"name/{number}", stdin=f"value {number}").status == 0
    return cli


def test_a_sound_store_verifies(filled: Cli) -> None:
    done = filled("local", "verify")
    assert (done.status, done.stderr) == (0, "")
    result = json.loads(filled("local", "verify", "--json").stdout)
    identity = result.pop("store_id")
    assert len(bytes.fromhex(identity)) == 16
    assert done.stdout == f"verified: secrets 3, records 3, counter 3, store {identity}\n"
    assert result == {
        "secrets": 3,
        "records": 3,
        "counter": 3,
        "problems": [],
    }


def test_every_problem_is_listed(filled: Cli, store: Path) -> None:
    connection = sqlite3.connect(store / "secrets.db")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}
    (records,) = [table for table, count in counts.items() if count == 3]
    connection.execute(f'DELETE FROM "{records}" WHERE rowid = (SELECT max(rowid) FROM "{records}")')
    connection.commit()
    connection.close()
    done = filled("local", "verify")
    assert done.status == 8
    problems = json.loads(filled("local", "verify", "--json").stdout)["problems"]
    assert problems
    assert [line.removeprefix("problem: ") for line in done.stdout.splitlines()] == problems
    assert "value" not in done.stdout
    assert "does not verify" in done.stderr


def test_an_old_copy_of_the_file_is_found(filled: Cli, store: Path) -> None:
    shutil.copy2(store / "secrets.db", store / "old.db")
    assert filled("set", "name/0", stdin="newer").status == 0
    counter = json.loads(filled("local", "verify", "--json").stdout)["counter"]
    assert filled("local", "verify", "--at-least", str(counter)).status == 0
    shutil.move(store / "old.db", store / "secrets.db")
    assert filled("local", "verify").status == 0, "nothing inside an old copy shows its age"
    done = filled("local", "verify", "--at-least", str(counter))
    assert done.status == 8
    assert "old copy" in done.stdout


def test_a_backup_is_private_and_holds_everything(filled: Cli, store: Path) -> None:
    done = filled("local", "backup", "copy.db", "--json")
    identity = json.loads(filled("local", "verify", "--json").stdout)["store_id"]
    copied = {"path": str(store / "copy.db"), "secrets": 3, "counter": 3, "store_id": identity}
    assert json.loads(done.stdout) == copied
    assert stat.S_IMODE((store / "copy.db").stat().st_mode) == 0o600
    assert filled("delete", "name/1").status == 0
    shutil.move(store / "copy.db", store / "secrets.db")
    assert filled("get", "name/1").stdout == "value 1"


def test_a_backup_replaces_nothing(filled: Cli, store: Path) -> None:
    (store / "copy.db").write_text("precious")
    done = filled("local", "backup", "copy.db")
    assert done.status == 2
    assert (store / "copy.db").read_text() == "precious"


def test_both_stand_in_the_trail(filled: Cli, store: Path) -> None:
    filled("local", "verify")
    filled("local", "backup", "copy.db")
    events = [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]
    found = [(event["event"], event["phase"]) for event in events if event["event"] in {"verify", "backup"}]
    assert found == [("verify", "outcome"), ("backup", "attempt"), ("backup", "outcome")]
    assert filled("audit", "verify").status == 0


def test_a_backend_without_a_file_of_its_own_says_so(cli: Cli, store: Path) -> None:
    file = store / "strongroom.toml"
    file.write_text(file.read_text() + '\n[backends.other]\ntype = "memory"\n')
    for arguments in (["local", "verify"], ["local", "backup", "x"], ["rekey", "--reencrypt"], ["rekey"]):
        done = cli(*arguments, "--backend", "other")
        assert (done.status, done.stdout) == (2, "")
        assert "other" in done.stderr
