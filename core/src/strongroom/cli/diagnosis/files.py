"""Checks of files: who may read and change them, whether git would take them up, what was left over."""

from __future__ import annotations

import os
import stat

from collections.abc import Iterator

from strongroom.cli.diagnosis.finding import Finding, Place, ok, problem, warning
from strongroom.cli.diagnosis.sources import configuration_files, kept_files, key_files, left_keys
from strongroom.config.files import OVERLAY
from strongroom.config.references import NEW


def check_modes(place: Place) -> Iterator[Finding]:
    """Say which files others can read or change, or are somebody else's."""
    secret = dict.fromkeys([*key_files(place), *left_keys(place), *kept_files(place)])
    ours = configuration_files(place)
    folders = dict.fromkeys(os.path.dirname(path) for path in (*secret, *ours))
    found = [
        *(finding for path in folders for finding in _changeable(path, "others may replace what is in it")),
        *(finding for path in ours for finding in _changeable(path, "others may redirect everything")),
        *(finding for path in secret for finding in _private(path)),
    ]
    yield from found
    if not found and place.configuration is not None:
        yield ok(f"{len(secret)} files with secrets or records are ours alone")


def _status(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None  # what must be there and is not, other checks tell


def _changeable(path: str, consequence: str) -> Iterator[Finding]:
    """Yield what is wrong with a file or folder that others may read, but not change."""
    status = _status(path)
    if status is None:
        return
    what, mend = f"{path} has mode {_mode(status)}: {consequence}", f"run: chmod go-w {path}"
    # In a folder such as /tmp only the owner of a file can replace it.
    if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
        yield problem(what, mend)
    elif status.st_mode & 0o020:
        # Where each user has a group of their own, as many systems do by default, the group is nobody else.
        yield warning(what, mend)
    yield from _owned(path, status)


def _private(path: str) -> Iterator[Finding]:
    status = _status(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return
    # A key that root hands to one service's group is how orchestrators do it.
    loose = status.st_mode & (0o037 if status.st_uid == 0 != _user() else 0o077)
    if loose:
        verb = "change" if loose & 0o022 else "read"
        yield problem(f"{path} has mode {_mode(status)}: others can {verb} it", f"run: chmod 600 {path}")
    yield from _owned(path, status)


def _owned(path: str, status: os.stat_result) -> Iterator[Finding]:
    if status.st_uid not in {_user(), 0}:
        yield problem(f"{path} belongs to user {status.st_uid}, not to us", f"run: chown {_user()} {path}")


def _user() -> int:
    return os.geteuid()


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


def check_git(place: Place) -> Iterator[Finding]:
    """Say which files with secrets git would take up."""
    overlays = [path for path in configuration_files(place) if os.path.basename(path) == OVERLAY]
    named = dict.fromkeys([*overlays, *key_files(place), *left_keys(place), *kept_files(place)])
    paths = [path for path in named if os.path.isfile(path)]
    found: list[Finding] = []
    for folder in sorted({os.path.dirname(path) for path in paths}):
        if _is_in_work_tree(folder):
            found += _not_ignored(folder, [path for path in paths if os.path.dirname(path) == folder])
    yield from found
    if not found and place.configuration is not None:
        yield ok("git takes up no file with secrets or records")


def _is_in_work_tree(folder: str) -> bool:
    while not os.path.lexists(os.path.join(folder, ".git")):
        if os.path.dirname(folder) == folder:
            return False
        folder = os.path.dirname(folder)
    return True


def _not_ignored(folder: str, paths: list[str]) -> list[Finding]:
    import subprocess

    names = [os.path.basename(path) for path in paths]
    # A repository of somebody else's must not have us run its file system monitor.
    command = ["git", "-C", folder, "-c", "core.fsmonitor=false", "check-ignore", "-z", "--stdin"]
    text = "\0".join(names)
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=10, check=False)  # noqa: S603  # a fixed command
    except (OSError, subprocess.TimeoutExpired):
        return [warning(f"{folder} is in a git work tree, but git cannot be asked", "see that git ignores its secrets")]
    if done.returncode > 1:
        return [warning(f"git does not say what it ignores in {folder}", "see that git ignores its secrets")]
    ignored = set(done.stdout.decode().split("\0"))
    return [
        problem(
            f"git does not ignore {path}", f"add {name} to {os.path.join(folder, '.gitignore')}, untrack it if need be"
        )
        for path, name in zip(paths, names, strict=True)
        if name not in ignored
    ]


def check_left_over(place: Place) -> Iterator[Finding]:
    """Say which files a change of keys has left beside a key file."""
    left = left_keys(place)
    for path in left:
        if path.endswith(NEW):
            what = f"{path} was left by a change of keys that did not end"
            yield warning(what, "run `strongroom rekey` again: it goes on where it was interrupted")
        else:
            yield warning(f"{path} is an old key, which opens earlier backups only", "remove it when those are gone")
    if not left and place.configuration is not None:
        yield ok("no change of keys has left anything")
