"""What the program finds in its environment: the chosen secrets exactly, and not what opens the stores."""

from __future__ import annotations

import json
import subprocess
import sys

from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.leaks import leaks_in, marker_value

SECRET = ("--secret", "app/db-password")

EXACT = [
    "",
    "()\"';@ \\ $HOME `id` %s %(x)s *",
    "two\nlines\n",
    "-n",
    "trailing blank ",
    "= é \u2028 \x85 \x1b[31m",
    "\r\n",
]


@pytest.mark.parametrize("value", EXACT)
def test_the_program_gets_the_exact_bytes(shelf: Any, value: str) -> None:
    shelf.fill({"v": value})
    done = shelf.python("import os, sys; sys.stdout.buffer.write(os.environb[b'V'])", "--secret", "v")
    assert done.stdout == value.encode()
    assert done.stderr == b""


def test_a_value_that_holds_a_nul_starts_nothing_and_only_the_variable_is_named(shelf: Any) -> None:
    marker = marker_value()
    shelf.fill({"tls/key": f"{marker}\0", "app/db-password": "s3cret"})
    done = shelf("run", *SECRET, "--secret", "tls/key", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"TLS_KEY" in done.stderr
    assert leaks_in(done.stderr.decode(), marker) == []


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux shows argument lists as files")
def test_no_value_stands_in_the_argument_list(shelf: Any) -> None:
    marker = marker_value()
    shelf.fill({"v": marker})
    done = shelf.python("import sys; sys.stdout.write(open('/proc/self/cmdline').read())", "--secret", "v")
    assert b"cmdline" in done.stdout
    assert leaks_in(done.stdout.decode(), marker) == []


@pytest.mark.parametrize(
    ("options", "variable"),
    [
        (["--secret", "app/db-password"], "APP_DB_PASSWORD"),
        (["--secret", "app/db-password", "--keep-case"], "app_db_password"),
        (["--secret", "PGPASSWORD=app/db-password"], "PGPASSWORD"),
        (["--secret", "mixedCase=app/db-password"], "mixedCase"),
        (["--prefix", "app/"], "APP_DB_PASSWORD"),
        (["--prefix", "app"], "APP_DB_PASSWORD"),
        (["--prefix", ""], "APP_DB_PASSWORD"),
        (["--prefix", "app/", "--strip-prefix"], "DB_PASSWORD"),
        (["--prefix", "app", "--strip-prefix", "--secret", "app/db-password"], "DB_PASSWORD"),
        (["--prefix", "", "--strip-prefix"], "APP_DB_PASSWORD"),
    ],
)
def test_a_name_becomes_a_variable(shelf: Any, options: list[str], variable: str) -> None:
    found = shelf.seen(*options)
    assert found[variable] == "s3cret"
    assert list(found.values()).count("s3cret") == 1


def test_all_below_a_prefix_goes_and_nothing_beside_it(shelf: Any) -> None:
    shelf.fill({"app/a": "1", "app/deep/b.c": "2", "apple/c": "3", "app": "4"})
    found = shelf.seen("--prefix", "app/", "--pristine")
    assert {name: found[name] for name in found if name.startswith("APP")} == {"APP_A": "1", "APP_DEEP_B_C": "2"}


def test_one_field_of_a_json_object_can_be_taken(shelf: Any) -> None:
    shelf.fill({"db/config": json.dumps({"user": "u", "port": 5432})})
    found = shelf.seen("--secret", "PGUSER=db/config#user", "--secret", "db/config#port")
    assert found["PGUSER"] == "u"
    assert found["DB_CONFIG_PORT"] == "5432"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a/b-c", "a/b.c"], ["A_B_C", "a/b-c", "a/b.c"]),
        (["a/b", "A/B"], ["A_B", "a/b", "A/B"]),
        (["9lives"], ["9lives", "VARIABLE="]),
        (["caf\u00e9"], ["VARIABLE="]),
        (["stra\u00dfe"], ["VARIABLE="]),
        (["a b"], ["a b", "VARIABLE="]),
        (["a=b"], ["VARIABLE="]),
    ],
)
def test_names_that_make_no_variable_or_one_twice_stop_the_start(
    shelf: Any, names: list[str], words: list[str]
) -> None:
    shelf.fill(dict.fromkeys(["fine", *(f"x/{name}" for name in names)], "v"))
    done = shelf("run", "--secret", "fine", "--prefix", "x", "--strip-prefix", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, b"")
    for word in words:
        assert word in done.stderr.decode()


