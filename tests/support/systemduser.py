"""A systemd of the test's own: its manager for users, in name spaces in which it sees nothing else."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

from pathlib import Path
from typing import Self

import pytest

from commandline import clean_environment

TARGETS = ("basic", "sockets", "shutdown", "network-online")

# It wants a booted system, and control groups. What it mounts for a unit reaches the others of its name space only if
# that is shared, as it is on a booted system.
SET_UP = """
set -e
mount --make-rshared /
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user
chmod 700 /run/user
if [ -e /sys/fs/cgroup/cgroup.procs ]; then
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
    mount -t tmpfs tmpfs /sys/fs/cgroup
    mkdir /sys/fs/cgroup/systemd /sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
fi
"""
START = (
    SET_UP
    + """
"$@" &
wait
"""
)
APART = ("--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--mount-proc")


def find(name: str, package: str) -> str:
    """Return the path of a program, or skip the test."""
    found = shutil.which(name)
    if found is not None and os.geteuid() == 0:
        return found
    if os.environ.get("STRONGROOM_REQUIRE_ALL"):
        pytest.fail(f"{name} is missing, or this is not root: apt install {package}")
    # Not every system has systemd, nor may everybody make name spaces; where all is required, it has failed above.
    pytest.skip(f"needs {name} and to be root: apt install {package}")


# Goes into the control groups that are named before the `--`, and becomes the command behind it.
ENTER = """
set -e
while [ "$1" != -- ]; do
    echo $$ > "$1/cgroup.procs"
    shift
done
shift
exec "$@"
"""


class UserManager:
    """A running manager; it and all that it has started end with the block.

    Args:
        units: The only folder in which it looks for units.
        home: An empty home folder.
    """

    def __init__(self, units: Path, home: Path) -> None:
        unshare = find("unshare", "util-linux")
        self._systemctl = find("systemctl", "systemd")
        _need_name_spaces(unshare)
        self._log = (home / "systemd.log").open("wb")
        self._groups = _groups()
        for target in TARGETS:
            (units / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n")
        self.environment = clean_environment(
            home, XDG_RUNTIME_DIR="/run/user", SYSTEMD_UNIT_PATH=str(units), SYSTEMD_LOG_TARGET="console"
        )
        manager = [find("/usr/lib/systemd/systemd", "systemd"), "--user", "--unit=basic.target"]
        run = ["sh", "-c", START, "sh", *manager]
        self._process = subprocess.Popen(
            ["sh", "-c", ENTER, "sh", *map(str, self._groups), "--", unshare, *APART, *run],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        end = time.monotonic() + 60
        while self("is-system-running").returncode != 0:
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)
        self._log.close()
        for group in self._groups:
            _remove(group)

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call ``systemctl --user`` in its name spaces."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        if not children:
            return subprocess.CompletedProcess([], 1, "", "not yet")
        enter = ["nsenter", f"--target={children[0]}", "--mount", "--pid"]
        return subprocess.run(
            [*enter, self._systemctl, "--user", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def show(self, unit: str, name: str) -> str:
        """Return one of a unit's properties."""
        return self("show", "--value", f"--property={name}", unit).stdout.strip()

    @property
    def log(self) -> str:
        """What the manager and the programs that it has started have said."""
        return Path(self._log.name).read_text(errors="replace")


def _need_name_spaces(unshare: str) -> None:
    """Skip the test where root may not do what containers consist of; it was given no right that it could be given."""
    tried = subprocess.run([unshare, *APART, "sh", "-c", SET_UP], capture_output=True, timeout=60, check=False)
    writable = any(os.access(path, os.W_OK) for path in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/systemd"))
    if tried.returncode != 0 or not writable:
        # Nothing can be installed against it, so this is no failure even where all is required.
        pytest.skip("needs a machine on which root may make name spaces and control groups, as in no plain container")


def _groups() -> list[Path]:
    """Make a control group of our own in each hierarchy that systemd uses, so that it stays in there."""
    top = Path("/sys/fs/cgroup")
    roots = [top] if (top / "cgroup.procs").exists() else [top / "systemd", top / "unified"]
    made = [root / f"strongroom-test-{os.getpid()}-{time.monotonic_ns()}" for root in roots]
    for group in made:
        group.mkdir()
    return made


def _remove(group: Path) -> None:
    """Remove a control group and those in it, as soon as the last of its processes is gone."""
    end = time.monotonic() + 30
    for folder in [*sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True), group]:
        while True:
            try:
                folder.rmdir()
                break
            except OSError:
                assert time.monotonic() < end, f"{folder} is still in use"
                time.sleep(0.02)
