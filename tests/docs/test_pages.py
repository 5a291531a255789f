"""Each example in the documentation does what the page says."""

import os
import shutil
import subprocess
import sys
import zipfile

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import moto_server
import postgres

from _workspace import ROOT
from awsclient import ACCESS_KEY, REGION, SECRET_KEY
from commandline import clean_environment
from openbao import Server, development_server
from pages import (
    RUN,
    Block,
    PageError,
    Session,
    blocks,
    commands,
    edited,
    matches,
    needs_aws,
    needs_postgres,
    needs_server,
    needs_wheels,
    problems,
    starts_empty,
)
from sources import tracked_files
from wheels import Built, built_once, run

PAGES = [
    file
    for file in tracked_files()
    if file.suffix == ".md"
    and (file.is_relative_to(ROOT / "docs") or file.name in {"README.md", "CONTRIBUTING.md", "SECURITY.md"})
]
# What tells programs how to reach a package index, beside pip's own settings.
REACH = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE"}
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "page"


@pytest.fixture
def session(folder: Path, home: Path) -> Iterator[Callable[..., Session]]:
    """Make the session of a page by its name, with further variables; all are closed when the test ends."""
    opened: list[Session] = []
    environment = clean_environment(home, COLUMNS="120")

    def start(name: str, **more: str) -> Session:
        opened.append(Session(folder, environment | more, name))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An OpenBao of the page's own."""
    home = tmp_path / "openbao"
    home.mkdir()
    with development_server(home) as started:
        yield started


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[moto_server.Emulator]:
    """An emulator of AWS of the page's own."""
    home = tmp_path / "emulator"
    home.mkdir()
    with moto_server.emulator(home) as started:
        yield started


