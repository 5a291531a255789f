"""References in inherited variables and in `.env` files: the program finds the secrets in their places."""

from __future__ import annotations

import json
import sys

from pathlib import Path
from typing import Any

import pytest

from strongroom.testing.leaks import leaks_in, marker_value

WHOLE = "strongroom://app/db-password"
WITHIN = "postgresql://shop:${strongroom://app/db-password}@db/shop"


@pytest.fixture
def filled(shelf: Any) -> Any:
    shelf.fill({"app/db-password": "s3cret", "db/config": json.dumps({"user": "u", "port": 5432}), "odd#n": "odd"})
    return shelf


def env_file(shelf: Any, text: str, name: str = ".env") -> str:
    (shelf.folder / name).write_text(text)
    return name


def refused(shelf: Any, *options: str, env: dict[str, str] | None = None) -> str:
    """Return what was said, once it is sure that nothing was started."""
    done = shelf("run", *options, "--", "/bin/echo", "started", env=env or {})
    assert (done.returncode, done.stdout) == (125, b"")
    said: str = done.stderr.decode()
    return said


def test_inherited_references_are_replaced_without_anything_else_being_named(filled: Any) -> None:
    given = {
        "A": WHOLE,
        "B": WITHIN,
        "C": "${strongroom://db/config#user}:${strongroom://db/config#port}",
        "D": "strongroom://odd%23n",
        "E": "vault://app/db-password",
        "F": f"see {WHOLE}",
        "G": "",
    }
    found = filled.seen(env=given)
    assert {name: found[name] for name in given} == {
        "A": "s3cret",
        "B": "postgresql://shop:s3cret@db/shop",
        "C": "u:5432",
        "D": "odd",
        "E": given["E"],
        "F": given["F"],
        "G": "",
    }


def test_the_value_is_handed_over_exactly_and_not_looked_at_again(filled: Any) -> None:
    hard = "()\"';@ \\ $HOME `id` %s %(x)s * ${strongroom://app/db-password}\n"
    filled.fill({"v": hard})
    source = "import os, sys; sys.stdout.buffer.write(os.environb[b'V'] + os.environb[b'W'])"
    done = filled.python(source, env={"V": "strongroom://v", "W": "<${strongroom://v}>"})
    assert done.stdout == f"{hard}<{hard}>".encode()


def test_bytes_around_a_reference_stay_the_same(filled: Any) -> None:
    source = "import os, sys; sys.stdout.buffer.write(os.environb[b'V'])"
    done = filled.python(source, env={"V": b"\xff\xe9:${strongroom://app/db-password}:\x80", "LC_ALL": "C"})
    assert done.stdout == b"\xff\xe9:s3cret:\x80"


def test_inherited_references_can_be_left_alone(filled: Any) -> None:
    found = filled.seen("--no-references", "--secret", "OTHER=app/db-password", env={"A": WHOLE, "B": "strongroom://"})
    assert (found["A"], found["B"], found["OTHER"]) == (WHOLE, "strongroom://", "s3cret")
    assert "no secret" in refused(filled, "--no-references", env={"A": WHOLE})


def test_a_pristine_program_gets_what_inherited_references_stand_for(filled: Any) -> None:
    found = filled.seen("--pristine", env={"A": WHOLE, "B": "plain"})
    assert found.keys() & {"A", "B"} == {"A"}
    assert found["A"] == "s3cret"


def test_what_opens_the_stores_is_neither_resolved_nor_handed_over(filled: Any) -> None:
    given = {"STRONGROOM_MASTER_KEY": "strongroom://nothing/there", "A": WHOLE}
    assert "STRONGROOM_MASTER_KEY" not in filled.seen(env=given)


def test_a_file_of_references_needs_nothing_else(filled: Any) -> None:
    name = env_file(filled, f"# committed\nDB_URL={WITHIN}\nexport USER_NAME='strongroom://db/config#user'\n")
    found = filled.seen("--env-file", name)
    assert (found["DB_URL"], found["USER_NAME"]) == ("postgresql://shop:s3cret@db/shop", "u")


