"""The command, started the way that a user's shell does."""

import os
import subprocess
import sys

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return an environment with nothing of the developer's own in it but where programs are.

    Args:
        home: The home folder; it may be empty.
        more: Variables to add.
    """
    scripts = str(Path(sys.executable).parent)
    return {
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }


@dataclass(frozen=True)
class Cli:
    """The ``strongroom`` command, started the way that a user's shell does.

    Attributes:
        folder: The working folder.
        home: The user's home folder.
    """

    folder: Path
    home: Path

    def __call__(
        self, *arguments: str, env: Mapping[str, str] | None = None, stdin: str = "", timeout: float = 60
    ) -> Finished:
        """Run the command to its end.

        Args:
            arguments: What follows ``strongroom``.
            env: Variables to add to the clean environment.
            stdin: What the command can read.
            timeout: Seconds after which it has failed.
        """
        done = subprocess.run(
            [str(Path(sys.executable).with_name("strongroom")), *arguments],
            cwd=self.folder,
            env=clean_environment(self.home, **(env or {})),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)
