"""``anomaly``: what a detector found, and what detectors would have said to a recorded trail."""

from __future__ import annotations

import json

from pathlib import Path
from typing import Any

import pytest

# The sink takes the place of the real one, whose distribution has the same name and comes later on the path.
PLUGIN = '''
"""A detector that finds names odd that begin so, and the sink `jsonl`."""

from strongroom.contracts import AnomalyDetector, Decision, DetectorSpec, Record, Seconds, SinkSpec, Verdict
from strongroom.hookspecs import hookimpl
from strongroom.model import SecretValue

from told import Notebook, SinkSettings


class Settings(Record):
    prefix: str = "odd"
    at_least: int = 1
    window: Seconds = 600.0
    salt: SecretValue | None = None


class Prefix(AnomalyDetector):
    def __init__(self, settings):
        self.settings = settings
        self.seen = 0

    def judge(self, access):
        self.seen += access.name.startswith(self.settings.prefix)
        if self.seen < self.settings.at_least or not access.name.startswith(self.settings.prefix):
            return Verdict(decision=Decision.ALLOW)
        return Verdict(decision=Decision.BLOCK, reason=f"{access.name} is odd", evidence=(access.process or "-",))


@hookimpl
def strongroom_anomaly_detectors():
    yield DetectorSpec(name="prefix", summary="Odd names.", settings=Settings, open=Prefix)


@hookimpl
def strongroom_audit_sinks():
    yield SinkSpec(name="jsonl", summary="JSON lines.", settings=SinkSettings, open=Notebook)
'''

BACKEND = '[backends.main]\ntype = "moody"\n'
SINK = '[[audit]]\ntype = "notebook"\npath = "trail.txt"\n'
DETECTOR = '[[anomaly]]\ntype = "prefix"\nat_least = 2\naction = "block"\nsalt = {env = "SALT"}\n'
MARKER = "zq7-marker-3f9d41c2b8e6"

ALERT = {
    "id": "a1b2c3d4e5f60718",
    "number": 40,
    "event": "alert",
    "key": "odd/one",
    "result": "blocked",
    "rule": "prefix",
    "detail": "odd/one is odd; seen 12 times; at_least = 2; 3 more alerts about this were not sent",
    "on_behalf_of": "bob",
    "principal_source": "as_principal",
    "user": "root",
}


@pytest.fixture
def watched(desk: Any, tmp_path: Path) -> Any:
    """The desk, with a detector that is configured and a sink `jsonl`."""
    site = tmp_path / "site"
    info = site / "strongroom_audit_jsonl-1.0.dist-info"
    info.mkdir()
    (site / "prefix_detector.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: strongroom-audit-jsonl\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[strongroom.anomaly_detectors]\nprefix = prefix_detector\n[strongroom.audit_sinks]\njsonl = prefix_detector\n"
    )
    desk.configure(BACKEND + SINK + DETECTOR)
    return desk


def explained(desk: Any, id: str, *more: str) -> Any:
    done = desk("anomaly", "explain", id, "--json", *more, SALT=MARKER)
    assert done.status == 0, done.stderr
    assert MARKER not in done.stdout + done.stderr
    return done.json


