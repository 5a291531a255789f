"""A file is imported as a whole or not at all, and what happened is said exactly."""

from __future__ import annotations

import io
import json

from typing import Any

import pytest

from importers import Importer
from strongroom.cli.main import main
from strongroom.testing.leaks import leaks_in, marker_value


def test_keys_keep_their_spelling_below_the_prefix(importer: Importer) -> None:
    status, _, notes = importer("DATABASE_URL=x\nlower='y z'\n", "--prefix", "app/")
    assert status == 0
    assert importer.content == {"app/DATABASE_URL": "x", "app/lower": "y z"}
    assert notes.splitlines() == ["stored app/DATABASE_URL version 1", "stored app/lower version 1"]


def test_a_json_file_is_known_by_its_name(importer: Importer) -> None:
    assert importer('{"db/password": "x", "a": ""}', file="some.json")[0] == 0
    assert importer.content == {"db/password": "x", "a": ""}


def test_folders_without_a_name_are_refused_however_many_there_are(importer: Importer) -> None:
    levels = 505
    status, _, problems = importer('{"": ' * levels + '"x"' + "}" * levels, "--flatten", file="some.json")
    assert status == 2
    assert "has an empty key: name it" in problems


def test_a_trial_run_writes_nothing_and_says_what_it_would_do(importer: Importer) -> None:
    importer.put(A="old")
    status, _, notes = importer("A=1\nB=2\n", "--dry-run", "--if-exists", "skip")
    assert status == 0
    assert notes.splitlines() == ["would write B", "would skip A, which exists already"]
    assert importer.content == {"A": "old"}


@pytest.mark.parametrize(
    ("mode", "status", "content"),
    [
        ([], 7, {"A": "old"}),
        (["--if-exists", "error"], 7, {"A": "old"}),
        (["--if-exists", "skip"], 0, {"A": "old", "B": "2"}),
        (["--if-exists", "overwrite"], 0, {"A": "1", "B": "2"}),
    ],
)
@pytest.mark.parametrize("kind", ["drawer", "plain-drawer"])
def test_names_that_exist(importer: Importer, kind: str, mode: list[str], status: int, content: dict[str, str]) -> None:
    importer.configure(kind)
    importer.put(A="old")
    assert importer("B=2\nA=1\n", *mode)[0] == status
    assert importer.content == content


def allowing(*actions: str) -> str:
    """Return a policy for the one who imports."""
    return f'[[policies]]\nprincipal = "tester"\neffect = "allow"\nactions = {json.dumps(actions)}\nnames = ["**"]'


@pytest.mark.parametrize(
    ("mode", "status", "content"),
    [
        ("error", 7, {"A": "old"}),
        ("skip", 0, {"A": "old", "B": "2"}),
        ("overwrite", 0, {"A": "1", "B": "2"}),
    ],
)
def test_a_name_that_may_be_read_but_not_listed_exists(
    importer: Importer, mode: str, status: int, content: dict[str, str]
) -> None:
    importer.configure("plain-drawer", tables=allowing("create", "update", "read"))
    importer.put(A="old")
    assert importer("B=2\nA=1\n", "--if-exists", mode)[0] == status
    assert importer.content == content


@pytest.mark.parametrize("mode", ["error", "skip"])
def test_nothing_is_written_where_nobody_can_tell_what_exists(importer: Importer, mode: str) -> None:
    importer.configure("plain-drawer", tables=allowing("create", "update"))
    importer.put(A="old")
    status, _, problems = importer("B=2\nA=1\n", "--if-exists", mode)
    assert (status, importer.content) == (4, {"A": "old"})
    assert "whether A exists already is not known" in problems
    assert "whether B exists already is not known" in problems
    assert importer("A=1\n", "--if-exists", "overwrite")[0] == 0


def test_what_the_backend_checks_itself_needs_neither_a_list_nor_a_read(importer: Importer) -> None:
    importer.configure("drawer", tables=allowing("create", "update"))
    importer.put(A="old")
    assert importer("A=1\n")[0] == 7
    assert importer("B=2\n")[0] == 0
    assert importer.content == {"A": "old", "B": "2"}


def test_programs_get_the_outcome_as_json(importer: Importer) -> None:
    importer.put(A="old")
    _, output, _ = importer("B=2\nA=1\n", "--if-exists", "skip", "--json")
    written = [{"name": "B", "version": "1", "queued": None}]
    assert json.loads(output) == {"dry_run": False, "written": written, "skipped": ["A"]}


