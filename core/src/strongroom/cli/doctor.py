"""``doctor``: find what is wrong here, and how to mend it."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Iterator
from typing import Final

from strongroom.cli.command import Command, Session, add_json, print_json
from strongroom.cli.diagnosis import configuration, fallback, files, machine, parts
from strongroom.cli.diagnosis.finding import OK, PROBLEM, WARNING, Check, Finding, Place, from_error, problem
from strongroom.cli.text import printable
from strongroom.config.load import load
from strongroom.discovery import Catalogue
from strongroom.errors import StrongroomError

CHECKS: Final[dict[str, Check]] = {
    "python": machine.check_python,
    "user": machine.check_user,
    "configuration": configuration.check_configuration,
    "settings": configuration.check_settings,
    "variables": configuration.check_variables,
    "plugins": machine.check_plugins,
    "secrets in files": configuration.check_literals,
    "keys": parts.check_keys,
    "file modes": files.check_modes,
    "git": files.check_git,
    "left over": files.check_left_over,
    "backends": parts.check_backends,
    "fallback": fallback.check_fallback,
    "audit sinks": parts.check_sinks,
    "audit trail": parts.check_trail,
    "disk space": parts.check_space,
    "clock": machine.check_clock,
}
"""Each check by its name, in the order in which they run and are shown."""

WORST_FIRST: Final = (8, 10, 5, 6, 4, 2, 1)
"""Which exit status wins if problems ask for several: first what may lose secrets or records."""


def _run(session: Session, options: argparse.Namespace) -> int:
    found = list(examine(_look(session)))
    states = {finding.state for _, finding in found}
    verdict = next(state for state in (PROBLEM, WARNING, OK) if state in states)
    if options.json:
        print_json({"state": verdict, "checks": [{"check": name} | finding.as_dict() for name, finding in found]})
    else:
        _show(found)
    return exit_status([finding for _, finding in found])


def _look(session: Session) -> Place:
    catalogue = Catalogue()
    try:
        return Place(configuration=load(session.config), trouble=None, catalogue=catalogue)
    except StrongroomError as error:
        return Place(configuration=None, trouble=error, catalogue=catalogue)


def examine(place: Place) -> Iterator[tuple[str, Finding]]:
    """Run every check; one that fails is a finding itself, and the next one runs.

    Args:
        place: What to look at.
    """
    for name, check in CHECKS.items():
        try:
            for finding in check(place):
                yield name, finding
        except StrongroomError as error:
            yield name, from_error(error)
        # Plugins are called within. A doctor that stops at the first surprise finds nothing else, and the text
        # of a foreign error may hold anything.
        except Exception as error:  # noqa: BLE001  # see above
            yield name, problem(f"this check failed with {type(error).__name__}", "report it, it should not happen")


def exit_status(findings: list[Finding]) -> int:
    """Return the status of the worst problem; 0 if there is none.

    Args:
        findings: What was found.
    """
    statuses = {finding.status for finding in findings if finding.state == PROBLEM}
    return next((status for status in WORST_FIRST if status in statuses), max(statuses, default=0))


def _show(found: list[tuple[str, Finding]]) -> None:
    width = max(map(len, CHECKS))
    for name, finding in found:
        state = finding.state.ljust(len(WARNING))
        sys.stdout.write(f"{state}  {name.ljust(width)}  {printable(finding.what)}\n")
        if finding.mend and finding.state != OK:
            sys.stdout.write(f"{'':{len(WARNING)}}  {'':{width}}  -> {printable(finding.mend)}\n")
    problems = sum(finding.state == PROBLEM for _, finding in found)
    warnings = sum(finding.state == WARNING for _, finding in found)
    sys.stdout.write(f"{problems} problems, {warnings} warnings\n")


COMMANDS: Final = {
    "doctor": Command(
        summary=(
            "Find what is wrong here, and how to mend it. Status 0 if there is no problem, else that of the worst: "
            "8 key or store, 10 audit, 5 authentication, 6 outage, 4 denied, 2 configuration, 1 other."
        ),
        configure=add_json,
        run=_run,
        examples="""
            strongroom doctor
            strongroom doctor --json
        """,
    ),
}