class TestExplain:
    def test_an_alert_is_taken_apart(self, watched: Any) -> None:
        watched.record({"event": "opened", "principal": None, "key": None, "detail": "worker.py"}, ALERT)
        found = explained(watched, ALERT["id"])
        alert = found["alert"]
        assert (found["event"]["principal"], found["event"]["on_behalf_of"]) == ("alice", "bob")
        assert (found["program"], found["sink"]) == ("worker.py", "notebook")
        assert (alert["detector"], alert["blocked"], alert["suppressed"]) == ("prefix", True, 3)
        assert (alert["reason"], alert["evidence"]) == ("odd/one is odd", ["seen 12 times", "at_least = 2"])

    def test_its_detector_s_settings_are_shown_with_their_place(self, watched: Any) -> None:
        watched.record(ALERT)
        [table] = explained(watched, ALERT["id"])["alert"]["configured"]
        file = str(watched.folder / "strongroom.toml")
        assert table["place"] == f"anomaly[1] in {file}"
        assert table["settings"] == {
            "action": {"value": "block", "from": file},
            "required": {"value": False, "from": "<default>"},
            "cool_down": {"value": "600s", "from": "<default>"},
            "prefix": {"value": "odd", "from": "<default>"},
            "at_least": {"value": 2, "from": file},
            "window": {"value": "600s", "from": "<default>"},
            "salt": {"value": {"env": "SALT"}, "from": file},
        }

    def test_for_people_everything_stands_in_lines(self, watched: Any) -> None:
        watched.record({"key": "db/a"}, ALERT)
        done = watched("anomaly", "explain", ALERT["id"], SALT=MARKER)
        facts = dict(line.split(maxsplit=1) for line in done.lines if len(line.split(maxsplit=1)) == 2)
        assert facts["event"] == f"{ALERT['id']}  alert blocked"
        assert facts["principal"] == "alice  (as_principal)"
        assert facts["for"] == "bob  (who took on that principal)"
        assert facts["process"] == "1 on here, user root"
        assert facts["detector"] == "prefix  blocked it"
        assert facts["reason"] == "odd/one is odd"
        assert any(line.startswith("to change it: anomaly[1] in /") for line in done.lines)
        assert facts["at_least"].startswith("2 ")
        assert MARKER not in done.stdout

    def test_the_time_is_shown_in_utc_and_here(self, watched: Any) -> None:
        watched.record(ALERT)
        done = watched("anomaly", "explain", ALERT["id"], TZ="UTC-2")
        assert "2030-01-01T00:00:40.000000+00:00  (2030-01-01T02:00:40+02:00 here)" in done.stdout

    def test_the_hour_before_is_that_of_whoever_took_on_the_principal(self, watched: Any) -> None:
        hour = [
            {"number": 1, "id": "early", "timestamp": "2029-12-31T22:59:00.000000+00:00", "principal": "bob"},
            {"number": 2, "principal": "bob", "key": "a"},
            {"number": 3, "principal": "carol", "on_behalf_of": "bob", "key": "b", "result": "not_found"},
            {"number": 4, "principal": "alice", "key": "c"},
            {"number": 5, "principal": "bob", "key": "a", "event": "set", "id": "s", "phase": "attempt"},
            {"number": 6, "principal": "bob", "key": "a", "event": "set", "id": "s"},
            {"number": 7, "principal": "bob", "key": "a", "event": "rotate", "id": "r", "phase": "attempt"},
            {"number": 50, "principal": "bob", "key": "later"},
        ]
        watched.record(*hour[:-1], ALERT, hour[-1])
        before = explained(watched, ALERT["id"])["hour_before"]
        assert before["counts"] == {"get ok": 1, "get not_found": 1, "set ok": 1, "rotate attempt": 1}
        assert before["names"] == 2
        assert [event["id"] for event in before["last"]] == ["id2", "id3", "s", "r"]

    def test_only_the_last_ten_events_are_shown(self, watched: Any) -> None:
        watched.record(*({"number": number, "principal": "bob", "key": f"k{number}"} for number in range(1, 15)), ALERT)
        before = explained(watched, ALERT["id"])["hour_before"]
        assert (before["counts"], before["names"]) == ({"get ok": 14}, 14)
        assert [event["key"] for event in before["last"]] == [f"k{number}" for number in range(5, 15)]

    def test_a_blocked_read_leads_to_its_alert(self, watched: Any) -> None:
        read = {"id": "b" * 24, "number": 41, "key": "odd/one", "result": "suspicious", "rule": "prefix"}
        other = ALERT | {"id": "other", "rule": "another"}
        watched.record(ALERT, other, read | {"on_behalf_of": "bob"})
        assert explained(watched, read["id"])["alert"]["id"] == ALERT["id"]
        shown = watched("anomaly", "explain", read["id"]).stdout
        assert f"alert       {ALERT['id']}" in shown

    def test_a_blocked_read_within_the_cool_down_leads_to_the_alert_before_it(self, watched: Any) -> None:
        late = {"on_behalf_of": "bob", "result": "suspicious", "rule": "prefix", "key": "odd/two"}
        inside = late | {"id": "inside", "timestamp": "2030-01-01T00:10:00.000000+00:00"}
        outside = late | {"id": "outside", "timestamp": "2030-01-01T00:30:00.000000+00:00"}
        watched.record(ALERT, inside, outside)
        assert explained(watched, "inside")["alert"]["id"] == ALERT["id"]
        assert explained(watched, "outside")["alert"] is None
        assert (
            "prefix blocked it, but its alert is not in this trail" in watched("anomaly", "explain", "outside").stdout
        )

    def test_what_was_blocked_after_an_alert_that_only_reported_is_said_to_be_blocked(self, watched: Any) -> None:
        late = {"number": 50, "id": "late", "on_behalf_of": "bob", "result": "suspicious", "rule": "prefix"}
        watched.record(ALERT | {"result": "alert"}, late)
        assert explained(watched, "late")["alert"]["blocked"] is False
        assert "detector    prefix  blocked it" in watched("anomaly", "explain", "late").lines
        assert "detector    prefix  only reported it" in watched("anomaly", "explain", ALERT["id"]).lines

    def test_an_access_that_was_let_through_is_near_the_alert_about_it(self, watched: Any) -> None:
        watched.record(
            ALERT | {"result": "alert"},
            {"number": 41, "id": "same", "key": "odd/one", "on_behalf_of": "bob"},
            {"number": 42, "id": "name", "key": "odd/two", "on_behalf_of": "bob"},
            {"number": 43, "id": "somebody", "key": "odd/one", "principal": "dave"},
        )
        assert explained(watched, "same")["alert"]["blocked"] is False
        assert explained(watched, "name")["alert"] is None
        assert explained(watched, "somebody")["alert"] is None
        assert "no detector said anything about it" in watched("anomaly", "explain", "name").stdout

    def test_a_denial_names_its_rule(self, watched: Any) -> None:
        watched.record({"id": "denied", "result": "denied", "rule": "policies[3] of x.toml"})
        assert "rule        policies[3] of x.toml" in watched("anomaly", "explain", "denied").lines

    def test_a_detector_that_is_configured_no_more_is_said_to_be_so(self, watched: Any) -> None:
        watched.record(ALERT | {"rule": "gone"})
        assert explained(watched, ALERT["id"])["alert"]["configured"] == []
        shown = watched("anomaly", "explain", ALERT["id"]).stdout
        assert f"no [[anomaly]] table of {watched.folder}/strongroom.toml has this type now" in shown

    def test_an_event_without_a_principal_is_explained_too(self, watched: Any) -> None:
        watched.record({"id": "begin", "event": "opened", "principal": None, "key": None, "detail": "worker.py"})
        assert explained(watched, "begin")["hour_before"] == {"counts": {}, "names": 0, "last": []}
        assert "in the hour before" not in watched("anomaly", "explain", "begin").stdout

    def test_the_outcome_stands_for_the_operation(self, watched: Any) -> None:
        watched.record(
            {"number": 1, "id": "s", "event": "set", "phase": "attempt"},
            {"number": 2, "id": "s", "event": "set", "result": "conflict"},
        )
        assert explained(watched, "s")["event"]["result"] == "conflict"

    def test_what_stands_in_the_trail_is_safe_to_print(self, watched: Any) -> None:
        watched.record(ALERT | {"key": "a\x1b[2J", "detail": "x\x1b[1m\ny; z\x07", "principal": "p\rq", "host": "\x9b"})
        done = watched("anomaly", "explain", ALERT["id"])
        assert done.status == 0
        assert not any(ord(character) < 32 or ord(character) == 0x9B for character in done.stdout.replace("\n", ""))

    def test_nothing_is_opened_or_recorded(self, watched: Any) -> None:
        watched.record(ALERT)
        before = watched.trail.read_bytes()
        watched("anomaly", "explain", ALERT["id"])
        assert watched.trail.read_bytes() == before
        assert not (watched.folder / "opened").exists()


