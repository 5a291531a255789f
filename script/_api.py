"""What the public Python API consists of, as facts that can be written down and compared.

A fact is a key and what is true of it: ``strongroom.model.Secret.name`` and
``attribute SecretName``. Classes that have no public place, and that the API takes
or gives all the same, stand below ``given``: their module may change, they may not.
"""

from __future__ import annotations

import ast
import enum
import inspect

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any, Final, TypeVar

from strongroom.contracts import Record

MODULES: Final = (
    "strongroom.contracts",
    "strongroom.errors",
    "strongroom.hookspecs",
    "strongroom.joining",
    "strongroom.masking",
    "strongroom.model",
    "strongroom.pacing",
    "strongroom.references",
    "strongroom.telemetry",
    "strongroom.testing",
    "strongroom",
)
"""Where names are public; of two that have one class, the first is its place."""

MADE_BY_US: Final = (
    "strongroom.masking.MaskingStream",
    "strongroom.telemetry.CommandSpan",
    "strongroom.telemetry.Telemetry",
)
"""Beside what ``strongroom`` itself names: classes that others get, and do not make. Their constructors may change."""

SPECIAL: Final = frozenset(
    f"__{name}__"
    for name in ("aenter", "aexit", "bool", "call", "contains", "enter", "exit", "getitem", "iter", "len", "next")
)
"""The special methods that a caller uses without naming them."""


def python_facts() -> dict[str, str]:
    """Return all facts of the public modules, and of what they take and give."""
    return _Survey().facts


