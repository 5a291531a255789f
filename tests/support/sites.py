"""Distributions that are built and installed beside the real ones, into a folder of their own, for one test."""

import shutil
import subprocess
import sys

from pathlib import Path

from uv import find_uv_bin


def run_uv(*arguments: str | Path) -> None:
    """Run uv to its end."""
    done = subprocess.run([find_uv_bin(), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def wheel_of(project: Path, folder: Path) -> Path:
    """Build a wheel of a project, which is left as it is.

    Args:
        project: The folder with its ``pyproject.toml``.
        folder: Where to work.
    """
    copy = shutil.copytree(project, folder / "sources" / project.name, ignore=shutil.ignore_patterns("__pycache__"))
    target = folder / "wheels" / project.name
    run_uv("build", "--quiet", "--wheel", "--out-dir", target, copy)
    return next(target.glob("*.whl"))


def install(site: Path, *wheels: Path) -> Path:
    """Install wheels into a folder, which has to be on ``PYTHONPATH`` then; return it."""
    run_uv("pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", site, *wheels)
    return site
