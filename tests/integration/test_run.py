"""`strongroom run` on a real store and a real trail."""

import json
import os
import subprocess
import sys

from pathlib import Path

import pytest

from commandline import Cli, clean_environment


def python(source: str) -> list[str]:
    return ["--", sys.executable, "-c", source]


def trail(store: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]


@pytest.fixture
def filled(cli: Cli) -> Cli:
    for name in ("app/db-password", "app/api.key"):
        assert cli("set", name, stdin=f"value of {name}").status == 0
    return cli


def test_a_program_gets_what_the_store_holds(filled: Cli) -> None:
    source = "import os; print(os.environ['DB_PASSWORD'], os.environ['API_KEY'], sep='|')"
    done = filled("run", "--prefix", "app/", "--strip-prefix", *python(source))
    assert (done.status, done.stdout, done.stderr) == (0, "value of app/db-password|value of app/api.key\n", "")


def test_bytes_that_are_no_text_reach_the_program(filled: Cli, store: Path) -> None:
    content = bytes(range(1, 256))
    (store / "key.bin").write_bytes(content)
    assert filled("set", "tls/key", "@key.bin", "--binary").status == 0
    done = filled("run", "--secret", "tls/key", *python("import os; print(os.environb[b'TLS_KEY'].hex())"))
    assert done.stdout.strip() == content.hex()


@pytest.mark.parametrize("principal", [[], ["--as", "someone"]], ids=["as oneself", "as another"])
def test_everything_is_recorded_before_the_program_starts(filled: Cli, store: Path, principal: list[str]) -> None:
    source = "import os; print(os.getpid(), open('audit.jsonl').read().splitlines()[-1])"
    done = filled(*principal, "run", "--secret", "app/db-password", *python(source))
    process, _, last = done.stdout.partition(" ")
    assert json.loads(last)["event"] == "closed"
    own = [event for event in trail(store) if event["pid"] == int(process)]
    assert [event["event"] for event in own] == ["opened", "get", "closed"]
    assert own[1]["key"] == "app/db-password"
    assert filled("audit", "verify").status == 0


def test_names_are_checked_before_anything_is_read(filled: Cli, store: Path) -> None:
    for problem in ("PATH=app/db-password", "APP_API_KEY=app/db-password", "PATH=nothing/there"):
        done = filled("run", "--prefix", "app", "--secret", problem, "--", "echo", "started")
        assert (done.status, done.stdout) == (125, "")
    reads = [event for event in trail(store) if event["event"] == "get"]
    assert reads == []


def test_no_handle_of_ours_is_open_in_the_program(filled: Cli, store: Path, home: Path) -> None:
    source = """if True:
        import os
        found = []
        for number in range(3, 256):
            try:
                found.append((number, os.fstat(number).st_ino, os.readlink(f"/dev/fd/{number}")))
            except OSError:
                continue
        print(found)
    """
    command = [str(Path(sys.executable).with_name("strongroom")), "run", "--secret", "app/db-password", *python(source)]
    done = subprocess.run(
        command, cwd=store, env=clean_environment(home), capture_output=True, text=True, close_fds=True, check=True
    )
    assert done.stdout == "[]\n"


def test_the_master_key_in_a_variable_opens_the_store_and_stays_outside(filled: Cli, store: Path) -> None:
    file = store / "strongroom.toml"
    file.write_text(file.read_text().replace('{ file = "master.key" }', '{ env = "STRONGROOM_MASTER_KEY" }'))
    key = (store / "master.key").read_text()
    (store / "master.key").unlink()
    done = filled("run", "--secret", "app/db-password", "--", "env", env={"STRONGROOM_MASTER_KEY": key})
    assert done.status == 0, done.stderr
    assert "APP_DB_PASSWORD=value of app/db-password" in done.stdout
    assert key.strip() not in done.stdout


def test_a_program_can_use_the_store_itself(filled: Cli) -> None:
    done = filled("run", "--secret", "app/db-password", "--", "strongroom", "get", "app/api.key")
    assert (done.status, done.stdout) == (0, "value of app/api.key")


def test_an_access_that_cannot_be_recorded_starts_nothing(filled: Cli, store: Path) -> None:
    if os.geteuid() == 0:
        # Rights do not hold root back; a folder in the file's place does.
        (store / "audit.jsonl").rename(store / "moved")
        (store / "audit.jsonl").mkdir()
    else:
        (store / "audit.jsonl").chmod(0o400)
    done = filled("run", "--secret", "app/db-password", "--", "echo", "started")
    assert (done.status, done.stdout) == (125, "")
    assert "value of" not in done.stderr