@pytest.fixture
def postgres_variables(home: Path) -> Iterator[dict[str, str]]:
    """The variables that lead to a PostgreSQL of the page's own, as its superuser."""
    with postgres.database() as started:
        yield {
            "PATH": f"{postgres.programs()}{os.pathsep}{clean_environment(home)['PATH']}",
            "PGHOST": "127.0.0.1",
            "PGPORT": str(started.port),
            "PGDATABASE": "postgres",
            "PGUSER": "postgres",
            "PGPASSWORD": postgres.PASSWORD,
            "POSTGRES_ADMIN_PASSWORD": postgres.PASSWORD,
        }


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel of every distribution of ours."""
    return built_once(tmp_path_factory)


@pytest.fixture
def wheel_variables(built: Built, tmp_path: Path) -> dict[str, str]:
    """The variables of somebody who has nothing but `python3`, and for whose pip our names lead to our wheels."""
    python = os.path.realpath(sys.executable)
    if subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False).returncode:
        pytest.skip("needs a Python that can make environments with pip: apt-get install python3-venv")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "python3").write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
    (programs / "python3").chmod(0o755)
    # How this machine reaches an index is no part of the page.
    reach = {name: value for name, value in os.environ.items() if name.startswith("PIP_") or name in REACH}
    return reach | {
        "PATH": f"{programs}{os.pathsep}{os.defpath}",
        "PIP_CONSTRAINT": f"{built.constraints} {ROOT / 'constraints.txt'}",
        "PIP_BUILD_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@each_page
def test_the_examples_of_a_page_work(
    page: Path, folder: Path, session: Callable[..., Session], request: pytest.FixtureRequest
) -> None:
    """All of a page in one test: its examples build on each other."""
    text = page.read_text()
    if not any(block.language in RUN and block.remark != "not run" for block in blocks(text)):
        return
    if starts_empty(text) or needs_wheels(text):
        folder.mkdir()
    else:
        shutil.copytree(request.getfixturevalue("ready_store"), folder)
    server = request.getfixturevalue("server") if needs_server(text) else None
    variables = {"BAO_ADDR": server.address, "BAO_TOKEN": server.token} if server else {}
    if needs_aws(text):
        variables |= {
            "AWS_ENDPOINT_URL": request.getfixturevalue("emulator").url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
    if needs_postgres(text):
        variables |= request.getfixturevalue("postgres_variables")
    if needs_wheels(text):
        variables |= request.getfixturevalue("wheel_variables")
    reader = session(str(page.relative_to(ROOT)), **variables)
    for block in blocks(text):
        reader.run(block)


@each_page
def test_the_blocks_of_a_page_are_of_a_kind_that_is_run(page: Path) -> None:
    assert problems(page.read_text()) == []


def block(content: str, language: str = "console", remark: str = "") -> Block:
    return Block(1, language, content, remark, "")


class TestRunner:
    """The runner itself: one that accepts anything would prove nothing."""

    @pytest.fixture
    def reader(self, folder: Path, session: Callable[..., Session]) -> Session:
        folder.mkdir()
        return session("page.md")

    def test_python_blocks_share_a_namespace(self, reader: Session) -> None:
        reader.run(block("value = 3\n", "python"))
        reader.run(block("assert value == 3\n", "python"))

    def test_a_failing_python_block_is_reported_with_its_line(self, reader: Session) -> None:
        with pytest.raises(PageError, match=r'page.md", line 3(.|\n)*ZeroDivisionError'):
            reader.run(block("value = 1\nvalue / 0\n", "python"))

    def test_shown_output_of_python_is_compared(self, reader: Session) -> None:
        reader.run(block("print('one')\n", "python"))
        reader.run(block("one\n", "text", "output"))
        with pytest.raises(PageError):
            reader.run(block("two\n", "text", "output"))

    def test_output_of_a_command_is_compared(self, reader: Session) -> None:
        reader.run(block("$ echo one\none\n$ echo two\ntwo\n"))
        with pytest.raises(PageError, match="the page says"):
            reader.run(block("$ echo one\ntwo\n"))

    def test_output_that_the_page_does_not_show_is_reported(self, reader: Session) -> None:
        with pytest.raises(PageError):
            reader.run(block("$ echo one\n"))

    def test_a_failing_command_is_reported_unless_its_status_is_shown(self, reader: Session) -> None:
        reader.run(block("$ (exit 3)\n$ echo $?\n3\n"))
        with pytest.raises(PageError, match="status 3"):
            reader.run(block("$ (exit 3)\n"))

    def test_variables_and_the_folder_outlast_a_block(self, reader: Session) -> None:
        reader.run(block("$ mkdir inner; cd inner\n$ export GREETING='a b'\n"))
        reader.run(block('$ basename "$PWD"\ninner\n$ echo "$GREETING"\na b\n'))

    def test_a_shell_that_ends_early_is_reported(self, reader: Session) -> None:
        with pytest.raises(PageError, match="ended here"):
            reader.run(block("$ exit 0\n$ echo never\n"))

    def test_a_file_block_is_written(self, reader: Session, folder: Path) -> None:
        reader.run(Block(1, "toml", "a = 1\n", "file", "sub/x.toml"))
        assert (folder / "sub/x.toml").read_text() == "a = 1\n"

    def test_a_block_marked_not_run_is_left_alone(self, reader: Session) -> None:
        reader.run(block("$ exit 1\n", remark="not run"))


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ("one", "one\n"),
        ("one  ", "one"),
        ("version ...", "version 1.2"),
        ("a ... z", "a b z"),
        ("first\n...\nlast", "first\nlast"),
        ("first\n...\nlast", "first\n1\n2\nlast"),
        ("...", ""),
        ("", ""),
    ],
)
def test_these_outputs_match(expected: str, actual: str) -> None:
    assert matches(expected, actual)


@pytest.mark.parametrize(
    ("expected", "actual"),
    [("one", "two"), ("", "one"), ("one", ""), ("one", "one\ntwo"), ("a...", "b"), ("a.c", "abc")],
)
def test_these_outputs_differ(expected: str, actual: str) -> None:
    assert not matches(expected, actual)


def test_a_remark_belongs_to_the_block_right_after_it() -> None:
    page = "<!-- not run: takes a cloud account -->\n\n```console\n$ x\n```\n\nText.\n\n```python\npass\n```\n"
    first, second = blocks(page)
    assert (first.remark, first.text, first.line) == ("not run", "takes a cloud account", 3)
    assert second.remark == ""


def test_a_page_may_ask_for_a_server() -> None:
    assert needs_server("# Title\n\n<!-- page: OpenBao -->\n")
    assert not needs_server("# Title\n\n<!-- page: empty folder -->\n")


def test_a_page_may_ask_for_an_emulator_of_aws() -> None:
    assert needs_aws("# Title\n\n<!-- page: AWS -->\n")
    assert not needs_aws("# Title\n\n<!-- page: OpenBao -->\n")


def test_a_page_may_ask_for_a_postgresql() -> None:
    assert needs_postgres("# Title\n\n<!-- page: PostgreSQL -->\n")
    assert not needs_postgres("# Title\n\n<!-- page: AWS -->\n")


def test_a_page_may_ask_for_wheels() -> None:
    page = "# Title\n\n<!-- page: wheels -->\n"
    assert needs_wheels(page)
    assert not needs_wheels("# Title\n\n<!-- page: AWS -->\n")
    # The tests' own Python has the source tree.
    assert problems(f"{page}\n```python\nimport strongroom\n```\n")
    assert not problems(f"{page}\n<!-- file: a.py -->\n```python\nimport strongroom\n```\n")


def test_no_stranger_can_answer_for_a_name_of_ours(
    built: Built, wheel_variables: dict[str, str], tmp_path: Path, home: Path
) -> None:
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    with zipfile.ZipFile(strangers / "strongroom-99.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("strongroom-99.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: strongroom\nVersion: 99.0\n")
        wheel.writestr("strongroom-99.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("strongroom-99.0.dist-info/RECORD", "")
    environment = clean_environment(home) | wheel_variables | {"PIP_FIND_LINKS": str(strangers)}
    run("python3", "-m", "venv", tmp_path / "own", env=environment)
    download = (tmp_path / "own/bin/pip", "download", "--quiet", "--no-deps", "--dest")
    run(*download, tmp_path / "ours", "strongroom", env=environment)
    run(*download, tmp_path / "theirs", "strongroom", env=environment | {"PIP_CONSTRAINT": ""})
    assert [file.name for file in (tmp_path / "theirs").iterdir()] == ["strongroom-99.0-py3-none-any.whl"]
    assert [file.name for file in (tmp_path / "ours").iterdir()] == [built.wheel("strongroom").name]


def test_an_edit_replaces_lines_that_are_there_once() -> None:
    assert edited("a\nb\nc\nd\n", " a\n-b\n+B\n+b\n@@\n-d\n") == "a\nB\nb\nc\n"
    assert edited("a\n\nb\n", " a\n\n+x\n b\n") == "a\n\nx\nb\n"


@pytest.mark.parametrize("changes", ["-x\n+y\n", " a\n", "-a\n-b\n"])
def test_an_edit_of_other_lines_is_reported(changes: str) -> None:
    with pytest.raises(PageError, match=r"are there (0|2) times"):
        edited("a\nc\na\n", changes)


def test_a_remark_before_other_text_is_no_remark() -> None:
    (only,) = blocks("<!-- not run: takes a cloud account -->\nText.\n```console\n$ x\n```\n")
    assert only.remark == ""


def test_a_block_in_a_list_loses_its_indent() -> None:
    (only,) = blocks("1. Do this:\n\n   ```python\n   if True:\n       pass\n   ```\n")
    assert only.content == "if True:\n    pass\n"


def test_a_command_goes_on_in_lines_that_start_with_a_bracket() -> None:
    (only,) = commands("$ cat <<END\n> a\n> END\na\n")
    assert (only.text, only.output) == ("cat <<END\na\nEND", "a")


@pytest.mark.parametrize(
    "page",
    [
        "```bash\nls\n```\n",
        "```\nls\n```\n",
        "<!-- not run -->\n```console\n$ x\n```\n",
        "<!-- file -->\n```toml\n```\n",
        "<!-- edit -->\n```diff\n```\n",
    ],
)
def test_these_pages_are_refused(page: str) -> None:
    assert problems(page)
