"""`doctor`: every check finds what it is there for, and one that fails stops no other."""

from __future__ import annotations

import os
import subprocess

from pathlib import Path
from typing import Any

import pytest

MARKER = "zq7-marker-3f9d41c2b8e6"
SINK = '[[audit]]\ntype = "notebook"\npath = "trail.txt"\n'


@pytest.fixture(autouse=True)
def _small_trail(desk: Any) -> None:
    desk.record({"timestamp": "2026-01-01T00:00:00+00:00"})


def found(done: Any, check: str, state: str) -> list[dict[str, Any]]:
    return [entry for entry in done.json["checks"] if (entry["check"], entry["state"]) == (check, state)]


def only(done: Any, check: str, state: str) -> dict[str, Any]:
    (entry,) = found(done, check, state)
    return entry


def test_where_all_is_well_the_status_is_0(desk: Any) -> None:
    done = desk("doctor")
    assert (done.status, done.stderr) == (0, "")
    assert done.lines[-1] == "0 problems, 0 warnings"
    report = desk("doctor", "--json")
    assert (report.status, report.json["state"]) == (0, "ok")
    assert {entry["state"] for entry in report.json["checks"]} == {"ok"}


def test_without_a_configuration_the_other_checks_run(desk: Any) -> None:
    (desk.folder / "strongroom.toml").unlink()
    done = desk("doctor", "--json")
    assert done.status == 2
    assert "strongroom init" in only(done, "configuration", "problem")["mend"]
    assert only(done, "plugins", "ok")
    assert only(done, "python", "ok")


def test_settings_that_are_not_usable_are_each_a_problem(desk: Any) -> None:
    desk.configure('[backends.main]\ntype = "moody"\nmood = "bad"\n[cache]\npolicy = "nowhere"\n' + SINK)
    done = desk("doctor", "--json")
    assert done.status == 2
    assert len(found(done, "settings", "problem")) == 2


@pytest.mark.parametrize(
    ("mood", "state", "status"),
    [("degraded", "warning", 0), ("down", "problem", 6), ("away", "problem", 6), ("refuses", "problem", 2)],
)
def test_a_backend_that_is_not_up_is_found(desk: Any, mood: str, state: str, status: int) -> None:
    desk.configure(f'[backends.main]\ntype = "moody"\nmood = "{mood}"\n' + SINK)
    done = desk("doctor", "--json", MARKER=MARKER)
    assert done.status == status
    assert only(done, "backends", state)["mend"]
    assert MARKER not in done.stdout


def test_a_sink_that_fails_is_found_and_every_check_runs(desk: Any) -> None:
    desk.configure('[backends.main]\ntype = "moody"\n[[audit]]\ntype = "sore"\npath = "trail.txt"\n')
    done = desk("doctor", "--json", MARKER=MARKER)
    assert done.status == 10
    assert only(done, "audit sinks", "problem")
    assert only(done, "audit trail", "problem")
    assert only(done, "clock", "ok")
    assert MARKER not in done.stdout


@pytest.mark.parametrize(
    ("content", "state", "status"), [("unsealed", "warning", 0), ("gap", "warning", 0), ("broken", "problem", 10)]
)
def test_the_trail_is_verified(desk: Any, content: str, state: str, status: int) -> None:
    with desk.trail.open("a") as file:
        file.write(f"{content}\n")
    done = desk("doctor", "--json")
    assert done.status == status
    assert "strongroom audit verify" in only(done, "audit trail", state)["mend"]


def test_without_audit_there_is_a_warning(desk: Any) -> None:
    desk.configure('audit = "none"\n[backends.main]\ntype = "moody"\n')
    done = desk("doctor", "--json")
    assert done.status == 0
    assert only(done, "audit sinks", "warning")


def test_keys_that_cannot_be_read_are_found(desk: Any) -> None:
    table = '[backends.{name}]\ntype = "moody"\nkey = {reference}\n'
    desk.configure(
        'backend = "a"\n'
        + table.format(name="a", reference='{ env = "NOT_SET" }')
        + table.format(name="b", reference='{ file = "gone.key" }')
        + table.format(name="c", reference='{ file = "empty.key" }')
        + table.format(name="d", reference='{ file = "good.key" }')
        + SINK
    )
    for name, content in (("empty.key", ""), ("good.key", MARKER)):
        (desk.folder / name).write_text(content)
        (desk.folder / name).chmod(0o600)
    done = desk("doctor", "--json")
    problems = found(done, "keys", "problem")
    assert [next(word for word in ("NOT_SET", "gone.key", "empty.key") if word in entry["what"]) for entry in problems]
    assert len(problems) == 3
    assert "good.key" in only(done, "keys", "ok")["what"]
    assert done.status == 8
    assert MARKER not in done.stdout


def test_a_key_file_that_others_can_read_is_a_problem(desk: Any) -> None:
    desk.configure('[backends.main]\ntype = "moody"\nkey = { file = "my.key" }\n' + SINK)
    key = desk.folder / "my.key"
    key.write_text("x")
    key.chmod(0o644)
    done = desk("doctor", "--json")
    assert done.status == 1
    assert only(done, "file modes", "problem")["mend"] == f"run: chmod 600 {key}"


