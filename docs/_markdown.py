"""What the generator of pages is made of: definitions read from the sources, and told in Markdown."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CORE = ROOT / "core/src/strongroom"
NOTE = "<!-- Made by docs/generate.py from the sources: change those, then run it. -->\n"
BASES = {
    "SecretManager": (
        ("operations/reading", "Reader"),
        ("operations/batch", "BatchReader"),
        ("operations/keys", "KeyUser"),
        ("operations/acts", "Actor"),
    )
}
"""The classes whose methods are shown as a class's own: they are its bases, in modules of their own for their size."""

Definition = ast.ClassDef | ast.FunctionDef


# Reading the sources


def parsed(module: str) -> ast.Module:
    """Return the tree of a module of the core, such as ``contracts/backend``."""
    return ast.parse((CORE / f"{module}.py").read_text())


def found(module: str, name: str) -> Definition:
    """Return the definition of a class or function at the top of a module."""
    return next(node for node in parsed(module).body if isinstance(node, Definition) and node.name == name)


def fields(node: ast.ClassDef) -> Iterator[tuple[ast.AnnAssign, str]]:
    """Yield each annotated attribute with the text below it, or an empty one."""
    for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and not ast.unparse(statement.annotation).startswith("ClassVar"):
            yield statement, text_of(below)


def members(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield the name, value and text of each member of an enumeration."""
    for statement, below in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.Assign):
            yield ast.unparse(statement.targets[0]), ast.unparse(statement.value), text_of(below)


def text_of(statement: ast.stmt | None) -> str:
    """Return a statement that is nothing but a text."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return ""


def methods(node: ast.ClassDef) -> list[ast.FunctionDef]:
    """Return the public methods, those of documented bases first."""
    bases = [found(*base) for base in BASES.get(node.name, ())]
    inherited = [method for base in bases if isinstance(base, ast.ClassDef) for method in methods(base)]
    own = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    return inherited + [item for item in own if not item.name.startswith("_") and ast.get_docstring(item)]


def decorators(node: ast.FunctionDef) -> set[str]:
    """Return what stands above a function, after the at signs."""
    return {ast.unparse(mark) for mark in node.decorator_list}


# Writing Markdown


def prose(text: str) -> str:
    """Return a docstring's running text as Markdown."""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text)
    text = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    return text.replace("<", "&lt;") if "<" in re.sub(r"`[^`]*`", "", text) else text


def cell(text: str) -> str:
    """Return a text that can stand in a table."""
    return " ".join(prose(text).split()).replace("|", "\\|")


def said(text: str) -> str:
    """Return a line of ``--help`` for a table or a paragraph: an asterisk is one, outside of code."""
    return re.sub(r"(`[^`]*`)|\*", lambda match: match[1] or "\\*", cell(text))


def heading(level: int, text: str) -> str:
    """Return a heading."""
    return f"{'#' * level} {text}\n"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table, or nothing if it has no rows."""
    if not rows:
        return ""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Example")


def docstring(text: str | None) -> str:
    """Return a whole docstring in Google's style as Markdown."""
    parts = re.split(rf"^({'|'.join(SECTIONS)}):\n", (text or "") + "\n", flags=re.MULTILINE)
    made = [prose(parts[0].strip())]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        made.append(section(title, textwrap.dedent(body).strip("\n")))
    return "\n\n".join(made) + "\n"


def section(title: str, body: str) -> str:
    """Return one of a docstring's sections."""
    if title == "Example":
        code = textwrap.dedent(body.partition(".. code-block:: python\n")[2]).strip("\n")
        return f"For example:\n\n<!-- not run: a part of a plugin, not a program -->\n```python\n{code}\n```"
    if title == "Returns":
        return f"**Returns:** {' '.join(prose(body).split())}"
    label = {"Args": "Arguments", "Attributes": "Attributes", "Raises": "Raises"}[title]
    return f"**{label}:**\n\n" + "\n".join(entries(body))


def entries(body: str) -> Iterator[str]:
    """Yield the entries of a section as items of a list."""
    for entry in re.split(r"\n(?=\S)", re.sub(r",\n(?=\w+Error)", ", ", body)):
        name, _, text = entry.partition(":")
        names = ", ".join(f"`{part.strip()}`" for part in name.split(","))
        yield f"- {names}: {' '.join(prose(text).split())}"


def signature(node: ast.FunctionDef, name: str = "") -> str:
    """Return a function's head without ``self``, over several lines if it is long."""
    arguments = re.sub(r"^(self|cls)(, )?", "", ast.unparse(node.args)).replace("=", " = ")
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{name or node.name}({arguments}){result}"
    if len(line) <= 100:
        return line
    parts = re.sub(r", (?=\*|\w+(?::|=|$))", ",\n    ", arguments)
    return f"{name or node.name}(\n    {parts},\n){result}"


def described(node: Definition, level: int) -> str:
    """Return the entry of a class or function."""
    if isinstance(node, ast.FunctionDef):
        return function(node, level)
    made = [heading(level, f"`{node.name}`"), docstring(ast.get_docstring(node))]
    if enumeration(node):
        rows = [(f"`{node.name}.{name}`", f"`{value}`", cell(text)) for name, value, text in members(node)]
        made.append(table(("member", "value", "meaning"), rows))
    elif record(node):
        rows = [
            (f"`{item.target.id}`", f"`{cell(ast.unparse(item.annotation))}`", default(item), cell(text))
            for item, text in fields(node)
            if isinstance(item.target, ast.Name)
        ]
        made.append(table(("field", "type", "default", "meaning"), rows))
    made += [function(item, level + 1, node.name) for item in methods(node)]
    return "\n".join(part for part in made if part)


def record(node: ast.ClassDef) -> bool:
    """Tell whether a class is a record: its fields are all that there is to it."""
    return any(ast.unparse(base) == "Record" for base in node.bases)


def enumeration(node: ast.ClassDef) -> bool:
    """Tell whether a class is an enumeration."""
    return any(ast.unparse(base) == "enum.Enum" for base in node.bases)


def default(item: ast.AnnAssign) -> str:
    """Return a field's default for a table; empty if it has none."""
    return "" if item.value is None else f"`{cell(ast.unparse(item.value))}`"


def function(node: ast.FunctionDef, level: int, owner: str = "") -> str:
    """Return the entry of a function or method."""
    marks = decorators(node)
    made = [heading(level, f"`{owner}.{node.name}`" if owner else f"`{node.name}`")]
    if "property" in marks:
        result = ast.unparse(node.returns) if node.returns else ""
        made.append(f"A property of type `{result}`.\n")
    else:
        made.append(f"```text\n{signature(node)}\n```\n")
    if "abstractmethod" in marks:
        made.append("To be implemented.\n")
    return "\n".join([*made, docstring(ast.get_docstring(node))])
