"""``undelete``, ``destroy``, ``metadata`` and ``list --folders``, run as commands."""

from __future__ import annotations

import os
import pty
import subprocess

from typing import Any

import pytest

CONFIGURATION = """
audit = "none"

[backends.main]
type = "memory"

[backends.main.seed]
top = "1"
"db/password" = "2"
"db/prod/password" = "3"
"""


@pytest.fixture
def desk(desk: Any) -> Any:
    """A folder whose configuration has a backend that holds three secrets anew in each command."""
    desk.configure(CONFIGURATION)
    return desk


class TestOneLevel:
    """``list --folders``."""

    def test_names_and_folders_are_told_apart(self, desk: Any) -> None:
        assert desk("list", "--folders").lines == ["db/", "top"]
        assert desk("list", "db", "--folders").lines == ["db/password", "db/prod/"]

    def test_programs_get_them_apart(self, desk: Any) -> None:
        assert desk("list", "db/", "--folders", "--json").json == {
            "prefix": "db",
            "names": ["db/password"],
            "folders": ["db/prod"],
        }


class TestUndelete:
    def test_what_is_there_is_named(self, desk: Any) -> None:
        done = desk("undelete", "db/password")
        assert (done.status, done.stdout, done.stderr) == (0, "", "db/password version 1 is there again\n")
        assert desk("undelete", "db/password", "--json").json["version"] == "1"

    def test_what_never_was_is_not_found(self, desk: Any) -> None:
        assert desk("undelete", "db/other").status == 3
        assert desk("undelete", "db/password", "--version", "7").status == 3


class TestDestroy:
    def test_nothing_is_destroyed_unless_somebody_is_asked_or_says_yes(self, desk: Any) -> None:
        done = desk("destroy", "db/password")
        assert (done.status, done.stdout) == (2, "")
        assert done.stderr == ("strongroom: what is destroyed stays destroyed, and there is nobody to ask: add --yes\n")

    def test_it_says_what_was_destroyed(self, desk: Any) -> None:
        whole = desk("destroy", "db/password", "--yes")
        assert (whole.status, whole.stderr) == (0, "destroyed db/password with all its versions\n")
        one = desk("destroy", "db/password", "--version", "1", "--yes")
        assert (one.status, one.stderr) == (0, "destroyed version 1 of db/password\n")
        none = desk("destroy", "db/other", "--yes")
        assert (none.status, none.stderr) == (0, "there was nothing to destroy of db/other\n")

    def test_a_version_that_never_was_is_an_error(self, desk: Any) -> None:
        assert desk("destroy", "db/password", "--version", "1", "--version", "7", "--yes").status == 3

    def test_programs_get_what_was_destroyed(self, desk: Any) -> None:
        assert desk("destroy", "db/password", "--yes", "--json").json == {
            "name": "db/password",
            "existed": True,
            "subscribers_failed": [],
            "copy_failed": "",
        }

    @pytest.mark.parametrize(
        ("answer", "status", "said"),
        [
            ("y\n", 0, "destroyed db/password with all its versions"),
            ("YES\n", 0, "destroyed db/password with all its versions"),
            ("n\n", 1, "nothing was destroyed"),
            ("\n", 1, "nothing was destroyed"),
            ("\4", 1, "nothing was destroyed"),  # the end of input
        ],
    )
    def test_a_person_is_asked(self, answer: str, status: int, said: str, desk: Any) -> None:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            desk.command("destroy", "db/password"),
            cwd=desk.folder,
            env=desk.environment(),
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.close(theirs)
            os.write(ours, answer.encode())
            _, shown = process.communicate(timeout=60)
        os.close(ours)
        assert process.returncode == status
        question = "Destroy db/password with all its versions? Nothing brings it back. [y/N] "
        assert shown == f"{question}{said}\n"


class TestMetadata:
    def test_facts_and_notes_are_shown(self, desk: Any) -> None:
        lines = desk("metadata", "db/password", "--set", "owner=shop", "--set", "ticket=a=b").lines
        assert lines[0].split() == ["KIND", "NAME", "VALUE"]
        assert lines[1].split() == ["fact", "version", "1"]
        assert [line.split() for line in lines if line.startswith("note")] == [
            ["note", "owner", "shop"],
            ["note", "ticket", "a=b"],
        ]

    def test_programs_get_them_by_name(self, desk: Any) -> None:
        options = ("--set", "owner=shop", "--set", "old=x", "--json")
        found = desk("metadata", "db/password", *options).json
        assert found["metadata"] == {"owner": "shop", "old": "x"}
        assert (found["name"], found["backend"], found["version"]) == ("db/password", "main", "1")
        assert found["facts"] == {"versions kept": "1"}

    def test_a_name_that_is_set_and_unset_is_set(self, desk: Any) -> None:
        found = desk("metadata", "db/password", "--set", "owner=shop", "--unset", "owner", "--unset", "other", "--json")
        assert found.json["metadata"] == {"owner": "shop"}

    def test_looking_notes_nothing(self, desk: Any) -> None:
        desk.configure(
            CONFIGURATION.replace('audit = "none"', "") + '[[audit]]\ntype = "notebook"\npath = "trail.txt"\n'
        )
        assert desk("metadata", "db/password").status == 0
        trail = desk.trail.read_text()
        assert '"event": "describe"' in trail
        assert '"event": "annotate"' not in trail

    @pytest.mark.parametrize("text", ["owner", "=shop", ""])
    def test_what_is_no_note_is_refused(self, text: str, desk: Any) -> None:
        done = desk("metadata", "db/password", "--set", text)
        assert done.status == 2
        assert done.stderr.startswith("strongroom: --set takes KEY=TEXT, not ")

    def test_a_note_moves_no_cursor(self, desk: Any) -> None:
        shown = desk("metadata", "db/password", "--set", "owner=\x1b[2J\nfact version 9").stdout
        assert "\x1b" not in shown
        assert r"\x1b[2J\nfact version 9" in shown

    def test_a_backend_without_notes_says_so(self, desk: Any) -> None:
        desk.configure('audit = "none"\n[backends.main]\ntype = "moody"\n')
        for command in (["metadata", "a"], ["undelete", "a"], ["destroy", "a", "--yes"]):
            done = desk(*command)
            assert (done.status, done.stdout) == (2, "")
            assert "main (type moody) keeps no" in done.stderr
