"""The steps of ``script/release``."""

import argparse
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version
from uv import find_uv_bin

from _changelog import gather, has_section
from _sbom import write_all
from _workspace import ROOT

CORE = "strongroom"


def main(arguments: list[str]) -> int:
    """Make a release ready; return the exit status."""
    options = _options(arguments)
    chosen = options.distributions or list(projects(ROOT))
    _check_names(chosen)
    if not options.dry_run:
        _check_clean(chosen)
    output = ROOT / "dist" / options.version
    with tempfile.TemporaryDirectory(prefix="strongroom-release-") as place:
        # All is done to a copy first, so that a release that fails leaves this folder as it was.
        copy = Path(place) / "copy"
        export(copy)
        prepare(copy, chosen, options.version)
        make(copy, chosen, output, Path(place))
    if not options.dry_run:
        prepare(ROOT, chosen, options.version)
        say("changelogs and versions are written")
    say(f"made {output.relative_to(ROOT)}: {len(list(output.iterdir()))} files")
    _print_rest(chosen, options.version, dry_run=options.dry_run)
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="script/release", description="Make a release ready; nothing is uploaded.")
    parser.add_argument("version", help="the version that is released, such as 1.2.0")
    parser.add_argument("distributions", nargs="*", help="which; all unless given")
    parser.add_argument("--dry-run", action="store_true", help="in a copy: only the output folder changes")
    options = parser.parse_args(arguments)
    try:
        options.version = str(Version(options.version))
    except InvalidVersion as error:
        parser.error(str(error))
    return options


def say(text: str) -> None:
    """Say what has been done."""
    print(f"release: {text}", flush=True)


def projects(root: Path) -> dict[str, Path]:
    """Return the folder of each distribution by its name, the core first."""
    folders = [root / "core", *sorted(file.parent for file in root.glob("plugins/*/pyproject.toml"))]
    return {str(project(folder)["name"]): folder for folder in folders}


def project(folder: Path) -> dict[str, Any]:
    """Return the table ``[project]`` of the distribution in *folder*."""
    content: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return content


def _check_names(chosen: Iterable[str]) -> None:
    known = projects(ROOT)
    for name in chosen:
        if name not in known:
            sys.exit(f"there is no distribution {name}: known are {', '.join(known)}")


def _check_clean(chosen: Iterable[str]) -> None:
    """Refuse a tree with changes that are not this release's own, which an earlier run may have left."""
    own = ("pyproject.toml", "CHANGELOG.md", "changelog.d/")
    folders = [projects(ROOT)[name].relative_to(ROOT).as_posix() for name in chosen]
    allowed = tuple(f"{folder}/{file}" for folder in folders for file in own)
    entries = _run("git", "status", "--porcelain=v1", "-z", "--no-renames", cwd=ROOT).split("\0")
    dirty = [entry[3:] for entry in entries if entry and not entry[3:].startswith(allowed)]
    if dirty:
        sys.exit("commit or remove first, so that what is released is what is in git:\n  " + "\n  ".join(dirty))


def export(target: Path) -> None:
    """Copy what git has, or would take, so that nothing that lies about gets into an sdist."""
    listing = _run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def prepare(root: Path, chosen: Iterable[str], version: str) -> None:
    """Gather the fragments, set the versions, and check that what ours require of each other holds."""
    folders = projects(root)
    for name in chosen:
        folder, now = folders[name], Version(project(folders[name])["version"])
        if Version(version) < now:
            sys.exit(f"{name} is at {now} already, which is higher than {version}")
        if not gather(folder, version, _today()) and not has_section(folder, version):
            sys.exit(f"{name} has no fragments, so nothing to release: leave it out, or say what is new")
        text = (folder / "pyproject.toml").read_text()
        changed = re.sub(r'^version = "[^"]*"$', f'version = "{version}"', text, count=1, flags=re.M)
        if changed != text:
            (folder / "pyproject.toml").write_text(changed)
    check_bounds(root)


def _today() -> str:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    moment = (
        datetime.datetime.fromtimestamp(float(epoch), datetime.UTC) if epoch else datetime.datetime.now(datetime.UTC)
    )
    return moment.date().isoformat()


def check_bounds(root: Path) -> None:
    """Refuse versions that ours do not take of each other: of the core those of a plugin, and the other way round."""
    found = {name: project(folder) for name, folder in projects(root).items()}
    wrong = [
        f"{name} {content['version']} requires {requirement}, and {requirement.name} is at {version}"
        for name, content in found.items()
        for requirement in _requirements(content)
        if requirement.name in found
        and not requirement.specifier.contains(version := found[requirement.name]["version"], prereleases=True)
    ]
    if wrong:
        sys.exit("what ours require of each other does not hold:\n  " + "\n  ".join(wrong))


def _requirements(content: dict[str, Any]) -> list[Requirement]:
    extras = content.get("optional-dependencies", {}).values()
    return [Requirement(text) for texts in [content.get("dependencies", []), *extras] for text in texts]


def make(copy: Path, chosen: list[str], output: Path, place: Path) -> None:
    """Build twice, compare, and put what is to be uploaded into *output*."""
    folders = projects(copy)
    built = {CORE, *chosen}  # the core in any case: a plugin's bill of materials has it
    build([folders[name] for name in built], place / "first")
    again = place / "again" / "in another folder"
    shutil.copytree(copy, again)
    build([projects(again)[name] for name in built], place / "second")
    differing = [
        file.name for file in (place / "first").iterdir() if _digest(file) != _digest(place / "second" / file.name)
    ]
    if differing:
        sys.exit(f"two builds differ: {', '.join(sorted(differing))}")
    say("two builds in two folders gave the same files")
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    for name in chosen:
        for file in (place / "first").glob(f"{name.replace('-', '_')}-*"):
            shutil.copyfile(file, output / file.name)
    _run(sys.executable, "-m", "twine", "check", "--strict", *sorted(output.iterdir()))
    say("twine finds nothing wrong with them")
    write_all([folders[name] for name in chosen], place / "first", output)
    say("each has a bill of materials")
    sums = "".join(f"{_digest(file)}  {file.name}\n" for file in sorted(output.iterdir()))
    (output / "SHA256SUMS").write_text(sums)


def build(folders: Iterable[Path], target: Path) -> None:
    """Build the sdist of each distribution, and its wheel from that, with the pinned build tools."""
    uv = find_uv_bin()
    pins = ("--build-constraint", ROOT / "constraints.txt")
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}

    def _one(folder: Path) -> None:
        _run(uv, "build", "--quiet", *pins, "--out-dir", target, folder, env=environment)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(_one, folders))
    (target / ".gitignore").unlink(missing_ok=True)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _print_rest(chosen: list[str], version: str, *, dry_run: bool) -> None:
    if dry_run:
        say("this was a dry run: run it without --dry-run, then it says what is left to do")
        return
    say("what is left to do:")
    print("git add --all && git commit --message", f"'Release {version}'")
    if CORE in chosen:
        print(
            f"script/api --release {version.rpartition('.')[0]}    # keeps the record of the public API, if it is new"
        )
    for name in chosen:
        print(f"git tag --annotate {name}-v{version} --message '{name} {version}'")
    print(f"git push --follow-tags\npython -m twine upload dist/{version}/*.tar.gz dist/{version}/*.whl")


def _run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, cwd=cwd, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
