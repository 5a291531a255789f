"""What the repository consists of: its distributions and what they require.

python script/_workspace.py install    every distribution, editable, with all that their tests need
python script/_workspace.py requirements    what they and the tools require from elsewhere, one a line
"""

import re
import subprocess
import sys
import tomllib

from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def distributions() -> list[Path]:
    """Return the folder of each distribution, the core first."""
    return [ROOT / "core", *sorted(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]


def metadata(folder: Path) -> dict[str, Any]:
    """Return the content of the ``pyproject.toml`` in *folder*."""
    return tomllib.loads((folder / "pyproject.toml").read_text())


def requirements() -> list[str]:
    """Return each requirement on somebody else's distribution, sorted and without doubles."""
    own = {metadata(folder)["project"]["name"] for folder in distributions()}
    found: set[str] = set()
    for folder in [*distributions(), ROOT]:
        content = metadata(folder)
        project = content.get("project", {})
        found |= _texts(content.get("build-system", {}).get("requires", []), project.get("dependencies", []))
        found |= _texts(*project.get("optional-dependencies", {}).values())
        found |= _texts(*content.get("dependency-groups", {}).values())
    return sorted(text for text in found if re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0] not in own)


def _texts(*lists: Iterable[object]) -> set[str]:
    """Return the requirements in *lists*; a group may also include another one, which is no requirement."""
    return {entry for entries in lists for entry in entries if isinstance(entry, str)}


def install() -> int:
    """Install everything into the environment that is active; return uv's exit status."""
    arguments = ["--group", f"{ROOT}/pyproject.toml:everything"]
    for folder in distributions():
        arguments += ["--editable", f"{folder}[testing]"]
    return subprocess.run(["uv", "pip", "install", "--quiet", *arguments], check=False).returncode  # noqa: S607  # tox puts uv on PATH


if __name__ == "__main__":
    if sys.argv[1:] == ["install"]:
        sys.exit(install())
    elif sys.argv[1:] == ["requirements"]:
        print("\n".join(requirements()))
    else:
        sys.exit(__doc__)