class TestFinding:
    def test_the_beginning_of_an_id_will_do_if_only_one_begins_so(self, watched: Any) -> None:
        watched.record(ALERT, {"id": "a1b2c3d4ffff0000"})
        assert explained(watched, "a1b2c3d4e")["event"]["id"] == ALERT["id"]

    def test_several_that_begin_so_are_listed(self, watched: Any) -> None:
        watched.record(ALERT, {"id": "a1b2c3d4ffff0000"})
        done = watched("anomaly", "explain", "a1b2c3d4")
        assert (done.status, done.stdout) == (2, "")
        assert "a1b2c3d4e5f60718 (alert), a1b2c3d4ffff0000 (get)" in done.stderr

    def test_of_many_that_begin_so_ten_are_listed(self, watched: Any) -> None:
        watched.record(*({"id": f"abcdefgh{number:02}"} for number in range(30)))
        done = watched("anomaly", "explain", "abcdefgh")
        assert done.stderr.count("(get)") == 10
        assert done.stderr.strip().endswith("and more")

    def test_a_whole_id_is_meant_even_if_others_begin_so(self, watched: Any) -> None:
        watched.record({"id": "abcdefgh01"}, *({"id": f"abcdefgh{number}"} for number in range(20)), {"id": "abcdefgh"})
        assert explained(watched, "abcdefgh")["event"]["id"] == "abcdefgh"

    def test_a_short_beginning_is_refused(self, watched: Any) -> None:
        watched.record(ALERT)
        done = watched("anomaly", "explain", "a1b2c3d")
        assert done.status == 2
        assert "at least 8 characters" in done.stderr

    def test_no_such_event_is_an_error_of_its_own(self, watched: Any) -> None:
        watched.record(ALERT)
        done = watched("anomaly", "explain", "ffffffffffff")
        assert (done.status, done.stdout) == (3, "")
        assert "no event has the id 'ffffffffffff'" in done.stderr

    def test_every_trail_is_looked_through_unless_one_is_chosen(self, watched: Any) -> None:
        watched.configure(BACKEND + SINK + '[[audit]]\ntype = "notebook"\npath = "second.txt"\n' + DETECTOR)
        watched.record({"number": 1})
        watched.record(ALERT, path="second.txt")
        assert explained(watched, ALERT["id"])["event"]["id"] == ALERT["id"]
        assert watched("anomaly", "explain", ALERT["id"], "--sink", "1").status == 3

    def test_a_trail_that_cannot_be_read_does_not_stand_in_the_way(self, watched: Any) -> None:
        watched.configure(BACKEND + '[[audit]]\ntype = "sore"\npath = "x"\n' + SINK)
        watched.record(ALERT)
        done = watched("anomaly", "explain", ALERT["id"], MARKER=MARKER)
        assert done.status == 0
        assert "warning: the trail of the audit sink 'sore' cannot be read" in done.stderr

    def test_without_a_trail_that_can_be_read_it_is_the_error(self, watched: Any) -> None:
        watched.configure(BACKEND + '[[audit]]\ntype = "sore"\npath = "x"\n')
        assert watched("anomaly", "explain", "ffffffffffff", MARKER=MARKER).status == 10
        watched.configure('audit = "none"\n' + BACKEND)
        done = watched("anomaly", "explain", "ffffffffffff")
        assert done.status == 2
        assert "nothing is recorded" in done.stderr


