"""``audit``: follow, verify and summarise the audit trail."""

from __future__ import annotations

import argparse
import json
import sys

from collections.abc import Callable
from typing import Any, Final

from strongroom.cli.command import Command, Session, UsageError, add_json, note, print_json
from strongroom.cli.text import printable
from strongroom.cli.trail import moment, open_trail, select
from strongroom.contracts import TrailHead, TrailQuery
from strongroom.errors import AuditError, InvalidNameError
from strongroom.model import AuditEvent, SecretName
from strongroom.policy import matches, name_pattern
from strongroom.trails import OpenTrail

NEWEST: Final = 20
"""How many events ``tail`` shows where neither a number nor a time is given."""


def _configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    tail = actions.add_parser("tail", help="print the newest events, and follow new ones")
    tail.add_argument("--follow", action="store_true", help="go on with new events as they come, until interrupted")
    tail.add_argument("--last", type=_count, metavar="N", help=f"the newest N that match ({NEWEST}; all with a time)")
    tail.add_argument("--result", metavar="RESULT", help="`ok`, `queued`, or an error's code such as denied")
    _add_selection(tail)
    verify = actions.add_parser("verify", help="check every line and seal; status 0 only if all is sealed")
    verify.add_argument("--head", type=_head_argument, metavar="POSITION:DIGEST", help="a head noted earlier")
    head = actions.add_parser("head", help="print where the trail stands, to be kept elsewhere")
    report = actions.add_parser("report", help="who read and changed what, and which changes have no outcome")
    _add_selection(report)
    for action in (tail, verify, head, report):
        action.add_argument(
            "--sink", metavar="TYPE", help="which audit sink, by type or number, if several have a trail"
        )
        add_json(action)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--principal", metavar="PRINCIPAL", help="only what this principal did")
    parser.add_argument("--name", metavar="NAME", help="only this secret, or those of a pattern such as db/**")
    add_time(parser, "--since", "at or after it")
    add_time(parser, "--until", "before it")


def add_time(parser: argparse.ArgumentParser, option: str, meaning: str) -> None:
    """Give a command an option that takes a point in time.

    Args:
        parser: The command's parser.
        option: The option, such as ``--since``.
        meaning: Which events it selects, in words.
    """
    way = "ISO 8601, in UTC unless it has an offset, or a duration back such as 2h"
    parser.add_argument(option, type=_moment, metavar="TIME", help=f"{meaning}: {way}")


