"""`health` and `plugins`."""

from __future__ import annotations

import shutil

from pathlib import Path
from typing import Any

import pytest

from hypothesis import given
from hypothesis import strategies as st

from strongroom.cli.text import printable

MARKER = "zq7-marker-3f9d41c2b8e6"
SINK = '[[audit]]\ntype = "notebook"\npath = "trail.txt"\n'


def backend(mood: str, name: str = "main") -> str:
    return f'[backends.{name}]\ntype = "moody"\nmood = "{mood}"\n'


def test_all_up_is_healthy(desk: Any) -> None:
    done = desk("health")
    assert (done.status, done.stderr) == (0, "")
    assert [line.split()[:3] for line in done.lines[1:3]] == [["backend", "main", "up"], ["audit", "notebook", "up"]]
    assert done.lines[-1] == "healthy"


@pytest.mark.parametrize(
    ("mood", "verdict", "status", "code"),
    [
        ("degraded", "degraded", 0, None),
        ("down", "unhealthy: main", 6, None),
        ("raises", "unhealthy: main", 6, None),
        ("away", "unhealthy: main", 6, "unavailable"),
        ("refuses", "unhealthy: main", 6, "plugin_broken"),
        ("bad", "unhealthy: main", 6, "configuration"),
    ],
)
def test_a_backend_that_is_not_up_is_named_with_its_reason(
    desk: Any, mood: str, verdict: str, status: int, code: str | None
) -> None:
    desk.configure(backend(mood) + SINK)
    done = desk("health", "--json", MARKER=MARKER)
    assert (done.status, done.json["verdict"]) == (status, verdict)
    part = done.json["parts"][0]
    assert part["reason"]
    assert (part["state"], part["code"]) == ("degraded" if status == 0 else "down", code)
    assert MARKER not in done.stdout + done.stderr


def test_what_a_backend_says_of_itself_is_shown(desk: Any) -> None:
    """Without what is nothing or not so, and without what would move the cursor."""
    desk.configure(backend("talkative") + SINK)
    for command in ("health", "doctor"):
        shown = desk(command).stdout
        assert "server version 2.7, cluster a" in shown
        assert "\x1b" not in shown
        assert "retries" not in shown
        assert "old" not in shown
    facts = desk("health", "--json").json["parts"][0]["facts"]
    assert (facts["server_version"], facts["retries"], facts["old"]) == ("2.7", "0", "no")


def test_one_backend_that_fails_hides_no_other(desk: Any) -> None:
    desk.configure('backend = "a"\n' + backend("refuses", "a") + backend("up", "b") + SINK)
    states = {part["name"]: part["state"] for part in desk("health", "--json", MARKER=MARKER).json["parts"]}
    assert states == {"a": "down", "b": "up", "notebook": "up"}


@pytest.mark.parametrize(
    "sink",
    [
        '[[audit]]\ntype = "sore"\npath = "trail.txt"\n',
        '[[audit]]\ntype = "shut"\npath = "trail.txt"\n',
        '[[audit]]\ntype = "notebook"\n',
        '[[audit]]\ntype = "nowhere-to-be-found"\n',
    ],
    ids=["fails", "cannot be opened", "not configured", "missing"],
)
def test_audit_that_is_down_counts_most(desk: Any, sink: str) -> None:
    desk.configure(backend("down") + sink)
    done = desk("health", MARKER=MARKER)
    assert (done.status, done.lines[-1]) == (10, "unhealthy: audit")
    assert MARKER not in done.stdout + done.stderr


def test_an_optional_sink_that_is_down_degrades(desk: Any) -> None:
    desk.configure(backend("up") + SINK + '[[audit]]\ntype = "sore"\npath = "x.txt"\nrequired = false\n')
    done = desk("health", MARKER=MARKER)
    assert (done.status, done.lines[-1]) == (0, "degraded")


def test_health_records_nothing(desk: Any) -> None:
    desk("health")
    assert not desk.trail.exists()


def test_health_without_a_usable_configuration_is_a_configuration_error(desk: Any) -> None:
    desk.configure("backend = ")
    done = desk("health")
    assert (done.status, done.stdout) == (2, "")


def add_broken(desk: Any, tmp_path: Path, source: str) -> None:
    site = tmp_path / "site"
    info = site / "ill-2.5.dist-info"
    info.mkdir()
    (site / "ill.py").write_text(source)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ill\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[strongroom.backends]\nill = ill\n")


def test_plugins_lists_all_with_their_distribution(desk: Any) -> None:
    done = desk("plugins", "--json")
    assert (done.status, done.stderr) == (0, "")
    (moody,) = [entry for entry in done.json if entry["name"] == "moody"]
    assert moody == {
        "kind": "backend",
        "name": "moody",
        "distribution": "told",
        "version": "1.0",
        "state": "ok",
        "error": "",
        "summary": "As it is told.",
    }


def test_a_broken_plugin_is_listed_and_warned_of(desk: Any, tmp_path: Path) -> None:
    add_broken(desk, tmp_path, "raise RuntimeError('out of\\norder\\x1b[2J')")
    done = desk("plugins")
    assert done.status == 0
    assert [line.split()[4] for line in done.lines if line.startswith("ill ")] == ["broken"]
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("strongroom: warning: the backend ill of ill 2.5: ")
    assert r"out of\norder\x1b[2J" in warning
    assert [entry["state"] for entry in desk("plugins", "--json").json if entry["name"] == "ill"] == ["broken"]


def test_a_clash_is_listed_for_both(desk: Any, tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(site / "told-1.0.dist-info", site / "double-3.0.dist-info")
    done = desk("plugins", "--json")
    assert [entry["state"] for entry in done.json if entry["name"] == "moody"] == ["clash", "clash"]
    assert "double 3.0 and told 1.0" in done.stderr
    assert done.status == 0


@given(st.text())
def test_whatever_is_made_printable_can_be_printed(text: str) -> None:
    assert printable(text).isprintable()


@given(st.text(), st.text())
def test_different_texts_never_look_the_same(one: str, other: str) -> None:
    assert (printable(one) == printable(other)) == (one == other)
