"""Who may import whom."""

from pathlib import Path

import pytest

from _api import MODULES
from _workspace import ROOT
from sources import imports, module_name, package, plugin_folders, source_modules, where

CORE = ROOT / "core/src/strongroom"

# Lower rows may import upper ones, never back; within a row they may not import each other.
ROWS = (
    {"_apart"},
    {"_record", "_lazy", "_ours", "_spoken", "_warner"},
    {"errors"},
    {"model"},
    {"contracts"},
    {"hookspecs"},
    {"generators"},
    # What the core offers itself: to the core it is a plugin like any other.
    {"builtin"},
    {"discovery"},
    {"policy", "dotenv", "references", "masking", "inputs"},
    {"config", "rendering"},
    {"joining"},
    {"telemetry", "lifecycle", "acting", "background", "credentials", "crew", "memory"},
    {"pacing"},
    {"cache", "outcomes"},
    {"resilience"},
    {"audit"},
    {"anomaly"},
    {"events", "grants", "opening"},
    {"trails", "rotators", "outages"},
    {"leases", "watching"},
    {"observing"},
    {"wiring"},
    {"stages"},
    {"rotation"},
    {"operations"},
    {"manager"},
    {"aio", "templates"},
    {"moving"},
    {"cli"},
)
RANK = {module: rank for rank, row in enumerate(ROWS) for module in row}

OPEN_TO_PLUGINS = {name.partition(".")[2] for name in MODULES} - {""}


def core_modules() -> list[Path]:
    return [file for file in sorted(CORE.rglob("*.py")) if file != CORE / "__init__.py"]


def part_of(name: str) -> str | None:
    """Return which part of the core a dotted name leads to; None if it leads elsewhere."""
    top, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    if top != "strongroom" or not part:
        return None
    return part if (CORE / part).is_dir() or (CORE / f"{part}.py").exists() else None


def test_every_module_of_the_core_has_a_row() -> None:
    """A new module is put into the table above, so that its place is a decision."""
    parts = {part_of(module_name(file)) for file in core_modules()} - {"testing", "__main__", None}
    assert parts == RANK.keys() & parts


def test_the_core_imports_only_upwards() -> None:
    wrong = []
    for file in core_modules():
        own = part_of(module_name(file))
        for line, name in imports(file):
            other = part_of(name)
            if own not in RANK or other is None or other == own:
                continue
            if RANK.get(other, len(ROWS)) >= RANK[own]:
                wrong.append(f"{where(file, line)} imports {name}")
    assert wrong == []


def test_nothing_in_the_core_imports_the_kit_for_plugin_authors() -> None:
    wrong = [
        where(file, line)
        for file in core_modules()
        if part_of(module_name(file)) != "testing"
        for line, name in imports(file)
        if part_of(name) == "testing"
    ]
    assert wrong == []


def test_no_distribution_imports_a_plugin() -> None:
    """Plugins meet only in a configuration."""
    packages = {package(folder).name for folder in plugin_folders()}
    wrong = []
    for file in source_modules():
        own = module_name(file).partition(".")[0]
        wrong += [
            f"{where(file, line)} imports {name}"
            for line, name in imports(file)
            if (top := name.partition(".")[0]) in packages and top != own
        ]
    assert wrong == []


@pytest.mark.parametrize("folder", plugin_folders(), ids=lambda folder: folder.name)
def test_a_plugin_imports_only_the_open_parts_of_the_core(folder: Path) -> None:
    wrong = []
    for file in [*sorted(folder.glob("src/**/*.py")), *sorted(folder.glob("tests/**/*.py"))]:
        for line, name in imports(file):
            part = part_of(name)
            if part is not None and part not in OPEN_TO_PLUGINS:
                wrong.append(f"{where(file, line)} imports {name}")
    assert wrong == []
