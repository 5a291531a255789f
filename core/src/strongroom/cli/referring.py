"""References in the environment that ``run`` hands over: where they stand, and what is put in their place."""

from __future__ import annotations

import argparse

from collections.abc import Iterable, Mapping
from typing import Final

from strongroom import references
from strongroom._record import Record
from strongroom.cli.command import UsageError, note
from strongroom.cli.environment import Environment
from strongroom.cli.problems import raise_all
from strongroom.cli.selection import Choice, is_special
from strongroom.cli.text import printable
from strongroom.errors import (
    ConfigurationError,
    InvalidNameError,
    InvalidValueError,
    SecretNotFoundError,
    StrongroomError,
)
from strongroom.inputs import read_file
from strongroom.model import Secret
from strongroom.references import SCHEME, Reference

REFERENCES_HELP: Final = """\
references:
  A variable whose value is strongroom://NAME or strongroom://NAME#FIELD is handed
  over with the secret instead; within other text a reference is written
  ${strongroom://NAME}. That goes for what is inherited and for the files of
  --env-file, which can be committed: they hold references only, unless --allow-plain
  is given. --secret and --prefix win over a file, a file over an earlier one, and
  files over what is inherited. Other schemes are left alone.
  Everything is read before the program starts, and whatever cannot be read stops it.
  --if-missing warn or ignore leaves out the variables whose secret is not there; an
  outage or a denial stops it all the same. --pristine hands inherited references
  over, too: they are secrets; --no-references leaves what is inherited as it is."""


class Variable(Record):
    """One variable of the environment that was not named on the command line."""

    name: bytes
    text: str
    """What it holds; bytes that are not UTF-8 as halves of surrogate pairs."""
    references: tuple[Reference, ...] = ()
    file: str = ""
    """Where it stands; empty if it is inherited."""

    def __repr__(self) -> str:
        # What it holds may be a plain value.
        return f"<Variable {self.label}>"

    @property
    def label(self) -> str:
        """The variable in words."""
        name = printable(self.name.decode(errors="backslashreplace"))
        return f"{name} in {self.file}" if self.file else name

    @property
    def choices(self) -> list[Choice]:
        """The secrets that it refers to."""
        return [_choice(reference) for reference in self.references]


def _choice(reference: Reference) -> Choice:
    return Choice(name=reference.name, field=reference.field)


def configure(parser: argparse.ArgumentParser) -> None:
    """Give a command the options about references."""
    parser.add_argument(
        "--env-file",
        action="append",
        default=[],
        metavar="FILE",
        help="a .env file with references to secrets; repeatable",
    )
    parser.add_argument("--allow-plain", action="store_true", help="let such a file hold plain values, too")
    parser.add_argument("--no-references", action="store_true", help="leave references in inherited variables alone")
    parser.add_argument(
        "--if-missing",
        choices=("error", "warn", "ignore"),
        default="error",
        help="what to do about a secret that is not there (error); warn and ignore leave its variable out",
    )


def collect(environment: Environment, options: argparse.Namespace) -> list[Variable]:
    """Return what files say, and which inherited variables hold references; each variable once.

    Args:
        environment: What is inherited.
        options: The command line, with what ``configure`` has added.

    Raises:
        ConfigurationError: A file cannot be read, is malformed or holds a plain value.
        InvalidNameError: A reference is malformed.
        UsageError: A variable decides which code runs, and nobody has allowed that.
    """
    found: dict[bytes, Variable] = {}
    problems: list[StrongroomError] = []
    for name, content in environment.items():
        if not options.no_references and SCHEME.encode() in content:
            variable = _examined(Variable(name=name, text=content.decode(errors="surrogateescape")), problems)
            if variable.references:
                found[name] = variable
    for file in options.env_file:
        for variable in _of_file(file, problems, allow_plain=options.allow_plain):
            found[variable.name] = variable
    problems += [_special(one) for one in found.values() if not _is_allowed(one, options.allow_special)]
    raise_all(problems)
    return list(found.values())


def _is_allowed(variable: Variable, allowed: list[str]) -> bool:
    name = variable.name.decode(errors="surrogateescape")
    return not is_special(name) or name in allowed


def _special(variable: Variable) -> UsageError:
    name = printable(variable.name.decode(errors="backslashreplace"))
    return UsageError(f"{variable.label} decides which code runs", hint=f"add --allow-special {name} if that is meant")


