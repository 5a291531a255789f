"""``copy`` and ``diff``: secrets on their way from one backend to another."""

from __future__ import annotations

import argparse
import sys

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.command import Command, Session, UsageError, add_json, note, print_json, table
from strongroom.cli.problems import raise_all
from strongroom.cli.progress import Progress
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StrongroomError

if TYPE_CHECKING:
    from strongroom.moving.copying import Copier
    from strongroom.moving.planning import Plan
    from strongroom.moving.survey import Pair, Survey

_MOST_WORKERS: Final = 64

_PLACES: Final = """\
places:
  FROM and TO are backends of the configuration by name, each with a folder if not
  all of it is meant: `local`, `vault:app/`. What is below the one folder goes below
  the other: from `local:app/` to `vault:team/app/`, app/x becomes team/app/x.
  Routes, cache and fallback store play no part: each side is its backend alone."""

_COPY: Final = """\
what is written:
  First everything is compared and checked, and if one secret could not be copied,
  nothing is. Equal ones are passed over, so that a copy that was stopped goes on
  where it was when the same command is run again. No write goes over what has
  changed since it was compared, and each is read back and compared. Nothing is
  deleted. Secrets that a backend makes for each reader are not copied."""

_DIFF: Final = """\
exit status:
  0 if both are equal, 1 if they are not; errors have statuses of their own, which
  `strongroom --help` lists.  No value is shown, nor its length or digest."""


def _configure(parser: argparse.ArgumentParser, versions: str) -> None:
    parser.add_argument("source", metavar="FROM", help="a backend, or one of its folders as BACKEND:FOLDER/")
    parser.add_argument("target", metavar="TO", help="likewise")
    parser.add_argument("--versions", action="store_true", help=versions)
    parser.add_argument(
        "--workers",
        type=int,
        default=8,
        metavar="N",
        help=f"calls at the same time: 1 to {_MOST_WORKERS}, 8 by default",
    )
    add_json(parser)


@contextmanager
def _sides(session: Session, options: argparse.Namespace) -> Iterator[Survey]:
    """Lend both sides; each is a manager whose only backend is the one that is concerned."""
    # Imported here, and below: the parser does without.
    from strongroom.moving.marks import Marker
    from strongroom.moving.places import configuration_at, parse_place, refuse_overlap
    from strongroom.moving.sides import Side
    from strongroom.moving.survey import Survey

    if not 1 <= options.workers <= _MOST_WORKERS:
        raise UsageError(f"--workers is not from 1 to {_MOST_WORKERS}", hint="leave it out for 8")
    configuration = session.load()
    places = [parse_place(text, configuration.backends) for text in (options.source, options.target)]
    refuse_overlap(places[0], places[1], configuration.backends)
    marker = Marker()
    with ExitStack() as stack:
        managers = {
            name: stack.enter_context(session.open(configuration_at(configuration, name)))
            for name in dict.fromkeys(place.backend for place in places)
        }
        source, target = (
            Side(managers[place.backend], place, marker, workers=options.workers, versions=options.versions)
            for place in places
        )
        yield Survey(source, target)


def _configure_copy(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_PLACES}\n\n{_COPY}"
    _configure(parser, "copy older versions, too, the oldest first")
    parser.add_argument("--dry-run", action="store_true", help="compare and check everything, and write nothing")
    parser.add_argument(
        "--if-exists",
        choices=("error", "skip", "overwrite", "newer"),
        default="error",
        help="what to do about names that have another value in TO (error: copy nothing at all; newer: overwrite "
        "those that are older than in FROM)",
    )
    parser.add_argument("--keep-going", action="store_true", help="copy what can be copied although something cannot")