def test_a_plain_value_in_a_file_is_refused_unless_that_is_allowed(filled: Any) -> None:
    marker = marker_value().replace('"', "").replace("\\", "")
    name = env_file(filled, f"A={WHOLE}\nPLAIN={marker}\nEMPTY=\n")
    said = refused(filled, "--env-file", name)
    assert "PLAIN in .env" in said
    assert "EMPTY in .env" in said
    assert "A in .env" not in said
    assert leaks_in(said, marker) == []
    found = filled.seen("--env-file", name, "--allow-plain")
    assert (found["A"], found["PLAIN"], found["EMPTY"]) == ("s3cret", marker, "")


def test_a_file_wins_over_what_is_inherited_and_over_an_earlier_file(filled: Any) -> None:
    first = env_file(filled, f"A={WHOLE}\nB=strongroom://nothing/there\n", "first.env")
    second = env_file(filled, "B=strongroom://db/config#user\n", "second.env")
    options = ["--env-file", first, "--env-file", second]
    done = filled("run", *options, "--", "sh", "-c", 'echo "$A $B"', env={"A": "strongroom://nothing/else"})
    assert (done.returncode, done.stdout) == (0, b"s3cret u\n")
    assert done.stderr == b"strongroom: note: A in first.env wins over the inherited variable\n"
    assert filled("run", *options, "--", "true").stderr == b""


def test_the_command_line_wins_over_files_and_references_and_says_so(filled: Any) -> None:
    name = env_file(filled, "A=strongroom://nothing/there\n")
    options = ["--env-file", name, "--secret", "A=app/db-password", "--secret", "B=app/db-password"]
    done = filled("run", *options, "--", "sh", "-c", 'echo "$A $B"', env={"B": "strongroom://nothing/else"})
    assert (done.returncode, done.stdout) == (0, b"s3cret s3cret\n"), done.stderr
    assert b"A in .env is replaced by the secret app/db-password" in done.stderr
    assert b"B is replaced by the secret app/db-password" in done.stderr


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "STRONGROOM_MASTER_KEY"])
@pytest.mark.parametrize("plain", [True, False])
def test_a_file_needs_leave_for_a_variable_that_decides_which_code_runs(
    filled: Any, variable: str, plain: bool
) -> None:
    name = env_file(filled, f"{variable}={'/tmp/x' if plain else WHOLE}\n")
    said = refused(filled, "--env-file", name, "--allow-plain")
    assert f"--allow-special {variable}" in said
    done = filled(
        "run", "--env-file", name, "--allow-plain", "--allow-special", variable, "--", sys.executable, "-c", ""
    )
    assert done.returncode == 0


def test_an_inherited_reference_needs_leave_for_such_a_variable_and_a_plain_one_does_not(filled: Any) -> None:
    said = refused(filled, env={"ENV": WITHIN, "A": WHOLE})
    assert "--allow-special ENV" in said
    assert filled.seen("--allow-special", "ENV", env={"ENV": WHOLE})["ENV"] == "s3cret"
    assert filled.seen(env={"ENV": "plain", "A": WHOLE})["ENV"] == "plain"


def test_everything_that_is_not_there_is_named_before_anything_starts(filled: Any) -> None:
    name = env_file(filled, "B=strongroom://b/missing\nC=strongroom://db/config#nothing\n")
    said = refused(filled, "--env-file", name, "--secret", "d/missing", env={"A": "x${strongroom://a/missing}"})
    for wanted in ("a/missing", "b/missing", "d/missing", "db/config has no field 'nothing'"):
        assert wanted in said


@pytest.mark.parametrize("way", ["warn", "ignore"])
def test_what_is_not_there_can_be_left_out(filled: Any, way: str) -> None:
    name = env_file(filled, f"B=strongroom://missing\nC={WITHIN}:${{strongroom://db/config#nothing}}\nD={WHOLE}\n")
    options = ["--env-file", name, "--secret", "E=missing", "--if-missing", way]
    inherited = {"A": "strongroom://missing", "B": "an old one", "E": "an old one"}
    done = filled("run", *options, "--", sys.executable, "-c", "import os; print(*os.environ)", env=inherited)
    assert done.returncode == 0, done.stderr
    assert {"A", "B", "C", "D", "E"} & set(done.stdout.decode().split()) == {"D"}
    told = [f"{variable} is left out" in done.stderr.decode() for variable in ("A", "B in .env", "C in .env", "E")]
    assert told == [way == "warn"] * 4


