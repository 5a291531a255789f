"""YAML is imported as JSON is, and what two readers of YAML may take in two ways is refused with its line."""

from __future__ import annotations

import contextlib
import json
import sys

from pathlib import Path
from typing import Any

import pytest
import yaml

from hypothesis import example, given
from hypothesis import strategies as st

from importers import Importer
from strongroom.cli.documents import Members, Reader, Shapes
from strongroom.cli.yamlfile import parse
from strongroom.errors import ConfigurationError
from strongroom.model import SecretValue, ValueType
from strongroom.testing.leaks import leaks_in, marker_value

TRAPS = [
    "no", "Yes", "ON", "y", "N", "true", "1", "-7", "+1", "012", "0o14", "0x1F", "0b11", "1_000", "1.50", ".5", "1e3",
    "1E-3", "190:20:30", ".inf", ".NaN", "=", "2026-11-28", "2001-12-14t21:59:43.10-05:00",
]  # fmt: skip
# What is in no range of surrogates; those that YAML writes as pairs are not its own.
TEXTS = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=("Cs",)))


def read(text: str, **shapes: bool) -> tuple[dict[str, SecretValue], list[str]]:
    """Return what a text holds, and what is said about it."""
    try:
        document, problems = parse(SecretValue(text), "some.yaml", stringify=shapes.get("stringify", False))
    except ConfigurationError as error:
        return {}, [str(error)]
    reader = Reader("some.yaml", Shapes(**shapes), problems)
    reader.take(document)
    return reader.found, [str(problem) for problem in reader.problems]


@pytest.mark.parametrize("file", ["some.yaml", "some.yml"])
def test_a_yaml_file_is_known_by_its_name(importer: Importer, file: str) -> None:
    text = "db/password: x y\nempty: ''\nquoted: \"no\"\nlines: |\n  one\n  two\n"
    assert importer(text, file=file)[0] == 0
    assert importer.content == {"db/password": "x y", "empty": "", "quoted": "no", "lines": "one\ntwo\n"}


def test_the_format_can_be_named(importer: Importer) -> None:
    assert importer("a: b\n", "--format", "yaml")[0] == 0
    assert importer.content == {"a": "b"}


def test_mappings_become_folders_on_request(importer: Importer) -> None:
    text = "db:\n  user: shop\n  tls:\n    key: k\ntoken: t\n"
    status, _, problems = importer(text, file="some.yaml")
    assert status == 2
    assert "'db' in some.yaml line 1 is a mapping: add --flatten to make it a folder" in problems
    assert importer(text, "--flatten", file="some.yaml")[0] == 0
    assert importer.content == {"db/user": "shop", "db/tls/key": "k", "token": "t"}


@pytest.mark.parametrize("trap", TRAPS)
def test_what_one_reader_takes_for_something_else_than_text_is_refused(trap: str) -> None:
    found, problems = read(f"first: x\nsecond: {trap}\n")
    assert set(found) == {"first"}
    assert problems == ["'second' in some.yaml line 2 is not text: put it in quotes, or add --stringify"]


@pytest.mark.parametrize("trap", TRAPS)
def test_on_request_it_is_taken_as_it_stands(trap: str) -> None:
    found, problems = read(f"a: {trap}\n", stringify=True)
    assert problems == []
    assert found["a"].reveal_text() == trap


@pytest.mark.parametrize("trap", TRAPS)
def test_in_quotes_it_is_text(trap: str) -> None:
    found, problems = read(f"a: '{trap}'\nb: \"{trap}\"\n")
    assert problems == []
    assert [value.reveal_text() for value in found.values()] == [trap, trap]


@pytest.mark.parametrize("text", ["1.2.3", "e3", "a 1", "1 a", "0xyz", "nope", "p@ss:w0rd", "10.0.0.1", "--", "1-2"])
def test_what_everybody_takes_for_text_needs_no_quotes(text: str) -> None:
    found, problems = read(f"a: {text}\n")
    assert problems == []
    assert found["a"].reveal_text() == text


def test_bytes_are_bytes() -> None:
    found, problems = read("a: !!binary |\n  AP8A\n  /w==\nb:\n  base64: AP8=\n")
    assert problems == []
    assert [value.reveal() for value in found.values()] == [b"\0\xff\0\xff", b"\0\xff"]
    assert {value.type for value in found.values()} == {ValueType.BINARY}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: x\na: y\n", ["'a' in some.yaml line 2 stands there twice"]),
        ("a: {b: x}\na: {c: y}\n", ["'a' in some.yaml line 2 stands there twice"]),
        ("a: x\na: {c: y}\n", ["'a' in some.yaml line 2 stands there twice"]),
        ("a: {b: x}\na/b: y\n", ["'a/b' in some.yaml line 2 stands there twice"]),
        ("a:\nb: ~\nc: null\n", ["'a' in some.yaml line 1 is null", "line 2 is null", "line 3 is null"]),
        ("a: [x]\nb:\n- y\n", ["'a' in some.yaml line 1 is a list", "'b' in some.yaml line 2 is a list"]),
        ("a: !!binary '?'\n", ["line 1 is not valid base64"]),
        ("a: x\nb: !Ref c\n", ["line 2 has a tag other than"]),
        ("a: !!set {x}\nb: !!omap [x: y]\n", ["line 1 has a tag", "line 2 has a tag"]),
        ("a: b\n---\nc: d\n", ["holds more than one document"]),
        ("a: &x {b: c}\nd: *x\n", ["line 2 repeats a mapping"]),
        ("a: &x {b: *x}\n", ["line 1 repeats a mapping"]),
        ("a: &x {b: c}\nd:\n  <<: *x\n", ["line 3 merges another mapping"]),
        ("1: x\nyes: y\n", ["line 1 has a key that is not text", "line 2 has a key that is not text"]),
        ("? [a]\n: b\n", ["line 1 has a key that is no plain text"]),
        ("a: *unknown\n", ["line 1 is not YAML"]),
        ("a: b\n\tc: d\n", ["is not YAML"]),
        ("a: 'x\n", ["is not YAML"]),
        ("a: \x07\n", ["is not YAML"]),
        ("a: b\nc: 'd\u2028e'\n", ["line 2 holds a character that ends a line in YAML 1.1 only"]),
        ("[" * 100_000, ["nested without end"]),
        ("- a\n- b\n", ["not a YAML mapping"]),
        ("plain\n", ["not a YAML mapping"]),
        ("a//b: x\n../c: y\n", ["a//b", "../c"]),
        ('a: "\\ud800"\n', ["half of a surrogate pair"]),
    ],
)
def test_every_problem_of_a_file_is_found_before_anything_is_written(
    importer: Importer, text: str, words: list[str]
) -> None:
    status, _, problems = importer(text, "--flatten", file="some.yaml")
    assert status == 2
    assert importer.content == {}
    for word in words:
        assert word in problems


