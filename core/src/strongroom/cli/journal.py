"""``journal``: writes that wait for a backend, and those that are set aside for a person to decide about."""

from __future__ import annotations

import argparse
import sys

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from strongroom._spoken import spoken
from strongroom.cli.command import QUEUED_STATUS, Command, Session, add_json, agreed, note, print_json, table
from strongroom.cli.text import printable
from strongroom.contracts.journal import EntryState
from strongroom.errors import BackendUnavailableError, VersionConflictError

if TYPE_CHECKING:
    from strongroom.manager import SecretManager
    from strongroom.operations.journals import QueuedWrite, Replayed

HEADINGS: Final = ("ID", "NAME", "CHANGE", "BACKEND", "STATE", "AGE", "BY")
SHORT: Final = 8
"""How many characters of an id a list shows at least; as many are needed to name an entry."""

_NEXT: Final = {
    EntryState.WAITING: "it is made when the backend answers; `strongroom journal replay` tries now",
    EntryState.UNCLEAR: "it may have been made, so it is looked for first; `strongroom journal replay` tries now",
    EntryState.CONFLICT: (
        "keep it with `strongroom journal resolve {id} --ours`, or what the backend has with --theirs"
    ),
    EntryState.OVERDUE: "have it made with `strongroom journal resolve {id} --ours`, or give it up with --theirs",
    EntryState.REFUSED: "mend the cause, then `strongroom journal resolve {id} --ours`, or give it up with --theirs",
}
"""What to do about an entry, by its state."""
_ELSEWHERE: Final = "configure the backend as it was, or give the entry up with `strongroom journal drop {id}`"

_EPILOG: Final = """\
entries:
  ID is an entry's id, or its first eight or more characters if no other one begins
  so. No value is ever shown. `waiting` entries are made in order, as soon as the
  backend answers, by any program with this configuration. `unclear` ones may have
  been made, and nobody knows yet: they are looked for before they are sent again.
  `conflict`, `overdue` and `refused` ones are set aside: nothing happens to
  them until somebody resolves or drops them. Those marked `elsewhere` are bound to
  an address or account that the backend does not stand for now, and are never made
  there.

statuses:
  replay: 0 if nothing waits any more, 6 if something does, else 7 if anything was
  set aside. resolve --ours: 11 if it waits again, 7 if it is set aside again."""


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = f"{parser.epilog}\n\n{_EPILOG}"
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list what waits and what is set aside, the oldest first")
    show = actions.add_parser("show", help="show all that is known of an entry but its value, and what to do about it")
    replay = actions.add_parser("replay", help="make what waits now, as far as backends answer")
    replay.add_argument("--backend", metavar="NAME", help="only what waits for this backend")
    drop = actions.add_parser("drop", help="give up an entry; what it would have changed stays as it is")
    resolve = actions.add_parser("resolve", help="decide about an entry that is set aside")
    for action in (show, drop, resolve):
        action.add_argument("id", metavar="ID", help="as `journal list` shows it")
    drop.add_argument("--yes", action="store_true", help="do not ask")
    choice = resolve.add_mutually_exclusive_group(required=True)
    choice.add_argument(
        "--ours",
        dest="keep",
        action="store_const",
        const="ours",
        help="have the entry made over what the backend has now",
    )
    choice.add_argument(
        "--theirs", dest="keep", action="store_const", const="theirs", help="keep what the backend has; drop the entry"
    )
    for action in (listing, show, replay):
        add_json(action)


def _run(session: Session, options: argparse.Namespace) -> int:
    with session.open() as manager:
        return ACTIONS[options.action](manager, options)


def _list(manager: SecretManager, options: argparse.Namespace) -> int:
    entries = manager.journal.list()
    if options.json:
        print_json([described(entry) for entry in entries])
    elif entries:
        length = _distinct([entry.id for entry in entries])
        table([_row(entry, length) for entry in entries], HEADINGS)
    else:
        note("no write waits, and none is set aside")
    return 0


def _distinct(ids: list[str]) -> int:
    """Return how many characters of these ids tell them apart."""
    length = SHORT
    while len({each[:length] for each in ids}) < len(set(ids)):
        length += 1
    return length


def _row(entry: QueuedWrite, length: int) -> tuple[str, ...]:
    return (
        entry.id[:length],
        printable(entry.name),
        entry.change,
        printable(entry.backend),
        _state(entry),
        spoken(entry.age),
        printable(_writer(entry)),
    )


def _state(entry: QueuedWrite) -> str:
    return f"{entry.state.value}, elsewhere" if entry.elsewhere else entry.state.value


def _writer(entry: QueuedWrite) -> str:
    return entry.principal + (f" for {entry.on_behalf_of}" if entry.on_behalf_of else "")


