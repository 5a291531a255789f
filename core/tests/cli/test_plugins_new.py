"""`plugins new` makes a complete distribution, or refuses and leaves nothing."""

from __future__ import annotations

import errno
import json
import keyword
import os
import re
import runpy
import subprocess
import sys
import tomllib

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement

from strongroom.cli.command import UsageError
from strongroom.cli.scaffold import SORTS, files_for, names_for, write_out
from strongroom.errors import ConfigurationError

each_kind = pytest.mark.parametrize("kind", SORTS)


def made_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder for what is made."""
    folder = tmp_path / "place"
    folder.mkdir()
    return folder


@each_kind
def test_each_kind_is_a_whole_distribution(desk: Any, place: Path, kind: str) -> None:
    done = desk("plugins", "new", "strongroom-acme", "--kind", kind, "--directory", str(place))
    assert (done.status, done.stdout) == (0, "")
    assert made_in(place) == sorted(
        f"strongroom-acme/{path}"
        for path in (
            ".gitignore",
            "CHANGELOG.md",
            "README.md",
            "pyproject.toml",
            "src/strongroom_acme/__init__.py",
            f"src/strongroom_acme/{kind}.py",
            "src/strongroom_acme/plugin.py",
            "src/strongroom_acme/py.typed",
            "tests/test_conformance.py",
            f"tests/test_{kind}.py",
        )
    )


@each_kind
def test_its_metadata_lead_to_what_it_offers(kind: str) -> None:
    files = files_for(kind, names_for("acme-secrets", SORTS[kind]))
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "acme-secrets"
    assert project["entry-points"] == {SORTS[kind].kind.group: {"acme-secrets": "acme_secrets.plugin"}}
    assert not {"license", "license-files"} & project.keys(), "a licence is the author's to choose"
    for text in (*project["dependencies"], *project["optional-dependencies"]["testing"]):
        requirement = Requirement(text)
        assert requirement.name == "strongroom"
        assert requirement.specifier.contains(metadata.version("strongroom"), prereleases=True)
        major = int(metadata.version("strongroom").partition(".")[0])
        assert not requirement.specifier.contains(f"{major + 1}.0")


@each_kind
def test_its_module_describes_what_the_readme_says(kind: str, place: Path) -> None:
    files = files_for(kind, names_for("strongroom-acme", SORTS[kind]))
    write_out(files, str(place / "acme"))
    content = runpy.run_path(str(place / "acme/src/strongroom_acme/plugin.py"))
    (spec,) = content[SORTS[kind].kind.hook]()
    assert isinstance(spec, SORTS[kind].kind.spec)
    assert spec.name == "acme"
    assert spec.summary == tomllib.loads(files["pyproject.toml"])["project"]["description"]
    assert set(re.findall(r"^\| `(\w+)` \| (?:`|must)", files["README.md"], re.MULTILINE)) == set(spec.settings._fields)


@each_kind
def test_nothing_is_left_to_be_filled_in(kind: str) -> None:
    files = files_for(kind, names_for("strongroom-acme", SORTS[kind]))
    for path, text in files.items():
        assert not re.search(r"@[A-Z]+@|TODO|FIXME|NotImplemented", text), path
        assert text.isascii(), path
        if path.endswith(".py"):
            compile(text, path, "exec")


@pytest.mark.parametrize(
    ("given_name", "distribution", "package", "offered"),
    [
        ("strongroom-acme", "strongroom-acme", "strongroom_acme", "acme"),
        ("Strongroom_Acme", "strongroom-acme", "strongroom_acme", "acme"),
        ("acme-secrets", "acme-secrets", "acme_secrets", "acme-secrets"),
        ("acme.secrets", "acme-secrets", "acme_secrets", "acme-secrets"),
        ("a--b__c", "a-b-c", "a_b_c", "a-b-c"),
        ("strongroom-3scale", "strongroom-3scale", "strongroom_3scale", "3scale"),
        ("x", "x", "x", "x"),
    ],
)
def test_names_follow_from_the_distributions(given_name: str, distribution: str, package: str, offered: str) -> None:
    names = names_for(given_name, SORTS["backend"])
    assert (names.distribution, names.package, names.offered) == (distribution, package, offered)


@pytest.mark.parametrize(
    ("name", "kind", "prefix"),
    [
        ("strongroom-acme-vaults", "backend", "AcmeVaults"),
        ("strongroom-cache", "cache", "OwnCache"),  # CachePolicy is the contract
        ("strongroom-cache", "backend", "Cache"),
        ("strongroom-3scale", "audit", "Own3scale"),
        ("strongroom-testbed", "backend", "OwnTestbed"),  # pytest would take it for a test
        ("strongroom-a-very-long-name-that-goes-on", "rotator", "Own"),
    ],
)
def test_classes_are_called_after_what_is_offered(name: str, kind: str, prefix: str) -> None:
    assert names_for(name, SORTS[kind]).prefix == prefix


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "'' is no name of a distribution: use letters"),
        ("-acme", "is no name of a distribution"),
        ("acme!", "is no name of a distribution"),
        ("acme secrets", "is no name of a distribution"),
        ("caf\u00e9", "is no name of a distribution"),
        ("../acme", "is no name of a distribution"),
        ("acme\n", "is no name of a distribution"),
        ("n" * 41, "has more than 40 characters"),
        ("class", "the package class is a word of Python's own: try strongroom-class"),
        ("json", "the package json would hide a module of that name: try strongroom-json"),
        ("tests", "would hide a module of that name"),
        ("test-conformance", "would hide a module of that name: try strongroom-test-conformance"),
        ("test.backend", "would hide a module of that name"),
        ("3scale", "the package 3scale begins with a digit: try strongroom-3scale"),
        ("pytest", "the package pytest would hide /"),
        ("Strongroom", "strongroom is a name of strongroom's own"),
        ("strongroom_vault", "strongroom-vault is a name of strongroom's own"),
        ("strongroom-memory", "the backend 'memory' is offered by strongroom 1."),
    ],
)
def test_a_name_in_somebodys_way_is_refused(desk: Any, place: Path, name: str, complaint: str) -> None:
    done = desk("plugins", "new", "--kind", "backend", "--directory", str(place), "--", name)
    assert (done.status, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert list(place.iterdir()) == []


def test_a_clash_is_with_the_same_kind_only_and_names_who_offers_it(desk: Any, place: Path) -> None:
    def new(kind: str) -> Any:
        return desk("plugins", "new", "strongroom-moody", "--kind", kind, "--directory", str(place))

    refused = new("backend")
    assert refused.status == 2
    assert "the backend 'moody' is offered by told 1.0 already" in refused.stderr
    assert new("rotator").status == 0


def test_a_name_that_is_offered_by_one_of_ours_is_refused_although_that_is_not_installed(
    desk: Any, place: Path
) -> None:
    new = ("plugins", "new", "strongroom-jsonl", "--kind", "audit", "--directory", str(place))
    done = desk(*new, STRONGROOM_NO_PLUGINS="1")
    assert done.status == 2
    assert "the audit sink 'jsonl' is offered by strongroom-audit-jsonl already" in done.stderr


def test_an_unknown_kind_is_refused(desk: Any, place: Path) -> None:
    done = desk("plugins", "new", "strongroom-acme", "--kind", "vault", "--directory", str(place))
    assert done.status == 2
    assert "backend" in done.stderr
    assert list(place.iterdir()) == []


def test_what_is_there_already_is_left_alone(desk: Any, place: Path) -> None:
    def new() -> Any:
        return desk("plugins", "new", "strongroom-acme", "--kind", "audit", "--directory", str(place))

    target = place / "strongroom-acme"
    kept = place / "kept"
    for make in (
        lambda: target.write_text("precious"),
        lambda: target.symlink_to("nowhere"),
        lambda: (kept.mkdir(), target.symlink_to(kept)),
        lambda: (target.mkdir(), (target / "precious").touch()),
    ):
        make()
        before = sorted(place.rglob("*"))
        done = new()
        assert done.status == 2
        assert "is there already, and nothing was changed" in done.stderr
        assert sorted(place.rglob("*")) == before
        if target.is_dir() and not target.is_symlink():
            (target / "precious").unlink()
        else:
            target.unlink()
    # The last one has left an empty folder, in which nothing can be lost.
    assert new().status == 0
    assert (target / "pyproject.toml").exists()


def test_a_folder_that_may_not_be_looked_into_is_left_alone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    target = place / "strongroom-acme"
    target.mkdir()
    # Root may look into any folder, so the system's refusal is played here.
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(ConfigurationError, match="is there already, and nothing was changed"):
        write_out({"README.md": "precious"}, str(target))
    monkeypatch.undo()
    assert list(place.rglob("*")) == [target]


def test_a_folder_that_is_not_there_is_not_made(desk: Any, place: Path) -> None:
    done = desk("plugins", "new", "strongroom-acme", "--kind", "audit", "--directory", str(place / "gone"))
    assert (done.status, done.stderr.count("\n")) == (2, 1)
    assert "cannot be made: No such file or directory" in done.stderr
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("call", ["mkdir", "makedirs", "rename"])
def test_a_failure_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, call: str, failure: BaseException
) -> None:
    calls = []
    real = getattr(os, call)

    def fail(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if call == "makedirs" and len(calls) < 3:
            return real(*arguments, **options)
        raise failure

    monkeypatch.setattr(os, call, fail)
    files = files_for("backend", names_for("strongroom-acme", SORTS["backend"]))
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else ConfigurationError
    with pytest.raises(expected):
        write_out(files, str(place / "strongroom-acme"))
    assert calls
    assert list(place.iterdir()) == []


def test_it_says_what_to_do_next(desk: Any, place: Path) -> None:
    folder = place / "with a blank"
    folder.mkdir()
    done = desk("plugins", "new", "strongroom-acme", "--kind", "cache", "--directory", str(folder))
    assert done.stderr.splitlines() == [
        f"made {folder}/strongroom-acme, with 10 files; a configuration says 'acme'",
        "next:",
        f"  cd '{folder}/strongroom-acme'",
        "  python -m pip install -e '.[testing]'",
        "  python -m pytest",
    ]


def test_a_folder_s_name_does_not_reach_the_terminal_as_it_is(desk: Any, place: Path) -> None:
    folder = place / "red\x1b[31m"
    folder.mkdir()
    done = desk("plugins", "new", "strongroom-acme", "--kind", "cache", "--directory", str(folder))
    assert done.status == 0
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("position", [1, 6], ids=["before new", "at the end"])
def test_programs_are_told_in_json(desk: Any, place: Path, position: int) -> None:
    arguments = ["plugins", "new", "Strongroom.Acme", "--kind", "detector"]
    arguments.insert(position, "--json")
    done = desk(*arguments)
    assert (done.status, done.stderr) == (0, "")
    assert done.json["folder"] == done.json["distribution"] == "strongroom-acme"
    assert (done.json["package"], done.json["offered"]) == ("strongroom_acme", "acme")
    assert done.json["next"][0] == "cd strongroom-acme"
    assert sorted(done.json["files"]) == made_in(desk.folder / "strongroom-acme")


def test_listing_loads_nothing_of_it() -> None:
    program = (
        "import json, sys; from strongroom.cli.main import main; main(['plugins', '--json']); "
        "print(json.dumps([name for name in sys.modules if 'scaffold' in name]), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stderr.splitlines()[-1]) == []


NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?", fullmatch=True)


@given(name=st.one_of(NAMES, NAMES.map("strongroom-".__add__), st.text(max_size=50)), kind=st.sampled_from([*SORTS]))
@settings(max_examples=150, deadline=None)
def test_any_name_is_usable_everywhere_or_refused(name: str, kind: str) -> None:
    try:
        names = names_for(name, SORTS[kind])
    except UsageError:
        return
    assert names_for(names.distribution, SORTS[kind]) == names
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", names.distribution)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", names.offered)
    assert names.package.isidentifier()
    assert not keyword.iskeyword(names.package)
    files = files_for(kind, names)
    assert tomllib.loads(files["pyproject.toml"])["project"]["name"] == names.distribution
    for path, text in files.items():
        if path.endswith(".py"):
            compile(text, path, "exec")
            assert max(map(len, text.splitlines()), default=0) <= 120, path
