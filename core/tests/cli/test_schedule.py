"""``schedule``, and ``rotate`` and ``get`` of what a service rotates and another region answers for."""

from __future__ import annotations

import textwrap

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from strongroom.cli.schedule import described, row, until
from strongroom.contracts import Schedule
from strongroom.model import SecretName

NOW = datetime(2030, 5, 1, 12, tzinfo=UTC)
PLUGIN = '''
"""A backend whose service rotates some secrets, and that answers from somewhere else."""

from datetime import UTC, datetime, timedelta

from strongroom.builtin.memory import MemoryBackend
from strongroom.builtin.settings import MemorySettings
from strongroom.contracts import (
    BackendSpec, Record, RotationStatusResult, Schedule, SchedulesResult, ServiceRotation, TriggerRotationResult,
)
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretName, SecretValue


class Settings(Record):
    done: bool = True


class Serviced(MemoryBackend, ServiceRotation):
    def __init__(self, settings):
        super().__init__(MemorySettings(seed={"db/password": SecretValue("s3cret")}))
        self.done = settings.done

    def read(self, request):
        return super().read(request).replace(place="region eu-west-1")

    def rotates(self, name):
        return True

    def trigger_rotation(self, request):
        return TriggerRotationResult(version="next")

    def rotation_status(self, request):
        return RotationStatusResult(done=self.done, current="1")

    def schedules(self, request):
        now, last = datetime.now(UTC), datetime(2030, 1, 2, tzinfo=UTC)
        soon, later = now + timedelta(hours=5, minutes=1), now + timedelta(days=3, minutes=1)
        found = [
            Schedule(name=SecretName("db/a"), rule="every 30 days", by="never\\x1b[2J", next=None),
            Schedule(name=SecretName("db/b"), rule="every 7 days", by="fn", next=later, last=last),
            Schedule(name=SecretName("db/c"), rule="cron(0 4 ? * SUN *)", by="fn", next=soon, window=3600.0),
            Schedule(name=SecretName("ci/d"), rule="every 1 day", by="fn", next=soon - timedelta(days=2)),
        ]
        return SchedulesResult(schedules=tuple(one for one in found if one.name.is_below(request.prefix)))


@hookimpl
def strongroom_backends():
    yield BackendSpec(
        name="serviced", summary="Rotates by itself.", settings=Settings, open=Serviced,
        capabilities=frozenset(),
    )
'''


@pytest.fixture
def desk(desk: Any, tmp_path: Path) -> Any:
    """A folder whose configuration has a backend with a service."""
    site = tmp_path / "site"
    (site / "serviced_plugin.py").write_text(textwrap.dedent(PLUGIN))
    info = site / "serviced_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: serviced-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[strongroom.backends]\nserviced = serviced_plugin\n")
    desk.configure('audit = "none"\n[backends.main]\ntype = "serviced"\n')
    return desk


class TestSchedule:
    """``strongroom schedule``."""

    def test_the_next_one_comes_first_and_what_is_never_due_last(self, desk: Any) -> None:
        done = desk("schedule")
        assert (done.status, done.stderr) == (0, "")
        heading, *rows = done.lines
        assert heading.split() == ["NAME", "RULE", "STATE", "LAST", "NEXT", "IN", "TIMELINE", "WINDOW", "BY"]
        assert [line.split()[0] for line in rows] == ["ci/d", "db/c", "db/b", "db/a"]
        assert "2030-01-02 00:00+00:00" in rows[2]
        assert [" 1 h " in line for line in rows] == [False, True, False, False]  # the window
        assert [wait in line for wait, line in zip(["overdue", "in 5 h", "in 3 d", " -  "], rows, strict=True)] == [
            True
        ] * 4

    def test_a_prefix_is_a_folder(self, desk: Any) -> None:
        assert [line.split()[0] for line in desk("schedule", "ci/").lines] == ["NAME", "ci/d"]
        assert desk("schedule", "nothing").lines == ["NAME  RULE  STATE  LAST  NEXT  IN  TIMELINE  WINDOW  BY"]

    def test_nothing_of_a_service_s_words_moves_the_cursor(self, desk: Any) -> None:
        assert "never\\x1b[2J" in desk("schedule").lines[-1]

    def test_programs_get_all_facts_in_the_same_order(self, desk: Any) -> None:
        found = desk("schedule", "db", "--json").json
        assert [one["name"] for one in found] == ["db/c", "db/b", "db/a"]
        assert found[1] == {
            "name": "db/b",
            "rule": "every 7 days",
            "by": "fn",
            "enabled": True,
            "last": "2030-01-02T00:00:00+00:00",
            "next": found[1]["next"],
            "window": None,
            "due": None,
            "warn_from": None,
            "ends": None,
            "pattern": None,
            "state": found[1]["state"],
            "problem": "",
        }
        assert datetime.fromisoformat(found[1]["next"]) > datetime.fromisoformat(found[0]["next"])
        assert (found[0]["window"], found[2]["next"]) == (3600.0, None)

    def test_a_backend_without_a_service_has_none(self, desk: Any) -> None:
        desk.configure('audit = "none"\n[backends.main]\ntype = "memory"\n')
        done = desk("schedule", "--json")
        assert (done.status, done.json) == (0, [])

    def test_a_prefix_that_is_none_is_refused(self, desk: Any) -> None:
        assert desk("schedule", "a//b").status == 2


