"""The sdist and the wheel of every distribution, built once in a test run, and where to install them from."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import threading

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from uv import find_uv_bin

from _workspace import ROOT, distributions, metadata
from sources import tracked_files

# Asked once: two threads that ask for the first time at once may find the standard library's answer half made.
UV = find_uv_bin()

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    # The kit for plugin authors asks for the extra `testing`.
    if not module.name.startswith("strongroom.testing") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
"""A program that imports every module of the package that it is given."""


@dataclass(frozen=True)
class Built:
    """The sdists and wheels of all distributions, as they would be uploaded.

    Attributes:
        folder: The folder that holds them all, and nothing else: good for ``--find-links``.
        constraints: A file of constraints for pip (``PIP_CONSTRAINT``) and uv (``UV_CONSTRAINT``) that leads each of
            our names to its wheel, so that no index can answer for it, whatever it offers.
    """

    folder: Path
    constraints: Path

    def sdist(self, name: str) -> Path:
        """Return the sdist of a distribution: ``strongroom``, ``strongroom-env``."""
        (found,) = self.folder.glob(f"{name.replace('-', '_')}-*.tar.gz")
        return found

    def wheel(self, name: str) -> Path:
        """Return the wheel of a distribution: ``strongroom``, ``strongroom-env``."""
        (found,) = self.folder.glob(f"{name.replace('-', '_')}-*.whl")
        return found


def project_name(folder: Path) -> str:
    """Return what the distribution in *folder* is called."""
    return str(metadata(folder)["project"]["name"])


def run(*command: str | Path, status: int = 0, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command to its end and return what it printed: standard output, then, if it had to fail, its complaint."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False, env=env, cwd=cwd
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + (done.stderr if status else "")


def build(folder: Path, target: Path, *options: str, env: dict[str, str] | None = None) -> None:
    """Build the distribution in *folder* as a release does: the sdist, and the wheel from that.

    Args:
        folder: What is built.
        target: Where the files go.
        options: What to do instead, such as ``--wheel``, which builds it from the folder itself.
        env: The environment; the process's own unless given.
    """
    pins = ("--build-constraint", ROOT / "constraints.txt")
    run(UV, "build", "--quiet", *pins, "--out-dir", target, *options, folder, env=env)


def copied(folder: Path, target: Path) -> Path:
    """Copy what git has of a distribution as another account would have it: another folder, other times and modes."""
    for file in tracked_files():
        if folder in file.parents or file == ROOT / ".gitignore":
            copy = target / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copy.chmod(0o700 if os.access(file, os.X_OK) else 0o600)
            os.utime(copy, (0, 1_000_000_000))
    return target / folder.relative_to(ROOT)


def built_once(factory: pytest.TempPathFactory) -> Built:
    """Build every distribution, or wait until another process of this run has; return what came of it."""
    base = factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    built = Built(folder=shared / "built", constraints=shared / "built-constraints.txt")
    with (shared / "built.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.constraints.exists():
            _build_all(built)
    return built


def _build_all(built: Built) -> None:
    """Build the wheel of each distribution from its sdist, two at a time."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda folder: build(folder, built.folder), distributions()))
    (built.folder / ".gitignore").unlink(missing_ok=True)
    names = map(project_name, distributions())
    built.constraints.write_text("".join(f"{name} @ {built.wheel(name).as_uri()}\n" for name in names))


@contextmanager
def local_index(built: Built, folder: Path) -> Iterator[str]:
    """Serve our files as an index in the form of PEP 503, on loopback; lends its URL.

    Args:
        built: What the index offers.
        folder: Where its pages are written; its own, and empty.
    """
    for name in map(project_name, distributions()):
        page = folder / "index" / name
        page.mkdir(parents=True)
        for file in (built.sdist(name), built.wheel(name)):
            (page / file.name).hardlink_to(file)
        links = [f'<a href="{file.name}#sha256={_digest(file)}">{file.name}</a>' for file in sorted(page.iterdir())]
        (page / "index.html").write_text(f"<!DOCTYPE html><title>{name}</title>\n" + "\n".join(links))
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/index/"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_arguments: object) -> None:
        """Write no line for a request."""


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
