"""Runs what an example of a container would run, with the paths in it led into a folder of the test's."""

from __future__ import annotations

import os
import re
import signal
import subprocess

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from commandline import Finished, clean_environment

_PATH = re.compile(r"(?<![\w:/.])/(?:app|etc|opt|run|srv|usr|var)(?!\w)(?:/[\w.-]+)*")


class Container:
    """One container: a command line, and what is mounted where.

    Args:
        command: The command line, as it is started.
        mounts: Folders and files of the test's by their paths in the container.
        environment: Its variables.
        folder: Its working folder, as a path in the container.
    """

    def __init__(
        self, command: list[str], mounts: dict[str, Path], environment: dict[str, str], folder: str = "/app"
    ) -> None:
        self._mounts = mounts
        self._command = [self.mapped(word) for word in command]
        self._folder = self.mapped(folder)
        self._variables = {name: self.mapped(value) for name, value in environment.items()}

    def mapped(self, text: str) -> str:
        """Return a text in which each path of the container is one of the test's; there is no other path in it."""
        return _PATH.sub(lambda found: self._place(found.group()), text)

    def _place(self, path: str) -> str:
        mount = max((one for one in self._mounts if path == one or path.startswith(f"{one}/")), key=len, default=None)
        assert mount is not None, f"nothing is mounted at {path}"
        return str(self._mounts[mount]) + path.removeprefix(mount)

    def run(self, home: Path, *arguments: str) -> Finished:
        """Run it to its end, with other arguments behind its own command if there are any."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self._folder,
            env=clean_environment(home, **self._variables),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, home: Path) -> Iterator[subprocess.Popen[str]]:
        """Start it, and stop it in the end as an engine of containers does: with TERM to its first process."""
        with subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=clean_environment(home, **self._variables),
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(60)


def project(folder: Path, files: dict[str, str]) -> Path:
    """Write files as Kubernetes does for a volume: each is a link, through a folder that is changed at once."""
    (folder / "..2030_01_01").mkdir(parents=True)
    os.symlink("..2030_01_01", folder / "..data")
    for name, content in files.items():
        (folder / "..data" / name).write_text(content)
        (folder / "..data" / name).chmod(0o640)
        os.symlink(f"..data/{name}", folder / name)
    return folder