@pytest.mark.parametrize(
    ("left", "facts", "shown"),
    [
        (timedelta(days=3, hours=23), {}, "in 3 d"),
        (timedelta(days=1), {}, "in 1 d"),
        (timedelta(hours=23, minutes=59), {}, "in 23 h"),
        (timedelta(minutes=59, seconds=59), {}, "in 59 min"),
        (timedelta(seconds=59), {}, "in under 1 min"),
        (timedelta(0), {}, "due"),
        (timedelta(seconds=-1), {}, "overdue"),
        (timedelta(hours=-1), {"window": 3600.0}, "due"),
        (timedelta(hours=-1, seconds=-1), {"window": 3600.0}, "overdue"),
        (timedelta(days=-9), {"enabled": False}, "off"),
        (None, {}, "-"),
        (None, {"enabled": False}, "off"),
    ],
)
def test_how_long_it_is_until_then(left: timedelta | None, facts: Any, shown: str) -> None:
    due = None if left is None else NOW + left
    schedule = Schedule(name=SecretName("a"), rule="every day", by="fn", next=due, **facts)
    assert until(schedule, NOW) == row(schedule, NOW)[5] == shown


def test_times_are_shown_in_utc_whatever_the_service_s_zone() -> None:
    """The hour that a zone has twice in autumn is told apart."""
    summer, winter = timezone(timedelta(hours=2)), timezone(timedelta(hours=1))
    last, due = datetime(2030, 10, 27, 2, 30, tzinfo=summer), datetime(2030, 10, 27, 2, 30, tzinfo=winter)
    schedule = Schedule(name=SecretName("a"), rule="every day", by="fn", last=last, next=due)
    assert row(schedule, NOW)[3:5] == ("2030-10-27 00:30+00:00", "2030-10-27 01:30+00:00")
    shown = described(schedule)
    assert (shown["last"], shown["next"]) == ("2030-10-27T00:30:00+00:00", "2030-10-27T01:30:00+00:00")
    assert until(schedule, datetime(2030, 10, 27, 0, 30, tzinfo=UTC)) == "in 1 h"


class TestRotate:
    """``strongroom rotate`` of what a service rotates."""

    def test_the_service_s_version_is_told(self, desk: Any) -> None:
        done = desk("rotate", "db/password", "--wait", "5s")
        assert (done.status, done.stdout, done.stderr) == (0, "", "rotated db/password version next\n")

    def test_one_that_takes_too_long_is_an_outage(self, desk: Any) -> None:
        desk.configure('audit = "none"\n[backends.main]\ntype = "serviced"\ndone = false\n')
        done = desk("rotate", "db/password", "--wait", "20ms")
        assert done.status == 6
        assert "has not ended its rotation of db/password to version next within 0.02 s" in done.stderr
        assert "it goes on; `strongroom schedule`" in done.stderr

    @pytest.mark.parametrize("wait", ["0", "0s"])
    def test_nobody_need_wait(self, wait: str, desk: Any) -> None:
        done = desk("rotate", "db/password", "--wait", wait, "--json")
        assert (done.status, done.stdout) == (6, "")
        assert "within 0 s" in done.stderr

    def test_programs_are_told_the_version(self, desk: Any) -> None:
        done = desk("rotate", "db/password", "--wait", "5s", "--expect-version", "1", "--json")
        told = {"name": "db/password", "version": "next", "status": "rotated", "queued": None, "copy_failed": ""}
        assert (done.status, done.json) == (0, told)

    @pytest.mark.parametrize("options", [["--bytes", "32"], ["--encoding", "raw"]])
    def test_nothing_can_be_chosen_for_it(self, options: list[str], desk: Any) -> None:
        done = desk("rotate", "db/password", *options)
        assert done.status == 2
        assert "the service of main rotates db/password and makes the value" in done.stderr

    @pytest.mark.parametrize("wait", ["5", "soon", "-1s", ""])
    def test_a_wait_has_a_unit(self, wait: str, desk: Any) -> None:
        done = desk("rotate", "db/password", f"--wait={wait}")
        assert done.status == 2
        assert "--wait takes a duration such as" in done.stderr


class TestGet:
    """``strongroom get`` of what another place answers for."""

    def test_programs_are_told_the_place(self, desk: Any) -> None:
        assert desk("get", "db/password", "--json").json["place"] == "region eu-west-1"

    def test_the_value_stays_alone(self, desk: Any) -> None:
        done = desk("get", "db/password")
        assert (done.stdout, done.stderr) == ("s3cret", "")

    def test_the_usual_place_is_none(self, desk: Any) -> None:
        desk.configure('audit = "none"\n[backends.main]\ntype = "memory"\n[backends.main.seed]\na = "v"\n')
        assert desk("get", "a", "--json").json["place"] is None
