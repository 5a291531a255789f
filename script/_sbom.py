"""A bill of materials in CycloneDX JSON: every distribution that one of ours installs, at the pinned versions."""

import json
import subprocess
import sys
import tempfile

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from uv import find_uv_bin

from _workspace import ROOT, distributions, metadata

SPEC = "1.6"


def main(arguments: list[str]) -> int:
    """Write a file for each distribution whose wheel is there."""
    if len(arguments) != 2:
        sys.exit("usage: script/sbom WHEELS OUTPUT")
    wheels, output = map(Path, arguments)
    output.mkdir(parents=True, exist_ok=True)
    folders = [folder for folder in distributions() if find_wheel(wheels, name_of(folder))]
    write_all(folders, wheels, output)
    return 0


def name_of(folder: Path) -> str:
    """Return what the distribution in *folder* is called."""
    return str(metadata(folder)["project"]["name"])


def find_wheel(wheels: Path, name: str) -> Path | None:
    """Return the wheel of a distribution; None if it is not there."""
    found = sorted(wheels.glob(f"{name.replace('-', '_')}-*.whl"))
    if len(found) > 1:
        sys.exit(f"{wheels} has several versions of {name}: {', '.join(file.name for file in found)}")
    return found[0] if found else None


def write_all(folders: list[Path], wheels: Path, output: Path) -> list[Path]:
    """Write the bill of each distribution; return the files.

    Args:
        folders: The distributions' own folders.
        wheels: A folder with their wheels, and those of ours that they require.
        output: Where the files go.
    """
    uv = find_uv_bin()
    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(partial(_write, uv=uv, wheels=wheels, output=output), folders))


def _write(folder: Path, *, uv: str, wheels: Path, output: Path) -> Path:
    wheel = find_wheel(wheels, name_of(folder))
    if wheel is None:
        sys.exit(f"there is no wheel of {name_of(folder)} in {wheels}")
    with tempfile.TemporaryDirectory() as place:
        environment = Path(place) / "environment"
        ours = Path(place) / "ours.txt"
        ours.write_text("".join(_own_wheels(wheels)))
        _run(uv, "venv", "--quiet", environment)
        pins = ("--constraint", ROOT / "constraints.txt", "--constraint", ours)
        _run(uv, "pip", "install", "--quiet", "--python", environment, *pins, wheel)
        options = ("--pyproject", folder / "pyproject.toml", "--output-reproducible", "--spec-version", SPEC)
        text = _run(sys.executable, "-m", "cyclonedx_py", "environment", *options, environment)
    target = output / f"{'-'.join(wheel.name.split('-')[:2])}.cdx.json"
    content = _of_no_machine(json.loads(text))
    _mend(content)
    target.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
    return target


def _own_wheels(wheels: Path) -> list[str]:
    """Return constraints that lead our names to our wheels, so that no index is asked for them."""
    found = {name_of(folder): find_wheel(wheels, name_of(folder)) for folder in distributions()}
    return [f"{name} @ {wheel.resolve().as_uri()}\n" for name, wheel in found.items() if wheel]


def _mend(content: dict[str, Any]) -> None:
    """Say what ours are to an index, and not that a distribution is required by what it requires.

    What was installed from a file has no address by itself, and here only ours were. The extras of the core name every
    plugin, and the tool takes an extra that nobody asked for as a requirement.
    """
    root = content["metadata"]["component"]
    for component in (root, *content["components"]):
        component.setdefault("purl", f"pkg:pypi/{component['name']}@{component['version']}")
    for entry in content["dependencies"]:
        if "dependsOn" in entry:
            entry["dependsOn"] = [other for other in entry["dependsOn"] if other != root["bom-ref"]]


def _of_no_machine(content: Any) -> Any:
    """Return the document without the places in the file system that our wheels were installed from."""
    if isinstance(content, dict):
        return {key: _of_no_machine(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_of_no_machine(entry) for entry in content if not _is_a_place(entry)]
    return content


def _is_a_place(entry: Any) -> bool:
    return isinstance(entry, dict) and str(entry.get("url", "")).startswith("file:")


def _run(*command: str | Path) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
