"""The page of the command, made from what ``--help`` prints."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import textwrap
import tomllib

from collections.abc import Iterator

from _markdown import NOTE, ROOT, cell, heading, prose, said, table


def commands_page() -> str:
    """Return the page of the command, from what ``--help`` prints."""
    os.environ["COLUMNS"] = "1000"  # no line is wrapped, so that each option is in one place
    from strongroom.cli import main

    made = ["# Commands\n", NOTE, textwrap.dedent(COMMANDS)]
    added = list(added_commands())
    summaries = {name: summary for name, (_, summary) in main.COMMANDS.items()} | {
        one["name"]: one["summary"][0].lower() + one["summary"][1:].rstrip(".") for one in added
    }
    made.append(table(("command", "purpose"), [(f"[`{name}`](#{name})", text) for name, text in summaries.items()]))
    names = ", ".join(f"`{one['name']}` comes from the distribution `{one['distribution']}`" for one in added)
    made.append(f"{names}; the others are the core's.\n" if added else "")
    made += [heading(2, "Options before the command"), Help(printed(main.main, ["--help"])).options()]
    for name in summaries:
        made += command_entry(name, printed(main.main, [name, "--help"]), level=2)
    return "\n".join(part for part in made if part)


def added_commands() -> Iterator[dict[str, str]]:
    """Yield what is known of each command that a distribution of this repository adds."""
    from strongroom.cli import main

    own = {tomllib.loads(file.read_text())["project"]["name"] for file in ROOT.glob("plugins/*/pyproject.toml")}
    for one in json.loads(printed(main.main, ["plugins", "--json"])):
        if one["kind"] == "command" and one["distribution"] in own:
            yield one


def command_entry(name: str, text: str, *, level: int, summary: str = "") -> Iterator[str]:
    """Yield the parts of one command's entry, then those of the commands below it.

    Args:
        name: The command's words.
        text: What its ``--help`` prints.
        level: The level of its heading.
        summary: What is said of it elsewhere, if its own help says nothing.
    """
    from strongroom.cli import main

    shown = Help(text)
    yield heading(level, name)
    if about := shown.about or (summary and f"{summary[0].upper()}{summary[1:].rstrip('.')}."):
        yield f"{about}\n"
    yield f"```text\n{shown.usage}\n```\n"
    yield shown.options()
    yield from shown.notes()
    if shown.examples:
        yield "For example:\n"
        yield f"```text\n{shown.examples}\n```\n"
    for inner, said_of_it in shown.subcommands.items():
        words = [*name.split(), inner]
        helped = printed(main.main, [*words, "--help"])
        yield from command_entry(" ".join(words), helped, level=level + 1, summary=said_of_it)


def printed(function: object, arguments: list[str]) -> str:
    """Return what the command prints for some arguments."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        function(arguments)  # type: ignore[operator]  # the command's main
    return output.getvalue()


class Help:
    """What ``--help`` prints, taken apart."""

    def __init__(self, text: str) -> None:
        usage, *parts = re.split(r"\n\n+", text.strip("\n"))
        self.usage = " ".join(usage.removeprefix("usage: ").split())
        groups = {part.partition(":\n")[0]: part.partition(":\n")[2] for part in parts if re.match(r"[\w ]+:\n", part)}
        self.about = "\n\n".join(prose(part) for part in parts if not re.match(r"[\w ]+:\n", part))
        self.examples = textwrap.dedent(groups.pop("examples", "")).strip()
        entries = [
            taken_apart(entry)
            for group in ("positional arguments", "options")
            for entry in re.split(r"\n(?=  \S)", groups.pop(group, ""))
        ]
        self.subcommands = {
            word: about
            for name, text in entries
            if name == "ACTION"
            for word, about in re.findall(r"^    ([\w-]+) *(.*)$", text, re.M)
        }
        self._entries = [(name, text) for name, text in entries if name not in ("", "ACTION", "-h, --help")]
        self._notes = {
            title: part for title, part in groups.items() if title not in ("commands", "exit status") or self.about
        }

    def options(self) -> str:
        """Return a table of the arguments and options."""
        return table(("argument", "meaning"), [(f"`{cell(name)}`", said(text)) for name, text in self._entries])

    def notes(self) -> Iterator[str]:
        """Yield what else the help says, a paragraph for each of its titles."""
        for title, text in self._notes.items():
            yield f"**{title.capitalize()}.** {said(text)}\n"


def taken_apart(entry: str) -> tuple[str, str]:
    """Return the name and the text of an argument, which may stand on the same line or below it."""
    line, _, below = entry.partition("\n")
    name, _, text = line.strip().partition("  ")
    return name, f"{text.strip()}\n{below}"


COMMANDS = """\
    `strongroom [--config FILE] [--as PRINCIPAL] COMMAND ...`. Answers go to standard output, everything that is said
    to a person to standard error. `--json` gives answers as one JSON document. The statuses are in
    [errors and exit statuses](errors.md).
    """
