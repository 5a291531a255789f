"""``script/release`` makes ready what is uploaded: in a copy of the repository, with a history of its own."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

from pathlib import Path

import pytest

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from _changelog import gather
from _release import check_bounds
from _workspace import ROOT
from sources import tracked_files

DAY = "1790000000"
"""A moment on 2026-09-21."""

NEXT = "1.4.0"


class Repository:
    """A copy of the repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *arguments: str) -> str:
        """Run git, with no configuration of the developer's."""
        identity = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false")
        command = ["git", *identity, *arguments]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def release(self, *arguments: str, status: int = 0) -> str:
        """Run the script; return what it printed, or its complaint if it must fail."""
        done = subprocess.run(
            [sys.executable, self.folder / "script/release", *arguments],
            env={**os.environ, "SOURCE_DATE_EPOCH": DAY},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stderr if status else done.stdout

    def text(self, path: str) -> str:
        """Return the content of a file."""
        return (self.folder / path).read_text()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A copy of what a release of two distributions looks at, in which all is committed."""
    copy = tmp_path / "copy"
    wanted = {ROOT / name for name in ("core", "plugins/strongroom-env", "script", "constraints.txt", ".gitignore")}
    for file in tracked_files():
        if wanted & {file, *file.parents} and "tests" not in file.parts:
            target = copy / file.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
    fragments = copy / "plugins/strongroom-env/changelog.d"
    for file in fragments.iterdir():
        file.unlink()
    (fragments / "12.fixed.md").write_text("A fault was\nmended.\n")
    (fragments / "+more.added.md").write_text("More was added.\n")
    (copy / "core/changelog.d/+more.added.md").write_text("More was added.\n")
    made = Repository(copy)
    made.git("init", "--quiet")
    made.git("add", "--all")
    made.git("commit", "--quiet", "--message", "begin")
    return made


SECTION = f"""\
## {NEXT} (2026-09-21)

### Added

- More was added.

### Fixed

- A fault was
  mended.
"""


def test_a_release_is_made_ready_and_a_second_run_makes_the_same(repository: Repository) -> None:
    said = repository.release(NEXT, "strongroom-env")
    folder = repository.folder / "plugins/strongroom-env"
    output = repository.folder / "dist" / NEXT
    assert f'\nversion = "{NEXT}"\n' in repository.text("plugins/strongroom-env/pyproject.toml")
    assert SECTION in repository.text("plugins/strongroom-env/CHANGELOG.md")
    assert [file.name for file in (folder / "changelog.d").iterdir()] == [".gitkeep"]
    assert sorted(file.name for file in output.iterdir()) == [
        "SHA256SUMS",
        f"strongroom_env-{NEXT}-py3-none-any.whl",
        f"strongroom_env-{NEXT}.cdx.json",
        f"strongroom_env-{NEXT}.tar.gz",
    ]
    assert f"git tag --annotate strongroom-env-v{NEXT}" in said
    assert f"twine upload dist/{NEXT}/" in said
    sums = (output / "SHA256SUMS").read_text()
    for line in sums.splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((output / name).read_bytes()).hexdigest() == digest
    assert_is_a_bill_of_materials(output / f"strongroom_env-{NEXT}.cdx.json")
    changed = repository.git("status", "--porcelain")
    repository.release(NEXT, "strongroom-env")
    assert (output / "SHA256SUMS").read_text() == sums
    assert repository.git("status", "--porcelain") == changed


def assert_is_a_bill_of_materials(file: Path) -> None:
    """Check it against the schema, and that it says what is installed, and nothing of this machine or this moment."""
    text = file.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    content = json.loads(text)
    root = content["metadata"]["component"]
    assert (root["name"], root["version"], root["purl"]) == ("strongroom-env", NEXT, f"pkg:pypi/strongroom-env@{NEXT}")
    pins = dict(re.findall(r"^([a-z0-9._-]+)==([^\s;]+)", (ROOT / "constraints.txt").read_text(), re.M))
    found = {entry["purl"].partition("@")[0].removeprefix("pkg:pypi/"): entry for entry in content["components"]}
    assert {"strongroom", "pluggy", "opentelemetry-api", "python-dotenv", "attrs"} <= found.keys()
    for name, entry in found.items():
        assert entry["version"] == pins.get(name, entry["version"] if name == "strongroom" else None)
        assert name == "strongroom" or entry.get("licenses") or entry.get("evidence")
    edges = {entry["ref"]: entry.get("dependsOn", []) for entry in content["dependencies"]}
    assert any(ref.startswith("strongroom==") for ref in edges[root["bom-ref"]])
    assert not [ref for ref, others in edges.items() if root["bom-ref"] in others]
    assert "serialNumber" not in content
    assert "file:" not in text


def test_a_dry_run_changes_nothing_but_the_output_folder(repository: Repository) -> None:
    said = repository.release(NEXT, "strongroom-env", "--dry-run")
    assert "dry run" in said
    assert "twine upload" not in said
    assert repository.git("status", "--porcelain") == ""
    assert (repository.folder / f"dist/{NEXT}/strongroom_env-{NEXT}.tar.gz").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("1.x", "strongroom-env"), "Invalid version"),
        ((NEXT, "strongroom-nothing"), "there is no distribution strongroom-nothing"),
        (("0.9.0", "strongroom-env"), "is higher than 0.9.0"),
        (("2.0.0", "strongroom-env"), "requires strongroom-env<2,>=1.0"),
        (("2.0.0", "strongroom"), "requires strongroom<2,>=1.0"),
    ],
)
def test_what_cannot_be_released_is_refused_and_nothing_is_changed(
    arguments: tuple[str, ...], complaint: str, repository: Repository
) -> None:
    status = 2 if complaint == "Invalid version" else 1
    assert complaint in repository.release(*arguments, status=status)
    assert repository.git("status", "--porcelain") == ""


def test_a_distribution_without_news_is_not_released(repository: Repository) -> None:
    repository.git("rm", "--quiet", "-r", "plugins/strongroom-env/changelog.d")
    (repository.folder / "plugins/strongroom-env/changelog.d").mkdir()
    (repository.folder / "plugins/strongroom-env/changelog.d/.gitkeep").touch()
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", "no news")
    assert "no fragments" in repository.release(NEXT, "strongroom-env", status=1)


@pytest.mark.parametrize("path", ["core/src/strongroom/errors.py", "a-new-file", "plugins/strongroom-env/src/x.py"])
def test_what_is_not_committed_is_refused_by_name(path: str, repository: Repository) -> None:
    with (repository.folder / path).open("a") as file:
        file.write("# changed\n")
    assert path in repository.release(NEXT, "strongroom-env", status=1)


def project(folder: Path) -> Path:
    """Make a folder with a changelog of one version and two fragments."""
    (folder / "changelog.d").mkdir()
    (folder / "CHANGELOG.md").write_text(
        "# Changelog of it\n\nWords.\n\n## 1.0.0 (2026-01-01)\n\n### Added\n\n- All.\n"
    )
    (folder / "changelog.d/7.security.md").write_text("Closed a hole.\n")
    (folder / "changelog.d/+b.changed.md").write_text("Two sentences. In one\nfragment.\n")
    return folder


def test_a_new_section_stands_above_the_older_ones(tmp_path: Path) -> None:
    assert gather(project(tmp_path), "1.1.0", "2026-02-02")
    assert (tmp_path / "CHANGELOG.md").read_text() == (
        "# Changelog of it\n\nWords.\n\n"
        "## 1.1.0 (2026-02-02)\n\n### Changed\n\n- Two sentences. In one\n  fragment.\n\n"
        "### Security\n\n- Closed a hole.\n\n"
        "## 1.0.0 (2026-01-01)\n\n### Added\n\n- All.\n"
    )


def test_a_run_that_was_interrupted_is_taken_up(tmp_path: Path) -> None:
    folder = project(tmp_path)
    texts = {file: file.read_text() for file in (folder / "changelog.d").iterdir()}
    gather(folder, "1.1.0", "2026-02-02")
    written = (folder / "CHANGELOG.md").read_text()
    for file, text in texts.items():
        file.write_text(text)
    gather(folder, "1.1.0", "2026-02-03")
    assert (folder / "CHANGELOG.md").read_text() == written
    assert [file.name for file in (folder / "changelog.d").iterdir()] == [".gitkeep"]


def test_news_for_a_version_that_has_its_section_is_refused(tmp_path: Path) -> None:
    folder = project(tmp_path)
    gather(folder, "1.1.0", "2026-02-02")
    (folder / "changelog.d/8.fixed.md").write_text("Too late.\n")
    with pytest.raises(SystemExit, match=r"8\.fixed\.md"):
        gather(folder, "1.1.0", "2026-02-02")
    assert (folder / "changelog.d/8.fixed.md").exists()


def test_what_ours_require_of_each_other_holds_as_it_is() -> None:
    check_bounds(ROOT)
