"""What `strongroom plugins new` makes is a distribution like any other: tested, clean, built, installed, used.

Everything is installed from wheels, ours and the new ones, into one environment that has nothing else.
"""

import json
import re
import sys
import zipfile

from dataclasses import dataclass
from pathlib import Path

import pytest

from uv import find_uv_bin

from wheels import Built, run

KINDS = ("backend", "audit", "cache", "detector", "rotator")
each_kind = pytest.mark.parametrize("kind", KINDS)

MEMORY = """
[backends.memory]
type = "memory"
seed = { "db/password" = "s3cret", "service/key" = "first" }
"""

# What an application does with each kind, in the folder that has the configuration.
USES = {
    "backend": """
import os
os.mkdir("secrets")
with strongroom.open() as manager:
    manager.set("db/password", "s3cret")
with strongroom.open() as manager:
    assert manager.get("db/password").reveal_text() == "s3cret"
    assert manager.list() == ["db/password"]
assert [oct(entry.stat().st_mode)[-3:] for entry in os.scandir("secrets")] == ["600"]
""",
    "audit": """
import json
with strongroom.open() as manager:
    manager.get("db/password")
events = [json.loads(line) for line in open("accesses.jsonl")]
assert [event["event"] for event in events] == ["opened", "get", "closed"]
assert events[1]["key"] == "db/password"
assert "s3cret" not in open("accesses.jsonl").read()
""",
    "cache": """
with strongroom.open() as manager:
    read = [manager.get("db/password").freshness.value for _ in range(2)]
assert read == ["fresh", "cached"]
""",
    "detector": """
from strongroom.errors import SuspiciousActivityError
with strongroom.open() as manager:
    try:
        for number in range(1000):
            manager.get("db/password")
    except SuspiciousActivityError as error:
        assert "within a minute, where 120 may be" in str(error), error
# The reads may go over from one minute into the next.
assert 120 <= number <= 240, number
""",
    "rotator": """
import os
os.mkdir("accepted")
with strongroom.open() as manager:
    manager.rotate("service/key")
    assert manager.get("service/key").reveal_text().startswith("key_")
assert len(os.listdir("accepted")) == 1
""",
}


@dataclass(frozen=True)
class Made:
    """A distribution of each kind, and the environment in which all are installed."""

    folder: Path
    environment: Path

    def distribution(self, kind: str) -> Path:
        """Return the folder of a distribution."""
        return self.folder / f"strongroom-toy-{kind}"


@pytest.fixture(scope="module")
def made(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Begin a plugin of each kind, with the installed command, and install the wheels that it is built into."""
    made = Made(folder=tmp_path_factory.mktemp("made"), environment=tmp_path_factory.mktemp("clean") / "environment")
    run(find_uv_bin(), "venv", "--quiet", made.environment)
    into = (find_uv_bin(), "pip", "install", "--quiet", "--python", made.environment, "--constraint", built.constraints)
    run(*into, "strongroom[testing]")
    for kind in KINDS:
        new = ("plugins", "new", made.distribution(kind).name, "--kind", kind, "--directory", made.folder)
        run(made.environment / "bin/strongroom", *new)
        run(find_uv_bin(), "build", "--quiet", made.distribution(kind))
    run(*into, *(wheel(made, kind) for kind in KINDS))
    return made


def wheel(made: Made, kind: str) -> Path:
    """Return the wheel of a new distribution."""
    (found,) = (made.distribution(kind) / "dist").glob("*.whl")
    return found


@each_kind
def test_its_own_tests_pass_at_once(made: Made, kind: str) -> None:
    done = run(made.environment / "bin/python", "-m", "pytest", "-p", "no:cacheprovider", cwd=made.distribution(kind))
    assert re.search(r"=+ \d{2,} passed(, \d+ skipped)? in ", done), done


@each_kind
def test_linters_find_nothing_in_it(made: Made, kind: str, tmp_path: Path) -> None:
    folder = made.distribution(kind)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=folder)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=folder)
    options = ("--python-executable", made.environment / "bin/python", "--cache-dir", tmp_path)
    run(sys.executable, "-m", "mypy", *options, cwd=folder)


@pytest.mark.parametrize("name", ["q", "n" * 40, "strongroom-n2345678901234567890", "strongroom-test5678901234567890"])
@each_kind
def test_formatters_agree_whatever_it_is_called(made: Made, kind: str, name: str, tmp_path: Path) -> None:
    run(made.environment / "bin/strongroom", "plugins", "new", name, "--kind", kind, "--directory", tmp_path)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", ".", cwd=tmp_path / name)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", ".", cwd=tmp_path / name)


@each_kind
def test_its_wheel_holds_the_package_and_is_typed(made: Made, kind: str) -> None:
    names = zipfile.ZipFile(wheel(made, kind)).namelist()
    assert f"strongroom_toy_{kind}/py.typed" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {f"strongroom_toy_{kind}"}


def test_all_are_listed_and_well(made: Made) -> None:
    listing = json.loads(run(made.environment / "bin/strongroom", "plugins", "--json"))
    found = {
        entry["name"]: (entry["state"], entry["error"]) for entry in listing if entry["distribution"] != "strongroom"
    }
    assert found == {f"toy-{kind}": ("ok", "") for kind in KINDS}


@each_kind
def test_an_application_uses_it_as_its_readme_says(made: Made, kind: str, tmp_path: Path) -> None:
    readme = (made.distribution(kind) / "README.md").read_text()
    (example,) = re.findall(r"^```toml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    parts = ["" if kind == "audit" else 'audit = "none"\n', example, "" if kind == "backend" else MEMORY]
    (tmp_path / "strongroom.toml").write_text("".join(parts))
    (tmp_path / "strongroom.toml").chmod(0o600)
    run(made.environment / "bin/python", "-I", "-c", f"import strongroom\n{USES[kind]}", cwd=tmp_path)


def test_the_same_name_again_is_refused_with_who_has_it(made: Made, tmp_path: Path) -> None:
    new = ("plugins", "new", "strongroom-toy-backend", "--kind", "backend", "--directory", tmp_path)
    said = run(made.environment / "bin/strongroom", *new, status=2)
    assert "the backend 'toy-backend' is offered by strongroom-toy-backend 0.1.0 already" in said
    assert list(tmp_path.iterdir()) == []