class _Survey:
    """Goes over the public modules, and then over each class that an annotation leads to."""

    def __init__(self) -> None:
        self.facts: dict[str, str] = {}
        self._places: dict[type, str] = {}
        self._waiting: list[type] = []
        found = [(module, name) for module in MODULES for name in public_names(import_module(module))]
        values = {(module, name): getattr(import_module(module), name) for module, name in found}
        for (module, name), value in values.items():
            if isinstance(value, type):
                self._places.setdefault(value, f"{module}.{name}")
        for (module, name), value in values.items():
            self._name(f"{module}.{name}", value, import_module(module), name)
        while self._waiting:
            cls = self._waiting.pop()
            self._class(self._places[cls], cls)

    def _name(self, place: str, value: object, module: ModuleType, name: str) -> None:
        if isinstance(value, type):
            if self._places[value] == place:
                self._class(place, value)
            else:
                self.facts[place] = f"the class {self._places[value]}"
        elif inspect.isfunction(value):
            self.facts[place] = self._callable("function", value)
        elif not isinstance(value, TypeVar):
            self.facts[place] = _constant(value, module, name)

    def _class(self, place: str, cls: type) -> None:
        bases = [self._place_of(base) for base in cls.__bases__ if base is not object and _is_shown(base, self._places)]
        abstract = "abstract " if inspect.isabstract(cls) else ""
        self.facts[place] = f"{abstract}class({', '.join(bases)})"
        owners = [one for one in cls.__mro__ if one is cls or (_is_ours(one) and one not in self._places)]
        for owner in reversed(owners):
            for name, fact in self._members(owner):
                self.facts[f"{place}.{name}"] = fact

    def _members(self, cls: type) -> Iterator[tuple[str, str]]:
        module = import_module(cls.__module__)
        hints: dict[str, str] = inspect.get_annotations(cls)
        for name, hint in hints.items():
            if not name.startswith("_") and not isinstance(inspect.getattr_static(cls, name, None), property):
                self._follow(hint, module)
                given = "" if name not in cls.__dict__ or _is_slot(cls, name) else f" = {_shown(cls.__dict__[name])}"
                kind = "field" if issubclass(cls, Record) and not hint.startswith("ClassVar") else "attribute"
                yield name, f"{kind} {hint}{given}"
        for name, kind in _assigned(cls):
            self._follow(kind, module)
            yield name, f"attribute {kind}".rstrip()
        for name, value in cls.__dict__.items():
            fact = self._member(cls, name, value) if name not in hints else ""
            if fact:
                yield name, fact

    def _member(self, cls: type, name: str, value: object) -> str:
        if issubclass(cls, enum.Enum) and isinstance(value, cls):
            return f"member {value.value!r}"
        if name in {"__init__", "__new__"} and not issubclass(cls, Record | enum.Enum):
            function = getattr(value, "__func__", value)
            return "" if self._is_made_by_us(cls) else self._callable("constructor", function)
        if name.startswith("_") and name not in SPECIAL:
            return ""
        if type(value).__name__ == "FixtureFunctionDefinition":
            return "fixture"
        # A kit's checks are no interface, and neither is what they share: what they hold stands in the contracts.
        if cls.__module__.startswith("strongroom.testing") and cls.__name__.endswith(("Contract", "Kit", "Checks")):
            return ""
        if isinstance(value, property):
            return self._callable("property", value.fget).replace("(self) ", "")
        function = getattr(value, "__func__", value)
        if not inspect.isfunction(function):
            return "" if _is_slot(cls, name) else f"attribute = {_shown(value)}"
        kind = type(value).__name__.replace("function", "method") if function is not value else "method"
        return self._callable(kind, function)

    def _callable(self, kind: str, function: Any) -> str:
        signature = inspect.signature(function)
        module = import_module(inspect.unwrap(function).__module__)
        hints = [*(one.annotation for one in signature.parameters.values()), signature.return_annotation]
        parts = [_text(hint) for hint in hints]
        for annotation in parts:
            self._follow(annotation, module)
        prefix = "abstract " if getattr(function, "__isabstractmethod__", False) else ""
        prefix += "async " if inspect.iscoroutinefunction(function) else ""
        returned = f" -> {parts[-1]}" if parts[-1] else ""
        return f"{prefix}{kind} ({_parameters(signature)}){returned}"

    def _follow(self, annotation: str, module: ModuleType) -> None:
        """Go on with each of our classes, and note each of our aliases, that an annotation names."""
        for node in ast.walk(ast.parse(annotation or "None", mode="eval")):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
                node = ast.Name(node.value)
            if not isinstance(node, ast.Name):
                continue
            home, value = _meaning(module, node.id)
            if isinstance(value, type):
                self._place_of(value)
            elif home is not None and node.id in _assignments(home) and not isinstance(value, TypeVar):
                text = ast.unparse(_assignments(home)[node.id])
                self.facts.setdefault(f"given {node.id}", f"alias {text}")
                self._follow(text, home)

    def _is_made_by_us(self, cls: type) -> bool:
        place = self._places.get(cls, "given")
        named = place in MADE_BY_US or place.startswith("given") or place == f"strongroom.{cls.__name__}"
        return named or getattr(cls, "_is_protocol", False)

    def _place_of(self, cls: type) -> str:
        if not _is_ours(cls):
            return cls.__qualname__
        if cls not in self._places:
            place = f"given {cls.__qualname__}"
            if place in self._places.values():
                raise ValueError(f"two classes are called {cls.__qualname__}, one in {cls.__module__}: make one public")
            self._places[cls] = place
            self._waiting.append(cls)
        return self._places[cls]


def public_names(module: ModuleType) -> list[str]:
    """Return the names that are public in a module.

    Those of ``__all__``; without it what is defined there without an underscore, and what is imported ``X as X``.
    """
    stated: list[str] | None = getattr(module, "__all__", None)
    return sorted(set(_defined(module)) if stated is None else set(stated))


def _defined(module: ModuleType) -> Iterator[str]:
    for statement in _statements(module):
        if isinstance(statement, ast.ImportFrom):
            yield from (one.name for one in statement.names if one.asname == one.name)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from [] if statement.name.startswith("_") else [statement.name]
    yield from (name for name in _assignments(module) if not name.startswith("_"))