def described(entry: QueuedWrite) -> dict[str, Any]:
    """Return an entry as it is shown to programs: its fields, with times in ISO 8601, and what to do about it.

    Args:
        entry: The entry.
    """
    plain = {key: fact.isoformat() if isinstance(fact, datetime) else fact for key, fact in entry.as_dict().items()}
    return plain | {"state": entry.state.value, "next": next_step(entry)}


def next_step(entry: QueuedWrite) -> str:
    """Return what to do about an entry, in one sentence without a final stop.

    Args:
        entry: The entry.
    """
    step = _ELSEWHERE if entry.elsewhere else _NEXT[entry.state]
    return step.format(id=entry.id[:SHORT])


def _show(manager: SecretManager, options: argparse.Namespace) -> int:
    entry = manager.journal.show(options.id)
    if options.json:
        print_json(described(entry))
        return 0
    rows = [(title, printable(text)) for title, text in _facts(entry) if text]
    width = max(len(title) for title, _ in rows)
    sys.stdout.writelines(f"{title.ljust(width)}  {text}\n" for title, text in rows)
    return 0


def _facts(entry: QueuedWrite) -> list[tuple[str, str]]:
    size = "" if entry.change == "delete" else f", {entry.size} bytes"
    made_over = f"entry {entry.follows}" if entry.follows else (entry.expected or "no version")
    found = "" if entry.found is None else entry.found
    if entry.found_created is not None:
        found += f", written {entry.found_created.isoformat(sep=' ', timespec='seconds')}"
    return [
        ("id", entry.id),
        ("name", entry.name),
        ("change", entry.change + size),
        ("backend", entry.backend),
        ("target", entry.target),
        ("by", _writer(entry)),
        ("accepted", f"{entry.queued.isoformat(sep=' ', timespec='seconds')}, {spoken(entry.age)} ago"),
        ("made over", made_over),
        ("state", _state(entry)),
        ("reason", entry.reason),
        ("found", found),
        ("next", next_step(entry)),
    ]


def _replay(manager: SecretManager, options: argparse.Namespace) -> int:
    result = manager.journal.replay(options.backend)
    if options.json:
        print_json(result.as_dict())
    else:
        note(_summary(result))
    if result.waiting:
        return BackendUnavailableError.exit_status
    return VersionConflictError.exit_status if result.set_aside else 0


def _summary(result: Replayed) -> str:
    told = [f"made {result.made}"]
    if result.set_aside:
        told.append(f"set aside {result.set_aside}: see `strongroom journal list`")
    if result.waiting:
        reason = f": {printable(result.left)}" if result.left else ""
        told.append(f"{result.waiting} still wait{'s' if result.waiting == 1 else ''}{reason}")
    return "; ".join(told)


def _drop(manager: SecretManager, options: argparse.Namespace) -> int:
    if not options.yes:
        entry = manager.journal.show(options.id)
        question = f"Drop the {entry.change} of {entry.name}, accepted {spoken(entry.age)} ago? It is lost then. [y/N] "
        if not agreed(question, "what is dropped is lost"):
            note("nothing was dropped")
            return 1
    entry = manager.journal.drop(options.id)
    note(f"dropped the {entry.change} of {printable(entry.name)}, entry {entry.id}")
    return 0


def _resolve(manager: SecretManager, options: argparse.Namespace) -> int:
    before = manager.journal.show(options.id)
    after = manager.journal.resolve(before.id, options.keep)
    what, backend = f"the {before.change} of {printable(before.name)}", printable(before.backend)
    if options.keep == "theirs":
        note(f"dropped {what}: {backend} keeps what it has")
        return 0
    if after is None:
        note(f"made {what}, over what {backend} had")
        return 0
    if after.state.waits:
        note(f"{what} waits again, as entry {after.id}: {backend} does not answer now")
        return QUEUED_STATUS
    note(f"{what} is set aside again: {printable(after.reason)}")
    return VersionConflictError.exit_status


ACTIONS: Final[dict[str, Callable[[SecretManager, argparse.Namespace], int]]] = {
    "list": _list,
    "show": _show,
    "replay": _replay,
    "drop": _drop,
    "resolve": _resolve,
}

COMMANDS: Final = {
    "journal": Command(
        summary="List, show, make and decide about writes that were accepted while a backend was out of reach.",
        configure=_configure,
        run=_run,
        examples="""
            strongroom journal list
            strongroom journal show 3f2a9c41
            strongroom journal replay
            strongroom journal resolve 3f2a9c41 --ours
            strongroom journal drop 3f2a9c41 --yes
        """,
    ),
}