def _of_file(path: str, problems: list[StrongroomError], *, allow_plain: bool) -> list[Variable]:
    # Imported here: most programs are started without such a file.
    from strongroom.dotenv import parse

    file = printable(path)
    found = [
        _examined(Variable(name=name.encode(), text=value.reveal_text(), file=file), problems)
        for name, value in parse(read_file(path, file), file).items()
    ]
    if not allow_plain:
        problems += [_plain(variable) for variable in found if not variable.references and not _refers(variable.text)]
    return found


def _refers(text: str) -> bool:
    return references.is_reference(text) or "${" + SCHEME in text


def _plain(variable: Variable) -> ConfigurationError:
    return ConfigurationError(
        f"{variable.label} is a plain value and no reference",
        hint=f"keep it as a secret and write {SCHEME}NAME there, or add --allow-plain",
    )


def _examined(variable: Variable, problems: list[StrongroomError]) -> Variable:
    """Return a variable with what it refers to; what is malformed is a problem."""
    if not _refers(variable.text):
        return variable
    try:
        return variable.replace(references=tuple(references.find(variable.text)))
    except InvalidNameError as error:
        # Where other text stands around it, a reference that does not end in its place may hold some of that.
        reason = error.what if references.is_reference(variable.text) else "a reference in it is malformed"
        problems.append(InvalidNameError(f"{variable.label}: {reason}", hint=error.hint))
    return variable


def overruled(variables: Iterable[Variable], chosen: Mapping[str, Choice], inherited: Environment) -> list[Variable]:
    """Return the variables that nothing on the command line sets, and say what wins over what.

    Args:
        variables: What ``collect`` has found.
        chosen: What the command line sets.
        inherited: What the program would have got else.
    """
    left = []
    for variable in variables:
        choice = chosen.get(variable.name.decode(errors="surrogateescape"))
        if choice is None:
            left.append(variable)
            if variable.file and variable.name in inherited:
                note(f"strongroom: note: {variable.label} wins over the inherited variable")
        elif variable.file or variable.name not in inherited:
            note(f"strongroom: note: {variable.label} is replaced by the secret {choice.label}")
    return left


def resolved(
    variables: Iterable[Variable], found: Mapping[Choice, Secret], missing: Mapping[Choice, SecretNotFoundError]
) -> Environment:
    """Return the variables with the secrets in the places of their references; without those that miss one.

    Args:
        variables: What is to be handed over.
        found: What was read.
        missing: What is not there.

    Raises:
        InvalidValueError: A value holds a NUL, or is not text and is to stand within text.
    """
    whole = [variable for variable in variables if missing.keys().isdisjoint(variable.choices)]
    wrong = [_misfit(variable, choice, found[choice]) for variable in whole for choice in variable.choices]
    raise_all([problem for problem in wrong if problem is not None])
    return {variable.name: _filled(variable, found) for variable in whole}


def _filled(variable: Variable, found: Mapping[Choice, Secret]) -> bytes:
    if references.is_reference(variable.text):
        return found[variable.choices[0]].reveal()
    filled = references.fill(variable.text, lambda reference: found[_choice(reference)].reveal_text())
    return filled.encode(errors="surrogateescape")


def _misfit(variable: Variable, choice: Choice, secret: Secret) -> InvalidValueError | None:
    """Say why a value cannot stand where it is referred to."""
    if b"\0" in secret.reveal():
        return InvalidValueError(
            f"{choice.label} holds a NUL, so it cannot be the variable {variable.label}",
            hint="hand the program a file instead: strongroom get NAME > FILE",
        )
    if references.is_reference(variable.text):
        return None
    try:
        secret.reveal_text()
    except InvalidValueError:
        return InvalidValueError(
            f"{choice.label} is not text, so it cannot stand within {variable.label}",
            code="not_text",
            hint=f"let a variable hold nothing but {SCHEME}{choice.label}",
        )
    return None


def note_missing(
    variables: Iterable[Variable], chosen: Mapping[str, Choice], missing: Mapping[Choice, SecretNotFoundError]
) -> None:
    """Say which variables are left out, and why.

    Args:
        variables: What was to be handed over.
        chosen: What the command line sets.
        missing: What is not there.
    """
    wanted = [(name, [choice]) for name, choice in chosen.items()]
    wanted += [(variable.label, variable.choices) for variable in variables]
    for label, choices in wanted:
        reasons = [missing[choice].what for choice in choices if choice in missing]
        if reasons:
            note(f"strongroom: note: {label} is left out: {printable(reasons[0])}")
