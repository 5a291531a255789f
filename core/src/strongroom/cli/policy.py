"""``policy``: explain, test and render the policies."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Callable
from typing import Any, Final

from strongroom.cli.asking import ACTIONS, Answer, ask
from strongroom.cli.command import Command, Session, add_json, print_json
from strongroom.cli.text import printable
from strongroom.config.load import load_policy
from strongroom.config.units import parse_moment
from strongroom.errors import AccessDeniedError
from strongroom.policy import Action, Rule
from strongroom.rendering.lines import line_of, place_of
from strongroom.rendering.result import instant

TARGETS: Final = ("vault", "aws")


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    check = actions.add_parser("check", help="say who decides on a request; status 0 if it is allowed, 4 if denied")
    check.add_argument("principal", metavar="PRINCIPAL", help="who asks")
    check.add_argument("action", metavar="ACTION", choices=ACTIONS, help=f"one of {', '.join(ACTIONS)}")
    check.add_argument("name", metavar="NAME", help="the secret's name; with impersonate the other principal's")
    check.add_argument("--at", type=_moment, metavar="TIME", help="decide for this time: ISO 8601 with its offset")
    add_json(check)
    test = actions.add_parser("test", help="compare the policies with what a file expects; status 1 if they differ")
    test.add_argument("file", metavar="FILE", help="a TOML file with [[expect]] tables")
    add_json(test)
    _configure_render(actions.add_parser("render", help="write the policies for Vault or AWS, to be set there"))


def _configure_render(render: argparse.ArgumentParser) -> None:
    render.add_argument("--for", dest="target", required=True, choices=TARGETS, help="for whom to write them")
    render.add_argument(
        "--principal", action="append", metavar="PRINCIPAL", help="only for this one; may be given several times"
    )
    render.add_argument("--narrow", action="store_true", help="where the target has no words, write less, and say so")
    render.add_argument("--output", metavar="DIR", help="write one file a principal there; else to standard output")
    render.add_argument("--prefix", help="what stands before each secret's name; else the backend's setting")
    render.add_argument("--mount", help="vault: the engine's path; else the backend's setting, else `secret`")
    render.add_argument("--kv-version", type=int, choices=(1, 2), help="vault: else the backend's setting, else 2")
    render.add_argument("--transit", help="vault: where keys are; else the backend's setting, else `transit`")
    render.add_argument("--region", help="aws: the region, or * for all; else the backend's setting")
    render.add_argument("--account", help="aws: the account's number, or * for all; else the backend's setting")
    render.add_argument("--partition", help="aws: else the backend's setting, else that of the region")


def _moment(text: str) -> float:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not {error.args[0]}") from error


def _now() -> float:
    import time

    return time.time()


def _run(session: Session, options: argparse.Namespace) -> int:
    return TASKS[options.task](session, options)


def _check(session: Session, options: argparse.Namespace) -> int:
    now = _now() if options.at is None else options.at
    answer = ask(load_policy(session.config), options.principal, options.action, options.name, now)
    if options.json:
        print_json(
            {
                "principal": answer.principal,
                "action": options.action,
                "name": answer.name,
                "allowed": answer.allowed,
                "decisions": [_described(answer, action, now) for action in answer.rulings],
            }
        )
    else:
        for action in answer.rulings:
            _explain(answer, action, now)
    return 0 if answer.allowed else AccessDeniedError.exit_status


def _described(answer: Answer, action: Action, now: float) -> dict[str, Any]:
    ruling = answer.rulings[action]
    return {
        "action": action.value,
        "allowed": ruling.allowed,
        "rule": ruling.rule,
        "until": None if ruling.until is None else instant(ruling.until),
        "matching": [
            {
                "rule": rule.id,
                "file": rule.file,
                "line": line_of(rule),
                "effect": _effect(rule),
                "expires": None if rule.expires is None else instant(rule.expires),
                "expired": rule.expired(now),
            }
            for rule in answer.matching[action]
        ],
    }


def _explain(answer: Answer, action: Action, now: float) -> None:
    ruling = answer.rulings[action]
    verdict = "allowed" if ruling.allowed else "denied"
    sys.stdout.write(f"{verdict}: {printable(answer.principal)} {action.value} {printable(answer.name)}\n")
    decider = answer.decider(action)
    if decider is None:
        sys.stdout.write(f"  decided by {printable(ruling.rule)}\n")
    for rule in answer.matching[action]:
        role = "decided by" if rule is decider else "expired:" if rule.expired(now) else "matches, too:"
        until = "" if rule.expires is None else f", {_until(rule, now)} {instant(rule.expires)}"
        sys.stdout.write(f"  {role} {printable(place_of(rule))}: {_effect(rule)}{until}\n")


def _until(rule: Rule, now: float) -> str:
    return "until" if not rule.expired(now) else "was until"


def _effect(rule: Rule) -> str:
    return "allow" if rule.allow else "deny"


def _test(session: Session, options: argparse.Namespace) -> int:
    from strongroom.cli.expectations import run_expectations

    return run_expectations(load_policy(session.config), options.file, as_json=options.json, now=_now())


def _render(session: Session, options: argparse.Namespace) -> int:
    from strongroom.cli.render import render

    return render(session.config, options, now=_now())


TASKS: Final[dict[str, Callable[[Session, argparse.Namespace], int]]] = {
    "check": _check,
    "test": _test,
    "render": _render,
}

COMMANDS: Final = {
    "policy": Command(
        summary="Explain, test and render the policies. No backend and no audit sink is opened, and no secret read.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom policy check api-server read db/password
            strongroom policy test expectations.toml
            strongroom policy render --for vault --principal api-server
            strongroom policy render --for aws --region eu-central-1 --account 123456789012 --output policies/
        """,
    ),
}