@cache
def _statements(module: ModuleType) -> list[ast.stmt]:
    """Return a module's statements, those for type checkers alone among them."""
    body = ast.parse(inspect.getsource(module)).body
    return body + [inner for one in body if isinstance(one, ast.If) for inner in one.body]


@cache
def _assignments(module: ModuleType) -> dict[str, ast.expr]:
    found: dict[str, ast.expr] = {}
    for one in _statements(module):
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        value = getattr(one, "value", None)
        found |= {target.id: value for target in targets if isinstance(target, ast.Name) and value is not None}
    return found


def _meaning(module: ModuleType, name: str) -> tuple[ModuleType | None, object]:
    """Return what a name in an annotation stands for, and the module of ours that defines it."""
    for one in _statements(module):
        if isinstance(one, ast.ImportFrom) and one.module and one.module.startswith("strongroom"):
            for alias in one.names:
                if (alias.asname or alias.name) == name:
                    home = import_module(one.module)
                    inner, value = _meaning(home, alias.name)
                    return inner or home, value if value is not None else getattr(home, alias.name, None)
    return (module, getattr(module, name)) if hasattr(module, name) else (None, None)


def _assigned(cls: type) -> Iterator[tuple[str, str]]:
    """Yield the public attributes that a constructor sets, with the type of the argument that they are."""
    constructor = cls.__dict__.get("__init__")
    if issubclass(cls, Record) or not inspect.isfunction(constructor):
        return
    (node,) = ast.parse(inspect.cleandoc("\n" + inspect.getsource(constructor))).body
    kinds = {one.arg: ast.unparse(one.annotation) for one in _arguments(node) if one.annotation}
    for statement in ast.walk(node):
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        hint = ""
        if isinstance(statement, ast.AnnAssign):
            targets, hint = [statement.target], ast.unparse(statement.annotation)
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and target.attr[0] != "_":
                value = getattr(statement, "value", None)
                yield target.attr, hint or (kinds.get(value.id, "") if isinstance(value, ast.Name) else "")


def _arguments(node: ast.AST) -> Iterator[ast.arg]:
    return (one for one in ast.walk(node) if isinstance(one, ast.arg))


def _is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "strongroom"


def _is_shown(base: type, places: dict[type, str]) -> bool:
    return base in places or not _is_ours(base)


def _is_slot(cls: type, name: str) -> bool:
    return inspect.ismemberdescriptor(cls.__dict__[name])


def _parameters(signature: inspect.Signature) -> str:
    shown = []
    for one in signature.parameters.values():
        hint = _text(one.annotation)
        default = "" if one.default is inspect.Parameter.empty else f" = {_shown(one.default)}"
        # Without a name for its parameter a signature's own text does all that is fiddly: stars and slashes.
        shown.append((one.name, one.replace(annotation=inspect.Parameter.empty, default=inspect.Parameter.empty)))
        shown[-1] = (f"{one.name}: {hint}{default}" if hint else f"{one.name}{default}", shown[-1][1])
    text = _starred([one for _, one in shown], [told for told, _ in shown])
    return ", ".join(text)


def _starred(parameters: list[inspect.Parameter], told: list[str]) -> list[str]:
    made: list[str] = []
    stars: dict[object, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    for one, text in zip(parameters, told, strict=True):
        if one.kind is inspect.Parameter.KEYWORD_ONLY and not any(part.startswith("*") for part in made):
            made.append("*")
        made.append(stars.get(one.kind, "") + text)
    return made


def _text(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _constant(value: object, module: ModuleType, name: str) -> str:
    if isinstance(value, str | int | float | enum.Enum | frozenset | None):
        return f"constant {_shown(value)}"
    node = _assignments(module).get(name)
    return f"alias {ast.unparse(node)}" if isinstance(node, ast.Subscript) else f"constant of {type(value).__name__}"


def _shown(value: object) -> str:
    """Return a value as a program would write it, the same in each run."""
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, frozenset):
        return f"{{{', '.join(sorted(map(_shown, value)))}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    return repr(value) if isinstance(value, str | int | float | None) else "..."
