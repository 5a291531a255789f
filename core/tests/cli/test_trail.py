"""Which audit sink the commands read, whatever the others do."""

from __future__ import annotations

from typing import Any

import pytest

BACKEND = '[backends.main]\ntype = "moody"\n'
MARKER = "zq7-marker-3f9d41c2b8e6"

each_reader = pytest.mark.parametrize("command", [["audit", "tail"], ["audit", "report"], ["stats"]], ids=" ".join)


def sink(kind: str, path: str = "trail.txt", *, required: bool = True) -> str:
    return f'[[audit]]\ntype = "{kind}"\npath = "{path}"\nrequired = {str(required).lower()}\n'


@each_reader
def test_a_sink_without_a_trail_is_passed_over(desk: Any, command: list[str]) -> None:
    desk.configure(BACKEND + sink("mute") + sink("notebook"))
    desk.record({"number": 1})
    done = desk(*command)
    assert (done.status, "warning" in done.stderr) == (0, False)


@each_reader
@pytest.mark.parametrize("broken", ["shut", "nowhere-to-be-found"])
def test_a_sink_that_cannot_be_opened_does_not_stand_in_the_way(desk: Any, command: list[str], broken: str) -> None:
    desk.configure(BACKEND + sink(broken) + sink("notebook"))
    desk.record({"number": 1})
    done = desk(*command, MARKER=MARKER)
    assert done.status == 0
    assert f"warning: {'the audit sink' if broken == 'shut' else 'no installed'}" in done.stderr
    assert broken in done.stderr
    assert MARKER not in done.stdout + done.stderr


@each_reader
def test_the_only_sink_that_cannot_be_opened_is_the_error(desk: Any, command: list[str]) -> None:
    desk.configure(BACKEND + sink("shut"))
    done = desk(*command, MARKER=MARKER)
    assert (done.status, done.stdout) == (2, "")
    assert "'shut' could not be opened" in done.stderr
    assert MARKER not in done.stderr


@each_reader
def test_of_several_trails_one_must_be_chosen(desk: Any, command: list[str]) -> None:
    desk.configure(BACKEND + sink("notebook") + sink("notebook", "second.txt") + sink("sore", "third.txt"))
    done = desk(*command)
    assert done.status == 2
    assert "notebook (1), notebook (2), sore (3)" in done.stderr
    assert desk(*command, "--sink", "notebook").status == 2


def test_a_trail_is_chosen_by_type_or_number(desk: Any) -> None:
    desk.configure(BACKEND + sink("mute") + sink("notebook") + sink("sore", "second.txt"))
    desk.record({"key": "first"})
    assert "first" in desk("audit", "tail", "--sink", "notebook").stdout
    assert "first" in desk("audit", "tail", "--sink", "2").stdout
    assert desk("audit", "tail", "--sink", "mute").status == 2


@each_reader
def test_without_audit_the_error_says_what_to_do(desk: Any, command: list[str]) -> None:
    desk.configure('audit = "none"\n' + BACKEND)
    done = desk(*command)
    assert (done.status, done.stdout) == (2, "")
    assert "nothing is recorded" in done.stderr
    assert 'add an [[audit]] table with type = "jsonl"' in done.stderr


@each_reader
def test_without_a_trail_the_error_says_what_to_do(desk: Any, command: list[str]) -> None:
    desk.configure(BACKEND + sink("mute"))
    done = desk(*command)
    assert (done.status, done.stdout) == (2, "")
    assert "(mute)" in done.stderr
    assert "[[audit]]" in done.stderr


@pytest.mark.parametrize(
    "command", [["audit", action] for action in ("tail", "verify", "head", "report")], ids=" ".join
)
def test_a_trail_that_fails_is_an_audit_error_without_its_text(desk: Any, command: list[str]) -> None:
    desk.configure(BACKEND + sink("sore"))
    done = desk(*command, MARKER=MARKER)
    assert (done.status, done.stdout) == (10, "")
    assert "'sore' cannot be read: RuntimeError" in done.stderr
    assert MARKER not in done.stderr
    assert len(done.stderr.splitlines()) == 1
