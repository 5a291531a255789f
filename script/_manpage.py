"""The manual page of a command, from its parser, in the macros that every `man` knows."""

import argparse
import re
import textwrap

from collections.abc import Iterator

FIXED = r"""
.SH FILES
.TP
.I strongroom.toml
The configuration: what \fB\-\-config\fR or \fBSTRONGROOM_CONFIG\fR names, else in the working folder or above it,
else in
.I $XDG_CONFIG_HOME/strongroom
or
.IR ~/.config/strongroom ,
else in
.IR /etc/strongroom .
.TP
.I strongroom.local.toml
Beside that file: what is different on this machine.
.SH ENVIRONMENT
.TP
.B STRONGROOM_CONFIG
The configuration file.
.TP
.B STRONGROOM_PRINCIPAL
Who the command acts as.
.TP
.BI STRONGROOM_ SECTION __ KEY
A setting, such as \fBSTRONGROOM_CACHE__TTL=60s\fR.
.TP
.B STRONGROOM_NO_PLUGINS
Anything but 0: only what the core itself offers is found.
.TP
.B STRONGROOM_DEBUG
1: an internal error shows its traceback, which may hold values.
"""


def manual(parser: argparse.ArgumentParser, statuses: str) -> str:
    """Return the page.

    Args:
        parser: The whole command, with every command below it.
        statuses: What the exit statuses mean, as ``--help`` says it.
    """
    about = f"{parser.description}".strip()
    lines = [
        '.TH STRONGROOM 1 "" strongroom "User Commands"',
        ".SH NAME",
        f"strongroom \\- {plain(about[0].lower() + about[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        ".ad l",
        *usage(parser),
        ".SH DESCRIPTION",
        "Answers go to standard output, everything that is said to a person to standard error.",
        "With \\fB\\-\\-json\\fR an answer is one JSON document.",
        "Commands that other distributions add are listed by \\fBstrongroom plugins\\fR.",
        ".SH OPTIONS",
        *arguments(parser),
        ".SH COMMANDS",
        *(line for name, inner, help_ in commands(parser) for line in command(name, inner, help_)),
        ".SH EXIT STATUS",
        *verbatim(statuses.partition("\n")[2]),
        *FIXED.strip().splitlines(),
    ]
    return "\n".join(lines) + "\n"


def command(name: str, parser: argparse.ArgumentParser, summary: str) -> Iterator[str]:
    """Yield the section of one command, then those of the commands below it."""
    yield f".SS {plain(name)}"
    about = parser.description or f"{summary[0].upper()}{summary[1:].rstrip('.')}."
    yield from wrapped(about)
    yield ".PP"
    yield from usage(parser)
    yield from arguments(parser)
    for title, text in sections(parser.epilog or ""):
        yield ".PP"
        yield f"{plain(title[0].upper() + title[1:])}:"
        yield from verbatim(text)
    for inner_name, inner, inner_summary in commands(parser):
        yield from command(f"{name} {inner_name}", inner, inner_summary)


def commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    """Yield the name, the parser and the summary of each command below a parser."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, inner in action.choices.items():
                yield name, inner, summaries[name]


def arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield an entry for each argument and option that has something to say; `-h` is everywhere."""
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction) or action.help in (
            None,
            argparse.SUPPRESS,
        ):
            continue
        yield ".TP"
        yield heading(action)
        yield from wrapped((action.help or "").replace("%%", "%"))


def heading(action: argparse.Action) -> str:
    """Return how an argument is written: its words bold, what the user puts in underlined."""
    choices = "{" + "|".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = action.metavar if isinstance(action.metavar, str) else choices
    words = ", ".join(rf"\fB{plain(option)}\fR" for option in action.option_strings)
    if action.nargs == 0:
        return words
    return f"{words} \\fI{plain(value)}\\fR".strip()


def usage(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the line that shows how it is called."""
    text = " ".join(parser.format_usage().removeprefix("usage: ").split()).replace("[-h] ", "")
    words = re.match(r"[a-z -]*[a-z]\b(?! *=)", text)
    called = words.group() if words else ""
    yield f".B {plain(called)}"
    rest = plain(text[len(called) :].strip())
    yield from [rest] if rest else []


def sections(epilog: str) -> Iterator[tuple[str, str]]:
    """Yield the title and the text of each part of what stands at the end of ``--help``."""
    for part in re.split(r"\n\n(?=\S[^\n]*:\n)", epilog.strip()):
        title, _, text = part.partition(":\n")
        if text:
            yield title, text


def wrapped(text: str) -> Iterator[str]:
    """Yield running text, in lines that read well in a comparison of two versions."""
    yield from map(plain, textwrap.wrap(text, 110, break_long_words=False, break_on_hyphens=False))


def verbatim(text: str) -> Iterator[str]:
    """Yield lines that stay as they are, indented."""
    yield from (".RS 2", ".nf", *map(plain, textwrap.dedent(text).rstrip().splitlines()), ".fi", ".RE")


def plain(text: str) -> str:
    """Return text in which nothing is taken for a command of the page."""
    escaped = (
        text.replace("\\", r"\e").replace("-", r"\-").replace("`", r"\(ga").replace("^", r"\(ha").replace("~", r"\(ti")
    )
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped
