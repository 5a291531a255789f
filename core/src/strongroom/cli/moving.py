"""``copy`` and ``diff``: secrets on their way from one backend to another."""

from __future__ import annotations

import argparse
import sys

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from strongroom.cli.command import Command, Session, UsageError, add_json, note, print_json, table
from strongroom.cli.problems import raise_all
from strongroom.cli.progress import Progress
from strongroom.errors import BackendUnavailableError, SecretNotFoundError, StrongroomError, SuspiciousActivityError

if TYPE_CHECKING:
    from strongroom.moving.copying import Copied, Copier
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
  `strongroom --help` lists. No value is shown, nor its digest, nor its length
  unless it is too large for the other backend."""


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
        ends = {}
        for name in dict.fromkeys(place.backend for place in places):
            manager = stack.enter_context(session.open(configuration_at(configuration, name)))
            assert session.parts is not None, "a manager is open"
            ends[name] = manager, session.parts.is_leased
        source, target = (
            Side(manager, place, marker, makes, workers=options.workers, versions=options.versions)
            for place in places
            for manager, makes in [ends[place.backend]]
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
    from strongroom.moving.planning import Plan, complete
    from strongroom.moving.rules import IfExists

    rule = IfExists(options.if_exists)
    plan = Plan()
    with _sides(session, options) as survey:
        copier = Copier(survey, plan, rule)
        with _telling_what_stops(options, survey, plan, copier), Progress("comparing") as progress:
            complete(plan, survey, rule, progress)
        _refuse(options, survey, plan, copier)
        if not options.dry_run:
            with _telling_what_stops(options, survey, plan, copier):
                _run(copier, plan)
        # Before the managers are closed: that is recorded, too, and if it cannot be, this has been told.
        try:
            (_print_answer if options.json else _report)(options, survey, plan, copier)
        finally:
            # They make the exit status even if nobody reads the answer to its end.
            problems = _problems(plan, copier).values()
            raise_all(sorted(problems, key=lambda error: not isinstance(error, BackendUnavailableError)))
    return 0


def _refuse(options: argparse.Namespace, survey: Survey, plan: Plan, copier: Copier) -> None:
    """Raise what keeps the plan from being carried out."""
    found = [*plan.conflicts.values(), *([] if options.keep_going else plan.problems.values())]
    try:
        raise_all(found)
        if not any((plan.writes, plan.equal, plan.kept, plan.leased, plan.problems)):
            label = survey.source.place.label
            raise SecretNotFoundError(f"there is no secret in {label}", hint="see `strongroom list`; it takes a folder")
    except StrongroomError as stop:
        if found:
            stop.add_note("nothing was copied")
        _answer_stopped(options, survey, plan, copier, stop)
        raise


def _run(copier: Copier, plan: Plan) -> None:
    try:
        with Progress("copying") as progress:
            copier.run(progress)
    except BaseException:
        # Ctrl-C included: whatever ended it, what has been copied stays.
        done = len(_copied(copier))
        note(f"strongroom: {done:,} of {len(plan.writes):,} were copied; the same command goes on from there")
        raise


@contextmanager
def _telling_what_stops(options: argparse.Namespace, survey: Survey, plan: Plan, copier: Copier) -> Iterator[None]:
    """Tell what was found until an error or Ctrl-C, which are raised on, and told after it."""
    try:
        yield
    except BaseException as stop:
        _answer_stopped(options, survey, plan, copier, stop)
        _report_before(stop, [*plan.conflicts.values(), *_problems(plan, copier).values()])
        raise


def _report_before(stop: BaseException, problems: Iterable[StrongroomError]) -> None:
    """Tell the problems of single names that were found before a stop, each once."""
    from strongroom.cli.main import report

    for ending in (BackendUnavailableError, SuspiciousActivityError):
        if isinstance(stop, ending):
            # It speaks for the others of its kind, and the next run comes by their names again.
            problems = [error for error in problems if not isinstance(error, ending)]
    for problem in {str(error): error for error in problems}.values():
        report(problem)


def _problems(plan: Plan, copier: Copier) -> dict[str, StrongroomError]:
    """Return by name why it was not copied, or why its notes may be copied another time; in the order of the names."""
    unnoted = {
        name: error for name, error in dict(copier.notes.failed).items() if isinstance(error, BackendUnavailableError)
    }
    # After Ctrl-C a call that was under way may end while this is made: each copy is made at one go.
    found = unnoted | plan.problems | dict(copier.outcome.problems)
    return dict(sorted(found.items()))


def _answer_stopped(
    options: argparse.Namespace, survey: Survey, plan: Plan, copier: Copier, stop: BaseException
) -> None:
    # What has ended it is told even if nobody reads the answer to its end.
    with suppress(OSError):
        if options.json:
            _print_answer(options, survey, plan, copier, stop=stop)


def _print_answer(
    options: argparse.Namespace, survey: Survey, plan: Plan, copier: Copier, *, stop: BaseException | None = None
) -> None:
    """Tell programs what was done, and what has ended it if something has."""
    label, outcome = survey.target.place.label_of, copier.outcome
    written: dict[str, Any] = {} if options.dry_run and stop else dict.fromkeys(pair.rest for pair in plan.writes)
    if not options.dry_run:
        written = _copied(copier)
    failed = plan.conflicts | plan.problems | dict(outcome.problems)
    shortened = plan.shortened | dict(outcome.shortened)
    content = {"dry_run": options.dry_run, "from": survey.source.place.label, "to": survey.target.place.label}
    content |= {
        "copied": [
            {"name": label(name), "version": one and one.version, "versions": one and one.versions}
            for name, one in written.items()
        ],
        "equal": [label(name) for name in sorted([*plan.equal, *outcome.equal])],
        "kept": [label(name) for name in sorted([*plan.kept, *outcome.kept])],
        "leased": [label(name) for name in sorted([*plan.leased, *outcome.leased])],
        "fewer_versions": {label(name): count for name, count in sorted(shortened.items())},
        "notes_kept": sorted(map(label, copier.notes.kept)),
        "failed": [{"name": label(name), "error": error.code} for name, error in sorted(failed.items())],
        "notes_failed": sorted(map(label, dict(copier.notes.failed))),
        "stopped": _code(stop),
    }
    print_json(content)


def _copied(copier: Copier) -> dict[str, Copied]:
    """Return by name what was copied and not found to be wrong, in the order of the names."""
    problems = dict(copier.outcome.problems)
    return {name: one for name, one in sorted(dict(copier.outcome.copied).items()) if name not in problems}


def _code(stop: BaseException | None) -> str | None:
    if stop is None:
        return None
    return stop.code if isinstance(stop, StrongroomError) else "interrupted"


def _report(options: argparse.Namespace, survey: Survey, plan: Plan, copier: Copier) -> None:
    """Tell people what was done."""
    label, outcome = survey.target.place.label_of, copier.outcome
    if options.dry_run:
        for pair in plan.writes:
            note(f"would copy {label(pair.rest)}")
    for name in sorted([*plan.kept, *outcome.kept]):
        note(f"{'would keep' if options.dry_run else 'kept'} {label(name)}, which has another value")
    for name in sorted([*plan.leased, *outcome.leased]):
        note(f"left out {label(name)}, which is made anew for each reader")
    _report_losses(survey, copier, plan.shortened | outcome.shortened)
    if not options.dry_run:
        note(_summary(survey, len(_copied(copier)), len(plan.equal) + len(outcome.equal)))


def _report_losses(survey: Survey, copier: Copier, shortened: dict[str, int]) -> None:
    """Say what the target has not got of secrets that are there."""
    target, label = survey.target.place.backend, survey.target.place.label_of
    if shortened:
        note(f"{target} has not all older versions of {_secrets(len(shortened))}, and takes them no more")
    if copier.notes.refusal is not None:
        note(f"notes about secrets, if there are any, were not copied: {copier.notes.refusal.what}")
    for name in sorted(copier.notes.kept):
        note(f"what is noted about {label(name)} has stayed where it differs; --if-exists overwrite replaces it")
    for name, error in sorted(copier.notes.failed.items()):
        note(f"what is noted about {label(name)} was not copied: {error.what}")


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

    pairs: list[Pair] = []
    with _sides(session, options) as survey:
        try:
            with Progress("comparing") as progress:
                pairs.extend(pair for pair in survey.everywhere(progress) if pair.state is not State.GONE)
        except BaseException as stop:
            _report_before(stop, [pair.error for pair in pairs if pair.error is not None])
            raise
        if not pairs:
            both = f"{survey.source.place.label} and {survey.target.place.label}"
            raise SecretNotFoundError(f"there is no secret in {both}", hint="see `strongroom list`; they take a folder")
        shown = {
            State.ONLY_FROM: f"only in {survey.source.place.label}",
            State.ONLY_TO: f"only in {survey.target.place.label}",
        }
        # Before the managers are closed: that is recorded, too, and if it cannot be, this has been told.
        try:
            with suppress(BrokenPipeError):
                _show(options, survey, pairs, {state: shown.get(state, state.value) for state in State})
        finally:
            # They and what differs make the exit status even if nobody reads the answer to its end.
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
