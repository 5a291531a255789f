"""What is exported can be imported: names, texts and bytes, exactly."""

import contextlib
import json
import shutil
import sys

from collections.abc import Callable
from pathlib import Path

import dotenv
import pytest

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commandline import Cli
from strongroom.dotenv import dotenv_line
from strongroom.errors import InvalidValueError
from strongroom.model import SecretValue

HARD = {
    "EMPTY": "",
    "QUOTES": '()";@ \\ $HOME `id` %s %(x)s *',
    "BOTH": 'it\'s "said" \\ \\\\ #',
    "TWO_LINES": "two\nlines\n",
    "PEM": "-----BEGIN KEY-----\nabc\n-----END KEY-----\n",
    "UNICODE": "é \u2028 \U0001f511 $HOME {",
}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))) | st.text(
    st.sampled_from("'\"\\$`{}a #\r\n!=\t"), max_size=8
)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@pytest.fixture
def other(ready_store: Path, tmp_path: Path, cli_in: Callable[[Path], Cli]) -> Cli:
    """The command in a second store."""
    return cli_in(Path(shutil.copytree(ready_store, tmp_path / "other")))


def export_of(cli: Cli, *options: str) -> dict[str, object]:
    done = cli("export", "--prefix", "", "--format", "json", *options)
    content: dict[str, object] = json.loads(done.stdout)
    return content


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, TEXTS, min_size=1, max_size=4))
@example(HARD)
def test_python_dotenv_reads_what_is_written(tmp_path: Path, values: dict[str, str]) -> None:
    lines = {}
    for name, value in values.items():
        with contextlib.suppress(InvalidValueError):
            lines[name] = dotenv_line(name, SecretValue(value))
    file = tmp_path / ".env"
    file.write_bytes("".join(lines.values()).encode())
    # With its own defaults, so that it interpolates what it can.
    assert dotenv.dotenv_values(file) == {name: values[name] for name in lines}


def test_hard_values_are_all_written() -> None:
    """Else the example above would show nothing."""
    for name, value in HARD.items():
        assert dotenv_line(name, SecretValue(value)).startswith(f"{name}=")


def test_a_dotenv_file_goes_in_and_comes_out_the_same(cli: Cli, store: Path) -> None:
    text = "".join(dotenv_line(name, SecretValue(value)) for name, value in sorted(HARD.items()))
    (store / "a.env").write_bytes(text.encode())
    done = cli("import", "a.env", "--prefix", "app/")
    assert done.status == 0, done.stderr
    assert cli("export", "--prefix", "app/", "--strip-prefix", "--output", "b.env").status == 0
    assert (store / "b.env").read_bytes() == text.encode()
    source = "import json, os; print(json.dumps(dict(os.environ)))"
    run = cli("run", "--prefix", "app/", "--strip-prefix", "--", sys.executable, "-c", source)
    found = json.loads(run.stdout)
    assert {name: found[name] for name in HARD} == HARD


def test_all_of_a_store_goes_over_to_another_as_json(cli: Cli, other: Cli, store: Path) -> None:
    (store / "binary").write_bytes(bytes(range(256)))
    assert cli("set", "tls/key", "@binary", "--binary").status == 0
    assert cli("set", "tls/caf\u00e9 2", stdin="text that is also \u00e9").status == 0
    assert cli("set", "tls", stdin="").status == 0
    assert cli("export", "--prefix", "", "--format", "json", "--output", "all.json").status == 0
    done = other("import", str(store / "all.json"))
    assert done.status == 0, done.stderr
    assert export_of(other) == export_of(cli)
    described = json.loads(other("get", "tls/key", "--json").stdout)
    assert described["type"] == "binary"
    assert json.loads(other("get", "tls/caf\u00e9 2", "--json").stdout)["type"] == "text"


def test_a_binary_secret_does_not_become_a_variable_silently(cli: Cli) -> None:
    assert cli("set", "key", stdin="x").status == 0
    assert cli("rotate", "key").status == 0
    for form in ("dotenv", "shell"):
        done = cli("export", "key", "--format", form)
        assert (done.status, done.stdout) == (2, "")
        assert "KEY" in done.stderr


def test_an_import_is_recorded_secret_by_secret(cli: Cli, store: Path) -> None:
    (store / "a.env").write_text("A=1\nB=2\n")
    assert cli("import", "a.env", "--prefix", "app").status == 0
    events = [json.loads(line) for line in (store / "audit.jsonl").read_text().splitlines()]
    writes = [(event["key"], event["phase"]) for event in events if event["event"] == "set"]
    assert writes == [("app/A", "attempt"), ("app/A", "outcome"), ("app/B", "attempt"), ("app/B", "outcome")]


def test_an_import_from_standard_input(cli: Cli) -> None:
    assert cli("import", "-", stdin="A='x y'\n").status == 0
    assert cli("get", "A").stdout == "x y"
    assert cli("import", "-", "--format", "json", stdin='{"b": "z"}').status == 0
    assert cli("get", "b").stdout == "z"


def test_no_value_stands_in_the_trail_after_moving_it_about(cli: Cli, store: Path) -> None:
    (store / "a.env").write_text("A=a-value-that-is-long-enough\n")
    cli("import", "a.env")
    cli("export", "A")
    cli("import", "a.env")
    assert "a-value-that" not in (store / "audit.jsonl").read_text()