@pytest.mark.parametrize("trouble", ["outage", "denial"])
def test_an_outage_or_a_denial_is_never_taken_for_a_missing_secret(filled: Any, trouble: str) -> None:
    if trouble == "denial":
        filled.fill(
            {"x": "1"}, '[[policies]]\nprincipal = "nobody"\neffect = "allow"\nactions = ["read"]\nnames = ["**"]'
        )
    else:
        use_bytes(filled, {"x": "1"})
    said = refused(filled, "--if-missing", "ignore", env={"A": "strongroom://b/x"})
    assert ("may not read" if trouble == "denial" else "it is away") in said


def test_every_malformed_reference_is_named_and_nothing_that_stands_around_it(filled: Any) -> None:
    marker = marker_value().replace('"', "").replace("\\", "")
    name = env_file(filled, f"B='{marker}${{strongroom://db/password:{marker}'\nC=strongroom://x#\n")
    said = refused(filled, "--env-file", name, env={"A": f"{marker}${{strongroom://a//{marker}}}", "D": WHOLE})
    for wanted in ("A:", "B in .env:", "C in .env:"):
        assert wanted in said
    assert "D" not in said.split()
    assert leaks_in(said, marker) == []


def test_a_file_that_is_odd_or_not_there_starts_nothing(filled: Any) -> None:
    assert "nothing.env cannot be read" in refused(filled, "--env-file", "nothing.env")
    marker = marker_value()
    name = env_file(filled, f"A={WHOLE}\nno assignment {marker}\n")
    said = refused(filled, "--env-file", name)
    assert "line 2" in said
    assert leaks_in(said, marker) == []


def test_a_value_with_a_nul_fits_nowhere(filled: Any) -> None:
    marker = marker_value()
    filled.fill({"v": f"{marker}\0"})
    for text in ("strongroom://v", "x${strongroom://v}"):
        said = refused(filled, env={"A": text})
        assert "v holds a NUL" in said
        assert leaks_in(said, marker) == []


def test_bytes_that_are_no_text_go_over_whole_but_not_within_text(shelf: Any) -> None:
    content = bytes(range(1, 256))
    (shelf.folder / "value").write_bytes(content)
    use_bytes(shelf, {})
    source = "import os; print(os.environb[b'V'].hex())"
    assert shelf.python(source, env={"V": "strongroom://b/x"}).stdout.decode().strip() == content.hex()
    said = refused(shelf, env={"V": "x${strongroom://b/x}"})
    assert "b/x is not text" in said


BYTES = """
from strongroom.contracts import Backend, BackendSpec, ReadResult, Record
from strongroom.errors import BackendUnavailableError
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue


class Settings(Record):
    pass


class Bytes(Backend):
    address = "bytes"

    def read(self, request):
        try:
            return ReadResult(value=SecretValue(open("value", "rb").read()), version="1")
        except OSError:
            raise BackendUnavailableError("it is away")


@hookimpl
def strongroom_backends():
    yield BackendSpec(name="told-bytes", summary="Bytes.", settings=Settings, open=lambda settings: Bytes())
"""


def use_bytes(shelf: Any, seed: dict[str, str]) -> None:
    """Have the names below `b/` come from a backend that answers with the bytes of the file `value`, if it is there."""
    info = shelf.folder / "site" / "toldbytes-1.0.dist-info"
    info.mkdir(parents=True)
    (info.parent / "toldbytes.py").write_text(BYTES)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toldbytes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[strongroom.backends]\ntold-bytes = toldbytes\n")
    shelf.variables["PYTHONPATH"] = str(info.parent)
    shelf.fill(seed, '[backends.files]\ntype = "told-bytes"\n[routes]\n"b/" = "files"')


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="only Linux shows argument lists as files")
def test_no_value_of_a_reference_stands_in_the_argument_list(filled: Any) -> None:
    marker = marker_value()
    filled.fill({"v": marker})
    done = filled.python("import sys; sys.stdout.write(open('/proc/self/cmdline').read())", env={"A": "strongroom://v"})
    assert b"cmdline" in done.stdout
    assert leaks_in(done.stdout.decode(), marker) == []
