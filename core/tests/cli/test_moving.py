"""The commands ``copy`` and ``diff``."""

from __future__ import annotations

import json
import textwrap

from typing import Any, Final

import pytest

MARKER: Final = "zq7-marker-3f9d41c2b8e6-aB9xK2mQ7wL4"

CONFIGURATION: Final = """
backend = "one"

[backends.one]
type = "memory"
seed = {{ {one} }}

[backends.two]
type = "memory"
seed = {{ {two} }}
max_value_bytes = 50

[[audit]]
type = "notebook"
path = "trail.txt"
"""


@pytest.fixture
def filled(desk: Any) -> Any:
    """A desk with two backends: one secret is the same, one differs, one is missing on either side."""
    one = f'"app/same" = "1", "app/other" = "{MARKER}", "app/mine" = "{MARKER}", "top" = "1"'
    desk.configure(CONFIGURATION.format(one=one, two='"app/same" = "1", "app/other" = "2", "app/theirs" = "1"'))
    return desk


def test_a_diff_names_what_differs_and_exits_with_1(filled: Any) -> None:
    done = filled("diff", "one:app/", "two:app/")
    assert done.status == 1
    assert done.lines == [
        "STATE             NAME",
        "only in one:app/  mine",
        "differs           other",
        "only in two:app/  theirs",
    ]
    assert done.stderr == "1 same, 1 differs, 1 only in one:app/, 1 only in two:app/\n"
    assert MARKER not in done.stdout + done.stderr


def test_a_diff_of_equal_folders_exits_with_0(desk: Any) -> None:
    desk.configure(CONFIGURATION.format(one='"a/x" = "1"', two='"b/x" = "1", "c/x" = "2"'))
    done = desk("diff", "one:a/", "two:b")
    assert (done.status, done.stdout, done.stderr) == (0, "", "1 same\n")


def test_a_diff_tells_programs_the_same(filled: Any) -> None:
    done = filled("diff", "one:app/", "two:app/", "--versions", "--json")
    assert done.status == 1
    assert done.json["counts"] == {"same": 1, "differs": 1, "only_from": 1, "only_to": 1}
    assert done.json["names"][:2] == [
        {"name": "mine", "state": "only_from", "from_versions": 1, "to_versions": 0},
        {"name": "other", "state": "differs", "from_versions": 1, "to_versions": 1},
    ]
    assert MARKER not in done.stdout


def test_a_diff_with_versions_counts_them(filled: Any) -> None:
    done = filled("diff", "one:app/", "two:app/", "--versions")
    assert done.lines[1].split() == ["only", "in", "one:app/", "mine", "1", "-"]


def test_a_copy_stops_at_another_value_and_names_each(filled: Any) -> None:
    done = filled("copy", "one:app/", "two:app/")
    assert done.status == 7
    assert done.stderr.splitlines() == [
        "strongroom: app/other is there already with another value: add --if-exists skip, overwrite or newer",
        "strongroom: nothing was copied",
    ]
    assert '"event": "set"' not in filled.trail.read_text()


def test_a_copy_says_what_it_did(filled: Any) -> None:
    done = filled("copy", "one:app/", "two:app/", "--if-exists", "skip")
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr.splitlines() == [
        "kept app/other, which has another value",
        "copied 1 secret from one:app/ to two:app/; 1 was there already",
    ]
    events = [json.loads(line) for line in filled.trail.read_text().splitlines()]
    writes = [(one["key"], one["backend"]) for one in events if one["event"] == "set" and one["phase"] == "outcome"]
    assert writes == [("app/mine", "two")]
    assert MARKER not in filled.trail.read_text()


def test_a_dry_run_checks_everything_and_writes_nothing(filled: Any) -> None:
    done = filled("copy", "one:app/", "two:new/", "--dry-run")
    assert (done.status, done.stderr) == (0, "would copy new/mine\nwould copy new/other\nwould copy new/same\n")
    assert '"event": "set"' not in filled.trail.read_text()
    assert filled("copy", "one:app/", "two:app/", "--dry-run").status == 7


def test_a_copy_tells_programs_the_same(filled: Any) -> None:
    done = filled("copy", "one", "two", "--if-exists", "overwrite", "--json")
    assert done.status == 0
    assert done.json["copied"] == [
        {"name": "app/mine", "version": "1", "versions": 1},
        {"name": "app/other", "version": "2", "versions": 1},
        {"name": "top", "version": "1", "versions": 1},
    ]
    assert (done.json["equal"], done.json["kept"], done.json["failed"]) == (["app/same"], [], [])
    dry = filled("copy", "one", "two", "--if-exists", "skip", "--dry-run", "--json").json
    assert [one["name"] for one in dry["copied"]] == ["app/mine", "top"]
    assert dry["kept"] == ["app/other"]


def test_what_cannot_be_copied_stops_a_copy_unless_it_is_to_keep_going(desk: Any) -> None:
    desk.configure(CONFIGURATION.format(one=f'"fine" = "1", "large" = "{MARKER * 2}"', two=""))
    stopped = desk("copy", "one", "two")
    assert (stopped.status, stopped.stderr.splitlines()[-1]) == (2, "strongroom: nothing was copied")
    done = desk("copy", "one", "two", "--keep-going")
    assert (done.status, done.stderr.splitlines()[0]) == (2, "copied 1 secret from one to two")
    assert "the value of large has 72 bytes" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("oen", "two"), "there is no backend 'oen': did you mean 'one'?"),
        (("one", "one:app/"), "one and one:app/ overlap"),
        (("one:.strongroom/", "two"), "kept for strongroom itself"),
        (("one", "two", "--workers", "0"), "--workers is not from 1 to 64"),
    ],
)
@pytest.mark.parametrize("command", ["copy", "diff"])
def test_places_that_are_none_are_refused(filled: Any, command: str, arguments: tuple[str, ...], words: str) -> None:
    done = filled(command, *arguments)
    assert done.status == 2
    assert words in done.stderr


def test_a_folder_with_nothing_in_it_is_an_error(filled: Any) -> None:
    assert filled("copy", "one:ap/", "two").status == 3
    assert filled("diff", "one:ap/", "two:ap/").status == 3


def test_another_principal_moves_only_what_it_may(filled: Any) -> None:
    rules = """
        [[policies]]
        principal = "*"
        effect = "allow"
        actions = ["list", "read", "create", "update"]
        names = ["**"]

        [[policies]]
        principal = "mover"
        effect = "deny"
        actions = ["create"]
        names = ["new/other"]
        """
    filled.configure((filled.folder / "strongroom.toml").read_text() + textwrap.dedent(rules))
    done = filled("--as", "mover", "copy", "one:app/", "two:new/")
    assert (done.status, done.stderr.splitlines()[-1]) == (4, "strongroom: nothing was copied")
    assert "new/other" in done.stderr
    assert '"event": "set", "phase": "outcome", "result": "ok"' not in filled.trail.read_text()
    done = filled("--as", "mover", "copy", "one:app/", "two:new/", "--keep-going")
    assert (done.status, done.stderr.splitlines()[0]) == (4, "copied 2 secrets from one:app/ to two:new/")
