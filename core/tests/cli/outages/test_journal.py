"""``strongroom journal``."""

from __future__ import annotations

import os
import pty

from typing import Any

import pytest

MARKER = "zq7-marker-3f9d41c2b8e6"
SECRETS = ("db/password", "api/key", "web/token")


@pytest.fixture
def bench(bench: Any) -> Any:
    """A bench whose backend holds three secrets and is out of reach."""
    for name in SECRETS:
        assert bench("set", name, stdin="old").status == 0
    bench.main.away = True
    return bench


def queue(bench: Any, name: str = "db/password", value: str = MARKER) -> str:
    """Have a write of a name accepted, and return the entry's id."""
    done = bench("set", name, "--json", stdin=value)
    assert done.status == 11, done.stderr
    return str(done.json["queued"])


def conflict(bench: Any, name: str = "db/password") -> str:
    """Have a write set aside because somebody else wrote first, and return the entry's id."""
    entry = queue(bench, name)
    bench.main.away = False
    write_directly(bench, name, "theirs")
    bench("journal", "replay")
    return entry


def write_directly(bench: Any, name: str, value: str) -> None:
    """Write to the backend as another program would."""
    from strongroom.contracts import WriteRequest
    from strongroom.model import SecretName, SecretValue, ValueType

    bench.main.write(WriteRequest(name=SecretName(name), value=SecretValue.of_bytes(value.encode(), ValueType.TEXT)))


def value_of(bench: Any, name: str) -> str:
    return str(bench("get", name).stdout)


class TestList:
    def test_an_empty_journal_is_said_to_be_empty(self, bench: Any) -> None:
        done = bench("journal", "list")
        assert (done.status, done.stdout, done.stderr) == (0, "", "no write waits, and none is set aside\n")
        assert bench("journal", "list", "--json").json == []

    def test_entries_are_listed_in_their_order(self, bench: Any) -> None:
        first = queue(bench)
        bench.clock.advance(75)
        assert bench("delete", "api/key").status == 11
        heading, *rows = [line.split() for line in bench("journal", "list").lines]
        assert heading == ["ID", "NAME", "CHANGE", "BACKEND", "STATE", "AGE", "BY"]
        assert rows[0] == [first[:8], "db/password", "set", "main", "unclear", "1", "min", "15", "s", "tester"]
        assert rows[1][1:] == ["api/key", "delete", "main", "unclear", "0", "s", "tester"]

    def test_programs_get_everything_but_the_value(self, bench: Any) -> None:
        entry = queue(bench)
        done = bench("journal", "list", "--json")
        (told,) = done.json
        assert (told["id"], told["name"], told["change"], told["backend"]) == (entry, "db/password", "set", "main")
        assert (told["state"], told["expected"], told["size"]) == ("unclear", "1", len(MARKER))
        assert told["queued"].startswith("20")
        assert MARKER not in done.stdout + done.stderr


class TestShow:
    @pytest.mark.parametrize("length", [8, 13, 36])
    def test_an_entry_is_found_by_the_beginning_of_its_id(self, bench: Any, length: int) -> None:
        entry = queue(bench)
        shown = bench("journal", "show", entry[:length])
        assert shown.status == 0
        assert shown.lines[0].split() == ["id", entry]

    def test_no_value_is_shown(self, bench: Any) -> None:
        entry = queue(bench)
        text, programs = bench("journal", "show", entry), bench("journal", "show", entry, "--json")
        assert MARKER not in text.stdout + text.stderr + programs.stdout + programs.stderr

    def test_a_conflict_is_shown_with_both_versions_and_what_to_do(self, bench: Any) -> None:
        entry = conflict(bench)
        shown = dict(
            line.split(maxsplit=1) for line in bench("journal", "show", entry).lines if "made over" not in line
        )
        assert shown["state"] == "conflict"
        assert shown["found"].startswith("2, written 20")
        assert f"strongroom journal resolve {entry[:8]} --ours" in shown["next"]
        told = bench("journal", "show", entry, "--json").json
        assert (told["expected"], told["found"]) == ("1", "2")
        assert told["reason"]

    def test_a_write_behind_another_one_names_it(self, bench: Any) -> None:
        first = queue(bench)
        second = queue(bench)
        assert f"made over  entry {first}" in bench("journal", "show", second).lines

    def test_what_is_no_entry_is_not_found(self, bench: Any) -> None:
        done = bench("journal", "show", "nothing-of-the-kind")
        assert (done.status, done.stdout) == (3, "")

    @pytest.mark.parametrize("length", [0, 7])
    def test_too_little_of_an_id_is_a_mistake(self, bench: Any, length: int) -> None:
        assert bench("journal", "show", queue(bench)[:length]).status == 2


