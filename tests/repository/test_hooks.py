"""Every hook is documented as it is, and somebody has tried it."""

import ast

from pathlib import Path

import pytest

from _workspace import ROOT
from sources import parsed, tracked_files

HOOKSPECS = ROOT / "core/src/strongroom/hookspecs.py"


def hooks() -> list[ast.FunctionDef]:
    return [
        node
        for node in parsed(HOOKSPECS).body
        if isinstance(node, ast.FunctionDef) and any(ast.unparse(mark) == "_hookspec" for mark in node.decorator_list)
    ]


def signature(hook: ast.FunctionDef) -> str:
    assert hook.returns is not None
    return f"def {hook.name}({ast.unparse(hook.args)}) -> {ast.unparse(hook.returns)}"


each_hook = pytest.mark.parametrize("hook", hooks(), ids=lambda hook: hook.name)


@each_hook
def test_a_hook_has_a_page_with_its_signature(hook: ast.FunctionDef) -> None:
    page = ROOT / "docs/hooks" / f"{hook.name}.md"
    assert page.exists()
    assert signature(hook) in page.read_text()


@each_hook
def test_a_hook_is_implemented_by_a_test(hook: ast.FunctionDef) -> None:
    def implements(file: Path) -> bool:
        return file.suffix == ".py" and "tests" in file.parts and f"def {hook.name}(" in file.read_text()

    assert any(implements(file) for file in tracked_files())


@each_hook
def test_a_hook_takes_no_arguments(hook: ast.FunctionDef) -> None:
    """Nothing travels through a hook, so no plugin can see what another is given."""
    assert ast.unparse(hook.args) == ""


def test_every_page_about_a_hook_is_about_one_that_exists() -> None:
    pages = {page.stem for page in (ROOT / "docs/hooks").glob("strongroom_*.md")}
    assert pages == {hook.name for hook in hooks()}
