"""The lowest versions that our requirements allow are enough to import every module, and for a first use."""

import json
import os
import subprocess

from pathlib import Path

import pytest

from _workspace import ROOT, distributions
from sources import package
from wheels import IMPORT_ALL, UV, Built, project_name, run

READ = """
cat > strongroom.toml
strongroom get key
"""

LOCAL = """
strongroom init
cat > strongroom.toml
printf %s value | strongroom set key
strongroom get key
"""

# Until it listens, the agent has made all that it serves, its metrics among it.
AGENT = """
cat > strongroom.toml
strongroom agent 2> said &
until grep --quiet listening said; do kill -0 $! || { cat said >&2; exit 1; }; done
kill $!
wait $!
"""

MEMORY = '[backends.here]\ntype = "memory"\nseed = { "key" = { env = "KEY" } }\n'
NOWHERE = "http://127.0.0.1:9"
OUTAGE = 6

FIRST_USE = {
    "strongroom": (READ, MEMORY, 0),
    "strongroom-agent": (AGENT, f'{MEMORY}[agent]\nlisten = ["127.0.0.1:0"]\n', 0),
    "strongroom-audit-jsonl": (READ, f'{MEMORY}[[audit]]\ntype = "jsonl"\npath = "audit.jsonl"\n', 0),
    "strongroom-aws": (READ, f'[backends.b]\ntype = "aws"\nregion = "eu-central-1"\nendpoint = "{NOWHERE}"\n', OUTAGE),
    "strongroom-cache-refresh": (READ, f'{MEMORY}[cache]\npolicy = "refresh"\n', 0),
    "strongroom-env": (READ, '[backends.b]\ntype = "env"\n', 0),
    "strongroom-local": (
        LOCAL,
        '[backends.b]\ntype = "local"\npath = "secrets.db"\nmaster_key = {file = "master.key"}\n',
        0,
    ),
    "strongroom-otel": (READ, f'{MEMORY}[telemetry]\nexporter = "otel"\nendpoint = "{NOWHERE}"\ntimeout = "1s"\n', 0),
    "strongroom-vault": (
        READ,
        f'[backends.b]\ntype = "vault"\naddress = "{NOWHERE}"\nauth = {{ token = "t" }}\n',
        OUTAGE,
    ),
}
"""What is typed, the configuration that it reads first, and how it ends; what is not here is imported only."""

ASIDE = {"UV_CONSTRAINT", "UV_RESOLUTION"}
"""What would choose other versions."""


def install_lowest(folder: Path, built: Built, environment: Path) -> Path:
    """Install a distribution beside the lowest versions it allows; return the folder with its commands.

    What those require of others is taken at its newest, as nobody has promised anything about that.
    """
    wheels = {built.wheel("strongroom"), built.wheel(project_name(folder))}
    projects = [f"--requirements={place / 'pyproject.toml'}" for place in {ROOT / "core", folder}]
    env = {name: value for name, value in os.environ.items() if name not in ASIDE}
    into = ("--quiet", "--python", environment)
    run(UV, "venv", "--quiet", environment)
    lowest = ("--resolution", "lowest-direct", "--constraint", built.constraints)
    run(UV, "pip", "install", *into, *lowest, *projects, env=env)
    run(UV, "pip", "install", *into, "--no-deps", *sorted(wheels), env=env)
    run(UV, "pip", "check", *into, env=env)
    return environment / "bin"


@pytest.mark.parametrize("folder", distributions(), ids=lambda folder: folder.name)
def test_the_lowest_versions_that_are_allowed_are_enough(folder: Path, built: Built, tmp_path: Path) -> None:
    name = project_name(folder)
    commands = install_lowest(folder, built, tmp_path / "lowest")
    run(commands / "python", "-I", "-c", IMPORT_ALL, package(folder).name)
    listing = json.loads(run(commands / "strongroom", "plugins", "--json"))
    assert [entry for entry in listing if entry["state"] != "ok"] == []
    if name in FIRST_USE:
        script, configuration, status = FIRST_USE[name]
        recorded = "" if "[[audit]]" in configuration else 'audit = "none"\n'
        use_once(script, recorded + configuration, commands, tmp_path, status)


def use_once(script: str, configuration: str, commands: Path, folder: Path, status: int) -> None:
    """Type the commands of *script* in a folder of their own."""
    site = folder / "site"
    site.mkdir(mode=0o700)
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=site,
        env={
            "PATH": f"{commands}:{os.defpath}",
            "HOME": str(site),
            "KEY": "value",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
        },
        input=configuration,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert "internal error" not in done.stderr
    assert status or script is AGENT or done.stdout.endswith("value")
