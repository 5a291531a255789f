"""What a check says, and what it has to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from strongroom._record import Record
from strongroom.config.load import Configuration
from strongroom.discovery import Catalogue
from strongroom.errors import StrongroomError

OK: Final = "ok"
WARNING: Final = "warning"
PROBLEM: Final = "problem"


class Finding(Record):
    """One thing that a check found."""

    state: str
    """``ok``, ``warning`` or ``problem``."""
    what: str
    """What is the case, in one sentence without a final stop."""
    mend: str = ""
    """What to do about it, likewise."""
    status: int = 0
    """The exit status that a problem asks for; 0 for what is none."""


class Place(Record):
    """What the checks look at."""

    configuration: Configuration | None
    """``None`` if it could not be loaded; checks that need it then find nothing."""
    trouble: StrongroomError | None
    """Why it could not be loaded."""
    catalogue: Catalogue


Check = Callable[[Place], Iterator[Finding]]


def ok(what: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(state=OK, what=what)


def warning(what: str, mend: str) -> Finding:
    """Return a finding that does not stop anything yet."""
    return Finding(state=WARNING, what=what, mend=mend)


def problem(what: str, mend: str, status: int = 1) -> Finding:
    """Return a finding that something does not work or is not safe."""
    return Finding(state=PROBLEM, what=what, mend=mend, status=status)


def from_error(error: StrongroomError) -> Finding:
    """Return an error as a finding."""
    return problem(error.what, error.hint, error.exit_status)