def test_keys_are_taken_as_they_stand_on_request() -> None:
    found, problems = read("012: x\nyes: y\n", stringify=True)
    assert problems == []
    assert list(found) == ["012", "yes"]


def test_an_empty_file_is_no_error(importer: Importer) -> None:
    status, _, notes = importer("# nothing\n", file="some.yaml")
    assert (status, importer.content) == (0, {})
    assert "holds no secret" in notes


def test_an_alias_of_a_text_is_that_text() -> None:
    found, problems = read("a: &x text\nb: *x\n")
    assert problems == []
    assert {name: value.reveal_text() for name, value in found.items()} == {"a": "text", "b": "text"}


@pytest.mark.parametrize("line", ["k{}: *x\n", "? *x\n: v\n"])
def test_aliases_do_not_make_a_file_larger_than_it_looks(line: str) -> None:
    text = f"k: &x {'a' * 2000}\n" + "".join(line.format(at) for at in range(2000))
    found, problems = read(text)
    assert sum(len(value.reveal()) for value in found.values()) < 2 << 20
    assert "repeats more than 1048576 characters in all" in problems[0]


def test_a_folder_with_a_long_name_is_not_entered() -> None:
    """Its length would be paid for again by each name below it."""
    inner = ", ".join(f"k{at}: v" for at in range(1000))
    found, problems = read(f"{'a' * 900}: {{{inner}}}\n", flatten=True)
    assert found == {}
    assert len(problems) == 1
    assert "is too long for a folder" in problems[0]


def test_a_long_value_is_looked_at_once() -> None:
    """Were each of its digits a place to begin again, this would not end."""
    found, problems = read(f"a: {'1' * 100_000}x\nb: {'_' * 100_000}\n")
    assert problems == []
    assert [len(value.reveal()) for value in found.values()] == [100_001, 100_000]


@given(st.text("ab01:-?!&*<>|'\"%@[]{},#~=. \n\t\u2028", max_size=40) | st.text(max_size=20), st.booleans())
def test_whatever_a_file_holds_it_is_read_or_refused(text: str, both: bool) -> None:
    found, problems = read(text, flatten=both, stringify=both)
    assert all("some.yaml" in problem for problem in problems)
    assert all(isinstance(value, SecretValue) for value in found.values())


@given(st.binary(max_size=40))
def test_whatever_bytes_a_file_holds_they_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(ConfigurationError):
        document, _ = parse(SecretValue(content), "some.yaml", stringify=True)
        assert isinstance(document, Members)


def test_a_tag_runs_nothing(importer: Importer) -> None:
    text = "a: !!python/object/apply:os.mkdir [made]\n"
    assert importer(text, "--flatten", "--stringify", file="some.yaml")[0] == 2
    assert not Path("made").exists()


def test_without_pyyaml_it_is_said_what_to_install(importer: Importer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    status, _, problems = importer("a: b\n", file="some.yaml")
    assert (status, importer.content) == (2, {})
    assert 'pip install "strongroom[yaml]"' in problems


@given(st.dictionaries(st.from_regex(r"[A-Za-z_]{1,8}x", fullmatch=True), TEXTS, min_size=1, max_size=4))
@example({"x": "no", "y": "\x85\u2028\0\r\n\t"})
def test_texts_that_json_writes_come_back_exactly(values: dict[str, str]) -> None:
    found, problems = read(json.dumps(values))
    assert problems == []
    assert {name: value.reveal_text() for name, value in found.items()} == values


@given(TEXTS, st.sampled_from([None, "'", '"', "|", ">"]))
@example("1e3", None)
@example("a\u2028b", None)
def test_a_text_comes_back_exactly_or_not_at_all(text: str, style: Any) -> None:
    found, problems = read(yaml.safe_dump({"a": text}, default_style=style, allow_unicode=True))
    assert problems or found["a"].reveal_text() == text


@pytest.mark.parametrize(
    "template",
    ["a: '{}", "a: [{}]\n", "a: !{} x\n", "a: !x {}\n", "a: {}\na: {}\n", "a: &x {b: '{}'}\nc: *x\n", "{}",
     "a: !!binary '{}?'\n", "a: b\n---\n{}\n", 'a: "{}\\ud800"\n', "a: *{}\n", "a: 'x\n {}\n", "a: {}\x07\n"],
)  # fmt: skip
def test_no_problem_shows_a_value(importer: Importer, template: str) -> None:
    marker = marker_value()[:30]
    status, output, problems = importer(template.replace("{}", marker), file="some.yaml")
    assert status == 2
    assert leaks_in(output + problems, marker) == []
