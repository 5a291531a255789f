"""Everything that the plugin has seen, written to a file when the process ends.

It goes as far as Python lets anybody go without the garbage collector's lists, another frame or function, files, the
environment or changed code: an object that is handed over is taken apart to its last private attribute, and a value
that is found is revealed.
"""

from __future__ import annotations

import atexit
import contextvars
import enum
import functools
import json
import os
import sys
import threading
import traceback
import types

from collections.abc import Iterator, Mapping
from typing import Any

from strongroom.model import SecretValue

MOST_OBJECTS = 20_000
SKIPPED = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, enum.Enum)

_seen: dict[str, set[str]] = {}
_busy = threading.local()


def note(where: str, *objects: object) -> None:
    """Keep all that can be seen of some objects, and of what surrounds whoever is called.

    Args:
        where: By which way they came.
        objects: What was handed over.
    """
    if getattr(_busy, "noting", False):
        return  # what looking at it brings about, such as an event of Python, is no news
    _busy.noting = True
    try:
        _note(where, objects)
    finally:
        _busy.noting = False


def _note(where: str, objects: tuple[object, ...]) -> None:
    texts = _seen.setdefault(where, set())
    texts.update(_texts_in(objects))
    around = _seen.setdefault(f"{where}, context", set())
    around.update(_texts_in(dict(contextvars.copy_context().items())))
    handled = sys.exc_info()[1]  # of whoever has called, too
    if handled is not None:
        _seen.setdefault(f"{where}, the exception that is being handled", set()).update(error_texts(handled))


def error_texts(error: BaseException) -> Iterator[str]:
    """Yield all that a report of an error would show, its local variables among it."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "".join(report.format())
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and len(todo) < 100:
            yield from _texts_in((one.args, vars(one)))
            todo += [one.__cause__, one.__context__]


def _texts_in(thing: object) -> Iterator[str]:
    known: dict[int, object] = {}
    todo = [thing]
    while todo and len(known) < MOST_OBJECTS:
        one = todo.pop()
        if id(one) in known or isinstance(one, SKIPPED):
            continue
        known[id(one)] = one
        if isinstance(one, SecretValue):
            yield one.reveal().decode("latin-1")
        elif isinstance(one, str):
            yield str.__str__(one)
        elif isinstance(one, bytes | bytearray | memoryview):
            yield bytes(one).decode("latin-1")
        elif isinstance(one, Mapping):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set | frozenset):
            todo += one
        elif isinstance(one, types.MethodType):
            todo.append(one.__self__)
        elif isinstance(one, functools.partial):
            todo += [one.func, one.args, one.keywords]
        elif not isinstance(one, int | float | None):
            yield _shown(one)
            todo += _attributes(one)
            if isinstance(one, BaseException):
                todo += [one.args, one.__cause__, one.__context__]


def _shown(one: object) -> str:
    try:
        return f"{one!r} {one!s}"
    except Exception as error:
        return type(error).__name__


def _attributes(one: object) -> Iterator[object]:
    yield from getattr(one, "__dict__", {}).values()
    for owner in type(one).__mro__:
        slots = owner.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{owner.__name__.lstrip('_')}{name}" if name.startswith("__") else name
            try:
                yield getattr(one, mangled)
            except Exception:
                continue


class Spy(str):
    """A text that keeps whatever it is compared with or put into."""

    def __eq__(self, other: object) -> bool:
        note("a comparison", other)
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        note("a comparison", other)
        return str.__lt__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __format__(self, spec: str) -> str:
        note("a text that is made", spec)
        return str.__format__(self, spec)


class SpyNumber(float):
    """A number that keeps whatever it is compared with."""

    def __lt__(self, other: Any) -> bool:
        note("a comparison", other)
        return float.__lt__(self, other)

    def __gt__(self, other: Any) -> bool:
        note("a comparison", other)
        return float.__gt__(self, other)


class SpyValue(SecretValue):
    """A value that keeps whatever it is compared with."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        note("a comparison of values", other)
        return super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]


def _write() -> None:
    path = os.environ["HOSTILE_REPORT"]
    with open(f"{path}.{os.getpid()}", "w", encoding="utf-8") as file:
        json.dump({where: sorted(texts) for where, texts in _seen.items()}, file)


atexit.register(_write)
