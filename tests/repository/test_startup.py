"""A command loads what its work needs and no more: every import costs each start."""

import json
import subprocess
import sys

from pathlib import Path

import pytest

from commandline import Cli

# What each of these costs is between 2 and 100 ms; the whole of a read has less than that.
HEAVY = {
    "asyncio",
    "attr",
    "attrs",
    "boto3",
    "click",
    "cryptography",
    "hvac",
    "inspect",
    "logging",
    "opentelemetry",
    "pluggy",
    "sqlite3",
    "strongroom_local",
    "strongroom_aws",
    "strongroom_vault",
}

# What a read of the local store needs is its library and its file's.
FOR_THE_LOCAL_STORE = {"cryptography", "sqlite3", "strongroom_local"}
AVOIDABLE = {"dataclasses", "importlib.metadata", "pathlib", "shutil", "subprocess", "tempfile", "uuid"}

# What sees a program through outages; of no use without a fallback store.
FOR_OUTAGES = {
    "strongroom.outages.applying",
    "strongroom.outages.attending",
    "strongroom.contracts.journal",
    "strongroom.outages.draining",
    "strongroom.outages.fallback",
    "strongroom.operations.journals",
    "strongroom.outages.queueing",
    "strongroom.outages.substitutes",
}

WATCH = """
import sys
before = set(sys.modules)
try:
    {action}
except SystemExit as error:
    assert not error.code, error.code
modules = sorted(set(sys.modules) - before)
import json
print(json.dumps(modules), file=sys.stderr)
"""


def loaded_by(action: str) -> set[str]:
    """Run *action* in a new interpreter; return the modules that it imported."""
    command = [sys.executable, "-I", "-c", WATCH.format(action=action)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def heavy(modules: set[str]) -> set[str]:
    return {module for module in modules if module in HEAVY or module.partition(".")[0] in HEAVY}


@pytest.mark.parametrize(
    "action",
    [
        "import strongroom",
        "import strongroom.contracts, strongroom.hookspecs, strongroom.model, strongroom.errors",
        "from strongroom.cli.main import main; main(['--help'])",
    ],
)
def test_nothing_heavy_is_loaded_by(action: str) -> None:
    assert heavy(loaded_by(action)) == set()


def test_help_loads_no_plugin() -> None:
    modules = loaded_by("from strongroom.cli.main import main; main(['--help'])")
    assert not {module for module in modules if module.startswith("strongroom_") or module == "strongroom.discovery"}


def test_a_read_loads_what_its_configuration_names_and_no_more(store: Path, cli: Cli) -> None:
    assert cli("set", "db/password", stdin="s3cret").status == 0
    config = str(store / "strongroom.toml")
    modules = loaded_by(f"from strongroom.cli.main import main; main(['--config', {config!r}, 'get', 'db/password'])")
    assert heavy(modules) <= {module for module in modules if module.partition(".")[0] in FOR_THE_LOCAL_STORE}
    assert modules & AVOIDABLE == set()
    assert "strongroom_local.backend" in modules


def reading(store: Path) -> str:
    """Return the source of a program that writes a secret and reads it."""
    return (
        f"import strongroom; manager = strongroom.open({str(store / 'strongroom.toml')!r}); "
        "manager.set('db/password', 's3cret'); manager.get('db/password'); manager.close()"
    )


@pytest.mark.parametrize(
    "action",
    [
        "from strongroom.cli.main import main; main(['--help'])",
        "from strongroom.cli.main import main; main(['get', '--help'])",
        "import strongroom; strongroom.open",
    ],
)
def test_nothing_for_outages_is_loaded_by(action: str) -> None:
    assert loaded_by(action) & FOR_OUTAGES == set()


def test_nothing_for_outages_is_loaded_without_a_fallback_store(store: Path) -> None:
    # The local store keeps a journal for others, so it may know what one is.
    assert loaded_by(reading(store)) & FOR_OUTAGES <= {"strongroom.contracts.journal"}


def test_a_backend_that_keeps_no_journal_needs_nothing_for_outages() -> None:
    settings = {"audit": "none", "backend": "env", "backends": {"env": {"type": "env", "prefix": "APP_"}}}
    action = f"import strongroom; manager = strongroom.open({settings!r}); manager.list(); manager.close()"
    assert loaded_by(action) & FOR_OUTAGES == set()


def test_what_is_for_outages_is_loaded_with_a_fallback_store(store: Path) -> None:
    """Without this, none of the above would say anything."""
    table = '[backends.other]\ntype = "memory"\n'
    config = store / "strongroom.toml"
    config.write_text(f'fallback = "other"\n{config.read_text()}\n{table}')
    assert {"strongroom.outages.fallback", "strongroom.contracts.journal"} <= loaded_by(reading(store))


def test_the_watch_sees_what_is_loaded() -> None:
    """Without this, a watch that sees nothing would pass all of the above."""
    assert "logging" in heavy(loaded_by("import logging"))