def _copy(session: Session, options: argparse.Namespace) -> int:
    from strongroom.moving.copying import Copier
    from strongroom.moving.planning import make_plan
    from strongroom.moving.rules import IfExists

    rule = IfExists(options.if_exists)
    with _sides(session, options) as survey:
        with Progress("comparing") as progress:
            plan = make_plan(survey, rule, progress)
        _refuse(plan, survey, keep_going=options.keep_going)
        copier = Copier(survey, plan, rule)
        if not options.dry_run:
            _run(copier, plan)
    _report(options, survey, plan, copier)
    problems = [*plan.problems, *(error for _, error in sorted(_problems(copier).items()))]
    raise_all(sorted(problems, key=lambda error: not isinstance(error, BackendUnavailableError)))
    return 0


def _refuse(plan: Plan, survey: Survey, *, keep_going: bool) -> None:
    """Raise what keeps the plan from being carried out."""
    try:
        raise_all([*plan.conflicts, *([] if keep_going else plan.problems)])
    except StrongroomError as error:
        error.add_note("nothing was copied")
        raise
    if not any((plan.writes, plan.equal, plan.kept, plan.leased, plan.problems)):
        label = survey.source.place.label
        raise SecretNotFoundError(f"there is no secret in {label}", hint="see `strongroom list`; it takes a folder")


def _run(copier: Copier, plan: Plan) -> None:
    try:
        with Progress("copying") as progress:
            copier.run(progress)
    except BaseException:
        # Ctrl-C included: whatever ended it, what has been copied stays.
        done = len(copier.outcome.copied)
        note(f"strongroom: {done:,} of {len(plan.writes):,} were copied; the same command goes on from there")
        raise


def _problems(copier: Copier) -> dict[str, StrongroomError]:
    """Return by name why it was not copied, or why its notes may be copied another time."""
    unnoted = {name: error for name, error in copier.notes.failed.items() if isinstance(error, BackendUnavailableError)}
    return unnoted | copier.outcome.problems


def _report(options: argparse.Namespace, survey: Survey, plan: Plan, copier: Copier) -> None:
    name_of = survey.target.place.name_of
    outcome = copier.outcome
    copied = {name: one for name, one in sorted(outcome.copied.items()) if name not in outcome.problems}
    kept = sorted([*plan.kept, *outcome.kept])
    equal = sorted([*plan.equal, *outcome.equal])
    shortened = plan.shortened | outcome.shortened
    if options.json:
        written: dict[str, Any] = dict.fromkeys(pair.rest for pair in plan.writes) if options.dry_run else copied
        entries = [
            {"name": name_of(name), "version": one and one.version, "versions": one and one.versions}
            for name, one in written.items()
        ]
        content = {"dry_run": options.dry_run, "from": survey.source.place.label, "to": survey.target.place.label}
        content |= {"copied": entries, "equal": list(map(name_of, equal)), "kept": list(map(name_of, kept))}
        content |= {"leased": list(map(name_of, sorted(plan.leased)))}
        content |= {"fewer_versions": {name_of(name): count for name, count in sorted(shortened.items())}}
        failed = [{"name": name_of(name), "error": error.code} for name, error in sorted(outcome.problems.items())]
        content |= {"notes_kept": sorted(map(name_of, copier.notes.kept))}
        print_json(content | {"failed": failed, "notes_failed": sorted(map(name_of, copier.notes.failed))})
        return
    if options.dry_run:
        for pair in plan.writes:
            note(f"would copy {name_of(pair.rest)}")
    for name in kept:
        note(f"{'would keep' if options.dry_run else 'kept'} {name_of(name)}, which has another value")
    for name in sorted(plan.leased):
        note(f"left out {name}, which is made anew for each reader")
    _report_losses(survey, copier, shortened)
    if not options.dry_run:
        note(_summary(survey, len(copied), len(equal)))