TRAIL = [
    {"number": 1, "event": "opened", "principal": None, "key": None, "detail": "worker.py"},
    {"number": 2, "key": "odd/a"},
    {"number": 3, "key": "db/a"},
    {"number": 4, "key": "odd/b", "on_behalf_of": "bob"},
    {"number": 5, "key": "odd/c"},
]


def replayed(desk: Any, *arguments: str) -> Any:
    done = desk("anomaly", "replay", "trail.txt", "--json", *arguments, SALT=MARKER)
    assert done.status == 0, done.stderr
    return done.json


class TestReplay:
    def test_it_prints_what_the_configured_detectors_would_have_done(self, watched: Any) -> None:
        watched.record(*TRAIL)
        done = watched("anomaly", "replay", "trail.txt", SALT=MARKER)
        assert done.status == 0
        first, second, headings, row = done.lines
        assert first.split("  ") == [
            "2030-01-01T00:00:04.000000+00:00",
            "alice for bob",
            "read",
            "odd/b",
            "prefix",
            "block",
            "odd/b is odd",
        ]
        assert second.split("  ")[1] == "alice"
        assert headings.split()[:2] == ["DETECTOR", "ALERTS"]
        assert row.split()[:6] == ["prefix", "2", "2.00", "2", "0", "0"]
        assert "5 events, 4 accesses" in done.stderr

    def test_for_programs_it_is_one_object(self, watched: Any) -> None:
        watched.record(*TRAIL)
        found = replayed(watched)
        assert [(alert["name"], alert["on_behalf_of"], alert["blocked"]) for alert in found["alerts"]] == [
            ("odd/b", "bob", True),
            ("odd/c", None, True),
        ]
        assert found["alerts"][0]["program"] == "worker.py"
        assert found["alerts"][0]["evidence"] == ["worker.py"]
        [detector] = found["detectors"]
        assert (detector["detector"], detector["alerts"], detector["blocks"]) == ("prefix", 2, 2)
        assert detector["place"] == f"anomaly[1] in {watched.folder}/strongroom.toml"
        assert (found["events"], found["accesses"]) == (5, 4)
        assert (found["first"], found["last"]) == (
            "2030-01-01T00:00:02.000000+00:00",
            "2030-01-01T00:00:05.000000+00:00",
        )

    def test_a_summary_leaves_the_alerts_out(self, watched: Any) -> None:
        watched.record(*TRAIL)
        assert "alerts" not in replayed(watched, "--summary")
        assert "odd/b" not in watched("anomaly", "replay", "trail.txt", "--summary", SALT=MARKER).stdout

    def test_one_detector_can_be_tried_with_other_settings(self, watched: Any) -> None:
        watched.record(*TRAIL)
        found = replayed(watched, "--detector", "prefix", "--set", "at_least=3", "--set", "action=alert")
        assert [(alert["name"], alert["blocked"]) for alert in found["alerts"]] == [("odd/c", False)]
        assert found["detectors"][0]["place"] == "the command line"

    def test_what_is_not_set_is_as_configured(self, watched: Any) -> None:
        watched.record(*TRAIL)
        found = replayed(watched, "--detector", "prefix", "--set", "prefix=db/")
        assert found["alerts"] == []
        assert len(replayed(watched, "--detector", "prefix")["alerts"]) == 2

    def test_one_that_is_not_configured_has_its_defaults(self, watched: Any) -> None:
        watched.configure(BACKEND + SINK)
        watched.record(*TRAIL)
        found = replayed(watched, "--detector", "prefix", "--set", "cool_down=0s")
        assert [(alert["name"], alert["blocked"]) for alert in found["alerts"]] == [
            ("odd/a", False),
            ("odd/b", False),
            ("odd/c", False),
        ]

    def test_one_can_be_tried_where_there_is_no_configuration(self, watched: Any) -> None:
        watched.record(*TRAIL)
        (watched.folder / "strongroom.toml").unlink()
        assert replayed(watched, "--detector", "prefix")["detectors"][0]["alerts"] > 0

    def test_the_cool_down_counts_what_would_not_have_been_sent(self, watched: Any) -> None:
        watched.record(*(event for event in TRAIL if "on_behalf_of" not in event), {"number": 6, "key": "odd/d"})
        [detector] = replayed(watched)["detectors"]
        assert (detector["alerts"], detector["suppressed"], detector["blocks"]) == (1, 1, 2)

    def test_only_a_part_of_the_trail_can_be_replayed(self, watched: Any) -> None:
        watched.record(*TRAIL)
        found = replayed(watched, "--since", "2030-01-01T00:00:03", "--until", "2030-01-01T00:00:05")
        assert (found["events"], found["alerts"]) == (2, [])

    def test_a_part_can_be_for_learning_only(self, watched: Any) -> None:
        watched.record(*TRAIL)
        found = replayed(watched, "--learn-until", "2030-01-01T00:00:04.500000")
        assert [alert["name"] for alert in found["alerts"]] == ["odd/c"]
        assert found["detectors"][0]["alerts"] == 1

    def test_nothing_is_opened_written_or_made(self, watched: Any) -> None:
        watched.record(*TRAIL)
        before = {path: path.stat() for path in watched.folder.iterdir() if path.is_file()}
        replayed(watched)
        after = {path: path.stat() for path in watched.folder.iterdir() if path.is_file()}
        assert {path: (one.st_mtime_ns, one.st_size) for path, one in after.items()} == {
            path: (one.st_mtime_ns, one.st_size) for path, one in before.items()
        }

    def test_what_stands_in_the_trail_is_safe_to_print(self, watched: Any) -> None:
        watched.record({"number": 1, "key": "odd/a"}, {"number": 2, "key": "odd/a", "principal": "x\x1b[2J\ny"})
        done = watched("anomaly", "replay", "trail.txt", SALT=MARKER)
        assert "x\\x1b[2J\\ny" in done.stdout
        assert "\x1b" not in done.stdout


