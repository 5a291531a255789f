"""``choose``: asks what fits here, and writes the configuration for it."""

from __future__ import annotations

import argparse
import os
import sys

from typing import Final

from strongroom.cli.choosing import KEYS, QUESTIONS, Question, Recommendation, recommend
from strongroom.cli.command import Command, Session, UsageError, add_json, note, print_json
from strongroom.cli.init import KEY_FILE, STORE_FILE, make, refuse_to_overwrite
from strongroom.cli.problems import raise_all
from strongroom.config.convert import suggestion
from strongroom.config.files import FILE
from strongroom.errors import StrongroomError


def _epilog() -> str:
    """Return the questions as ``--help`` shows them."""
    lines = ["questions:"]
    for question in QUESTIONS:
        answers = "|".join(question.choices) or question.example
        default = f"; {question.default} unless given" if question.default else "; must be given where it is asked"
        lines += [f"  {question.key}={answers}{default}", f"      {question.text}"]
    return "\n".join(lines)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_epilog()}"
    parser.add_argument("folder", nargs="?", default=".", metavar="FOLDER", help="where to write it (this folder)")
    parser.add_argument(
        "--answers",
        action="append",
        metavar="KEY=ANSWER[,...]",
        help="answer without being asked; repeatable; '' for what is usual everywhere",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the configuration and make nothing")
    add_json(parser)


def _run(_session: Session, options: argparse.Namespace) -> int:
    folder = os.path.abspath(options.folder)
    config = os.path.join(folder, FILE)
    if not options.dry_run:
        refuse_to_overwrite([config])
    answers = _asked() if options.answers is None else _given(options.answers)
    found = recommend(answers)
    if options.dry_run:
        made: list[str] = []
    else:
        refuse_to_overwrite(os.path.join(folder, name) for name in (KEY_FILE, STORE_FILE) if found.store)
        made = make(folder, found.content, key=found.store, store=found.store)
    if options.json:
        print_json(
            {"answers": answers, "backends": found.backends, "install": _installing(found), "made": made}
            | {"config": found.content, "reasons": found.reasons}
        )
    else:
        _tell(found, made)
    return 0


def _tell(found: Recommendation, made: list[str]) -> None:
    if not made:
        sys.stdout.write(found.content)
        sys.stdout.flush()
    for line in [*found.reasons, *(f"made {path}" for path in made)]:
        note(line)
    note(f"install: {_installing(found)}")
    note("next: strongroom doctor")


def _installing(found: Recommendation) -> str:
    return f'pip install "strongroom[{found.extras}]"'


def _given(texts: list[str]) -> dict[str, str]:
    """Return a checked answer to each question that is needed.

    Raises:
        UsageError: One cannot be used, is missing, or answers what is not asked; the notes name the others.
    """
    stated: dict[str, str] = {}
    problems: list[StrongroomError] = []
    for part in filter(None, ",".join(texts).split(",")):
        key, equals, answer = part.strip().partition("=")
        if key not in KEYS:
            problems.append(UsageError(f"{key!r} is no question", hint=suggestion(key, KEYS)))
        elif not equals:
            problems.append(UsageError(f"{key!r} has no answer", hint=f"write {key}=ANSWER"))
        elif key in stated:
            problems.append(UsageError(f"{key!r} is answered twice", hint="keep one"))
        stated[key] = answer
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        # Where an answer before it is unusable, it need not be known whether this one is needed.
        if problems or question.needed(answers):
            try:
                answers[question.key] = question.check(stated.get(question.key, ""))
            except UsageError as error:
                answers[question.key] = question.default
                problems += [error] if question.key in stated or not problems else []
        elif question.key in stated:
            reason = f"{question.key!r} does not matter beside the other answers"
            problems.append(
                UsageError(reason, hint=f"leave it out, or mend those that come before it: {question.text}")
            )
    raise_all(problems)
    return answers


def _asked() -> dict[str, str]:
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask", hint="answer with --answers; see `strongroom choose --help`")
    answers: dict[str, str] = {}
    for question in QUESTIONS:
        if question.needed(answers):
            answers[question.key] = _ask(question)
    return answers


def _ask(question: Question) -> str:
    """Ask until there is an answer.

    Raises:
        UsageError: The input has ended.
    """
    choices = "/".join(answer.upper() if answer == question.default else answer for answer in question.choices)
    while True:
        sys.stderr.write(f"{question.text} [{choices or f'such as {question.example}'}] ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            raise UsageError("the questions were not answered, and nothing was made", hint="answer with --answers")
        try:
            return question.check(line)
        except UsageError as error:
            note(error.hint)


COMMANDS: Final = {
    "choose": Command(
        summary="Ask what fits here, and write the configuration for it. Nothing is overwritten.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom choose
            strongroom choose --answers vault=yes,address=https://vault.example.com:8200,offline=yes --dry-run
            strongroom choose secrets/ --answers aws=yes,region=eu-central-1
        """,
    ),
}