def _report_losses(survey: Survey, copier: Copier, shortened: dict[str, int]) -> None:
    """Say what the target has not got of secrets that are there."""
    target, name_of = survey.target.place.backend, survey.target.place.name_of
    if shortened:
        note(f"{target} has not all older versions of {_secrets(len(shortened))}, and takes them no more")
    if copier.notes.refusal is not None:
        note(f"notes about secrets, if there are any, were not copied: {copier.notes.refusal.what}")
    for name in sorted(copier.notes.kept):
        note(f"what is noted about {name_of(name)} has stayed where it differs; --if-exists overwrite replaces it")
    for name, error in sorted(copier.notes.failed.items()):
        note(f"what is noted about {name_of(name)} was not copied: {error.what}")


def _summary(survey: Survey, copied: int, equal: int) -> str:
    there = f"; {equal:,} {'was' if equal == 1 else 'were'} there already" if equal else ""
    return f"copied {_secrets(copied)} from {survey.source.place.label} to {survey.target.place.label}{there}"


def _secrets(count: int) -> str:
    return f"{count:,} secret" if count == 1 else f"{count:,} secrets"


def _configure_diff(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_PLACES}\n\n{_DIFF}"
    _configure(parser, "compare older versions, too, and say how many there are")


def _diff(session: Session, options: argparse.Namespace) -> int:
    from strongroom.moving.survey import State

    with _sides(session, options) as survey, Progress("comparing") as progress:
        pairs = [pair for pair in survey.everywhere(progress) if pair.state is not State.GONE]
    if not pairs:
        both = f"{survey.source.place.label} and {survey.target.place.label}"
        raise SecretNotFoundError(f"there is no secret in {both}", hint="see `strongroom list`; they take a folder")
    shown = {
        State.ONLY_FROM: f"only in {survey.source.place.label}",
        State.ONLY_TO: f"only in {survey.target.place.label}",
    }
    _show(options, survey, pairs, {state: shown.get(state, state.value) for state in State})
    raise_all([pair.error for pair in pairs if pair.error is not None])
    return 0 if all(pair.state in {State.SAME, State.LEASED} for pair in pairs) else 1


def _show(options: argparse.Namespace, survey: Survey, pairs: list[Pair], shown: dict[Any, str]) -> None:
    counts = Counter(pair.state for pair in pairs)
    if options.json:
        content = {"from": survey.source.place.label, "to": survey.target.place.label}
        entries = [_described(pair, versions=options.versions) for pair in pairs]
        print_json(content | {"counts": {state.name.lower(): n for state, n in counts.items()}, "names": entries})
        return
    rows = [
        (shown[pair.state], pair.rest, *(_lengths(pair) if options.versions else ()))
        for pair in pairs
        if pair.state.name != "SAME"
    ]
    if rows:
        table(rows, ("STATE", "NAME", *(("FROM", "TO") if options.versions else ())))
        # Where both streams lead to one place, the sum comes last.
        sys.stdout.flush()
    note(", ".join(f"{counts[state]:,} {words}" for state, words in shown.items() if counts[state]))


def _lengths(pair: Pair) -> tuple[str, str]:
    mine, theirs = (str(len(seen.marks)) if seen is not None else "-" for seen in (pair.source, pair.target))
    return mine, theirs


def _described(pair: Pair, *, versions: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"name": pair.rest, "state": pair.state.name.lower()}
    if versions:
        sides = (("from_versions", pair.source), ("to_versions", pair.target))
        found |= {key: len(seen.marks) if seen is not None else 0 for key, seen in sides}
    return found


COMMANDS: Final = {
    "copy": Command(
        summary="Copy secrets from one backend to another; what is there already is left as it is.",
        configure=_configure_copy,
        run=_copy,
        examples="""
            strongroom copy local vault --dry-run
            strongroom copy local:app/ vault:team/app/ --versions
            strongroom copy local vault --if-exists newer
        """,
    ),
    "diff": Command(
        summary="Compare the secrets of two backends without showing any value.",
        configure=_configure_diff,
        run=_diff,
        examples="""
            strongroom diff local vault
            strongroom diff local:app/ vault:team/app/ --versions --json
        """,
    ),
}
