"""What a failed check tells an author: what was expected, why that matters, and where the contract says so."""

from __future__ import annotations

import functools
import inspect

from collections.abc import Callable
from typing import Any, Final, NoReturn, ParamSpec, TypeVar

import pytest

from strongroom import hookspecs
from strongroom.contracts import Record

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

CONTRACTS: Final = "docs/reference/contracts.md"
HOOKS: Final = "docs/hooks/README.md#what-every-module-promises"

FAILURES: Final = (Exception, SystemExit, pytest.fail.Exception)
"""What ends a check as failed; what skips it, or ends the whole run, is none of these."""


class Promise(Record):
    """What one check is about."""

    expected: str
    """What the plugin is to do, in one sentence."""
    why: str
    """What goes wrong otherwise."""
    contract: str
    """The contract's class, or its class and method, such as ``Backend.read``."""
    where: str
    """The page that says so, with its anchor."""

    def __str__(self) -> str:
        return f"expected: {self.expected}\nwhy: {self.why}\ncontract: {self.contract}, {self.where}"


class Note(str):
    """What was added to an error, told from the notes of others by its type."""

    __slots__ = ()


def promised_by(
    contract: Callable[..., Any] | property,
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Have a check explain itself when it fails, by its docstring: the first line is what is expected, the rest why.

    The result has the explanation as ``promise``. The error that the check ends with gets it as a
    note, whatever the error is, and pytest prints that below the error. What skips a check stays as it is.

    Args:
        contract: The class, the method or the property of ``strongroom.contracts`` that promises this; ``hookimpl``
            for what every plugin's module promises.
    """

    def explained(check: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        promise = _promise_of(check, contract)

        @functools.wraps(check)
        def run(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
            # An author is to see the check and the plugin, and not this.
            __tracebackhide__ = True
            try:
                return check(*arguments, **named)
            except FAILURES as error:
                # Whatever it is: it comes from the author's code, and goes on its way.
                _explain(error, promise)
                raise

        vars(run)["promise"] = promise
        return run

    return explained


def must_override(kit: object, what: str, reason: str) -> NoReturn:
    """Fail a check for which its author has not yet given what only they can.

    Args:
        kit: The test class.
        what: What to override, such as ``the fixture `backend```.
        reason: What that is, as the rest of the sentence and without a stop.
    """
    __tracebackhide__ = True
    # Without a traceback: it would lead into this kit, where there is nothing to mend.
    pytest.fail(f"{type(kit).__name__} must override {what}: {reason}.", pytrace=False)


def _promise_of(check: Callable[..., Any], contract: Callable[..., Any] | property) -> Promise:
    expected, _, why = inspect.cleandoc(check.__doc__ or "").replace("``", "`").partition("\n\n")
    named: Any = contract.fget if isinstance(contract, property) else contract
    name: str = named.__qualname__
    where = HOOKS if contract is hookspecs.hookimpl else f"{CONTRACTS}#{_anchor_of(name)}"
    return Promise(expected=expected, why=" ".join(why.split()), contract=name, where=where)


def _anchor_of(name: str) -> str:
    """Return the anchor of a heading that is this name, as GitHub and MkDocs make it."""
    return name.lower().replace(".", "")


def _explain(error: BaseException, promise: Promise) -> None:
    """Add the explanation to an error, in place of one that another check has left on the same object."""
    if isinstance(error, pytest.fail.Exception) and not error.pytrace:
        # Of a failure without a traceback pytest prints the message only, and no notes.
        error.msg = f"{error.msg}\n{promise}"
        return
    others = [note for note in getattr(error, "__notes__", ()) if not isinstance(note, Note)]
    # Into the dictionary itself: an exception may refuse to have attributes set.
    vars(error)["__notes__"] = [*others, Note(promise)]
