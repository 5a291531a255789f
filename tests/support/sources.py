"""What the repository's own rules look at: tracked files, parsed modules, imports."""

import ast
import subprocess

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from _workspace import ROOT, distributions

PLUGIN_GROUPS = {
    "strongroom.backends",
    "strongroom.cache_policies",
    "strongroom.audit_sinks",
    "strongroom.anomaly_detectors",
    "strongroom.rotators",
    "strongroom.commands",
    "strongroom.telemetry_exporters",
}


def plugin_folders() -> list[Path]:
    """Return the folder of each distribution but the core."""
    return distributions()[1:]


def package(folder: Path) -> Path:
    """Return the import package of the distribution in *folder*."""
    (found,) = [path for path in (folder / "src").iterdir() if (path / "__init__.py").exists()]
    return found


@cache
def tracked_files() -> list[Path]:
    """Return each file that git has or would take."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = (ROOT / name for name in listing.split("\0") if name)
    return [path for path in paths if path.is_file()]


def source_modules() -> list[Path]:
    """Return each Python module that a distribution ships."""
    return [file for folder in distributions() for file in sorted((folder / "src").rglob("*.py"))]


@cache
def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of *file*."""
    return ast.parse(file.read_text(), str(file))


def module_name(file: Path) -> str:
    """Return the dotted name of a module below a ``src`` folder."""
    parts = list(file.with_suffix("").parts)
    parts = parts[len(parts) - parts[::-1].index("src") :]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of each import in *file*, inside functions too.

    ``from strongroom import model`` yields ``strongroom.model``: whether that is a
    module or another name of the package is up to the caller.
    """
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def where(file: Path, line: int) -> str:
    """Return the place in the form that editors open."""
    return f"{file.relative_to(ROOT)}:{line}"
