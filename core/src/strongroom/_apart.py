"""Calls of foreign code that are not to show it which exception is being handled."""

from __future__ import annotations

import sys

from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _Nothing(Exception):  # noqa: N818  # nothing is wrong
    """Stands where another exception was."""


def apart(function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    """Call a function that sees nothing of an exception that is being handled, nor what has led to it.

    Whatever is called while an exception is handled gets it from ``sys.exception``, and so what a client library has
    put into it: a request with its credentials, say. A plugin must not see those of another one, or of the program.

    Args:
        function: What to call.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Raises:
        BaseException: Whatever it raises.
    """
    if sys.exception() is None:
        return function(*args, **kwargs)
    try:
        raise _Nothing
    except _Nothing as nothing:
        # The way Python keeps the one before, and the frames that lead to it.
        nothing.__context__ = nothing.__traceback__ = None
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            _leave_out(nothing, error)
            raise


def _leave_out(nothing: _Nothing, error: BaseException) -> None:
    """Take what stood in between from the chain of causes: it would tell nobody anything."""
    todo: list[BaseException | None] = [error]
    known: set[int] = set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in known:
            continue
        known.add(id(one))
        if one.__context__ is nothing:
            one.__context__ = None
        todo += [one.__cause__, one.__context__]