def test_an_explicit_variable_solves_a_clash(shelf: Any) -> None:
    shelf.fill({"a/b-c": "1", "a/b.c": "2"})
    found = shelf.seen("--secret", "a/b-c", "--secret", "OTHER=a/b.c")
    assert (found["A_B_C"], found["OTHER"]) == ("1", "2")


@pytest.mark.parametrize(
    "variable",
    [
        "PATH",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "PYTHONPATH",
        "BASH_ENV",
        "ENV",
        "IFS",
        "SHELLOPTS",
        "NODE_OPTIONS",
    ],
)
def test_a_variable_that_decides_which_code_runs_needs_leave(shelf: Any, variable: str) -> None:
    done = shelf("run", "--secret", f"{variable}=app/db-password", "--", "/bin/echo", "started")
    assert (done.returncode, done.stdout) == (125, b"")
    assert f"--allow-special {variable}" in done.stderr.decode()


def test_leave_is_given_for_one_variable_only(shelf: Any) -> None:
    chosen = ["--secret", "ENV=app/db-password", "--allow-special", "ENV"]
    assert shelf.seen(*chosen)["ENV"] == "s3cret"
    done = shelf("run", *chosen, "--secret", "IFS=app/db-password", "--", "echo", "started")
    assert done.returncode == 125


def test_the_secret_wins_over_what_is_inherited_and_a_note_says_so(shelf: Any) -> None:
    done = shelf("run", *SECRET, "--", "sh", "-c", "printf %s $APP_DB_PASSWORD", env={"APP_DB_PASSWORD": "old"})
    assert done.stdout == b"s3cret"
    (note,) = done.stderr.decode().splitlines()
    assert "APP_DB_PASSWORD" in note
    assert "s3cret" not in note
    assert "old" not in note


def test_other_variables_are_inherited_byte_for_byte(shelf: Any) -> None:
    environment = {b"ODD": b"\xff\xfe=", b"EMPTY": b"", b"PATH": shelf.variables["PATH"].encode()}
    source = "import os, sys; sys.stdout.buffer.write(os.environb[b'ODD'] + b'|' + os.environb[b'EMPTY'])"
    assert shelf.python(source, *SECRET, env=environment).stdout == b"\xff\xfe=|"


def test_a_variable_without_a_name_is_not_handed_on(shelf: Any) -> None:
    done = subprocess.run(
        ["env", "=odd", *map(str, shelf.start("run", *SECRET, "--", "env").args)],
        cwd=shelf.folder,
        env=shelf.variables,
        capture_output=True,
        check=True,
    )
    assert b"APP_DB_PASSWORD=s3cret" in done.stdout.splitlines()
    assert b"odd" not in done.stdout
    assert done.stderr == b""


@pytest.mark.parametrize("text", ["app/db-password#", "X=app/db-password#"])
def test_a_field_without_a_name_is_not_the_whole_value(shelf: Any, text: str) -> None:
    done = shelf("run", "--secret", text, "--", "echo", "started")
    assert (done.returncode, done.stdout) == (125, b"")


CREDENTIALS = {
    "STRONGROOM_MASTER_KEY": "1",
    "SEED_VARIABLE": "2",
    "SPAN_KEY": "3",
    "STRONGROOM_BACKENDS__MAIN__KEEP_VERSIONS": "4",
}


@pytest.fixture
def guarded(shelf: Any) -> Any:
    """A folder whose configuration takes secrets of its own from the environment."""
    shelf.fill({"app/db-password": "s3cret"}, '[telemetry]\nkey = {env = "SPAN_KEY"}')
    file = shelf.folder / "strongroom.toml"
    file.write_text(file.read_text().replace(".seed]\n", '.seed]\n"own" = {env = "SEED_VARIABLE"}\n'))
    shelf.variables |= CREDENTIALS | {"OTHER": "5", "STRONGROOM_CONFIG": str(file)}
    return shelf


def test_what_opens_the_stores_is_kept_from_the_program(guarded: Any) -> None:
    found = guarded.seen(*SECRET)
    assert found.keys() & CREDENTIALS == set()
    assert found["OTHER"] == "5"
    assert "STRONGROOM_CONFIG" in found


def test_what_opens_the_stores_can_be_passed_on(guarded: Any) -> None:
    found = guarded.seen(*SECRET, "--pass-credentials")
    assert {name: found.get(name) for name in CREDENTIALS} == CREDENTIALS


