"""Secrets written out for other tools: exact, private, and nothing on a problem."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess

from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.output import write_private
from strongroom.errors import ConfigurationError

HARD = {
    "app/empty": "",
    "app/quotes": "()\"';@ \\ $HOME `id` %s %(x)s *",
    "app/lines": "two\nlines\n",
    "app/dash": "-n",
    "app/back": "ends in\\",
    "app/cr": "a\r\nb\r",
    "app/unicode": "é \u2028 \U0001f511",
}


@pytest.fixture
def hard(shelf: Any) -> Any:
    """A folder with values that are hard to write down."""
    shelf.fill(HARD)
    return shelf


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_that_evaluates_the_output_has_the_exact_bytes(hard: Any, shell: str) -> None:
    script = 'eval "$(strongroom export --prefix app/ --format shell)"; env -0'
    scripts = str(Path(hard.start("--version").args[0]).parent)
    variables = hard.variables | {"PATH": f"{scripts}{os.pathsep}{hard.variables['PATH']}"}
    done = subprocess.run([shell, "-c", script], cwd=hard.folder, env=variables, capture_output=True, check=True)
    found = dict(entry.split(b"=", 1) for entry in done.stdout.split(b"\0") if entry)
    expected = {name.upper().replace("/", "_"): text for name, text in HARD.items()}
    assert {name: found[name.encode()].decode() for name in expected} == expected
    assert done.stderr == b""


def test_json_keeps_names_and_texts(hard: Any) -> None:
    done = hard("export", "--prefix", "app/", "--format", "json")
    assert json.loads(done.stdout) == HARD
    assert done.stdout.isascii(), "it means the same in every encoding"


def test_json_names_lose_the_prefix_if_asked(hard: Any) -> None:
    done = hard("export", "--prefix", "app/", "--strip-prefix", "--format", "json")
    assert json.loads(done.stdout) == {name.removeprefix("app/"): text for name, text in HARD.items()}


def test_json_takes_other_names_and_fields(shelf: Any) -> None:
    shelf.fill({"db": json.dumps({"user": "u"})})
    done = shelf("export", "db#user", "WHO=db#user", "--format", "json")
    assert json.loads(done.stdout) == {"db#user": "u", "WHO": "u"}


def test_names_that_are_the_same_without_their_prefixes_are_refused_in_json(shelf: Any) -> None:
    shelf.fill({"a/x": "1", "b/x": "2"})
    done = shelf("export", "--prefix", "a", "--prefix", "b", "--strip-prefix", "--format", "json")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"a/x and b/x" in done.stderr


def test_dotenv_is_what_comes_without_asking(shelf: Any) -> None:
    shelf.fill({"app/url": "http://h/?a=1", "app/plain": "x"})
    assert shelf("export", "--prefix", "app/").stdout == b"APP_PLAIN=x\nAPP_URL='http://h/?a=1'\n"
    assert shelf("export", "URL=app/url").stdout == b"URL='http://h/?a=1'\n"


def test_a_value_that_a_format_cannot_express_leaves_nothing_written(shelf: Any) -> None:
    shelf.fill({"app/a": "fine", "app/nul": "x\0y"})
    for form in ("dotenv", "shell"):
        done = shelf("export", "--prefix", "app/", "--format", form, "--output", "out")
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"APP_NUL" in done.stderr
        assert not (shelf.folder / "out").exists()


def test_a_value_that_a_shell_would_run_from_a_dotenv_file_is_refused_there(shelf: Any) -> None:
    shelf.fill({"app/a": "fine", "app/b": "it's $(touch ran)"})
    done = shelf("export", "--prefix", "app/", "--output", "out.env")
    assert done.returncode == 2
    assert b"APP_B" in done.stderr
    assert b"--format shell" in done.stderr
    assert not (shelf.folder / "out.env").exists()
    assert shelf("export", "--prefix", "app/", "--format", "shell").returncode == 0


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_an_export_that_fails_half_way_leaves_nothing(shelf: Any, force: list[str]) -> None:
    shelf.fill({"big": "x" * 10_000})
    before = set(os.listdir(shelf.folder))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))

    # Python would write what it has compiled as far as the limit goes, too.
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    done = shelf("export", "big", "--output", "out.env", *force, preexec_fn=limit, env=env)
    assert done.returncode == 2
    assert b"out.env cannot be written" in done.stderr
    assert set(os.listdir(shelf.folder)) == before


def test_clashes_and_special_variables_are_refused_as_for_run(shelf: Any) -> None:
    shelf.fill({"a-b": "1", "a.b": "2", "path": "3"})
    assert shelf("export", "a-b", "a.b").returncode == 2
    assert b"--allow-special PATH" in shelf("export", "path", "--format", "shell").stderr
    assert shelf("export", "path", "--allow-special", "PATH").stdout == b"PATH=3\n"
    assert json.loads(shelf("export", "a-b", "a.b", "path", "--format", "json").stdout).keys() == {"a-b", "a.b", "path"}


@pytest.mark.parametrize("arguments", [[], ["--prefix", "none/"], ["app/none"]])
def test_nothing_to_export_is_an_error(shelf: Any, arguments: list[str]) -> None:
    done = shelf("export", *arguments)
    assert done.returncode in {2, 3}
    assert done.stdout == b""


def test_the_file_is_private_from_birth_and_nothing_else_is_left(shelf: Any) -> None:
    before = set(os.listdir(shelf.folder))
    done = shelf("export", "app/db-password", "--output", "out.env", umask=0)
    assert (done.returncode, done.stdout) == (0, b"")
    file = shelf.folder / "out.env"
    assert file.read_bytes() == b"APP_DB_PASSWORD=s3cret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert set(os.listdir(shelf.folder)) == before | {"out.env"}


def test_a_file_that_is_there_stays_unless_forced(shelf: Any) -> None:
    file = shelf.folder / "out.env"
    file.write_text("precious")
    file.chmod(0o644)
    done = shelf("export", "app/db-password", "--output", "out.env")
    assert done.returncode == 2
    assert b"--force" in done.stderr
    assert file.read_text() == "precious"
    assert shelf("export", "app/db-password", "--output", "out.env", "--force").returncode == 0
    assert file.read_bytes() == b"APP_DB_PASSWORD=s3cret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_link_is_never_written_through(shelf: Any, force: list[str]) -> None:
    target = shelf.folder / "elsewhere"
    target.write_text("precious")
    (shelf.folder / "out.env").symlink_to(target)
    done = shelf("export", "app/db-password", "--output", "out.env", *force)
    assert done.returncode == (0 if force else 2)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("path", ["no/such/folder/out", "."])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        write_private(str(tmp_path / path), b"x", replace=True)
    assert os.listdir(tmp_path) == []


def test_at_a_terminal_a_note_comes_first(shelf: Any) -> None:
    ours, theirs = os.openpty()
    process = shelf.start("export", "app/db-password", stdout=theirs)
    os.close(theirs)
    shown = os.read(ours, 1024)
    _, notes = process.communicate(b"", timeout=60)
    os.close(ours)
    assert b"APP_DB_PASSWORD=s3cret" in shown
    assert b"--output" in notes