class TestReplay:
    def test_all_that_waits_is_made_in_order(self, bench: Any) -> None:
        queue(bench, value="one")
        queue(bench, value="two")
        bench.main.away = False
        done = bench("journal", "replay")
        assert (done.status, done.stdout, done.stderr) == (0, "", "made 2\n")
        assert value_of(bench, "db/password") == "two"
        assert bench("journal", "list", "--json").json == []

    def test_what_still_waits_is_an_outage_with_its_reason(self, bench: Any) -> None:
        queue(bench)
        done = bench("journal", "replay")
        assert done.status == 6
        assert done.stderr.startswith("made 0; 1 still waits: ")
        assert bench("journal", "replay", "--json").json["waiting"] == 1

    def test_what_is_set_aside_has_the_status_of_a_conflict(self, bench: Any) -> None:
        queue(bench)
        bench.main.away = False
        write_directly(bench, "db/password", "theirs")
        done = bench("journal", "replay")
        assert (done.status, done.stderr) == (7, "made 0; set aside 1: see `strongroom journal list`\n")
        assert value_of(bench, "db/password") == "theirs"

    def test_another_backends_entries_are_left_alone(self, bench: Any) -> None:
        queue(bench)
        bench.main.away = False
        assert bench("journal", "replay", "--backend", "store").stderr.startswith("made 0")
        assert bench("journal", "replay", "--backend", "main").stderr == "made 1\n"

    def test_a_backend_that_is_not_configured_is_a_mistake(self, bench: Any) -> None:
        assert bench("journal", "replay", "--backend", "nowhere").status == 2


class TestDrop:
    def test_nothing_is_dropped_unless_somebody_is_asked_or_says_yes(self, bench: Any) -> None:
        entry = queue(bench)
        done = bench("journal", "drop", entry)
        assert done.status == 2
        assert "--yes" in done.stderr
        assert len(bench("journal", "list", "--json").json) == 1

    @pytest.mark.parametrize(("answer", "status", "left"), [("y", 0, 0), ("n", 1, 1), ("", 1, 1)])
    def test_the_answer_decides(
        self, bench: Any, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, left: int
    ) -> None:
        entry = queue(bench)
        controller, terminal = pty.openpty()
        os.write(controller, f"{answer}\n".encode())
        with os.fdopen(terminal) as person:
            monkeypatch.setattr(bench, "stdin", person)
            done = bench("journal", "drop", entry)
        os.close(controller)
        assert done.status == status
        assert "Drop the set of db/password, accepted 0 s ago? It is lost then. [y/N] " in done.stderr
        assert len(bench("journal", "list", "--json").json) == left

    def test_what_was_dropped_is_never_made(self, bench: Any) -> None:
        entry = queue(bench)
        assert bench("journal", "drop", entry[:8], "--yes").status == 0
        bench.main.away = False
        bench("journal", "replay")
        assert value_of(bench, "db/password") == "old"


class TestResolve:
    def test_ours_is_made_over_what_is_there(self, bench: Any) -> None:
        entry = conflict(bench)
        done = bench("journal", "resolve", entry, "--ours")
        assert (done.status, done.stderr) == (0, "made the set of db/password, over what main had\n")
        assert value_of(bench, "db/password") == MARKER
        assert bench("journal", "list", "--json").json == []

    def test_ours_waits_again_where_the_backend_is_gone(self, bench: Any) -> None:
        entry = conflict(bench)
        bench.main.away = True
        done = bench("journal", "resolve", entry, "--ours")
        assert (done.status, f"waits again, as entry {entry}" in done.stderr) == (11, True)
        bench.main.away = False
        assert bench("journal", "replay").stderr == "made 1\n"
        assert value_of(bench, "db/password") == MARKER

    def test_ours_is_set_aside_again_if_somebody_wrote_once_more(self, bench: Any) -> None:
        entry = conflict(bench)
        write_directly(bench, "db/password", "theirs again")
        done = bench("journal", "resolve", entry, "--ours")
        assert (done.status, "is set aside again: " in done.stderr) == (7, True)
        assert value_of(bench, "db/password") == "theirs again"

    def test_theirs_stays_and_the_entry_goes(self, bench: Any) -> None:
        entry = conflict(bench)
        done = bench("journal", "resolve", entry, "--theirs")
        assert done.status == 0
        assert value_of(bench, "db/password") == "theirs"
        assert bench("journal", "list", "--json").json == []

    @pytest.mark.parametrize("choice", [(), ("--ours", "--theirs")], ids=["none", "both"])
    def test_one_side_must_be_chosen(self, bench: Any, choice: tuple[str, ...]) -> None:
        entry = conflict(bench)
        assert bench("journal", "resolve", entry, *choice).status == 2
        assert len(bench("journal", "list", "--json").json) == 1


def test_names_that_could_move_the_cursor_are_escaped(bench: Any) -> None:
    queue(bench, "odd/back\\slash")
    assert "odd/back\\\\slash" in bench("journal", "list").stdout
