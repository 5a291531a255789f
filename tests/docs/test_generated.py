"""What the documentation repeats from the code is as the code says it."""

import ast
import re
import subprocess
import sys

import pytest

from _workspace import ROOT

CONFIGURATION = ROOT / "docs/reference/configuration.md"


def fields(file: str, name: str) -> list[str]:
    """Return the names of a class's annotated attributes."""
    tree = ast.parse((ROOT / file).read_text())
    (node,) = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    return [ast.unparse(item.target) for item in node.body if isinstance(item, ast.AnnAssign)]


def test_generated_pages_are_what_the_sources_say() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *(("load", name) for name in ("SinkKeys", "DetectorKeys", "CacheKeys")),
        ("telemetry", "TelemetryKeys"),
        ("policies", "PolicyKeys"),
    ],
)
def test_each_key_of_the_core_has_a_row(module: str, name: str) -> None:
    rows = set(re.findall(r"^\| `(\w+)` ", CONFIGURATION.read_text(), re.MULTILINE))
    assert set(fields(f"core/src/strongroom/config/{module}.py", name)) <= rows


def test_each_settings_class_of_a_plugin_has_a_table() -> None:
    page = CONFIGURATION.read_text()
    # What is called so elsewhere is for programs, and not for strongroom.toml.
    sources = [*ROOT.glob("plugins/*/src/*/settings.py"), ROOT / "core/src/strongroom/builtin/settings.py"]
    # Those of pydantic-settings are a program's own, and stand in no strongroom.toml.
    sources = [source for source in sources if source.parent.name != "strongroom_pydantic"]
    declared = {name for source in sources for name in re.findall(r"^class (\w+Settings)\b", source.read_text(), re.M)}
    assert declared
    assert declared <= set(re.findall(r"<!-- settings: \S+ (\w+) -->", page))
