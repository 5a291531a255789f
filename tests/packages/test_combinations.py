"""What users choose is installed from an index into a clean environment, and works; what is missing is said."""

import json
import os
import subprocess

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from _workspace import ROOT, distributions, metadata
from wheels import UV, Built, build, copied, project_name, run

CORE = metadata(ROOT / "core")["project"]
EXTRAS = sorted(set(CORE["optional-dependencies"]) - {"all", "render", "testing", "yaml"})

COMBINATIONS = ("", "vault,otel", "local,audit-jsonl", "aws,cache-refresh", "agent,local,audit-jsonl", "all")

each_combination = pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda name: name or "alone")


@dataclass(frozen=True)
class Installed:
    """An environment of its own, used the way a user does.

    Attributes:
        environment: The environment's folder.
        folder: The working folder.
    """

    environment: Path
    folder: Path

    def __call__(self, *arguments: str, status: int = 0, stdin: str = "", **variables: str) -> str:
        """Run ``strongroom``, and nothing from outside the environment; return what it printed.

        A command that has to fail returns its complaint.
        """
        done = subprocess.run(
            [self.environment / "bin/strongroom", *arguments],
            cwd=self.folder,
            env={
                "PATH": f"{self.environment}/bin:{os.defpath}",
                "HOME": str(self.folder),
                "LANG": "C.UTF-8",
                **variables,
            },
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout

    def plugins(self) -> dict[str, set[str]]:
        """Return what each distribution offers, all of which must be usable."""
        found: dict[str, set[str]] = {}
        for entry in json.loads(self("plugins", "--json")):
            assert (entry["state"], entry["version"]) == ("ok", CORE["version"]), entry
            found.setdefault(entry["distribution"], set()).add(entry["name"])
        return found

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        (self.folder / "strongroom.toml").write_text(text)


Install = Callable[[str], Installed]


@pytest.fixture
def install(index: str, tmp_path: Path) -> Install:
    """Install ``strongroom`` with extras: our distributions from our index only, as the first index that has a name is
    the only one to be asked, and everything else from where the machine gets it."""

    def _install(extras: str) -> Installed:
        found = Installed(tmp_path / "environment", tmp_path / "site")
        found.folder.mkdir(mode=0o700)
        run(UV, "venv", "--quiet", found.environment)
        options = ("--quiet", "--python", found.environment, "--index", index, "--index-strategy", "first-index")
        run(UV, "pip", "install", *options, f"strongroom[{extras}]" if extras else "strongroom")
        return found

    return _install


def offered_by(chosen: set[str]) -> dict[str, set[str]]:
    """Return what each of the chosen distributions offers, as their projects say."""
    offers = {}
    for folder in distributions():
        groups = metadata(folder)["project"].get("entry-points", {})
        names = {name for group, points in groups.items() if group.startswith("strongroom.") for name in points}
        if project_name(folder) in chosen and names:
            offers[project_name(folder)] = names
    return offers


@each_combination
def test_what_was_chosen_is_listed_and_nothing_else(combination: str, install: Install) -> None:
    installed = install(combination)
    chosen = EXTRAS if combination == "all" else [name for name in combination.split(",") if name]
    assert installed.plugins() == offered_by({"strongroom", *(f"strongroom-{name}" for name in chosen)})
    assert installed("--version") == f"strongroom {CORE['version']}\n"
    run(UV, "pip", "check", "--quiet", "--python", installed.environment)
    assert "there is no strongroom.toml" in _problems(installed)


def _problems(installed: Installed) -> str:
    done = subprocess.run(
        [installed.environment / "bin/strongroom", "doctor", "--json"],
        cwd=installed.folder,
        env={"PATH": os.defpath, "HOME": str(installed.folder), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    checks = json.loads(done.stdout)["checks"]
    return "\n".join(f"{check['what']}: {check['mend']}" for check in checks if check["state"] == "problem")


def test_the_extra_for_everything_has_every_distribution() -> None:
    assert {f"strongroom-{name}" for name in EXTRAS} == {project_name(folder) for folder in distributions()[1:]}
    (everything,) = CORE["optional-dependencies"]["all"]
    assert everything == f"strongroom[{','.join(EXTRAS)}]"


@pytest.mark.parametrize("combination", ["local,audit-jsonl", "agent,local,audit-jsonl"])
def test_a_local_store_with_a_trail_is_a_complete_product(combination: str, install: Install) -> None:
    strongroom = install(combination)
    strongroom("init")
    strongroom("set", "db/password", stdin="s3cret")
    assert strongroom("get", "db/password") == "s3cret"
    assert strongroom("list") == "db/password\n"
    assert strongroom("run", "--secret", "db/password", "--", "printenv", "DB_PASSWORD") == "s3cret\n"
    assert "sealed" in strongroom("audit", "verify")
    assert _problems(strongroom) == ""
    if "agent" in combination:
        assert "ExecStart=" in strongroom("agent", "units")


def test_the_core_alone_keeps_values_in_memory_and_says_what_else_there_is(install: Install) -> None:
    strongroom = install("")
    assert "pip install strongroom-local" in strongroom("init", status=2)
    strongroom.configure('audit = "none"\n[backends.here]\ntype = "memory"\nseed = { "app/key" = { env = "SEED" } }\n')
    assert strongroom("get", "app/key", SEED="seeded") == "seeded"
    assert "pip install strongroom-agent" in strongroom("agent", status=2)


MISSING = """
[backends.there]
type = "vault"
[cache]
policy = "refresh"
[[audit]]
type = "jsonl"
path = "audit.jsonl"
[[anomaly]]
type = "denied-burst"
[telemetry]
exporter = "otel"
"""


def test_doctor_names_the_distribution_of_everything_that_is_missing(install: Install) -> None:
    strongroom = install("")
    strongroom.configure(MISSING)
    problems = _problems(strongroom)
    for name in ("vault", "cache-refresh", "audit-jsonl", "anomaly", "otel"):
        assert f"pip install strongroom-{name}, or" in problems


@pytest.mark.parametrize(
    ("combination", "settings", "missing"),
    [
        ("vault,otel", 'type = "vault"\naddress = "http://127.0.0.1:9"\nauth = { token = "t" }', "strongroom-aws"),
        (
            "aws,cache-refresh",
            'type = "aws"\nregion = "eu-central-1"\nendpoint = "http://127.0.0.1:9"',
            "strongroom-vault",
        ),
    ],
    ids=["vault", "aws"],
)
def test_a_remote_backend_without_its_server_is_an_outage_and_not_a_broken_installation(
    combination: str, settings: str, missing: str, install: Install
) -> None:
    strongroom = install(combination)
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    strongroom.configure(f'audit = "none"\n[resilience]\ndeadline = "5s"\n[backends.there]\n{settings}\n')
    assert "there" in strongroom("get", "some/name", status=6, **keys)
    other = missing.partition("-")[2]
    strongroom.configure(f'audit = "none"\n[backends.there]\ntype = "{other}"\n')
    assert f"pip install {missing}," in strongroom("get", "some/name", status=2)


def test_pip_installs_it_as_well_and_removes_one_part_without_the_others(built: Built, tmp_path: Path) -> None:
    """With constraints that lead to our files, pip asks no index for our names."""
    environment = tmp_path / "environment"
    run(UV, "venv", "--quiet", "--seed", environment)
    pip = (environment / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--constraint", built.constraints, "strongroom[local,audit-jsonl]")
    installed = Installed(environment, tmp_path)
    everything = offered_by({"strongroom", "strongroom-local", "strongroom-audit-jsonl"})
    assert installed.plugins() == everything
    run(*pip, "check")
    run(*pip, "uninstall", "--yes", "strongroom-audit-jsonl")
    assert installed.plugins() == {name: names for name, names in everything.items() if "jsonl" not in name}
    installed("init", status=0)
    assert "pip install strongroom-audit-jsonl," in installed("get", "x", status=2)


def other_version(version: str, folder: Path, requirement: str = "strongroom>=1.0,<2") -> Path:
    """Build another version of the smallest plugin; return the folder that has its wheel."""
    project = copied(ROOT / "plugins/strongroom-env", folder / "sources") / "pyproject.toml"
    changed = project.read_text().replace(f'version = "{CORE["version"]}"', f'version = "{version}"')
    project.write_text(changed.replace("strongroom>=1.0,<2", requirement, 1))
    build(project.parent, folder / "wheels", "--wheel")
    return folder / "wheels"


def versions(installed: Installed) -> dict[str, str]:
    """Return the version of each distribution that is listed."""
    return {entry["distribution"]: entry["version"] for entry in json.loads(installed("plugins", "--json"))}


def test_one_plugin_is_upgraded_and_removed_and_the_rest_stays_as_it_is(install: Install, tmp_path: Path) -> None:
    installed = install("env")
    options = ("--quiet", "--python", installed.environment)
    newer = other_version("1.7.3", tmp_path / "newer")
    run(
        UV,
        "pip",
        "install",
        *options,
        "--no-index",
        "--find-links",
        newer,
        "--upgrade-package",
        "strongroom-env",
        "strongroom-env",
    )
    assert versions(installed) == {"strongroom": CORE["version"], "strongroom-env": "1.7.3"}
    run(UV, "pip", "uninstall", *options, "strongroom-env")
    assert versions(installed) == {"strongroom": CORE["version"]}
    installed.configure('audit = "none"\n[backends.here]\ntype = "env"\n')
    assert "pip install strongroom-env," in installed("get", "home", status=2)


def test_a_plugin_for_another_core_is_refused_by_the_installer_and_by_the_core(
    install: Install, tmp_path: Path
) -> None:
    installed = install("")
    options = ("--quiet", "--python", installed.environment, "--no-index", "--find-links")
    later = other_version("2.0.0", tmp_path / "later", "strongroom>=2.0,<3")
    assert "strongroom" in run(UV, "pip", "install", *options, later, "strongroom-env", status=1)
    (wheel,) = later.glob("*.whl")
    run(UV, "pip", "install", "--quiet", "--python", installed.environment, "--no-deps", wheel)
    (entry,) = [entry for entry in json.loads(installed("plugins", "--json")) if entry["name"] == "env"]
    assert entry["state"] == "broken"
    assert ">=2.0" in entry["error"]
    installed.configure('audit = "none"\n[backends.here]\ntype = "env"\n')
    assert "strongroom-env 2.0.0" in installed("get", "home", status=2)


def test_two_versions_on_the_path_are_one_plugin_the_one_that_python_imports(install: Install, tmp_path: Path) -> None:
    """As with a user's own packages before those of the system."""
    installed = install("env")
    (wheel,) = other_version("1.7.3", tmp_path / "newer").glob("*.whl")
    run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        installed.environment,
        "--no-deps",
        "--target",
        tmp_path / "first",
        wheel,
    )
    listing = json.loads(installed("plugins", "--json", PYTHONPATH=str(tmp_path / "first")))
    found = [(entry["version"], entry["state"]) for entry in listing if entry["name"] == "env"]
    assert found == [("1.7.3", "ok")]