def _moment(text: str) -> str:
    try:
        return moment(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a time nor a duration such as 2h") from error


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of events")
    return int(text)


def _head_argument(text: str) -> TrailHead:
    position, _, digest = text.strip().partition(":")
    if not position.isdecimal() or not digest:
        raise argparse.ArgumentTypeError(f"{text!r} is not POSITION:DIGEST as `audit head` prints it")
    return TrailHead(position=int(position), digest=digest)


def _run(session: Session, options: argparse.Namespace) -> int:
    if options.action in {"tail", "report"}:
        _check_pattern(options.name)
    trail = open_trail(session.load(), options.sink)
    try:
        return ACTIONS[options.action](trail, options)
    finally:
        trail.close()


def _check_pattern(name: str | None) -> None:
    if name is not None and "*" in name:
        try:
            name_pattern(name)
        except InvalidNameError as error:
            raise UsageError(f"--name: {error.what}", hint=error.hint) from error


def query_of(options: argparse.Namespace) -> tuple[TrailQuery, Callable[[AuditEvent], bool] | None]:
    """Return what the options select: what the sink can look for itself, and the rest as a condition.

    Args:
        options: The options that ``tail`` and ``report`` share.
    """
    pattern = options.name if options.name is not None and "*" in options.name else None
    query = TrailQuery(
        principal=options.principal,
        key=None if pattern or options.name is None else _canonical(options.name),
        since=options.since,
        until=options.until,
    )
    if pattern is None:
        return query, None
    return query, lambda event: event.key is not None and matches(pattern, event.key)


def _canonical(name: str) -> str:
    """Return a name as the trail has it; what is no name may be looked for too, as refused ones are recorded."""
    try:
        return SecretName(name)
    except InvalidNameError:
        return name


def _tail(trail: OpenTrail, options: argparse.Namespace) -> int:
    query, named = query_of(options)
    last = options.last
    if last is None and options.since is None and options.until is None:
        last = NEWEST
    query = query.replace(result=options.result, last=last, follow=options.follow)
    keep = named
    if options.result is not None:
        # An attempt has no result yet, whatever the field says.
        keep = lambda event: event.phase != "attempt" and (named is None or named(event))  # noqa: E731  # a one-liner
    show = _json_line if options.json else event_line
    for event in select(trail, query, keep):
        sys.stdout.write(show(event) + "\n")
        if options.follow:
            sys.stdout.flush()
    return 0


def _json_line(event: AuditEvent) -> str:
    return json.dumps(event.as_dict())


def event_line(event: AuditEvent) -> str:
    """Return an event as one line for people: time, principal, event, name, result, source and what else is told.

    Args:
        event: The event; whatever its fields hold, the line stays one line and safe to print.
    """
    result = "attempt" if event.phase == "attempt" else event.result
    source = event.source or event.backend
    columns = [event.timestamp, event.principal or event.user, event.event, event.key, result, source]
    more = [event.rule, event.detail, None if event.count is None else f"count {event.count}"]
    shown = [printable(column) if column else "-" for column in columns] + [printable(part) for part in more if part]
    return "  ".join(shown)


def _verify(trail: OpenTrail, options: argparse.Namespace) -> int:
    report = trail.verify(options.head)
    sealed = report.state == "sealed"
    if options.json:
        findings = [finding.as_dict() for finding in report.findings]
        print_json(report.as_dict() | {"sink": trail.type, "head": head_text(report.head), "findings": findings})
    else:
        files = "file" if len(report.files) == 1 else "files"
        sys.stdout.write(f"{report.state}: {report.events} events in {len(report.files)} {files}\n")
        for finding in report.findings:
            sys.stdout.write(f"{finding.kind}  {printable(finding.place)}  {printable(finding.detail)}\n")
        note(f"head {head_text(report.head)}")
    return 0 if sealed else AuditError.exit_status


def head_text(head: TrailHead) -> str:
    """Return a head in the one form that ``audit verify --head`` takes.

    Args:
        head: The head.
    """
    return f"{head.position}:{head.digest}"


def _head(trail: OpenTrail, options: argparse.Namespace) -> int:
    head = trail.head()
    if options.json:
        print_json(head.as_dict() | {"sink": trail.type, "head": head_text(head)})
    else:
        sys.stdout.write(head_text(head) + "\n")
    return 0


def _report(trail: OpenTrail, options: argparse.Namespace) -> int:
    from strongroom.cli.report import Report

    query, keep = query_of(options)
    report = Report()
    for event in select(trail, query, keep):
        report.add(event)
    content: dict[str, Any] = {"sink": trail.type, "since": options.since, "until": options.until}
    if options.json:
        print_json(content | report.as_dict())
    else:
        report.show()
    return 0


ACTIONS: Final[dict[str, Callable[[OpenTrail, argparse.Namespace], int]]] = {
    "tail": _tail,
    "verify": _verify,
    "head": _head,
    "report": _report,
}

COMMANDS: Final = {
    "audit": Command(
        summary="Read, verify and summarise the audit trail. Nothing else is opened and nothing is recorded by it.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom audit tail --follow
            strongroom audit tail --name 'db/**' --since 2h --result denied
            strongroom audit verify
            strongroom audit head
            strongroom audit report --name db/password --since 2026-01-01T00:00:00+00:00
        """,
    ),
}