class TestRefusals:
    @pytest.mark.parametrize("content", ["", "no trail\n"])
    def test_a_file_that_is_no_trail_is_refused(self, watched: Any, content: str) -> None:
        (watched.folder / "other.txt").write_text(content)
        done = watched("anomaly", "replay", "other.txt", SALT=MARKER)
        assert (done.status, done.stdout) == (2, "")
        assert "other.txt is no audit trail" in done.stderr

    @pytest.mark.parametrize("path", ["missing.txt", "."])
    def test_what_is_no_file_is_refused(self, watched: Any, path: str) -> None:
        done = watched("anomaly", "replay", path, SALT=MARKER)
        assert done.status == 2
        assert "there is no file" in done.stderr
        assert not (watched.folder / "missing.txt").exists()

    def test_without_a_detector_it_says_what_to_do(self, watched: Any) -> None:
        watched.configure(BACKEND + SINK)
        watched.record(*TRAIL)
        done = watched("anomaly", "replay", "trail.txt")
        assert done.status == 2
        assert "[[anomaly]]" in done.stderr

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["--set", "at_least=3"], "--set needs --detector"),
            (["--detector", "prefix", "--set", "at_least"], "is not KEY=VALUE"),
            (["--detector", "prefix", "--set", "at_leas=3"], "at_leas in the command line is not a setting"),
            (["--detector", "prefix", "--set", "at_least=many"], "at_least in the command line is not usable"),
            (["--detector", "prefix", "--set", "action=shout"], "action"),
            (["--detector", "nowhere"], "no installed distribution offers the anomaly detector 'nowhere'"),
            (["--learn-until", "soon"], "is neither a time nor a duration"),
        ],
    )
    def test_an_option_that_makes_no_sense_is_refused(self, watched: Any, arguments: list[str], told: str) -> None:
        watched.record(*TRAIL)
        done = watched("anomaly", "replay", "trail.txt", *arguments, SALT=MARKER)
        assert (done.status, done.stdout) == (2, "")
        assert told in done.stderr


def test_an_explanation_shows_the_same_event_as_the_trail(watched: Any) -> None:
    watched.record(ALERT)
    shown = json.loads(watched("audit", "tail", "--json", "--last", "1").stdout)
    assert explained(watched, shown["id"])["event"] == shown
