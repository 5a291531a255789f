"""``get``, ``set``, ``rotate``, ``delete``, ``import`` and ``export`` while the backend is out of reach."""

from __future__ import annotations

import re

from pathlib import Path
from typing import Any

import pytest

MARKER = "zq7-marker-3f9d41c2b8e6"
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


@pytest.fixture
def bench(bench: Any) -> Any:
    """A bench whose backend has one secret, of which there is a copy, and is out of reach since a minute."""
    assert bench("set", "db/password", stdin="s3cret").status == 0
    bench.main.away = True
    bench.clock.advance(60)
    return bench


class TestGet:
    def test_a_copy_is_printed_as_ever_and_noted_on_standard_error(self, bench: Any) -> None:
        done = bench("get", "db/password")
        assert (done.status, done.stdout) == (0, "s3cret")
        assert done.stderr == "strongroom: db/password is a copy from 1 min 0 s ago: main is out of reach\n"

    def test_programs_are_told_freshness_and_age(self, bench: Any) -> None:
        told = bench("get", "db/password", "--json").json
        assert (told["freshness"], told["age"], told["value"]) == ("fallback", 60.0, "s3cret")

    def test_a_change_that_waits_is_noted_with_its_entry(self, bench: Any) -> None:
        entry = bench("set", "db/password", "--json", stdin="newer").json["queued"]
        bench.clock.advance(5)
        done = bench("get", "db/password")
        assert (done.status, done.stdout) == (0, "newer")
        assert done.stderr == (
            f"strongroom: db/password is a change from 5 s ago that waits for main, as entry {entry} of the journal\n"
        )

    def test_an_answer_of_the_backend_is_not_noted(self, bench: Any) -> None:
        bench.main.away = False
        assert bench("get", "db/password").stderr == ""

    def test_what_an_export_holds_is_noted_as_well(self, bench: Any) -> None:
        done = bench("export", "db/password")
        assert (done.status, done.lines) == (0, ["DB_PASSWORD=s3cret"])
        assert "db/password is a copy from" in done.stderr


class TestChanges:
    @pytest.mark.parametrize(
        ("arguments", "change"),
        [
            (("set", "db/password"), "write"),
            (("rotate", "db/password"), "rotation"),
            (("delete", "db/password"), "delete"),
        ],
        ids=["set", "rotate", "delete"],
    )
    def test_a_change_is_queued_with_a_status_of_its_own(
        self, bench: Any, arguments: tuple[str, ...], change: str
    ) -> None:
        done = bench(*arguments, stdin=MARKER)
        assert done.status == 11
        assert re.fullmatch(f"queued the {change} of db/password as entry {ID} in the journal of store\n", done.stderr)
        assert MARKER not in done.stdout + done.stderr

    @pytest.mark.parametrize("command", ["set", "rotate"])
    def test_programs_are_told_the_entry_of_a_write(self, bench: Any, command: str) -> None:
        done = bench(command, "db/password", "--json", stdin=MARKER)
        assert (done.status, done.json["status"]) == (11, "queued")
        assert re.fullmatch(ID, done.json["queued"])
        assert done.json["version"] == f"queued:{done.json['queued']}"

    def test_programs_are_told_the_entry_of_a_delete(self, bench: Any) -> None:
        done = bench("delete", "db/password", "--json")
        assert done.status == 11
        assert re.fullmatch(ID, done.json["queued"])

    def test_what_is_made_at_once_has_no_entry(self, bench: Any) -> None:
        bench.main.away = False
        done = bench("set", "db/password", "--json", stdin="newer")
        assert (done.status, done.json["status"], done.json["queued"]) == (0, "stored", None)

    def test_where_writes_may_not_wait_the_outage_is_the_error(self, bench: Any) -> None:
        bench.open(queue_writes=False)
        done = bench("set", "db/password", stdin=MARKER)
        assert done.status == 6
        assert "queued" not in done.stdout + done.stderr

    def test_an_import_is_queued_name_by_name(self, bench: Any, tmp_path: Path) -> None:
        file = tmp_path / "some.env"
        file.write_text("A=1\nB=2\n")
        done = bench("import", str(file), "--if-exists", "overwrite")
        assert done.status == 11
        assert [line.split()[:5] for line in done.stderr.splitlines()] == [
            ["queued", "the", "write", "of", "A"],
            ["queued", "the", "write", "of", "B"],
        ]
        told = bench("import", str(file), "--if-exists", "overwrite", "--json")
        assert [re.fullmatch(ID, each["queued"]) is not None for each in told.json["written"]] == [True, True]


def test_a_copy_that_stays_the_old_one_is_warned_of(bench: Any) -> None:
    bench.main.away = False
    bench.store.full = True
    done = bench("set", "db/password", stdin="newer")
    assert done.status == 0
    assert "stored db/password version 2" in done.stderr
    assert "strongroom: warning: the copy of db/password in the fallback store is still the old one: " in done.stderr
    assert bench("set", "db/password", "--json", stdin="newest").json["copy_failed"]
