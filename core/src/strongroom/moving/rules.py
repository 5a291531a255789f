"""What is to be done about one name: what is missing is written, and what differs is left to a rule."""

from __future__ import annotations

import enum

from strongroom._record import Record
from strongroom.errors import VersionConflictError
from strongroom.model import SecretName
from strongroom.moving.histories import Seen, missing_from


class IfExists(enum.Enum):
    """What to do about a name that has another value in the target."""

    ERROR = "error"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    NEWER = "newer"


class Verdict(enum.Enum):
    """What is to be done about a name."""

    EQUAL = "equal"
    KEEP = "keep"
    WRITE = "write"


class Decision(Record):
    """What is to be done about a name, and how many of the source's newest versions are to be written."""

    verdict: Verdict
    lacking: int = 0


def decide(name: SecretName, source: Seen, target: Seen | None, rule: IfExists) -> Decision:
    """Decide about one name.

    Args:
        name: What it is called in the target.
        source: What is to be there.
        target: What is there, if anything is.
        rule: What to do if that is something else.

    Raises:
        VersionConflictError: It is something else, and the rule does not say what to do.
    """
    if target is None:
        return Decision(verdict=Verdict.WRITE, lacking=len(source.marks))
    lacking = missing_from(target, source)
    if lacking is not None:
        return Decision(verdict=Verdict.WRITE if lacking else Verdict.EQUAL, lacking=lacking)
    if rule is IfExists.ERROR:
        raise _conflict(name, target, f"{name} is there already with {_what(source, target)}")
    return _by_rule(name, source, target, rule)


def _by_rule(name: SecretName, source: Seen, target: Seen, rule: IfExists) -> Decision:
    if rule is IfExists.NEWER:
        if source.created is None or target.created is None:
            raise _conflict(name, target, f"which value of {name} is newer is not known", "skip or overwrite")
        rule = IfExists.OVERWRITE if source.created > target.created else IfExists.SKIP
    if rule is IfExists.SKIP:
        return Decision(verdict=Verdict.KEEP)
    return Decision(verdict=Verdict.WRITE, lacking=len(source.marks))


def _what(source: Seen, target: Seen) -> str:
    if target.current.matches(source.current):
        return "another history"
    return "the same bytes as another type" if target.current.has_content_of(source.current) else "another value"


def _conflict(
    name: SecretName, target: Seen, what: str, rules: str = "skip, overwrite or newer"
) -> VersionConflictError:
    return VersionConflictError(
        what,
        expected="equal",
        found=target.version,
        name=name,
        hint=f"add --if-exists {rules}",
    )
