"""The size of things, and what a suppression owes its reader."""

import ast
import io
import re
import tokenize

from collections.abc import Iterator
from pathlib import Path

import pytest

from _workspace import ROOT
from sources import parsed, source_modules, tracked_files, where

MOST_LINES_OF_A_MODULE = 500
MOST_LINES_OF_A_FUNCTION = 60

SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|mypy:|ruff:|pragma:)")
# A code names what is suppressed, and a second comment says why.
WITH_REASON = re.compile(r"#\s*(noqa:|type:\s*ignore\[)[^#]*#\s*\S.{3,}")

SKIPS = re.compile(r"pytest\.(mark\.)?(skip|skipif|xfail)")

LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}

each_module = pytest.mark.parametrize("file", source_modules(), ids=lambda file: str(file.relative_to(ROOT)))


def code_lines(file: Path) -> set[int]:
    """Return the lines of *file* that hold something other than comments and docstrings."""
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text()).readline)
    lines = {line for token in tokens if token.type not in LAYOUT for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


@each_module
def test_no_module_is_too_long(file: Path) -> None:
    length = len(file.read_text().splitlines())
    assert length <= MOST_LINES_OF_A_MODULE


@each_module
def test_no_function_is_too_long(file: Path) -> None:
    lines = code_lines(file)
    lengths = {
        where(file, node.lineno): len(lines & set(range(node.lineno, (node.end_lineno or node.lineno) + 1)))
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {place: length for place, length in lengths.items() if length > MOST_LINES_OF_A_FUNCTION} == {}


@each_module
def test_a_suppression_says_what_and_why(file: Path) -> None:
    comments = [
        token
        for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline)
        if token.type == tokenize.COMMENT
    ]
    wrong = [
        where(file, token.start[0])
        for token in comments
        if SUPPRESSION.search(token.string) and not WITH_REASON.search(token.string)
    ]
    assert wrong == []


def skip_reasons(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the line of each way to skip a test, and how its reason begins; an empty text if it has none."""
    nodes = list(ast.walk(parsed(file)))
    called = {id(node.func): node for node in nodes if isinstance(node, ast.Call)}
    for node in nodes:
        if not isinstance(node, ast.Attribute) or not SKIPS.fullmatch(ast.unparse(node)):
            continue
        call = called.get(id(node))
        arguments = [*call.args, *(word.value for word in call.keywords)] if call else []
        texts = [part.value for argument in arguments for part in ast.walk(argument) if isinstance(part, ast.Constant)]
        yield node.lineno, next((text for text in texts if isinstance(text, str) and " " in text), "")


def test_a_skipped_test_says_what_it_needs_or_what_it_is_only_for() -> None:
    """`script/test` counts a skip that begins with `needs` as failed where everything must be there."""
    wrong = [
        f"{where(file, line)}: {reason!r}"
        for file in tracked_files()
        if file.suffix == ".py"
        for line, reason in skip_reasons(file)
        if not reason.startswith(("needs ", "only ", "the "))
    ]
    assert wrong == []