@pytest.mark.parametrize(
    ("text", "file", "words"),
    [
        ("A=1\nA=2\nnothing\n", "some.env", ["line 2", "line 3"]),
        ('{"a": 1, "b": null, "c": [], "d": {"e": "f"}, "g": "h"}', "some.json", ["'a'", "'b'", "'c'", "'d'"]),
        ('{"a": "x", "a": "y", "b": {"base64": "?"}}', "some.json", ["'a'", "'b'"]),
        ('{"a//b": "x", "../c": "y"}', "some.json", ["a//b", "../c"]),
        ('{"\\u0065\\u0301": "x", "\\u00e9": "y"}', "some.json", ["two spellings"]),
        ('{"a": "\\ud800"}', "some.json", ["'a'"]),
        ("[]", "some.json", ["not a JSON object"]),
        ('{"a": NaN}', "some.json", ["not JSON"]),
        ('{"a":\n\n!', "some.json", ["line 3"]),
        ("[" * 100_000, "some.json", ["not JSON"]),
    ],
)
def test_every_problem_of_a_file_is_found_before_anything_is_written(
    importer: Importer, text: str, file: str, words: list[str]
) -> None:
    status, _, problems = importer(text, file=file)
    assert status == 2
    assert importer.content == {}
    for word in words:
        assert word in problems


def test_standard_input_is_called_so(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"A=1\nnothing\n")))
    status, _, problems = importer.run("-")
    assert (status, "standard input line 2 is not NAME=VALUE" in problems) == (2, True)


def test_what_the_backend_would_refuse_is_found_before_anything_is_written(importer: Importer) -> None:
    importer.configure(more="limit = 3")
    status, _, problems = importer("A=1\nB=4444\nC=4444\n")
    assert (status, importer.content) == (2, {})
    assert "of B has 4 bytes" in problems
    assert "of C has 4 bytes" in problems


def test_what_the_policy_would_refuse_is_found_before_anything_is_written(importer: Importer) -> None:
    importer.configure(
        tables='[[policies]]\nprincipal = "tester"\neffect = "allow"\nactions = ["write", "list"]\nnames = ["app/*"]'
    )
    status, _, problems = importer('{"app/a": "1", "other/b": "2"}', file="some.json")
    assert (status, importer.content) == (4, {})
    assert "other/b" in problems
    assert "app/a" not in problems
    assert importer('{"app/a": "1"}', file="some.json")[0] == 0
    assert importer.content == {"app/a": "1"}


@pytest.mark.parametrize(
    ("text", "options", "content"),
    [
        ('{"a": {"b": "1", "c": {"d": "2"}}, "e": "3"}', ["--flatten"], {"a/b": "1", "a/c/d": "2", "e": "3"}),
        ('{"a": 1.10, "b": true, "c": false, "d": -0, "e": 1e400}', ["--stringify"],
         {"a": "1.10", "b": "true", "c": "false", "d": "-0", "e": "1e400"}),
        ('{"a": {"base64": "YQ=="}}', ["--flatten"], {"a": "a"}),
    ],
)  # fmt: skip
def test_other_shapes_of_json_are_taken_on_request(
    importer: Importer, text: str, options: list[str], content: dict[str, str]
) -> None:
    assert importer(text, *options, file="some.json")[0] == 0
    assert importer.content == content


def test_an_import_that_breaks_off_says_what_was_written(importer: Importer) -> None:
    importer.configure(more='gives_up_at = "C"')
    status, _, problems = importer("A=1\nB=2\nC=3\nD=4\n")
    assert status == 6
    assert importer.content == {"A": "1", "B": "2"}
    assert "written: A, B\n" in problems
    assert "not written, in this order: C, D\n" in problems
    assert "the drawer is stuck: pull" in problems


def test_a_file_that_cannot_be_read_is_named(importer: Importer, capsys: Any) -> None:
    assert main(["import", "missing.env"]) == 2
    assert "missing.env" in capsys.readouterr().err


def test_an_empty_file_is_no_error(importer: Importer) -> None:
    status, _, notes = importer("# nothing\n")
    assert (status, importer.content) == (0, {})
    assert "holds no secret" in notes


@pytest.mark.parametrize(
    ("template", "file"),
    [
        ("A='{}' y", "some.env"),
        ("{}", "some.env"),
        ("A={}\nA={}", "some.env"),
        ('{"a": "{}"', "some.json"),
        ('{"a": "{}", "a": "{}"}', "some.json"),
        ('{"a": ["{}"], "b": {"base64": "{}"}}', "some.json"),
        ('{"a": "{}\\ud800"}', "some.json"),
    ],
)
def test_no_problem_shows_a_value(importer: Importer, template: str, file: str) -> None:
    marker = marker_value()[:30]
    status, output, problems = importer(template.replace("{}", marker), file=file)
    assert status == 2
    assert leaks_in(output + problems, marker) == []