@pytest.mark.parametrize(
    ("path", "mode", "state"),
    [
        ("trail.txt", 0o640, "problem"),
        ("trail.txt.lock", 0o666, "problem"),
        ("strongroom.toml", 0o602, "problem"),
        ("strongroom.toml", 0o664, "warning"),
        (".", 0o777, "problem"),
        (".", 0o775, "warning"),
    ],
)
def test_loose_modes_are_found(desk: Any, path: str, mode: int, state: str) -> None:
    target = desk.folder / path
    if not target.exists():
        target.write_text("")
    target.chmod(mode)
    named = ("--config", "strongroom.toml")  # one that is only found must not be everybody's to write
    done = desk(*named, "doctor", "--json")
    assert done.status == (state == "problem")
    entry = only(done, "file modes", state)
    assert f"{mode:04o}" in entry["what"]
    subprocess.run(["sh", "-c", entry["mend"].removeprefix("run: ")], check=True)
    assert found(desk(*named, "doctor", "--json"), "file modes", "ok")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root's rights to give a file away")
def test_a_file_of_somebody_else_is_a_problem(desk: Any) -> None:
    os.chown(desk.trail, 12345, -1)
    entry = only(desk("doctor", "--json"), "file modes", "problem")
    assert "12345" in entry["what"]
    assert entry["mend"].startswith("run: chown")


def test_a_literal_secret_is_a_warning_and_readable_by_others_a_problem(desk: Any) -> None:
    desk.configure(f'[backends.main]\ntype = "moody"\npassword = "{MARKER}"\n' + SINK)
    done = desk("doctor", "--json")
    assert "backends.main.password" in only(done, "secrets in files", "warning")["what"]
    (desk.folder / "strongroom.toml").chmod(0o644)
    loose = desk("doctor", "--json")
    assert only(loose, "secrets in files", "problem")
    assert loose.status == 2
    assert MARKER not in done.stdout + loose.stdout


def test_unknown_variables_are_named_with_a_suggestion(desk: Any) -> None:
    wrong = {"STRONGROOM_CHACHE__TTL": "5s", "STRONGROOM_BACKND": "x", "STRONGROOM_CACHE__ttl": "5s"}
    done = desk("doctor", "--json", **wrong, STRONGROOM_CACHE__TTL="5s")
    hints = {entry["what"].split()[2]: entry["mend"] for entry in found(done, "variables", "warning")}
    assert hints.keys() == wrong.keys()
    assert "'STRONGROOM_CACHE__TTL'" in hints["STRONGROOM_CACHE__ttl"]
    assert "'STRONGROOM_CACHE__TTL'" in hints["STRONGROOM_CHACHE__TTL"]
    assert "'STRONGROOM_BACKEND'" in hints["STRONGROOM_BACKND"]


def test_a_variable_that_the_configuration_refers_to_is_known(desk: Any) -> None:
    desk.configure('[backends.main]\ntype = "moody"\npassword = { env = "STRONGROOM_OWN" }\n' + SINK)
    assert only(desk("doctor", "--json", STRONGROOM_OWN="x"), "variables", "ok")


@pytest.mark.parametrize("suffix", [".new", ".old"])
def test_what_a_change_of_keys_left_is_a_warning(desk: Any, suffix: str) -> None:
    desk.configure('[backends.main]\ntype = "moody"\nkey = { file = "my.key" }\n' + SINK)
    for name in ("my.key", f"my.key{suffix}"):
        (desk.folder / name).write_text("x")
        (desk.folder / name).chmod(0o600)
    assert f"my.key{suffix}" in only(desk("doctor", "--json"), "left over", "warning")["what"]


def test_a_broken_plugin_that_nobody_uses_is_a_warning(desk: Any, tmp_path: Path) -> None:
    info = tmp_path / "site/ill-2.5.dist-info"
    info.mkdir()
    (tmp_path / "site/ill.py").write_text("raise SystemExit('no')")
    (info / "entry_points.txt").write_text("[strongroom.backends]\nill = ill\n")
    done = desk("doctor", "--json")
    assert done.status == 0
    assert "ill 2.5 is broken" in only(done, "plugins", "warning")["what"]


def test_a_clock_that_was_set_back_is_found_by_the_newest_event(desk: Any) -> None:
    desk.record({"timestamp": "2100-01-01T00:00:00+00:00"})
    done = desk("doctor", "--json")
    assert done.status == 1
    assert "before the newest event of notebook" in only(done, "clock", "problem")["what"]


def test_a_clock_that_was_set_back_is_found_by_the_newest_file(desk: Any) -> None:
    os.utime(desk.trail, (4_000_000_000, 4_000_000_000))
    assert str(desk.trail) in only(desk("doctor", "--json"), "clock", "problem")["what"]


def test_the_time_zone_does_not_matter(desk: Any) -> None:
    desk("health", TZ="Pacific/Kiritimati")
    assert only(desk("doctor", "--json", TZ="Pacific/Pago_Pago"), "clock", "ok")


def test_problems_are_shown_with_their_mend_on_a_line_of_their_own(desk: Any) -> None:
    desk.trail.chmod(0o644)
    lines = desk("doctor").lines
    (place,) = [number for number, line in enumerate(lines) if line.startswith("problem")]
    assert lines[place + 1].strip() == f"-> run: chmod 600 {desk.trail}"
    assert lines[-1] == "1 problems, 0 warnings"


def test_the_worst_problem_decides_the_status(desk: Any) -> None:
    desk.configure('[backends.main]\ntype = "moody"\nmood = "away"\n' + SINK)
    desk.trail.chmod(0o644)
    assert desk("doctor").status == 6
    with desk.trail.open("a") as file:
        file.write("broken\n")
    assert desk("doctor").status == 10