def test_one_of_the_credentials_can_be_kept(guarded: Any) -> None:
    found = guarded.seen(*SECRET, "--keep", "SPAN_KEY")
    assert found.keys() & CREDENTIALS == {"SPAN_KEY"}


def test_a_chosen_secret_may_have_the_name_of_a_credential(guarded: Any) -> None:
    assert guarded.seen("--secret", "SPAN_KEY=app/db-password")["SPAN_KEY"] == "s3cret"


@pytest.mark.parametrize(
    "variable",
    [
        "STRONGROOM_Backends__main__SEED__X",
        "STRONGROOM_BACKENDS__MAIN__SEED__DEEP",
        "STRONGROOM_CACHE__MAX_ENTRIES",
        "STRONGROOM_TELEMETRY__KEY",
        "STRONGROOM_ANOMALY__KEY",
    ],
)
def test_no_variable_that_is_meant_as_a_setting_reaches_the_program(shelf: Any, variable: str) -> None:
    """However deep it leads, and be it one that is ignored."""
    assert variable not in shelf.seen(*SECRET, env={variable: "77"})
    assert variable in shelf.seen(*SECRET, "--keep", variable, env={variable: "77"})


def test_a_variable_with_small_letters_is_no_setting(shelf: Any) -> None:
    assert shelf("get", "odd", env={"STRONGROOM_Backends__main__SEED__odd": "x"}).returncode != 0


def test_a_reference_that_an_overlay_overrides_is_kept_from_the_program(shelf: Any) -> None:
    shelf.fill({"app/db-password": "s3cret"}, '[telemetry]\nkey = {env = "PRODUCTION_KEY"}')
    (shelf.folder / "strongroom.local.toml").write_text('[telemetry]\nkey = {env = "OWN_KEY"}\n')
    found = shelf.seen(*SECRET, env={"PRODUCTION_KEY": "1", "OWN_KEY": "2"})
    assert found.keys() & {"PRODUCTION_KEY", "OWN_KEY"} == set()


@pytest.mark.parametrize("refers", [True, False])
def test_the_way_to_systemd_s_credentials_is_kept_back_if_one_is_referred_to(shelf: Any, refers: bool) -> None:
    (shelf.folder / "span").write_text("k")
    kind = "credential" if refers else "file"
    shelf.fill({"app/db-password": "s3cret"}, f'[telemetry]\nkey = {{{kind} = "span"}}')
    folder = {"CREDENTIALS_DIRECTORY": str(shelf.folder)}
    assert ("CREDENTIALS_DIRECTORY" in shelf.seen(*SECRET, env=folder)) is not refers
    assert "CREDENTIALS_DIRECTORY" in shelf.seen(*SECRET, "--keep", "CREDENTIALS_DIRECTORY", env=folder)


def test_a_pristine_program_gets_the_secrets_and_little_else(guarded: Any) -> None:
    kept = {
        "USER": "u",
        "LOGNAME": "l",
        "SHELL": "/bin/sh",
        "TERM": "dumb",
        "TZ": "UTC",
        "TMPDIR": "/tmp",
        "LC_TIME": "C",
    }
    found = guarded.seen(*SECRET, "--pristine", env=kept | {"EDITOR": "ed"})
    # macOS and the C library may add variables of their own to a Python program.
    expected = {"APP_DB_PASSWORD", "PATH", "HOME", "LANG", *kept}
    assert found.keys() - {"LC_CTYPE", "__CF_USER_TEXT_ENCODING"} == expected


def test_a_pristine_program_can_be_given_more(guarded: Any) -> None:
    found = guarded.seen(*SECRET, "--pristine", "--keep", "OTHER", "--pass-credentials")
    assert found["OTHER"] == "5"
    assert "SPAN_KEY" not in found


def test_the_program_runs_where_the_command_was_called(shelf: Any) -> None:
    done = shelf("run", *SECRET, "--", sys.executable, "-c", "import os; print(os.getcwd())")
    assert Path(done.stdout.decode().strip()).samefile(shelf.folder)


def test_a_value_that_is_too_large_for_an_environment_is_explained(shelf: Any) -> None:
    shelf.fill({"big": "x" * 3_000_000})
    done = shelf("run", "--secret", "big", "--", "echo", "started")
    assert (done.returncode, done.stdout) == (126, b"")
    assert b"too large" in done.stderr
    assert b"xxx" not in done.stderr
